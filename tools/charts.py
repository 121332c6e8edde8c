"""Draw the chart of the programs, for light and for dark pages; `tools/figures.py` calls this.

It shows seconds and loss of several programs on tiny Shakespeare, of the table that
benchmarks/losses/peers.py writes.
"""

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import mean

DOCS = Path(__file__).parents[1] / "docs"
"""Where the figures are and the charts go."""
FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
"""Fonts, the preferred one first."""
THEMES = {
    "light": ("#ffffff", "#59636e", "#e1e4e8", "#2563c9 #b07d00 #00857a #8b2fb3 #c4265a"),
    "dark": ("#0d1117", "#9198a1", "#2b323b", "#79a8ff #e3b341 #3fc7b8 #cf8df0 #ff7b9c"),
}
"""The colours of a light and of a dark page: its paper, its ink, the lines of a chart, and the
programs, one after the other."""
Point = tuple[float, float]
"""Seconds and loss, or a place in the picture."""
LOSS_STEP = 2
"""Tenths of a nat between two lines of the chart."""
NAMES = (640.0, 60.0)
"""Where the first name of a program stands."""
HIGHEST_LOSS = 2.5
"""A higher loss is not in the chart: a network has it after a second or two of training."""


@dataclass(frozen=True)
class ProgramPoints:
    """Seconds and loss of one program."""

    ends: list[Point] = field(default_factory=list)
    """The means of the trainings of each budget, at their end, the shortest first."""
    within: list[Point] = field(default_factory=list)
    """Measurements before the end of a training."""


def read_programs(source: Path) -> dict[str, ProgramPoints]:
    """Read the points of each program up to HIGHEST_LOSS, the program with the lowest loss first."""
    programs: dict[str, ProgramPoints] = {}
    with source.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if float(row["loss"]) <= HIGHEST_LOSS]
    training = itemgetter("program", "place", "minutes")
    for (program, place, _), group in groupby(sorted(rows, key=training), key=training):
        measured = [(float(row["seconds"]), float(row["loss"])) for row in group]
        points = programs.setdefault(program, ProgramPoints())
        if place == "end":
            seconds, losses = zip(*measured, strict=True)
            points.ends.append((mean(seconds), mean(losses)))
            points.ends.sort()
        else:
            points.within.extend(measured)
    return dict(sorted(programs.items(), key=lambda item: min(loss for _, loss in item[1].ends)))


def draw_peers(folder: Path = DOCS / "pictures") -> None:
    """Draw the loss of each program over the seconds since its process began, on a logarithmic
    scale, as `peers-THEME.svg` for each theme.

    A filled dot is the mean of trainings at their end, and a line joins the dots of a program.
    Hollow dots are measurements within a training, whose rate of learning has still to fall. The
    names stand in the upper corner, where no program is: that with the highest loss first.
    """
    programs = read_programs(DOCS / "peers.csv")
    for theme, (paper, ink, grid, colours) in THEMES.items():
        parts, place = draw_axes(programs, ink, grid)
        name_y = NAMES[1] + 20 * len(programs)
        for (name, points), colour in zip(programs.items(), colours.split(), strict=True):
            parts += draw_program(points, place, colour, paper)
            name_y -= 20
            parts.append(circle((NAMES[0] - 10, name_y - 4), colour, colour))
            parts.append(text_at(NAMES[0], name_y, name, colour, 13))
        size = 'width="860" height="406"'
        picture = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 860 406" role="img"'
            f' font-family="{FONT}">\n<title>Seconds and validation loss</title>\n'
            f'<rect width="100%" height="100%" rx="8" fill="{paper}"/>\n'
        )
        picture += "\n".join([*parts, "</svg>\n"])
        path = folder / f"peers-{theme}.svg"
        path.write_text(picture, encoding="utf-8", newline="\n")


def draw_axes(
    programs: dict[str, ProgramPoints], ink: str, grid: str
) -> tuple[list[str], Callable[[Point], Point]]:
    """Return the axes and their labels, and a function from seconds and loss to their place."""
    left, top, width, height = 60.0, 40.0, 770.0, 330.0
    points = []
    for program in programs.values():
        points += [*program.within, *program.ends]
    seconds, losses = zip(*points, strict=True)
    first, last = math.log10(min(seconds)), math.log10(max(seconds))
    low, high = math.floor(10 * min(losses)), math.ceil(10 * max(losses))
    high += (high - low) % LOSS_STEP

    def place(point: Point) -> Point:
        across = (math.log10(point[0]) - first) / (last - first)
        return left + across * width, top + height * (high - 10 * point[1]) / (high - low)

    parts = [text_at(left, 22, "validation loss, nats per character", ink, 14)]
    for tenths in range(low, high + 1, LOSS_STEP):
        _, y = place((1, tenths / 10))
        parts.append(f'<path d="M{left:g} {y:.1f}h{width:g}" stroke="{grid}"/>')
        parts.append(text_at(left - 8, y + 4, f"{tenths / 10:.1f}", ink, anchor="end"))
    for tick, label in ((10, "10 s"), (30, "30 s"), (60, "1 min"), (180, "3 min"), (900, "15 min")):
        x, _ = place((tick, 1))
        parts.append(text_at(x, top + height + 20, label, ink, anchor="middle"))
    return parts, place


def draw_program(
    points: ProgramPoints, place: Callable[[Point], Point], colour: str, paper: str
) -> list[str]:
    """Return the dots and the line of a program."""
    places = [place(point) for point in points.ends]
    route = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = [circle(place(point), paper, colour) for point in points.within]
    parts.append(f'<path d="M{route}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return [*parts, *(circle(end, colour, colour) for end in places)]


def circle(place: Point, fill: str, stroke: str) -> str:
    """Return a dot."""
    x, y = place
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{fill}" stroke="{stroke}"/>'


def text_at(x: float, y: float, text: str, fill: str, size: int = 12, anchor: str = "start") -> str:
    """Return one line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}"'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )

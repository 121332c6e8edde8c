"""Draw the chart of the programs, for light and for dark pages; `tools/figures.py` calls this.

It shows seconds and loss of several programs on tiny Shakespeare, of the table that
benchmarks/losses/peers.py writes.
"""

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import mean

DOCS = Path(__file__).parents[1] / "docs"
"""Where the figures are and the charts go."""
FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
"""Fonts, the preferred one first."""


THEMES = {
    "light": {"paper": "#ffffff", "ink": "#59636e", "grid": "#e1e4e8"},
    "dark": {"paper": "#0d1117", "ink": "#9198a1", "grid": "#2b323b"},
}
"""The colours of a light and of a dark page."""
LINES = {
    "light": ("#2563c9", "#b07d00", "#00857a", "#8b2fb3", "#c4265a"),
    "dark": ("#79a8ff", "#e3b341", "#3fc7b8", "#cf8df0", "#ff7b9c"),
}
"""The colours of the programs, one after the other."""
Points = list[tuple[float, float]]
Placing = Callable[[float, float], tuple[float, float]]
"""Returns where a point stands in a picture."""


def text_at(x: float, y: float, text: str, fill: str, size: int = 12, anchor: str = "start") -> str:
    """Return one line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}"'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )


PUBLISHED = 1.4697
"""A loss that a line across the chart of programs shows."""
LOSS_STEP = 2
"""Tenths of a nat between two lines of that chart."""
HIGHEST_LOSS = 2.5
"""A higher loss is not in that chart: a network has it after a second or two of training."""
NAME_WIDTH = 150
"""Pixels that the longest name takes in that chart."""


@dataclass(frozen=True)
class ProgramPoints:
    """Seconds and loss of one program."""

    ends: list[tuple[float, float, float, float]]
    """Seconds, mean, lowest and highest loss of the trainings of each budget, at their end."""
    within: Points
    """Measurements before the end of a training."""


def read_programs(source: Path) -> dict[str, ProgramPoints]:
    """Read the points of each program up to HIGHEST_LOSS, the program with the lowest loss first."""
    programs: dict[str, ProgramPoints] = {}
    trainings: dict[tuple[str, str], Points] = {}
    with source.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if float(row["loss"]) <= HIGHEST_LOSS]
    for row in rows:
        program = row["program"]
        points = programs.setdefault(program, ProgramPoints(ends=[], within=[]))
        point = float(row["seconds"]), float(row["loss"])
        if row["place"] == "end":
            trainings.setdefault((program, row["minutes"]), []).append(point)
        else:
            points.within.append(point)
    for (program, _), ends in trainings.items():
        seconds, losses = zip(*ends, strict=True)
        end = (mean(seconds), mean(losses), min(losses), max(losses))
        programs[program].ends.append(end)
    return dict(sorted(programs.items(), key=lambda item: min(end[1] for end in item[1].ends)))


def label_places(programs: dict[str, ProgramPoints], at: Placing) -> dict[str, tuple[float, float]]:
    """Return where the name of each program stands: at the end of its longest training, 16 pixels or
    more below a name above it."""
    places: dict[str, tuple[float, float]] = {}
    ends = {program: at(*max(points.ends)[:2]) for program, points in programs.items()}
    for program, (x, y) in sorted(ends.items(), key=lambda end: end[1][1]):
        above = [name_y + 16 for name_x, name_y in places.values() if abs(name_x - x) < NAME_WIDTH]
        places[program] = x + 8, max([y + 4, *above])
    return places


def draw_program(points: ProgramPoints, at: Placing, colour: str, paper: str) -> list[str]:
    """Return the dots and lines of a program."""

    line = f'stroke="{colour}" stroke-width="2"'
    route = "L".join("{:.1f} {:.1f}".format(*at(*end[:2])) for end in sorted(points.ends))
    parts = [circle(at(*point), paper, colour) for point in points.within]
    parts.append(f'<path d="M{route}" fill="none" {line}/>')
    parts += [circle(at(*end[:2]), colour, colour) for end in points.ends]
    for seconds, _, lowest, highest in points.ends:
        if lowest < highest:
            x, bottom = at(seconds, lowest)
            parts.append(f'<path d="M{x:.1f} {bottom:.1f}V{at(seconds, highest)[1]:.1f}" {line}/>')
    return parts


def circle(place: tuple[float, float], fill: str, stroke: str) -> str:
    """Return a dot."""
    x, y = place
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{fill}" stroke="{stroke}"/>'


def draw_peers(folder: Path = DOCS / "pictures") -> None:
    """Draw the loss of each program over the seconds since its process began, on a logarithmic
    scale, as `peers-THEME.svg` for each theme.

    A filled dot is the mean of trainings at their end, with a line from the lowest to the highest
    loss, and a line joins the dots of a program. Hollow dots are measurements within a training,
    whose rate of learning has still to fall. The name stands at the end of the longest training.
    """
    programs = read_programs(DOCS / "peers.csv")
    title = "Seconds and validation loss"
    for theme in THEMES:
        width, height, elements = draw_chart(programs, theme)
        (folder / f"peers-{theme}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"'
            f' viewBox="0 0 {width:g} {height:g}" role="img"'
            f' font-family="{FONT}">\n<title>{title}</title>\n<rect width="100%"'
            f' height="100%" rx="8" fill="{THEMES[theme]["paper"]}"/>\n{elements}</svg>\n',
            encoding="utf-8",
            newline="\n",
        )


def draw_chart(programs: dict[str, ProgramPoints], theme: str) -> tuple[float, float, str]:
    """Return width, height and elements of the chart."""
    left, top, width, height = 60.0, 40.0, 600.0, 330.0
    points = []
    for program in programs.values():
        points += [*program.within, *(end[:2] for end in program.ends)]
    seconds, losses = zip(*points, strict=True)
    first, last = math.log10(min(seconds)), math.log10(max(seconds))
    low, high = math.floor(10 * min(losses)), math.ceil(10 * max(losses))
    low, high = low / 10, (high + (high - low) % LOSS_STEP) / 10
    paper, ink, grid = THEMES[theme].values()

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - first) / (last - first)
        return left + across * width, top + height * (high - y) / (high - low)

    def line_at(loss: float, stroke: str) -> str:
        _, y = at(min(seconds), loss)
        return f'<path d="M{left:g} {y:.1f}h{width:g}" stroke="{stroke}"'

    parts = [text_at(left, 22, "validation loss, nats per character", ink, 14)]
    for tenths in range(round(10 * low), round(10 * high) + 1, LOSS_STEP):
        _, y = at(min(seconds), tenths / 10)
        parts.append(line_at(tenths / 10, grid) + "/>")
        parts.append(text_at(left - 8, y + 4, f"{tenths / 10:.1f}", ink, 12, "end"))
    for tick in (1, 3, 10, 30, 60, 180, 600):
        if first <= math.log10(tick) <= last:
            x, y = at(tick, low)
            label = f"{tick} s" if tick < 60 else f"{tick // 60} min"
            parts.append(text_at(x, y + 20, label, ink, 12, "middle"))
    _, y = at(min(seconds), PUBLISHED)
    parts.append(line_at(PUBLISHED, ink) + ' stroke-dasharray="4 4"/>')
    parts.append(text_at(left + 4, y + 24, f"nanoGPT on an A100: {PUBLISHED}", ink, 12))

    colours = dict(zip(programs, LINES[theme], strict=False))
    for name, program in programs.items():
        parts += draw_program(program, at, colour=colours[name], paper=paper)
    for name, (x, y) in label_places(programs, at).items():
        parts.append(text_at(x, y, name, colours[name], 13))
    return 860, top + height + 36, "\n".join(parts) + "\n"

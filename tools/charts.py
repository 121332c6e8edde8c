"""Draw the charts of the programs, for light and for dark pages; `tools/figures.py` calls this.

They show the losses of several programs on tiny Shakespeare, of the table that
benchmarks/losses/peers.py writes: after three minutes as bars, and over the seconds.
"""

import csv
import math
import re
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import mean

from benchmarks.losses.peers import read_rows, table_of
from charrnn.views.chart_files import draw_chart
from charrnn.views.charts import enclosing_ticks, numbered_line
from charrnn.views.drawing import GREY, Drawing, Plot, PlotLine

DOCS = Path(__file__).parents[1] / "docs"
"""Where the figures are and the charts go."""
DARK = {
    "#ffffff": "#0d1117",
    "#1e1e22": "#e6e6ea",
    "#e4e4e4": "#2b323b",
    "#0072b2": "#4a90e2",
    "#56b4e9": "#8fd3f4",
    "#d55e00": "#ff8a3d",
}
"""The colours on a dark page by those on a light one: of the paper, the text and the axes, the grid,
and the lines that are hard to see on a dark page."""
TIMES = (
    (3, "3 s"),
    (10, "10 s"),
    (30, "30 s"),
    (60, "1 min"),
    (180, "3 min"),
    (600, "10 min"),
    (1200, "20 min"),
)
"""Ticks of the seconds."""
ABOUT = (
    "A large mark is the end of a training, the mean of its seeds; a small dot is within a training."
    " The hollow mark is of n-grams, which are counted."
)
"""What the chart says of itself."""
BUDGET = "3 minutes"
"""The budget of the trainings that the bars show."""
Point = tuple[float, float]
"""Seconds and loss, or a place in the plot."""
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

    A mark is the mean of trainings at their end, and a line joins the marks of a program. Dots are
    measurements within a training, whose rate of learning has still to fall.
    """
    lines = []
    for number, (name, points) in enumerate(read_programs(DOCS / "peers.csv").items()):
        line = numbered_line(number, name=name, points=on_log_scale(points.ends))
        within = PlotLine(name, points=on_log_scale(points.within), colour=line.colour)
        lines += [within, line]
    losses = [loss for line in lines for _, loss in line.points]
    plot = Plot(
        lines=lines,
        x_label="time since the program began",
        x_ticks=[(math.log10(seconds), label) for seconds, label in TIMES],
        y_label="validation loss (nats per character)",
        y_ticks=enclosing_ticks(lowest=min(losses), highest=max(losses)),
    )
    drawing = Drawing("", rows=[[plot]], about=ABOUT)
    _draw(drawing, title="Seconds and validation loss", name="peers", folder=folder)


def draw_bars(folder: Path = DOCS / "pictures") -> None:
    """Draw the loss of each program after three minutes as a bar from 0, as `bars-THEME.svg` for
    each theme: the mean of its seeds, the lowest loss above the others. n-grams take less time."""
    losses = {}
    for row in table_of(read_rows(DOCS / "peers.csv")):
        name, _, budget = row["program"].partition(", ")
        if budget in ("", BUDGET):
            losses[name] = float(row["loss"].split()[0])
    bars = []
    labels = []
    for place, (name, loss) in enumerate(
        sorted(losses.items(), key=itemgetter(1), reverse=True), 1
    ):
        colour = "blue" if name == "charrnn" else GREY
        bars.append(PlotLine(name, points=[(0, place), (loss, place)], colour=colour, bar_width=17))
        labels.append((place, f"{name}  {loss:.3f}"))
    plot = Plot(
        lines=bars,
        x_label="validation loss (nats per character, windowed-256): a shorter bar is better",
        x_ticks=[*((tick / 2, f"{tick / 2:g}") for tick in range(4)), (1.6, "")],
        y_ticks=[(0.4, ""), *labels, (len(bars) + 0.6, "")],
        inches=1.8,
    )
    _draw(Drawing("", rows=[[plot]]), title="Losses of programs", name="bars", folder=folder)


def _draw(drawing: Drawing, *, title: str, name: str, folder: Path) -> None:
    """Write a chart as `NAME-THEME.svg` for each theme."""
    light = draw_chart(drawing, "svg", title=title).decode("utf-8")
    # The same shapes in other colours.
    dark = re.sub("#[0-9a-f]{6}", lambda colour: DARK.get(colour[0], colour[0]), light)
    for theme, picture in (("light", light), ("dark", dark)):
        path = folder / f"{name}-{theme}.svg"
        path.write_text(picture, encoding="utf-8", newline="\n")


def on_log_scale(points: list[Point]) -> list[Point]:
    """Return points with the logarithm of their seconds."""
    return [(math.log10(seconds), loss) for seconds, loss in points]

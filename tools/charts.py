"""Draw the chart of the programs, for light and for dark pages; `tools/figures.py` calls this.

It shows seconds and loss of several programs on tiny Shakespeare, of the table that
benchmarks/losses/peers.py writes.
"""

import csv
import math
import re
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import mean

from charrnn.views.chart_files import draw_chart
from charrnn.views.charts import enclosing_ticks, numbered_line
from charrnn.views.drawing import Drawing, Line, Plot

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
ABOUT = "Marks: the end of a training, the mean of its seeds. Dots: within a training."
"""What the chart says of itself."""
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
        within = Line(name, points=on_log_scale(points.within), colour=line.colour)
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
    light = draw_chart(drawing, "svg", title="Seconds and validation loss").decode("utf-8")
    # The same shapes in other colours.
    dark = re.sub("#[0-9a-f]{6}", lambda colour: DARK.get(colour[0], colour[0]), light)
    for theme, picture in (("light", light), ("dark", dark)):
        path = folder / f"peers-{theme}.svg"
        path.write_text(picture, encoding="utf-8", newline="\n")


def on_log_scale(points: list[Point]) -> list[Point]:
    """Return points with the logarithm of their seconds."""
    return [(math.log10(seconds), loss) for seconds, loss in points]

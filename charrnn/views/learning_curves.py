"""Draw the learning curves of several runs: loss against steps, characters or seconds."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from charrnn.runs.records import LearningCurve, LearningCurves, LossCurve
from charrnn.views.charts import Line, LineChart, Point, Tick, enclosing_ticks, round_step
from charrnn.views.short_numbers import short_number
from charrnn.views.svg import COLUMN_WIDTH, LINE_HEIGHT, label
from charrnn.views.visible import all_visible

TITLE = "Validation loss (nats per character)"
"""Title of the chart."""
TRAINING_NOTE = "Lines without marks: training loss"
"""Starts the note below a chart that shows training losses, too."""
EMPTY_NOTICE = "No loss has been logged yet."
"""Shown instead of an empty chart."""
MAX_RISE = 10.0
"""Nats above the lowest loss from which on a loss is not drawn. A model that knows nothing of a text with 20,000
different characters is below that; one that diverges would flatten all other lines."""
MIN_ACROSS = 1e-6
"""Smallest end of the horizontal axis, in its unit; if all points are nearer to 0, the axis ends at 1."""
MAX_POINTS = 200
"""Points of a drawn training curve at the most; each is the mean of several steps."""


@dataclass(frozen=True)
class LearningChart:
    """A renderable of the validation losses of several runs, and of their training losses if there are any.

    Losses more than `MAX_RISE` nats above the lowest one are not drawn.
    """

    curves: LearningCurves

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._chart(ascii_only=options.ascii_only)
        for note in self._notes():
            yield Text(note)

    def to_shapes(self, width: float) -> tuple[float, Sequence[str]]:
        """Return the height of the chart and its SVG shapes; see `charrnn.views.svg`."""
        height, shapes = self._chart(ascii_only=False).to_shapes(width)
        lines = [line for note in self._notes() for line in wrap(note, int(width / COLUMN_WIDTH))]
        texts = [label(0, height + (row + 1) * LINE_HEIGHT, line) for row, line in enumerate(lines)]
        return height + (len(texts) + 0.5) * LINE_HEIGHT, [*shapes, *texts]

    def _notes(self) -> Iterator[str]:
        most = max((len(curve.training.steps) for curve in self.curves), default=0)
        if most:
            size = math.ceil(most / MAX_POINTS)
            yield f"{TRAINING_NOTE}{f', each point the mean of up to {size} steps' if size > 1 else ''}."
        yield from self.curves.notes

    def _chart(self, *, ascii_only: bool) -> LineChart:
        lines = [
            line
            for number, curve in enumerate(self.curves)
            for line in _lines(curve, number, self.curves.against, ascii_only=ascii_only)
        ]
        least = min((y for line in lines for _, y in _points(line)), default=0.0)
        lines = [_without_higher(line, least + MAX_RISE) for line in lines]
        points = [point for line in lines for point in _points(line)]
        furthest = max((x for x, _ in points), default=0.0)
        furthest = furthest if furthest >= MIN_ACROSS else 1.0
        return LineChart(
            title=TITLE,
            lines=lines,
            across=(0, furthest),
            across_label=self.curves.against,
            across_ticks=lambda most: _multiples(furthest, most),
            up_ticks=enclosing_ticks(least, max((y for _, y in points), default=1.0)),
            empty_notice=EMPTY_NOTICE,
        )


def _lines(curve: LearningCurve, number: int, against: str, *, ascii_only: bool) -> Iterator[Line]:
    """Yield the line of a run's training, if it has one, then that of its validation, which is drawn over it."""
    name = all_visible(curve.run, ascii_only=ascii_only)
    if curve.training.steps:
        yield Line(name, [_thinned(curve.training, against)], number, is_marked=False)
    points = list(zip(curve.validation.against(against), curve.validation.nats, strict=True))
    yield Line(name, [points], number)


def _thinned(curve: LossCurve, against: str) -> list[Point]:
    """Return at most `MAX_POINTS` points: the mean loss of as many steps in a row, where the last of them ended."""
    size = math.ceil(len(curve.steps) / MAX_POINTS)
    across = curve.against(against)
    groups = [range(begin, min(begin + size, len(across))) for begin in range(0, len(across), size)]
    return [(across[group[-1]], sum(curve.nats[i] for i in group) / len(group)) for group in groups]


def _points(line: Line) -> Iterable[Point]:
    return (point for segment in line.segments for point in segment)


def _without_higher(line: Line, highest: float) -> Line:
    segments = [[point for point in segment if point[1] <= highest] for segment in line.segments]
    return Line(line.name, segments, line.number, line.is_marked)


def _multiples(furthest: float, most: int) -> list[Tick]:
    """Return 0 and the multiples of a round number up to `furthest`, about `most` but at least one."""
    step = next(step for step in (round_step(furthest, number) for number in range(most, most + 3)) if step <= furthest)
    return [(index * step, short_number(index * step)) for index in range(int(furthest / step + 1e-9) + 1)]

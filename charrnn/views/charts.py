"""Draw learning curves, with ticks at round numbers."""

import math
from dataclasses import replace

from charrnn.runs.overview import LearningCurves
from charrnn.views.drawing import COLOURS, MARKS, MAX_TICKS, Drawing, Line, Plot, Tick
from charrnn.views.theme import short_number

TITLE = "Validation loss (nats per character)"
"""The title of a chart of learning curves."""
EMPTY_NOTICE = "No loss has been logged yet."
"""The note below an empty chart."""
MAX_RISE = 10.0
"""Losses that are more nats than this above the lowest loss are not drawn. A model that knows
nothing of a text with 20,000 different characters is below this limit; a model that diverges would
flatten the lines of all others."""
MIN_X_END = 1e-6
"""The smallest end of the horizontal axis, in its unit. If all points are nearer to 0, the axis
ends at 1."""


def learning_chart(curves: LearningCurves) -> Drawing:
    """Draw the validation losses of several runs.

    Losses more than `MAX_RISE` nats above the lowest loss are not drawn.
    """
    logged: list[Line] = []
    for number, run in enumerate(curves):
        points = zip(run.validation.against(curves.against), run.validation.nats, strict=True)
        colour = COLOURS[number % len(COLOURS)]
        logged.append(Line(run.name, [list(points)], colour, MARKS[number % len(MARKS)]))
    lowest_loss = min((y for line in logged for _, y in line.points), default=0.0)

    # A line that diverges would flatten all other lines.
    lines = []
    for line in logged:
        points_in_range = [point for point in line.points if point[1] <= lowest_loss + MAX_RISE]
        lines.append(replace(line, segments=[points_in_range]))

    # The horizontal axis ends at the last point that is drawn.
    drawn = [point for line in lines for point in line.points]
    x_end = max((x for x, _ in drawn), default=0.0)
    if x_end < MIN_X_END:
        x_end = 1.0

    notes = list(curves.notes)
    if not drawn:
        notes.append(EMPTY_NOTICE)

    plot = Plot(
        lines=lines,
        x_range=(0, x_end),
        x_label=curves.against,
        x_ticks=_multiples(x_end),
        y_ticks=enclosing_ticks(lowest_loss, max((y for _, y in drawn), default=1.0)),
    )
    return Drawing(TITLE, rows=[[plot]], notes=notes)


def _multiples(end: float) -> list[Tick]:
    """Return ticks at 0 and at the multiples of a round number up to `end`: at most MAX_TICKS
    multiples."""
    step = round_step(end, MAX_TICKS)
    # A rounding error must not cut off the last tick.
    num_intervals = int(end / step + 1e-9)
    positions = [step * number for number in range(num_intervals + 1)]
    return [(position, short_number(position)) for position in positions]


def round_step(extent: float, max_intervals: int) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that divides an extent into at most
    `max_intervals` intervals."""
    # The smallest step that is long enough, then the next round number above it.
    smallest = extent / max(1, max_intervals)
    power = math.floor(math.log10(smallest))

    # A rounding error must not skip a step that fits exactly.
    least = smallest * (1 - 1e-9)
    for digit in (1, 2, 5):
        step = digit * 10.0**power
        if step >= least:
            return step
    return 10.0 ** (power + 1)


def enclosing_ticks(lowest: float, highest: float) -> list[Tick]:
    """Return ticks at up to `MAX_TICKS` equidistant round numbers, from one that is not above
    `lowest` to one that is not below `highest`.

    The ticks are at least 0.001 / (`MAX_TICKS` - 1) apart, and far enough that their floats differ.
    """
    # The axis of a flat line has an extent, too, so that the labels of its ticks differ.
    extent = max(highest - lowest, 1e-3, 1e-9 * max(abs(lowest), abs(highest)))
    # `num_intervals` intervals are long enough, but beginning at a round number they may end before
    # `highest`, so that another interval is needed. With one interval this loop always ends.
    for num_intervals in range(MAX_TICKS - 1, 0, -1):
        step = round_step(extent, num_intervals)
        first = math.floor(lowest / step + 1e-9)
        last = max(math.ceil(highest / step - 1e-9), first + 1)
        if last - first < MAX_TICKS:
            break

    # The labels have as many decimals as the step: 0.5, 1.0, 1.5.
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(level * step, f"{level * step:.{digits}f}") for level in range(first, last + 1)]

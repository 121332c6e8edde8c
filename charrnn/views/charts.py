"""Draw learning curves, and choose ticks at round numbers."""

import math

from charrnn.runs.overview import LearningCurves
from charrnn.views.drawing import COLOURS, MARKS, MAX_TICKS, Drawing, Line, Plot, Tick

TITLE = "Validation loss (nats per character)"
"""The title of a chart of learning curves."""
MAX_RISE = 10.0
"""Losses that are more nats than this above the lowest loss are not drawn. A model that knows
nothing of a text with 20,000 different characters is below this limit; a model that diverges would
flatten the lines of all others."""


def learning_chart(curves: LearningCurves) -> Drawing:
    """Draw the validation losses of several runs.

    Losses more than `MAX_RISE` nats above the lowest loss are not drawn.
    """
    lowest_loss = min(loss for run in curves for loss in run.validation.nats)
    lines = []
    drawn = []
    # Runs that differ in the seed alone have the same colour.
    settings = list(dict.fromkeys(run.settings for run in curves))
    for number, run in enumerate(curves):
        points = []
        for point in zip(run.validation.steps, run.validation.nats, strict=True):
            if point[1] <= lowest_loss + MAX_RISE:
                points.append(point)
        colour = COLOURS[settings.index(run.settings) % len(COLOURS)]
        lines.append(Line(run.name, points=points, colour=colour, mark=MARKS[number % len(MARKS)]))
        drawn += points

    plot = Plot(
        lines=lines,
        x_label="steps",
        x_ticks=enclosing_ticks(0, max(x for x, _ in drawn)),
        y_ticks=enclosing_ticks(lowest_loss, max(y for _, y in drawn)),
    )
    return Drawing(TITLE, rows=[[plot]], notes=curves.notes)


def enclosing_ticks(lowest: float, highest: float) -> list[Tick]:
    """Return ticks at up to `MAX_TICKS` multiples of 1, 2 or 5 times a power of ten, from one that
    is not above `lowest` to one that is not below `highest`.

    The ticks are at least 0.0001 apart, and far enough that their floats differ.
    """
    # The axis of a flat line has an extent, too, so that the labels of its ticks differ.
    extent = max(highest - lowest, 1e-3, 1e-9 * max(abs(lowest), abs(highest)))
    smallest = math.floor(math.log10(extent)) - 1

    # The smallest step with few enough ticks. A rounding error must not add a tick.
    steps = [digit * 10.0 ** (smallest + power) for power in range(3) for digit in (1, 2, 5)]
    for step in steps:
        first = math.floor(lowest / step + 1e-9)
        last = max(math.ceil(highest / step - 1e-9), first + 1)
        if last - first < MAX_TICKS:
            break

    # The labels have as many decimals as the step: 0.5, 1.0, 1.5.
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(level * step, f"{level * step:,.{digits}f}") for level in range(first, last + 1)]

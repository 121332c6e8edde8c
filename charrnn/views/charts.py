"""Draw learning curves, and choose ticks at round numbers."""

import math
from collections.abc import Sequence

from charrnn.runs.overview import LearningCurves
from charrnn.views.drawing import (
    COLOURS,
    DASHES,
    MARKS,
    MAX_TICKS,
    Drawing,
    Plot,
    PlotLine,
    Point,
    Tick,
    finite,
)

TITLE = "Validation loss (nats per character)"
"""The title of a chart of learning curves."""
MAX_RISE = 10.0
"""Losses that are more nats than this above the lowest loss are not drawn. A model that knows
nothing of a text with 20,000 different characters is below this limit; a model that diverges would
flatten the lines of all others."""


def learning_chart(curves: LearningCurves) -> Drawing:
    """Draw the validation losses of several runs.

    Losses more than `MAX_RISE` nats above the lowest loss are not drawn: there the line has a gap.
    """
    lowest_loss = min(loss for run in curves for loss in run.validation.nats)
    lines = []
    for number, run in enumerate(curves):
        points = []
        for step, loss in zip(run.validation.steps, run.validation.nats, strict=True):
            if loss > lowest_loss + MAX_RISE:
                loss = math.nan
            points.append((step, loss))
        lines.append(numbered_line(number, name=run.name, points=points))
    plot = line_plot(lines, x_label="steps", y_label=TITLE)
    return Drawing("", rows=[[plot]], notes=curves.notes)


def numbered_line(number: int, name: str, points: Sequence[Point]) -> PlotLine:
    """Return the line of the run, or of whatever is compared, with this number in its chart.

    Up to 42 lines differ in their colours or in their marks, the first six in both. In every chart
    of the same runs, a run has the same colour, mark and style.
    """
    return PlotLine(
        name,
        points=points,
        colour=COLOURS[number % len(COLOURS)],
        mark=MARKS[number % len(MARKS)],
        dashes=DASHES[number % len(DASHES)],
    )


def line_plot(lines: Sequence[PlotLine], *, x_label: str, y_label: str, heading: str = "") -> Plot:
    """Return a plot of lines, whose axes begin and end at round numbers around all of its points.

    One needs it for every chart of lines whose axes are linear; a `Drawing` of one or several plots
    is what a terminal shows, and `chart_files.draw_chart` draws in a file.

    Args:
        lines: The lines (`numbered_line`); `drawing.GREY` is the colour of what the others are
            compared with.
        x_label: The title of the horizontal axis, with its unit, such as "distance (characters)".
            The axis has a 0.
        y_label: The title of the vertical axis, with its unit, such as "mean effect (nats)".
        heading: What the plot shows, if it stands beside others.

    Returns:
        The plot.

    Example:
        >>> chance = PlotLine("chance", points=[(0, 0.1), (9, 0.1)], colour=GREY, mark="×")
        >>> plot = line_plot([chance], x_label="distance (characters)", y_label="effect (nats)")
        >>> [label for _, label in plot.x_ticks]
        ['0', '2', '4', '6', '8', '10']
    """
    points = [point for line in lines for point in finite(line.points)]
    xs, ys = zip(*points or [(0.0, 0.0)], strict=True)
    lowest = min(ys)
    highest = max(ys)
    if lowest == highest:
        # A flat line is in the middle.
        margin = 0.05 * abs(lowest) or 0.5
        lowest -= margin
        highest += margin
    return Plot(
        lines=lines,
        heading=heading,
        x_label=x_label,
        y_label=y_label,
        x_ticks=enclosing_ticks(lowest=min(0, *xs), highest=max(xs)),
        y_ticks=enclosing_ticks(lowest=lowest, highest=highest),
    )


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

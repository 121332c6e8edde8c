"""How far error signals reach back: a line for each layer of each run, on a log scale."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from charrnn.records.microscope import GradientReach
from charrnn.render.canvas import Canvas
from charrnn.render.heat import all_visible, visible_in_ascii

STYLES = tuple(Style(color=color) for color in ("blue", "red", "green", "magenta", "cyan", "yellow"))
MARKS = "●▲■◆○△□"
ASCII_MARKS = "ox*@%&$"
HEIGHT = 15
"""Lines from the lowest power of ten to the highest, or a few less: as many between any two."""
MARK_EVERY = 12
"""Columns from one mark of a line to its next, if the lines are few: they take turns."""
LOWEST, HIGHEST = -12, 12
"""Powers of ten that a line leaves the chart at: what fades to 1e-60 would else press all others flat."""
MIN_WIDTH = 20
"""Columns of the drawing; what does not fit into the terminal is cut off."""
MAX_TICKS = 7
TICK_EVERY = 10
"""Columns from one number below the chart to the next, at least."""


@dataclass(frozen=True, slots=True)
class _Curve:
    name: str
    heights: dict[int, float]
    """By lag, the logarithm (base 10) of the norm, where that is within the chart."""


@dataclass(frozen=True)
class GradientChart:
    """A renderable of the mean norm of the loss's gradient by each layer's state, k characters before, against k.

    Lines are told apart by their marks, and by colour where there is any. One that falls straight fades by the same
    factor at every character; one that rises explodes. Norms below 1e-12 or above 1e12 are not drawn.
    """

    reaches: Sequence[GradientReach]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ascii_only, width = options.ascii_only, options.max_width
        curves = [curve for reach in self.reaches for curve in _curves(reach, ascii_only=ascii_only)]
        heights = [height for curve in curves for height in curve.heights.values()]
        yield Text("Mean norm of the loss's gradient by earlier states (nats)", style="bold")
        if not heights:
            yield Text("There is nothing to draw between 1e-12 and 1e12.")
            return
        ticks = _decades(min(heights), max(heights))
        low, high = ticks[0], ticks[-1]
        furthest = max(2, *(lag for curve in curves for lag in curve.heights))
        margin = max(len(f"1e{tick}") for tick in ticks)
        height = HEIGHT // (len(ticks) - 1) * (len(ticks) - 1) + 1
        canvas = Canvas(max(MIN_WIDTH, width - margin - 2), height, ascii_only=ascii_only)

        def place(lag: int, height: float) -> tuple[float, float]:
            return (lag - 1) / (furthest - 1), (height - low) / (high - low)

        marks = [(ASCII_MARKS if ascii_only else MARKS)[number % len(MARKS)] for number in range(len(curves))]
        styles = [STYLES[number % len(STYLES)] for number in range(len(curves))]
        for curve, style in zip(curves, styles, strict=True):
            for lag in curve.heights:
                following = lag + 1 if lag + 1 in curve.heights else lag
                canvas.line(place(lag, curve.heights[lag]), place(following, curve.heights[following]), style)
        every = max(MARK_EVERY, 3 * len(curves))
        for number, (curve, mark, style) in enumerate(zip(curves, marks, styles, strict=True)):
            for column in range((2 * number + 1) * every // (2 * len(curves)), canvas.width, every):
                lag = 1 + round(column / (canvas.width - 1) * (furthest - 1))
                if lag in curve.heights:
                    canvas.mark(*place(lag, curve.heights[lag]), mark, style)

        side, tick_left, corner, floor, tick_below = "|++-+" if ascii_only else "│┤└─┬"
        at_row = {canvas.row(place(1, tick)[1]): f"1e{tick}" for tick in ticks}
        at_column = {canvas.column(place(lag, low)[0]): lag for lag in _lags(furthest, canvas.width // TICK_EVERY)}
        for row, line in enumerate(canvas.lines()):
            yield _line(f"{at_row.get(row, ''):>{margin}}{tick_left if row in at_row else side}", line)
        bottom = "".join(tick_below if column in at_column else floor for column in range(canvas.width))
        yield _line(" " * margin + corner + bottom)
        yield _line(" " * (margin + 1) + _numbers(at_column, canvas.width))
        yield _line("characters before".rjust(margin + 1 + canvas.width))
        yield from _legend([(f"{mark} {c.name}", s) for c, mark, s in zip(curves, marks, styles, strict=True)], width)


def _line(*pieces: str | Text) -> Text:
    line = Text.assemble(*pieces)
    line.no_wrap = True
    line.overflow = "crop"
    return line


def _curves(reach: GradientReach, *, ascii_only: bool) -> Iterator[_Curve]:
    name = "".join(map(visible_in_ascii, reach.name)) if ascii_only else all_visible(reach.name)
    for layer, norms in enumerate(reach.norms):
        heights = {
            lag: math.log10(norm)
            for lag, norm in zip(reach.lags, norms, strict=True)
            if 10.0**LOWEST <= norm <= 10.0**HIGHEST
        }
        yield _Curve(name if len(reach.norms) == 1 else f"{name}, layer {layer}", heights)


def _decades(lowest: float, highest: float) -> list[int]:
    """Whole powers of ten, equally far apart, `MAX_TICKS` at the most, with the given ones between them."""
    low, high = math.floor(lowest), math.ceil(highest)
    high = max(high, low + 1)
    step = math.ceil((high - low) / (MAX_TICKS - 1))
    return list(range(high - step * math.ceil((high - low) / step), high + 1, step))


def _lags(furthest: int, most: int) -> list[int]:
    """1 and round numbers up to `furthest`, about `most` of them at the most."""
    steps = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
    step = next(step for step in steps if furthest / step <= max(1, most))
    return [1, *range(step, furthest + 1, step)] if step > 1 else list(range(1, furthest + 1))


def _numbers(at_column: dict[int, int], width: int) -> str:
    """A line of `width` columns with each number below its column; one that has no room is left out."""
    line = ""
    for column, number in sorted(at_column.items()):
        begin = min(column - (len(str(number)) - 1) // 2, width - len(str(number)))
        if begin >= len(line) + (1 if line else 0):
            line = line.ljust(begin) + str(number)
    return line


def _legend(entries: Sequence[tuple[str, Style]], width: int) -> Iterator[Text]:
    """The names of the lines, as many beside each other as there is room for."""
    line = Text(overflow="fold")
    for name, style in entries:
        if line and line.cell_len + 3 + cell_len(name) > width:
            yield line
            line = Text(overflow="fold")
        line.append("   " if line else "").append(name, style)
    yield line

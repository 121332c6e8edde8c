"""Draw how far gradients reach back: a line for each layer of each run, on a log scale."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from charrnn.records.microscope import GradientReach
from charrnn.render.canvas import Canvas
from charrnn.render.svg import COLUMN_WIDTH, GRID, INK, LINE_HEIGHT, PAPER, colour_of, label, path, shape
from charrnn.render.visible import all_visible, visible_in_ascii

STYLES = tuple(Style(color=color) for color in ("blue", "red", "green", "magenta", "cyan", "yellow"))
"""Colours of the lines, in turn."""
MARKS = "●▲■◆○△□"
"""Marks on the lines, in turn."""
ASCII_MARKS = "ox*@%&$"
"""The same for streams that carry ASCII only."""
SHAPES = (
    (24, 0.0, True),
    (3, 0.0, True),
    (4, 0.125, True),
    (4, 0.0, True),
    (24, 0.0, False),
    (3, 0.0, False),
    (4, 0.125, False),
)
"""MARKS as polygons in an exported picture: (corners, rotation as a share of a turn, filled)."""
NUM_MARKS = 6
"""Marks on each line of an exported picture."""
TITLE = "Mean norm of the loss's gradient by earlier states (nats)"
"""Title of the chart."""
EMPTY_NOTICE = "There is nothing to draw between 1e-12 and 1e12."
"""Shown instead of an empty chart."""
HEIGHT = 15
"""Lines of the drawing at the most: a multiple of the number of intervals between ticks."""
MARK_EVERY = 12
"""Columns between two marks of a line, if the lines are few. The marks of different lines alternate."""
LOWEST, HIGHEST = -12, 12
"""Powers of ten outside which norms are not drawn: one that vanishes to 1e-60 would flatten all other lines."""
PICTURE_HEIGHT = 380.0
"""Pixels of the drawing in an exported picture."""
PICTURE_MARGIN = 70.0
"""Pixels for the numbers on the left of the drawing."""
MARK_SIZE = 6.0
"""Pixels from the centre of a mark to its corners."""
MIN_WIDTH = 20
"""Columns of the drawing at least; a narrower terminal crops it."""
MAX_TICKS = 7
"""Powers of ten on the vertical axis at the most."""
TICK_EVERY = 10
"""Columns between two numbers on the horizontal axis at least."""


@dataclass(frozen=True, slots=True)
class _Curve:
    name: str
    heights: dict[int, float]
    """log10 of the norm by lag, where it is inside the chart."""


@dataclass(frozen=True)
class GradientChart:
    """A renderable of the mean gradient norm of the loss by each layer's state k characters before, against k.

    Lines differ in their marks and, if the console has colours, in colour. A straight falling line is a gradient that
    vanishes by the same factor at every character; a rising one explodes. Norms
    below 1e-12 or above 1e12 are not drawn.
    """

    reaches: Sequence[GradientReach]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ascii_only, width = options.ascii_only, options.max_width
        curves = [curve for reach in self.reaches for curve in _curves(reach, ascii_only=ascii_only)]
        heights = [height for curve in curves for height in curve.heights.values()]
        yield Text(TITLE, style="bold")
        if not heights:
            yield Text(EMPTY_NOTICE)
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

    def to_shapes(self, width: float) -> tuple[float, Sequence[str]]:
        """Return the height of the chart and its SVG shapes; see `charrnn.render.svg`."""
        curves = [curve for reach in self.reaches for curve in _curves(reach, ascii_only=False)]
        heights = [height for curve in curves for height in curve.heights.values()]
        shapes = [label(0, LINE_HEIGHT * 0.75, TITLE, bold=True)]
        if not heights:
            return 2 * LINE_HEIGHT, [*shapes, label(0, 1.75 * LINE_HEIGHT, EMPTY_NOTICE)]
        ticks = _decades(min(heights), max(heights))
        furthest = max(2, *(lag for curve in curves for lag in curve.heights))
        top, left, right = 1.5 * LINE_HEIGHT, PICTURE_MARGIN, width - 2 * COLUMN_WIDTH
        bottom = top + PICTURE_HEIGHT

        def place(lag: float, height: float) -> tuple[float, float]:
            share = (height - ticks[0]) / (ticks[-1] - ticks[0])
            return left + (lag - 1) / (furthest - 1) * (right - left), bottom - share * PICTURE_HEIGHT

        for tick in ticks:
            y = place(1, tick)[1]
            shapes += [
                path([(left, y), (right, y)], GRID, width=1),
                label(left - 8, y + 6, f"1e{tick}", anchor="end"),
            ]
        for lag in _lags(furthest, 10):
            x = place(lag, ticks[0])[0]
            shapes += [
                path([(x, bottom), (x, bottom + 6)], INK),
                label(x, bottom + LINE_HEIGHT, str(lag), anchor="middle"),
            ]
        shapes += [
            path([(left, top), (left, bottom), (right, bottom)], INK),
            label(right, bottom + 2 * LINE_HEIGHT, "characters before", anchor="end"),
        ]
        for number, curve in enumerate(curves):
            shapes += _drawn(curve, number, len(curves), furthest, place)
        y = bottom + 3 * LINE_HEIGHT
        for number, curve in enumerate(curves):
            shapes += [
                _mark(number, (MARK_SIZE + 2, y - 6)),
                label(2 * COLUMN_WIDTH, y, curve.name, fill=_colour(number)),
            ]
            y += LINE_HEIGHT
        return y - LINE_HEIGHT / 2, shapes


def _drawn(
    curve: _Curve, number: int, num_curves: int, furthest: int, place: Callable[[float, float], tuple[float, float]]
) -> Iterator[str]:
    """Yield a curve as one path for each segment inside the chart, then its marks, which alternate with the others'."""
    segment: list[int] = []
    for lag in [*sorted(curve.heights), furthest + 2]:
        if segment and lag != segment[-1] + 1:
            yield path([place(one, curve.heights[one]) for one in segment], _colour(number), width=2)
            segment = []
        segment.append(lag)
    for turn in range(NUM_MARKS):
        lag = 1 + round((turn + (number + 0.5) / num_curves) / NUM_MARKS * (furthest - 1))
        if lag in curve.heights:
            yield _mark(number, place(lag, curve.heights[lag]))


def _colour(number: int) -> str:
    return colour_of(STYLES[number % len(STYLES)])


def _mark(number: int, centre: tuple[float, float]) -> str:
    """Return a mark as a polygon, filled or hollow."""
    num_corners, turn, is_filled = SHAPES[number % len(SHAPES)]
    angles = (math.tau * (corner / num_corners + turn) for corner in range(num_corners))
    x, y = centre
    outline = [(x + MARK_SIZE * math.sin(angle), y - MARK_SIZE * math.cos(angle)) for angle in angles]
    colour = _colour(number)
    return shape(outline, colour if is_filled else PAPER, stroke=colour)


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
    """Return at most `MAX_TICKS` equidistant powers of ten that enclose the given ones."""
    low, high = math.floor(lowest), math.ceil(highest)
    high = max(high, low + 1)
    step = math.ceil((high - low) / (MAX_TICKS - 1))
    return list(range(high - step * math.ceil((high - low) / step), high + 1, step))


def _lags(furthest: int, most: int) -> list[int]:
    """Return 1 and about `most` round numbers up to `furthest`."""
    steps = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
    step = next(step for step in steps if furthest / step <= max(1, most))
    return [1, *range(step, furthest + 1, step)] if step > 1 else list(range(1, furthest + 1))


def _numbers(at_column: dict[int, int], width: int) -> str:
    """Return a line of `width` columns with each number below its column, without those that do not fit."""
    line = ""
    for column, number in sorted(at_column.items()):
        begin = min(column - (len(str(number)) - 1) // 2, width - len(str(number)))
        if begin >= len(line) + (1 if line else 0):
            line = line.ljust(begin) + str(number)
    return line


def _legend(entries: Sequence[tuple[str, Style]], width: int) -> Iterator[Text]:
    """Yield the names of the lines, as many per line as fit."""
    line = Text(overflow="fold")
    for name, style in entries:
        if line and line.cell_len + 3 + cell_len(name) > width:
            yield line
            line = Text(overflow="fold")
        line.append("   " if line else "").append(name, style)
    yield line

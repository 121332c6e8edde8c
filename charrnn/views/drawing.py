"""Describe charts, and draw them in dots in a terminal and as shapes in an exported picture.

A `Drawing` is what there is to be seen: rows of plots with axes, lines, marks and a legend. Its
layout in columns and lines is the same everywhere; only the canvas inside the axes differs.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, zip_longest
from textwrap import wrap

from rich.cells import cell_len
from rich.color import Color
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from charrnn.views.svg import COLUMN_WIDTH, GRID, LIGHT, LINE_HEIGHT
from charrnn.views.theme import all_visible, is_in_words, short_number

BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, 4 rows of 2 (Unicode block U+2800)."""
COLOURS = ("blue", "red", "green", "magenta", "cyan", "yellow")
"""Colours of the lines, in turn."""
MARKS = "●▲■◆○△□"
"""Marks on the lines, in turn."""
NUM_MARKS = 6
"""The largest number of marks on a line."""
MIN_WIDTH = 20
"""The smallest number of columns of a canvas; a narrower terminal crops it."""
MIN_PLOT_WIDTH = MIN_WIDTH + 4
"""The smallest number of columns of a plot that stands beside another."""
MAX_TICKS = 7
"""The largest number of ticks on an axis, and of points of a line in words."""

Point = tuple[float, float]
"""A position (x, y) in the units of the axes or, on a canvas, in [0, 1] from the lower left
corner."""
Tick = tuple[float, str]
"""A position on an axis, and its label."""


class Canvas:
    """A grid of characters to draw on with dots: braille characters of 2 x 4 dots, all in the
    colour of the dot that was drawn last. A mark replaces the character at its position."""

    def __init__(self, width: int, height: int, *, left: int = 0, top: int = 0) -> None:
        """Create an empty canvas of `width` columns and `height` lines, with `left` columns before
        it and `top` lines above it."""
        self.width = width
        self.height = height
        self.left = left
        self.top = top
        self.shapes: list[str] = []
        """SVG elements that lie below the lines of characters."""
        self._dots: dict[tuple[int, int], tuple[int, str]] = {}
        self._marks: dict[tuple[int, int], tuple[str, str]] = {}

    def column(self, x: float) -> int:
        """Return the column of a position, from the left."""
        return self._nearest_dot((x, 0))[0] // 2

    def row(self, y: float) -> int:
        """Return the line of a position, from the top."""
        return self._nearest_dot((0, y))[1] // 4

    def level(self, y: float) -> None:
        """Draw a grid line, for which characters have no room."""

    def line(self, points: Sequence[Point], colour: str, width: float = 2) -> None:
        """Draw a line of dots through points. Dots that are already drawn do not change."""
        # The last point is connected with itself, so that a line of one point is a dot.
        dots = [self._nearest_dot(point) for point in [*points, points[-1]]]
        for (x, y), (to_x, to_y) in pairwise(dots):
            # As many steps as there are dots along the longer side, so that there are no gaps.
            num_steps = max(abs(to_x - x), abs(to_y - y), 1)
            for step in range(num_steps + 1):
                column = x + round((to_x - x) * step / num_steps)
                row = y + round((to_y - y) * step / num_steps)
                cell = (column // 2, row // 4)
                bits, _ = self._dots.get(cell, (0, ""))
                bit = BRAILLE[row % 4][column % 2]
                if not bits & bit:
                    self._dots[cell] = (bits | bit, colour)

    def mark(self, point: Point, mark: str, colour: str) -> None:
        """Put a character over the dots at a position."""
        x, y = point
        self._marks[self.column(x), self.row(y)] = (mark, colour)

    def lines(self) -> list[Text]:
        """Return the drawing line by line, from the top."""
        lines = []
        for row in range(self.height):
            line = Text()
            for column in range(self.width):
                bits, colour = self._dots.get((column, row), (0, ""))
                # Some fonts draw the empty braille character as empty circles.
                character = chr(0x2800 + bits) if bits else " "
                line.append(*self._marks.get((column, row), (character, colour)))
            lines.append(line)
        return lines

    def _nearest_dot(self, point: Point) -> tuple[int, int]:
        """Return the column and the row, from the top, of the dot nearest to a position."""
        x, y = point
        return round(x * (2 * self.width - 1)), round((1 - y) * (4 * self.height - 1))


class ShapeCanvas(Canvas):
    """A canvas that is drawn with SVG shapes, below lines that are blank."""

    def level(self, y: float) -> None:
        # From axis to axis, so that a value can be read off at any point.
        self._path([(0, y), (1, y)], f'stroke="{GRID}"')

    def line(self, points: Sequence[Point], colour: str, width: float = 2) -> None:
        style = f'stroke="{_hex(colour)}" stroke-width="{width:g}" stroke-linecap="round"'
        # Dots that lie over each other look darker.
        if len(points) == 1:
            points = [*points, *points]
            style += ' stroke-opacity="0.6"'
        self._path(points, style)

    def mark(self, point: Point, mark: str, colour: str) -> None:
        # The baseline of a letter is a third of its height below its middle.
        x, y = self._pixels(point)
        place = f'x="{x:.1f}" y="{y + LINE_HEIGHT / 3:.1f}" text-anchor="middle"'
        self.shapes.append(f'<text {place} fill="{_hex(colour)}">{mark}</text>')

    def _path(self, points: Sequence[Point], style: str) -> None:
        route = "L".join("{:.1f} {:.1f}".format(*self._pixels(point)) for point in points)
        self.shapes.append(f'<path d="M{route}" fill="none" {style}/>')

    def _pixels(self, point: Point) -> Point:
        # The ends are in the middle of the first and the last column or line, as the ticks are.
        x, y = point
        column = self.left + 0.5 + x * (self.width - 1)
        line = self.top + 0.5 + (1 - y) * (self.height - 1)
        return column * COLUMN_WIDTH, line * LINE_HEIGHT


def _hex(colour: str) -> str:
    """Return a colour on light paper as #rrggbb."""
    return Color.parse(colour).get_truecolor(LIGHT).hex


@dataclass(frozen=True)
class Line:
    """A line of a plot, or a cloud of dots, which are segments of one point."""

    name: str
    """Its name in the legend."""
    segments: Sequence[Sequence[Point]]
    """Points with ascending x; nothing is drawn between two segments."""
    colour: str = COLOURS[0]
    """Its colour in a picture, as `#rrggbb`."""
    mark: str = ""
    """Its mark; "" for a line without marks, which is not in the legend."""
    width: float = 2
    """Its width in a picture, in pixels."""

    @property
    def points(self) -> list[Point]:
        """The points of all segments."""
        return list(chain.from_iterable(self.segments))


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Lines between two axes."""

    lines: Sequence[Line]
    x_range: tuple[float, float]
    """The ends of the horizontal axis."""
    x_label: str
    x_ticks: Sequence[Tick]
    """Ticks of the horizontal axis; a label for which there is no room is left out."""
    y_ticks: Sequence[Tick]
    """Equidistant ticks of the vertical axis, from one end to the other."""
    y_in_words: Callable[[float], str] = "{:.4g}".format
    """Returns a position on the vertical axis as words."""
    heading: Sequence[str] = ()
    """Lines above the plot; the first of them is its name."""
    caption: str = ""
    """A sentence below the plot, which replaces its lines where only words can be shown."""
    max_columns: int = 1_000
    height: int = 15
    """The largest number of lines between the first and the last tick of the vertical axis."""

    def in_words(self) -> Iterator[str]:
        """Yield the caption or, for each line, at most MAX_TICKS of its points, the last among
        them."""
        if self.caption:
            yield f"{self.heading[0]}: {self.caption}"
            return
        for line in self.lines:
            # Points are chosen from the end, and said from the beginning.
            step = max(1, math.ceil(len(line.points) / MAX_TICKS))
            shown = line.points[::-step][::-1]
            values = [f"{short_number(x)}: {self.y_in_words(y)}" for x, y in shown]
            name = line.name if line.mark else f"{line.name} (without marks)"
            yield f"{all_visible(name)}, by {self.x_label}: {'; '.join(values)}"

    def layout(
        self, columns: int, new_canvas: type[Canvas], left: int, top: int
    ) -> tuple[list[Text], list[str]]:
        """Return the plot as lines of characters, and the SVG elements below them, with `left`
        columns before it and `top` lines above it."""
        # The canvas, beside a margin for the labels of the vertical axis. Its height is a multiple
        # of the number of intervals, so that every tick is in the middle of a line.
        margin = max(cell_len(tick_label) for _, tick_label in self.y_ticks)
        num_intervals = len(self.y_ticks) - 1
        canvas = new_canvas(
            max(MIN_WIDTH, min(columns, self.max_columns) - margin - 2),
            max(1, self.height // num_intervals) * num_intervals + 1,
            left=left + margin + 1,
            top=top + len(self.heading),
        )

        # The grid is below everything else.
        label_of_row = {}
        for y, tick_label in self.y_ticks:
            _, share = self._share((0, y))
            canvas.level(share)
            label_of_row[canvas.row(share)] = tick_label
        self._draw(canvas)

        # The heading and the vertical axis.
        rows = [Text(heading, style="bold") for heading in self.heading]
        for row, line in enumerate(canvas.lines()):
            edge = "┤" if row in label_of_row else "│"
            rows.append(Text.assemble(label_of_row.get(row, "").rjust(margin), edge, line))

        # The horizontal axis, the labels of its ticks, and the label of the axis.
        label_of_column = {}
        axis = ["─"] * canvas.width
        for x, tick_label in self.x_ticks:
            share, _ = self._share((x, 0))
            column = canvas.column(share)
            label_of_column[column] = tick_label
            axis[column] = "┬"
        rows.append(Text(f"{'└':>{margin + 1}}{''.join(axis)}"))
        below = [tick_labels(label_of_column, canvas.width), self.x_label.rjust(canvas.width)]
        for text in filter(None, [*below, self.caption]):
            rows.append(Text(" " * (margin + 1) + text))
        return rows, canvas.shapes

    def _share(self, point: Point) -> Point:
        """Return a position as shares of the axes, from 0 to 1."""
        x, y = point
        begin, end = self.x_range
        low = self.y_ticks[0][0]
        high = self.y_ticks[-1][0]
        return (x - begin) / (end - begin), (y - low) / (high - low)

    def _draw(self, canvas: Canvas) -> None:
        for line in self.lines:
            for segment in filter(None, line.segments):
                canvas.line(list(map(self._share, segment)), line.colour, line.width)

        # The marks hide the lines. The marks of different lines alternate, so that equal lines can
        # be told apart. A line of few points has a mark, too, for the legend.
        marked = [line for line in self.lines if line.mark]
        for turn, line in enumerate(marked):
            points = list(map(self._share, line.points))
            step = max(len(marked), math.ceil(len(points) / NUM_MARKS))
            first = min(turn * step // len(marked), len(points) - 1)
            for point in points[first::step]:
                canvas.mark(point, line.mark, line.colour)


@dataclass(frozen=True)
class Drawing:
    """A renderable of plots, which differ in their marks and, if the console has colours, in
    colour."""

    title: str
    rows: Sequence[Sequence[Plot]]
    """The plots that stand side by side, where there is room."""
    notes: Sequence[str] = ()
    """Sentences below the plots."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # A stream that carries only ASCII has neither dots nor marks.
        if is_in_words(console) or options.ascii_only:
            yield Text(self.title, style="bold")
            for plot in chain.from_iterable(self.rows):
                yield from map(Text, plot.in_words())
            yield from map(Text, self.notes)
            return
        lines, _ = self._layout(options.max_width, Canvas)
        yield from lines

    def to_shapes(self, columns: int, top: int) -> tuple[Sequence[RenderableType], Sequence[str]]:
        """Return the lines of the drawing, and the SVG elements that lie below them; see
        `charrnn.views.svg`."""
        return self._layout(columns, ShapeCanvas, top)

    def _layout(
        self, columns: int, new_canvas: type[Canvas], top: int = 0
    ) -> tuple[list[RenderableType], list[str]]:
        # A title of several lines moves the plots down.
        lines: list[RenderableType] = []
        lines += [Text(line, style="bold") for line in wrap(self.title, columns)]
        shapes: list[str] = []
        legend: dict[str, Text] = {}
        for plots in self.rows:
            # As many plots side by side as there is room for.
            num_beside = max(1, min(len(plots), columns // MIN_PLOT_WIDTH))
            width = columns // num_beside
            for begin in range(0, len(plots), num_beside):
                # The shapes stand as far down as the lines that come before them are high.
                blocks = []
                for number, plot in enumerate(plots[begin : begin + num_beside]):
                    block, below = plot.layout(
                        width, new_canvas, left=number * width, top=top + len(lines)
                    )
                    blocks.append(block)
                    shapes += below
                for pieces in zip_longest(*blocks, fillvalue=Text()):
                    joined = Text(no_wrap=True, overflow="crop")
                    for number, piece in enumerate(pieces):
                        joined.pad_right(number * width - joined.cell_len)
                        joined.append_text(piece)
                    lines.append(joined)

            # The legend names the lines with marks; a note explains the lines without marks.
            for line in chain.from_iterable(plot.lines for plot in plots):
                if line.mark:
                    legend[line.name] = Text(f"{line.mark} {all_visible(line.name)}", line.colour)
        lines += [Columns(legend.values(), padding=(0, 3, 0, 0)), *map(Text, self.notes)]
        return lines, shapes


def tick_labels(label_of_column: dict[int, str], width: int) -> str:
    """Return a line of `width` columns with each label below its column; a label that would touch
    the label before it is left out."""
    line = ""
    for column, tick_label in sorted(label_of_column.items()):
        begin = max(0, min(column - (len(tick_label) - 1) // 2, width - len(tick_label)))
        if not line or begin > len(line):
            line = line.ljust(begin) + tick_label
    return line

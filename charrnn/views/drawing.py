"""Describe charts, and draw them in a terminal: lines of braille dots between two axes.

`views.chart_files` draws the same charts in files.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise

from rich.cells import cell_len
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from charrnn.views.theme import all_visible, is_in_words, short_number

BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, 4 rows of 2 (Unicode block U+2800)."""
COLOURS = ("blue", "red", "default", "cyan", "yellow", "green")
"""Colours of the lines, in turn: of the sixteen of a terminal, and the colour of its text. The
first ones differ most for people who see no red or no green."""
MARKS = "●▲■◆○△□◇▼▽★☆+×"
"""Marks on the lines, in turn."""
GREY = "bright_black"
"""The colour of a line that the others are compared with, such as chance."""
DASHES = ("solid", "dashed", "dashdot", "dotted")
"""Styles of the lines in files; a terminal draws all of them alike."""
NUM_MARKS = 6
"""The largest number of marks on a line."""
MIN_WIDTH = 20
"""The smallest number of columns between the axes; a narrower terminal crops them."""
MAX_TICKS = 7
"""The largest number of ticks on an axis, and of points of a line in words."""

Point = tuple[float, float]
"""A position (x, y) in the units of the axes or, on a canvas, in [0, 1] from the lower left
corner."""
Tick = tuple[float, str]
"""A position on an axis, and its label."""


class Canvas:
    """A grid of characters of 2 x 4 dots, all in the colour of the dot that was drawn last. A mark
    replaces the dots at its position."""

    def __init__(self, width: int, height: int):
        """Create an empty canvas of `width` columns and `height` lines."""
        self.width = width
        self.height = height
        self._bits: dict[tuple[int, int], int] = {}
        self._drawn: dict[tuple[int, int], tuple[str, str]] = {}

    def cell(self, point: Point) -> tuple[int, int]:
        """Return the column of a position, and its line from the top."""
        column, row = self._nearest_dot(point)
        return column // 2, row // 4

    def line(self, points: Sequence[Point], colour: str) -> None:
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
                bits = self._bits.get(cell, 0)
                bit = BRAILLE[row % 4][column % 2]
                if not bits & bit:
                    self._bits[cell] = bits | bit
                    self._drawn[cell] = (chr(0x2800 + bits + bit), colour)

    def mark(self, point: Point, mark: str, colour: str) -> None:
        """Put a character in place of the dots at a position, after all lines are drawn."""
        self._drawn[self.cell(point)] = (mark, colour)

    def lines(self) -> Iterator[Text]:
        """Yield the drawing line by line, from the top."""
        # A blank, because some fonts draw the empty braille character as empty circles.
        for row in range(self.height):
            line = Text()
            for column in range(self.width):
                line.append(*self._drawn.get((column, row), (" ", "")))
            yield line

    def _nearest_dot(self, point: Point) -> tuple[int, int]:
        """Return the column and the row, from the top, of the dot nearest to a position."""
        x, y = point
        return round(x * (2 * self.width - 1)), round((1 - y) * (4 * self.height - 1))


@dataclass(frozen=True)
class PlotLine:
    """A line of a plot or, without a mark, a cloud of dots or a bar.

    A chart is described by it once, and drawn in dots (`Drawing`) or in a file (`chart_files`).
    """

    name: str
    """Its name in the legend."""
    points: Sequence[Point]
    """Points of a line with ascending x, or of a cloud; a line has a gap where y is not finite."""
    colour: str
    """Its colour: one of COLOURS, or GREY."""
    mark: str = ""
    """Its mark, one of MARKS; "" for a cloud of dots or a bar, which are not in the legend."""
    dashes: str = DASHES[0]
    """Its style in a file, one of DASHES."""
    bar_width: float = 0.0
    """Width of a bar in a file, in points; 0 for what is no bar. A bar has no mark, and the labels
    of the ticks name it."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A renderable of lines between two axes, which end at their first and their last tick.

    A `Drawing` has one or several of them, beside and below each other.
    """

    lines: Sequence[PlotLine]
    """Its lines, and clouds of dots."""
    x_label: str
    """The title of the horizontal axis, with its unit."""
    x_ticks: Sequence[Tick]
    """Ticks of the horizontal axis; a label for which there is no room is left out."""
    y_ticks: Sequence[Tick]
    """Equidistant ticks of the vertical axis."""
    y_in_words: Callable[[float], str] = "{:.4g}".format
    """Returns a position on the vertical axis as words."""
    heading: str = ""
    """What the plot shows."""
    y_label: str = ""
    """The title of the vertical axis, with its unit. A terminal shows it above the axis."""
    caption: str = ""
    """A sentence below the plot, which replaces its lines where only words can be shown."""
    max_columns: int = 1_000
    """The largest width in a terminal, in columns, with the labels of the vertical axis."""
    height: int = 15
    """The largest number of lines between the first and the last tick of the vertical axis."""
    inches: float = 0.0
    """Its height in a file; 0 for the usual height of as many plots side by side."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if is_in_words(console):
            # A caption says what the axes show.
            y_label = "" if self.caption else self.y_label
            yield from map(Text, filter(None, [self.heading, y_label, *self._in_words()]))
            return
        for label in filter(None, (self.heading, self.y_label)):
            yield Text(label, style="bold")

        # The canvas, beside a margin for the labels of the vertical axis. Its height is a multiple
        # of the number of intervals, so that every tick is in the middle of a line.
        margin = max(cell_len(label) for _, label in self.y_ticks)
        num_intervals = len(self.y_ticks) - 1
        canvas = Canvas(
            width=max(MIN_WIDTH, min(options.max_width, self.max_columns) - margin - 2),
            height=max(1, self.height // num_intervals) * num_intervals + 1,
        )
        self._draw(canvas)

        # The vertical axis, with its labels, and the drawing.
        label_of_row = {}
        for y, label in self.y_ticks:
            _, row = canvas.cell(self._share((0, y)))
            label_of_row[row] = label
        for row, line in enumerate(canvas.lines()):
            edge = "┤" if row in label_of_row else "│"
            label = label_of_row.get(row, "").rjust(margin)
            yield Text.assemble(label, edge, line)

        # The horizontal axis, the labels of its ticks, and the label of the axis.
        label_of_column = {}
        axis = ["─"] * canvas.width
        for x, label in self.x_ticks:
            column, _ = canvas.cell(self._share((x, 0)))
            label_of_column[column] = label
            axis[column] = "┬"
        below = [
            "└" + "".join(axis),
            " " + tick_labels(label_of_column, canvas.width),
            " " + self.x_label.rjust(canvas.width),
        ]
        if self.caption:
            below.append(" " + self.caption)
        for text in below:
            yield Text(" " * margin + text)

    def _in_words(self) -> Iterator[str]:
        """Yield the caption or, for each line, at most MAX_TICKS of its points, the last among
        them."""
        if self.caption:
            yield self.caption
            return
        for line in self.lines:
            # Points are chosen from the end, and said from the beginning.
            points = finite(line.points)
            step = max(1, math.ceil(len(points) / MAX_TICKS))
            shown = points[::-step][::-1]
            values = [f"{short_number(x)}: {self.y_in_words(y)}" for x, y in shown]
            yield f"{all_visible(line.name)}, by {self.x_label}: {'; '.join(values)}"

    def _share(self, point: Point) -> Point:
        """Return a position as shares of the axes, from 0 to 1."""
        shares = []
        for position, ticks in zip(point, (self.x_ticks, self.y_ticks), strict=True):
            begin, _ = ticks[0]
            end, _ = ticks[-1]
            shares.append((position - begin) / (end - begin))
        return shares[0], shares[1]

    def _draw(self, canvas: Canvas) -> None:
        for line in self.lines:
            for segment in self._segments(line):
                canvas.line(list(map(self._share, segment)), line.colour)

        # The marks hide the lines. The marks of different lines alternate, so that equal lines can
        # be told apart. A line of few points has a mark, too, for the legend.
        marked = [line for line in self.lines if line.mark]
        for turn, line in enumerate(marked):
            points = list(map(self._share, finite(line.points)))
            step = max(len(marked), math.ceil(len(points) / NUM_MARKS))
            for point in points[min(turn, len(points) - 1) :: step]:
                canvas.mark(point, mark=line.mark, colour=line.colour)

    def _segments(self, line: PlotLine) -> Iterator[list[Point]]:
        """Yield the parts of a line between its gaps; of a cloud each dot."""
        if not line.mark and not line.bar_width:
            for point in finite(line.points):
                yield [point]
            return
        for is_drawn, points in groupby(line.points, key=lambda point: math.isfinite(point[1])):
            if is_drawn:
                yield list(points)


def finite(points: Sequence[Point]) -> list[Point]:
    """Return the points of a line that are drawn: those whose y is finite."""
    return [point for point in points if math.isfinite(point[1])]


@dataclass(frozen=True)
class Drawing:
    """A renderable of plots with a title and a legend. Lines differ in their marks and, if the
    console has colours, in colour.

    It is what every chart of charrnn is made of: a terminal prints it in dots, and `chart_files`
    draws it for a file.
    """

    title: str
    """What it shows; "" if the titles of the axes say it."""
    rows: Sequence[Sequence[Plot]]
    """The plots that stand side by side, where there is room."""
    about: str = ""
    """A sentence about its lines and dots, where they are drawn."""
    notes: Sequence[str] = ()
    """Sentences below the plots."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Text(self.title, style="bold")
        if is_in_words(console):
            yield from chain.from_iterable(self.rows)
            yield from map(Text, self.notes)
            return

        # As many plots side by side as there is room for; a narrow terminal crops a single one.
        legend = {}
        for plots in self.rows:
            num_beside = max(1, min(len(plots), options.max_width // (MIN_WIDTH + 4)))
            grid = Table.grid()
            for _ in range(num_beside):
                grid.add_column(
                    width=options.max_width // num_beside, no_wrap=True, overflow="crop"
                )
            for begin in range(0, len(plots), num_beside):
                grid.add_row(*plots[begin : begin + num_beside])
            yield grid

            # The legend names the lines with marks; a note explains the lines without marks.
            for line in chain.from_iterable(plot.lines for plot in plots):
                if line.mark:
                    legend[line.name] = Text(f"{line.mark} {all_visible(line.name)}", line.colour)
        yield Columns(legend.values(), padding=(0, 3, 0, 0))
        yield from map(Text, filter(None, [self.about, *self.notes]))


def tick_labels(label_of_column: dict[int, str], width: int) -> str:
    """Return a line of `width` columns with each label below its column; a label that would touch
    the label before it is left out."""
    line = ""
    for column, label in sorted(label_of_column.items()):
        begin = max(0, min(column - (len(label) - 1) // 2, width - len(label)))
        if not line or begin > len(line):
            line = line.ljust(begin) + label
    return line

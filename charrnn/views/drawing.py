"""Describe drawings, and draw them in dots in a terminal and as shapes in an exported picture.

A `Drawing` is what there is to be seen: rows of plots with axes, lines, dots, marks and a legend.
Its layout in columns and lines is the same everywhere; only the canvas inside the axes differs.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from textwrap import wrap

from rich.cells import cell_len
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.style import Style
from rich.text import Text

from charrnn.views.svg import (
    COLUMN_WIDTH,
    GRID,
    LINE_HEIGHT,
    MARKS,
    circle,
    colour_of,
    mark_shape,
    path,
    translated,
)
from charrnn.views.theme import all_visible, is_in_words, short_number

BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, 4 rows of 2 (Unicode block U+2800)."""
STYLES = tuple(map(Style.parse, ("blue", "red", "green", "magenta", "cyan", "yellow")))
"""Colours of the lines, in turn."""
HEIGHT = 15
"""The largest number of lines between the first and the last tick of a vertical axis."""
NUM_MARKS = 6
"""The largest number of marks on a line."""
MIN_WIDTH = 20
"""The smallest number of columns of a canvas; a narrower terminal crops it."""
MIN_PLOT_WIDTH = MIN_WIDTH + 4
"""The smallest number of columns of a plot that stands beside another."""
MAX_SQUARE = 34
"""The largest number of columns of a square plot."""
MAX_TICKS = 7
"""The largest number of ticks on the vertical axis, and of points of a line in words."""
TICK_EVERY = 10
"""The smallest number of columns between two ticks on the horizontal axis."""

Point = tuple[float, float]
"""A position (x, y) in the units of the axes or, on a canvas, in [0, 1] from the lower left
corner."""
Tick = tuple[float, str]
"""A position on an axis, and its label."""


class Canvas:
    """A grid of characters to draw on with dots: braille characters of 2 x 4 dots, all in the style
    of the dot that was drawn last. A mark replaces the character at its position."""

    def __init__(self, width: int, height: int) -> None:
        """Create an empty canvas of `width` columns and `height` lines."""
        self.width = width
        self.height = height
        self.shapes: list[str] = []
        """SVG elements that lie below the lines of characters."""
        self._dots: set[tuple[int, int]] = set()
        self._marks: dict[tuple[int, int], str] = {}
        self._styles: dict[tuple[int, int], Style] = {}

    def column(self, x: float) -> int:
        """Return the column of a position, from the left."""
        return self._nearest_dot((x, 0))[0] // 2

    def row(self, y: float) -> int:
        """Return the line of a position, from the top."""
        return self._nearest_dot((0, y))[1] // 4

    def level(self, y: float) -> None:
        """Draw a grid line, for which characters have no room."""

    def dot(self, point: Point, style: Style) -> None:
        """Draw a dot."""
        self._draw(*self._nearest_dot(point), style)

    def line(self, points: Sequence[Point], style: Style, *, is_thin: bool = False) -> None:
        """Draw a line of dots through points. Dots that are already drawn do not change."""
        # The last point is connected with itself, so that a line of one point is a dot.
        for start, end in zip(points, [*points[1:], *points[-1:]], strict=True):
            x, y = self._nearest_dot(start)
            to_x, to_y = self._nearest_dot(end)
            # As many steps as there are dots along the longer side, so that there are no gaps.
            num_steps = max(abs(to_x - x), abs(to_y - y), 1)
            for step in range(num_steps + 1):
                column = x + round((to_x - x) * step / num_steps)
                row = y + round((to_y - y) * step / num_steps)
                # A later line does not change the colour of dots that it shares.
                if (column, row) not in self._dots:
                    self._draw(column, row, style=style)

    def mark(self, point: Point, mark: str, style: Style) -> None:
        """Put a character over the dots at a position."""
        # A character cannot stand between two columns.
        x, y = point
        cell = (self.column(x), self.row(y))
        self._marks[cell] = mark
        self._styles[cell] = style

    def lines(self) -> list[Text]:
        """Return the drawing line by line, from the top."""
        lines = []
        for row in range(self.height):
            line = Text()
            for column in range(self.width):
                # A mark hides the dots: one character cannot show both.
                character = self._marks.get((column, row)) or self._character(column, row)
                line.append(character, self._styles.get((column, row)))
            lines.append(line)
        return lines

    def _nearest_dot(self, point: Point) -> tuple[int, int]:
        """Return the column and the row, from the top, of the dot nearest to a position."""
        x, y = point
        last_column = 2 * self.width - 1
        last_row = 4 * self.height - 1
        return round(x * last_column), round((1 - y) * last_row)

    def _draw(self, column: int, row: int, style: Style) -> None:
        self._dots.add((column, row))
        # A mark keeps its colour when a line is drawn through it later.
        cell = (column // 2, row // 4)
        if cell not in self._marks:
            self._styles[cell] = style

    def _character(self, column: int, row: int) -> str:
        # Unicode numbers the dots by columns first, and the lowest row last.
        bits = 0
        for down, across in enumerate(BRAILLE):
            for right, bit in enumerate(across):
                if (2 * column + right, 4 * row + down) in self._dots:
                    bits += bit
        # Some fonts draw the empty braille character as empty circles.
        if bits == 0:
            return " "
        return chr(0x2800 + bits)


class ShapeCanvas(Canvas):
    """A canvas that is drawn with SVG shapes, below lines that are blank."""

    def level(self, y: float) -> None:
        # From axis to axis, so that a value can be read off at any point.
        ends = [self._pixels((0, y)), self._pixels((1, y))]
        self.shapes.append(path(ends, GRID, width=1))

    def dot(self, point: Point, style: Style) -> None:
        self.shapes.append(circle(self._pixels(point), colour_of(style)))

    def line(self, points: Sequence[Point], style: Style, *, is_thin: bool = False) -> None:
        # Training losses are noisy, and lie behind the lines that are compared.
        width = 1 if is_thin else 2
        self.shapes.append(path(list(map(self._pixels, points)), colour_of(style), width=width))

    def mark(self, point: Point, mark: str, style: Style) -> None:
        self.shapes.append(mark_shape(mark, self._pixels(point), colour_of(style)))

    def _pixels(self, point: Point) -> Point:
        # The ends are in the middle of the first and the last column or line, as the ticks are.
        x, y = point
        across = 0.5 + x * (self.width - 1)
        down = 0.5 + (1 - y) * (self.height - 1)
        return across * COLUMN_WIDTH, down * LINE_HEIGHT


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a plot. Lines with the same `number` have the same colour and the same mark."""

    name: str
    """Its name in the legend."""
    segments: Sequence[Sequence[Point]]
    """Points with ascending x; nothing is drawn between two segments."""
    number: int = 0
    is_marked: bool = True
    """Whether the line has marks. A line without marks is thinner and has no entry in the legend.
    """

    @property
    def points(self) -> list[Point]:
        """The points of all segments."""
        return list(chain.from_iterable(self.segments))

    @property
    def style(self) -> Style:
        """Its colour."""
        return STYLES[self.number % len(STYLES)]

    @property
    def mark(self) -> str:
        """Its mark."""
        return MARKS[self.number % len(MARKS)]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Lines, or a cloud of dots, between two axes."""

    x_range: tuple[float, float]
    """The ends of the horizontal axis."""
    x_label: str
    x_ticks: Callable[[int], Iterable[Tick]]
    """Called with the largest number of ticks; returns the ticks of the horizontal axis."""
    y_ticks: Sequence[Tick]
    """Equidistant ticks of the vertical axis, from one end to the other."""
    y_in_words: Callable[[float], str] = "{:.4g}".format
    """Returns a position on the vertical axis as words."""
    heading: Sequence[str] = ()
    """Lines above the plot; the first of them is its name."""
    lines: Sequence[Line] = ()
    dots: Sequence[Point] = ()
    dot_style: str = "cyan"
    caption: str = ""
    """A sentence below the plot, which stands for its dots where only words can be shown."""
    is_square: bool = False

    def in_words(self) -> Iterator[str]:
        """Yield for each line at most MAX_TICKS of its points, the last among them; for dots, the
        caption."""
        for line in self.lines:
            # Points are chosen from the end, and said from the beginning.
            points = line.points
            step = max(1, math.ceil(len(points) / MAX_TICKS))
            shown = points[::-step][::-1]
            values = [f"{short_number(x)}: {self.y_in_words(y)}" for x, y in shown]
            name = line.name if line.is_marked else f"{line.name} (without marks)"
            yield f"{all_visible(name)}, by {self.x_label}: {'; '.join(values)}"
        if self.caption:
            yield f"{self.heading[0]}: {self.caption}"

    def layout(self, columns: int, new_canvas: type[Canvas]) -> tuple[list[Text], list[str]]:
        """Return the plot as lines of characters, and the SVG elements below them."""
        # The canvas, beside a margin for the labels of the vertical axis. Its height is a multiple
        # of the number of intervals, so that every tick is in the middle of a line.
        margin = max(cell_len(tick_label) for _, tick_label in self.y_ticks)
        # A square of the whole width would not fit on a screen.
        if self.is_square:
            columns = min(columns, MAX_SQUARE)
        width = max(MIN_WIDTH, columns - margin - 2)
        num_intervals = len(self.y_ticks) - 1
        height = max(1, HEIGHT // num_intervals) * num_intervals + 1
        if self.is_square:
            # A character is about twice as high as wide.
            height = width // 2
        canvas = new_canvas(width, height)
        self._draw(canvas)

        # The vertical axis.
        rows = [Text(heading, style="bold") for heading in self.heading[:1]]
        rows += map(Text, self.heading[1:])
        down = len(rows) * LINE_HEIGHT
        label_of_row = {canvas.row(self._y_share(y)): tick_label for y, tick_label in self.y_ticks}
        for row, line in enumerate(canvas.lines()):
            edge = "┤" if row in label_of_row else "│"
            rows.append(Text.assemble(label_of_row.get(row, "").rjust(margin), edge, line))

        # The horizontal axis, the labels of its ticks, and the label of the axis.
        ticks = self.x_ticks(width // TICK_EVERY)
        label_of_column = {canvas.column(self._x_share(x)): tick_label for x, tick_label in ticks}
        axis = ["─"] * width
        for column in label_of_column:
            axis[column] = "┬"
        indent = " " * (margin + 1)
        # The corner stands below the vertical axis.
        rows.append(Text(f"{indent[1:]}└{''.join(axis)}"))
        rows.append(Text(indent + tick_labels(label_of_column, width)))
        rows.append(Text(indent + self.x_label.rjust(width)))
        if self.caption:
            rows.append(Text(indent + self.caption))

        return rows, translated(canvas.shapes, (margin + 1) * COLUMN_WIDTH, down)

    @property
    def has_points(self) -> bool:
        """Whether there is anything between the axes."""
        return bool(self.dots) or any(line.points for line in self.lines)

    @property
    def marked_lines(self) -> list[Line]:
        """The lines with marks."""
        return [line for line in self.lines if line.is_marked]

    def _x_share(self, x: float) -> float:
        """Return a position as a share of the horizontal axis, from 0 to 1."""
        begin, end = self.x_range
        return (x - begin) / (end - begin)

    def _y_share(self, y: float) -> float:
        """Return a position as a share of the vertical axis, from 0 to 1."""
        low, _ = self.y_ticks[0]
        high, _ = self.y_ticks[-1]
        return (y - low) / (high - low)

    def _shares(self, points: Iterable[Point]) -> list[Point]:
        return [(self._x_share(x), self._y_share(y)) for x, y in points]

    def _draw(self, canvas: Canvas) -> None:
        # The grid is below everything else.
        for y, _ in self.y_ticks:
            canvas.level(self._y_share(y))
        for point in self._shares(self.dots):
            canvas.dot(point, Style.parse(self.dot_style))
        # Nothing is drawn where a run was interrupted.
        for line in self.lines:
            for segment in filter(None, line.segments):
                canvas.line(self._shares(segment), line.style, is_thin=not line.is_marked)

        # The marks hide the lines. The marks of different lines alternate, so that equal lines can
        # be told apart. A line of few points has a mark, too, for the legend.
        num_marked = len(self.marked_lines)
        for turn, line in enumerate(self.marked_lines):
            points = self._shares(line.points)
            step = max(num_marked, math.ceil(len(points) / NUM_MARKS))
            first = min(turn * step // num_marked, len(points) - 1)
            for point in points[first::step]:
                canvas.mark(point, line.mark, line.style)


@dataclass(frozen=True)
class Drawing:
    """A renderable of plots, which differ in their marks and, if the console has colours, in
    colour."""

    title: str
    rows: Sequence[Sequence[Plot]]
    """The plots that stand side by side, where there is room."""
    notes: Sequence[str] = ()
    """Sentences below the plots."""
    empty_notice: str = ""
    """The text that replaces plots without any point."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # A stream that carries only ASCII has neither dots nor marks.
        if self._has_points() and (is_in_words(console) or options.ascii_only):
            yield Text(self.title, style="bold")
            for plot in chain.from_iterable(self.rows):
                yield from map(Text, plot.in_words())
            yield from map(Text, self.notes)
            return
        lines, _ = self._layout(options.max_width, Canvas)
        yield from lines

    def to_shapes(self, columns: int) -> tuple[Sequence[RenderableType], Sequence[str]]:
        """Return the lines of the drawing, and the SVG elements that lie below them; see
        `charrnn.views.svg`."""
        return self._layout(columns, ShapeCanvas)

    def _layout(
        self, columns: int, new_canvas: type[Canvas]
    ) -> tuple[list[RenderableType], list[str]]:
        # A title of several lines moves the plots down.
        lines: list[RenderableType] = []
        shapes: list[str] = []
        lines += [Text(line, style="bold") for line in wrap(self.title, columns)]
        if not self._has_points():
            lines.append(Text(self.empty_notice))
            return [*lines, *map(Text, self.notes)], shapes

        legend = []
        for plots in self.rows:
            # As many plots side by side as there is room for.
            num_beside = max(1, min(len(plots), columns // MIN_PLOT_WIDTH))
            width = columns // num_beside
            for begin in range(0, len(plots), num_beside):
                # The shapes stand as far down as the lines that come before them are high.
                blocks = []
                for number, plot in enumerate(plots[begin : begin + num_beside]):
                    block, below = plot.layout(width, new_canvas)
                    blocks.append(block)
                    right = number * width * COLUMN_WIDTH
                    shapes += translated(below, right, len(lines) * LINE_HEIGHT)
                lines += _beside(blocks, width)

            # The legend names the lines with marks; a note explains the lines without marks.
            for plot in plots:
                for line in plot.marked_lines:
                    legend.append(Text(f"{line.mark} {all_visible(line.name)}", line.style))
        lines += [Columns(legend, padding=(0, 3, 0, 0)), *map(Text, self.notes)]
        return lines, shapes

    def _has_points(self) -> bool:
        return any(plot.has_points for plot in chain.from_iterable(self.rows))


def _beside(blocks: Sequence[Sequence[Text]], width: int) -> Iterator[Text]:
    """Yield the lines of blocks of `width` columns side by side."""
    for pieces in zip_longest(*blocks, fillvalue=Text()):
        line = Text(no_wrap=True, overflow="crop")
        # A block may have fewer lines than the block beside it.
        for number, piece in enumerate(pieces):
            line.append(" " * (number * width - line.cell_len))
            line.append_text(piece)
        yield line


def tick_labels(label_of_column: dict[int, str], width: int) -> str:
    """Return a line of `width` columns with each label below its column; a label that would touch
    the label before it is left out."""
    line = ""
    for column, tick_label in sorted(label_of_column.items()):
        begin = max(0, min(column - (len(tick_label) - 1) // 2, width - len(tick_label)))
        if not line or begin > len(line):
            line = line.ljust(begin) + tick_label
    return line

"""Draw charts: with characters in a terminal, and as shapes in an exported picture."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from textwrap import wrap

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style, StyleType
from rich.text import Text

from charrnn.runs.learning_curves import LearningCurve, LearningCurves, LossCurve
from charrnn.views.svg import (
    COLUMN_WIDTH,
    GRID,
    INK,
    LINE_HEIGHT,
    PAPER,
    colour_of,
    label,
    path,
    shape,
)
from charrnn.views.theme import all_visible, is_in_words, short_number

BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, 4 rows of 2 (Unicode block U+2800)."""


class Canvas:
    """A grid of characters to draw on. Positions (x, y) are in [0, 1], from the lower left corner.

    A braille character has 2 x 4 dots, all in the style of the dot that was drawn last. A mark
    replaces the character at its position.
    """

    def __init__(self, width: int, height: int) -> None:
        """Create an empty canvas of `width` columns and `height` lines."""
        self.width = width
        self.height = height
        self._dots: set[tuple[int, int]] = set()
        self._marks: dict[tuple[int, int], str] = {}
        self._styles: dict[tuple[int, int], StyleType] = {}

    def column(self, x: float) -> int:
        """Return the column of a position, from the left."""
        return self._nearest_dot(x, 0)[0] // 2

    def row(self, y: float) -> int:
        """Return the line of a position, from the top."""
        return self._nearest_dot(0, y)[1] // 4

    def dot(self, x: float, y: float, style: StyleType) -> None:
        """Draw a dot."""
        self._draw(*self._nearest_dot(x, y), style)

    def line(self, start: tuple[float, float], end: tuple[float, float], style: StyleType) -> None:
        """Draw a straight line of dots, including both ends. Dots that are already drawn do not
        change."""
        x, y = self._nearest_dot(*start)
        to_x, to_y = self._nearest_dot(*end)
        # As many steps as there are dots along the longer side, so that the line has no gaps.
        num_steps = max(abs(to_x - x), abs(to_y - y), 1)
        for step in range(num_steps + 1):
            column = x + round((to_x - x) * step / num_steps)
            row = y + round((to_y - y) * step / num_steps)
            # A later line does not change the colour of dots that it shares.
            if (column, row) not in self._dots:
                self._draw(column, row, style=style)

    def mark(self, x: float, y: float, mark: str, style: StyleType) -> None:
        """Put a character over the dots at a position."""
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

    def _nearest_dot(self, x: float, y: float) -> tuple[int, int]:
        """Return the column and the row, from the top, of the dot nearest to a position."""
        last_column = 2 * self.width - 1
        last_row = 4 * self.height - 1
        return round(x * last_column), round((1 - y) * last_row)

    def _draw(self, column: int, row: int, style: StyleType) -> None:
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


STYLES = tuple(map(Style.parse, ("blue", "red", "green", "magenta", "cyan", "yellow")))
"""Colours of the lines, in turn."""
MARKS = "●▲■◆○△□"
"""Marks on the lines, in turn."""
OUTLINES = ((24, 0.0), (3, 0.0), (4, 0.125), (4, 0.0))
"""The polygons, filled and then hollow, that are drawn for MARKS in an exported picture: (corners,
rotation as a share of a turn)."""
NUM_MARKS = 6
"""Marks on each line of an exported picture."""
HEIGHT = 15
"""The largest number of terminal lines of a drawing, which has a multiple of the number of
intervals between ticks."""
MARK_EVERY = 12
"""Columns between two marks of a line in a chart of few lines. The marks of different lines
alternate."""
PICTURE_HEIGHT = 380.0
"""Pixels of the drawing in an exported picture."""
PICTURE_MARGIN = 70.0
"""Pixels for the numbers on the left of the drawing."""
MARK_SIZE = 6.0
"""Pixels from the centre of a mark to its corners."""
MIN_WIDTH = 20
"""The smallest number of columns of a drawing; a narrower terminal crops it."""
MAX_TICKS = 7
"""The largest number of ticks on the vertical axis."""
TICK_EVERY = 10
"""The smallest number of columns between two ticks on the horizontal axis."""
PICTURE_TICKS = 10
"""The largest number of ticks on the horizontal axis of an exported picture."""

Point = tuple[float, float]
"""A position (x, y) in the units of the axes."""
Tick = tuple[float, str]
"""A position on an axis, and its label."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart. Lines with the same `number` have the same colour and the same mark."""

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
        return [point for segment in self.segments for point in segment]

    @property
    def style(self) -> Style:
        """Its colour in a terminal."""
        return STYLES[self.number % len(STYLES)]

    @property
    def colour(self) -> str:
        """Its colour in an exported picture."""
        return colour_of(self.style)

    @property
    def mark(self) -> str:
        """Its mark in a terminal."""
        return MARKS[self.number % len(MARKS)]


@dataclass(frozen=True)
class LineChart:
    """A renderable of lines that differ in their marks and, if the console has colours, in
    colour."""

    title: str
    lines: Sequence[Line]
    x_range: tuple[float, float]
    """The ends of the horizontal axis."""
    x_label: str
    x_ticks: Callable[[int], Iterable[Tick]]
    """Called with the largest number of ticks; returns the ticks of the horizontal axis."""
    y_ticks: Sequence[Tick]
    """Equidistant ticks of the vertical axis, from one end to the other."""
    empty_notice: str
    """The text that replaces a chart without any point."""
    notes: Sequence[str] = ()
    """Sentences below the legend."""
    y_in_words: Callable[[float], str] = "{:.4g}".format
    """Returns a position on the vertical axis as words."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.title, style="bold")
        # A stream that carries only ASCII has neither dots nor marks.
        if self._has_points and (is_in_words(console) or options.ascii_only):
            yield from self._in_words()
        elif self._has_points:
            yield from self._rows(options.max_width)
        else:
            yield Text(self.empty_notice)
        yield from map(Text, self.notes)

    def _in_words(self) -> Iterator[Text]:
        """Yield for each line at most MAX_TICKS of its points, the last among them."""
        for line in self.lines:
            # Points are chosen from the end, and said from the beginning.
            points = line.points
            step = max(1, math.ceil(len(points) / MAX_TICKS))
            shown = points[::-step][::-1]
            values = [f"{short_number(x)}: {self.y_in_words(y)}" for x, y in shown]
            name = line.name if line.is_marked else f"{line.name} (without marks)"
            yield Text(f"{all_visible(name)}, by {self.x_label}: {'; '.join(values)}")

    def _rows(self, width: int) -> Iterator[Text]:
        """Yield the drawing, the axes and the legend line by line."""
        # The drawing, beside a margin for the labels of the vertical axis. Its height is a multiple
        # of the number of intervals, so that every tick is in the middle of a terminal line.
        num_intervals = len(self.y_ticks) - 1
        margin = max(cell_len(tick_label) for _, tick_label in self.y_ticks)
        height = max(1, HEIGHT // num_intervals) * num_intervals + 1
        canvas = Canvas(max(MIN_WIDTH, width - margin - 2), height)
        self._draw_lines(canvas)

        # The vertical axis.
        label_of_row = {canvas.row(self._y_share(y)): tick_label for y, tick_label in self.y_ticks}
        for row, line in enumerate(canvas.lines()):
            edge = "┤" if row in label_of_row else "│"
            tick_label = label_of_row.get(row, "").rjust(margin)
            yield _line(tick_label, edge, line)

        # The horizontal axis, the labels of its ticks, and the label of the axis.
        ticks = self.x_ticks(canvas.width // TICK_EVERY)
        label_of_column = {canvas.column(self._x_share(x)): tick_label for x, tick_label in ticks}
        axis = ["─"] * canvas.width
        for column in label_of_column:
            axis[column] = "┬"
        yield _line(" " * margin + "└" + "".join(axis))
        yield _line(" " * (margin + 1) + _tick_labels(label_of_column, canvas.width))
        yield _line(self.x_label.rjust(margin + 1 + canvas.width))

        # The legend names the lines with marks; a note explains the lines without marks.
        entries = []
        for marked_line in self._marked_lines:
            name = all_visible(marked_line.name)
            entries.append((f"{marked_line.mark} {name}", marked_line.style))
        yield from _legend(entries, width)

    def to_shapes(self, width: float) -> tuple[float, Sequence[str]]:
        """Return the height of the chart and its SVG shapes; see `charrnn.views.svg`."""
        # The notes stand below the drawing, or below the notice that replaces it.
        num_columns = int(width / COLUMN_WIDTH)
        if self._has_points:
            height, drawing = self._drawing(width)
        else:
            height = 2 * LINE_HEIGHT
            drawing = [label(0, 1.75 * LINE_HEIGHT, text=self.empty_notice)]
        for note in self.notes:
            for line in wrap(note, num_columns):
                height += LINE_HEIGHT
                drawing.append(label(0, height - LINE_HEIGHT / 2, text=line))

        # A title of several lines moves the drawing down.
        title = wrap(self.title, num_columns)
        shapes = []
        for number, line in enumerate(title):
            shapes.append(label(0, LINE_HEIGHT * (number + 0.75), text=line, bold=True))
        down = LINE_HEIGHT * (len(title) - 1)
        if down:
            drawing = [f'<g transform="translate(0 {down:g})">', *drawing, "</g>"]
        return height + down, [*shapes, *drawing]

    def _drawing(self, width: float) -> tuple[float, list[str]]:
        """Return the height of the drawing with its axes and its legend, and their shapes."""
        shapes: list[str] = []
        top = 1.5 * LINE_HEIGHT
        bottom = top + PICTURE_HEIGHT
        left = PICTURE_MARGIN
        right = width - 2 * COLUMN_WIDTH

        def to_pixels_x(x: float) -> float:
            return left + self._x_share(x) * (right - left)

        def to_pixels_y(y: float) -> float:
            # y grows downwards in SVG.
            return bottom - self._y_share(y) * PICTURE_HEIGHT

        def to_pixels(point: Point) -> Point:
            x, y = point
            return to_pixels_x(x), to_pixels_y(y)

        # The grid, and the axes with their labels.
        for y, tick_label in self.y_ticks:
            level = to_pixels_y(y)
            shapes.append(path([(left, level), (right, level)], GRID, width=1))
            shapes.append(label(left - 8, level + 6, text=tick_label, anchor="end"))

        max_ticks = min(PICTURE_TICKS, round(width / COLUMN_WIDTH) // TICK_EVERY)
        for x, tick_label in self.x_ticks(max_ticks):
            tick = to_pixels_x(x)
            shapes.append(path([(tick, bottom), (tick, bottom + 6)], INK))
            shapes.append(label(tick, bottom + LINE_HEIGHT, text=tick_label, anchor="middle"))
        shapes.append(path([(left, top), (left, bottom), (right, bottom)], INK))
        shapes.append(label(right, bottom + 2 * LINE_HEIGHT, text=self.x_label, anchor="end"))

        # The lines are drawn over the grid.
        for line in self.lines:
            shapes += self._line_shapes(line, to_pixels)

        # The legend, with the name of a line on each line.
        y = bottom + 3 * LINE_HEIGHT
        for line in self._marked_lines:
            shapes.append(_mark(line, centre=(MARK_SIZE + 2, y - 6)))
            shapes.append(label(2 * COLUMN_WIDTH, y, text=line.name, fill=line.colour))
            y += LINE_HEIGHT
        return y - LINE_HEIGHT / 2, shapes

    @property
    def _has_points(self) -> bool:
        return any(line.points for line in self.lines)

    @property
    def _marked_lines(self) -> list[Line]:
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

    def _shares(self, point: Point) -> Point:
        x, y = point
        return self._x_share(x), self._y_share(y)

    def _draw_lines(self, canvas: Canvas) -> None:
        for line in self.lines:
            for segment in line.segments:
                # The last point is connected with itself, so that a segment of one point is a dot.
                for start, end in zip(segment, [*segment[1:], *segment[-1:]], strict=True):
                    canvas.line(self._shares(start), self._shares(end), style=line.style)

        # The marks hide the lines. The marks of different lines alternate, so that equal lines can
        # be told apart.
        num_marked = len(self._marked_lines)
        every = max(MARK_EVERY, 3 * num_marked)
        for turn, line in enumerate(self._marked_lines):
            columns = range((2 * turn + 1) * every // (2 * num_marked), canvas.width, every)
            shares = [column / (canvas.width - 1) for column in columns]
            for point in self._mark_points(line, shares):
                canvas.mark(*self._shares(point), line.mark, line.style)

    def _line_shapes(self, line: Line, to_pixels: Callable[[Point], Point]) -> Iterator[str]:
        """Yield a path for each segment of a line, then the marks of the line."""
        width = 2 if line.is_marked else 1
        # A path for each segment: nothing is drawn where a run was interrupted.
        for segment in filter(None, line.segments):
            yield path(list(map(to_pixels, segment)), line.colour, width=width)
        if not line.is_marked:
            return

        # The marks of different lines alternate, as in the terminal.
        offset = (self._marked_lines.index(line) + 0.5) / len(self._marked_lines)
        shares = [(turn + offset) / NUM_MARKS for turn in range(NUM_MARKS)]
        for point in self._mark_points(line, shares):
            yield _mark(line, to_pixels(point))

    def _mark_points(self, line: Line, shares: Sequence[float]) -> list[Point]:
        """Return the points of a line at those shares of the horizontal axis where the line has a
        point; if it has none there, its last point."""
        # No mark is drawn between two segments: it would show a loss that was not measured.
        begin, end = self.x_range
        points = []
        for share in shares:
            point = _point_at(line.segments, begin + share * (end - begin))
            if point is not None:
                points.append(point)

        # A line between two of the shares needs a mark, too, for the legend.
        if points:
            return points
        return line.points[-1:]


def _point_at(segments: Sequence[Sequence[Point]], x: float) -> Point | None:
    """Return the point of a line at x; None if x is outside all segments."""
    for segment in segments:
        if segment and segment[0][0] <= x <= segment[-1][0]:
            index = bisect_left(segment, x, key=lambda point: point[0])
            if index == 0:
                return segment[0]

            # Linear interpolation between the two points around x.
            left, y = segment[index - 1]
            right, next_y = segment[index]
            return x, y + (next_y - y) * (x - left) / (right - left)
    return None


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


def _mark(line: Line, centre: Point) -> str:
    """Return the mark of a line as a filled or hollow polygon; a circle has 24 corners."""
    index = line.number % len(MARKS)
    num_corners, turn = OUTLINES[index % len(OUTLINES)]
    x, y = centre
    outline = []
    for corner in range(num_corners):
        angle = math.tau * (corner / num_corners + turn)
        outline.append((x + MARK_SIZE * math.sin(angle), y - MARK_SIZE * math.cos(angle)))

    # A hollow mark hides the line below it.
    fill = PAPER
    if index < len(OUTLINES):
        fill = line.colour
    return shape(outline, fill, stroke=line.colour)


def _line(*pieces: str | Text) -> Text:
    return Text.assemble(*pieces, no_wrap=True, overflow="crop")


def _tick_labels(label_of_column: dict[int, str], width: int) -> str:
    """Return a line of `width` columns with each label below its column; a label that would touch
    the label before it is left out."""
    line = ""
    for column, tick_label in sorted(label_of_column.items()):
        begin = max(0, min(column - (len(tick_label) - 1) // 2, width - len(tick_label)))
        if not line or begin > len(line):
            line = line.ljust(begin) + tick_label
    return line


def _legend(entries: Sequence[tuple[str, Style]], width: int) -> Iterator[Text]:
    """Yield the legend, with as many entries in a terminal line as fit."""
    line = Text(overflow="fold")
    for name, style in entries:
        if line and line.cell_len + 3 + cell_len(name) > width:
            yield line
            line = Text(overflow="fold")
        if line:
            line.append("   ")
        line.append(name, style)
    yield line


TITLE = "Validation loss (nats per character)"
"""The title of a chart of learning curves."""
TRAINING_NOTE = "Lines without marks: training loss"
"""The beginning of the note below a chart with training losses."""
EMPTY_NOTICE = "No loss has been logged yet."
"""The text that replaces an empty chart."""
MAX_RISE = 10.0
"""Losses that are more nats than this above the lowest loss are not drawn. A model that knows
nothing of a text with 20,000 different characters is below this limit; a model that diverges would
flatten the lines of all others."""
MIN_X_END = 1e-6
"""The smallest end of the horizontal axis, in its unit. If all points are nearer to 0, the axis
ends at 1."""
MAX_POINTS = 200
"""The largest number of points of a drawn training curve; each is the mean of several steps."""


def learning_chart(curves: LearningCurves) -> LineChart:
    """Draw the validation losses of several runs, and their training losses if they were logged.

    Losses more than `MAX_RISE` nats above the lowest loss are not drawn.
    """
    logged: list[Line] = []
    for number, curve in enumerate(curves):
        logged += _lines(curve, number=number, against=curves.against)
    lowest_loss = min((y for line in logged for _, y in line.points), default=0.0)

    # A line that diverges would flatten all other lines.
    lines = []
    for line in logged:
        points_in_range = [point for point in line.points if point[1] <= lowest_loss + MAX_RISE]
        lines.append(replace(line, segments=[points_in_range]))

    # The horizontal axis ends at the last point that is drawn.
    points = [point for line in lines for point in line.points]
    x_end = max((x for x, _ in points), default=0.0)
    if x_end < MIN_X_END:
        x_end = 1.0

    # The legend does not name the lines without marks.
    notes = list(curves.notes)
    max_steps = max((len(curve.training.steps) for curve in curves), default=0)
    if max_steps > MAX_POINTS:
        size = math.ceil(max_steps / MAX_POINTS)
        notes.insert(0, f"{TRAINING_NOTE}, each point the mean of up to {size} steps.")
    elif max_steps > 0:
        notes.insert(0, f"{TRAINING_NOTE}.")

    return LineChart(
        title=TITLE,
        lines=lines,
        x_range=(0, x_end),
        x_label=curves.against,
        x_ticks=partial(_multiples, x_end),
        y_ticks=enclosing_ticks(lowest_loss, max((y for _, y in points), default=1.0)),
        empty_notice=EMPTY_NOTICE,
        notes=notes,
    )


def _lines(curve: LearningCurve, number: int, against: str) -> Iterator[Line]:
    """Yield the line of a run's training losses, if they were logged, then the line of its
    validation losses. Each line has one segment."""
    # The validation losses come second, so that they are drawn over the training losses.
    if curve.training.steps:
        training = _thinned(curve.training, against)
        yield Line(name=curve.run, segments=[training], number=number, is_marked=False)

    validation = list(zip(curve.validation.against(against), curve.validation.nats, strict=True))
    yield Line(name=curve.run, segments=[validation], number=number)


def _thinned(curve: LossCurve, against: str) -> list[Point]:
    """Return at most `MAX_POINTS` points, each with the mean loss of several successive steps at
    the end of the last of these steps."""
    # Thousands of noisy points would fill the drawing with dots.
    size = math.ceil(len(curve.steps) / MAX_POINTS)
    positions = curve.against(against)
    points = []
    for begin in range(0, len(positions), size):
        nats = curve.nats[begin : begin + size]
        points.append((positions[begin + len(nats) - 1], sum(nats) / len(nats)))
    return points


def _multiples(end: float, max_ticks: int) -> list[Tick]:
    """Return ticks at 0 and at the multiples of a round number up to `end`: about `max_ticks`
    multiples, and at least one."""
    # A step of 1, 2, 5, ... for one interval may be up to 2.5 times as long as the interval.
    while (step := round_step(end, max_ticks)) > end:
        max_ticks += 1

    # A rounding error must not cut off the last tick.
    num_intervals = int(end / step + 1e-9)
    positions = [step * number for number in range(num_intervals + 1)]
    return [(position, short_number(position)) for position in positions]

"""Charts: drawn with characters in a terminal, and as shapes in an exported picture."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
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
from charrnn.views.theme import all_visible, short_number

BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, 4 rows of 2 (Unicode block U+2800)."""
CROWDS = " .:+#"
"""ASCII characters for no dot, one, two, three, and more dots."""


class Canvas:
    """A grid of characters to draw on. Positions (x, y) are in [0, 1], from the lower left corner.

    A braille character has 2 x 4 dots, all in the style of the dot drawn last; an ASCII character
    stands for the number of its dots. A mark replaces the character at its position.
    """

    def __init__(self, width: int, height: int, *, ascii_only: bool) -> None:
        """Create an empty canvas of `width` columns and `height` lines."""
        self.width = width
        self.height = height
        self.ascii_only = ascii_only
        self._per_column = 1 if ascii_only else 2
        self._per_line = 1 if ascii_only else 4
        self._dots: Counter[tuple[int, int]] = Counter()
        self._marks: dict[tuple[int, int], str] = {}
        self._styles: dict[tuple[int, int], StyleType] = {}

    def column(self, x: float) -> int:
        """Return the column of a position, from the left."""
        return self._place(x, 0)[0] // self._per_column

    def row(self, y: float) -> int:
        """Return the line of a position, from the top."""
        return self._place(0, y)[1] // self._per_line

    def dot(self, x: float, y: float, style: StyleType) -> None:
        """Draw a dot."""
        self._draw(*self._place(x, y), style)

    def line(self, start: tuple[float, float], end: tuple[float, float], style: StyleType) -> None:
        """Draw a straight line of dots, its ends included. Dots that are already drawn stay as they
        are."""
        x, y = self._place(*start)
        to_x, to_y = self._place(*end)
        # As many steps as there are dots along the longer side: a line without gaps.
        num_steps = max(abs(to_x - x), abs(to_y - y), 1)
        for step in range(num_steps + 1):
            column = x + round((to_x - x) * step / num_steps)
            row = y + round((to_y - y) * step / num_steps)
            # Two segments share an end, which ASCII would else draw as denser than the line.
            if (column, row) not in self._dots:
                self._draw(column, row, style)

    def mark(self, x: float, y: float, mark: str, style: StyleType) -> None:
        """Put a character over the dots at a position."""
        place = (self.column(x), self.row(y))
        self._marks[place] = mark
        self._styles[place] = style

    def lines(self) -> list[Text]:
        """Return the drawing line by line, from the top."""
        lines = []
        for row in range(self.height):
            line = Text()
            for column in range(self.width):
                # A mark is over the dots: a braille character can have no mark inside it.
                drawn = self._marks.get((column, row)) or self._character(column, row)
                line.append(drawn, self._styles.get((column, row)))
            lines.append(line)
        return lines

    def _place(self, x: float, y: float) -> tuple[int, int]:
        """Return column and row, from the top, of the nearest dot."""
        last_column = self.width * self._per_column - 1
        last_row = self.height * self._per_line - 1
        return round(x * last_column), round((1 - y) * last_row)

    def _draw(self, column: int, row: int, style: StyleType) -> None:
        self._dots[column, row] += 1
        # A mark keeps its colour, whichever line is drawn over it later.
        place = (column // self._per_column, row // self._per_line)
        if place not in self._marks:
            self._styles[place] = style

    def _character(self, column: int, row: int) -> str:
        if self.ascii_only:
            num_dots = self._dots[column, row]
            return CROWDS[min(num_dots, len(CROWDS) - 1)]

        # Unicode numbers the dots by columns first, and the lowest row last.
        bits = 0
        for down, across in enumerate(BRAILLE):
            for right, bit in enumerate(across):
                if (2 * column + right, 4 * row + down) in self._dots:
                    bits += bit
        # The empty braille character is drawn as empty circles by some fonts.
        if bits == 0:
            return " "
        return chr(0x2800 + bits)


STYLES = tuple(map(Style.parse, ("blue", "red", "green", "magenta", "cyan", "yellow")))
"""Colours of the lines, in turn."""
MARKS = "●▲■◆○△□"
"""Marks on the lines, in turn."""
ASCII_MARKS = "ox*@%&$"
"""The same for streams that carry ASCII only."""
OUTLINES = ((24, 0.0), (3, 0.0), (4, 0.125), (4, 0.0))
"""MARKS as polygons in an exported picture, filled and then hollow: (corners, rotation as a share
of a turn)."""
NUM_MARKS = 6
"""Marks on each line of an exported picture."""
HEIGHT = 15
"""Lines of the drawing at the most: a multiple of the number of intervals between ticks."""
MARK_EVERY = 12
"""Columns between two marks of a line, if the lines are few. The marks of different lines
alternate."""
PICTURE_HEIGHT = 380.0
"""Pixels of the drawing in an exported picture."""
PICTURE_MARGIN = 70.0
"""Pixels for the numbers on the left of the drawing."""
MARK_SIZE = 6.0
"""Pixels from the centre of a mark to its corners."""
MIN_WIDTH = 20
"""Columns of the drawing at least; a narrower terminal crops it."""
MAX_TICKS = 7
"""Numbers on the vertical axis at the most."""
TICK_EVERY = 10
"""Columns between two numbers on the horizontal axis at least."""
PICTURE_TICKS = 10
"""Numbers on the horizontal axis of an exported picture at the most."""

Point = tuple[float, float]
"""A position (x, y) in the units of the axes."""
Tick = tuple[float, str]
"""A position on an axis, and what stands there."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart. Lines of the same `number` have the same colour and the same mark."""

    name: str
    """Its name in the legend."""
    segments: Sequence[Sequence[Point]]
    """Points with ascending x; nothing is drawn between two segments."""
    number: int = 0
    is_marked: bool = True
    """A line without marks is thinner and has no entry in the legend."""


@dataclass(frozen=True)
class LineChart:
    """A renderable of lines that differ in their marks and, if the console has colours, in
    colour."""

    title: str
    lines: Sequence[Line]
    across: tuple[float, float]
    """The ends of the horizontal axis."""
    across_label: str
    across_ticks: Callable[[int], Iterable[Tick]]
    """Return about as many ticks of the horizontal axis as asked for, at the most."""
    up_ticks: Sequence[Tick]
    """Equidistant ticks of the vertical axis; the first and the last are its ends."""
    empty_notice: str
    """Shown instead of a chart without any point."""
    notes: Sequence[str] = ()
    """Sentences below the legend."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.title, style="bold")
        if self._has_points:
            yield from self._rows(options.max_width, ascii_only=options.ascii_only)
        else:
            yield Text(self.empty_notice)
        yield from map(Text, self.notes)

    def _rows(self, width: int, *, ascii_only: bool) -> Iterator[Text]:
        """Yield the drawing, the axes and the legend line by line."""
        # The drawing, which leaves the numbers of the vertical axis their margin. Its height is a
        # multiple of the intervals, so that the ticks are equally far apart on whole lines.
        num_intervals = len(self.up_ticks) - 1
        margin = max(cell_len(shown) for _, shown in self.up_ticks)
        height = max(1, HEIGHT // num_intervals) * num_intervals + 1
        canvas = Canvas(max(MIN_WIDTH, width - margin - 2), height, ascii_only=ascii_only)
        marks = ASCII_MARKS if ascii_only else MARKS
        self._draw_lines(canvas, marks)

        # The vertical axis.
        side, tick_left, corner, floor, tick_below = "|++-+" if ascii_only else "│┤└─┬"
        at_row = {canvas.row(self._share_up(y)): shown for y, shown in self.up_ticks}
        for row, line in enumerate(canvas.lines()):
            edge = tick_left if row in at_row else side
            number = at_row.get(row, "").rjust(margin)
            yield _line(number, edge, line)

        # The horizontal axis, the numbers below it, and what they count.
        ticks = self.across_ticks(canvas.width // TICK_EVERY)
        at_column = {canvas.column(self._share_across(x)): shown for x, shown in ticks}
        bottom = [floor] * canvas.width
        for column in at_column:
            bottom[column] = tick_below
        yield _line(" " * margin + corner + "".join(bottom))
        yield _line(" " * (margin + 1) + _numbers(at_column, canvas.width))
        yield _line(self.across_label.rjust(margin + 1 + canvas.width))

        # The legend: only the lines with marks are named, the training lines share a note.
        entries = []
        for marked in self._marked:
            name = all_visible(marked.name, ascii_only=ascii_only)
            mark = marks[marked.number % len(marks)]
            entries.append((f"{mark} {name}", _style(marked.number)))
        yield from _legend(entries, width)

    def to_shapes(self, width: float) -> tuple[float, Sequence[str]]:
        """Return the height of the chart and its SVG shapes; see `charrnn.views.svg`."""
        # The notes stand below whatever is drawn.
        num_columns = int(width / COLUMN_WIDTH)
        if self._has_points:
            height, drawn = self._drawing(width)
        else:
            height = 2 * LINE_HEIGHT
            drawn = [label(0, 1.75 * LINE_HEIGHT, text=self.empty_notice)]
        for note in self.notes:
            for line in wrap(note, num_columns):
                height += LINE_HEIGHT
                drawn.append(label(0, height - LINE_HEIGHT / 2, text=line))

        # A title of several lines moves the drawing down.
        title = wrap(self.title, num_columns)
        shapes = []
        for number, line in enumerate(title):
            shapes.append(label(0, LINE_HEIGHT * (number + 0.75), text=line, bold=True))
        down = LINE_HEIGHT * (len(title) - 1)
        if down:
            drawn = [f'<g transform="translate(0 {down:g})">', *drawn, "</g>"]
        return height + down, [*shapes, *drawn]

    def _drawing(self, width: float) -> tuple[float, list[str]]:
        """Return the lower end of the drawing, the axes and the legend, and their shapes."""
        shapes: list[str] = []
        top = 1.5 * LINE_HEIGHT
        bottom = top + PICTURE_HEIGHT
        left = PICTURE_MARGIN
        right = width - 2 * COLUMN_WIDTH

        def place_x(x: float) -> float:
            return left + self._share_across(x) * (right - left)

        def place_y(y: float) -> float:
            # It grows downwards in SVG.
            return bottom - self._share_up(y) * PICTURE_HEIGHT

        def place(point: Point) -> Point:
            x, y = point
            return place_x(x), place_y(y)

        # The grid and the axes, with what stands beside them.
        for y, shown in self.up_ticks:
            level = place_y(y)
            shapes.append(path([(left, level), (right, level)], GRID, width=1))
            shapes.append(label(left - 8, level + 6, text=shown, anchor="end"))

        most_ticks = min(PICTURE_TICKS, round(width / COLUMN_WIDTH) // TICK_EVERY)
        for x, shown in self.across_ticks(most_ticks):
            at = place_x(x)
            shapes.append(path([(at, bottom), (at, bottom + 6)], INK))
            shapes.append(label(at, bottom + LINE_HEIGHT, text=shown, anchor="middle"))
        shapes.append(path([(left, top), (left, bottom), (right, bottom)], INK))
        shapes.append(label(right, bottom + 2 * LINE_HEIGHT, text=self.across_label, anchor="end"))

        # The lines are over the grid.
        for line in self.lines:
            shapes += self._drawn(line, place)

        # The legend, a line for each name.
        y = bottom + 3 * LINE_HEIGHT
        for line in self._marked:
            shapes.append(_mark(line.number, centre=(MARK_SIZE + 2, y - 6)))
            shapes.append(label(2 * COLUMN_WIDTH, y, text=line.name, fill=_colour(line.number)))
            y += LINE_HEIGHT
        return y - LINE_HEIGHT / 2, shapes

    @property
    def _has_points(self) -> bool:
        return any(any(line.segments) for line in self.lines)

    @property
    def _marked(self) -> list[Line]:
        return [line for line in self.lines if line.is_marked]

    def _share_across(self, x: float) -> float:
        """Return a position as a share of the horizontal axis, from 0 to 1."""
        begin, end = self.across
        return (x - begin) / (end - begin)

    def _share_up(self, y: float) -> float:
        """Return a position as a share of the vertical axis, from 0 to 1."""
        low, _ = self.up_ticks[0]
        high, _ = self.up_ticks[-1]
        return (y - low) / (high - low)

    def _share(self, point: Point) -> Point:
        x, y = point
        return self._share_across(x), self._share_up(y)

    def _draw_lines(self, canvas: Canvas, marks: str) -> None:
        for line in self.lines:
            for segment in line.segments:
                # The last point ends at itself, so that a segment of one point is a dot.
                for start, end in zip(segment, [*segment[1:], *segment[-1:]], strict=True):
                    canvas.line(self._share(start), self._share(end), _style(line.number))

        # The marks are over all lines, and take turns: each line begins a share of the distance
        # between two marks after the one before, so that equal lines can be told apart.
        num_marked = len(self._marked)
        every = max(MARK_EVERY, 3 * num_marked)
        for turn, line in enumerate(self._marked):
            columns = range((2 * turn + 1) * every // (2 * num_marked), canvas.width, every)
            shares = [column / (canvas.width - 1) for column in columns]

            mark = marks[line.number % len(marks)]
            for point in self._mark_points(line, shares):
                canvas.mark(*self._share(point), mark, _style(line.number))

    def _drawn(self, line: Line, place: Callable[[Point], Point]) -> Iterator[str]:
        """Yield a line as one path for each of its segments, then its marks, which alternate with
        the others'."""
        width = 2 if line.is_marked else 1
        # Segments are paths of their own: nothing is drawn where a run was interrupted.
        for segment in filter(None, line.segments):
            yield path(list(map(place, segment)), _colour(line.number), width=width)
        if not line.is_marked:
            return

        # In turns, as in the terminal: equal lines can be told apart by their marks.
        offset = (self._marked.index(line) + 0.5) / len(self._marked)
        shares = [(turn + offset) / NUM_MARKS for turn in range(NUM_MARKS)]
        for point in self._mark_points(line, shares):
            yield _mark(line.number, place(point))

    def _mark_points(self, line: Line, shares: Sequence[float]) -> list[Point]:
        """Return the points of a line at these shares of the horizontal axis, where there are any;
        else its last."""
        # Where the line has no point, it has no mark: an interpolation would show a loss that was
        # not measured.
        begin, end = self.across
        points = []
        for share in shares:
            point = _point_at(line.segments, begin + share * (end - begin))
            if point is not None:
                points.append(point)

        # A line that lies between two of the shares has a mark, too: the legend names it by that.
        if points:
            return points
        return list(chain(*line.segments))[-1:]


def _point_at(segments: Sequence[Sequence[Point]], x: float) -> Point | None:
    """Return the point of a line at x, None where it has none."""
    # Segments do not overlap: the first one that contains x is the one.
    for segment in segments:
        if segment and segment[0][0] <= x <= segment[-1][0]:
            index = bisect_left(segment, x, key=lambda point: point[0])
            if index == 0:
                return segment[0]

            # Linear between the two points around it.
            left, y = segment[index - 1]
            right, next_y = segment[index]
            return x, y + (next_y - y) * (x - left) / (right - left)
    return None


def round_step(extent: float, most: int) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that divides an extent into at most
    `most` intervals."""
    # The least step that may be: then the next round number above it.
    smallest = extent / max(1, most)
    power = math.floor(math.log10(smallest))

    # A rounding error must not skip a step that fits exactly.
    least = smallest * (1 - 1e-9)
    for digit in (1, 2, 5):
        step = digit * 10.0**power
        if step >= least:
            return step
    return 10.0 ** (power + 1)


def enclosing_ticks(lowest: float, highest: float) -> list[Tick]:
    """Return at most `MAX_TICKS` equidistant round numbers that enclose the given ones.

    They are at least 0.001 / (`MAX_TICKS` - 1) apart, and far enough that floats tell them from
    each other.
    """
    # A flat line has an axis, too, whose ticks differ in the digits that are shown.
    extent = max(highest - lowest, 1e-3, 1e-9 * max(abs(lowest), abs(highest)))
    # A step that divides the extent may not divide its ends: `most` intervals that begin at a round
    # number can end too early, and one more is needed. With one interval it always ends.
    for most in range(MAX_TICKS - 1, 0, -1):
        step = round_step(extent, most)
        first = math.floor(lowest / step + 1e-9)
        last = max(math.ceil(highest / step - 1e-9), first + 1)
        if last - first < MAX_TICKS:
            break

    # As many decimals as the step has: 0.5, 1.0, 1.5.
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(level * step, f"{level * step:.{digits}f}") for level in range(first, last + 1)]


def _style(number: int) -> Style:
    return STYLES[number % len(STYLES)]


def _colour(number: int) -> str:
    return colour_of(_style(number))


def _mark(number: int, centre: Point) -> str:
    """Return a mark as a polygon, filled or hollow."""
    # A circle is a polygon of 24 corners: one shape for all marks.
    place = number % len(MARKS)
    num_corners, turn = OUTLINES[place % len(OUTLINES)]
    x, y = centre
    outline = []
    for corner in range(num_corners):
        angle = math.tau * (corner / num_corners + turn)
        outline.append((x + MARK_SIZE * math.sin(angle), y - MARK_SIZE * math.cos(angle)))

    # A hollow one hides the line below it.
    colour = _colour(number)
    fill = PAPER
    if place < len(OUTLINES):
        fill = colour
    return shape(outline, fill, stroke=colour)


def _line(*pieces: str | Text) -> Text:
    return Text.assemble(*pieces, no_wrap=True, overflow="crop")


def _numbers(at_column: dict[int, str], width: int) -> str:
    """Return a line of `width` columns with each number below its column, without those that do not
    fit."""
    line = ""
    for column, number in sorted(at_column.items()):
        begin = max(0, min(column - (len(number) - 1) // 2, width - len(number)))
        # A space is between two numbers.
        if not line or begin > len(line):
            line = line.ljust(begin) + number
    return line


def _legend(entries: Sequence[tuple[str, Style]], width: int) -> Iterator[Text]:
    """Yield the names of the lines, as many per line as fit."""
    line = Text(overflow="fold")
    for name, style in entries:
        if line and line.cell_len + 3 + cell_len(name) > width:
            yield line
            line = Text(overflow="fold")
        # Between two entries.
        if line:
            line.append("   ")
        line.append(name, style)
    yield line


TITLE = "Validation loss (nats per character)"
"""Title of the chart."""
TRAINING_NOTE = "Lines without marks: training loss"
"""Starts the note below a chart that shows training losses, too."""
EMPTY_NOTICE = "No loss has been logged yet."
"""Shown instead of an empty chart."""
MAX_RISE = 10.0
"""Nats above the lowest loss from which on a loss is not drawn. A model that knows nothing of a
text with 20,000 different characters is below that; one that diverges would flatten all other
lines."""
MIN_ACROSS = 1e-6
"""Smallest end of the horizontal axis, in its unit; if all points are nearer to 0, the axis ends at
1."""
MAX_POINTS = 200
"""Points of a drawn training curve at the most; each is the mean of several steps."""


def learning_chart(curves: LearningCurves) -> LineChart:
    """Draw the validation losses of several runs, and their training losses if there are any.

    Losses more than `MAX_RISE` nats above the lowest one are not drawn.
    """
    logged: list[Line] = []
    for number, curve in enumerate(curves):
        logged += _lines(curve, number=number, against=curves.against)
    least = min(map(_height, _points(logged)), default=0.0)

    # A line that diverges would flatten all others.
    lines = []
    for line in logged:
        (segment,) = line.segments
        drawn = [point for point in segment if point[1] <= least + MAX_RISE]
        lines.append(replace(line, segments=[drawn]))

    # The axes end where the last line that is left does.
    points = _points(lines)
    furthest = max((x for x, _ in points), default=0.0)
    if furthest < MIN_ACROSS:
        furthest = 1.0

    # What the thin lines are.
    notes = list(curves.notes)
    most_steps = max((len(curve.training.steps) for curve in curves), default=0)
    if most_steps > MAX_POINTS:
        size = math.ceil(most_steps / MAX_POINTS)
        notes.insert(0, f"{TRAINING_NOTE}, each point the mean of up to {size} steps.")
    elif most_steps > 0:
        notes.insert(0, f"{TRAINING_NOTE}.")

    return LineChart(
        title=TITLE,
        lines=lines,
        across=(0, furthest),
        across_label=curves.against,
        across_ticks=partial(_multiples, furthest),
        up_ticks=enclosing_ticks(least, max(map(_height, points), default=1.0)),
        empty_notice=EMPTY_NOTICE,
        notes=notes,
    )


def _points(lines: Iterable[Line]) -> list[Point]:
    points: list[Point] = []
    for line in lines:
        for segment in line.segments:
            points += segment
    return points


def _height(point: Point) -> float:
    return point[1]


def _lines(curve: LearningCurve, number: int, against: str) -> Iterator[Line]:
    """Yield the line of a run's training, if it has one, then that of its validation: each is one
    segment."""
    # First, so that the validation is drawn over it.
    if curve.training.steps:
        training = _thinned(curve.training, against)
        yield Line(name=curve.run, segments=[training], number=number, is_marked=False)

    validation = list(zip(curve.validation.against(against), curve.validation.nats, strict=True))
    yield Line(name=curve.run, segments=[validation], number=number)


def _thinned(curve: LossCurve, against: str) -> list[Point]:
    """Return at most `MAX_POINTS` points: the mean loss of as many steps in a row, where the last
    of them ended."""
    # Thousands of noisy points would fill the drawing with dots.
    size = math.ceil(len(curve.steps) / MAX_POINTS)
    across = curve.against(against)
    points = []
    for begin in range(0, len(across), size):
        nats = curve.nats[begin : begin + size]
        points.append((across[begin + len(nats) - 1], sum(nats) / len(nats)))
    return points


def _multiples(furthest: float, most: int) -> list[Tick]:
    """Return 0 and the multiples of a round number up to `furthest`, about `most` but at least
    one."""
    # A step of 1, 2, 5, ... for one interval may be up to 2.5 times as long as it.
    while (step := round_step(furthest, most)) > furthest:
        most += 1

    # A rounding error must not cut off the last tick.
    num_intervals = int(furthest / step + 1e-9)
    places = [step * number for number in range(num_intervals + 1)]
    return [(place, short_number(place)) for place in places]

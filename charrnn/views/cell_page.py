"""Draw the page of a cell: passages first, then its values, what sets it, what it writes, and cells
like it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from charrnn.cells import findings as records
from charrnn.cells.analysis import sections
from charrnn.cells.gates import GATE_NAMES
from charrnn.views.heatmap import HeatMap, end_legend, fold, scale_pictures
from charrnn.views.theme import (
    ASCII_BLOCKS,
    BLOCKS,
    Scale,
    quoted_character,
    scale_of,
    shown_at_each,
)

ABOUT_PASSAGES = (
    "top and bottom: its highest and lowest values; tenth 10 to 1: one passage from each tenth of"
    " its values, the highest tenth first"
)
"""What the passages of a page are."""
LABEL_WIDTH = 27
"""Columns beside a passage that say which one it is, where it is, and the value it was chosen for.
"""
LINES_OF_EXTREMES = 2
"""Lines of a top or bottom passage; one of a decile has a single line."""
SHARE_BEFORE = 2 / 3
"""The share of a passage that stands before the character it was chosen for, if it is too long for
its lines."""
BARS_HEIGHT = 4
"""Lines of the histogram and of the autocorrelation."""
NUM_AFTER = 6
"""Characters that are listed after which the mean value is highest, and lowest."""
MIN_AFTER = 20
"""Occurrences that a character needs for that."""


def page_pictures(page: records.CellPage) -> list[RenderableType]:
    """Draw a page for any width: the passages, then every section that was measured."""
    # Always there.
    where = f"Where cell {page.layer}:{page.unit} is high and low"
    pictures = passages_pictures(where, page.passages)
    pictures += [Text(), *values_pictures(page.values)]

    # The results of analyses, in the order of their places.
    for section in sections():
        result = page.sections.get(section.name)
        if result is None:
            continue

        drawn = result.view()
        if section.title:
            drawn = [Text(section.title, style="bold"), *drawn]
        if drawn:
            pictures += [Text(), *drawn]

    # Last: whoever reads on goes to one of these cells next.
    correlated = []
    for one in page.values.correlated:
        correlated.append(f"{one.layer}:{one.unit} {one.correlation:+.2f}")
    pictures += [Text(), Text("Most correlated cells", style="bold")]
    pictures.append(Text(f"  {'   '.join(correlated) or 'none'}"))
    return pictures


def passages_pictures(title: str, passages: Sequence[records.CellPassage]) -> list[RenderableType]:
    """Draw the passages of a cell, all on one scale, below a title."""
    # One scale for all, so that a colour means the same in each.
    drawn = PassageList(passages)
    return [
        Text(title, style="bold"),
        *scale_pictures(drawn.scale),
        drawn,
        Text(ABOUT_PASSAGES, style="dim"),
        *end_legend("".join(passage.text for passage in passages)),
    ]


def summary_pictures(page: records.CellPage) -> list[RenderableType]:
    """Draw the lines with which the results of sections summarize a cell."""
    # One line each: the summary stays on the screen above the page.
    grid = Table.grid(padding=(0, 2, 0, 0))
    for section in sections():
        result = page.sections.get(section.name)
        if section.summary is not None and result is not None:
            for name, line in section.summary(result).items():
                grid.add_row(name, Text(line, overflow="fold"))
    if grid.row_count == 0:
        return []
    return [grid]


@dataclass(frozen=True)
class PassageList:
    """A renderable of passages, coloured, each beside its kind, its line of the text and its
    value."""

    passages: Sequence[records.CellPassage]

    @cached_property
    def scale(self) -> Scale:
        """The scale of all passages."""
        return scale_of(value for passage in self.passages for value in passage.values)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Labels keep their columns: the passage is what can be shorter.
        width = max(1, options.max_width - LABEL_WIDTH - 1)
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=LABEL_WIDTH, no_wrap=True)
        grid.add_column(width=width)

        # A tenth takes one line, so that its line of the text stands beside its value.
        for passage in self.passages:
            if passage.kind == "decile":
                name = f"tenth {passage.rank}"
                where = f" line {passage.line}"
                num_lines = 1
            else:
                name = f"{passage.kind} {passage.rank}"
                where = f"\nline {passage.line:,}"
                num_lines = LINES_OF_EXTREMES
            value = f"{passage.value:+.2f}"
            label = Text.assemble(name.ljust(10), (value, "bold"), (where, "dim"))
            part = fitted(passage, width=width, num_lines=num_lines)
            grid.add_row(label, HeatMap(part, self.scale))
        yield grid


def fitted(passage: records.CellPassage, width: int, num_lines: int) -> records.ColouredText:
    """Return the part of a passage around its character that fits so many lines, which are broken
    at spaces."""
    # Lines that are broken at spaces hold less than they are wide; how much less depends on the
    # words. One line is never broken.
    for num_columns in range(width * num_lines, width, -1):
        shown = clipped(passage, num_columns)
        characters = zip(shown.text, shown.values, strict=True)
        if len(list(fold(characters, width, ascii_only=False))) <= num_lines:
            return shown
    return clipped(passage, width)


def clipped(passage: records.CellPassage, num_columns: int) -> records.ColouredText:
    """Return the part of a passage around its character that fits so many columns, its line ends as
    marks."""
    # How each character is shown, and the columns that it takes. ↵ stands for a carriage return
    # before it, too, and a letter with its marks is at the last of them.
    shown = shown_at_each(passage.text)
    for found in re.finditer("\r\n", passage.text):
        shown[found.start()] = ""
    widths = list(map(cell_len, shown))

    # Grow in both directions, so that SHARE_BEFORE of the columns are before the character as long
    # as there are any.
    begin = passage.index - passage.begin
    end = begin
    used = 0
    before = 0
    while begin > 0 or end < len(shown):
        goes_back = begin > 0 and (end == len(shown) or before < SHARE_BEFORE * used)
        place = end
        if goes_back:
            place = begin - 1
        if used + widths[place] > num_columns:
            break
        used += widths[place]
        if goes_back:
            begin = place
            before += widths[place]
        else:
            end = place + 1

    # One value per character that is drawn: a mark may have several.
    values: list[float] = []
    for place in range(begin, end):
        values += [passage.values[place]] * len(shown[place])
    return records.ColouredText(text="".join(shown[begin:end]), values=tuple(values))


def values_pictures(values: records.CellValues) -> list[RenderableType]:
    """Draw the histogram and the autocorrelation of a cell's values, its timescale, gates, and
    values by character."""
    pictures: list[RenderableType] = [
        Text(f"Values over {values.num_chars:,} characters", style="bold"),
        ValueCharts(values),
        Text(f"  mean {values.mean:+.3f}, standard deviation {values.spread:.3f}"),
        Text(f"  {timescale_text(values)}"),
    ]
    if values.gates:
        pictures.append(Text(f"  {gates_text(values)}"))
    pictures.append(Text("Mean value after a character", style="bold"))
    return pictures + after_lines(values.after_characters)


@dataclass(frozen=True)
class ValueCharts:
    """A renderable of the histogram and the autocorrelation as bars, side by side or, in few
    columns, below."""

    values: records.CellValues

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Eight heights in a line: four lines show 32.
        blocks = ASCII_BLOCKS if options.ascii_only else BLOCKS
        counts = self.values.histogram
        histogram = [
            "histogram",
            *bars(counts, max(counts, default=0), blocks=blocks),
            "-1" + "0".center(records.NUM_BINS - 4) + "+1",
        ]

        # A bar of height 0 is no correlation or a negative one, which the numbers of the record
        # show.
        curve = [
            "autocorrelation by lag",
            *bars(self.values.autocorrelation, largest=1.0, blocks=blocks),
        ]
        lags = self.values.lags
        below = ""
        if len(lags) > 4:
            below = f"1{lags[-1]:>{len(lags) - 1}}"
        curve.append(below)

        left = Text("\n".join(histogram), no_wrap=True)
        right = Text("\n".join(curve), no_wrap=True)
        grid = Table.grid(padding=(0, 3, 0, 2))
        if options.max_width >= records.NUM_BINS + len(lags) + 10:
            grid.add_row(left, right)
        else:
            grid.add_row(left)
            grid.add_row(right)
        yield grid


def bars(numbers: Sequence[float], largest: float, blocks: str) -> list[str]:
    """Return the lines of a chart of bars, one column each, as high as numbers (n,) from 0 to the
    largest. A negative number has no bar."""
    # In blocks of all lines; rounded up, so that no positive number is without a bar.
    heights = []
    for number in numbers:
        share = 0.0
        if largest > 0:
            share = min(1.0, max(0.0, number / largest))
        heights.append(math.ceil(len(blocks) * BARS_HEIGHT * share))

    # From the top: of each bar what is above the lines below.
    lines = []
    drawn = " " + blocks
    for level in range(BARS_HEIGHT - 1, -1, -1):
        line = ""
        for height in heights:
            line += drawn[min(len(blocks), max(0, height - level * len(blocks)))]
        lines.append(line)
    return lines


def characters_text(number: float) -> str:
    """Return a number of characters with three significant digits, if it has no more before the
    point."""
    if number >= 999.5:
        return f"{number:,.0f} characters"
    return f"{number:.3g} characters"


def timescale_text(values: records.CellValues) -> str:
    """Say the timescale of a cell, and where it comes from."""
    if values.timescale_from == records.FROM_AUTOCORRELATION:
        source = "from the autocorrelation"
    else:
        source = f"mean of the {GATE_NAMES.get(values.timescale_from, values.timescale_from)} gate"

    # Two reasons, of which only one is a property of the cell.
    if values.timescale is None:
        why = "of a constant cell"
        if values.autocorrelation:
            why = "longer than can be measured"
        return f"timescale {why} ({source})"

    # Of a timescale from a gate, what the values themselves show, too.
    said = f"timescale {characters_text(values.timescale)} ({source})"
    if values.timescale_from != records.FROM_AUTOCORRELATION and values.decay is not None:
        said += f"; the autocorrelation falls to 1/e after {characters_text(values.decay)}"
    return said


def gates_text(values: records.CellValues) -> str:
    """Say at which share of the characters each gate is open and closed."""
    parts = []
    for one in values.gates:
        # Cells of other packages may have letters without a name.
        name = GATE_NAMES.get(one.gate, one.gate)
        parts.append(f"{name} {one.open:.0%} / {one.closed:.0%}")
    return f"gates open / closed: {', '.join(parts)}"


def after_lines(after: Sequence[records.AfterCharacter]) -> list[RenderableType]:
    """Draw the characters after which the mean is highest, and those after which it is lowest."""
    # The mean of a few values would often be an extreme one by chance.
    frequent = [one for one in after if one.count >= MIN_AFTER]
    frequent.sort(key=lambda one: -one.mean)
    lowest_first = frequent[::-1]
    return [
        _after_line("highest", frequent[:NUM_AFTER]),
        _after_line("lowest ", lowest_first[:NUM_AFTER]),
    ]


def _after_line(name: str, after: Sequence[records.AfterCharacter]) -> Text:
    # A text of a few lines has no character that occurs so often.
    shown = [f"{quoted_character(one.character)} {one.mean:+.2f}" for one in after]
    listed = "   ".join(shown) or f"no character occurs {MIN_AFTER} times"
    return Text(f"  {name}  {listed}", overflow="fold")

"""Draw the page of a cell: passages first, then its values, what sets it, what it writes, and cells
like it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from charrnn.cells.findings import (
    FROM_AUTOCORRELATION,
    NUM_BINS,
    AfterCharacter,
    CellPage,
    CellPassage,
    CellValues,
    ColouredText,
)
from charrnn.cells.gates import GATE_NAMES
from charrnn.cells.study import sections
from charrnn.views.heatmap import HeatMap, end_legend, fold, scale_pictures
from charrnn.views.tables import PlainTable
from charrnn.views.theme import (
    BLOCKS,
    Scale,
    is_in_words,
    quoted_character,
    scale_of,
    shown_at_each,
)

ABOUT_PASSAGES = (
    "top and bottom: its highest and lowest values; tenth 10 to 1: one passage from each tenth of"
    " its values, the highest tenth first"
)
"""The explanation of the passages."""
LABEL_WIDTH = 27
"""Columns of the label beside a passage: its rank, its line in the text, and the value for which it
was chosen."""
LINES_OF_EXTREMES = 2
"""Lines of a top or bottom passage; a passage of a decile has a single line."""
SHARE_BEFORE = 2 / 3
"""The share of a passage before the character for which it was chosen, if the passage is too long
for its lines."""
BARS_HEIGHT = 4
"""Lines of the histogram and of the autocorrelation."""
NUM_AFTER = 6
"""The number of characters after which the mean value is highest that are listed, and of those
after which it is lowest."""
MIN_AFTER = 20
"""Occurrences that a character needs to be listed."""


def page_pictures(page: CellPage) -> list[RenderableType]:
    """Draw a page for any width: the passages, then every section that was measured."""
    # Every page has passages and values.
    title = f"Where cell {page.layer}:{page.unit} is high and low"
    pictures = passages_pictures(title, page.passages, polarity=page.polarity)
    pictures += [Text(), *values_pictures(page.values)]

    # The results of analyses that were made, in the order of `CellSection.place`.
    for section in sections():
        result = page.sections.get(section.name)
        if result is None:
            continue

        section_pictures = result.view()
        if section.title:
            section_pictures = [Text(section.title, style="bold"), *section_pictures]
        if section_pictures:
            pictures += [Text(), *section_pictures]

    # At the end, because these are the cells that a reader looks at next.
    correlated = []
    for cell in page.values.correlated:
        correlated.append(f"{cell.layer}:{cell.unit} {cell.correlation:+.2f}")
    pictures += [Text(), Text("Most correlated cells", style="bold")]
    pictures.append(Text(f"  {'   '.join(correlated) or 'none'}"))
    return pictures


def passages_pictures(
    title: str, passages: Sequence[CellPassage], polarity: int = 1
) -> list[RenderableType]:
    """Draw the passages of a cell below a title, all on the same scale, so that a colour means the
    same value in every passage."""
    passage_list = PassageList(passages, polarity)
    return [
        Text(title, style="bold"),
        *scale_pictures(passage_list.scale),
        passage_list,
        Text(ABOUT_PASSAGES, style="dim"),
        *end_legend("".join(passage.text for passage in passages)),
    ]


def summary_pictures(page: CellPage) -> list[RenderableType]:
    """Draw the lines with which the results of sections summarize a cell."""
    # A line for each result, so that the summary stays on the screen above the page.
    grid = PlainTable.grid(padding=(0, 2, 0, 0))
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
    """A renderable of coloured passages. Beside each passage are its kind, its line in the text and
    its value."""

    passages: Sequence[CellPassage]
    polarity: int = 1

    @cached_property
    def scale(self) -> Scale:
        """The scale of all passages."""
        values = (value for passage in self.passages for value in passage.values)
        return scale_of(values, self.polarity)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # In a narrow terminal the passages are shorter, and the labels keep their columns.
        width = max(1, options.max_width - LABEL_WIDTH - 1)
        grid = PlainTable.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=LABEL_WIDTH, no_wrap=True)
        grid.add_column(width=width)

        # The passage of a tenth takes one line, so its line number stands beside its value.
        for passage in self.passages:
            if passage.kind == "decile":
                name = f"tenth {passage.rank}"
                line_number = f" line {passage.line}"
                num_lines = 1
            else:
                name = f"{passage.kind} {passage.rank}"
                line_number = f"\nline {passage.line:,}"
                num_lines = LINES_OF_EXTREMES
            value = f"{passage.value:+.2f}"
            label = Text.assemble(name.ljust(10), (value, "bold"), (line_number, "dim"))
            excerpt = fitted(passage, width=width, num_lines=num_lines)
            grid.add_row(label, HeatMap(excerpt, self.scale))
        yield grid


def fitted(passage: CellPassage, width: int, num_lines: int) -> ColouredText:
    """Return the excerpt of a passage around its character that fits into `num_lines` lines, which
    are broken at spaces."""
    # A line that is broken at a space is not full; how much of it is empty depends on the words.
    # So every number of columns is tried, down to a single line, which is never broken.
    for num_columns in range(width * num_lines, width, -1):
        excerpt = clipped(passage, num_columns)
        characters = zip(excerpt.text, excerpt.values, strict=True)
        if len(list(fold(characters, width, ascii_only=False))) <= num_lines:
            return excerpt
    return clipped(passage, width)


def clipped(passage: CellPassage, num_columns: int) -> ColouredText:
    """Return the excerpt of a passage around its character that fits into `num_columns` columns,
    with marks for line ends."""
    # The visible form of each character, and the columns that it takes. ↵ stands for a carriage
    # return and the newline after it. The form of a letter with combining marks is at the last of
    # them.
    forms = shown_at_each(passage.text)
    for line_end in re.finditer("\r\n", passage.text):
        forms[line_end.start()] = ""
    widths = list(map(cell_len, forms))

    # Grow in both directions, so that SHARE_BEFORE of the columns are before the character as long
    # as the passage has characters there.
    begin = passage.index - passage.begin
    end = begin
    num_used = 0
    num_before = 0
    while begin > 0 or end < len(forms):
        goes_back = begin > 0 and (end == len(forms) or num_before < SHARE_BEFORE * num_used)
        index = end
        if goes_back:
            index = begin - 1
        if num_used + widths[index] > num_columns:
            break
        num_used += widths[index]
        if goes_back:
            begin = index
            num_before += widths[index]
        else:
            end = index + 1

    # Each character of a form has a value: a tab is drawn as several.
    values: list[float] = []
    for index in range(begin, end):
        values += [passage.values[index]] * len(forms[index])
    return ColouredText(text="".join(forms[begin:end]), values=tuple(values))


def values_pictures(values: CellValues) -> list[RenderableType]:
    """Draw the histogram and the autocorrelation of a cell's values, its timescale, its gates, and
    its mean values by character."""
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
    columns, one below the other."""

    values: CellValues

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # The mean, the standard deviation and the timescale follow the charts in words.
        if is_in_words(console) or options.ascii_only:
            return

        counts = self.values.histogram
        histogram = [
            "histogram",
            *bars(counts, max(counts, default=0)),
            "-1" + "0".center(NUM_BINS - 4) + "+1",
        ]

        # A correlation of 0 or less has no bar.
        autocorrelation = [
            "autocorrelation by lag",
            *bars(self.values.autocorrelation, largest=1.0),
        ]
        lags = self.values.lags
        axis = ""
        if len(lags) > 4:
            axis = f"1{lags[-1]:>{len(lags) - 1}}"
        autocorrelation.append(axis)

        left = Text("\n".join(histogram), no_wrap=True)
        right = Text("\n".join(autocorrelation), no_wrap=True)
        grid = PlainTable.grid(padding=(0, 3, 0, 2))
        if options.max_width >= NUM_BINS + len(lags) + 10:
            grid.add_row(left, right)
        else:
            grid.add_row(left)
            grid.add_row(right)
        yield grid


def bars(numbers: Sequence[float], largest: float) -> list[str]:
    """Return the lines of a chart with a bar, one column wide, for each of the numbers (n,). A
    number of `largest` has the full height, a negative number has no bar."""
    # Heights in eighths of a line, rounded up so that every positive number has a bar.
    heights = []
    for number in numbers:
        share = 0.0
        if largest > 0:
            share = min(1.0, max(0.0, number / largest))
        heights.append(math.ceil(len(BLOCKS) * BARS_HEIGHT * share))

    # Line by line from the top. A bar fills a line as far as it is higher than the lines below.
    lines = []
    fillings = " " + BLOCKS
    for level in range(BARS_HEIGHT - 1, -1, -1):
        line = ""
        for height in heights:
            line += fillings[min(len(BLOCKS), max(0, height - level * len(BLOCKS)))]
        lines.append(line)
    return lines


def characters_text(number: float) -> str:
    """Return a number of characters with three significant digits; from 1,000 on, rounded to an
    integer."""
    if number >= 999.5:
        return f"{number:,.0f} characters"
    return f"{number:.3g} characters"


def timescale_text(values: CellValues) -> str:
    """Return a phrase that says the timescale of a cell and where it was measured."""
    if values.timescale_from == FROM_AUTOCORRELATION:
        source = "from the autocorrelation"
    else:
        source = f"mean of the {GATE_NAMES.get(values.timescale_from, values.timescale_from)} gate"

    # A timescale is missing for one of two reasons.
    if values.timescale is None:
        reason = "of a constant cell"
        if values.autocorrelation:
            reason = "longer than can be measured"
        return f"timescale {reason} ({source})"

    # A timescale from a gate stands beside the decay of the values themselves.
    phrase = f"timescale {characters_text(values.timescale)} ({source})"
    if values.timescale_from != FROM_AUTOCORRELATION and values.decay is not None:
        phrase += f"; the autocorrelation falls to 1/e after {characters_text(values.decay)}"
    return phrase


def gates_text(values: CellValues) -> str:
    """Return a phrase that says at which share of the characters each gate is open and closed."""
    phrases = []
    for gate in values.gates:
        # The gates of a cell type of another package have no name, but a letter.
        name = GATE_NAMES.get(gate.gate, gate.gate)
        phrases.append(f"{name} {gate.open:.0%} / {gate.closed:.0%}")
    return f"gates open / closed: {', '.join(phrases)}"


def after_lines(after: Sequence[AfterCharacter]) -> list[RenderableType]:
    """Draw a line of the characters after which the mean is highest, and a line of those after
    which it is lowest."""
    # The mean of a few values would often be extreme by chance.
    frequent = [character for character in after if character.count >= MIN_AFTER]
    frequent.sort(key=lambda character: -character.mean)
    lowest_first = frequent[::-1]
    return [
        _after_line("highest", frequent[:NUM_AFTER]),
        _after_line("lowest ", lowest_first[:NUM_AFTER]),
    ]


def _after_line(name: str, after: Sequence[AfterCharacter]) -> Text:
    # A text of a few lines has no character that occurs so often.
    means = [f"{quoted_character(entry.character)} {entry.mean:+.2f}" for entry in after]
    listed = "   ".join(means) or f"no character occurs {MIN_AFTER} times"
    return Text(f"  {name}  {listed}", overflow="fold")

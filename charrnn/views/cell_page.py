"""The page of a cell as a list of parts, and their drawing in a terminal and in a picture:
passages first, then its values, what sets it, what it writes, and cells like it.

The page of an atlas has the same parts for a browser.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.cells import cell_len
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from charrnn.cells.findings import (
    FROM_AUTOCORRELATION,
    CellPage,
    CellPassage,
    CellValues,
    ColouredText,
    MeasuredCell,
)
from charrnn.cells.gates import GATE_NAMES
from charrnn.cells.study import sections
from charrnn.views.heatmap import HeatMap, end_legend, fold, scale_pictures
from charrnn.views.tables import PlainTable
from charrnn.views.theme import (
    BLOCKS,
    Scale,
    all_visible,
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
"""Lines of a top or bottom passage; every other passage has a single line."""
SHARE_BEFORE = 2 / 3
"""The share of a passage before the character for which it was chosen, if the passage is too long
for its lines."""
BARS_HEIGHT = 4
"""Lines of a chart of bars."""
NUM_AFTER = 6
"""The number of characters after which the mean value is highest that are listed, and of those
after which it is lowest."""
MIN_AFTER = 20
"""Occurrences that a character needs to be listed."""

Pairs = Sequence[tuple[str, float]]
"""Characters in quotation marks or names of cells, such as `0:17`, each with a number."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the page of a cell, which is left out if it has no content.

    `draw_as` says what the content is: `text` (lines), `rows` (each a name with a text, or with
    `Pairs`), `bars` (the values of the first and the last bar, and the height of each from 0 to 1)
    or `passages` (each a `CellPassage`).
    """

    title: str
    draw_as: str
    content: Any
    about: str = ""
    """The explanation of the content."""
    polarity: int = 1
    """-1 for passages that are drawn with their sign turned."""


def page_parts(
    cell: MeasuredCell, passages: Sequence[CellPassage], polarity: int = 1
) -> Iterator[Part]:
    """Yield the parts of the page of a cell: its passages, then all that was measured."""
    yield Part(
        title=f"Where cell {cell.layer}:{cell.unit} is high and low",
        draw_as="passages",
        content=passages,
        about=ABOUT_PASSAGES,
        polarity=polarity,
    )
    yield from values_parts(cell.values)

    # The results of analyses that were made, in the order of `CellSection.place`.
    for section in sections():
        result = cell.sections.get(section.name)
        if result is not None:
            yield from result.parts()


def values_parts(values: CellValues) -> Iterator[Part]:
    """Yield the parts about the values of a cell over the text."""
    # Some cells have no gates, and some no timescale.
    figures = [
        ("mean", f"{values.mean:+.3f}"),
        ("standard deviation", f"{values.spread:.3f}"),
        ("timescale", timescale_text(values)),
    ]
    if values.timescale_from != FROM_AUTOCORRELATION and values.decay is not None:
        figures.append(("autocorrelation falls to 1/e after", characters_text(values.decay)))
    for gate in values.gates:
        # The gates of a cell type of another package have no name, but a letter.
        name = GATE_NAMES.get(gate.gate, gate.gate)
        figures.append((f"{name} gate", f"open {gate.open:.0%}, closed {gate.closed:.0%}"))
    yield Part(
        title=f"Values over {values.num_chars:,} characters", draw_as="rows", content=figures
    )

    # A correlation of 0 or less has no bar.
    most = max(values.histogram, default=0) or 1
    heights = [count / most for count in values.histogram]
    yield Part(title="Histogram", draw_as="bars", content=(-1, 1, heights))
    if values.autocorrelation:
        yield Part(
            title="Autocorrelation by lag",
            draw_as="bars",
            content=(values.lags[0], values.lags[-1], values.autocorrelation),
        )

    # The mean of a few values would often be extreme by chance.
    frequent = [after for after in values.after_characters if after.count >= MIN_AFTER]
    frequent.sort(key=lambda after: -after.mean)
    means = [(quoted_character(after.character), after.mean) for after in frequent]
    rows = [("highest", means[:NUM_AFTER]), ("lowest", means[::-1][:NUM_AFTER])]
    yield Part(
        title="Mean value after a character",
        draw_as="rows",
        content=rows if means else [],
        about=f"of the characters that occur at least {MIN_AFTER} times",
    )
    # The cells that a reader looks at next.
    similar = [(f"{other.layer}:{other.unit}", other.correlation) for other in values.correlated]
    yield Part(
        title="Most correlated cells",
        draw_as="rows",
        content=[("correlation", similar)] if similar else [],
    )


def draw_parts(parts: Iterable[Part]) -> list[RenderableType]:
    """Draw parts below each other, for any width."""
    pictures: list[RenderableType] = []
    for part in parts:
        # The text may be too short for a part, or the cell may have no gates.
        if not part.content:
            continue
        if pictures:
            pictures.append(Text())
        pictures += [Text(all_visible(part.title), style="bold"), *_drawn(part)]
        if part.about:
            pictures.append(Text(part.about, style="dim"))
    return pictures


def _drawn(part: Part) -> Iterator[RenderableType]:
    """Yield the content of a part."""
    match part.draw_as:
        case "text":
            for line in part.content:
                yield Text(all_visible(line), overflow="fold")
        case "rows":
            grid = PlainTable.grid(padding=(0, 2))
            for name, shown in part.content:
                if isinstance(shown, str):
                    grid.add_row(name, Text(all_visible(shown), overflow="fold"))
                else:
                    # A number stays beside its name when the row is folded.
                    pairs = [Text(f"{label} {number}") for label, number in with_numbers(shown)]
                    grid.add_row(name, Columns(pairs, padding=(0, 3, 0, 0)))
            yield grid
        case "bars":
            yield Bars(*part.content)
        case "passages":
            yield PassageList(part.content, part.polarity)


def with_numbers(pairs: Pairs) -> list[tuple[str, str]]:
    """Return pairs with their numbers as texts: two digits of the largest, and as many decimals for
    all of them."""
    # Effects of a few thousandths would all be 0.00.
    largest = max((abs(number) for _, number in pairs), default=0.0)
    num_decimals = 2
    if 0 < largest < 0.1:
        num_decimals = min(4, 1 - math.floor(math.log10(largest)))
    return [(label, f"{number:+.{num_decimals}f}") for label, number in pairs]


def page_pictures(page: CellPage) -> list[RenderableType]:
    """Draw a page for any width."""
    return draw_parts(page_parts(page, page.passages, page.polarity))


@dataclass(frozen=True)
class PassageList:
    """A renderable of coloured passages, all on the same scale, so that a colour means the same
    value in every passage. Beside each passage are its kind, its line in the text and its value."""

    passages: Sequence[CellPassage]
    polarity: int = 1

    @cached_property
    def scale(self) -> Scale:
        """The scale of all passages."""
        values = (value for passage in self.passages for value in passage.values)
        return scale_of(values, self.polarity)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from scale_pictures(self.scale)
        # In a narrow terminal the passages are shorter, and the labels keep their columns.
        width = max(1, options.max_width - LABEL_WIDTH - 1)
        grid = PlainTable.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=LABEL_WIDTH, no_wrap=True)
        grid.add_column(width=width)

        # A passage of one line has its line number beside its value.
        for passage in self.passages:
            line_number = ""
            num_lines = 1
            if passage.kind in ("top", "bottom"):
                line_number = f"\nline {passage.line:,}"
                num_lines = LINES_OF_EXTREMES
            elif passage.line:
                line_number = f" line {passage.line}"
            value = f"{passage.value:+.2f}"
            name = passage_name(passage).ljust(10)
            label = Text.assemble(name, (value, "bold"), (line_number, "dim"))
            excerpt = fitted(passage, width=width, num_lines=num_lines)
            grid.add_row(label, HeatMap(excerpt, self.scale))
        yield grid
        yield from end_legend("".join(passage.text for passage in self.passages))


def passage_name(passage: CellPassage) -> str:
    """Return the name of a passage among the passages of its cell, such as `top 1`."""
    kind = "tenth" if passage.kind == "decile" else passage.kind
    return f"{kind} {passage.rank}"


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


@dataclass(frozen=True)
class Bars:
    """A renderable of bars, one column wide, above the values of the first and the last bar."""

    first: float
    last: float
    heights: Sequence[float]
    """The height of each bar (n,), from 0 to 1; a negative number has no bar."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Figures stand beside bars.
        if is_in_words(console) or options.ascii_only:
            return

        # Heights in eighths of a line, rounded up so that every positive number has a bar.
        eighths = []
        for height in self.heights:
            eighths.append(math.ceil(len(BLOCKS) * BARS_HEIGHT * min(1.0, max(0.0, height))))

        # Line by line from the top. A bar fills a line as far as it is higher than the lines below.
        fillings = " " + BLOCKS
        for level in range(BARS_HEIGHT - 1, -1, -1):
            line = Text("  ", no_wrap=True)
            for height in eighths:
                line.append(fillings[min(len(BLOCKS), max(0, height - level * len(BLOCKS)))])
            yield line
        first = f"{self.first:g}"
        yield Text(f"  {first}{self.last:>{max(1, len(eighths) - len(first))}g}", no_wrap=True)


def characters_text(number: float) -> str:
    """Return a number of characters with three significant digits; from 1,000 on, rounded to an
    integer."""
    if number >= 999.5:
        return f"{number:,.0f} characters"
    return f"{number:.3g} characters"


def timescale_text(values: CellValues) -> str:
    """Return the timescale of a cell, and where it was measured."""
    if values.timescale_from == FROM_AUTOCORRELATION:
        source = "from the autocorrelation"
    else:
        source = f"mean of the {GATE_NAMES.get(values.timescale_from, values.timescale_from)} gate"

    # A timescale is missing for one of two reasons.
    timescale = "of a constant cell"
    if values.timescale is not None:
        timescale = characters_text(values.timescale)
    elif values.autocorrelation:
        timescale = "longer than can be measured"
    return f"{timescale} ({source})"

"""The page of a cell: its score beside the nulls, the histogram of its values, and passages."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from charrnn.cells.findings import CellFindings, CellPage, CellPassage, ColouredText
from charrnn.views.findings_tables import ABOUT_INNER, LEGEND
from charrnn.views.heatmap import HeatMap, end_legend, fold, scale_pictures
from charrnn.views.tables import PlainTable, findings_table, footnotes
from charrnn.views.theme import BLOCKS, Scale, is_in_words, scale_of, shown_at_each

ABOUT_PASSAGES = (
    "top and bottom: its highest and lowest values; tenth 10 to 1: one passage from each tenth of"
    " its values, the highest tenth first"
)
"""The explanation of the passages."""
NOT_BEST = "It is the best cell of no detector. This is the detector that it follows best."
"""The note below the score of such a cell."""
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


def page_pictures(page: CellPage) -> list[RenderableType]:
    """Draw a page for any width."""
    pictures: list[RenderableType] = []
    if page.scores:
        pictures += [*score_pictures(page), Text()]

    # A frequency without characters has no bar.
    most = max(page.histogram, default=0) or 1
    about = f"mean {page.mean:+.3f}, standard deviation {page.spread:.3f}"
    pictures += [
        Text.assemble((f"Values over {page.num_chars:,} characters", "bold"), f": {about}"),
        Bars([count / most for count in page.histogram]),
        Text(),
    ]

    title = f"Where cell {page.layer}:{page.unit} is high and low"
    pictures += [
        Text(title, style="bold"),
        PassageList(page.passages, page.polarity),
        Text(ABOUT_PASSAGES, style="dim"),
    ]
    return pictures


def score_pictures(page: CellPage) -> list[RenderableType]:
    """Draw the scores of a cell beside the nulls."""
    findings = CellFindings(scores=page.scores)
    pictures: list[RenderableType] = [
        Text(f"How well cell {page.layer}:{page.unit} follows a detector", style="bold"),
        findings_table(findings),
        Text(LEGEND + ABOUT_INNER, style="dim"),
    ]
    # Only the best cell of a detector has a p-value.
    if page.scores[0].p_value is None:
        pictures.append(Text(NOT_BEST))
    pictures += map(Text, footnotes(findings))
    return pictures


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
    # The visible form of each character, and the columns that it takes. The form of a letter with
    # combining marks is at the last of them.
    forms = shown_at_each(passage.text)
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
    """A renderable of bars, one column wide, over the values from -1 to 1."""

    heights: Sequence[float]
    """The height of each bar (n,), from 0 to 1."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Figures stand beside bars.
        if is_in_words(console) or options.ascii_only:
            return

        # Line by line from the top, in eighths of a line, rounded up so that every positive number
        # has a bar. A bar fills a line as far as it is higher than the lines below.
        fillings = " " + BLOCKS
        for level in range(BARS_HEIGHT - 1, -1, -1):
            line = Text("  ", no_wrap=True)
            for height in self.heights:
                above = math.ceil(len(BLOCKS) * (BARS_HEIGHT * height - level))
                line.append(fillings[min(len(BLOCKS), max(0, above))])
            yield line
        yield Text(f"  -1{'1':>{len(self.heights) - 2}}", no_wrap=True)

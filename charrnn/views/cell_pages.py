"""Draw the page of a cell: its score beside the nulls, the histogram of its values, and passages.

The pages of several cells are one HTML page without a script.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.style import Style
from rich.table import Table
from rich.text import Text

from charrnn.cells.records import CellFindings, CellPage, CellPassage, ColouredText
from charrnn.errors import counted
from charrnn.views.findings_tables import scored_pictures
from charrnn.views.heatmap import HeatMap, end_legend, scale_pictures
from charrnn.views.svg import to_html
from charrnn.views.theme import block, is_in_words, scale_of, shown_at_each

ABOUT_PASSAGES = (
    "top and bottom: its highest and lowest values; tenth 10 to 1: one passage from each tenth of"
    " its values, the highest tenth first"
)
"""The explanation of the passages."""
NOT_BEST = "It is the best cell of no detector. This is the detector that it follows best."
"""The note below the score of such a cell."""
LABEL_WIDTH = 27
"""Columns of the label beside a passage: its rank, the value for which it was chosen, and its line
in the text."""
PASSAGE_WIDTH = 52
"""Columns of a line of a passage; in a narrow terminal it is folded."""
WORD_WIDTH = 12
"""Columns of a passage of two lines that are left for the word at which the first line ends."""
SHARE_BEFORE = 2 / 3
"""The share of a passage before the character for which it was chosen."""
NO_BREAK = "\u00a0"
"""A space at which a line is not broken."""


def page_pictures(page: CellPage) -> list[RenderableType]:
    """Draw a page for any width.

    It is for a terminal; `cells_to_html` makes a file of many pages, with links between them.
    """
    cell = f"{page.layer}:{page.unit}"
    pictures: list[RenderableType] = []
    if page.scores:
        pictures.append(Text(f"How well cell {cell} follows a detector", style="bold"))
        pictures += scored_pictures(CellFindings(scores=page.scores))
        # Only the best cell of a detector has a p-value.
        if page.scores[0].p_value is None:
            pictures.append(Text(NOT_BEST))
        pictures.append(Text())

    about = f"mean {page.mean:+.3f}, standard deviation {page.spread:.3f}"
    pictures += [
        Text.assemble(
            (f"Values over {counted(page.num_chars, 'character')}", "bold"), f": {about}"
        ),
        Histogram(page.histogram),
        Text(),
        Text(f"Where cell {cell} is high and low", style="bold"),
        *passage_list(page.passages, page.polarity),
        Text(ABOUT_PASSAGES, style="dim"),
    ]
    return pictures


@dataclass(frozen=True)
class Histogram:
    """A renderable of how many values lie in each of the bins from -1 to 1, as a block for each."""

    counts: Sequence[int]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Figures stand beside the blocks.
        if is_in_words(console):
            return
        most = max(self.counts, default=0)
        bar = ""
        for count in self.counts:
            # Every value has a block, and an empty bin has none.
            share = math.nan
            if count:
                share = count / most
            bar += block(2 * share - 1)
        yield Text(f"  -1 {bar} 1", no_wrap=True)


def passage_list(passages: Sequence[CellPassage], polarity: int = 1) -> list[RenderableType]:
    """Draw coloured passages, all on the same scale, so that a colour means the same value in every
    passage. Beside each passage are its kind, its value and its line in the text.

    `passage_pictures` is for passages of several cells, each with its own scale.
    """
    scale = scale_of((value for passage in passages for value in passage.values), polarity)
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=LABEL_WIDTH, no_wrap=True)
    for passage in passages:
        # Extremes have two lines, a passage of a tenth has one.
        name = f"tenth {passage.rank}"
        num_columns = PASSAGE_WIDTH
        if passage.kind != "decile":
            name = f"{passage.kind} {passage.rank}"
            num_columns = 2 * PASSAGE_WIDTH - WORD_WIDTH
        line = f" line {passage.line}" if passage.line else ""
        label = Text.assemble(name.ljust(10), (f"{passage.value:+.2f}", "bold"), (line, "dim"))
        grid.add_row(label, HeatMap(clipped(passage, num_columns), scale))
    about_end = end_legend("".join(passage.text for passage in passages))
    return [*scale_pictures(scale), grid, *about_end]


def clipped(passage: CellPassage, num_columns: int) -> ColouredText:
    """Return the excerpt of a passage around its character that fits into `num_columns` columns,
    with marks for line ends."""
    # The visible form of each character, and the columns that it takes. The form of a letter with
    # combining marks is at the last of them.
    forms = shown_at_each(passage.text)
    widths = list(map(cell_len, forms))

    # Characters are left out before the excerpt, until the share before the character fits, or else
    # after it.
    index = passage.index - passage.begin
    begin = 0
    end = len(forms)
    while sum(widths[begin:end]) > num_columns:
        if sum(widths[begin:index]) > num_columns * SHARE_BEFORE:
            begin += 1
        else:
            end -= 1

    # Each character of a form has a value: a tab is drawn as several.
    values: list[float] = []
    for position in range(begin, end):
        values += [passage.values[position]] * len(forms[position])
    return ColouredText(text="".join(forms[begin:end]), values=tuple(values))


def cells_to_html(title: str, *, above: Sequence[RenderableType], pages: Sequence[CellPage]) -> str:
    """Return an HTML page with what stands above, a list of links, and the pages of cells."""
    links = Text()
    pictures: list[RenderableType] = []
    for page in pages:
        link = Style(link=f"#{_anchor(page)}", underline=True)
        name = f"{page.layer}:{page.unit}"
        label = name
        if page.scores:
            label += f"{NO_BREAK}{page.scores[0].detector}"
        links.append(label, style=link).append("   ")
        pictures += [Text(), Text(f"cell {name}", style=link + Style(bold=True)), Text()]
        pictures += page_pictures(page)
    html = to_html([*above, Text(), links, *pictures], title=title)

    # The heading of a cell, which links to itself, is the place that its link in the list names.
    for page in pages:
        reference = f'href="#{_anchor(page)}"'
        before, _, after = html.rpartition(reference)
        html = f'{before}id="{_anchor(page)}" {reference}{after}'
    return html


def _anchor(page: CellPage) -> str:
    return f"cell-{page.layer}-{page.unit}"

"""Draw findings: the ranked tables with the explanation of their columns, and passages coloured by
the best cells. The page of a cell has its score beside the nulls, the histogram of its values, and
passages; the pages of several cells are one HTML page without a script."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.style import Style
from rich.table import Table
from rich.text import Text

from charrnn.cells.records import (
    CellFindings,
    CellPage,
    CellPassage,
    CellScore,
    ColouredText,
    Passage,
)
from charrnn.errors import counted
from charrnn.views.heatmap import HeatMap, end_legend, scale_of_text, scale_pictures, whole_words
from charrnn.views.svg import to_html
from charrnn.views.tables import (
    MEANINGS,
    findings_table,
    meaning,
    polarity_text,
    score_line,
    score_mark,
    skipped_line,
)
from charrnn.views.theme import all_visible, block, is_in_words, scale_of, shown_at_each

LEGEND = (
    "chance: chance level, from shifted labels; untrained: the same choice in an untrained baseline"
)
"""The explanation of the columns of the table of findings, without the last column."""
ABOUT_INNER = "; inner: interior score, five or more characters after a label changed"
"""The explanation of the last column."""
ABOUT_CARD = "; held-out: the score of the best cell on real text, unseen in training"
"""The explanation of the last column for an included model."""


def scored_pictures(findings: CellFindings, card: Sequence[CellScore] = ()) -> list[RenderableType]:
    """Draw the table of findings, with the explanation of its columns and of the marks that occur
    in it. The scores on the `card` of an included model stand beside the findings."""
    about_last = ""
    if card:
        about_last = ABOUT_CARD
    elif any(score.interior is not None for score in findings.scores):
        about_last = ABOUT_INNER
    pictures: list[RenderableType] = [findings_table(findings, card)]
    pictures.append(Text(LEGEND + about_last, style="dim"))
    marks = set(map(score_mark, findings.scores))
    for mark, about in MEANINGS.items():
        if mark in marks:
            pictures.append(Text(f"{mark}: {about}."))
    return pictures


def findings_pictures(
    title: str,
    findings: CellFindings,
    *,
    card: Sequence[CellScore] = (),
) -> list[RenderableType]:
    """Draw the table, with the explanation of its columns and marks and the list of detectors that
    are not scored. `card` is as in `scored_pictures`.

    `tables.findings_table` is the table alone.
    """
    pictures: list[RenderableType] = [Text(title, style="bold"), *scored_pictures(findings, card)]
    if not any(score.is_significant for score in findings.scores):
        pictures.append(Text("No cell follows a detector better than chance."))
    if findings.skipped:
        pictures.append(skipped_line(findings.skipped))
    return [*pictures, Text()]


def passage_pictures(
    passages: Sequence[Passage],
    looks_for: Mapping[str, str] | None = None,
) -> list[RenderableType]:
    """Draw each passage, coloured by its cell, below a caption and the scale if it is not that of
    the passage before. `looks_for` describes each detector, for the captions.

    They stand below the findings that they belong to; `passage_list` is for the passages of one
    cell.
    """
    pictures = end_legend("".join(passage.coloured.text for passage in passages))
    before = None
    for passage in passages:
        score = passage.score
        coloured = passage.coloured
        caption = f"cell {score.layer}:{score.unit} follows {score.detector}"
        if looks_for:
            caption += f" ({looks_for[score.detector]})"
        phrases = filter(None, (polarity_text(score), meaning(score)))
        if pictures:
            pictures.append(Text())
        pictures.append(Text(all_visible(f"{caption}: {', '.join(phrases)}"), style="bold"))
        pictures.append(Text(score_line(score)))

        # A detector that counts underlines nothing.
        scale = scale_of_text(coloured)
        key = (scale, bool(coloured.inside))
        if key != before:
            underlined = "where the detector is on" if coloured.inside else ""
            pictures += scale_pictures(scale, underlined)
        before = key
        shown = whole_words(
            coloured,
            begins_inside_line=passage.begins_inside_line,
            ends_inside_text=passage.ends_inside_text,
        )
        pictures.append(HeatMap(shown, scale))
    return pictures


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

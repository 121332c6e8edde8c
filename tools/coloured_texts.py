"""Draw texts in the colours of cells, with arrows and words in place of numbers.

The gallery, the picture of a training and the first picture of README are made of these functions;
`tools/figures.py` calls those that draw a file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

import charrnn
from charrnn.cells.findings import CellIndex, ColouredText
from charrnn.views.heatmap import HeatMap
from charrnn.views.svg import COLUMN_WIDTH, INK, LINE_HEIGHT, ON_DARK, RECORDING, to_svg
from charrnn.views.theme import scale_of

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
"""Where the pictures go."""
WIDTH = 96
"""Columns of a picture: its letters are as large as those of every other picture of this width."""
TEXT_WIDTH = 74
"""Columns of a text; words stand beside it."""
MIDDLE_OF_LINE = 13.5
"""Distance of the middle of the letters from the top of a line, in pixels."""
ARROW = """\
<path class="arrow" d="M{begin:.1f} {y:.1f}H{end:.1f}m9 -6l-9 6l9 6" fill="none" stroke-width="2.5"/>
"""
"""An arrow from right to left, along the middle of a line."""
ARROW_STYLE = f"""\
<style>
.arrow {{ stroke: {INK} }}
@media (prefers-color-scheme: dark) {{ .arrow {{ stroke: {ON_DARK[INK]} }} }}
</style>
"""


def written(
    model: charrnn.Model, cell: CellIndex, *, polarity: int, **options: Any
) -> ColouredText:
    """Let a model write, and return its text with the values of a cell, which is drawn with its sign
    turned if `polarity` is -1. `options` are those of `Model.stream`."""
    pieces = list(model.stream(cell=cell, **options))
    return ColouredText(
        text="".join(piece.text for piece in pieces),
        values=tuple(piece.value for piece in pieces),
        polarity=polarity,
    )


def lines_of(coloured: ColouredText, width: int = TEXT_WIDTH) -> list[Text]:
    """Return the lines of a text in the colours of its values, folded at a width. The colours go
    from -1 to 1, and the sign is turned by the polarity."""
    console = Console(file=StringIO(), width=width, **RECORDING)
    heat_map = HeatMap(coloured, scale_of((), coloured.polarity))
    lines = []
    for segments in console.render_lines(heat_map, pad=False):
        line = Text(no_wrap=True)
        for segment in segments:
            line.append(segment.text, segment.style)
        lines.append(line)
    return lines


@dataclass(frozen=True)
class Note:
    """Words beside a line of a text, and an arrow from them to the end of the line."""

    line: int
    """The line of the text, from 0."""
    words: Sequence[str]
    """Lines of words, which begin in this line."""


def with_note(lines: Sequence[Text], note: Note) -> list[Text]:
    """Return lines with words beside them, to which `arrows` draws the arrow."""
    noted = [line.copy() for line in lines]
    for number, words in enumerate(note.words, note.line):
        noted[number].pad_right(TEXT_WIDTH + 2 - noted[number].cell_len)
        noted[number].append(words, "bold")
    return noted


def with_arrows(picture: str, arrows: Iterable[tuple[int, int]]) -> str:
    """Add arrows to a picture: each from the words beside a line to the column at which its text
    ends, as (line of the picture, column)."""
    drawn = ""
    for line, column in arrows:
        drawn += ARROW.format(
            begin=(TEXT_WIDTH + 1.5) * COLUMN_WIDTH,
            end=(column + 0.7) * COLUMN_WIDTH,
            y=line * LINE_HEIGHT + MIDDLE_OF_LINE,
        )
    return picture.replace("</svg>", f"{ARROW_STYLE}{drawn}</svg>")


CELLS = {
    (0, 97): Note(2, ("blue: a quotation", "is open")),
    (0, 231): Note(4, ("from red to blue:", "how far the line", "has come")),
}
"""The cells of the first picture of README, and what is written beside their texts."""
FIRST_TEXT = {"temperature": 0.6, "seed": 2, "length": 308, "known_words": True}
"""How the text of this picture is written."""


def draw_cells(folder: Path = PICTURES) -> None:
    """Draw a text that the included model `prose` writes, in the colours of two of its cells."""
    model = charrnn.load("prose")
    lines: list[Text] = []
    arrows = []
    for cell, note in CELLS.items():
        polarity = model.polarity(*cell)
        coloured = lines_of(written(model, cell, polarity=polarity, **FIRST_TEXT))
        if lines:
            lines.append(Text())
        arrows.append((len(lines) + note.line, coloured[note.line].cell_len))
        lines += with_note(coloured, note)
    picture = to_svg(lines, "Two cells of a network over the text that it wrote", columns=WIDTH)
    path = folder / "cells.svg"
    path.write_text(with_arrows(picture, arrows), encoding="utf-8", newline="\n")

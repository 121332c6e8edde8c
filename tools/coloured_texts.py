"""Draw texts in the colours of cells, with arrows and words in place of numbers.

The gallery, the picture of a training, the picture of strings in the tour and the first picture of
README are made of these functions; `tools/figures.py` calls those that draw a file.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

import charrnn
from charrnn.cells.records import CellIndex, ColouredText
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import get_detectors
from charrnn.views.heatmap import HeatMap, whole_words
from charrnn.views.svg import COLUMN_WIDTH, INK, LINE_HEIGHT, ON_DARK, RECORDING, to_svg
from charrnn.views.theme import Palette, scale_of

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
    # The end of a document is a piece without a text.
    pieces = [piece for piece in model.stream(cell=cell, **options) if piece.text]
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


SEEDS = range(1, 21)
"""Seeds of the texts of which a picture with a label shows one."""
LEAST_SHARE = 0.2
"""Share of the characters of this text at which the label is on, and at which it is off, at least."""
LENGTH = 300
"""Characters of this text, unless a document ends before."""
LABELLED_WIDTH = 80
"""Columns of a line of this text."""


def seed_of_change(detector: Detector, text_of: Callable[[int], str]) -> int | None:
    """Return the first of SEEDS whose text, as `text_of` returns it, has a label of a yes/no detector
    that changes: it is on for at least LEAST_SHARE of the characters, and off for as many. None if
    there is no such text."""
    for seed in SEEDS:
        labels = detector.labels_of(text_of(seed))
        if labels is None or len(labels) == 0:
            continue
        if LEAST_SHARE <= np.mean(labels) <= 1 - LEAST_SHARE:
            return seed
    return None


def labelled_picture(coloured: ColouredText, *, detector: Detector, title: str) -> str:
    """Draw a text in the colours of a cell, with the label of the detector underlined and named in
    words. Blue is inside the label, because the polarity of the text turns the sign. A text of
    LENGTH characters or more was cut, and ends with a whole word."""
    palette = Palette("light")
    heading = Text.assemble(
        ("underlined", "underline"),
        f": {detector.looks_for}    the cell says ",
        (" yes ", palette.value(1.0)),
        " ",
        (" no ", palette.value(-1.0)),
    )
    labels = detector.labels_of(coloured.text)
    labelled = replace(coloured, inside=tuple(labels.tolist()))
    is_cut = len(coloured.text) >= LENGTH
    shown = whole_words(labelled, begins_inside_line=False, ends_inside_text=is_cut)
    lines = lines_of(replace(shown, polarity=coloured.polarity), width=LABELLED_WIDTH)
    return to_svg([heading, Text(), *lines], title=title, columns=WIDTH)


def draw_code(folder: Path = PICTURES) -> None:
    """Draw a text that the included model `code` writes, in the colours of its cell for strings."""
    model = charrnn.load("code")
    [detector] = get_detectors(["string"])
    cell = (0, 22)
    options = {"temperature": 0.5, "length": LENGTH}

    def text_of(seed: int) -> str:
        return "".join(model.write(seed=seed, **options))

    seed = seed_of_change(detector, text_of)
    coloured = written(model, cell, polarity=model.polarity(*cell), seed=seed, **options)
    picture = labelled_picture(coloured, detector=detector, title="A cell that follows strings")
    (folder / "code.svg").write_text(picture, encoding="utf-8", newline="\n")

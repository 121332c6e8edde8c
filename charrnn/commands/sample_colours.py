"""The colours of `charrnn sample --color`: a text in the values of a cell, or in its surprise."""

import math
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from charrnn.generation.writing import Piece
from charrnn.system.lazy import LazyModule

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

heatmap, theme = LazyModule("charrnn.views.heatmap"), LazyModule("charrnn.views.theme")
records = LazyModule("charrnn.cells.records")
MAX_LINE_ROWS = 50
"""Rows of a terminal after which a coloured line is printed, even if it continues."""


def write_coloured(
    console: "Console", prime: str, pieces: Iterable[Piece], *, polarity: int | None
) -> None:
    """Write the prime to a terminal, and the text after it line by line, coloured by the values of
    a cell or, without a polarity, by surprise in bits.

    A line appears as a whole, because it is broken between words and, without colours, has a row of
    blocks below it.
    """
    # The usual scale of a cell needs no explanation.
    if polarity != 1:
        console.print(*coloured_pictures("", pieces=(), polarity=polarity)[:-1], sep="\n")
    for before, line in _lines_of(prime, pieces, max_length=MAX_LINE_ROWS * console.width):
        console.print(coloured_pictures(before, pieces=line, polarity=polarity)[-1], end="")
        sys.stdout.flush()


def coloured_pictures(
    prime: str, pieces: Iterable[Piece], polarity: int | None
) -> "list[RenderableType]":
    """Draw the scale, and a prime and a text coloured by the values of its pieces: of a cell or,
    without a polarity, of surprise in bits."""
    # The prime has no value, and therefore no colour.
    values = [math.nan] * len(prime)
    text = prime
    # The bytes of a character are drawn one by one, and have no text until it is whole.
    bits = 0.0
    for piece in pieces:
        bits -= piece.logprob / math.log(2)
        if piece.text:
            value = bits if polarity is None else piece.value
            values += [value] * len(piece.text)
            text += piece.text
            bits = 0.0

    coloured = records.ColouredText(text=text, values=tuple(values))
    picture = heatmap.surprise_map(coloured)
    if polarity is not None:
        picture = heatmap.HeatMap(coloured, theme.scale_of(values=(), polarity=polarity))
    return [*picture.legend(), picture]


def _lines_of(
    prime: str, pieces: Iterable[Piece], max_length: int
) -> Iterator[tuple[str, list[Piece]]]:
    """Yield a text line by line, the first with the prime before it."""
    # A text without newlines would otherwise appear only at its end.
    line: list[Piece] = []
    for piece in pieces:
        line.append(piece)
        if piece.text.endswith("\n") or len(line) == max_length:
            yield prime, line
            prime = ""
            line = []
    if line or prime:
        yield prime, line

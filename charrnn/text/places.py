"""Find the places of characters of a corpus in its files: file, line and column."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A place in a file, as editors count: lines and columns from 1."""

    file: str
    """The path of the file."""
    line: int
    """The line, from 1."""
    column: int
    """Characters, or bytes of a text of bytes; of a table, those of the line of the value alone."""
    unit: str = "line"
    """`line`, or `paragraph` of a document that pandoc has read."""


class PlacedLine(NamedTuple):
    """A line of a text, or a part of one, and where it stands."""

    file: str
    """The name of the file."""
    number: int
    """The number of the line in the file, from 1."""
    content: bytes
    cuts: Sequence[tuple[int, int]] = ()
    """The characters of the line of the file that the content has not: [begin, end) of each cut, in
    order."""


def find_places(
    indices: Iterable[int], lines: Iterable[PlacedLine], *, is_text: bool
) -> Iterator[Place]:
    """Yield the places of the characters, or bytes, with these ascending indices in a text, which
    is given in lines. No more is read than necessary."""
    wanted = iter(indices)
    index = next(wanted, None)
    begin = 0
    for file, number, content, cuts in lines:
        length = len(content)
        if is_text and not content.isascii():
            length = len(content.decode())
        # The column is that of the line in the file, with what was left out before.
        while index is not None and index < begin + length:
            column = index - begin
            for first, last in cuts:
                if first <= column:
                    column += last - first
            yield Place(file=file, line=number, column=column + 1)
            index = next(wanted, None)
        if index is None:
            return
        begin += length

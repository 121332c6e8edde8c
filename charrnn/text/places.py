"""Find the places of characters of a corpus in its files: file, line and column."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from charrnn.text.text_files import Line, split_lines


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


def find_places(
    indices: Iterable[int], lines: Iterable[tuple[str, Line]], *, is_text: bool
) -> Iterator[Place]:
    """Yield the places of the characters, or bytes, with these ascending indices in a text, which
    is given in lines, each after the name of its file. No more is read than necessary."""
    wanted = iter(indices)
    index = next(wanted, None)
    begin = 0
    for file, piece in lines:
        # A piece may have many lines, of which most have no place.
        end = begin + _length(piece.content, is_text=is_text)
        if index is not None and index >= end:
            begin = end
            continue
        for line in split_lines([piece]):
            length = _length(line.content, is_text=is_text)
            # The column is that of the line in the file, with what was left out before.
            while index is not None and index < begin + length:
                column = index - begin
                for first, last in line.cuts:
                    if first <= column:
                        column += last - first
                yield Place(file=file, line=line.number, column=column + 1)
                index = next(wanted, None)
            begin += length
        if index is None:
            return


def _length(content: bytes, *, is_text: bool) -> int:
    if is_text and not content.isascii():
        return len(content.decode())
    return len(content)

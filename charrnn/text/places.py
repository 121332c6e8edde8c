"""Find the places of characters of a corpus in its files: file, line and column."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from charrnn.text.text_files import FileRecord, Line, split_lines


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A place in a file, as editors count: lines and columns from 1."""

    file: str
    """The path of the file."""
    line: int
    """The line, from 1."""
    column: int
    """Characters of the line as it was read, or bytes of a text of bytes."""
    unit: str = "line"
    """`line`, or `paragraph` of a document that pandoc has read."""


def find_places(
    indices: Iterable[int], lines: Iterable[tuple[FileRecord, Line]], *, is_text: bool
) -> Iterator[Place]:
    """Yield the places of the characters, or bytes, with these ascending indices in a text, which
    is given in lines, each after its file. No more is read than necessary."""
    wanted = iter(indices)
    index = next(wanted, None)
    begin = 0
    for file, piece in lines:
        # A piece may have many lines, of which most have no place.
        end = begin + _length(piece.content, is_text=is_text)
        if index is not None and index >= end:
            begin = end
            continue
        for number, content in split_lines([piece]):
            length = _length(content, is_text=is_text)
            while index is not None and index < begin + length:
                unit = "paragraph" if file.is_document else "line"
                yield Place(file=file.name, line=number, column=index - begin + 1, unit=unit)
                index = next(wanted, None)
            begin += length
        if index is None:
            return


def _length(content: str, *, is_text: bool) -> int:
    if is_text or content.isascii():
        return len(content)
    return len(content.encode("utf-8", "surrogateescape"))

"""Find the places of passages in the files of a corpus: file, line and column."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from charrnn.system.docstrings import described


@described
@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A place in a file, as editors count: lines and columns from 1."""

    file: str
    """The path of the file."""
    line: int
    """The line, from 1."""
    column: int
    """Characters, or bytes of a text of bytes; of a table, those of the value alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A part of a file: bytes, or UTF-8 with LF."""

    begin: Place
    content: bytes
    is_text: bool
    """Whether it is UTF-8, whose columns are characters."""

    def place(self, index: int) -> Place:
        """Return the place of a byte of the content, or of its end."""
        before = self.content[:index]
        num_lines = before.count(b"\n")
        column = self.begin.column
        if num_lines:
            column = 1
        in_line = before[before.rfind(b"\n") + 1 :]
        # Every byte but those that continue a character begins one.
        if self.is_text:
            in_line = in_line.translate(None, bytes(range(0x80, 0xC0)))
        return replace(self.begin, line=self.begin.line + num_lines, column=column + len(in_line))


def windows(
    blocks: Iterable[bytes], *, file: str, overlap: int, is_text: bool
) -> Iterator[Stretch]:
    """Yield the blocks of a file, each after the last `overlap` bytes before it."""
    begin = Place(file=file, line=1, column=1)
    kept = b""
    for block in blocks:
        window = Stretch(begin=begin, content=kept + block, is_text=is_text)
        yield window
        num_passed = max(0, len(window.content) - overlap)
        begin = window.place(num_passed)
        kept = window.content[num_passed:]


def find_places(
    passages: Iterable[bytes], stretches: Iterable[Stretch], *, joins_lines: bool = False
) -> dict[bytes, Place]:
    """Return the first place of each passage in the stretches, as far as one of them has the whole
    passage. No more is read than necessary.

    With `joins_lines`, the passages have a blank for many a line end of the stretches, so the two
    count as equal.
    """

    def searched(text: bytes) -> bytes:
        if joins_lines:
            return text.replace(b"\n", b" ")
        return text

    places = {}
    wanted = {passage: searched(passage) for passage in passages}
    for stretch in stretches:
        content = searched(stretch.content)
        for passage, needle in list(wanted.items()):
            index = content.find(needle)
            if index >= 0:
                places[passage] = stretch.place(index)
                del wanted[passage]
        if not wanted:
            break
    return places

"""Find the places of passages in the files of a corpus: file, line and column."""

from collections.abc import Iterable, Iterator, Sequence
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
    passages: Sequence[bytes], stretches: Iterable[Stretch], *, joins_lines: bool = False
) -> list[Place | None]:
    """Find the first place of each of P passages in the stretches; None if none has the whole
    passage.

    No more is read than necessary. With `joins_lines`, the passages have a blank for many a line
    end of the stretches, so the two count as equal.
    """
    places: list[Place | None] = [None] * len(passages)
    wanted = dict(enumerate(passages))
    if joins_lines:
        wanted = {number: passage.replace(b"\n", b" ") for number, passage in wanted.items()}
    for stretch in stretches:
        content = stretch.content
        if joins_lines:
            content = content.replace(b"\n", b" ")
        for number, passage in list(wanted.items()):
            index = content.find(passage)
            if index >= 0:
                places[number] = stretch.place(index)
                del wanted[number]
        if not wanted:
            break
    return places

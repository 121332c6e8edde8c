"""Find the places of passages in the files of a corpus: file, line and column."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

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
    """Characters, or bytes of a text of bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The places of a passage in the files of a corpus."""

    first: Place | None
    """None if no file has the whole passage: it goes from one file into the next, or a file writes
    it in another way, such as a table with doubled quotation marks."""
    num_places: int
    """How often the passage stands in all files; where it overlaps itself, it counts once."""


FileBlocks = tuple[str, Iterable[bytes]]
"""The name of a file and its content in blocks, as a corpus reads it: UTF-8 with LF, or bytes."""


def find_places(
    passages: Sequence[str | bytes], files: Iterable[FileBlocks], *, joins_lines: bool = False
) -> list[Places]:
    """Find each of P passages, all str or all bytes, in the files of a corpus.

    Each file is read once, block by block. With `joins_lines`, the corpus has a blank for many a
    line end of its files, so the two count as equal. Returns P results in the order of the
    passages.
    """
    # A passage may begin in one block and end in the next.
    searches = [_Search(passage, joins_lines=joins_lines) for passage in passages]
    longest = max((len(search.wanted) for search in searches), default=1)
    for name, blocks in files:
        for window in _windows(blocks, overlap=longest - 1):
            for search in searches:
                search.look_in(window, name)
    return [Places(first=search.first, num_places=search.num_places) for search in searches]


@dataclass(slots=True)
class _Window:
    """A block of a file after the end of the block before it, where a passage may begin."""

    content: bytes
    num_before: int
    """Bytes of the block before it."""
    line: int
    """The line, from 1, on which the window begins."""
    line_begin: bytes
    """This line before the window."""


def _windows(blocks: Iterable[bytes], overlap: int) -> Iterator[_Window]:
    """Yield the windows of a file; `overlap` bytes of a window come from the block before it."""
    content = b""
    line = 1
    line_begin = b""
    for block in blocks:
        # What is passed only counts for the line and the column.
        num_before = min(overlap, len(content))
        passed = content[: len(content) - num_before]
        line += passed.count(b"\n")
        line_begin += passed
        line_begin = line_begin[line_begin.rfind(b"\n") + 1 :]
        content = content[len(passed) :] + block
        yield _Window(content, num_before=num_before, line=line, line_begin=line_begin)


class _Search:
    """The search for one passage in all files."""

    def __init__(self, passage: str | bytes, *, joins_lines: bool) -> None:
        self.first: Place | None = None
        self.num_places = 0
        self._is_text = isinstance(passage, str)
        self._joins_lines = joins_lines
        self.wanted = passage if isinstance(passage, bytes) else passage.encode("utf-8", "replace")
        if joins_lines:
            self.wanted = self.wanted.replace(b"\n", b" ")

    def look_in(self, window: _Window, file: str) -> None:
        """Count the places that end in the block of a window, and note the first place of all."""
        # A passage that lies wholly in the block before was counted there.
        begin = max(0, window.num_before - len(self.wanted) + 1)
        content = window.content
        if self._joins_lines:
            content = content.replace(b"\n", b" ")
        found = content.find(self.wanted, begin)
        while found >= 0:
            self.num_places += 1
            if self.first is None:
                self.first = self._place(window, found, file=file)
            found = content.find(self.wanted, found + len(self.wanted))

    def _place(self, window: _Window, found: int, *, file: str) -> Place:
        """Return the place at an index of a window."""
        # The line of the place, from its beginning, which may lie before the window.
        before = window.line_begin + window.content[:found]
        in_line = before[before.rfind(b"\n") + 1 :]
        # Every byte but those that continue a character begins one.
        if self._is_text:
            in_line = in_line.translate(None, bytes(range(0x80, 0xC0)))
        num_lines = window.content.count(b"\n", 0, found)
        return Place(file=file, line=window.line + num_lines, column=len(in_line) + 1)

"""Reads one file or stream, decodes it to UTF-8, and explains why it cannot be used."""

import codecs
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from charrnn.errors import DataError, TooLargeError, named

BYTE_ORDER_MARK = codecs.BOM_UTF8
"""The byte-order mark that some editors write at the start of UTF-8 files."""
_WIDE_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Encodings by byte-order mark. UTF-32 first, because its mark begins with that of UTF-16."""
_HEAD_BYTES = 64 * 1024
_BLOCK_BYTES = 16 * 1024 * 1024
_MEMORY_PER_BYTE = 8
"""Upper bound of the memory for one byte of text while it is read: as bytes, as characters and as ids."""
_REMEDY = (
    f"say how it is encoded ({named('encoding', 'latin-1')}, cp1252, …), "
    f"or train on raw bytes with {named('alphabet', 'byte')}"
)


class _Readable(Protocol):
    def read(self, num_bytes: int, /) -> bytes: ...


class MemoryLimit:
    """Counts the bytes of a corpus and refuses more than this machine's memory is enough for."""

    def __init__(self, what: str) -> None:
        """Start at 0 bytes; `what` names the corpus in messages."""
        self.what = what
        self.num_bytes = 0
        self._memory, self._most = _memory_bytes(), float("inf")
        if self._memory is not None:
            self._most = self._memory // _MEMORY_PER_BYTE

    def add(self, num_bytes: int) -> None:
        """Count what has been read. Raises TooLargeError if the total exceeds the limit."""
        self.check(num_bytes)
        self.num_bytes += num_bytes

    def check(self, num_bytes: int) -> None:
        """Raise TooLargeError if that many more bytes exceed the limit. A stream's size is unknown in advance."""
        if self.num_bytes + num_bytes > self._most:
            raise self._error(f"more than {_size(self._most)}")

    def check_files(self, files: Sequence[tuple[Path, bool]], encoding: str | None) -> None:
        """Raise TooLargeError if files exceed the limit by their sizes on disk, before any of them is read.

        Each is given with whether it is skipped if it is not text. A .gz file is not counted: its size is that of the
        compressed text.
        """
        sized = [(path, skips, _size_on_disk(path)) for path, skips in files if path.suffix != ".gz"]
        total = sum(size for _, _, size in sized)
        if total > self._most:
            # Only the head of a file that is not text is read.
            total -= sum(size for path, skips, size in sized if skips and size and _is_binary(path, encoding))
        if total > self._most:
            raise self._error(_size(total))

    def _error(self, size: str) -> TooLargeError:
        assert self._memory is not None, "without it there is no limit"
        half = int(self._most) // 2
        part = f"{half // 10**6}M" if half >= 10**6 else str(half)
        return TooLargeError(
            f"{self.what}: {size} of text, but this machine's memory of {_size(self._memory)} is enough for "
            f"{_size(self._most)}\n"
            f"take fewer files, or a part of one: head -c {part} FILE > part.txt"
        )


def read_stream(label: str, stream: BinaryIO, limit: MemoryLimit) -> bytes:
    """Read a stream to its end. Raises DataError if it cannot be read, TooLargeError if it exceeds the limit."""
    try:
        return _read_blocks(stream, limit)
    except OSError as error:
        raise unreadable(label, error) from error


def read_file(path: Path, encoding: str | None, limit: MemoryLimit, *, needs_regular: bool) -> bytes:
    """Read a file, decompressed if it is named .gz; only its head if a NUL in it shows that it is not UTF-8 text.

    `encoding` is None for raw bytes. Raises DataError if the file cannot be read or, with `needs_regular`, is a pipe or
    a device; TooLargeError if it exceeds the limit.
    """
    import gzip
    import zlib

    try:
        if needs_regular and not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{path} is not a regular file: give the text itself")
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            return head if _has_nul(head, encoding) else _read_blocks(file, limit, head)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged or not a gzip file ({error}): fetch or compress it again") from error
    except OSError as error:
        raise unreadable(str(path), error) from error


def _has_nul(head: bytes, encoding: str | None) -> bool:
    # A folder can contain gigabytes of other data: a NUL in the head is enough to reject a file.
    return encoding is not None and _is_utf8(encoding) and b"\0" in head


def _is_binary(path: Path, encoding: str | None) -> bool:
    try:
        with path.open("rb") as file:
            return _has_nul(file.read(_HEAD_BYTES), encoding)
    except OSError:
        return True


def _read_blocks(file: _Readable, limit: MemoryLimit, head: bytes = b"") -> bytes:
    """Read to the end. Raises TooLargeError, because a small .gz or a pipe can yield more than any memory."""
    blocks, num_bytes = [head], len(head)
    limit.check(num_bytes)
    while block := file.read(_BLOCK_BYTES):
        blocks.append(block)
        num_bytes += len(block)
        limit.check(num_bytes)
    return b"".join(blocks)


def _memory_bytes() -> int | None:
    """Return this machine's memory in bytes, None if the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _size_on_disk(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _size(num_bytes: float) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:,.1f} {unit}"
    return f"{num_bytes:,.0f} B"


def as_utf8(data: bytes, encoding: str | None) -> tuple[bytes, str | None]:
    """Return a file's content as UTF-8 (unchanged, if `encoding` is None), and why it cannot be used, or None."""
    if encoding is not None and not _is_utf8(encoding):
        try:
            data = data.decode(encoding).encode("utf-8")
        except UnicodeError as error:
            if isinstance(error, UnicodeDecodeError):
                return data, f"is not {encoding} at byte offset {error.start}: {_REMEDY}"
            return data, f"is not text in {encoding}: {_REMEDY}"  # a lone surrogate, which UTF-7 can encode
    if not data or (encoding is not None and data == BYTE_ORDER_MARK):
        return data, "is empty: give a file with text in it"
    return data, None if encoding is None else _fault(data)


def _fault(data: bytes) -> str | None:
    """Return why bytes cannot be used as UTF-8 text, or None."""
    if wide := next((name for mark, name in _WIDE_MARKS.items() if data.startswith(mark)), None):
        return f"is not UTF-8 at byte offset 0: it begins as {wide} text does. Use {named('encoding', wide)}"
    if (offset := data.find(b"\0")) >= 0:
        name = "utf-16-be" if offset % 2 == 0 else "utf-16-le"
        if data.count(b"\0") > len(data) // 4:
            return f"has a NUL at byte offset {offset}: for text in wide characters use {named('encoding', name)}"
        return f"has a NUL at byte offset {offset}: it is not text; {named('alphabet', 'byte')} trains on raw bytes"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"is not UTF-8 at byte offset {error.start}: {_REMEDY}"
    return None


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def title(encoding: str) -> str:
    """Return the name of an encoding in a sentence."""
    return "UTF-8" if _is_utf8(encoding) else encoding


def unreadable(label: str, error: OSError) -> DataError:
    """Return the error for a file or a folder that cannot be read."""
    return DataError(f"cannot read {label}: {error.strerror or error}; check that it exists and that you may read it")

"""Reads one file or stream block by block, decodes it to UTF-8, and explains why it cannot be used."""

import codecs
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Protocol

from charrnn.errors import DataError, TextChangedError, TooLargeError, named
from charrnn.process import memory_bytes

BYTE_ORDER_MARK = codecs.BOM_UTF8
"""The byte-order mark that some editors write at the start of UTF-8 files."""
_WIDE_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Encodings by byte-order mark. UTF-32 first, because its mark begins with that of UTF-16."""
_MARKS_OF = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
_NUM_MARK_BYTES = 4
_HEAD_BYTES = 64 * 1024
_BLOCK_BYTES = 4 * 1024 * 1024
"""Bytes that are read at a time, at least `_NUM_MARK_BYTES`: a file of fewer is checked as a whole."""
_EMPTY = "is empty: give a file with text in it"
_MEMORY_PER_BYTE = 8
"""Upper bound of the memory for one byte of text while it is read: as bytes, as characters and as ids."""
_REMEDY = (
    f"say how it is encoded ({named('encoding', 'latin-1')}, cp1252, …), "
    f"or train on raw bytes with {named('alphabet', 'byte')}"
)


class _Readable(Protocol):
    def read(self, num_bytes: int, /) -> bytes: ...


class MemoryLimit:
    """Counts the bytes of a text that is kept in memory and refuses more than this machine's memory is enough for."""

    def __init__(self, what: str) -> None:
        """Start at 0 bytes; `what` names the corpus in messages."""
        self.what = what
        self.num_bytes = 0
        self._memory, self._most = memory_bytes(), float("inf")
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


@dataclass(slots=True)
class Tally:
    """What was left out or changed while the files of one source were read."""

    num_used: int = 0
    """Files that make up the text."""
    num_skipped: int = 0
    """Files that cannot be used."""
    num_marks: int = 0
    """Byte-order marks that were removed."""
    num_line_ends: int = 0
    """CRLF line ends that were replaced by LF."""


def read_stream(label: str, stream: BinaryIO, limit: MemoryLimit) -> bytes:
    """Read a stream to its end. Raises DataError if it cannot be read, TooLargeError if it exceeds the limit."""
    blocks: list[bytes] = []
    try:
        while block := stream.read(_BLOCK_BYTES):
            limit.add(len(block))
            blocks.append(block)
    except OSError as error:
        raise unreadable(label, error) from error
    return b"".join(blocks)


def stream_blocks(label: str, stream: BinaryIO, encoding: str | None, tally: Tally) -> Iterator[bytes]:
    """Yield the content of a stream as `clean_blocks` does. Raises DataError if it cannot be read or used."""
    try:
        yield from clean_blocks(label, stream, encoding, tally)
    except OSError as error:
        raise unreadable(label, error) from error


def file_blocks(path: Path, encoding: str | None, tally: Tally, *, needs_regular: bool) -> Iterator[bytes]:
    """Yield the content of a file, decompressed if it is named .gz, as `clean_blocks` does.

    Raises DataError if the file cannot be read or used or, with `needs_regular`, is a pipe or a device;
    TextChangedError if it changes before its last block was read.
    """
    import gzip
    import zlib

    try:
        if needs_regular and not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{path} is not a regular file: give the text itself")
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            before = os.fstat(file.fileno())
            yield from clean_blocks(str(path), file, encoding, tally)
            check_unchanged(path, before, os.fstat(file.fileno()))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged or not a gzip file ({error}): fetch or compress it again") from error
    except OSError as error:
        raise unreadable(str(path), error) from error


def check_unchanged(path: Path, before: os.stat_result, after: os.stat_result) -> None:
    """Raise TextChangedError if a regular file was written to between two looks at its size and its time."""
    if stat.S_ISREG(before.st_mode) and file_state(before) != file_state(after):
        raise TextChangedError(f"{path} changed while it was read: wait until it is written, and start again")


def file_state(status: os.stat_result) -> tuple[int, int, int]:
    """Return what changes when a file is written to or replaced: its size, its time and its inode."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def clean_blocks(label: str, file: _Readable, encoding: str | None, tally: Tally) -> Iterator[bytes]:
    """Yield a file block by block as UTF-8 with LF, without a byte-order mark; unchanged, if `encoding` is None.

    Joined, the blocks do not depend on their size. What was changed is added to `tally`. Raises DataError if the file
    is empty or not text; then what was yielded before is to be dropped.
    """
    first = file.read(_BLOCK_BYTES)
    # A folder can contain gigabytes of other data: a NUL in the head is enough to reject a file.
    is_binary = encoding is not None and _is_utf8(encoding) and b"\0" in first[:_HEAD_BYTES]
    second = b"" if is_binary else file.read(_BLOCK_BYTES)
    if second:
        blocks = chain((first, second), iter(partial(file.read, _BLOCK_BYTES), b""))
        yield from blocks if encoding is None else _clean_stream(label, blocks, encoding, tally)
        return
    data, fault = as_utf8(first[:_HEAD_BYTES] if is_binary else first, encoding)
    if fault is not None:
        raise DataError(f"{label} {fault}")
    if encoding is not None:
        tally.num_marks += data.startswith(BYTE_ORDER_MARK)
        tally.num_line_ends += data.count(b"\r\n")
        data = data.removeprefix(BYTE_ORDER_MARK).replace(b"\r\n", b"\n")
    yield data


def _clean_stream(label: str, blocks: Iterator[bytes], encoding: str, tally: Tally) -> Iterator[bytes]:
    """Do what `as_utf8` does, and what follows it in `clean_blocks`, for a file of several blocks."""
    checker = _Utf8Checker()
    is_first, carry = True, b""
    for block in _utf8_blocks(label, blocks, encoding):
        data = carry + checker.check(block)
        carry = b"\r" if data.endswith(b"\r") else b""  # its LF may begin the next block
        data = data.removesuffix(carry)
        if is_first and data:
            is_first = False
            tally.num_marks += data.startswith(BYTE_ORDER_MARK)
            data = data.removeprefix(BYTE_ORDER_MARK)
        if b"\r" in data:
            tally.num_line_ends += data.count(b"\r\n")
            data = data.replace(b"\r\n", b"\n")
        if data and not checker.has_fault:
            yield data
    if (fault := checker.finish()) is not None:
        raise DataError(f"{label} {fault}")
    if carry:
        yield carry


def _utf8_blocks(label: str, blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield blocks in `encoding` as UTF-8 that is not checked. Raises DataError if they are not in it."""
    if _is_utf8(encoding):
        yield from blocks
        return
    first = next(blocks)
    name = codecs.lookup(encoding).name
    if name in _MARKS_OF and not first.startswith(_MARKS_OF[name]):
        # Without a mark, the order of bytes is this machine's, but an incremental decoder wants one.
        name += "-le" if sys.byteorder == "little" else "-be"
    decoder = codecs.getincrementaldecoder(name)()
    num_bytes = 0
    for block in chain((first,), blocks, (b"",)):
        num_kept = len(decoder.getstate()[0])
        try:
            data = decoder.decode(block, final=not block).encode("utf-8")
        except UnicodeError as error:
            offset = num_bytes - num_kept + error.start if isinstance(error, UnicodeDecodeError) else None
            raise DataError(f"{label} {_not_in(encoding, offset)}") from error
        num_bytes += len(block)
        if data:
            yield data


class _Utf8Checker:
    """Checks UTF-8 that arrives in blocks; it finds the fault that `_fault` finds in the whole text."""

    def __init__(self) -> None:
        self._carry = b""  # the beginning of a character that is not complete
        self._num_bytes = self._num_nuls = 0
        self._head = b""
        self._nul_at: int | None = None
        self._invalid_at: int | None = None

    @property
    def has_fault(self) -> bool:
        """Whether what was checked so far cannot be used."""
        return self._nul_at is not None or self._invalid_at is not None

    def check(self, block: bytes) -> bytes:
        """Check the next block; return its complete characters, after those that the last one left incomplete."""
        if b"\0" in block:
            self._num_nuls += block.count(b"\0")
            if self._nul_at is None:
                self._nul_at = self._num_bytes + block.find(b"\0")
        if len(self._head) < _NUM_MARK_BYTES:
            self._head += block[:_NUM_MARK_BYTES]
        data = self._carry + block
        start = self._num_bytes - len(self._carry)
        self._num_bytes += len(block)
        self._carry = b""
        if self.has_fault or data.isascii():
            return data
        try:
            _, num_used = codecs.utf_8_decode(data, "strict", False)
        except UnicodeDecodeError as error:
            self._invalid_at = start + error.start
            return data
        self._carry = data[num_used:]
        return data[:num_used]

    def finish(self) -> str | None:
        """Return why the text cannot be used, or None."""
        if self._carry and not self.has_fault:
            self._invalid_at = self._num_bytes - len(self._carry)
        if not self._num_bytes or self._head == BYTE_ORDER_MARK:
            return _EMPTY
        if wide := _wide_mark(self._head):
            return wide
        if self._nul_at is not None:
            return _has_nul_at(self._nul_at, self._num_nuls, self._num_bytes)
        return None if self._invalid_at is None else _not_in("UTF-8", self._invalid_at)


def _is_binary(path: Path, encoding: str | None) -> bool:
    if encoding is None or not _is_utf8(encoding):
        return False
    try:
        with path.open("rb") as file:
            return b"\0" in file.read(_HEAD_BYTES)
    except OSError:
        return True


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
            return data, _not_in(encoding, error.start if isinstance(error, UnicodeDecodeError) else None)
    if not data or (encoding is not None and data == BYTE_ORDER_MARK):
        return data, _EMPTY
    return data, None if encoding is None else _fault(data)


def _fault(data: bytes) -> str | None:
    """Return why bytes cannot be used as UTF-8 text, or None."""
    if wide := _wide_mark(data):
        return wide
    if (offset := data.find(b"\0")) >= 0:
        return _has_nul_at(offset, data.count(b"\0"), len(data))
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _not_in("UTF-8", error.start)
    return None


def _wide_mark(data: bytes) -> str | None:
    """Return what is wrong with a text that begins with the byte-order mark of wide characters, else None."""
    wide = next((name for mark, name in _WIDE_MARKS.items() if data.startswith(mark)), None)
    return wide and f"is not UTF-8 at byte offset 0: it begins as {wide} text does. Use {named('encoding', wide)}"


def _has_nul_at(offset: int, num_nuls: int, num_bytes: int) -> str:
    if num_nuls > num_bytes // 4:
        name = "utf-16-be" if offset % 2 == 0 else "utf-16-le"
        return f"has a NUL at byte offset {offset}: for text in wide characters use {named('encoding', name)}"
    return f"has a NUL at byte offset {offset}: it is not text; {named('alphabet', 'byte')} trains on raw bytes"


def _not_in(encoding: str, offset: int | None) -> str:
    """Say that a text is not in this encoding; `offset` is None for a lone surrogate, which UTF-7 can encode."""
    if offset is None:
        return f"is not text in {encoding}: {_REMEDY}"
    return f"is not {encoding} at byte offset {offset}: {_REMEDY}"


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def title(encoding: str) -> str:
    """Return the name of an encoding in a sentence."""
    return "UTF-8" if _is_utf8(encoding) else encoding


def unreadable(label: str, error: OSError) -> DataError:
    """Return the error for a file or a folder that cannot be read."""
    return DataError(f"cannot read {label}: {error.strerror or error}; check that it exists and that you may read it")

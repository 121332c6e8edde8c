"""Reads one file or stream block by block, decodes it to UTF-8, and explains why it cannot be
used."""

import codecs
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Protocol

from charrnn.errors import DataError, TextChangedError, TooLargeError, named
from charrnn.system.files import LFS_POINTER, PLACEHOLDER_BYTES, placeholder_in
from charrnn.system.process import memory_bytes

_WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by byte-order mark. UTF-32 first, because its mark begins with that of UTF-16."""
_MARKS_OF = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
_LINE_END = re.compile(rb"[\r\n]")
_BLOCK_BYTES = 4 * 1024 * 1024
"""Bytes that are read at a time, at least the four of a byte-order mark."""
_MEMORY_PER_BYTE = 8
"""Upper bound of the memory for one byte of text while it is read: as bytes, as characters and as
ids."""
_CP1252_ONLY = bytes(range(0x80, 0xA0))
"""Bytes of quotation marks and dashes in cp1252, the encoding of Windows, and of nothing that is
printed in latin-1."""


class _Readable(Protocol):
    def read(self, num_bytes: int, /) -> bytes: ...


def without_gz(name: str) -> str:
    """Return the name of a file without the suffix of one that is compressed by gzip."""
    if name.lower().endswith(".gz"):
        return name[: -len(".gz")]
    return name


def check_memory(what: str, num_bytes: int) -> None:
    """Raise TooLargeError if this machine's memory is not enough for so many bytes of a text that
    is kept in it.

    `what` names the corpus. The size of a stream is not known in advance, so this is called while
    it is read.
    """
    memory = memory_bytes()
    if memory is None:
        return
    most = memory // _MEMORY_PER_BYTE
    if num_bytes <= most:
        return

    # Half of what fits, in a number that `head` reads.
    part = str(most // 2)
    if most >= 2 * 10**6:
        part = f"{most // 2 // 10**6}M"
    raise TooLargeError(
        f"{what}: more than {most / 1e9:,.1f} GB of text, but this machine's memory of"
        f" {memory / 1e9:,.1f} GB is enough for no more\ntake fewer files, or a"
        f" part of one: head -c {part} FILE > part.txt"
    )


@dataclass(slots=True)
class Tally:
    """What was left out or changed while the files of one source were read."""

    num_used: int = 0
    """Files that make up the text."""
    num_skipped: int = 0
    """Files that cannot be used, without pointers."""
    num_pointers: int = 0
    """Files that Git LFS put in the place of others."""
    fault: str = ""
    """Why the first of them cannot be, if documents are read: it may be a large one with a wrong
    line."""
    num_marks: int = 0
    """Byte-order marks that were removed."""
    num_line_ends: int = 0
    """CRLF line ends that were replaced by LF."""
    num_old_line_ends: int = 0
    """The same of CR alone, which ends lines in old files."""


def read_stream(label: str, stream: BinaryIO) -> bytes:
    """Read a stream to its end. Raises DataError if it cannot be read, TooLargeError if it exceeds
    the memory."""
    data = bytearray()
    try:
        while block := stream.read(_BLOCK_BYTES):
            data += block
            check_memory(label, len(data))
    except OSError as error:
        raise unreadable(label, error) from error
    return bytes(data)


def stream_blocks(
    label: str, stream: BinaryIO, encoding: str | None, tally: Tally
) -> Iterator[bytes]:
    """Yield the content of a stream, block by block, as UTF-8 with LF (unchanged if `encoding` is
    None). Raises DataError if it cannot be read or used."""
    try:
        yield from clean_blocks(label, file=stream, encoding=encoding, tally=tally)
    except OSError as error:
        raise unreadable(label, error) from error


def file_blocks(
    path: Path, encoding: str | None, tally: Tally, *, needs_regular: bool
) -> Iterator[bytes]:
    """Yield the content of a file, decompressed if it is named .gz, block by block, as UTF-8 with
    LF (unchanged if `encoding` is None).

    Raises DataError if the file cannot be read or used or, with `needs_regular`, is a pipe or a
    device; TextChangedError if it changes before its last block was read.
    """
    import gzip
    import zlib

    try:
        # Before it is opened, which may wait for ever.
        if needs_regular and not stat.S_ISREG(path.stat().st_mode):
            raise DataError(
                f"{path} is a pipe or a device: put a file with the same text in its place"
            )

        # A file that grows while it is read, such as a log, would be a text that nobody can read
        # again.
        is_packed = without_gz(path.name) != path.name
        with gzip.open(path) if is_packed else path.open("rb") as file:
            before = os.fstat(file.fileno())
            yield from clean_blocks(str(path), file=file, encoding=encoding, tally=tally)
            after = os.fstat(file.fileno())
            if stat.S_ISREG(before.st_mode) and file_state(before) != file_state(after):
                raise TextChangedError(
                    f"{path} changed while it was read: wait until it is written, and start again"
                )
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        with path.open("rb") as packed:
            problem = placeholder_in(packed.read(PLACEHOLDER_BYTES))
        if not problem:
            problem = f"is damaged or not a gzip file ({error}): fetch or compress it again"
        raise DataError(f"{path} {problem}") from error
    except OSError as error:
        raise unreadable(str(path), error) from error


def file_state(status: os.stat_result) -> tuple[int, int, int]:
    """Return what changes when a file is written to or replaced: its size, its time and its
    inode."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def clean_blocks(
    label: str, file: _Readable, encoding: str | None, tally: Tally
) -> Iterator[bytes]:
    """Yield a file block by block as UTF-8 with LF, without a byte-order mark; unchanged, if
    `encoding` is None.

    Joined, the blocks do not depend on their size. What was changed is added to `tally`. Raises
    DataError if the file is empty or not text; then what was yielded before is to be dropped.
    """
    # Whoever wants an HTML page may learn from it, but nobody wants a pointer to a text.
    start = file.read(_BLOCK_BYTES)
    if start.startswith(LFS_POINTER):
        tally.num_pointers += 1
        raise DataError(f"{label} {placeholder_in(start)}")

    # Each generator takes the blocks of the one before: nothing is read as a whole.
    blocks: Iterator[bytes] = iter(partial(file.read, _BLOCK_BYTES), b"")
    if start:
        blocks = chain((start,), blocks)
    if encoding is not None:
        utf8 = _as_utf8(label, blocks=blocks, encoding=encoding)
        blocks = _normalized(_checked(label, utf8), tally)

    # Empty is also a file of only a byte-order mark, so the last result is asked.
    first = next(blocks, None)
    if first is None:
        raise DataError(f"{label} is empty: give a file with text in it")
    yield first
    yield from blocks


def _as_utf8(label: str, blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield blocks in `encoding` as UTF-8 that is not checked. Raises DataError if they are not in
    it."""
    name = codecs.lookup(encoding).name
    first = next(blocks, b"")
    if name == "utf-8":
        yield from chain((first,), blocks)
        return
    if name in _MARKS_OF and not first.startswith(_MARKS_OF[name]):
        # Without a mark, the order of bytes is this machine's, but an incremental decoder wants
        # one.
        byte_order = "le" if sys.byteorder == "little" else "be"
        name = f"{name}-{byte_order}"

    # The empty block at the end finds a character that is cut off.
    decoder = codecs.getincrementaldecoder(name)()
    num_bytes = 0
    for block in chain((first,), blocks, (b"",)):
        # An error is counted from the bytes that the decoder has kept of the block before.
        num_kept = len(decoder.getstate()[0])
        try:
            # A lone surrogate, which UTF-7 can encode, is refused where UTF-8 is checked.
            yield decoder.decode(block, final=not block).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            offset = num_bytes - num_kept + error.start
            raise DataError(f"{label} {_not_in(encoding, offset, data=error.object)}") from error
        num_bytes += len(block)


def _checked(label: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield UTF-8 in blocks of whole characters. Raises DataError if it is not UTF-8, or has a
    NUL."""
    offset = 0
    rest = b""  # the beginning of a character that ends in the next block
    for block in chain(blocks, (b"",)):
        data = rest + block

        # The two mistakes that are often made have messages of their own: a text in UTF-16, with a
        # mark or as a NUL after each ASCII character, and a file that is not text.
        if offset == 0:
            for mark, wide in _WIDE_MARKS.items():
                if data.startswith(mark):
                    remedy = f"it begins as {wide} text does. Use {named('encoding', wide)}"
                    raise DataError(f"{label} is not UTF-8 at byte offset 0: {remedy}")
        nul = data.find(b"\0")
        if nul >= 0:
            remedy = (
                f"it is not text; {named('alphabet', 'byte')} trains on raw bytes, without"
                f" {named('documents')}"
            )
            if data.count(b"\0") > len(data) // 4:
                wide = "utf-16-le" if nul % 2 else "utf-16-be"
                remedy = f"for text in wide characters use {named('encoding', wide)}"
            raise DataError(f"{label} has a NUL at byte offset {offset + nul}: {remedy}")

        # A character that is cut off at the end of a block is kept for the next one; the empty
        # block at the end of the file asks for all of it.
        try:
            _, num_used = codecs.utf_8_decode(data, "strict", not block)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{label} {_not_in('UTF-8', offset + error.start, data=data[error.start :])}"
            ) from error
        yield data[:num_used]
        offset += num_used
        rest = data[num_used:]


def _normalized(blocks: Iterable[bytes], tally: Tally) -> Iterator[bytes]:
    """Remove the byte-order mark and turn CRLF into LF, and CR if the first line ends in it; blocks
    without content are left out."""
    is_first = True
    rest = b""
    ends_in_cr: bool | None = None
    for block in blocks:
        data = rest + block
        # A mark is at the start only: elsewhere it is a character.
        if is_first and data:
            is_first = False
            if data.startswith(codecs.BOM_UTF8):  # which some editors write
                tally.num_marks += 1
                data = data.removeprefix(codecs.BOM_UTF8)

        # The LF of a CR at the end may begin the next block.
        rest = b"\r" if data.endswith(b"\r") else b""
        data = data.removesuffix(rest)
        if b"\r" in data:
            tally.num_line_ends += data.count(b"\r\n")
            data = data.replace(b"\r\n", b"\n")

        # A CR in a text of LF is a character; in a text whose first line ends in one, it ends all.
        first_end = _LINE_END.search(data)
        if ends_in_cr is None and first_end:
            ends_in_cr = first_end[0] == b"\r"
        if ends_in_cr:
            tally.num_old_line_ends += data.count(b"\r")
            data = data.replace(b"\r", b"\n")
        if data:
            yield data
    if rest and ends_in_cr:
        tally.num_old_line_ends += 1
        rest = b"\n"
    if rest:
        yield rest


def _not_in(encoding: str, offset: int, data: bytes) -> str:
    return f"is not {encoding} at byte offset {offset}: {_remedy(data)}"


def _remedy(data: bytes) -> str:
    """Return what to do with a text that begins with bytes which are wrong."""
    # latin-1 would make control characters of the quotation marks of a text from Windows.
    likely = "latin-1"
    other = "cp1252"
    if len(data.translate(None, _CP1252_ONLY)) < len(data):
        likely, other = other, likely
    return (
        f"say how it is encoded ({named('encoding', likely)}, {other}, …), or train on raw bytes"
        f" with {named('alphabet', 'byte')}"
    )


def title(encoding: str) -> str:
    """Return the name of an encoding in a sentence."""
    if codecs.lookup(encoding).name == "utf-8":
        return "UTF-8"
    return encoding


def unreadable(label: str, error: OSError) -> DataError:
    """Return the error for a file or a folder that cannot be read."""
    return DataError(
        f"cannot read {label}: {error.strerror or error}; check that it exists and that you may"
        " read it"
    )

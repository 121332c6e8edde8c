"""Read a file or stream block by block, convert it to UTF-8, and explain why it cannot be used."""

import codecs
import io
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

from charrnn.errors import DataError, TextChangedError, TooLargeError, named
from charrnn.system.files import LFS_POINTER, PLACEHOLDER_BYTES, placeholder_in
from charrnn.system.process import memory_bytes
from charrnn.text.file_kinds import Kind, find_kind, why_not_text

_WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by byte-order mark. UTF-32 is first, because its mark begins with the mark of UTF-16.
"""
_MARKS_OF = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
_LINE_END = re.compile(rb"[\r\n]")
_BLANK = re.compile(r"[\s\u200b\u2060\ufeff]*")
"""Matches what nobody sees: white space of every script, and characters without width."""
_BLOCK_BYTES = 4 * 1024 * 1024
"""Number of bytes that are read at a time, at least the four of a byte-order mark."""
_MEMORY_PER_BYTE = 8
"""Upper bound of the memory in bytes for each byte of a text while it is read: for the bytes, the
characters and the ids."""
_CP1252_ONLY = bytes(range(0x80, 0xA0))
"""Bytes that are quotation marks and dashes in cp1252, the encoding of Windows, but control
characters in latin-1."""


_WIDER = {
    "shift_jis": ("cp932", "shift_jis_2004"),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "big5": ("cp950", "big5hkscs"),
    "euc_kr": ("cp949",),
    "euc_jp": ("euc_jis_2004",),
}
"""Encodings that are often called by the name of a narrower one."""
_ASCII = bytes(range(0x80))
_SEEN_BYTES = 1000
"""Number of bytes that show what kind of text a wrong byte is in."""
MOST_BLOCKS = 5
"""Blocks of 256 characters in which a text in wide characters is looked for, at most."""
LEAST_FOREIGN = 20
"""Bytes that are no ASCII in a text that is not in Latin letters, at least."""


Line: TypeAlias = tuple[int, bytes]
"""A line of a text, or a part of one, after the number of the line of the file in which it stands,
from 1. A line has its end, if it has one."""


class _Readable(Protocol):
    def read(self, num_bytes: int, /) -> bytes: ...


def without_gz(name: str) -> str:
    """Return the name of a file without the suffix .gz."""
    if name.lower().endswith(".gz"):
        return name[: -len(".gz")]
    return name


def check_memory(what: str, num_bytes: int) -> None:
    """Raise TooLargeError if a text of that many bytes does not fit into this machine's memory.

    `what` names the corpus. The size of a stream is not known in advance, so this is called while
    the stream is read.
    """
    memory = memory_bytes()
    if memory is None:
        return
    most = memory // _MEMORY_PER_BYTE
    if num_bytes <= most:
        return

    # The remedy takes half of the possible size, in the notation of `head`.
    size = str(most // 2)
    if most >= 2 * 10**6:
        size = f"{most // 2 // 10**6}M"
    raise TooLargeError(
        f"{what}: more than {most / 1e9:,.1f} GB of text, but this machine's memory of"
        f" {memory / 1e9:,.1f} GB is enough for no more\ntake fewer files, or a"
        f" part of one: head -c {size} FILE > part.txt"
    )


Change: TypeAlias = tuple[str, str]
"""What is counted, in the singular, and a note with {num} and the {label} of the text."""
CUT = "byte", "left out {num} at the end of {label}: the file ends in the middle of a character"
"""The change of a text that ends inside a character."""
MARKS = "byte-order mark", "removed {num} from {label}"
"""The change of a text with byte-order marks."""
LINE_ENDS = "CRLF line end", "turned {num} of {label} into LF"
"""The change of a text of Windows."""
OLD_LINE_ENDS = "CR line end", "turned {num} of {label} into LF"
"""The change of an old text."""


@dataclass(slots=True)
class Tally:
    """Counts of the omissions and changes while the files of one source were read."""

    num_used: int = 0
    """Files that make up the text."""
    skipped: list[str] = field(default_factory=list)
    """Names of the unusable files, except pointers."""
    num_pointers: int = 0
    """Pointers of Git LFS, which stand in the place of the files themselves."""
    fault: str = ""
    """The reason why the first unusable file was skipped, in brackets."""
    num_bytes: int = 0
    """The size of the text in UTF-8."""
    largest: tuple[int, str] = (0, "")
    """The size of the largest file, and its name."""
    changes: Counter[Change] = field(default_factory=Counter)
    """What was left out or changed in the text, and how many times."""
    documents: set[str] = field(default_factory=set)
    """The names of the files that pandoc has read."""
    cuts: dict[int, list[tuple[int, int]]] | None = None
    """The characters that were left out inside lines: [begin, end) of each cut, by the number of
    the line. None if nobody asks for them."""

    def add_changes(self, file: "Tally") -> None:
        """Add what was changed in one file."""
        self.changes += file.changes
        self.documents |= file.documents


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
    label: str,
    stream: BinaryIO,
    encoding: str | None,
    tally: Tally,
    *,
    documents: Sequence[Kind] = (),
) -> Iterator[bytes]:
    """Yield the content of a stream block by block (see `clean_blocks`). Raises DataError if it
    cannot be read or used."""
    try:
        yield from clean_blocks(
            label, file=stream, encoding=encoding, tally=tally, documents=documents
        )
    except OSError as error:
        raise unreadable(label, error) from error


def file_blocks(
    path: Path,
    encoding: str | None,
    tally: Tally,
    *,
    needs_regular: bool,
    documents: Sequence[Kind] = (),
) -> Iterator[bytes]:
    """Yield the content of a file block by block (see `clean_blocks`). A file .gz is decompressed.

    Raises DataError if the file cannot be read or used or, with `needs_regular`, is a pipe or a
    device; TextChangedError if it changes while it is read.
    """
    import gzip
    import zlib

    try:
        # This is checked before the file is opened, because opening a pipe may wait for ever.
        if needs_regular and not stat.S_ISREG(path.stat().st_mode):
            raise DataError(
                f"{path} is a pipe or a device: put a file with the same text in its place"
            )

        # The text of a file that grows while it is read, such as a log, could not be read again.
        is_packed = without_gz(path.name) != path.name
        with gzip.open(path) if is_packed else path.open("rb") as file:
            before = os.fstat(file.fileno())
            yield from clean_blocks(
                str(path), file=file, encoding=encoding, tally=tally, documents=documents
            )
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


def file_lines(blocks: Iterable[bytes]) -> Iterator[Line]:
    """Yield the lines of a file, which is read in blocks of any size."""
    # Blocks are collected until one has a newline: a line may be longer than many blocks.
    number = 0
    pieces: list[bytes] = []
    for block in blocks:
        head, newline, tail = block.rpartition(b"\n")
        if newline:
            for line in io.BytesIO(b"".join((*pieces, head, newline))):
                number += 1
                yield number, line
            pieces = []
        pieces.append(tail)
    if last_line := b"".join(pieces):
        yield number + 1, last_line


def is_blank(line: bytes) -> bool:
    """Whether nobody sees anything in a line: it is empty, or has only white space of any script or
    characters without width."""
    return _BLANK.fullmatch(line.decode("utf-8", "replace")) is not None


def without_blank_end(line: bytes) -> bytes:
    """Return a line without what nobody sees at its end."""
    # Bytes that are not UTF-8 stay as they are.
    text = line.decode("utf-8", "surrogateescape")
    reversed_text = text[::-1]
    blank = _BLANK.match(reversed_text)
    assert blank is not None, "it matches nothing, too"
    return text[: len(text) - blank.end()].encode("utf-8", "surrogateescape")


def file_state(status: os.stat_result) -> tuple[int, int, int]:
    """Return the size, the modification time and the inode of a file: one of them changes when the
    file is written or replaced."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def clean_blocks(
    label: str,
    file: _Readable,
    encoding: str | None,
    tally: Tally,
    *,
    documents: Sequence[Kind] = (),
) -> Iterator[bytes]:
    """Yield a file block by block as UTF-8 with LF and without a byte-order mark, unchanged if
    `encoding` is None. Of a file of one of the kinds of `documents`, it is the text.

    The joined text does not depend on the size of the blocks. Changes are counted in `tally`.
    Raises DataError if the file is empty or not text; then the caller must drop the blocks that
    were yielded before.
    """
    # An HTML page may be the wanted text, but a pointer to a text never is.
    start = file.read(_BLOCK_BYTES)
    if start.startswith(LFS_POINTER):
        tally.num_pointers += 1
        raise DataError(f"{label} {placeholder_in(start)}")

    # Each generator takes the blocks of the generator before, so that the file is never in memory
    # as a whole.
    blocks: Iterator[bytes] = iter(partial(file.read, _BLOCK_BYTES), b"")
    if start:
        blocks = chain((start,), blocks)
    if encoding is not None:
        document = find_kind(documents, start.removeprefix(codecs.BOM_UTF8))
        # A document in a zip has its own encoding.
        is_packed = start.startswith(b"PK")
        if document is None and (reason := why_not_text(start)):
            raise DataError(f"{label} {reason}")
        if document is not None and is_packed:
            blocks = _text_of_document(label, blocks=blocks, kind=document, tally=tally)
            encoding = "utf-8"
        utf8 = _as_utf8(label, blocks=blocks, encoding=encoding, tally=tally)
        blocks = _normalized(_checked(label, blocks=utf8, tally=tally), tally)
        # One in characters is decoded first, as any text is, with the same errors.
        if document is not None and not is_packed:
            blocks = _text_of_document(label, blocks=blocks, kind=document, tally=tally)

    # The last generator shows whether the file is empty, because a file with only a byte-order mark
    # is empty, too.
    first = next(blocks, b"")
    if not first:
        raise DataError(f"{label} is empty: give a file with text in it")
    yield first
    yield from blocks


def _text_of_document(
    label: str, blocks: Iterator[bytes], kind: Kind, tally: Tally
) -> Iterator[bytes]:
    # Few texts are documents, and the digests of the cache take long to import.
    from charrnn.text.pandoc import read_document

    content = b"".join(blocks)
    check_memory(label, len(content))
    tally.documents.add(label)
    tally.changes["file", f"read {{num}} of {{label}} by pandoc ({kind[1]})"] += 1
    yield read_document(label, content, kind)


def _as_utf8(
    label: str, blocks: Iterator[bytes], *, encoding: str, tally: Tally
) -> Iterator[bytes]:
    """Convert blocks in `encoding` to UTF-8, which is not checked. An incomplete character at the
    end is left out. Raises DataError if they are not in `encoding`."""
    name = codecs.lookup(encoding).name
    first = next(blocks, b"")
    if name == "utf-8":
        yield from chain((first,), blocks)
        return
    if name in _MARKS_OF and not first.startswith(_MARKS_OF[name]):
        # Without a mark, the byte order is the one of this machine, which an incremental decoder
        # does not assume.
        byte_order = "le" if sys.byteorder == "little" else "be"
        name = f"{name}-{byte_order}"

    # The empty block at the end makes the decoder report an incomplete character.
    decoder = codecs.getincrementaldecoder(name)()
    num_bytes = 0
    for block in chain((first,), blocks, (b"",)):
        # The offset of an error counts from the bytes of the block before that the decoder keeps.
        num_kept = len(decoder.getstate()[0])
        try:
            # A lone surrogate, which UTF-7 can encode, is refused where UTF-8 is checked.
            yield decoder.decode(block, final=not block).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            if not block:
                tally.changes[CUT] += num_kept
                return
            offset = num_bytes - num_kept + error.start
            problem = _not_in(encoding, offset, data=error.object[error.start :])
            raise DataError(f"{label} {problem}") from error
        num_bytes += len(block)


def _checked(label: str, blocks: Iterable[bytes], tally: Tally) -> Iterator[bytes]:
    """Yield blocks of whole characters; an incomplete character at the end is left out. Raises
    DataError if the blocks are not UTF-8 or contain a NUL."""
    offset = 0
    incomplete = b""  # the beginning of a character that ends in the next block
    is_ascii = True
    for block in blocks:
        data = incomplete + block

        # Two frequent mistakes have their own messages: a text in UTF-16, with a byte-order mark or
        # with a NUL after each ASCII character, and a file that is not text.
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
            if wide := _wide_encoding(data):
                remedy = f"for text in wide characters use {named('encoding', wide)}"
            raise DataError(f"{label} has a NUL at byte offset {offset + nul}: {remedy}")

        # An incomplete character at the end of a block is kept for the next block.
        try:
            _, num_used = codecs.utf_8_decode(data, "strict", False)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{label} {_not_in('UTF-8', offset + error.start, data=data[error.start :])}"
            ) from error
        yield data[:num_used]
        offset += num_used
        incomplete = data[num_used:]
        is_ascii = is_ascii and data[:num_used].isascii()

    # The last byte of a text in Latin-1 may be ß, é or another small letter, which begins a
    # character of UTF-8, too.
    if is_ascii and len(incomplete) == 1 and incomplete >= b"\xdf":
        raise DataError(f"{label} {_not_in('UTF-8', offset, data=incomplete)}")
    tally.changes[CUT] += len(incomplete)


def _normalized(blocks: Iterable[bytes], tally: Tally) -> Iterator[bytes]:
    """Remove the byte-order mark, and turn CRLF into LF. CR is also turned into LF if the first
    line ends with CR. Empty blocks are left out."""
    is_first = True
    carriage_return = b""
    ends_in_cr: bool | None = None
    for block in blocks:
        data = carriage_return + block
        # The character is a byte-order mark only at the start of the text.
        if is_first and data:
            is_first = False
            if data.startswith(codecs.BOM_UTF8):  # Some editors write it.
                tally.changes[MARKS] += 1
                data = data.removeprefix(codecs.BOM_UTF8)

        # A CR at the end of the block is kept, because the next block may begin with its LF.
        carriage_return = b"\r" if data.endswith(b"\r") else b""
        data = data.removesuffix(carriage_return)
        if b"\r" in data:
            tally.changes[LINE_ENDS] += data.count(b"\r\n")
            data = data.replace(b"\r\n", b"\n")

        # If the first line ends with CR, every CR ends a line; otherwise CR is a character.
        first_end = _LINE_END.search(data)
        if ends_in_cr is None and first_end:
            ends_in_cr = first_end[0] == b"\r"
        if ends_in_cr:
            tally.changes[OLD_LINE_ENDS] += data.count(b"\r")
            data = data.replace(b"\r", b"\n")
        if data:
            yield data
    if carriage_return and ends_in_cr:
        tally.changes[OLD_LINE_ENDS] += 1
        carriage_return = b"\n"
    if carriage_return:
        yield carriage_return


def _wide_encoding(data: bytes) -> str:
    """Return the encoding with two or four bytes for each character in which a file with a NUL may
    be a text; "" if there is none."""
    num_ascii = {"": 0}
    for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        with suppress(UnicodeDecodeError):
            text = codecs.getincrementaldecoder(name)().decode(data[:_SEEN_BYTES])
            # An alphabet is in few blocks of 256 characters. In the wrong order of bytes, blanks
            # and other ASCII characters become others.
            num_blocks = len({ord(character) >> 8 for character in text})
            are_shown = all(character.isprintable() or character.isspace() for character in text)
            if are_shown and num_blocks <= MOST_BLOCKS:
                num_ascii[name] = sum(map(str.isascii, text))
    return max(num_ascii, key=num_ascii.__getitem__)


def _not_in(encoding: str, offset: int, data: bytes) -> str:
    remedy = _remedy(data)
    for wider in _WIDER.get(codecs.lookup(encoding).name, ()):
        with suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder(wider)().decode(data)
            remedy = f"it may be {wider}, which has more characters: {named('encoding', wider)}"
            break
    return f"is not {encoding} at byte offset {offset}: {remedy}"


def _remedy(data: bytes) -> str:
    """Return the remedy for a text with wrong bytes, which `data` begins with."""
    # latin-1 would turn the quotation marks of a text from Windows into control characters.
    likely = "latin-1"
    second = "cp1252"
    if len(data.translate(None, _CP1252_ONLY)) < len(data):
        likely, second = second, likely
    # In Latin letters, few bytes are no ASCII.
    seen = data[:_SEEN_BYTES]
    num_foreign = len(seen.translate(None, _ASCII))
    if num_foreign >= LEAST_FOREIGN and num_foreign > 0.3 * len(seen):
        likely = "gb18030"
        second = "cp932 for Japanese, koi8-r or cp1251 for Russian"
    return (
        f"say how it is encoded ({named('encoding', likely)}, {second}, …), or train on raw bytes"
        f" with {named('alphabet', 'byte')}"
    )


def unreadable(label: str, error: OSError) -> DataError:
    """Return the error for a file or a folder that cannot be read."""
    return DataError(
        f"cannot read {label}: {error.strerror or error}; check that it exists and that you may"
        " read it"
    )

"""Read a file or stream block by block, convert it to UTF-8, and explain why it cannot be used."""

import codecs
import io
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from charrnn.errors import DataError, TextChangedError, TooLargeError, named
from charrnn.system.files import LFS_POINTER, PLACEHOLDER_BYTES, placeholder_in
from charrnn.system.process import memory_bytes
from charrnn.text.file_kinds import Kind, document_kind, is_pointer, why_not_text

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by byte-order mark. UTF-32 is first, because its mark begins with the mark of UTF-16.
"""
_DECLARED = re.compile(
    rb"""<\?xml[^>]*?encoding=["']([\w.:-]+)|<meta[^>]*?charset=["']?\s*([\w.:-]+)""", re.IGNORECASE
)
_WIDER = {
    "iso8859-1": "cp1252",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "cp950",
    "euc_kr": "cp949",
}
"""Encodings that are often called by the name of a narrower one, as browsers know, too."""
_CANDIDATES = (
    *("cp1252", "iso8859_15", "cp1250", "iso8859_2", "cp1254", "cp1257", "cp1251", "koi8_r"),
    *("cp1253", "cp1255", "cp1256", "cp866", "cp932", "euc_jp", "gb18030", "big5", "cp949"),
)
MOST_NAMED = 4
"""Encodings that an error names, at most."""
FEW_LETTERS = 10
"""Letters beside ASCII from which on the words of a text are recognised."""
_FOREIGN = bytes(range(0x80, 0x100))
_ESCAPES = re.compile(r"\x1b(?:\$[@B]|\([BJ]|\$\([A-D])")
_LINE_END = re.compile(rb"[\r\n]")
_BLANK = re.compile(r"[\s\u200b\u2060\ufeff]*")
"""Matches what nobody sees: white space of every script, and characters without width."""
_BLOCK_BYTES = 4 * 1024 * 1024
"""Number of bytes that are read at a time, at least the four of a byte-order mark."""
MAX_LINE_BYTES = 64 * 1024 * 1024
"""Size of a line that is kept whole, such as a sequence of DNA, at most."""
_MEMORY_PER_BYTE = 8
"""Upper bound of the memory in bytes for each byte of a text while it is read: for the bytes, the
characters and the ids."""
_SEEN_BYTES = 20_000
"""Number of bytes that show what kind of text a wrong byte is in."""
_DECLARING_BYTES = 1000
"""Number of bytes in which a page says how it is encoded."""
MOST_NULS = 0.01
"""Share of NULs in a text, at most: a file with more is none."""


class Line(NamedTuple):
    """A line of a text, or a part of one. It has its end, if it has one. Where nobody looks at
    lines, it may be many whole lines, without cuts."""

    number: int
    """The number of the line of the file in which it stands, from 1."""
    content: bytes
    cuts: Sequence[tuple[int, int]] = ()
    """The characters of the line of the file that the content has not: [begin, end) of each cut, in
    order."""


class PointerError(DataError):
    """A file stands for another one, which is somewhere else."""


class EmptyTextError(DataError):
    """A file or a stream has nothing in it."""


class _Readable(Protocol):
    def read(self, num_bytes: int, /) -> bytes: ...


class ReadsDocuments(Protocol):
    """Reads the text of documents (`pandoc.DocumentTexts`)."""

    def read(self, label: str, data: bytes, kind: Kind) -> str:
        """Return the text of a document."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How the files of a text are read."""

    encoding: str | None
    """The encoding of plain text; None for bytes, which stay as they are."""
    is_cleaned: bool = False
    """Whether pages are read as documents, and stray NULs left out."""
    documents: ReadsDocuments | None = None
    """What reads documents; None to refuse them."""
    is_in_folder: bool = False
    """Whether a file in UTF-8 may stand beside those in the encoding."""


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

    raise TooLargeError(
        f"{what}: more than {most / 1e9:,.1f} GB of text, but this machine's memory of"
        f" {memory / 1e9:,.1f} GB is enough for no more\ntake fewer files, or a part of one"
    )


Change: TypeAlias = tuple[str, str]
"""What is counted, in the singular, and a note with {num} and the {label} of the text."""
CUT = "byte", "left out {num} at the end of {label}: the file ends in the middle of a character"
"""The change of a text that ends inside a character."""
MARKS = "byte-order mark", "removed {num} from {label}"
"""The change of a text with byte-order marks."""
LINE_ENDS = "CRLF line end", "turned {num} of {label} into LF"
"""The change of a text of Windows."""
_JUDGED = "file", "read {num} of {label} as UTF-8, which it is"
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
    """Files that stand for others, which are somewhere else."""
    faults: dict[str, str] = field(default_factory=dict)
    """The reasons why files were skipped, each with the name of the first."""
    num_bytes: int = 0
    """The size of the text in UTF-8."""
    largest: tuple[int, str] = (0, "")
    """The size of the largest file, and its name."""
    changes: Counter[Change] = field(default_factory=Counter)
    """What was left out or changed in the text, and how many times."""
    documents: set[str] = field(default_factory=set)
    """The names of the files that pandoc has read."""
    column_note: str = ""
    """How the first table is read whose column is given by its position."""

    def add_file(self, file: "Tally") -> None:
        """Add what was found in one file."""
        self.changes += file.changes
        self.documents |= file.documents
        self.column_note = self.column_note or file.column_note


def file_blocks(
    path: Path, reading: Reading, tally: Tally, *, needs_regular: bool
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
            yield from clean_blocks(str(path), file, reading, tally)
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


def stream_blocks(label: str, stream: _Readable, reading: Reading, tally: Tally) -> Iterator[bytes]:
    """Yield the content of a stream block by block (see `clean_blocks`). Raises DataError if it
    cannot be read or used."""
    try:
        yield from clean_blocks(label, stream, reading, tally)
    except OSError as error:
        raise unreadable(label, error) from error


def whole_lines(blocks: Iterable[bytes]) -> Iterator[Line]:
    """Yield the lines of a file, which is read in blocks of any size: as many at a time as a block
    ends. A line that is too long for memory is several."""
    # Blocks are collected until one has a newline: a line may be longer than many blocks.
    number = 1
    pieces: list[bytes] = []
    num_bytes = 0
    for block in blocks:
        head, newline, tail = block.rpartition(b"\n")
        num_bytes += len(block)
        if newline or num_bytes > MAX_LINE_BYTES:
            if not newline:
                head, tail = tail, b""
            lines = b"".join((*pieces, head, newline))
            yield Line(number, lines)
            number += lines.count(b"\n")
            pieces = []
            num_bytes = len(tail)
        pieces.append(tail)
    if last_line := b"".join(pieces):
        yield Line(number, last_line)


def split_lines(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield each line by itself."""
    for line in lines:
        # A line of which something was left out stands alone already.
        if line.cuts:
            yield line
            continue
        for index, content in enumerate(io.BytesIO(line.content)):
            yield Line(line.number + index, content)


def file_lines(blocks: Iterable[bytes]) -> Iterator[Line]:
    """Yield each line of a file, which is read in blocks of any size."""
    return split_lines(whole_lines(blocks))


def is_blank(line: bytes) -> bool:
    """Whether nobody sees anything in a line: it is empty, or has only white space of any script or
    characters without width."""
    return _BLANK.fullmatch(line.decode("utf-8", "replace")) is not None


def without_blank_end(line: bytes) -> bytes:
    """Return a line without what nobody sees at its end."""
    # Bytes that are not UTF-8 stay as they are.
    text = line.decode("utf-8", "surrogateescape")
    blank = _BLANK.match(text[::-1])
    assert blank is not None, "it matches nothing, too"
    return text[: len(text) - blank.end()].encode("utf-8", "surrogateescape")


def file_state(status: os.stat_result) -> tuple[int, int, int]:
    """Return the size, the modification time and the inode of a file: one of them changes when the
    file is written or replaced."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def clean_blocks(label: str, file: _Readable, reading: Reading, tally: Tally) -> Iterator[bytes]:
    """Yield a file block by block as UTF-8 with LF and without a byte-order mark, unchanged if it
    is read as bytes. Of a document, it is the text.

    The joined text does not depend on the size of the blocks. Changes are counted in `tally`.
    Raises DataError if the file is empty or not text; then the caller must drop the blocks that
    were yielded before.
    """
    # A page may be the wanted text, but a pointer to a text never is.
    start = file.read(_BLOCK_BYTES)
    if start.startswith(LFS_POINTER):
        raise PointerError(f"{label} {placeholder_in(start)}")
    if reading.is_cleaned and is_pointer(start):
        raise PointerError(f"{label} stands for a document that is somewhere else: export that one")

    # Each generator takes the blocks of the generator before, so that the file is never in memory
    # as a whole. The names of the files in a ZIP archive are at its end.
    blocks: Iterator[bytes] = iter(partial(file.read, _BLOCK_BYTES), b"")
    if start.startswith(b"PK"):
        start = b"".join((start, *blocks))
        blocks = iter(())
    if start:
        blocks = chain((start,), blocks)
    if reading.encoding is not None:
        blocks = _as_text(label, start, blocks, reading, tally)

    # The last generator shows whether the file is empty, because a file with only a byte-order mark
    # is empty, too.
    first = next(blocks, b"")
    if not first:
        raise EmptyTextError(f"{label} is empty: give a file with text in it")
    yield first
    yield from blocks


def _as_text(
    label: str, start: bytes, blocks: Iterator[bytes], reading: Reading, tally: Tally
) -> Iterator[bytes]:
    assert reading.encoding is not None, "bytes are no text"
    documents = reading.documents
    kind = None
    if documents is not None:
        kind = document_kind(start, is_cleaned=reading.is_cleaned)
    if kind is None and (reason := why_not_text(start)):
        raise DataError(f"{label} {reason}")

    # A text in characters is decoded first, as any text is, with the same errors.
    encoding = reading.encoding
    if kind is not None and not start.startswith(b"PK"):
        blocks = iter((b"".join(blocks),))
    if kind is None or not start.startswith(b"PK"):
        encoding = _encoding_of(start, encoding, is_document=kind is not None)
        # Of a folder, each file is judged by itself.
        if reading.is_in_folder and _is_rather_utf8(start, encoding):
            tally.changes[_JUDGED] += 1
            encoding = "utf-8"
        decoded = _decoded(label, blocks, encoding, tally, reading=reading)
        blocks = _normalized(decoded, tally)
    if kind is not None and documents is not None:
        content = b"".join(blocks)
        check_memory(label, len(content))
        tally.documents.add(label)
        tally.changes["file", f"read {{num}} of {{label}} by pandoc ({kind.what})"] += 1
        blocks = iter((documents.read(label, content, kind).encode(),))
    return blocks


def _encoding_of(start: bytes, encoding: str, *, is_document: bool) -> str:
    """Return the encoding of a file: that of its mark, or else the given one. A page or an XML file
    that is not in UTF-8 says which one it is in."""
    for mark, mark_name in _MARKS.items():
        if start.startswith(mark):
            return mark_name
    name = codecs.lookup(encoding).name
    if name in ("utf-16", "utf-32"):
        # Without a mark, the byte order is that of most machines.
        return f"{name}-le"
    declared = _DECLARED.search(start[:_DECLARING_BYTES])
    if not declared or name != "utf-8" or _is_utf8(start, is_whole=is_document):
        return name
    # A page may name an encoding that nobody knows.
    with suppress(LookupError):
        name = codecs.lookup((declared[1] or declared[2]).decode("ascii")).name
    return _WIDER.get(name, name)


def _is_utf8(data: bytes, *, is_whole: bool) -> bool:
    try:
        codecs.utf_8_decode(data, "strict", is_whole)
    except UnicodeDecodeError:
        return False
    return True


def _is_rather_utf8(start: bytes, encoding: str) -> bool:
    """Whether a file with characters beside ASCII is in UTF-8, and not in an encoding of bytes."""
    # In these, a text may have no byte that is not ASCII.
    if start.isascii() or codecs.lookup(encoding).name.startswith(("utf", "iso2022", "hz")):
        return False
    return _is_utf8(start, is_whole=False)


def _decoded(
    label: str, blocks: Iterator[bytes], encoding: str, tally: Tally, *, reading: Reading
) -> Iterator[bytes]:
    """Convert blocks in `encoding` to UTF-8, in blocks of whole characters. An incomplete character
    at the end is left out. Raises DataError if they are not in `encoding`, or no text."""
    decoder = codecs.getincrementaldecoder(encoding)()
    num_bytes = 0
    num_nuls = 0
    is_ascii = True
    ending = ""
    # The empty block at the end makes the decoder report an incomplete character.
    for block in chain(blocks, (b"",)):
        # The offset of an error counts from the bytes of the block before that the decoder keeps.
        num_kept = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
            data = text.encode()
        except UnicodeDecodeError as error:
            # The last byte of a text in Latin-1 may be ß, é or another small letter, which begins a
            # character of UTF-8, too.
            is_letter = is_ascii and num_kept == 1 and error.object >= b"\xdf"
            if not block and not (is_letter and encoding == "utf-8"):
                tally.changes[CUT] += num_kept
                return
            raise _not_in(
                encoding, label, error.object, offset=num_bytes - num_kept, start=error.start
            ) from error
        except UnicodeEncodeError as error:
            # UTF-7 can encode half of a surrogate pair, which is no character.
            raise _not_in("utf-8", label, b"", offset=num_bytes, start=error.start) from error

        if is_ascii and data.isascii() and _ESCAPES.search(ending + text):
            raise DataError(
                f"{label} has escapes as Japanese and Chinese texts have: say how it is encoded"
                f" ({named('encoding', 'iso2022_jp')})"
            )
        # A stray NUL is left out later; a file with many is in wide characters, or no text.
        num_nuls += text.count("\0")
        num_bytes += len(block)
        most_nuls = MOST_NULS * num_bytes if reading.is_cleaned else 0
        if num_nuls > most_nuls:
            raise DataError(f"{label} {_about_nul(data, num_bytes - len(block))}")
        is_ascii = is_ascii and data.isascii()
        ending = text[-3:]
        yield data


def _about_nul(data: bytes, offset: int) -> str:
    return (
        f"has a NUL at byte offset {offset + max(0, data.find(0))}: it is not text;"
        f" {named('encoding', 'utf-16-le')} reads one in wide characters, and"
        f" {named('alphabet', 'byte')} any file, without {named('documents')}"
    )


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


def _not_in(encoding: str, label: str, data: bytes, *, offset: int, start: int) -> DataError:
    """Return the error for a file with a wrong byte at `start` of the data, which begin at an
    offset."""
    shown = encoding
    if encoding == "utf-8":
        shown = "UTF-8"
        # It is no text in another encoding of bytes.
        if b"\0" in data:
            return DataError(f"{label} {_about_nul(data, offset)}")
    return DataError(
        f"{label} is not {shown} at byte offset {offset + start}: {_remedy(data, start)}"
    )


def _remedy(data: bytes, start: int = 0) -> str:
    """Return the remedy for a text with a wrong byte at `start`: the encodings in which it makes
    words, each with what it makes of a word."""
    from charset_normalizer import from_bytes

    # Whole lines around the wrong byte, so that the words are whole.
    seen = data[max(0, start - _SEEN_BYTES) : start + _SEEN_BYTES]
    matches = from_bytes(seen, cp_isolation=list(_CANDIDATES), threshold=0.5)
    texts = [seen.decode(match.encoding, "replace") for match in matches]
    # In a few letters no words are recognised, and most such texts are of Windows.
    if len(seen) - len(seen.translate(None, _FOREIGN)) < FEW_LETTERS or not texts:
        texts.insert(0, seen.decode("cp1252", "replace"))

    # The user knows which of these is a word. Several encodings may make the same text.
    candidates = []
    for text in list(dict.fromkeys(texts))[:MOST_NAMED]:
        name = next(name for name in _CANDIDATES if seen.decode(name, "replace") == text)
        word = next((word for word in text.split() if not word.isascii()), "")
        candidates.append(f"{named('encoding', name)} makes {word[:20]!r}")
    return (
        f"say how it is encoded: {', '.join(candidates)}; {named('alphabet', 'byte')} trains on raw"
        " bytes"
    )


def unreadable(label: str, error: OSError) -> DataError:
    """Return the error for a file or a folder that cannot be read."""
    return DataError(
        f"cannot read {label}: {error.strerror or error}; check that it exists and that you may"
        " read it"
    )

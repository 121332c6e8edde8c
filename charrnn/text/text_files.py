"""Read a file or a stream in large pieces of whole lines, and explain why it cannot be used.

A text is `str` here, also one of bytes: those that are not UTF-8 are lone surrogates in it
(PEP 383), until `IdBuilder` encodes them.
"""

import codecs
import gzip
import io
import re
import stat
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast
from unicodedata import category

from charrnn.errors import DataError, TextChangedError, named
from charrnn.system.process import memory_bytes

START_BYTES = 1 << 20
"""Bytes by which the kind of a file and its encoding are recognised."""
PIECE_CHARS = 1 << 24
"""Characters that are read at a time: nearly every text is one piece."""
MAX_LINE_CHARS = 1 << 26
"""Characters of a line that is kept whole, such as a sequence of DNA, at most."""
MOST_NULS = 0.01
"""Share of NULs in a text, at most: a file with more is none, or in wide characters."""
_MEMORY_PER_BYTE = 8
"""Upper bound of the memory in bytes for each byte of a text while it is read: for the bytes, the
characters and the ids."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
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
_DECLARING_BYTES = 1000
"""Number of bytes in which a page says how it is encoded."""
_WIDER = {"iso8859-1": "cp1252", "shift_jis": "cp932", "gb2312": "gb18030"}
"""Encodings that are often called by the name of a narrower one, as browsers know, too."""
_CANDIDATES = (
    *(
        "cp1252",
        "mac_roman",
        "cp1254",
        "cp1250",
        "iso8859_2",
        "iso8859_15",
        "cp1257",
        "cp1251",
        "koi8_r",
    ),
    *("cp1253", "cp1255", "cp1256", "cp866", "cp932", "euc_jp", "gb18030", "big5", "cp949"),
)
_STATE = attrgetter("st_size", "st_mtime_ns", "st_ino")
"""Return what differs in a file that has changed."""
MOST_NAMED = 4
"""Encodings that an error names, at most."""
FEW_LETTERS = 10
"""Letters beside ASCII from which on the words of a text are recognised."""
_IN_WORDS = "\N{RIGHT SINGLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}·\N{EN DASH}\N{EM DASH}"
"""Signs that stand between two letters of a word, or of two words."""
_FOREIGN = bytes(range(0x80, 0x100))
_BLANK = re.compile(r"[\s\u200b\u2060\ufeff]*")
"""Matches what nobody sees: white space of every script, and characters without width."""


class Line(NamedTuple):
    """A line of a text, or a part of one, or many whole lines where nobody looks at lines.

    The number leads back to the file, whatever was left out or joined on the way.
    """

    number: int
    """The number of the line of the file in which it begins, from 1."""
    content: str


class Chat(NamedTuple):
    """The messages of a chat, as they are read."""

    lines: list[Line]
    """What was said, each message after the name of who said it."""
    speakers: frozenset[str]
    """The names."""


Change = tuple[str, str]
"""What is counted, in the singular, and a note with {num} and the {label} of the text. A note with
{kinds} in the place of {num} lists all that is counted for it: 3 of the program, 2 with photos.
Words in other braces agree with the number (`reading_notes.notes_on_changes`)."""


@dataclass
class FileRecord:
    """What was read of a file or a stream.

    The functions through which the lines of a file pass count in it what they change: the notes of
    a corpus are made of all of them at the end.
    """

    name: str
    """Its path."""
    label: str
    """The name of its source, for notes."""
    changes: Counter[Change] = field(default_factory=Counter)
    """What was left out or changed, and how many times."""
    first_byte: int = 0
    """Where its text begins in that of all files, in bytes."""
    num_bytes: int = 0
    """Bytes of its text."""
    start: str = ""
    """The beginning of its text; "" once the file is read."""
    encoding: str = "utf-8"
    """How its text is encoded; bytes count as UTF-8."""
    is_read_by_pandoc: bool = False
    """Whether pandoc has read it, so that its lines are paragraphs."""
    is_parsed: bool = False
    """Whether its text was taken out of a chat, subtitles or a table, and is no data or list."""
    shape: str = ""
    """How it is read better, for a note."""
    columns: Counter[str] = field(default_factory=Counter)
    """The names of its columns, or of its fields in JSON, and how long their texts are: those that
    have most, if it is read as a text."""
    data: str = ""
    """What data or generated text it is."""
    likeness: int = 0
    """A number that is the same for copies."""
    speakers: frozenset[str] = frozenset()
    """Who speaks in it, if it is a chat."""
    num_with_number: int = 0
    """Lines of a chat with a telephone or account number."""
    num_parting: int = 0
    """Lines that part its documents."""
    documents: set[str] = field(default_factory=set)
    """Its documents that no earlier file has, where none is repeated."""
    seen: Set[str] = frozenset()
    """The documents of all earlier files, where none is repeated."""
    pandoc_texts: dict[str, str] = field(default_factory=dict)
    """What pandoc has read in it, by the digest of the file."""

    def take_documents(self) -> set[str]:
        """Return `documents`, and forget them: once a file is read to its end, they count for the
        files after it."""
        documents = self.documents
        self.documents = set()
        return documents


class EmptyTextError(DataError):
    """A file or a stream has nothing in it."""


def without_gz(name: str) -> str:
    """Return the name of a file without the suffix .gz."""
    if name.lower().endswith(".gz"):
        return name[: -len(".gz")]
    return name


def check_text_fits(what: str, num_bytes: int) -> None:
    """Raise DataError if a text of that many bytes does not fit into this machine's memory. `what`
    names the corpus.

    Without it, the system ends the process without a word.
    """
    memory = memory_bytes()
    if memory is not None and num_bytes > memory // _MEMORY_PER_BYTE:
        raise DataError(
            f"{what}: more than {memory / _MEMORY_PER_BYTE / 1e9:,.1f} GB of text, but this"
            f" machine's memory of {memory / 1e9:,.1f} GB is enough for no more\ntake fewer files,"
            " or a part of one"
        )


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be read as bytes; one whose name ends in .gz is decompressed.

    Use it in place of `open` for every text: it knows .gz, and notices a file that somebody writes
    at the same time. Raises DataError in the block if the file cannot be read, TextChangedError if
    it changes while it is read: its text could not be read again.
    """
    try:
        is_packed = without_gz(path.name) != path.name
        before = path.stat()
        with gzip.open(path) if is_packed else path.open("rb") as file:
            yield cast(BinaryIO, file)
        after = path.stat()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged or not a gzip file ({error}): fetch or compress it again"
        ) from error
    except OSError as error:
        raise unreadable(str(path), error) from error
    # A log grows, and an editor puts another file in its place.
    if stat.S_ISREG(before.st_mode) and _STATE(before) != _STATE(after):
        raise TextChangedError(
            f"{path} changed while it was read: wait until it is written, and start again"
        )


def read_pieces(
    label: str, file: BinaryIO, encoding: str | None, *, allows_nul: bool
) -> Iterator[Line]:
    """Yield a file in pieces of whole lines, which end with LF; without an encoding, its bytes as
    they are.

    It is the first of the functions through which a file passes; `split_lines` divides its pieces
    where somebody looks at lines. Raises DataError if it is not in the encoding or no text. With
    `allows_nul`, it may have a few NULs.
    """
    start = file.read(START_BYTES)
    file.seek(0)
    name = "utf-8"
    errors = "surrogateescape"
    if encoding is not None:
        name = encoding_of(start, encoding)
        errors = "strict"
    stream = io.TextIOWrapper(file, encoding=name, errors=errors, newline="\n")
    number = 1
    ends_in_cr = False
    try:
        while piece := stream.read(PIECE_CHARS) + stream.readline(MAX_LINE_CHARS):
            if encoding is not None:
                # A stray NUL is left out later.
                most_nuls = 0.0
                if allows_nul:
                    most_nuls = MOST_NULS * len(piece)
                if piece.count("\0") > most_nuls:
                    raise _has_nul(label)
                if "\x1b$" in piece and piece.isascii():
                    raise DataError(
                        f"{label} has escapes as Japanese and Chinese texts have: say how it is"
                        f" encoded ({named('encoding', 'iso2022_jp')})"
                    )
                # Where CR ends the first line, it ends all.
                piece = piece.replace("\r\n", "\n")
                if number == 1 and (end := re.search("[\r\n]", piece)):
                    ends_in_cr = end[0] == "\r"
                if ends_in_cr:
                    piece = piece.replace("\r", "\n")
            yield Line(number, piece)
            number += piece.count("\n")
    except UnicodeDecodeError as error:
        raise _not_in(name, label=label, error=error) from error
    finally:
        # An error about a line ends the reading, and the file is closed before its pieces are.
        if not file.closed:
            stream.detach()


def start_in_utf_8(start: bytes) -> bytes:
    """Return the beginning of a file in UTF-8 if a mark says that it is in another encoding.

    The kinds of files are recognised by their first bytes, which are other ones in UTF-16.
    """
    name = _marked(start)
    if name is None:
        return start
    return start.decode(name, "ignore").encode()


def _marked(start: bytes) -> str | None:
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)


def encoding_of(start: bytes, encoding: str) -> str:
    """Return the encoding of a file by its first bytes: that of its mark, UTF-8 if they are, what a
    page or an XML file says, or else the given one."""
    if marked := _marked(start):
        return marked
    # Without a mark, the order of bytes is that of most machines.
    name = codecs.lookup(encoding).name
    if name in ("utf-16", "utf-32"):
        name = f"{name}-le"
        # Wide characters have a NUL in every line end.
        if b"\0" in start:
            return name
    # A text of ASCII may be in most encodings, whatever it says.
    elif start.isascii():
        return name
    with suppress(UnicodeDecodeError):
        codecs.utf_8_decode(start, "strict", False)
        return "utf-8"
    declared = _DECLARED.search(start[:_DECLARING_BYTES])
    if declared is not None and name == "utf-8":
        # A page may name an encoding that nobody knows.
        with suppress(LookupError):
            name = codecs.lookup((declared[1] or declared[2]).decode("ascii")).name
            name = _WIDER.get(name, name)
    return name


def _has_nul(label: str) -> DataError:
    return DataError(
        f"{label} has a NUL: it is not text, damaged, or in wide characters"
        f" ({named('encoding', 'utf-16-le')} or utf-16-be); {named('alphabet', 'byte')} reads any"
        f" file, without {named('documents')}"
    )


def _not_in(encoding: str, label: str, error: UnicodeDecodeError) -> DataError:
    """Return the error for a text that is not in an encoding: it names those in which the text
    makes words, each with what it makes of a word."""
    from charset_normalizer import from_bytes

    seen = error.object
    if encoding == "utf-8" and b"\0" in seen:
        return _has_nul(label)
    # How few letters stand beside those of another script, how many words are of a language, and
    # how few signs stand in words. Several encodings may make the same text: the one that most use
    # is named.
    num_foreign = len(seen) - len(seen.translate(None, _FOREIGN))
    ranks = []
    for match in from_bytes(seen, cp_isolation=list(_CANDIDATES), threshold=0.5):
        commonest = min(map(_CANDIDATES.index, match.could_be_from_charset))
        share_of_signs = _num_signs_in_words(str(match)) / max(1, num_foreign)
        ranks.append((match.chaos - match.coherence + share_of_signs, commonest))
    names = [_CANDIDATES[index] for _, index in sorted(ranks)]
    # In a few letters no words are recognised: the candidates have the order of how many use them.
    if num_foreign < FEW_LETTERS or not names:
        names = list(_CANDIDATES)

    # The user knows which of these are words. Lines in ASCII, which are most, have none of them.
    foreign = b"\n".join(line for line in seen.split(b"\n") if not line.isascii())
    words: dict[str, str] = {}
    for name in names:
        found = re.findall(r"\w{0,9}[^\0-\x7f]\w{0,9}", foreign.decode(name, "replace"))
        words.setdefault(" ".join(found[:5]), name)
    candidates = [f"{named('encoding', name)} makes {word!r}" for word, name in words.items()]
    return DataError(
        f"{label} is not {encoding.upper()}: say how it is encoded:"
        f" {', '.join(candidates[:MOST_NAMED])};"
        f" {named('alphabet', 'byte')} trains on raw bytes"
    )


def _num_signs_in_words(text: str) -> int:
    """Return the number of signs between two letters that are not in ASCII and stand in no word,
    such as that of AbilhÃ£o or Abilh„o: of an encoding that is not that of the text."""
    signs = re.findall(r"(?<=[^\W\d_])[^\w\s\0-\x7f](?=[^\W\d_])", text)
    # Marks of accents and vowels are parts of words.
    return sum(1 for sign in signs if category(sign)[0] in "CPS" and sign not in _IN_WORDS)


def unreadable(label: str, error: OSError) -> DataError:
    """Return the error for a file or a folder that cannot be read."""
    return DataError(
        f"cannot read {label}: {error.strerror or error}; check that it exists and that you may"
        " read it"
    )


def split_lines(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield each line by itself.

    It is only for whoever looks at lines: a piece of many lines is faster to pass on.
    """
    for line in lines:
        for index, content in enumerate(io.StringIO(line.content, newline="\n")):
            yield Line(line.number + index, content)


def is_blank(line: str) -> bool:
    """Whether nobody sees anything in a line: it is empty, or has only white space of any script or
    characters without width.

    `str.isspace` does not know characters without width, which some programs put into empty lines.
    """
    return _BLANK.fullmatch(line) is not None


def without_blank_end(line: str) -> str:
    """Return a line without what nobody sees at its end."""
    blank = _BLANK.match(line[::-1])
    assert blank is not None, "it matches nothing, too"
    return line[: len(line) - blank.end()]

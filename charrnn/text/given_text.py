"""Read the texts that a program gives: a string, bytes, the path of a file, or a list of texts."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from charrnn.config.settings import Config
from charrnn.errors import DataError, GivenTextWarning, UsageError, counted, warn
from charrnn.system.arrays import Int64Array
from charrnn.text.cleaning import tidied
from charrnn.text.corpus import Corpus, CorpusPart, read_corpus
from charrnn.text.documents import END, Documents, as_catalogued, end_documents
from charrnn.text.places import Place, find_places
from charrnn.text.sources import SORTED
from charrnn.text.text_files import FileRecord, Line, split_lines
from charrnn.text.vocab import Vocab, as_bytes

TextPiece: TypeAlias = str | bytes | os.PathLike[str]
"""A text, or the path of a file that contains it."""
GivenText: TypeAlias = TextPiece | Corpus | Sequence[TextPiece]
"""A text, the path of a file, a list of both, or a file that was read."""
Typed = TypeVar("Typed", str, bytes, str | bytes)
FEW_UNKNOWN = 0.001
"""The share of unknown characters in a text from which on there is a warning about them."""
MAX_NAME_LENGTH = 1000
"""Characters of a text that could be the name of a file."""


def read_given(text: GivenText, config: Config) -> str | bytes:
    """Return a text that a program gives to a model, as characters or bytes.

    A string stays as it is, with a warning if it is the name of a file. A file is read as the run
    read its own text. The texts of a list begin on lines of their own; for a model of documents,
    each is divided into documents. Raises DataError if a file cannot be read, UsageError for
    anything that is no text.
    """
    if isinstance(text, str | bytes):
        # Whoever forgets Path(…) would measure the loss of a file name without noticing.
        is_name = isinstance(text, str) and len(text) <= MAX_NAME_LENGTH and os.path.isfile(text)
        if is_name:
            length = counted(len(text), "character")
            warn(
                f"{text!r} is the name of a file, and is read as a text of {length}: give"
                f" Path({text!r}) for what the file contains.",
                GivenTextWarning,
            )
        return as_read(text, config)
    if isinstance(text, os.PathLike):
        return read_path(text, config).content
    if isinstance(text, Corpus):
        return text.content
    return _joined([read_given(piece, config) for piece in texts_of(text)], config)


def as_read(text: Typed, config: Config) -> Typed:
    """Return a typed text as the run has read its own: without what nobody sees, and with each
    letter and its accents in one character (NFC), unless it reads every file as it stands."""
    if isinstance(text, str) and config.composes:
        # The END of a document is no stray character here.
        return END.join(map(tidied, text.split(END)))
    return text


def read_path(path: os.PathLike[str], config: Config) -> Corpus:
    """Read a file as the run read its own text, with advice where something was changed. Raises
    DataError."""
    if not Path(path).exists():
        raise DataError(f"{os.fspath(path)}: there is no such file. Give another path.")
    corpus = read_text_file(os.fspath(path), config)
    for note in corpus.notes:
        warn(note, GivenTextWarning)
    return corpus


def texts_of(texts: Iterable[TextPiece]) -> list[TextPiece]:
    """Return the texts of a list. Raises UsageError for anything that is no list of texts."""
    # A dictionary is iterable, too, but nobody means its keys.
    if isinstance(texts, Iterable) and not isinstance(texts, Mapping):
        return list(texts)
    raise UsageError(
        f"{texts!r} is no text: give a string, bytes, a pathlib.Path of a file, or a list of these."
    )


def whole_text(text: GivenText, config: Config, context: str | bytes = "") -> str | bytes:
    """Return a given text as a model reads it: for a model of documents, each ends in END.

    A string without END is divided as a file of the run is. A text with END is divided already, and
    one with a context may begin inside a document: both stay as they are.
    """
    # What follows a context continues a document of it.
    given = read_given(text, config)
    if context:
        return given
    return _divided(given, config.documents)


def text_to_continue(text: GivenText, config: Config) -> str | bytes:
    """Return a given text that a model continues: the end of its last document is left open."""
    given = read_given(text, config)
    if isinstance(text, str | bytes) or config.end_id is None:
        return given

    # A document of a file is complete. After its END, a model would begin the next one.
    if isinstance(given, bytes):
        return given.removesuffix(b"\0")
    return given.removesuffix(END)


def ended(text: str | bytes) -> str | bytes:
    """Return a text of documents whose last one ends in END, too."""
    if isinstance(text, bytes):
        return text.removesuffix(b"\0") + b"\0"
    return text.removesuffix(END) + END


def read_text_file(source: str, config: Config) -> Corpus:
    """Read a file, a folder or standard input (-) with a run's alphabet, encoding and documents; a
    text of the catalogue with the settings of the catalogue.

    The files of a folder are sorted by path, and documents keep their order. Raises DataError if
    the text cannot be read or is empty.
    """
    config = as_catalogued(config, source)
    # The values of a column, listed in a file that is no table, stand on lines of their own.
    documents = Documents.of(config, SORTED)
    has_column = documents is not None and documents.kind == "column"
    is_table = re.search(r"\.([ct]sv|smi|jsonl|ndjson)(\.gz)?$", source.lower()) is not None
    if has_column and not is_table and (source == "-" or os.path.isfile(source)):
        documents = Documents(kind="lines")
    return read_corpus(
        [source],
        alphabet=config.alphabet,
        encoding=config.encoding,
        order=SORTED,
        documents=documents,
        joins_lines=config.join_lines,
        is_cleaned=config.clean,
        is_for_training=False,
    )


def unknown_warning(name: str, *, num_unknown: int, num_chars: int) -> tuple[str, ...]:
    """Return a warning about the characters of a text that a model does not know; nothing for a
    few, which change no figure that is shown."""
    if num_unknown < FEW_UNKNOWN * num_chars:
        return ()

    is_or_are = "are"
    it_or_each = "each of them"
    if num_unknown == 1:
        is_or_are = "is"
        it_or_each = "it"
    unknown = f"{num_unknown:,} of {counted(num_chars, 'character')} {is_or_are} unknown to {name}"
    return (f"{unknown}, which reads {it_or_each} as the unknown symbol.",)


def _joined(texts: Sequence[str | bytes], config: Config) -> str | bytes:
    """Join the texts of a list: documents end in END, and other texts begin on a new line."""
    # An item is one value of a column, which may have several lines.
    kind = config.documents
    if kind == "column":
        kind = "files"

    pieces: list[bytes] = []
    for text in texts:
        piece = as_bytes(_divided(text, kind))
        if kind == "none" and pieces and not pieces[-1].endswith(b"\n"):
            piece = b"\n" + piece
        pieces.append(piece)

    # Bytes of one piece may be no valid UTF-8, so the whole stays bytes.
    joined = b"".join(pieces)
    if any(isinstance(text, bytes) for text in texts):
        return joined
    return joined.decode("utf-8", "surrogatepass")


def _divided(text: str | bytes, kind: str) -> str | bytes:
    """Return a text with an END after each of its documents, unless it has an END already."""
    characters = _as_characters(text)
    if kind == "none" or END in characters:
        return text
    documents = "".join(line.content for line in lines_of(characters, kind))
    if isinstance(text, bytes):
        return documents.encode("utf-8", "surrogateescape")
    return documents


def _as_characters(text: str | bytes) -> str:
    if isinstance(text, bytes):
        return text.decode("utf-8", "surrogateescape")
    return text


def lines_of(text: str | bytes, kind: str) -> Iterator[Line]:
    """Yield the lines of a text of documents of this kind, or `none`, each after the number that it
    has in the text. An END that the text has already ends a line."""
    characters = _as_characters(text)
    if kind == "none" or END in characters:
        return split_lines([Line(1, characters.replace(END, "\n"))])
    # A text is no table: the values of a column stand on lines of their own.
    if kind == "column":
        kind = "lines"
    file = FileRecord(name="the text", label="the text")
    return end_documents([Line(1, characters)], kind, file=file)


FindPlaces: TypeAlias = Callable[[Int64Array], list[Place | None]]
"""Returns the places (P,) of characters of a text, None where there is none."""


def place_finder(
    text: GivenText | None, content: str | bytes | CorpusPart, config: Config, *, documents: str
) -> FindPlaces:
    """Return a function that finds the places of characters of a content, which is that of a given
    text of documents of this kind, or `none`, or a part of a corpus."""
    if isinstance(content, CorpusPart):
        return content.places
    if isinstance(text, Corpus):
        return text.places

    # Documents leave lines of a given text out; the texts of a list are joined to one text.
    source = content
    if isinstance(text, str | bytes):
        source = as_read(text, config)

    def find(indices: Int64Array) -> list[Place | None]:
        lines = (("", line) for line in lines_of(source, documents))
        return [*find_places(indices.tolist(), lines, is_text=isinstance(content, str))]

    return find


def encoding_warnings(name: str, vocab: Vocab, text: str | bytes) -> tuple[str, ...]:
    """Return warnings about characters of a text outside the vocabulary of the model `name`, and
    about bytes that are parts of characters."""
    if isinstance(text, bytes):
        # Every byte from 128 on is a part of a longer character in UTF-8.
        num_parts = len(text) - len(text.translate(None, bytes(range(128, 256))))
        if not num_parts:
            return ()
        warning = (
            f"{counted(num_parts, 'byte')} of longer characters: each is shown, and labelled,"
            " as Latin-1."
        )
        return (warning,)

    num_unknown = vocab.num_unknown(vocab.encode(text))
    return unknown_warning(name, num_unknown=num_unknown, num_chars=len(text))

"""Read the texts that a program gives: a string, bytes, the path of a file, or a list of texts."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from charrnn.config.settings import Config
from charrnn.errors import (
    DataError,
    GivenTextWarning,
    NoColumnError,
    UsageError,
    counted,
    listed,
    warn,
)
from charrnn.text.cleaning import tidied
from charrnn.text.columns import has_column
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.documents import END, end_documents
from charrnn.text.sources import catalogued_settings, entry_of
from charrnn.text.text_files import FileRecord, Line, opened, start_in_utf_8
from charrnn.text.vocab import EncodedText, Typed, as_bytes

TextPiece = str | bytes | os.PathLike[str]
"""A text, or the path of a file that contains it."""
GivenText = TextPiece | Corpus | Sequence[TextPiece]
"""A text, the path of a file, a list of both, or a file that was read."""
FEW_UNKNOWN = 0.001
"""The share of unknown characters in a text from which on there is a warning about them."""
MAX_NAME_LENGTH = 1000
"""Characters of a text that could be the name of a file."""
_START_BYTES = 1 << 16
_TABLE = re.compile(r".*\.([ct]sv|smi|json|jsonl|ndjson)(\.gz)?", re.IGNORECASE | re.DOTALL)


def read_text_file(source: str | Sequence[str], config: Config) -> Corpus:
    """Read a file, a folder or standard input (-), or several of them, with a run's alphabet,
    encoding and documents; a text of the catalogue with the settings of the catalogue.

    Commands read `--text` by it, and get a `Corpus`, whose notes they show. A program's texts come
    in by `read_given`, of which a file is one of several forms. The files of a folder are sorted by
    path, and documents keep their order. Raises DataError if the text cannot be read or is empty.
    """
    sources = (source,) if isinstance(source, str) else tuple(source)
    # Texts that the catalogue reads in different ways are all read as the run reads its own.
    catalogued = [_as_catalogued(config, one) for one in sources]
    if all(one == catalogued[0] for one in catalogued):
        config = catalogued[0]
    # The values of a column, listed in a file that is no table, stand on lines of their own.
    if config.documents == "column" and not all(_is_table(one, config) for one in sources):
        config = replace(config, documents="lines", column=None)
    config = replace(config, corpus=sources, order="sorted")
    try:
        return read_corpus(config, is_for_training=False)
    except NoColumnError as error:
        # A command that reads by a run has no option for another column.
        raise DataError(
            f"{error.problem}: the run reads {config.column!r}; give one column that name, or a"
            " file with a text on each line"
        ) from error


def _as_catalogued(config: Config, source: str) -> Config:
    """Return the configuration with which a model reads a text of the catalogue or a .smi file.

    A text of the catalogue is given by its name, and would be read wrongly in the encoding of
    another run's text.

    It has the encoding of the catalogue and, if the model knows documents, the documents of the
    source. It is unchanged for any other source, and for the text on which the model was trained.
    """
    settings = catalogued_settings([source])
    entry = entry_of(source)

    # What the run was trained on is read as it was read for training, whatever the catalogue says
    # now.
    if source in config.corpus or not (entry or settings):
        return config
    source_config = Config(**settings)
    changed = config
    if config.alphabet != "byte" and entry is not None:
        changed = replace(changed, encoding=source_config.encoding)
    if config.documents != "none" and source_config.documents != "none":
        changed = replace(changed, documents=source_config.documents, column=source_config.column)
    return changed


def _is_table(source: str, config: Config) -> bool:
    """Whether a source has the column of a configuration: by its suffix, or by its beginning."""
    if _TABLE.fullmatch(source) is not None or os.path.isdir(source):
        return True
    if not os.path.isfile(source):
        return False
    with opened(Path(source)) as file:
        start = start_in_utf_8(file.read(_START_BYTES)).decode("utf-8", "replace")
    return has_column(start, column=config.column or "", label=source)


def read_path(path: os.PathLike[str], config: Config) -> Corpus:
    """Read a file as the run read its own text, with advice where something was changed. Raises
    DataError.

    A program that gives a `Path` gets the notes of `read_text_file` as warnings: there is no stderr
    to show them on.
    """
    corpus = read_text_file(os.fspath(path), config)
    for note in corpus.notes:
        warn(note, GivenTextWarning)
    return corpus


def read_given(text: GivenText, config: Config) -> str | bytes:
    """Return a text that a program gives to a model, as characters or bytes.

    It is for a text whose documents need no END, such as one that is searched for copies. A text
    that the model reads is made by `whole_text`, or by `text_to_continue` if the model goes on with
    it. A string stays as it is, with a warning if it is the name of a file. A file is read as the
    run read its own text. The texts of a list begin on lines of their own; for a model of
    documents, each is divided into documents. Raises DataError if a file cannot be read, UsageError
    for anything that is no text.
    """
    if isinstance(text, str | bytes):
        # Whoever forgets Path(…) would measure the loss of a file name without noticing.
        if isinstance(text, str) and len(text) <= MAX_NAME_LENGTH and os.path.isfile(text):
            warn(
                f"{text!r} is the name of a file, and is read as a text: give Path({text!r}) for"
                " what the file contains.",
                GivenTextWarning,
            )
        return as_read(text, config)
    if isinstance(text, os.PathLike):
        return read_path(text, config).content
    if isinstance(text, Corpus):
        return text.content

    # The texts of a list. An item is one value of a column, which may have several lines.
    kind = config.documents
    if kind == "column":
        kind = "files"
    pieces: list[bytes] = []
    has_bytes = False
    for item in texts_of(text):
        given = read_given(item, config)
        has_bytes |= isinstance(given, bytes)
        if kind == "none" and pieces and not pieces[-1].endswith(b"\n"):
            pieces.append(b"\n")
        pieces.append(as_bytes(_divided(given, kind)))
    joined = b"".join(pieces)
    # Bytes of one piece may be no valid UTF-8, so the whole stays bytes.
    return joined if has_bytes else joined.decode("utf-8", "surrogatepass")


def texts_of(texts: Iterable[TextPiece]) -> list[TextPiece]:
    """Return the texts of a list. Raises UsageError for anything that is no list of texts.

    Where each text of a list has a result of its own, they are taken apart by this; `read_given`
    makes one text of all.
    """
    # A dictionary is iterable, too, but nobody means its keys.
    if isinstance(texts, Iterable) and not isinstance(texts, Mapping):
        return list(texts)
    raise UsageError(
        f"{texts!r} is no text: give a string, bytes, a pathlib.Path of a file, or a list of these."
    )


def as_read(text: Typed, config: Config) -> Typed:
    """Return a typed text as the run has read its own: without what nobody sees, and with each
    letter and its accents in one character (NFC), unless it reads every file as it stands.

    Primes, stop strings and single characters go through it: an é that was typed as two characters
    would be unknown.
    """
    if isinstance(text, str) and config.composes:
        # The END of a document is no stray character here.
        return END.join(map(tidied, text.split(END)))
    return text


def whole_text(text: GivenText, config: Config, context: str | bytes = "") -> str | bytes:
    """Return a given text as a model reads it: for a model of documents, each ends in END.

    Losses, traces and studies read a text in this form. A string without END is divided as a file
    of the run is. A text with END is divided already, and one with a context may begin inside a
    document: both stay as they are.
    """
    # What follows a context continues a document of it.
    given = read_given(text, config)
    if context:
        return given
    return _divided(given, config.documents)


def text_to_continue(text: GivenText, config: Config) -> str | bytes:
    """Return a given text that a model continues: the end of its last document is left open.

    Samples, predictions and explanations of the next character read a text in this form. After an
    END, the model would begin another document.
    """
    given = read_given(text, config)
    # A document of a file is complete. After its END, a model would begin the next one.
    if isinstance(text, str | bytes) or config.end_id is None:
        return given
    return ended(given)[:-1]


def ended(text: str | bytes) -> str | bytes:
    """Return a text of documents whose last one ends in END, too.

    The probability of a whole document needs it: that it ends there is part of it.
    """
    if isinstance(text, bytes):
        return text.removesuffix(b"\0") + b"\0"
    return text.removesuffix(END) + END


def _divided(text: str | bytes, kind: str) -> str | bytes:
    """Return a text with an END after each of its documents, unless it has an END already."""
    # Bytes that are not UTF-8 are lone surrogates.
    characters = text
    if isinstance(characters, bytes):
        characters = characters.decode("utf-8", "surrogateescape")
    if kind == "none" or END in characters:
        return text
    # A text is no table: the values of a column stand on lines of their own.
    if kind == "column":
        kind = "lines"
    file = FileRecord(name="the text", label="the text")
    lines = end_documents([Line(number=1, content=characters)], kind, file=file)
    documents = "".join(line.content for line in lines)
    if isinstance(text, bytes):
        return documents.encode("utf-8", "surrogateescape")
    return documents


def unknown_warning(name: str, text: EncodedText) -> tuple[str, ...]:
    """Return a warning about the characters of a text that the model `name` does not know, and
    reads as no similar one; nothing for a few, which change no figure that is shown.

    A text in another script has a loss and a picture, too, which mean nothing.
    """
    num_unknown = text.vocab.num_unknown(text.ids[text.first :])
    if num_unknown < FEW_UNKNOWN * len(text):
        return ()
    unknown = f"{num_unknown:,} of {counted(len(text), 'character')} are unknown to {name}"
    return (f"{unknown}, which reads each as the unknown symbol.",)


def stand_in_notes(name: str, text: EncodedText) -> tuple[str, ...]:
    """Return a note on the characters of a text that the model `name` reads as similar ones: which
    they are, and what is read in their place.

    Commands show it below a text with curly quotes; what no similar character stands for is in
    `unknown_warning`.
    """
    if text.is_stand_in is None:
        return ()
    indices = np.flatnonzero(text.is_stand_in[text.first :])
    read: dict[str, list[str]] = {}
    for index in indices.tolist():
        known = text.vocab.character(int(text.ids[text.first + index]))
        written = read.setdefault(known, [])
        if text.text[index] not in written:
            written.append(text.text[index])
    pairs = listed(
        f"{' '.join(map(_shown, written))} as {_shown(known)}" for known, written in read.items()
    )
    return (f"{name} does not know all characters of this text, and reads {pairs}.",)


def _shown(characters: str) -> str:
    """Return characters as a note shows them: those without a picture by their names."""
    if characters.isprintable() and not characters.isspace():
        return characters
    names = {" ": "a blank", "\n": "a newline", "": "nothing"}
    return names.get(characters) or " ".join(f"U+{ord(one):04X}" for one in characters)

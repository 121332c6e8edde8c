"""Read the sources of a corpus, encode them as ids in memory or, if they are large, on disk, and
find the places of characters in their files."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.errors import DataError, counted
from charrnn.system.arrays import Int64Array
from charrnn.text.batches import release_pages
from charrnn.text.document_order import in_file_order
from charrnn.text.id_builder import BLOCK_BYTES
from charrnn.text.reader import SourceText, read_sources
from charrnn.text.sources import find_origins
from charrnn.text.text_files import EmptyTextError, FileRecord, split_lines
from charrnn.text.vocab import REPLACEMENT, IdArray, Vocab, as_bytes

MIN_LENGTH = 16
"""Minimum number of characters (or bytes) of a text on which a model can be trained."""

_MAX_NAME_LENGTH = 40


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place in a file, as editors count: lines and columns from 1.

    It leads from a passage or a line of a text back to the file of the user, where it can be read
    and mended.
    """

    file: str
    """The path of the file."""
    line: int
    """The line, from 1."""
    column: int
    """Characters of the line as it was read, or bytes of a text of bytes."""
    unit: str = "line"
    """`line`, or `paragraph` of a file that pandoc has read."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text of N characters (or bytes, for the byte alphabet) as ids, which may be mapped from a
    file.

    Training and measuring read it by slices, and nothing needs the whole text as a string: `text`
    decodes a part, and `places` leads back to the files. Characters outside the alphabet have id 0.
    They are recorded in `unknown`, so that the text can be decoded exactly.
    """

    source_text: SourceText
    """What was read of its sources, which can be read again."""
    vocab: Vocab
    """The alphabet of the ids."""
    ids: IdArray
    """(N,): uint8 if the alphabet has at most 256 entries, else uint16."""
    unknown: NDArray[np.void]
    """(U,): the characters outside the alphabet, in order of their position (`UNKNOWN_TYPE`)."""

    @classmethod
    def of(cls, text: SourceText, vocab: Vocab | None) -> "Corpus":
        """Encode a text that was read in an alphabet, by default in its own. Raises DataError for
        characters outside an alphabet without an unknown symbol, CharRNNError if ids cannot be
        written.

        It is for a `SourceText` whose text was looked at first, such as one whose digest was
        compared with that of a run; `read_corpus` does both steps.
        """
        config = text.config
        if vocab is None:
            vocab = Vocab.from_counts(
                text.counts, alphabet=config.alphabet, min_count=config.min_count
            )
        return cls(text, vocab, *text.encode(vocab))

    @property
    def name(self) -> str:
        """Short name for the run folder, of at most 40 of the characters [a-z0-9._-]: the name of
        its first source, and the number of further ones."""
        first, *others = self.source_text.origins
        suffix = ""
        if others:
            suffix = f"-and-{len(others)}-more"

        # Letters are decomposed, so that é becomes e and not a dash.
        plain = unicodedata.normalize("NFKD", first.name).encode("ascii", "ignore").decode().lower()
        slug = re.sub(r"[^a-z0-9._-]+", "-", plain).strip(".-")

        # A name in another script may become empty.
        short = slug[: _MAX_NAME_LENGTH - len(suffix)].rstrip(".-")
        return f"{short or 'text'}{suffix}"

    @property
    def files(self) -> Sequence[FileRecord]:
        """What was read of each of its files, in their order."""
        return self.source_text.files

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the text (of its UTF-8, for the char alphabet).

        A run records it, to know later whether the files still have the text that it learned.
        """
        return self.source_text.digest

    @property
    def notes(self) -> tuple[str, ...]:
        """The omissions and changes while the text was read, one sentence each.

        Whoever reads a text for a user shows them: they say what of a file was not learned.
        """
        return tuple(self.source_text.notes)

    def __len__(self) -> int:
        """Return N."""
        return len(self.ids)

    @property
    def content(self) -> str | bytes:
        """The whole text: bytes for the byte alphabet.

        It must fit into memory; `text` decodes a part.
        """
        return self.text()

    def text(self, begin: int = 0, end: int | None = None) -> str | bytes:
        """Decode characters [begin, end), including unknown characters; return bytes for the byte
        alphabet. Both are clipped as in a slice.

        `content` is the whole text.
        """
        begin, end, _ = slice(begin, end).indices(len(self.ids))
        ids = self.ids[begin:end]
        if self.vocab.kind == "byte":
            return ids.tobytes()

        # The characters are decoded as UTF-32, which is an array of code points and needs no loop
        # in Python. Then the unknown characters are inserted at their positions.
        point_of = [ord(character or REPLACEMENT) for character in self.vocab.characters]
        points = np.array(point_of, "<u4")[ids]
        first, last = np.searchsorted(self.unknown["position"], (begin, max(begin, end)))
        unknown = self.unknown[first:last]
        points[unknown["position"] - begin] = unknown["code_point"]
        return points.tobytes().decode("utf-32-le", "surrogatepass")

    def places(self, indices: Int64Array) -> list[Place | None]:
        """Read the files again to find the places (P,) of the characters with these indices; None
        for what is no longer in them. No more is read than necessary.

        Use it for the few characters that are shown to a user, all in one call, because the files
        are read from their beginnings.
        """
        config = self.source_text.config
        if config.end_id is not None:
            indices = in_file_order(indices, ids=self.ids, config=config)
        order = np.argsort(indices, kind="stable").tolist()
        places: list[Place | None] = [None] * len(order)
        begin = 0
        num_found = 0
        for file, piece in self.source_text.lines():
            if num_found == len(order):
                break
            # A piece may have many lines, of which most have no place.
            end = begin + self._length(piece.content)
            if indices[order[num_found]] >= end:
                begin = end
                continue
            unit = "paragraph" if file.is_read_by_pandoc else "line"
            for number, content in split_lines([piece]):
                end = begin + self._length(content)
                while num_found < len(order) and indices[order[num_found]] < end:
                    rank = order[num_found]
                    column = int(indices[rank]) - begin + 1
                    places[rank] = Place(file=file.name, line=number, column=column, unit=unit)
                    num_found += 1
                begin = end
        return places

    def _length(self, content: str) -> int:
        """Return the number of ids of a line that was read."""
        if self.vocab.kind == "char" or content.isascii():
            return len(content)
        return len(content.encode("utf-8", "surrogateescape"))

    def num_bytes(self, begin: int, end: int) -> int:
        """Count the bytes of characters [begin, end) in UTF-8.

        A loss in bits per byte needs the number, without the text in memory.
        """
        # The text is decoded block by block, because that of a large corpus is on disk.
        total = 0
        for first in range(begin, end, BLOCK_BYTES):
            total += len(as_bytes(self.text(first, min(end, first + BLOCK_BYTES))))
            release_pages(self.ids)
        return total


def read_corpus(
    config: Config, vocab: Vocab | None = None, *, is_for_training: bool = True
) -> Corpus:
    """Read the sources of a configuration in order into one corpus; without sources, read the
    source code of Python's standard library.

    Every text that a run learns comes in by it. A text that is only measured comes in by
    `given_text.read_text_file`, which reads it in the way of a run, or by `RecordedCorpus.read`,
    which reads a run's own text again and checks it. A source is one of:

    - "-": standard input, which must fit into memory;
    - a file; if its name ends with .gz, it is decompressed;
    - a folder: all files below it, in the order of the configuration, without hidden files and run
      folders;
    - a glob pattern: all files that it matches, in this order;
    - a name, which is looked up as a path, in CORPORA, in the folders of $CHARRNN_CORPORA (each
      also with .txt appended) and in the catalogue, whose text is downloaded into CORPORA.

    With the alphabets "char" and "exact", the text is decoded. Byte-order marks are removed, CRLF
    is replaced by LF, and each file starts on a new line. "byte" keeps the bytes as they are.
    Unusable files of folders and patterns are skipped and counted in `notes`; a file that is a
    source itself must be usable. In a text of documents each ends with END, all documents are
    brought into their own order, and nothing else separates the files.

    The text is encoded in `vocab`, by default in its own vocabulary (see `Vocab.from_counts`). A
    corpus for training adds its new characters to `vocab` if the configuration says so. The ids of
    a text of more than `MAX_BYTES_IN_MEMORY` are mapped from a file. A text that is not
    `is_for_training` must fit into memory.

    Raises DataError if a source cannot be found, read or used, or changes while it is read. If
    `is_for_training`, also raises DataError for a text that is shorter than `MIN_LENGTH` or repeats
    one character. Raises CharRNNError if the ids cannot be written.
    """
    # All sources are found before any is read, so that a wrong name is reported at once.
    origins = find_origins(config.corpus, config)

    # The text is counted as it is read, and encoded afterwards: its alphabet is known only at its
    # end.
    text = read_sources(origins, config)
    if is_for_training:
        _check_can_be_learned(text)
        if vocab is not None and config.extend_alphabet:
            vocab = vocab.extended(text.counts, min_count=config.min_count)
    else:
        text.check_fits()
        if not len(text.counts):
            raise EmptyTextError(f"{text.name} has nothing that somebody wrote: give another file")
    return Corpus.of(text, vocab)


def _check_can_be_learned(text: SourceText) -> None:
    text.check_parting()
    unit = "byte" if text.config.alphabet == "byte" else "character"
    num_chars = int(text.counts.sum())
    if num_chars < MIN_LENGTH:
        length = counted(num_chars, unit)
        raise DataError(
            f"{text.name}: {length} cannot be learned from; at least {MIN_LENGTH} are needed"
        )
    # A text of one character has nothing to learn: its loss is 0 from the first step on.
    if np.count_nonzero(text.counts) == 1:
        raise DataError(
            f"{text.name}: it has only one {unit}; at least 2 different ones are needed"
        )


CONTEXT_CHARS = 1 << 16
"""Maximum number of characters of context: far more than any measurement reads before a text."""


@dataclass(frozen=True)
class CorpusPart:
    """The N characters [begin, end) of a corpus (or bytes, for the byte alphabet). Only slices are
    decoded.

    `Model.held_out` and `training_text` return it, because a text may be larger than memory:
    `part[:1000]` is text, `len(part)` its length, and `evaluate` reads it block by block.
    """

    corpus: Corpus
    """The corpus."""
    begin: int
    """The index in the corpus at which the part begins."""
    end: int
    """The index after its last character."""

    def __len__(self) -> int:
        """Return N."""
        return self.end - self.begin

    def __getitem__(self, chars: slice) -> str | bytes:
        """Decode a slice of the characters, whose step is 1."""
        begin, end, _ = chars.indices(len(self))
        return self.corpus.text(self.begin + begin, self.begin + max(begin, end))

    def places(self, indices: Int64Array) -> list[Place | None]:
        """Return the places (P,) of characters of the part (`Corpus.places`).

        They say where a passage that was found by its index stands in the user's files.

        Args:
            indices: The indices (P,) of the characters in the part.

        Returns:
            A `Place` for each, or None for what is no longer in the files.

        Example:
            >>> import numpy as np
            >>> [place] = model.training_text().places(np.array([0]))
            >>> place.line, place.column
            (1, 1)
        """
        return self.corpus.places(self.begin + indices)

    @property
    def ids(self) -> IdArray:
        """(begin + N,): the ids of the whole context before the part, and of the part.

        A network that reads the part from the beginning of the corpus takes them; the ids of the
        part alone are `ids[begin:]`.
        """
        return self.corpus.ids[: self.end]

    @property
    def context(self) -> str | bytes:
        """The last `CONTEXT_CHARS` characters before the part.

        Give it to a method beside a slice from the beginning of the part: the model knows then what
        came before.
        """
        return self.corpus.text(max(0, self.begin - CONTEXT_CHARS), self.begin)

    @property
    def num_bytes(self) -> int:
        """Bytes of the part in UTF-8."""
        return self.corpus.num_bytes(self.begin, self.end)

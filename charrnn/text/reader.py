"""Read the text of files and streams: find out what each is, leave out what nobody wrote, count and
hash it, and then encode it in an alphabet."""

import io
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from itertools import accumulate, chain
from pathlib import Path
from typing import BinaryIO, Literal

from charrnn.errors import CharRNNError, DataError, NotHereError, TextChangedError, counted
from charrnn.system.files import LFS_POINTER, placeholder_in
from charrnn.system.progress import task, tell
from charrnn.text.cleaning import tidied, written_lines
from charrnn.text.cues import cue_format, parse_cues
from charrnn.text.documents import END, Documents, without_repeated
from charrnn.text.file_kinds import document_kind, is_pointer, why_not_text
from charrnn.text.id_builder import BLOCK_BYTES, EncodedBlock, IdBuilder, joined, mapped
from charrnn.text.messages import JSON_CHAT, find_stamps, messages_of_json, parse_chat
from charrnn.text.pandoc import read_document
from charrnn.text.reading_notes import describe_file, describe_skipped, notes_on_source
from charrnn.text.sources import Origin
from charrnn.text.text_files import (
    PIECE_CHARS,
    START_BYTES,
    Change,
    EmptyTextError,
    FileRecord,
    Line,
    check_memory,
    is_blank,
    opened,
    read_pieces,
    split_lines,
)
from charrnn.text.vocab import MAX_CHARACTERS, CharacterCounts, Vocab

MAX_BYTES_IN_MEMORY = 64 * 1024 * 1024
"""The ids of a corpus of more bytes are mapped from a temporary file."""
BEGINNING = 65_536
"""Characters by which the kind of a text is recognised."""

_BLOCK = 1 << 20
"""Bytes of a stream that are read at once."""


class SourceReader:
    """Read the text of files and streams in a `with` block.

    The text is read when the block is entered; its ids can be encoded inside the block.
    """

    counted: CharacterCounts
    """`Corpus.counted`"""
    digest: str
    """`Corpus.digest`"""

    def __init__(
        self,
        origins: Sequence[Origin],
        *,
        alphabet: str,
        encoding: str,
        documents: Documents | None = None,
        joins_lines: bool = False,
        is_cleaned: bool = True,
        stays_in_memory: bool = False,
        kept_texts: Mapping[str, str] | None = None,
    ) -> None:
        """Look up the sizes of the files without reading them. A text that `stays_in_memory` must
        fit into memory. One that `is_cleaned` is read as `Config.clean` says. `kept_texts` are
        those of documents that a run has kept, by their digests."""
        self.origins = origins
        self.labels = tuple(origin.label for origin in origins)
        self.name = f"the {len(origins)} sources together"
        if len(origins) == 1:
            self.name = self.labels[0]
        self.documents = documents
        """As in `Corpus`."""
        self.document_texts = dict(kept_texts or {})
        """The texts of the files that pandoc has read."""
        self.files: list[FileRecord] = []
        """What was read of each file, in order."""

        # Bytes are taken as they are; characters are decoded. What could not be read at all is read
        # for every model; only its own text is as it was.
        self.kind: Literal["char", "byte"] = "byte" if alphabet == "byte" else "char"
        self._encoding = None if alphabet == "byte" else encoding
        self._is_cleaned = is_cleaned and alphabet != "byte"
        self._joins_lines = joins_lines
        self._stays_in_memory = stays_in_memory
        self._builder = IdBuilder(self.kind, None if stays_in_memory else MAX_BYTES_IN_MEMORY)
        self._skipped: dict[str, dict[str, str]] = {}
        """Of each source, the names of the files that cannot be used, and why."""
        self._kept: dict[str, bytes] = {}
        """Streams and pipes that can be read only once, by their names."""
        self._num_bytes = file_bytes(origins)

    def __enter__(self) -> "SourceReader":
        """Read the text. Raises DataError if a named file or all files of a source are unusable,
        NotHereError for a folder without files."""
        try:
            with task("reading", total=self._num_bytes, unit="B") as advance:
                seen: set[str] = set()
                for origin in self.origins:
                    self._read_source(origin, seen, advance)
            self.counted = self._builder.counts()
        except OSError as error:  # The temporary file; errors of the sources are DataErrors.
            self.__exit__()
            raise self._write_error(error) from error
        except BaseException:  # An interrupt must also close the file.
            self.__exit__()
            raise

        # The text is hashed as it is read, before the documents are brought into their order.
        self.digest = self._builder.digest
        if self.documents is not None:
            self.digest = self.documents.digest(self.digest)
        return self

    def __exit__(self, *_: object) -> None:
        if self._builder.file is not None:
            with suppress(OSError):  # The disk may be full.
                self._builder.file.close()

    def own_vocab(
        self, *, min_count: int, max_size: int = MAX_CHARACTERS, is_exact: bool = False
    ) -> Vocab:
        """Return the alphabet of this text (see `Vocab.from_counts`). Raises DataError if no
        character is kept."""
        if self.kind == "byte":
            return Vocab.of_bytes()
        return Vocab.from_counts(
            self.counted, min_count=min_count, max_size=max_size, is_exact=is_exact
        )

    def encode(self, vocab: Vocab) -> EncodedBlock:
        """Encode the text in an alphabet. Returns `Corpus.ids` and `Corpus.unknown`; must be called
        only once.

        Raises CharRNNError if the ids of a large text cannot be written.
        """
        blocks = self._builder.encode(vocab)
        store: Callable[[Iterable[EncodedBlock]], EncodedBlock] = joined
        if self._builder.file is not None:
            # If the text is too large for memory, its ids are, too.
            store = partial(mapped, vocab=vocab)
        try:
            encoded = store(blocks)
            if self.documents is not None:
                encoded = store(self.documents.arrange(encoded, vocab))
            return encoded
        except OSError as error:
            raise self._write_error(error) from error

    def _write_error(self, error: OSError) -> CharRNNError:
        num_bytes = counted(max(self._num_bytes, self._builder.num_bytes), "byte")
        return CharRNNError(
            f"cannot write to {tempfile.gettempdir()}: {error.strerror or error} ({num_bytes}"
            " needed)\nfree some space, or set TMPDIR to a folder on another disk"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """The omissions and changes in each source, one sentence each."""
        notes: list[str] = []
        sources = {origin.label: origin for origin in self.origins}
        for label, origin in sources.items():
            files = [file for file in self.files if file.label == label]
            skipped = self._skipped[label]
            notes += notes_on_source(origin, skipped, files, documents=self.documents)

        # Describe each change once: the shell may have named a hundred chapters.
        totals: Counter[Change] = Counter()
        for file in self.files:
            totals += file.changes
        for change, num in totals.items():
            labels = {file.label for file in self.files if file.changes[change]}
            label = f"{len(labels)} sources"
            if len(labels) == 1:
                label = labels.pop()
            noun, note = change
            notes.append(note.format(num=counted(num, noun), label=label))
        return tuple(notes)

    def _read_source(
        self, origin: Origin, seen: set[str], advance: Callable[[int], object]
    ) -> None:
        """Read the files or the stream of a source. Raises DataError, TextChangedError if a file
        changes while it is read."""
        skipped: dict[str, str] = {}
        self._skipped[origin.label] = skipped
        num_before = len(self.files)
        first_fault: DataError | None = None
        for name in [str(path) for path in origin.paths] or [origin.label]:
            file = FileRecord(name=name, label=origin.label)
            try:
                self._read_file(origin, file, seen, advance)
            except TextChangedError:
                raise
            except DataError as fault:
                # The fault may be behind the first piece of a large file.
                if not origin.skips_unusable or file.num_bytes:
                    raise
                skipped[os.path.basename(name)] = (
                    str(fault).splitlines()[0].removeprefix(f"{name} ")
                )
                first_fault = first_fault or fault
            else:
                self.files.append(file)

        if len(self.files) > num_before:
            return
        # An error of columns lists those that are there.
        if first_fault is not None and self._has_column:
            raise first_fault
        if not skipped:
            raise NotHereError(
                origin.label, f"{origin.label} is an empty folder: give one with text files"
            )
        raise DataError(
            f"{origin.label} has no file to learn from (skipped"
            f" {describe_skipped(origin, skipped)}): give one with text"
        )

    def _read_file(
        self, origin: Origin, file: FileRecord, seen: set[str], advance: Callable[[int], object]
    ) -> None:
        builder = self._builder
        lines = self._file_lines(file, origin.stream)
        if self.documents is not None and self.documents.are_unique:
            lines = without_repeated(lines, seen=seen, file=file)
        # An unusable file is mostly known by its beginning.
        held = _held(lines)

        # Each file starts on a new line.
        if self._is_running_text and not builder.ends_line:
            builder.add("\n")
        file.begin = builder.num_bytes
        for _, content in chain(held, lines):
            before = builder.num_bytes
            builder.add(content)
            file.num_bytes = builder.num_bytes - file.begin
            advance(builder.num_bytes - before)
            if before // BLOCK_BYTES < builder.num_bytes // BLOCK_BYTES:
                self._check_memory()
        self._check_memory()
        describe_file(file)

    def _check_memory(self) -> None:
        if self._stays_in_memory:
            check_memory(self.name, self._builder.num_bytes)

    @property
    def _is_running_text(self) -> bool:
        """Whether files are joined: documents have their own ends, and bytes stay as they are."""
        return self.kind == "char" and self.documents is None

    @property
    def _has_column(self) -> bool:
        return self.documents is not None and self.documents.kind == "column"

    def lines(self) -> Iterator[tuple[str, Line]]:
        """Read the text again, before its documents are brought into their order: yield its lines,
        each after the name of its file. They end before a stream that was not kept."""
        ends_line = True
        seen: set[str] = set()
        for file in self.files:
            if file.name not in self._kept and not Path(file.name).is_file():
                return
            if self._is_running_text and not ends_line:
                yield file.name, Line(1, "\n")
            again = FileRecord(name=file.name, label=file.label)
            lines = self._file_lines(again, None)
            if self.documents is not None and self.documents.are_unique:
                lines = without_repeated(lines, seen=seen, file=again)
            for line in lines:
                yield file.name, line
                ends_line = line.content.endswith("\n")

    def _file_lines(self, file: FileRecord, stream: BinaryIO | None) -> Iterator[Line]:
        """Yield the lines of the text of a file, with the numbers that they have in the file."""
        path = Path(file.name)
        if file.name in self._kept:
            yield from self._lines_of(io.BytesIO(self._kept[file.name]), file)
            return
        if stream is None and path.is_file():
            with opened(path) as content:
                yield from self._lines_of(content, file)
            return

        # A stream, a pipe and a device can be read only once.
        if stream is None or stream.isatty():
            tell(f"Waiting for a text from {file.name}; Ctrl-D ends one that is typed ...")
        # In blocks: one read of all memory would need all of it at once.
        data = io.BytesIO()
        with opened(path) if stream is None else nullcontext(stream) as content:
            while block := content.read(_BLOCK):
                data.write(block)
                check_memory(self.name, data.tell())
        if self._stays_in_memory:
            self._kept[file.name] = data.getvalue()
        data.seek(0)
        yield from self._lines_of(data, file)

    def _lines_of(self, content: BinaryIO, file: FileRecord) -> Iterator[Line]:
        """Yield the lines of a file without what nobody wrote, tidied, joined and divided into
        documents."""
        pieces = self._pieces_of(content, file)
        first = next(pieces, None)
        if first is None or not first.content:
            raise EmptyTextError(f"{file.name} is empty: give a file with text in it")
        file.start = first.content[:BEGINNING]

        # The values of a column are known only when its table is read.
        lines: Iterable[Line] = chain((first,), pieces)
        if self._is_cleaned and not self._has_column:
            lines = chain(self._written(first, pieces, file), pieces)
        # Nobody sees the lines of a document: they are counted as paragraphs.
        if file.is_document:
            lines = _by_paragraph(first.content, lines)
        if self._is_cleaned and not self._has_column:
            lines = map(partial(_tidied, file=file), lines)
        if self._joins_lines:
            # Its regular expressions take a twentieth of the start of `sample`.
            from charrnn.text.paragraphs import join_lines

            lines = join_lines(split_lines(lines))
        if self.documents is not None:
            lines = self.documents.read(lines, file)
        if self._is_cleaned and self._has_column:
            lines = map(partial(_tidied, file=file), lines)
        yield from lines

    def _pieces_of(self, content: BinaryIO, file: FileRecord) -> Iterator[Line]:
        """Yield a file in pieces of whole lines; of a document, its text."""
        start = content.read(START_BYTES)
        # A page may be the wanted text, but a pointer to a text never is.
        if start.startswith(LFS_POINTER):
            raise DataError(f"{file.name} {placeholder_in(start)}")
        if self._is_cleaned and is_pointer(start):
            raise DataError(f"{file.name} stands for a document that is elsewhere: export that one")

        # The names of the files in a ZIP archive are at its end.
        kind = None
        if self._encoding is not None:
            if start.startswith(b"PK"):
                start += content.read()
            if self._is_cleaned or self._stays_in_memory:
                kind = document_kind(start, is_cleaned=self._is_cleaned)
            if kind is None and (reason := why_not_text(start)):
                raise DataError(f"{file.name} {reason}")
        content.seek(0)
        pieces = read_pieces(file.name, content, self._encoding, allows_nul=self._is_cleaned)
        if kind is None:
            yield from pieces
            return

        # A document in characters is decoded first, as any text is, with the same errors.
        if start.startswith(b"PK"):
            data = content.read()
        else:
            data = "".join(piece.content for piece in pieces).encode()
        check_memory(file.name, len(data))
        file.is_document = True
        file.changes["file", f"read {{num}} of {{label}} by pandoc ({kind.what})"] += 1
        yield Line(1, read_document(file.name, data, kind, texts=self.document_texts))

    def _written(self, first: Line, pieces: Iterator[Line], file: FileRecord) -> Sequence[Line]:
        """Return the lines of a file that somebody wrote, or those of its first piece. A chat and
        subtitles are parsed as a whole."""
        start = file.start
        if not (cue_format(start) or JSON_CHAT.match(start) or find_stamps(start)):
            return written_lines(first.content, file.changes)
        text = "".join(line.content for line in chain((first,), pieces))
        check_memory(file.name, len(text))
        said = None
        if format := cue_format(start):
            said = parse_cues(file.name, text, format, file.changes)
        elif JSON_CHAT.match(start):
            said = messages_of_json(text, file.changes)
        else:
            said = parse_chat(text, file.changes)
        file.is_parsed = said is not None
        return [Line(1, text)] if said is None else said


def _held(lines: Iterator[Line]) -> list[Line]:
    """Return the lines of the beginning of a file, mostly all of them."""
    held = []
    num_chars = 0
    for line in lines:
        held.append(line)
        num_chars += len(line.content)
        if num_chars >= PIECE_CHARS:
            break
    return held


def _by_paragraph(text: str, lines: Iterable[Line]) -> Iterator[Line]:
    """Yield lines of a text by themselves, each after the number of its paragraph."""
    numbers = list(accumulate(not is_blank(line) for line in text.split("\n")))
    for number, content in split_lines(lines):
        yield Line(max(1, numbers[number - 1]), content)


def _tidied(line: Line, file: FileRecord) -> Line:
    # The END of a document is no stray character.
    content = line.content
    if content[-1:] == END:
        content = content[:-1]
    return Line(line.number, tidied(content, file.changes) + line.content[len(content) :])


def file_bytes(origins: Iterable[Origin]) -> int:
    """Return the size of all files of some sources together, as they are on the disk."""
    num_bytes = 0
    for origin in origins:
        for path in origin.paths:
            with suppress(OSError):  # The file is missing, which is reported when it is read.
                num_bytes += os.stat(path).st_size
    return num_bytes

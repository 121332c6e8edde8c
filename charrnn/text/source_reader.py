"""Read the text of files and streams: count and hash it while it is read, then encode it in an
alphabet."""

import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Literal

from charrnn.errors import (
    CharRNNError,
    DataError,
    NotHereError,
    TextChangedError,
    counted,
    named,
    shortened,
)
from charrnn.system.progress import Task, task, tell
from charrnn.text.cleaning import (
    BEGINNING,
    cleaner,
    composed,
    composed_blocks,
)
from charrnn.text.columns import SMILES, describe_columns, describe_start
from charrnn.text.documents import (
    Documents,
    alternates,
    looks_like_list,
    without_repeated,
)
from charrnn.text.file_kinds import DOCUMENTS, MARKUP, Kind, describe_kind, joining_pairs, why_torn
from charrnn.text.id_builder import BLOCK_BYTES, EncodedBlock, IdBuilder, joined, mapped
from charrnn.text.places import PlacedLine
from charrnn.text.sources import Origin, is_smiles_file
from charrnn.text.text_files import (
    Change,
    Line,
    Tally,
    check_memory,
    file_blocks,
    file_lines,
    is_blank,
    stream_blocks,
    without_gz,
)
from charrnn.text.vocab import MAX_CHARACTERS, CharacterCounts, Vocab

MAX_BYTES_IN_MEMORY = 64 * 1024 * 1024
"""The ids of a corpus of more bytes are mapped from a temporary file."""
MANY_FILES = 50
"""If at least this many short files are joined, a note says so."""
SHORT_FILE = 2_000
"""Files are short if their mean size in bytes is below this."""
SEVERAL_FILES = 10
"""Number of files from which on a note says that one has more than half of the text."""
MOST_NAMED = 10
"""Number of skipped files that are named at most."""
FileBlocks = tuple[str, Iterator[bytes]]
"""The name of a file and its content in blocks."""
_PART = re.compile(rb"[^\0]*\0|[^\0]+")
"""Matches a part of a document up to its END, or to the end of a block."""
_TWO_FIELDS = re.compile(rb"\S[ \t]+\S")


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
    ) -> None:
        """Look up the sizes of the files without reading them. A text that `stays_in_memory` must
        fit into memory. One that `is_cleaned` is read as `Config.clean` says."""
        self.origins = origins
        self.labels = tuple(origin.label for origin in origins)
        self.name = f"the {len(origins)} sources together"
        if len(origins) == 1:
            self.name = self.labels[0]

        # Bytes are taken as they are; characters are decoded.
        self.kind: Literal["char", "byte"] = "char"
        self._encoding: str | None = encoding
        if alphabet == "byte":
            self.kind = "byte"
            self._encoding = None
        self.documents = documents
        """As in `Corpus`."""
        self._joins_lines = joins_lines
        self._is_cleaned = is_cleaned and alphabet != "byte"
        # What could not be read at all is read for every model; only its own text is as it was.
        self._documents_read: Sequence[Kind] = ()
        if self._is_cleaned:
            self._documents_read = MARKUP
        elif stays_in_memory:
            self._documents_read = DOCUMENTS
        self._stays_in_memory = stays_in_memory
        max_bytes = None if stays_in_memory else MAX_BYTES_IN_MEMORY
        self._builder = IdBuilder(self.kind, max_bytes)
        self._tallies: list[Tally] = []
        self._seen: set[int] = set()
        """The hashes of the documents, if they must not repeat each other."""
        self._used: list[str] = []
        """The names of the files and streams that make up the text, in order."""
        self._kept: dict[str, list[bytes]] = {}
        """Streams and pipes that can be read only once, by their names."""

        # The size of streams, devices and compressed files is unknown before they are read. Then
        # the progress has no total, and the memory is checked while they are read.
        sizes = [_size_of(path) for origin in origins for path in origin.paths]
        self._num_bytes = sum(size or 0 for size in sizes)
        self._is_sized = None not in sizes and not any(origin.stream for origin in origins)

    def __enter__(self) -> "SourceReader":
        """Read the text. Raises DataError if a source cannot be used or does not fit into
        memory."""
        try:
            self._read()
        except BaseException:  # An interrupt must also close the file.
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._builder.file is not None:
            with suppress(OSError):  # The disk may be full.
                self._builder.file.close()

    def _read(self) -> None:
        """Read the sources in order.

        Raises DataError if a named file or all files of a source are unusable, NotHereError for a
        folder without files.
        """
        try:
            with task(
                "reading", total=self._num_bytes if self._is_sized else 0, unit="B"
            ) as advance:
                for origin in self.origins:
                    self._tallies.append(self._read_source(origin, advance))
            self.counted = self._builder.counts()
        except OSError as error:  # The temporary file; errors of the sources are DataErrors.
            raise self._write_error(error) from error

        # The text is hashed as it is read, before the documents are brought into their order.
        self.digest = self._builder.digest
        if self.documents is not None:
            self.digest = self.documents.digest(self.digest)

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
        if self._builder.file is None:
            if self.documents is not None:
                blocks = self.documents.arrange(blocks, vocab, scratch=None)
            return joined(blocks)

        # If the text is too large for memory, its ids are, too. Documents need a second file to
        # bring them into their order.
        blocks = self._watched(blocks)
        try:
            if self.documents is None:
                return mapped(blocks, vocab)
            with tempfile.TemporaryFile() as scratch:
                return mapped(self.documents.arrange(blocks, vocab, scratch=scratch), vocab)
        except OSError as error:
            raise self._write_error(error) from error

    def _watched(self, blocks: Iterator[EncodedBlock]) -> Iterator[EncodedBlock]:
        """Yield the blocks unchanged, and report the progress."""
        with task("encoding", total=self.counted.num_chars) as advance:
            for ids, unknown in blocks:
                yield ids, unknown
                advance(len(ids))

    def _write_error(self, error: OSError) -> CharRNNError:
        num_bytes = counted(max(self._num_bytes, self._builder.num_bytes), "byte")
        return CharRNNError(
            f"cannot write to {tempfile.gettempdir()}: {error.strerror or error} ({num_bytes}"
            " needed)\nfree some space, or set TMPDIR to a folder on another disk"
        )

    @property
    def documents_read(self) -> frozenset[str]:
        """The names of the files whose text pandoc has read."""
        return frozenset(chain.from_iterable(tally.documents for tally in self._tallies))

    @property
    def notes(self) -> tuple[str, ...]:
        """The omissions and changes in each source, one sentence each."""
        notes: list[str] = []
        for origin, tally in zip(self.origins, self._tallies, strict=True):
            notes += _notes(origin, tally)

        notes += self._change_notes()
        notes += self._reading_notes()

        # Many short files are often poems or letters: joined, the model cannot learn their ends.
        num_used = sum(tally.num_used for tally in self._tallies)
        is_short = self._builder.num_bytes < SHORT_FILE * num_used
        if self.documents is None and num_used >= MANY_FILES and is_short:
            remedy = named("documents", "files")
            notes.append(f"{num_used:,} short files are joined: {remedy} gives each an end")
        return tuple(notes)

    def _change_notes(self) -> Iterator[str]:
        """Describe each change once: the shell may have named a hundred chapters."""
        total: Counter[Change] = sum((tally.changes for tally in self._tallies), Counter())
        for change, num in total.items():
            read = zip(self.labels, self._tallies, strict=True)
            labels = [label for label, tally in read if tally.changes[change]]
            label = labels[0]
            if len(labels) > 1:
                label = f"{len(labels)} sources"
            noun, note = change
            yield note.format(num=counted(num, noun), label=label)

    def _reading_notes(self) -> Iterator[str]:
        """Describe how the first file of each source is read, if its name or its lines suggest
        another way, or if a column is given by its position."""
        for origin in self.origins:
            for path in origin.paths[:1]:
                # A pipe cannot be read again.
                if path.is_file():
                    for note in self._notes_on_reading(path):
                        yield f"{origin.label} {note}"

    def _notes_on_reading(self, path: Path) -> Iterator[str]:
        documents = self.documents
        blocks = self._blocks(path, tally=Tally(), needs_regular=True)
        try:
            if documents is not None and documents.column is not None:
                if start := describe_start(blocks, column=documents.column, label=str(path)):
                    yield start
                return
            head = next(blocks)
        except DataError:  # An unusable file of a folder is skipped.
            return

        # Look first for other notations, then for fields, then for lines that may be documents.
        kind = "none"
        if documents is not None:
            kind = documents.kind
        begin = head[:BEGINNING]
        if described := describe_kind(begin, str(path)):
            yield described
        elif kind == "blank-lines" and alternates(begin):
            yield f"has records of two paragraphs, which are torn: {joining_pairs(str(path))}"
        elif kind == "none" and (
            columns := describe_columns(chain((head,), blocks), start=head, label=str(path))
        ):
            yield columns
        elif is_smiles_file(str(path)) and _TWO_FIELDS.search(head):
            remedy = f"{named('column', SMILES)} reads the molecules alone"
            yield f"is read with all that follows the molecules: {remedy}"
        elif kind == "none" and not cleaner(head) and looks_like_list(begin):
            remedy = f"{named('documents', 'lines')} makes each a document"
            yield f"is read as running text, but its lines look like a list: {remedy}"

    def _read_source(self, origin: Origin, advance: Task) -> Tally:
        builder = self._builder
        tally = Tally()
        for name, blocks in self._files(origin, tally):
            tally.num_used += 1
            self._used.append(name)
            # Each file starts on a new line.
            if self._is_running_text and not builder.ends_line:
                builder.add(b"\n")
            begin = builder.num_bytes
            for block in self._without_repeated(blocks, tally):
                # A text of unknown size must fit into memory, even if it is stored in a file: a
                # stream or a small compressed file could fill the folder of temporary files, which
                # is often in memory, without any warning.
                if self._stays_in_memory or not self._is_sized:
                    check_memory(self.name, builder.num_bytes + len(block))
                builder.add(block)
                advance(len(block))
            num_bytes = builder.num_bytes - begin
            tally.num_bytes += num_bytes
            tally.largest = max(tally.largest, (num_bytes, name))
        # A lock file among the files that the shell has named is no mistake of the user.
        if tally.num_used == 0 and not (origin.num_locks and len(self.origins) > 1):
            raise _no_file(origin, tally)
        return tally

    def _without_repeated(self, blocks: Iterator[bytes], tally: Tally) -> Iterator[bytes]:
        if self.documents is None or not self.documents.are_unique:
            return blocks
        # Here and not where documents are divided: a file of a folder may be read twice.
        parts = (PlacedLine("", 0, part) for block in blocks for part in _PART.findall(block))
        lines = without_repeated(parts, seen=self._seen, tally=tally)
        return in_blocks(line.content for line in lines)

    @property
    def _is_running_text(self) -> bool:
        """Whether files are joined: documents have their own ends, and bytes stay as they are."""
        return self.kind == "char" and self.documents is None

    def lines(self) -> Iterator[PlacedLine]:
        """Read the text again, before its documents are brought into their order: yield its lines.
        They end before a stream that was not kept."""
        if self.documents is None or not self.documents.are_unique:
            return self._lines_read()
        return without_repeated(self._lines_read(), seen=set(), tally=Tally())

    def _lines_read(self) -> Iterator[PlacedLine]:
        ends_line = True
        for name in self._used:
            cuts: dict[int, list[tuple[int, int]]] = {}
            tally = Tally(cuts=cuts)
            blocks: Iterable[bytes] = self._kept.get(name, ())
            if not blocks:
                path = Path(name)
                if not path.is_file():
                    return
                blocks = self._blocks(path, tally=tally, needs_regular=True)
            if self._is_running_text and not ends_line:
                yield PlacedLine(name, 1, b"\n")
            for number, line in self._divided(iter(blocks), label=name, tally=tally):
                if self._is_cleaned:
                    line = composed(line, tally)
                yield PlacedLine(name, number, line, cuts.get(number, ()))
                ends_line = line.endswith(b"\n")

    def _files(self, origin: Origin, tally: Tally) -> Iterator[FileBlocks]:
        """Yield the name and the blocks of each usable file or of the stream of a source; count
        unusable files in `tally`.

        Raises DataError for a named file that is unusable, TextChangedError for a file that changes
        while it is read.
        """
        if origin.stream is not None:
            if origin.stream.isatty():
                tell("Waiting for a text on standard input; Ctrl-D ends it ...")
            content = stream_blocks(
                origin.label,
                stream=origin.stream,
                encoding=self._encoding,
                tally=tally,
                documents=self._documents_read,
            )
            yield origin.label, self._documents_in(content, label=origin.label, tally=tally)
        elif origin.skips_unusable:
            yield from self._usable_files(origin, tally)
        else:
            for path in origin.paths:
                if path.is_fifo() and not origin.needs_regular:
                    tell(f"Waiting for a program that writes a text into the pipe {path} ...")
                yield str(path), self._file(path, origin=origin, tally=tally)

    def _usable_files(self, origin: Origin, tally: Tally) -> Iterator[FileBlocks]:
        """Yield the name and the blocks of each usable file of a folder or a pattern."""
        first_fault: DataError | None = None
        for path in origin.paths:
            # Even the last byte may show that a file is unusable, so it is read to its end first. A
            # file of one block is kept in memory; a longer file is read twice.
            changes = Tally()
            blocks = self._file(path, origin=origin, tally=changes)
            try:
                first_block = next(blocks)
                is_long = next(blocks, None) is not None
                for _ in blocks:
                    pass
            except TextChangedError:
                raise
            except DataError as error:
                tally.num_pointers += changes.num_pointers
                if changes.num_pointers:
                    continue
                tally.skipped.append(path.name)
                if first_fault is None:
                    first_fault = error
                continue

            tally.add_changes(changes)
            if is_long:
                yield str(path), self._file(path, origin=origin, tally=Tally())
            else:
                yield str(path), iter((first_block,))

        # The fault may be a single line of a large file. If no file has the column, the error is
        # raised, because it lists the columns.
        if first_fault is None:
            return
        which = ""
        if len(tally.skipped) > 1:
            which = "first: "
        tally.fault = f" ({which}{str(first_fault).splitlines()[0]})"
        has_column = self.documents is not None and self.documents.kind == "column"
        if has_column and tally.num_used == 0:
            raise first_fault

    def _file(self, path: Path, origin: Origin, tally: Tally) -> Iterator[bytes]:
        blocks = self._blocks(path, tally=tally, needs_regular=origin.needs_regular)
        return self._documents_in(blocks, label=str(path), tally=tally)

    def _blocks(self, path: Path, tally: Tally, *, needs_regular: bool) -> Iterator[bytes]:
        """Yield the text of a file, before anything is left out of it."""
        return file_blocks(
            path,
            encoding=self._encoding,
            tally=tally,
            needs_regular=needs_regular,
            documents=self._documents_read,
        )

    def _documents_in(
        self, blocks: Iterator[bytes], *, label: str, tally: Tally
    ) -> Iterator[bytes]:
        if self._stays_in_memory and not Path(label).is_file():
            blocks = self._keeping(blocks, label)
        start = next(blocks)
        blocks = chain((start,), blocks)
        # A column of JSON is one text, and all that a record has would be several.
        has_column = self.documents is not None and self.documents.kind == "column"
        if self._is_cleaned and not has_column and (reason := why_torn(start[:BEGINNING], label)):
            raise DataError(f"{label} {reason}")

        # The lines of a text that nothing changes need not be looked at.
        has_changes = self.documents is not None or self._joins_lines
        if has_changes or (self._is_cleaned and cleaner(start)):
            lines = self._divided(blocks, label=label, tally=tally)
            blocks = in_blocks(line for _, line in lines)
        if self._is_cleaned:
            blocks = composed_blocks(blocks, tally)
        yield from blocks

    def _keeping(self, blocks: Iterator[bytes], label: str) -> Iterator[bytes]:
        kept = self._kept.setdefault(label, [])
        for block in blocks:
            kept.append(block)
            yield block

    def _divided(self, blocks: Iterator[bytes], *, label: str, tally: Tally) -> Iterator[Line]:
        """Yield the lines of the text of one file, with the numbers that they have in the file; of
        a document that pandoc has read, those of its paragraphs."""
        start = next(blocks)
        lines = file_lines(chain((start,), blocks))
        # Nobody sees the lines of a document that pandoc has made.
        if label in tally.documents:
            lines = _numbered_by_paragraph(lines)
        if self._is_cleaned and (clean := cleaner(start)):
            lines = clean(lines, tally)
        if self._joins_lines:
            # Its regular expressions take a twentieth of the start of `sample`.
            from charrnn.text.paragraphs import join_lines

            lines = join_lines(lines)
        if self.documents is not None:
            lines = self.documents.read(lines, label=label, tally=tally)
        yield from lines


def _numbered_by_paragraph(lines: Iterable[Line]) -> Iterator[Line]:
    number = 0
    for _, line in lines:
        number += not is_blank(line)
        yield max(1, number), line


def in_blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines into blocks."""
    # A small file is one block.
    pieces: list[bytes] = []
    num_bytes = 0
    for line in lines:
        pieces.append(line)
        num_bytes += len(line)
        if num_bytes >= BLOCK_BYTES:
            yield b"".join(pieces)
            pieces = []
            num_bytes = 0
    if pieces:
        yield b"".join(pieces)


def _size_of(path: Path) -> int | None:
    """Return the size of a file; None if it is missing, compressed or not a regular file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if without_gz(path.name) != path.name or not stat.S_ISREG(status.st_mode):
        return None
    return status.st_size


def file_bytes(origins: Iterable[Origin]) -> int:
    """Return the size of all files of some sources together, as they are on the disk."""
    num_bytes = 0
    for origin in origins:
        for path in origin.paths:
            with suppress(OSError):  # The file is missing, which is reported when it is read.
                num_bytes += os.stat(path).st_size
    return num_bytes


def _skipped(origin: Origin, tally: Tally) -> str:
    skipped = []
    if tally.skipped:
        names = ", ".join(map(shortened, tally.skipped[:MOST_NAMED]))
        if len(tally.skipped) > MOST_NAMED:
            names += ", …"
        skipped.append(f"{counted(len(tally.skipped), 'file')} ({names})")
    if tally.num_pointers:
        pointers = counted(tally.num_pointers, "Git LFS pointer")
        skipped.append(f"{pointers} (git lfs pull fetches the files themselves)")
    if origin.num_hidden:
        skipped.append(counted(origin.num_hidden, "hidden name"))
    if origin.num_locks:
        skipped.append(counted(origin.num_locks, "lock file"))
    if origin.num_runs:
        skipped.append(counted(origin.num_runs, "run"))
    return " and ".join(skipped)


def _no_file(origin: Origin, tally: Tally) -> DataError:
    if skipped := _skipped(origin, tally):
        return DataError(
            f"{origin.label} has no file to learn from (skipped: {skipped}){tally.fault}: give one"
            " with text"
        )
    return NotHereError(
        origin.label, f"{origin.label} is an empty folder: give one with text files"
    )


def _notes(origin: Origin, tally: Tally) -> Iterator[str]:
    skipped = _skipped(origin, tally)
    if skipped:
        yield f"skipped {skipped} in {origin.label}{tally.fault}"

    # A drawing that is saved as text may be larger than all notes together.
    num_largest, largest = tally.largest
    if tally.num_used >= SEVERAL_FILES and num_largest > tally.num_bytes / 2:
        share = 100 * num_largest / tally.num_bytes
        yield (
            f"{share:.0f} % of the text of {origin.label} is one file, {shortened(largest)}: leave"
            " it out if it is of another kind"
        )

    # What the reading has changed in the text.
    if origin.is_shuffled and tally.num_used > 1:
        yield (
            f"shuffled the {tally.num_used:,} files of {origin.label}: the validation text comes"
            " from all of it"
        )

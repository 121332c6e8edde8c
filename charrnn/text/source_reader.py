"""Reads the text of files and streams: once to count and to hash it, then its ids are encoded in an
alphabet."""

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Literal

from charrnn.errors import (
    CharRNNError,
    DataError,
    Message,
    NotHereError,
    TextChangedError,
    counted,
    named,
)
from charrnn.system.progress import Task, task, tell
from charrnn.text.documents import Documents
from charrnn.text.id_builder import EncodedBlock, IdBuilder, joined, mapped
from charrnn.text.sources import Origin
from charrnn.text.text_files import Tally, check_memory, file_blocks, stream_blocks, title
from charrnn.text.vocab import MAX_CHARACTERS, CharacterCounts, Vocab

MAX_BYTES_IN_MEMORY = 64 * 1024 * 1024
"""The ids of a corpus of more bytes are mapped from a temporary file."""
MANY_FILES = 50
"""From so many short files on, a note says that they are joined."""
SHORT_FILE = 2_000
"""Files are short if their mean size is below so many bytes."""


class SourceReader:
    """The text of files and streams that were found. In a `with` block its ids can be encoded.

    The block begins with reading it.
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
        stays_in_memory: bool = False,
    ) -> None:
        """Look up what the files are now; read nothing yet. A text that `stays_in_memory` must fit
        there."""
        self.origins = origins
        self._documents = documents
        self._stays_in_memory = stays_in_memory
        self.kind: Literal["char", "byte"] = "byte" if alphabet == "byte" else "char"
        self.labels = tuple(origin.label for origin in origins)
        self.name = self.labels[0] if len(origins) == 1 else f"the {len(origins)} sources together"
        self._encoding = None if alphabet == "byte" else encoding
        self._tallies: tuple[Tally, ...] = ()
        sizes = [_size_of(path) for origin in origins for path in origin.paths]
        self._num_bytes = sum(size or 0 for size in sizes)
        # Streams, devices and compressed files have no size that is known before they are read.
        self._is_sized = None not in sizes and not any(origin.stream for origin in origins)
        self._builder = IdBuilder(self.kind, None if stays_in_memory else MAX_BYTES_IN_MEMORY)

    def __enter__(self) -> "SourceReader":
        """Read the text. Raises DataError if a source cannot be used or does not fit into the
        memory."""
        try:
            self._read()
        except BaseException:  # an interrupt, too; raised again
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._builder.file is not None:
            with suppress(OSError):  # of a full disk
                self._builder.file.close()

    def _read(self) -> None:
        """Read each source, in order.

        Raises DataError if a file that must be usable, or every file of a source, is not;
        NotHereError for a folder without any file.
        """
        try:
            with task("reading", self._num_bytes if self._is_sized else 0, unit="B") as advance:
                self._tallies = tuple(
                    self._read_source(origin, self._builder, advance) for origin in self.origins
                )
            self.counted = self._builder.counts()
        except OSError as error:  # Of the temporary file: those of the sources are DataErrors.
            raise self._write_error(error) from error
        digest = self._builder.digest
        self.digest = digest if self._documents is None else self._documents.digest(digest)

    def own_vocab(
        self, *, min_count: int, max_size: int = MAX_CHARACTERS, is_exact: bool = False
    ) -> Vocab:
        """Return the alphabet of this text (see `Vocab.from_text`). Raises DataError if no
        character is kept."""
        if self.kind == "byte":
            return Vocab.of_bytes()
        return Vocab.from_counts(
            self.counted, min_count=min_count, max_size=max_size, is_exact=is_exact
        )

    def encode(self, vocab: Vocab) -> EncodedBlock:
        """Encode the text in an alphabet; once. Returns `Corpus.ids` and `Corpus.unknown`.

        Raises CharRNNError if the ids of a large text cannot be written.
        """
        is_large = self._builder.file is not None
        blocks = self._builder.encode(vocab)
        if is_large:
            blocks = self._watched(blocks)
        try:
            # The file in which documents are brought into their order.
            needs_file = is_large and self._documents is not None
            with tempfile.TemporaryFile() if needs_file else nullcontext() as scratch:
                if self._documents is not None:
                    blocks = self._documents.arrange(blocks, vocab, scratch)
                return mapped(blocks, vocab) if is_large else joined(blocks)
        except OSError as error:
            raise self._write_error(error) from error

    def _watched(self, blocks: Iterator[EncodedBlock]) -> Iterator[EncodedBlock]:
        """Yield the same blocks and report the progress."""
        with task("encoding", self.counted.num_chars) as advance:
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
    def notes(self) -> tuple[str, ...]:
        """What was left out and changed in each source, one sentence each."""
        pairs = zip(self.origins, self._tallies, strict=True)
        notes = [note for origin, tally in pairs for note in _notes(origin, tally, self._encoding)]
        num_used = sum(tally.num_used for tally in self._tallies)
        if (
            self._documents is None
            and num_used >= MANY_FILES
            and self._builder.num_bytes < SHORT_FILE * num_used
        ):
            remedy = named("documents", "files")
            notes.append(
                Message(f"{num_used:,} short files are joined: {remedy} gives each an end")
            )
        return tuple(notes)

    def _read_source(self, origin: Origin, builder: IdBuilder, advance: Task) -> Tally:
        tally = Tally()
        for blocks in self._files(origin, tally):
            tally.num_used += 1
            if self.kind == "char" and not builder.ends_line and self._documents is None:
                builder.add(b"\n")
            for block in blocks:
                if self._stays_in_memory or not self._is_sized:
                    check_memory(self.name, builder.num_bytes + len(block))
                builder.add(block)
                advance(len(block))
        if not tally.num_used:
            raise _no_file(origin, tally, self._encoding)
        return tally

    def _files(self, origin: Origin, tally: Tally) -> Iterator[Iterator[bytes]]:
        """Yield the blocks of each usable file (the stream) of a source; count the others in
        `tally`.

        Raises DataError for an unusable file that must be usable, TextChangedError for one that
        changes meanwhile.
        """
        if origin.stream is not None:
            if origin.stream.isatty():
                tell("Waiting for a text on standard input; Ctrl-D ends it ...")
            yield self._documents_in(
                stream_blocks(origin.label, origin.stream, self._encoding, tally), origin.label
            )
        fault: DataError | None = None
        for path in origin.paths:
            if not origin.skips_unusable:
                if path.is_fifo() and not origin.needs_regular:
                    tell(f"Waiting for a program that writes a text into the pipe {path} ...")
                yield self._file(path, origin, tally)
                continue
            seen = Tally()
            blocks = self._file(path, origin, seen)
            try:
                first = next(blocks)
                is_whole = next(blocks, None) is None
                # Its last byte decides whether it is skipped, so a long file is read twice.
                for _ in blocks:
                    pass
            except TextChangedError:
                raise
            except DataError as error:
                fault = fault or error
                if self._documents is not None:
                    tally.fault = str(fault).splitlines()[0]
                tally.num_skipped += 1
                continue
            tally.num_marks += seen.num_marks
            tally.num_line_ends += seen.num_line_ends
            yield iter((first,)) if is_whole else self._file(path, origin, Tally())
        is_column = self._documents is not None and self._documents.kind == "column"
        if fault is not None and not tally.num_used and is_column:
            raise fault  # It names the columns that there are.

    def _file(self, path: Path, origin: Origin, tally: Tally) -> Iterator[bytes]:
        blocks = file_blocks(path, self._encoding, tally, needs_regular=origin.needs_regular)
        return self._documents_in(blocks, str(path))

    def _documents_in(self, blocks: Iterator[bytes], label: str) -> Iterator[bytes]:
        return blocks if self._documents is None else self._documents.read(blocks, label)


def _size_of(path: Path) -> int | None:
    """Return the size of a file; None if it is gone, compressed or no regular file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) and path.suffix != ".gz" else None


def _skipped(origin: Origin, tally: Tally, encoding: str | None) -> str:
    skipped = []
    if tally.num_skipped:
        unfit = "empty or unreadable"
        if encoding is not None:
            unfit = f"empty, unreadable or not {title(encoding)} text"
        verb = "is" if tally.num_skipped == 1 else "are"
        skipped.append(f"{counted(tally.num_skipped, 'file')} that {verb} {unfit}")
    if origin.num_hidden:
        skipped.append(counted(origin.num_hidden, "hidden name"))
    if origin.num_runs:
        skipped.append(counted(origin.num_runs, "run"))
    return " and ".join(skipped)


def _no_file(origin: Origin, tally: Tally, encoding: str | None) -> DataError:
    if skipped := _skipped(origin, tally, encoding):
        return DataError(
            f"{origin.label} has no file to learn from (skipped: {skipped}): give one with text"
        )
    return NotHereError(
        origin.label, f"{origin.label} is an empty folder: give one with text files"
    )


def _notes(origin: Origin, tally: Tally, encoding: str | None) -> Iterator[str]:
    skipped = _skipped(origin, tally, encoding)
    if skipped:
        fault = f" (first: {tally.fault})" if tally.fault else ""
        yield f"skipped {skipped} in {origin.label}{fault}"
    if origin.is_shuffled and tally.num_used > 1:
        yield (
            f"shuffled the {tally.num_used:,} files of {origin.label}: the validation text comes"
            " from all of it"
        )
    if tally.num_marks:
        marks = f"{tally.num_marks} byte-order marks"
        if tally.num_marks == 1:
            marks = "a byte-order mark"
        yield f"removed {marks} from {origin.label}"
    if tally.num_line_ends:
        yield f"turned {counted(tally.num_line_ends, 'CRLF line end')} of {origin.label} into LF"

"""Reads the text of a corpus: once to count and to hash it, then its ids are encoded in an
alphabet.

Documents are many short texts in one corpus, each ended by the END symbol, in a shuffled order. The
END symbol is the character U+0000 (NUL), which no text may contain.
"""

import csv
import hashlib
import io
import math
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
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
from charrnn.text.batches import release_pages, split_ids
from charrnn.text.sources import SORTED, Order, Origin
from charrnn.text.text_files import Tally, check_memory, file_blocks, stream_blocks, title
from charrnn.text.vocab import (
    MAX_CHARACTERS,
    CharacterCounts,
    EncodedBlock,
    IdArray,
    IdBuilder,
    Vocab,
    joined,
    mapped,
)

END = "\0"
"""The END symbol, as a character."""
END_BYTE = b"\0"
"""The END symbol in UTF-8."""
MAX_FIELD_CHARS = 2**31 - 1
"""Longest value of a CSV file, in characters; Python's own limit is 131,072."""
_BLOCK_IDS = 1 << 20
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Documents:
    """What the documents of a corpus are, and their order."""

    kind: str
    """As in `Config.documents`, but not "none"."""
    column: str | None = None
    order: Order = SORTED

    @classmethod
    def of(cls, config: Config, order: Order | None = None) -> "Documents | None":
        """Return the documents of a configuration, or None; in another order, if one is given."""
        if config.end_id is None:
            return None
        return cls(config.documents, config.column, order or Order(config.order, config.order_seed))

    def read(self, blocks: Iterable[bytes], label: str) -> Iterator[bytes]:
        """Yield the documents of one file; see `end_documents`. Raises DataError also if there is
        none."""
        is_empty = True
        # Joined again, because a column yields every value by itself, and a small file is one
        # block.
        parts: list[bytes] = []
        num_bytes = 0
        for part in end_documents(blocks, self.kind, label=label, column=self.column):
            parts.append(part)
            num_bytes += len(part)
            if num_bytes >= _BLOCK_BYTES:
                yield b"".join(parts)
                is_empty, parts, num_bytes = False, [], 0
        if rest := b"".join(parts):
            yield rest
        elif is_empty:
            raise DataError(
                f"{label} has no document that is not empty ({named('documents', self.kind)})"
            )

    def digest(self, digest: str) -> str:
        """Return the digest of the documents in their order; `digest` is that in the order of the
        corpus."""
        if self.order.kind == "sorted":
            return digest
        return hashlib.sha256(f"{digest} shuffled {self.order.seed}".encode("ascii")).hexdigest()

    def arrange(
        self, encoded: Iterable[EncodedBlock], vocab: Vocab, scratch: BinaryIO | None
    ) -> Iterator[EncodedBlock]:
        """Bring the documents of a whole corpus into their order.

        Takes and yields blocks of ids, each with the unknown characters in it (`IdBuilder.encode`);
        the last block that is yielded has no ids and all unknown characters. The ids are kept in
        memory, or in the file `scratch`. Raises OSError.
        """
        ids: list[IdArray] = []
        unknown = []
        for block, missing in encoded:
            unknown.append(missing)
            if scratch is None:
                ids.append(block)
            else:
                scratch.write(block.tobytes())
        if scratch is not None:
            scratch.flush()
            ids = [np.memmap(scratch, vocab.id_type, "r")]
        whole = ids[0] if len(ids) == 1 else np.concatenate(ids)
        layout = _Layout(whole, int(vocab.encode(END)[0]), self.order)
        for block in layout.blocks(whole):
            yield block, unknown[0][:0]
            release_pages(whole)
        missing = np.concatenate(unknown)
        missing["position"] = layout.moved(missing["position"].astype(np.int64))
        yield whole[:0], missing[np.argsort(missing["position"], kind="stable")]


def end_documents(
    blocks: Iterable[bytes], kind: str, *, label: str, column: str | None = None
) -> Iterator[bytes]:
    """Yield the documents of one file, each followed by END, from the file's content in blocks of
    any size.

    A line is blank if it is empty or has only white space. By `kind`, a document is:

    - "files": the whole file, without blank lines at its start and without white space at its end;
    - "lines": every line that is not blank, without its line end (LF or CRLF);
    - "blank-lines": lines that are not blank up to the next blank line, without the last line end;
    - "column": every value of the column `column` of a CSV file, trimmed like a file.

    A document that would be empty is left out. Raises DataError, naming the file by `label`, for a
    NUL in it, a CSV file that is damaged, or one without that column.
    """
    checked = _without_nul(blocks, label)
    if kind == "column":
        assert column is not None, "the configuration checks that a column is named"
        for value in _values(checked, column, label):
            yield from _whole((value,))
    elif kind == "lines":
        for lines in _complete_lines(checked):
            yield b"".join(line + END_BYTE for line in lines.split(b"\n") if line.strip())
    elif kind == "blank-lines":
        yield from _paragraphs(_lines(checked))
    else:
        yield from _whole(checked)


def document_order(num_documents: int, order: Order) -> NDArray[np.int64]:
    """Return the numbers of the documents, counted from 0 in the corpus, in the order in which they
    are laid out.

    A sorted order is that of the corpus. A shuffle sorts document i by output i of the generator
    SplitMix64 (Steele, Lea & Flood 2014) that starts with the seed of the order, so that the same
    corpus has the same order on every machine and in every version.
    """
    if order.kind == "sorted":
        return np.arange(num_documents, dtype=np.int64)
    keys = np.arange(1, num_documents + 1, dtype=np.uint64) * np.uint64(
        0x9E3779B97F4A7C15
    ) + np.uint64(order.seed)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(keys ^ (keys >> np.uint64(31)), kind="stable")


def document_ends(ids: NDArray[Any], end_id: int) -> NDArray[np.int64]:
    """Return the index after the END of each document in ids (N,), which are read block by
    block."""
    found = []
    for start in range(0, len(ids), _BLOCK_IDS):
        found.append(start + 1 + np.flatnonzero(ids[start : start + _BLOCK_IDS] == end_id))
        release_pages(ids)
    return np.concatenate(found) if found else np.zeros(0, np.int64)


class _Layout:
    """Where the documents of a corpus of N ids are, and where they go."""

    def __init__(self, ids: NDArray[Any], end_id: int, order: Order) -> None:
        self._ends = document_ends(ids, end_id)
        self._starts = np.concatenate((np.zeros(1, np.int64), self._ends[:-1]))
        self._order = document_order(len(self._ends), order)
        self._bounds = np.concatenate(
            (np.zeros(1, np.int64), np.cumsum((self._ends - self._starts)[self._order]))
        )
        """(D + 1,): where the documents begin in their order, and N."""

    def blocks(self, ids: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield the ids (N,) in their order, in blocks of about a million ids."""
        bounds, first = self._bounds, 0
        while first < len(self._order):
            # At least one document, and then as many as fit into a block.
            last = max(
                first + 1,
                int(np.searchsorted(bounds, bounds[first] + _BLOCK_IDS, side="right")) - 1,
            )
            some = self._order[first:last]
            if len(some) == 1:
                yield ids[self._starts[some[0]] : self._ends[some[0]]]
            else:
                moves = np.repeat(
                    self._starts[some] - bounds[first:last], np.diff(bounds[first : last + 1])
                )
                yield ids[moves + np.arange(bounds[first], bounds[last])]
            first = last

    def moved(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the ids at these positions go."""
        documents = np.searchsorted(self._ends, positions, side="right")
        places = np.empty_like(self._order)
        places[self._order] = np.arange(len(self._order))
        return self._bounds[places[documents]] + positions - self._starts[documents]


def split_text(ids: NDArray[Any], config: Config) -> tuple[slice, ...]:
    """Split the ids (N,) of a text into the parts of a configuration. Raises DataError for a text
    too short."""
    if config.end_id is None:
        return split_ids(len(ids), config.split)
    return split_documents(document_ends(ids, config.end_id), config.split, kind=config.documents)


def split_documents(
    ends: NDArray[np.int64], fractions: Sequence[float], *, kind: str
) -> tuple[slice, ...]:
    """Split a text into parts of whole documents, in order; `ends` (D,) are the indices after their
    ENDs.

    A part ends with the document in which the shares so far, counted in characters, are reached;
    every part has at least one document. Raises DataError if there are fewer documents than parts.
    """
    if len(ends) < len(fractions):
        parts = (
            "a training and a validation part" if len(fractions) == 2 else f"{len(fractions)} parts"
        )
        raise DataError(
            f"the text has only {counted(len(ends), 'document')} ({named('documents', kind)}), too"
            f" few for {parts}: give more text, or divide it by another {named('documents')}"
        )
    total = math.fsum(fractions)
    bounds = [0]
    for part in range(1, len(fractions)):
        num = int(np.searchsorted(ends, math.fsum(fractions[:part]) / total * int(ends[-1]))) + 1
        # One document at least for this part and for each of those that follow.
        bounds.append(min(max(num, bounds[-1] + 1), len(ends) - len(fractions) + part))
    edges = [0, *(int(ends[bound - 1]) for bound in bounds[1:]), int(ends[-1])]
    return tuple(slice(start, stop) for start, stop in pairwise(edges))


def _without_nul(blocks: Iterable[bytes], label: str) -> Iterator[bytes]:
    offset = 0
    for block in blocks:
        if (found := block.find(END_BYTE)) >= 0:
            raise DataError(
                f"{label} has a NUL at byte offset {offset + found}, which ends a document: remove"
                f" it, or leave {named('documents')} out"
            )
        offset += len(block)
        yield block


def _complete_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in blocks that end with a newline, each without CR before it; the last
    block gets one."""
    parts: list[bytes] = []
    for block in blocks:
        head, newline, tail = block.rpartition(b"\n")
        if newline:
            yield b"".join((*parts, head, newline)).replace(b"\r\n", b"\n")
            parts = []
        parts.append(tail)
    if rest := b"".join(parts):
        yield (rest + b"\n").replace(b"\r\n", b"\n")


def _paragraphs(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Turn lines into documents that end at blank lines."""
    is_open = False
    for line in lines:
        if line.strip():
            yield (b"\n" if is_open else b"") + line.removesuffix(b"\n")
        elif is_open:
            yield END_BYTE
        is_open = bool(line.strip())
    if is_open:
        yield END_BYTE


def _whole(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn the blocks of one text into one document."""
    is_open = False
    pending: list[
        bytes
    ] = []  # white space that may be at the start of the first line, or at the end of the text
    for block in blocks:
        body = block.lstrip()
        if not body:
            pending.append(block)
            continue
        pending.append(block[: len(block) - len(body)])
        before = b"".join(pending)
        text = body.rstrip()
        # At the start, blank lines are left out, but not the indentation of the first line.
        yield before if is_open else before[before.rfind(b"\n") + 1 :]
        yield text
        is_open, pending = True, [body[len(text) :]]
    if is_open:
        yield END_BYTE


def _values(blocks: Iterable[bytes], column: str, label: str) -> Iterator[bytes]:
    """Yield the values of one column of a CSV file, row by row. Raises DataError."""
    # Latin-1 keeps bytes that are not UTF-8, which the byte alphabet allows; CSV's own characters
    # are all ASCII.
    lines = (line.decode("latin-1") for line in _lines(blocks))
    header = next(lines, "")
    csv.field_size_limit(MAX_FIELD_CHARS)
    rows = csv.reader(chain((header,), lines), delimiter=_delimiter(header, label), strict=True)
    try:
        names = [
            name.encode("latin-1").decode("utf-8-sig", "replace").strip() for name in next(rows, [])
        ]
        if column not in names:
            listed = ", ".join(name[:40] for name in names[:20]) or "no columns"
            raise DataError(
                f"{label} has no column {column!r}; its header has {listed}: give one of them as"
                f" {named('column')}"
            )
        if names.count(column) > 1:
            raise DataError(
                f"{label} has {names.count(column)} columns {column!r} in its header: rename all"
                " but one"
            )
        index = names.index(column)
        for row in rows:
            if row and not index < len(row) <= len(names):
                values = counted(len(row), "value")
                raise DataError(
                    f"{label}, line {rows.line_num}: {values}, but {column!r} is column {index + 1}"
                    f" of {len(names)}: mend the line; a value with a delimiter needs quotes"
                )
            if row:
                yield row[index].encode("latin-1")
    except csv.Error as error:
        raise DataError(f"{label}, line {rows.line_num}, is not CSV: {error}") from error


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    for block in _complete_lines(blocks):
        yield from io.BytesIO(block)


def _delimiter(header: str, label: str) -> str:
    """Return a tab for a .tsv file, else the most frequent of comma, semicolon and tab in the
    header."""
    if label.removesuffix(".gz").endswith(".tsv"):
        return "\t"
    return max(",;\t", key=header.count)


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
        self.origins, self._documents, self._stays_in_memory = origins, documents, stays_in_memory
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
            with (
                tempfile.TemporaryFile()
                if is_large and self._documents is not None
                else nullcontext()
            ) as scratch:
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
                for _ in (
                    blocks
                ):  # Its last byte decides whether it is skipped, so a long file is read twice.
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
    num = tally.num_skipped
    unfit = (
        "empty or unreadable"
        if encoding is None
        else f"empty, unreadable or not {title(encoding)} text"
    )
    skipped = (
        (num, f"{counted(num, 'file')} that {'is' if num == 1 else 'are'} {unfit}"),
        (origin.num_hidden, counted(origin.num_hidden, "hidden name")),
        (origin.num_runs, counted(origin.num_runs, "run")),
    )
    return " and ".join(text for num, text in skipped if num)


def _no_file(origin: Origin, tally: Tally, encoding: str | None) -> DataError:
    if skipped := _skipped(origin, tally, encoding):
        return DataError(
            f"{origin.label} has no file to learn from (skipped: {skipped}): give one with text"
        )
    return NotHereError(
        origin.label, f"{origin.label} is an empty folder: give one with text files"
    )


def _notes(origin: Origin, tally: Tally, encoding: str | None) -> Iterator[str]:
    if skipped := _skipped(origin, tally, encoding):
        yield f"skipped {skipped} in {origin.label}" + (
            f" (first: {tally.fault})" if tally.fault else ""
        )
    if origin.is_shuffled and tally.num_used > 1:
        yield (
            f"shuffled the {tally.num_used:,} files of {origin.label}: the validation text comes"
            " from all of it"
        )
    if tally.num_marks:
        marks = (
            "a byte-order mark" if tally.num_marks == 1 else f"{tally.num_marks} byte-order marks"
        )
        yield f"removed {marks} from {origin.label}"
    if tally.num_line_ends:
        yield f"turned {counted(tally.num_line_ends, 'CRLF line end')} of {origin.label} into LF"

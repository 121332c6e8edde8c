"""Reads the text of a corpus: once to count and to hash it, then its ids are encoded in an alphabet.

Files that have changed since they were read, or while they are read, are detected.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import (
    CharRNNError,
    DataError,
    Message,
    NotHereError,
    TextChangedError,
    TooLargeError,
    counted,
    named,
)
from charrnn.progress import Task, task
from charrnn.text.documents import Documents
from charrnn.text.files import Tally, check_memory, file_blocks, file_state, stream_blocks, title
from charrnn.text.id_builder import IdBuilder
from charrnn.text.id_cache import CACHE_SIZE_VARIABLE, IdCache, max_cache_bytes, write_error
from charrnn.text.sources import Origin
from charrnn.text.vocab import CharacterCounts, IdArray, Vocab

MAX_BYTES_IN_MEMORY = 64 * 1024 * 1024
"""A corpus whose ids take more bytes is mapped from a file of the cache."""
MANY_FILES = 50
"""From so many short files on, a note says that they are joined."""
SHORT_FILE = 2_000
"""Files are short if their mean size is below so many bytes."""
_SIGNATURE_FORMAT = 1
_GZIP_RATIO = 10  # Text is seldom compressed to less than a tenth.


class SourceReader:
    """The text of files and streams that were found. In a `with` block its ids can be encoded.

    The block begins with reading it, or with looking up what the cache knows of it; what was read is dropped at its
    end, unless it was encoded.
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
        """Look up what the files are now; read nothing yet. A text that `stays_in_memory` must fit there."""
        self.origins, self._documents, self._stays_in_memory = origins, documents, stays_in_memory
        self.kind: Literal["char", "byte"] = "byte" if alphabet == "byte" else "char"
        self.labels = tuple(origin.label for origin in origins)
        self.name = self.labels[0] if len(origins) == 1 else f"the {len(origins)} sources together"
        self._encoding = None if alphabet == "byte" else encoding
        self._builder: IdBuilder | None = None
        self._tallies: tuple[Tally, ...] = ()
        paths = [path for origin in origins for path in origin.paths]
        states = [_file_state(path) for path in paths]
        self._num_bytes = sum(size for size, *_ in states)
        has_stream = any(origin.stream is not None for origin in origins)
        is_compressed = any(path.suffix == ".gz" for path in paths)
        # Streams, devices and compressed files have no size that is known before they are read.
        self._is_sized = not has_stream and not is_compressed and all(map(any, states))
        self._likely_bytes = 0 if has_stream else self._num_bytes * (_GZIP_RATIO if is_compressed else 1)
        is_large = not stays_in_memory and self._likely_bytes > MAX_BYTES_IN_MEMORY
        # What the cache knows the files by; it need not know a small text.
        self._signature = self._sign() if is_large else None

    def __enter__(self) -> "SourceReader":
        """Read the text. Raises DataError if a source cannot be used or does not fit into the memory."""
        with ExitStack() as stack:
            if self._signature is not None:
                # Several processes of one training read the same files: one of them builds, the others find its entry.
                stack.enter_context(IdCache().reading(self._signature))
            stack.callback(self._close)
            if not self._recall():
                self._read()
            self._at_end = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._at_end.close()

    def _recall(self) -> bool:
        """Take what the cache has recorded of these files; return whether it has a record of this version."""
        record = None if self._signature is None else IdCache().record(self._signature)
        try:
            if record is None or len(record["tallies"]) != len(self.origins):
                return False
            points, counts = (np.array(record[name], np.int64) for name in ("code_points", "counts"))
            self._tallies = tuple(Tally(**tally) for tally in record["tallies"])
            self.digest = str(record["digest"])
        except (KeyError, TypeError, ValueError, OverflowError):
            return False
        self.counted = CharacterCounts(points, counts)
        return points.ndim == 1 and points.shape == counts.shape

    def _read(self) -> None:
        """Read each source, in order, and let the cache remember what they are.

        Raises DataError if a file that must be usable, or every file of a source, is not; NotHereError for a folder
        without any file.
        """
        self._builder = builder = IdBuilder(
            self.kind, None if self._stays_in_memory else IdCache().scratch, MAX_BYTES_IN_MEMORY
        )
        try:
            with task("reading", self._num_bytes if self._is_sized else 0, unit="B") as advance:
                self._tallies = tuple(self._read_source(origin, builder, advance) for origin in self.origins)
            self.counted = builder.counts()
        except OSError as error:  # Of the file in the cache: those of the sources are DataErrors.
            raise self._write_error(error) from error
        self.digest = builder.digest if self._documents is None else self._documents.digest(builder.digest)
        if self._signature is not None:
            if self._sign() != self._signature:
                raise self._changed()
            record = {
                "digest": self.digest,
                "code_points": self.counted.code_points.tolist(),
                "counts": self.counted.counts.tolist(),
                "tallies": [asdict(tally) for tally in self._tallies],
            }
            IdCache().write_record(self._signature, record)

    def encode(self, vocab: Vocab) -> tuple[IdArray, NDArray[np.void]]:
        """Encode the text in an alphabet; once. Returns `Corpus.ids` and `Corpus.unknown`.

        Raises CharRNNError if the ids cannot be written to the cache.
        """
        is_in_memory = self._builder is not None and self._builder.file is None
        if not is_in_memory and (found := IdCache().open(self.digest, vocab)) is not None:
            return found
        if self._builder is None:  # known, but not in this alphabet
            digest = self.digest
            self._read()
            if digest != self.digest:
                raise self._changed()
        builder = self._builder
        assert builder is not None, "`_read` makes it"
        is_on_disk = builder.file is not None
        try:
            with IdCache().scratch() if is_on_disk and self._documents is not None else nullcontext() as scratch:
                blocks = builder.encode(vocab)
                if self._documents is not None:
                    blocks = self._documents.arrange(blocks, vocab, scratch)
                if is_on_disk:
                    return IdCache().write(blocks, self.counted.num_chars, vocab, self.digest)
                parts = [*blocks]
        except OSError as error:
            raise self._write_error(error) from error
        ids, unknown = zip(*parts, strict=True)
        return np.concatenate(ids), np.concatenate(unknown)

    def _close(self) -> None:
        if self._builder is not None and self._builder.file is not None:
            with suppress(OSError):  # of a full disk
                self._builder.file.close()

    def _write_error(self, error: OSError) -> CharRNNError:
        num_bytes = self._num_bytes if self._builder is None else max(self._num_bytes, self._builder.num_bytes)
        return write_error(IdCache().folder, num_bytes, error)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out and changed in each source, one sentence each."""
        pairs = zip(self.origins, self._tallies, strict=True)
        notes = [note for origin, tally in pairs for note in _notes(origin, tally, self._encoding)]
        num_used = sum(tally.num_used for tally in self._tallies)
        if self._documents is None and num_used >= MANY_FILES and self._likely_bytes < SHORT_FILE * num_used:
            remedy = named("documents", "files")
            notes.append(Message(f"{num_used:,} short files are joined: {remedy} gives each an end"))
        return tuple(notes)

    def _sign(self) -> str:
        """Hash what changes with the text: how it is read, and path, size, time and inode of each file."""
        how: list[object] = [_SIGNATURE_FORMAT, self.kind, self._encoding]
        if self._documents is not None:
            how += self._documents.to_json()
        digest = hashlib.sha256(json.dumps(how).encode("ascii"))
        for origin in self.origins:
            digest.update(json.dumps(len(origin.paths)).encode("ascii"))
            for path in origin.paths:
                digest.update(json.dumps([os.path.abspath(path), *_file_state(path)]).encode("ascii"))
        return digest.hexdigest()

    def _changed(self) -> TextChangedError:
        return TextChangedError(f"{self.name} changed while it was read: wait until it is written, and start again")

    def _read_source(self, origin: Origin, builder: IdBuilder, advance: Task) -> Tally:
        tally = Tally()
        for blocks in self._files(origin, tally):
            tally.num_used += 1
            if self.kind == "char" and not builder.ends_line and self._documents is None:
                builder.add(b"\n")
            for block in blocks:
                if self._stays_in_memory:
                    check_memory(self.name, builder.num_bytes + len(block))
                elif builder.file is not None and not self._is_sized:
                    _check_end(self.name, builder.num_bytes + len(block))
                builder.add(block)
                advance(len(block))
        if not tally.num_used:
            raise _no_file(origin, tally, self._encoding)
        return tally

    def _files(self, origin: Origin, tally: Tally) -> Iterator[Iterator[bytes]]:
        """Yield the blocks of each usable file (the stream) of a source; count the others in `tally`.

        Raises DataError for an unusable file that must be usable, TextChangedError for one that changes meanwhile.
        """
        if origin.stream is not None:
            yield self._documents_in(stream_blocks(origin.label, origin.stream, self._encoding, tally), origin.label)
        fault: DataError | None = None
        for path in origin.paths:
            if not origin.skips_unusable:
                yield self._file(path, origin, tally)
                continue
            seen = Tally()
            blocks = self._file(path, origin, seen)
            try:
                first = next(blocks)
                is_whole = next(blocks, None) is None
                for _ in blocks:  # Its last byte decides whether it is skipped, so a long file is read twice.
                    pass
            except TextChangedError:
                raise
            except DataError as error:
                fault = fault or error
                tally.num_skipped += 1
                continue
            tally.num_marks += seen.num_marks
            tally.num_line_ends += seen.num_line_ends
            yield iter((first,)) if is_whole else self._file(path, origin, Tally())
        if (
            fault is not None
            and not tally.num_used
            and self._documents is not None
            and self._documents.kind == "column"
        ):
            raise fault  # It names the columns that there are.

    def _file(self, path: Path, origin: Origin, tally: Tally) -> Iterator[bytes]:
        blocks = file_blocks(path, self._encoding, tally, needs_regular=origin.needs_regular)
        return self._documents_in(blocks, str(path))

    def _documents_in(self, blocks: Iterator[bytes], label: str) -> Iterator[bytes]:
        return blocks if self._documents is None else self._documents.read(blocks, label)


def _file_state(path: Path) -> tuple[int, int, int]:
    """Return size, time and inode of a file; zeros if it is gone or no regular file."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0, 0
    return file_state(status) if stat.S_ISREG(status.st_mode) else (0, 0, 0)


def _check_end(what: str, num_bytes: int) -> None:
    """Raise TooLargeError for a text without a known size that has more bytes than the cache may have."""
    if num_bytes > max_cache_bytes():
        size = f"{max_cache_bytes() / 1e9:g} GB"
        raise TooLargeError(
            f"{what}: more than {size} of text, or without end\n"
            f"if it has an end, set {CACHE_SIZE_VARIABLE} above {size}"
        )


def _skipped(origin: Origin, tally: Tally, encoding: str | None) -> str:
    num = tally.num_skipped
    unfit = "empty or unreadable" if encoding is None else f"empty, unreadable or not {title(encoding)} text"
    skipped = (
        (num, f"{counted(num, 'file')} that {'is' if num == 1 else 'are'} {unfit}"),
        (origin.num_hidden, counted(origin.num_hidden, "hidden name")),
        (origin.num_runs, counted(origin.num_runs, "run")),
    )
    return " and ".join(text for num, text in skipped if num)


def _no_file(origin: Origin, tally: Tally, encoding: str | None) -> DataError:
    if skipped := _skipped(origin, tally, encoding):
        return DataError(f"{origin.label} has no file to learn from (skipped: {skipped}): give one with text")
    return NotHereError(origin.label, f"{origin.label} is an empty folder: give one with text files")


def _notes(origin: Origin, tally: Tally, encoding: str | None) -> Iterator[str]:
    if skipped := _skipped(origin, tally, encoding):
        yield f"skipped {skipped} in {origin.label}"
    if origin.is_shuffled and tally.num_used > 1:
        yield f"shuffled the {tally.num_used:,} files of {origin.label}: the validation text comes from all of it"
    if tally.num_marks:
        marks = "a byte-order mark" if tally.num_marks == 1 else f"{tally.num_marks} byte-order marks"
        yield f"removed {marks} from {origin.label}"
    if tally.num_line_ends:
        yield f"turned {counted(tally.num_line_ends, 'CRLF line end')} of {origin.label} into LF"

"""Reads the files and streams of a corpus block by block, and detects files that have changed since."""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from charrnn.errors import DataError, Message, NotHereError, TextChangedError, counted, named
from charrnn.progress import Task, task
from charrnn.text.documents import Documents
from charrnn.text.files import Tally, file_blocks, file_state, stream_blocks, title
from charrnn.text.id_builder import BLOCK_BYTES, IdBuilder
from charrnn.text.sources import Origin

MANY_FILES = 50
"""From so many short files on, a note says that they are joined."""
SHORT_FILE = 2_000
"""Files are short if their mean size is below so many bytes."""
_SIGNATURE_FORMAT = 1
_GZIP_RATIO = 10  # Text is seldom compressed to less than a tenth.


class SourceReader:
    """The files and streams of a corpus, as they were found."""

    def __init__(
        self,
        origins: tuple[Origin, ...],
        kind: Literal["char", "byte"],
        encoding: str,
        documents: Documents | None,
    ) -> None:
        """Look up what the files are now; read nothing yet."""
        self.origins, self.kind, self.documents = origins, kind, documents
        self.labels = tuple(origin.label for origin in origins)
        self.text_encoding = None if kind == "byte" else encoding
        self._paths = [path for origin in origins for path in origin.paths]
        self._has_stream = any(origin.stream is not None for origin in origins)
        self._states = file_states(self._paths)
        self._is_compressed = any(path.suffix == ".gz" for path in self._paths)
        self.num_bytes = sum(size for size, *_ in self._states)
        """Bytes of all files on disk."""

    @property
    def likely_bytes(self) -> int:
        """About how many bytes the text has, decompressed; 0 with a stream, whose length only reading it shows."""
        return 0 if self._has_stream else self.num_bytes * (_GZIP_RATIO if self._is_compressed else 1)

    @property
    def is_sized(self) -> bool:
        """Whether `num_bytes` is all that there is to read: streams, devices and compressed files have no such size."""
        return not self._has_stream and not self._is_compressed and all(any(state) for state in self._states)

    def signature(self) -> str:
        """Hash what changes with the text: how it is read, and path, size, time and inode of each file."""
        how: list[object] = [_SIGNATURE_FORMAT, self.kind, self.text_encoding]
        if self.documents is not None:
            how += self.documents.to_json()
        digest = hashlib.sha256(json.dumps(how).encode("ascii"))
        for origin in self.origins:
            digest.update(json.dumps(len(origin.paths)).encode("ascii"))
            for path, state in zip(origin.paths, file_states(origin.paths), strict=True):
                digest.update(json.dumps([os.path.abspath(path), *state]).encode("ascii"))
        return digest.hexdigest()

    def changed(self) -> TextChangedError:
        """Return the error for files that are not those that were read."""
        return TextChangedError(
            f"{name_of_all(self.labels)} changed while it was read: wait until it is written, and start again"
        )

    def read(self, add: Callable[[bytes], None], builder: IdBuilder) -> tuple[Tally, ...]:
        """Give every block of the text to `add`; return what was left out and changed, for each source.

        Raises DataError if a file that must be usable, or every file of a source, is not; NotHereError for a folder
        without any file.
        """
        total = 0 if self._has_stream or self._is_compressed else self.num_bytes
        with task("reading", total, unit="B") as advance:
            return tuple(self._read_origin(origin, add, builder, advance) for origin in self.origins)

    def _read_origin(self, origin: Origin, add: Callable[[bytes], None], builder: IdBuilder, advance: Task) -> Tally:
        tally = Tally()
        num_read = 0
        for blocks in _files(origin, self.text_encoding, self.documents, tally):
            tally.num_used += 1
            if self.kind == "char" and not builder.ends_line and self.documents is None:
                builder.add(b"\n")
            for block in blocks:
                add(block)
                num_read += len(block)
                if num_read >= BLOCK_BYTES:
                    advance(num_read)
                    num_read = 0
        if not tally.num_used:
            raise _no_file(origin, tally, self.text_encoding)
        advance(num_read)
        return tally

    def notes(self, tallies: Sequence[Tally]) -> tuple[str, ...]:
        """Return what was left out and changed in each source, as counted by `read`, one sentence each."""
        pairs = zip(self.origins, tallies, strict=True)
        notes = [note for origin, tally in pairs for note in _notes(origin, tally, self.text_encoding)]
        num_used = sum(tally.num_used for tally in tallies)
        if self.documents is None and num_used >= MANY_FILES and self.likely_bytes < SHORT_FILE * num_used:
            remedy = named("documents", "files")
            notes.append(Message(f"{num_used:,} short files are joined: {remedy} gives each an end"))
        return tuple(notes)


def file_states(paths: Sequence[Path]) -> list[tuple[int, int, int]]:
    """Return size, time and inode of each file; zeros for one that is gone or no regular file."""
    states = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            states.append((0, 0, 0))
        else:
            states.append(file_state(status) if stat.S_ISREG(status.st_mode) else (0, 0, 0))
    return states


def _files(
    origin: Origin, encoding: str | None, documents: Documents | None, tally: Tally
) -> Iterator[Iterator[bytes]]:
    """Yield the blocks of each usable file (the stream) of a source; count the others in `tally`.

    Raises DataError for an unusable file that must be usable, TextChangedError for one that changes while it is read.
    """

    def read(path: Path, seen: Tally) -> Iterator[bytes]:
        blocks = file_blocks(path, encoding, seen, needs_regular=origin.needs_regular)
        return blocks if documents is None else documents.read(blocks, str(path))

    if origin.stream is not None:
        blocks = stream_blocks(origin.label, origin.stream, encoding, tally)
        yield blocks if documents is None else documents.read(blocks, origin.label)
    fault: DataError | None = None
    for path in origin.paths:
        if not origin.skips_unusable:
            yield read(path, tally)
            continue
        seen = Tally()
        blocks = read(path, seen)
        try:
            first = next(blocks)
            is_whole = next(blocks, None) is None
            if not is_whole:
                for _ in blocks:  # Its last byte decides whether it is skipped, so it is read twice.
                    pass
        except TextChangedError:
            raise
        except DataError as error:
            fault = fault or error
            tally.num_skipped += 1
            continue
        tally.num_marks += seen.num_marks
        tally.num_line_ends += seen.num_line_ends
        yield iter((first,)) if is_whole else read(path, Tally())
    if fault is not None and not tally.num_used and documents is not None and documents.kind == "column":
        raise fault  # It names the columns that there are.


def _skipped(origin: Origin, tally: Tally, encoding: str | None) -> list[str]:
    num = tally.num_skipped
    unfit = "empty or unreadable" if encoding is None else f"empty, unreadable or not {title(encoding)} text"
    skipped = [f"{counted(num, 'file')} that {'is' if num == 1 else 'are'} {unfit}"] * bool(num)
    skipped += [counted(origin.num_hidden, "hidden name")] * bool(origin.num_hidden)
    return skipped + [counted(origin.num_runs, "run")] * bool(origin.num_runs)


def _no_file(origin: Origin, tally: Tally, encoding: str | None) -> DataError:
    skipped = _skipped(origin, tally, encoding)
    if not skipped:
        return NotHereError(origin.label, f"{origin.label} is an empty folder: give one with text files")
    return DataError(f"{origin.label} has no file to learn from (skipped: {' and '.join(skipped)}): give one with text")


def _notes(origin: Origin, tally: Tally, encoding: str | None) -> Iterator[str]:
    if skipped := _skipped(origin, tally, encoding):
        yield f"skipped {' and '.join(skipped)} in {origin.label}"
    if origin.is_shuffled and tally.num_used > 1:
        yield f"shuffled the {tally.num_used:,} files of {origin.label}: the validation text comes from all of it"
    if tally.num_marks:
        marks = "a byte-order mark" if tally.num_marks == 1 else f"{tally.num_marks} byte-order marks"
        yield f"removed {marks} from {origin.label}"
    if tally.num_line_ends:
        yield f"turned {counted(tally.num_line_ends, 'CRLF line end')} of {origin.label} into LF"


def name_of_all(labels: tuple[str, ...]) -> str:
    """Return what a message calls these sources."""
    return labels[0] if len(labels) == 1 else f"the {len(labels)} sources together"

"""Read the text of files and streams: find out what each is, leave out what nobody wrote, count and
hash it, and then encode it in an alphabet."""

import hashlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from charrnn.errors import CharRNNError, DataError, NotHereError, TextChangedError, counted
from charrnn.system.progress import Task, task, tell
from charrnn.text.cleaning import (
    BEGINNING,
    CUES,
    STAMPS,
    UNWRITTEN,
    tidied_lines,
    without_settings,
    without_terms,
)
from charrnn.text.cues import cue_format, parse_cues
from charrnn.text.documents import END_BYTE, Documents, without_repeated
from charrnn.text.file_kinds import data_kind
from charrnn.text.id_builder import BLOCK_BYTES, EncodedBlock, IdBuilder, joined, mapped
from charrnn.text.messages import JSON_CHAT, find_stamps, messages_of_json, parse_chat
from charrnn.text.pandoc import DocumentTexts
from charrnn.text.reading_notes import (
    ReadFile,
    describe_faults,
    describe_skipped,
    notes_on_source,
)
from charrnn.text.sources import LOCK, Origin
from charrnn.text.text_files import (
    Change,
    Line,
    PointerError,
    Reading,
    Tally,
    check_memory,
    file_blocks,
    is_blank,
    split_lines,
    stream_blocks,
    whole_lines,
    without_gz,
)
from charrnn.text.vocab import MAX_CHARACTERS, CharacterCounts, Vocab

MAX_BYTES_IN_MEMORY = 64 * 1024 * 1024
"""The ids of a corpus of more bytes are mapped from a temporary file."""
_PART = re.compile(rb"[^\0]*\0|[^\0]+")
"""Matches a part of a document up to its END, or to the end of a block."""
_BLOCKS_HELD = 4
"""Blocks of a file of a folder that are kept while its end is looked at, at most."""
_LIKE_CHAT = (
    "message",
    "{label} looks like a chat of {num}, but many of them have no name: its dates are learned",
)
_FROM_JSON = "message", "read {num} of {label} out of its JSON, each after its name"


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
        self.document_texts = DocumentTexts(dict(kept_texts or {}))
        """The texts of the files that pandoc has read."""

        # Bytes are taken as they are; characters are decoded. What could not be read at all is read
        # for every model; only its own text is as it was.
        self.kind: Literal["char", "byte"] = "byte" if alphabet == "byte" else "char"
        self._is_cleaned = is_cleaned and alphabet != "byte"
        reads_documents = self._is_cleaned or stays_in_memory
        self._reading = Reading(
            encoding=None if alphabet == "byte" else encoding,
            is_cleaned=self._is_cleaned,
            documents=self.document_texts if reads_documents else None,
        )
        self._joins_lines = joins_lines
        self._stays_in_memory = stays_in_memory
        self._builder = IdBuilder(self.kind, None if stays_in_memory else MAX_BYTES_IN_MEMORY)
        self._tallies: list[Tally] = []
        self._seen: set[int] = set()
        """The hashes of the documents, if they must not repeat each other."""
        self._used: list[tuple[str, Reading]] = []
        """The names of what makes up the text, in order, and how each is read."""
        self._kept: dict[str, list[bytes]] = {}
        """Streams and pipes that can be read only once, by their names."""
        # What was read, for notes and places.
        self._parsed: set[str] = set()
        """The names of the chats and subtitles, which are no lists."""
        self.files: list[ReadFile] = []
        """What was read of each file, in order."""

        # The size of streams, devices and compressed files is unknown before they are read. Then
        # the progress has no total, and the memory is checked while they are read.
        self._num_bytes = file_bytes(origins)
        paths = chain.from_iterable(origin.paths for origin in origins)
        has_stream = any(origin.stream for origin in origins)
        self._is_sized = not has_stream and all(map(_has_known_size, paths))

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
        store: Callable[[Iterator[EncodedBlock]], EncodedBlock] = joined
        if self._builder.file is not None:
            # If the text is too large for memory, its ids are, too.
            store = partial(mapped, vocab=vocab)
            blocks = self._watched(blocks)
        try:
            encoded = store(blocks)
            if self.documents is not None:
                encoded = store(self.documents.arrange(encoded, vocab))
            return encoded
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
        first = 0
        for origin, tally in zip(self.origins, self._tallies, strict=True):
            files = self.files[first : first + tally.num_used]
            first += tally.num_used
            notes += notes_on_source(origin, tally, files, documents=self.documents)
            if tally.column_note:
                notes.append(f"{origin.label} {tally.column_note}")

        # Describe each change once: the shell may have named a hundred chapters.
        total: Counter[Change] = sum((tally.changes for tally in self._tallies), Counter())
        for change, num in total.items():
            read = zip(self.labels, self._tallies, strict=True)
            labels = [label for label, tally in read if tally.changes[change]]
            label = labels[0]
            if len(labels) > 1:
                label = f"{len(labels)} sources"
            noun, note = change
            notes.append(note.format(num=counted(num, noun), label=label))
        return tuple(notes)

    def _read_source(self, origin: Origin, advance: Task) -> Tally:
        builder = self._builder
        tally = Tally()
        for name, blocks in self._files(origin, tally):
            tally.num_used += 1
            # Each file starts on a new line.
            if self._is_running_text and not builder.ends_line:
                builder.add(b"\n")
            begin = builder.num_bytes
            # A digest of each file, by which copies are found.
            digest = hashlib.sha256()
            start = b""
            for block in self._without_repeated(blocks, tally):
                # A text of unknown size must fit into memory, even if it is stored in a file: a
                # stream or a small compressed file could fill the folder of temporary files, which
                # is often in memory, without any warning.
                if self._stays_in_memory or not self._is_sized:
                    check_memory(self.name, builder.num_bytes + len(block))
                builder.add(block)
                digest.update(block)
                start = start or block[:BEGINNING]
                advance(len(block))
            file = ReadFile(
                name=name,
                begin=begin,
                num_bytes=builder.num_bytes - begin,
                digest=digest.digest(),
                start=b"" if name in self._parsed else start,
                data=data_kind(start, name),
            )
            self.files.append(file)
        # A lock file among the files that the shell has named is no mistake of the user.
        if tally.num_used == 0 and not (origin.skipped.get(LOCK) and len(self.origins) > 1):
            raise _no_file(origin, tally)
        return tally

    def _without_repeated(self, blocks: Iterable[bytes], tally: Tally) -> Iterable[bytes]:
        if self.documents is None or not self.documents.are_unique:
            return blocks
        # Here and not where documents are divided: a file of a folder may be read twice.
        parts = (("", Line(0, part)) for block in blocks for part in _PART.findall(block))
        kept = without_repeated(parts, seen=self._seen, tally=tally)
        return in_blocks(line for _, line in kept)

    @property
    def _is_running_text(self) -> bool:
        """Whether files are joined: documents have their own ends, and bytes stay as they are."""
        return self.kind == "char" and self.documents is None

    def lines(self) -> Iterator[tuple[str, Line]]:
        """Read the text again, before its documents are brought into their order: yield its lines,
        each after the name of its file. They end before a stream that was not kept."""
        if self.documents is None or not self.documents.are_unique:
            return self._lines_again()
        return without_repeated(self._lines_again(), seen=set(), tally=Tally())

    def _lines_again(self) -> Iterator[tuple[str, Line]]:
        ends_line = True
        for name, reading in self._used:
            tally = Tally()
            blocks: Iterable[bytes] = self._kept.get(name, ())
            if not blocks:
                path = Path(name)
                if not path.is_file():
                    return
                blocks = file_blocks(path, reading, tally, needs_regular=True)
            if self._is_running_text and not ends_line:
                yield name, Line(1, b"\n")
            for line in self._lines_of(blocks, label=name, tally=tally):
                yield name, line
                ends_line = line.content.endswith(b"\n")

    def _files(self, origin: Origin, tally: Tally) -> Iterator[tuple[str, Iterable[bytes]]]:
        """Yield the name of each usable file, or of the stream of a source, and its text in blocks;
        count unusable files in `tally`.

        Raises DataError for a named file that is unusable, TextChangedError for a file that changes
        while it is read.
        """
        if origin.stream is not None:
            if origin.stream.isatty():
                tell("Waiting for a text on standard input; Ctrl-D ends it ...")
            self._used.append((origin.label, self._reading))
            blocks = stream_blocks(origin.label, origin.stream, self._reading, tally)
            yield origin.label, self._text_of(blocks, label=origin.label, tally=tally)
            return

        reading = replace(self._reading, is_in_folder=origin.skips_unusable)
        first_fault: DataError | None = None
        for path in origin.paths:
            if path.is_fifo() and not origin.needs_regular:
                tell(f"Waiting for a program that writes a text into the pipe {path} ...")
            text: Iterable[bytes]
            try:
                if origin.skips_unusable:
                    text = self._read_ahead(path, origin, reading, tally)
                else:
                    text = self._file(path, origin, reading, tally)
            except TextChangedError:
                raise
            except PointerError:
                tally.num_pointers += 1
            except DataError as fault:
                tally.skipped.append(path.name)
                problem = str(fault).splitlines()[0].removeprefix(f"{path} ")
                tally.faults.setdefault(problem, path.name)
                first_fault = first_fault or fault
            else:
                self._used.append((str(path), reading))
                yield str(path), text

        # The fault may be a single line of a large file. If no file has the column, the error is
        # raised, because it lists the columns.
        if first_fault is not None and self._has_column and tally.num_used == 0:
            raise first_fault

    def _read_ahead(
        self, path: Path, origin: Origin, reading: Reading, tally: Tally
    ) -> Iterable[bytes]:
        """Read a file of a folder to its end, because even the last byte may show that it is
        unusable. A long one is then read again."""
        file_tally = Tally()
        blocks = self._file(path, origin, reading, file_tally)
        held = list(islice(blocks, _BLOCKS_HELD))
        is_long = next(blocks, None) is not None
        for _ in blocks:
            pass
        tally.add_file(file_tally)
        if is_long:
            return self._file(path, origin, reading, Tally())
        return held

    def _file(self, path: Path, origin: Origin, reading: Reading, tally: Tally) -> Iterator[bytes]:
        blocks = file_blocks(path, reading, tally, needs_regular=origin.needs_regular)
        return self._text_of(blocks, label=str(path), tally=tally)

    def _text_of(self, blocks: Iterable[bytes], *, label: str, tally: Tally) -> Iterator[bytes]:
        """Yield the text of a file in blocks. What can be read only once is kept."""
        if self._stays_in_memory and not Path(label).is_file():
            blocks = self._kept.setdefault(label, list(blocks))
        yield from in_blocks(self._lines_of(blocks, label=label, tally=tally))

    @property
    def _has_column(self) -> bool:
        return self.documents is not None and self.documents.kind == "column"

    def _lines_of(self, blocks: Iterable[bytes], *, label: str, tally: Tally) -> Iterable[Line]:
        """Return the lines of the text of a file, with the numbers that they have in the file:
        without what nobody wrote, tidied, joined and divided into documents."""
        # The beginning is read first: then it is known whether pandoc has read the file.
        rest = iter(blocks)
        start = next(rest)
        lines: Iterable[Line] = whole_lines(chain((start,), rest))
        # Nobody sees the lines of a document that pandoc has made.
        if label in tally.documents:
            lines = _numbered_by_paragraph(split_lines(lines))
        # The values of a column are known only when its table is read.
        if self._is_cleaned and not self._has_column:
            written = self._written(lines, start[:BEGINNING], label=label, tally=tally)
            lines = tidied_lines(written, tally)
        if self._joins_lines:
            # Its regular expressions take a twentieth of the start of `sample`.
            from charrnn.text.paragraphs import join_lines

            lines = join_lines(split_lines(lines))
        if self.documents is not None:
            lines = self.documents.read(split_lines(lines), label=label, tally=tally)
        if self._is_cleaned and self._has_column:
            lines = tidied_lines(lines, tally, end=END_BYTE)
        return lines

    def _written(
        self, lines: Iterable[Line], start: bytes, *, label: str, tally: Tally
    ) -> Iterable[Line]:
        """Return the lines of a file that somebody wrote, given its beginning."""
        if start[:3] in (b"---", b"+++"):
            return without_settings(split_lines(lines), tally)
        if label in tally.documents or b"project gutenberg" in start.lower():
            all_lines = list(split_lines(lines))
            return without_terms(all_lines, tally) or all_lines

        # A chat and subtitles are parsed as a whole.
        head = start.decode("utf-8", "replace")
        if not (cue_format(head) or find_stamps(head) or JSON_CHAT.match(head)):
            return lines
        content = b"".join(line.content for line in lines)
        check_memory(label, len(content))
        said = _said_lines(label, content.decode(), tally)
        if said is None:
            return [Line(1, content)]
        self._parsed.add(label)
        return said


def _said_lines(label: str, text: str, tally: Tally) -> Sequence[Line] | None:
    """Return the lines that somebody said of subtitles or a chat; None for any other text."""
    if format := cue_format(text[:BEGINNING]):
        lines = parse_cues(label, text, format)
        if lines is not None:
            tally.changes[CUES] += text.count("\n") - len(lines)
        return lines
    if JSON_CHAT.match(text[:BEGINNING]):
        lines = messages_of_json(text)
        tally.changes[_FROM_JSON] += len(lines)
        return lines or None
    chat = parse_chat(text)
    if chat is None:
        return None
    if not chat.is_sure:
        tally.changes[_LIKE_CHAT] += chat.num_stamps
        return None
    tally.changes[STAMPS] += chat.num_stamps
    tally.changes[UNWRITTEN] += chat.num_left_out
    return chat.lines


def _numbered_by_paragraph(lines: Iterable[Line]) -> Iterator[Line]:
    number = 0
    for line in lines:
        number += not is_blank(line.content)
        yield Line(max(1, number), line.content)


def in_blocks(lines: Iterable[Line]) -> Iterator[bytes]:
    """Join lines into blocks."""
    pieces: list[bytes] = []
    num_bytes = 0
    for line in lines:
        pieces.append(line.content)
        num_bytes += len(line.content)
        if num_bytes >= BLOCK_BYTES:
            yield b"".join(pieces)
            pieces = []
            num_bytes = 0
    if pieces:
        yield b"".join(pieces)


def file_bytes(origins: Iterable[Origin]) -> int:
    """Return the size of all files of some sources together, as they are on the disk."""
    num_bytes = 0
    for origin in origins:
        for path in origin.paths:
            with suppress(OSError):  # The file is missing, which is reported when it is read.
                num_bytes += os.stat(path).st_size
    return num_bytes


def _has_known_size(path: Path) -> bool:
    """Whether the size of a file says how long its text is, which is unknown of pipes, devices and
    compressed files."""
    return path.is_file() and without_gz(path.name) == path.name


def _no_file(origin: Origin, tally: Tally) -> DataError:
    if skipped := describe_skipped(origin, tally):
        return DataError(
            f"{origin.label} has no file to learn from (skipped: {skipped})"
            f"{describe_faults(tally)}: give one with text"
        )
    return NotHereError(
        origin.label, f"{origin.label} is an empty folder: give one with text files"
    )

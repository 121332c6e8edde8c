"""Read the text of files and streams: find out what each is, leave out what nobody wrote, count and
hash it, and then encode it in an alphabet."""

import codecs
import hashlib
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from charrnn.errors import CharRNNError, DataError, NotHereError, TextChangedError, counted
from charrnn.system.progress import Task, task, tell
from charrnn.text.cleaning import (
    BEGINNING,
    CUES,
    STAMPS,
    UNWRITTEN,
    tidied_blocks,
    tidied_lines,
    without_settings,
    without_terms,
)
from charrnn.text.columns import describe_start
from charrnn.text.cues import cue_format, parse_cues
from charrnn.text.documents import END_BYTE, Documents, without_repeated
from charrnn.text.file_kinds import data_kind
from charrnn.text.id_builder import BLOCK_BYTES, EncodedBlock, IdBuilder, joined, mapped
from charrnn.text.messages import find_stamps, messages_of_json, parse_chat
from charrnn.text.pandoc import DocumentTexts
from charrnn.text.places import PlacedLine
from charrnn.text.reading_notes import (
    ReadFile,
    describe_faults,
    describe_skipped,
    notes_on_source,
)
from charrnn.text.sources import Origin
from charrnn.text.text_files import (
    Change,
    Line,
    Reading,
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
_PART = re.compile(rb"[^\0]*\0|[^\0]+")
"""Matches a part of a document up to its END, or to the end of a block."""
_JSON_CHAT = re.compile(
    r'\s*[\[{](?=.*"(?:sender_name|from|author|user_profile|user|role)"\s*:)', re.DOTALL
)
_JUDGED = "file", "read {num} of {label} as UTF-8, which it is"
_LIKE_CHAT = (
    "message",
    "{label} looks like a chat of {num}, but many of them have no name: its dates are learned",
)
_FROM_JSON = "message", "read {num} of {label} out of its JSON, each after its name"


@dataclass(frozen=True, slots=True)
class _UsedFile:
    """A file or a stream that is part of the text."""

    name: str
    reading: Reading


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
        self._used: list[_UsedFile] = []
        """What makes up the text, in order."""
        self._kept: dict[str, list[bytes]] = {}
        """Streams and pipes that can be read only once, by their names."""
        # What was read, for notes and places.
        self._parsed: set[str] = set()
        """The names of the chats and subtitles, which are no lists."""
        self.files: list[ReadFile] = []
        """What was read of each file, in order."""

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
        first = 0
        for origin, tally in zip(self.origins, self._tallies, strict=True):
            files = self.files[first : first + tally.num_used]
            first += tally.num_used
            notes += notes_on_source(origin, tally, files, documents=self.documents)
            notes += self._note_on_column(origin)

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

    def _note_on_column(self, origin: Origin) -> Iterator[str]:
        """Describe how the first file is read, if its column is given by its position."""
        if self.documents is None or self.documents.column is None:
            return
        for path in origin.paths[:1]:
            # A pipe cannot be read again, and an unusable file of a folder is skipped.
            if path.is_file():
                blocks = file_blocks(path, self._reading, Tally(), needs_regular=True)
                with suppress(DataError):
                    column = self.documents.column
                    if start := describe_start(blocks, column=column, label=str(path)):
                        yield f"{origin.label} {start}"

    def _read_source(self, origin: Origin, advance: Task) -> Tally:
        builder = self._builder
        tally = Tally()
        for used, blocks in self._files(origin, tally):
            tally.num_used += 1
            self._used.append(used)
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
                name=used.name,
                begin=begin,
                num_bytes=builder.num_bytes - begin,
                digest=digest.digest(),
                start=b"" if used.name in self._parsed else start,
                data=data_kind(start, used.name),
            )
            self.files.append(file)
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
        for used in self._used:
            name = used.name
            tally = Tally()
            blocks: Iterable[bytes] = self._kept.get(name, ())
            if not blocks:
                path = Path(name)
                if not path.is_file():
                    return
                blocks = file_blocks(path, used.reading, tally, needs_regular=True)
            if self._is_running_text and not ends_line:
                yield PlacedLine(name, 1, b"\n")
            whole, lines = self._written(iter(blocks), label=name, tally=tally)
            for line in lines or self._divided(file_lines(whole), label=name, tally=tally):
                yield PlacedLine(name, *line)
                ends_line = line.content.endswith(b"\n")

    def _files(self, origin: Origin, tally: Tally) -> Iterator[tuple[_UsedFile, Iterator[bytes]]]:
        """Yield each usable file, or the stream of a source, and its blocks; count unusable files
        in `tally`.

        Raises DataError for a named file that is unusable, TextChangedError for a file that changes
        while it is read.
        """
        if origin.stream is not None:
            if origin.stream.isatty():
                tell("Waiting for a text on standard input; Ctrl-D ends it ...")
            content = stream_blocks(origin.label, origin.stream, self._reading, tally)
            used = _UsedFile(origin.label, self._reading)
            yield used, self._text_of(content, label=origin.label, tally=tally)
        elif origin.skips_unusable:
            yield from self._usable_files(origin, tally)
        else:
            for path in origin.paths:
                if path.is_fifo() and not origin.needs_regular:
                    tell(f"Waiting for a program that writes a text into the pipe {path} ...")
                used = _UsedFile(str(path), self._reading)
                yield used, self._file(path, origin, self._reading, tally)

    def _usable_files(
        self, origin: Origin, tally: Tally
    ) -> Iterator[tuple[_UsedFile, Iterator[bytes]]]:
        """Yield each usable file of a folder or a pattern, and its blocks."""
        first_fault: DataError | None = None
        for path in origin.paths:
            # Each file is judged by itself: one in UTF-8 may stand beside one of the encoding.
            fault: DataError | None = None
            for reading in self._readings():
                try:
                    blocks = self._read_ahead(path, origin, reading, tally)
                except TextChangedError:
                    raise
                except DataError as error:
                    fault = error
                    continue
                fault = None
                yield _UsedFile(str(path), reading), blocks
                break
            if fault is None:
                continue
            if self._is_pointer_fault(fault, tally):
                continue
            tally.skipped.append(path.name)
            problem = str(fault).splitlines()[0].removeprefix(f"{path} ")
            tally.faults.setdefault(problem, path.name)
            first_fault = first_fault or fault

        # The fault may be a single line of a large file. If no file has the column, the error is
        # raised, because it lists the columns.
        has_column = self.documents is not None and self.documents.kind == "column"
        if first_fault is not None and has_column and tally.num_used == 0:
            raise first_fault

    def _is_pointer_fault(self, fault: DataError, tally: Tally) -> bool:
        # A pointer is counted, and not called unusable.
        is_pointer = isinstance(fault, _PointerError)
        tally.num_pointers += is_pointer
        return is_pointer

    def _readings(self) -> Iterator[Reading]:
        """Yield the ways to read a file of a folder, the first that fits counts."""
        encoding = self._reading.encoding
        if encoding is not None:
            name = codecs.lookup(encoding).name
            # In these, a text may have no byte that is not ASCII.
            if not name.startswith(("utf", "iso2022", "hz")):
                yield replace(self._reading, encoding="utf-8")
        yield self._reading

    def _read_ahead(
        self, path: Path, origin: Origin, reading: Reading, tally: Tally
    ) -> Iterator[bytes]:
        """Read a file to its end, because even the last byte may show that it is unusable. A file
        of one block is kept in memory; a longer file is read twice."""
        changes = Tally()
        blocks = self._file(path, origin, reading, changes)
        try:
            first_block = next(blocks)
            is_long = next(blocks, None) is not None
            for _ in blocks:
                pass
        except DataError as error:
            if changes.num_pointers:
                raise _PointerError(error.message) from error
            raise
        if reading != self._reading and not first_block.isascii():
            changes.changes[_JUDGED] += 1
        tally.add_changes(changes)
        if is_long:
            return self._file(path, origin, reading, Tally())
        return iter((first_block,))

    def _file(self, path: Path, origin: Origin, reading: Reading, tally: Tally) -> Iterator[bytes]:
        blocks = file_blocks(path, reading, tally, needs_regular=origin.needs_regular)
        return self._text_of(blocks, label=str(path), tally=tally)

    def _text_of(self, blocks: Iterator[bytes], *, label: str, tally: Tally) -> Iterator[bytes]:
        """Yield the text of a file in blocks, of which what nobody wrote is left out."""
        if self._stays_in_memory and not Path(label).is_file():
            blocks = self._keeping(blocks, label)
        # The lines of a text that nothing changes need not be looked at.
        blocks, lines = self._written(blocks, label=label, tally=tally)
        if lines is None and (self.documents is not None or self._joins_lines):
            lines = self._divided(file_lines(blocks), label=label, tally=tally)
        if lines is not None:
            blocks = in_blocks(line.content for line in lines)
        elif self._is_cleaned:
            blocks = tidied_blocks(blocks, tally)
        yield from blocks

    def _keeping(self, blocks: Iterator[bytes], label: str) -> Iterator[bytes]:
        kept = self._kept.setdefault(label, [])
        for block in blocks:
            kept.append(block)
            yield block

    def _written(
        self, blocks: Iterator[bytes], *, label: str, tally: Tally
    ) -> tuple[Iterator[bytes], Iterator[Line] | None]:
        """Return a text in blocks, and its lines if a part of it is left out, or if pandoc has made
        them; None if not."""
        start = next(blocks)
        blocks = chain((start,), blocks)
        has_column = self.documents is not None and self.documents.kind == "column"
        is_document = label in tally.documents
        if not self._is_cleaned or has_column:
            if not is_document:
                return blocks, None
            lines: Iterable[Line] = _numbered_by_paragraph(file_lines(blocks))
            return iter(()), self._divided(lines, label=label, tally=tally)

        head = start[:BEGINNING].decode("utf-8", "replace")
        if start[:3] in (b"---", b"+++"):
            lines = without_settings(file_lines(blocks), tally)
            return iter(()), self._divided(lines, label=label, tally=tally)
        if is_document or b"roject Gutenberg" in start or b"PROJECT GUTENBERG" in start:
            all_lines = [*file_lines(blocks)]
            # Nobody sees the lines of a document that pandoc has made.
            if is_document:
                all_lines = [*_numbered_by_paragraph(all_lines)]
            all_lines = without_terms(all_lines, tally) or all_lines
            return iter(()), self._divided(all_lines, label=label, tally=tally)

        # Of these, a text is parsed as a whole.
        is_unit = cue_format(head) or len(find_stamps(head)) > 0 or _JSON_CHAT.match(head)
        if not is_unit:
            return blocks, None
        content = b"".join(blocks)
        check_memory(label, len(content))
        unit_lines = _unit_lines(label, content.decode(), tally)
        if unit_lines is None:
            return iter((content,)), None
        self._parsed.add(label)
        return iter(()), self._divided(unit_lines, label=label, tally=tally)

    def _divided(self, lines: Iterable[Line], *, label: str, tally: Tally) -> Iterator[Line]:
        """Yield the lines of the text of one file, with the numbers that they have in the file,
        tidied, joined and divided into documents."""
        # The values of a column are known only when its table is read.
        has_column = self.documents is not None and self.documents.kind == "column"
        if self._is_cleaned and not has_column:
            lines = tidied_lines(lines, tally)
        if self._joins_lines:
            # Its regular expressions take a twentieth of the start of `sample`.
            from charrnn.text.paragraphs import join_lines

            lines = join_lines(lines)
        if self.documents is not None:
            lines = self.documents.read(lines, label=label, tally=tally)
        if self._is_cleaned and has_column:
            lines = tidied_lines(lines, tally, end=END_BYTE)
        yield from lines


class _PointerError(DataError):
    """A file stands for another one."""


def _unit_lines(label: str, text: str, tally: Tally) -> list[Line] | None:
    """Return the lines that somebody wrote of subtitles or a chat; None for any other text."""
    if format := cue_format(text[:BEGINNING]):
        lines = parse_cues(label, text, format)
        if lines is not None:
            tally.changes[CUES] += text.count("\n") - len(lines)
        return lines
    if _JSON_CHAT.match(text[:BEGINNING]):
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
    return [*chat.lines]


def _numbered_by_paragraph(lines: Iterable[Line]) -> Iterator[Line]:
    number = 0
    for line in lines:
        number += not is_blank(line.content)
        yield Line(max(1, number), line.content)


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


def _no_file(origin: Origin, tally: Tally) -> DataError:
    if skipped := describe_skipped(origin, tally):
        return DataError(
            f"{origin.label} has no file to learn from (skipped: {skipped})"
            f"{describe_faults(tally)}: give one with text"
        )
    return NotHereError(
        origin.label, f"{origin.label} is an empty folder: give one with text files"
    )

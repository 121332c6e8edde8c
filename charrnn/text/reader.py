"""Read the text of files and streams: count it, hash it, and then encode it in an alphabet.

What is done with the lines of each file is in `stages`.
"""

import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from charrnn.config.settings import Config
from charrnn.errors import DataError, TextChangedError, UsageError, listed, named
from charrnn.system.arrays import Int64Array
from charrnn.system.files import convert_os_errors
from charrnn.system.progress import Task, task, tell
from charrnn.text.document_order import arrange, digest_in_order
from charrnn.text.id_builder import EncodedBlock, IdBuilder, stored
from charrnn.text.parting_lines import name_repeated, repeated_lines
from charrnn.text.reading_notes import (
    describe_file,
    describe_skipped,
    notes_on_changes,
    notes_on_chats,
    notes_on_source,
)
from charrnn.text.sources import Origin
from charrnn.text.stages import FindText, staged_lines
from charrnn.text.text_files import FileRecord, Line, check_text_fits, opened
from charrnn.text.vocab import Vocab

_BLOCK = 1 << 20
"""Bytes of a stream that are read at once."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SourceText:
    """The text that `read_sources` has read of files and streams. Its ids can be encoded in any
    alphabet, and its lines can be read again.

    It is there for whoever must know something of the text, such as its characters or its digest,
    before choosing the alphabet; `corpus.read_corpus` reads and encodes at once.
    """

    origins: Sequence[Origin]
    """The sources."""
    config: Config
    """How they are read."""
    files: Sequence[FileRecord]
    """What was read of each file, in order."""
    notes: Sequence[str]
    """The omissions and changes in each source, one sentence each."""
    pandoc_texts: Mapping[str, str]
    """The texts of the files that pandoc has read, by their digests."""
    file_bytes: int
    """The size of all files together, as they are on the disk."""
    counts: Int64Array
    """The number of occurrences of each code point, or byte."""
    digest: str
    """SHA-256 of the text, whose documents are in the order of the configuration."""
    repeated: Counter[str]
    """The repeated lines in the beginnings of the files, where lines part documents."""
    builder: IdBuilder
    """What holds the text until it is encoded."""
    copies: Mapping[str, BinaryIO]
    """Copies of what can be read only once, by its name."""

    @property
    def name(self) -> str:
        """The name of the text in messages."""
        return _name_of(self.origins)

    def encode(self, vocab: Vocab) -> EncodedBlock:
        """Encode the text in an alphabet. Returns `Corpus.ids` and `Corpus.unknown`; must be called
        only once.

        Raises CharRNNError if the ids of a large text cannot be written.
        """
        store = partial(stored, vocab=vocab, num_bytes=self.builder.num_bytes)
        with _may_write(self.file_bytes):
            encoded = store(self.builder.encode(vocab, self.counts))
            if self.config.end_id is not None:
                encoded = store(arrange(encoded, config=self.config))
            return encoded

    def check_parting(self) -> None:
        """Raise DataError if the line that should part the documents is not in the text."""
        if problem := _problem_of_parting(self.config, files=self.files, name=self.name):
            remedy = f"give the line between two documents as {named('documents', 'line:TEXT')}"
            raise DataError(f"{problem}: {name_repeated(self.repeated)}\n{remedy}")

    def check_fits(self) -> None:
        """Raise DataError if the text does not fit into memory as a whole.

        Call it for a text whose `content` will be asked for; training reads its text in blocks.
        """
        check_text_fits(self.name, self.builder.num_bytes)

    def lines(self) -> Iterator[tuple[FileRecord, Line]]:
        """Read the text again, before its documents are brought into their order: yield its lines,
        each after its file.

        The places of characters in the files are found by it: the numbers of lines are not kept
        while a text is encoded.
        """
        ends_line = True
        seen: set[str] = set()
        for file in self.files:
            if _is_running_text(self.config) and not ends_line:
                yield file, Line(number=1, content="\n")
            again = FileRecord(name=file.name, label=file.label, seen=seen)
            lines = _lines_of(
                again, self.config, copies=self.copies, find_text=self.pandoc_texts.get
            )
            for line in lines:
                yield file, line
                ends_line = line.content.endswith("\n")
            seen |= again.take_documents()


def read_sources(
    origins: Sequence[Origin], config: Config, kept_texts: Mapping[str, str] | None = None
) -> SourceText:
    """Read the text of files and streams as a configuration says. `kept_texts` are those of
    documents that a run has kept, by their digests, and are not read anew.

    Raises UsageError if a running text should have no repeated documents, DataError if a named file
    or all files of a source are unusable, CharRNNError if a large text cannot be written.
    """
    if config.unique_documents and config.end_id is None:
        raise UsageError(
            f"{named('unique_documents')} is true, and the text has no documents: say what a"
            f" document is by {named('documents')} or {named('column')}, or leave it out."
        )

    # The files are read one after the other, and their text is stored.
    num_bytes = file_bytes(origins)
    reading = _Reading(config, kept_texts or {})
    with _may_write(num_bytes), task("reading", total=num_bytes, unit="B") as advance:
        for origin in origins:
            reading.read_source(origin, advance)
        counts = reading.builder.counts()
        # The text is hashed before the documents are brought into their order.
        digest = digest_in_order(reading.builder.digest(), config)

    # What is noted of all files together is known at their end.
    notes = [*reading.notes, *notes_on_changes(reading.files), *notes_on_chats(reading.files)]
    if problem := _problem_of_parting(config, files=reading.files, name=_name_of(origins)):
        notes.append(problem)
    return SourceText(
        origins=origins,
        config=config,
        files=reading.files,
        notes=notes,
        pandoc_texts=reading.pandoc_texts,
        file_bytes=num_bytes,
        counts=counts,
        digest=digest,
        repeated=reading.repeated,
        builder=reading.builder,
        copies=reading.copies,
    )


class _Reading:
    """What was read of some sources so far."""

    def __init__(self, config: Config, kept_texts: Mapping[str, str]):
        self.config = config
        self.kept_texts = kept_texts
        self.files: list[FileRecord] = []
        self.notes: list[str] = []
        self.pandoc_texts: dict[str, str] = {}
        self.builder = IdBuilder(config.alphabet)
        self.copies: dict[str, BinaryIO] = {}
        self.seen: set[str] = set()
        """The documents so far, where none is repeated."""
        self.repeated: Counter[str] = Counter()

    def read_source(self, origin: Origin, advance: Task) -> None:
        """Read the files or the stream of a source. Raises DataError, TextChangedError if a file
        changes while it is read."""
        files = []
        skipped: dict[str, str] = {}
        names = list(map(str, origin.paths))
        if origin.stream is not None:
            names = [origin.label]
        for name in names:
            file = FileRecord(name=name, label=origin.label, seen=self.seen)
            begin = self.builder.num_bytes
            try:
                if origin.stream is not None or not Path(name).is_file():
                    self.copies[name] = _copied(name, origin.stream)
                self._read_file(file, advance)
            except DataError as fault:
                if isinstance(fault, TextChangedError) or not origin.skips_unusable:
                    raise
                # The fault may be at the end of a file, of which then nothing counts.
                self.builder.truncate(begin)
                reason = str(fault).splitlines()[0].removeprefix(f"{name} ")
                skipped[os.path.basename(name)] = reason
                continue
            self.seen |= file.take_documents()
            self.pandoc_texts |= file.pandoc_texts
            files.append(file)

        self.files += files
        self.notes += notes_on_source(origin, skipped=skipped, files=files, config=self.config)
        if not files:
            why = describe_skipped(origin, skipped)
            raise DataError(f"{origin.label} has no file to learn from: give text files\n{why}")

    def _read_file(self, file: FileRecord, advance: Task) -> None:
        builder = self.builder
        if _is_running_text(self.config):
            builder.end_line()
        begin = file.first_byte = builder.num_bytes
        lines = _lines_of(file, self.config, copies=self.copies, find_text=self._find_text)
        for _, content in lines:
            builder.add(content)
            advance(max(0, builder.num_bytes - advance.done))
        file.num_bytes = builder.num_bytes - begin
        if self.config.parting_line is not None:
            self.repeated += repeated_lines(file.start)
        describe_file(file)

    def _find_text(self, digest: str) -> str | None:
        """Return the text of a document that was read before; None if there is none."""
        text = self.pandoc_texts.get(digest)
        if text is None:
            text = self.kept_texts.get(digest)
        return text


def _is_running_text(config: Config) -> bool:
    """Whether each file begins a line: documents have their own ends, and bytes stay as they
    are."""
    return config.alphabet != "byte" and config.end_id is None


def _name_of(origins: Iterable[Origin]) -> str:
    return listed(origin.label for origin in origins)


def _copied(name: str, stream: BinaryIO | None) -> BinaryIO:
    """Copy a stream, a pipe or a device, which can be read only once. Raises DataError if it does
    not fit into memory."""
    is_typed = stream is not None and stream.isatty()
    if Path(name).is_fifo() or is_typed:
        tell(f"Waiting for a text from {name}; Ctrl-D ends one that is typed ...")
    copy = io.BytesIO()
    with opened(Path(name)) if stream is None else nullcontext(stream) as content:
        while block := content.read(_BLOCK):
            copy.write(block)
            check_text_fits(name, copy.tell())
            # The first Ctrl-D ends what is typed. Another reading would wait for a second one.
            if is_typed and len(block) < _BLOCK:
                break
    return copy


def _lines_of(
    file: FileRecord, config: Config, *, copies: Mapping[str, BinaryIO], find_text: FindText
) -> Iterator[Line]:
    """Yield the lines of a file, or of the copy of what can be read only once, as they are learned
    (see `stages`)."""
    opener: AbstractContextManager[BinaryIO] = opened(Path(file.name))
    if file.name in copies:
        copies[file.name].seek(0)
        opener = nullcontext(copies[file.name])
    # It is opened in here: an error of whoever takes the lines is none of this file.
    with opener as content:
        yield from staged_lines(content, config, file=file, find_text=find_text)


@contextmanager
def _may_write(num_bytes: int) -> Iterator[None]:
    """Convert the errors of temporary files for a text of so many bytes; those of the sources are
    DataErrors."""
    try:
        yield
    except OSError:
        # The folder is known if it was needed. Asking for it before would write a file into it,
        # which a text of a few characters does not need.
        folder = Path(tempfile.tempdir or "a temporary folder")
        with convert_os_errors("write to", path=folder, num_bytes=num_bytes):
            raise


def _problem_of_parting(config: Config, files: Sequence[FileRecord], name: str) -> str:
    """Say that no line parts the documents; "" if one does, or none should."""
    mark = config.parting_line
    if mark is None or any(file.num_parting for file in files):
        return ""
    if not mark:
        return f"{named('documents')} is {config.documents!r}, without a text"
    return f"{name} has no line {mark!r}, which parts documents"


def file_bytes(origins: Iterable[Origin]) -> int:
    """Return the size of all files of some sources together, as they are on the disk.

    It is known before anything is read: for a bar of progress, and to tell that a large text has
    changed.
    """
    num_bytes = 0
    for origin in origins:
        for path in origin.paths:
            with suppress(OSError):  # The file is missing, which is reported when it is read.
                num_bytes += os.stat(path).st_size
    return num_bytes

"""Read the text of files and streams: find out what each is, leave out what nobody wrote, count and
hash it, and then encode it in an alphabet."""

import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from itertools import accumulate, chain
from pathlib import Path
from typing import BinaryIO

from charrnn.config.settings import Config
from charrnn.errors import DataError, TextChangedError, UsageError, counted, listed, named
from charrnn.system.files import convert_os_errors
from charrnn.system.progress import Task, task, tell
from charrnn.text.archives import check_size, check_size_of, names_in, seekable
from charrnn.text.cleaning import tidied, written_lines
from charrnn.text.cues import cue_format, parse_cues
from charrnn.text.documents import (
    END,
    arrange,
    digest_in_order,
    read_documents,
    without_repeated,
)
from charrnn.text.file_kinds import SCRIPTS, document_kind, num_scripts, why_not_text
from charrnn.text.id_builder import EncodedBlock, IdBuilder, stored
from charrnn.text.json_chats import JSON_CHAT, messages_of_json
from charrnn.text.messages import find_stamps, parse_chat
from charrnn.text.pandoc import document_digest, read_document
from charrnn.text.parting_lines import name_repeated, repeated_lines
from charrnn.text.reading_notes import (
    describe_file,
    describe_skipped,
    notes_on_source,
    notes_on_speakers,
)
from charrnn.text.sources import Origin
from charrnn.text.text_files import (
    START_BYTES,
    Change,
    EmptyTextError,
    FileRecord,
    Line,
    check_text_fits,
    encoding_of,
    is_blank,
    opened,
    read_pieces,
    split_lines,
    start_in_utf_8,
)
from charrnn.text.vocab import Vocab

BEGINNING = 65_536
"""Characters by which the kind of a text is recognised."""
_BLOCK = 1 << 20
"""Bytes of a stream that are read at once."""


class SourceReader:
    """The text of files and streams, which is read when this is made; then its ids can be encoded
    in any alphabet.

    It is there for whoever must know something of the text, such as its characters or its digest,
    before choosing the alphabet; `corpus.read_corpus` reads and encodes at once.
    """

    def __init__(
        self,
        origins: Sequence[Origin],
        config: Config,
        kept_texts: Mapping[str, str] | None = None,
    ):
        """Read the text as a configuration says. `kept_texts` are those of documents that a run has
        kept, by their digests, and are not read anew.

        Raises UsageError if a running text should have no repeated documents, DataError if a named
        file or all files of a source are unusable, CharRNNError if a large text cannot be written.
        """
        has_documents = config.end_id is not None
        if config.unique_documents and not has_documents:
            raise UsageError(
                f"{named('unique_documents')} is true, and the text has no documents: say what a"
                f" document is by {named('documents')} or {named('column')}, or leave it out."
            )
        self.origins = origins
        self.config = config
        self.document_texts: dict[str, str] = {}
        """The texts of the files that pandoc has read, by their digests."""
        self._kept_texts = kept_texts or {}
        self.files: list[FileRecord] = []
        """What was read of each file, in order."""
        self.notes: list[str] = []
        """The omissions and changes in each source, one sentence each."""
        self.file_bytes = file_bytes(origins)

        self._has_column = config.documents == "column"
        self._is_running_text = config.alphabet != "byte" and not has_documents
        """Whether each file begins a line: documents have their own ends, and bytes stay as they
        are."""
        self._builder = IdBuilder(config.alphabet)
        self._copies: dict[str, BinaryIO] = {}
        """Copies of what can be read only once, by its name."""
        self._seen: set[str] = set()
        """The documents so far, where none is repeated."""
        self._repeated: Counter[str] = Counter()
        """The repeated lines in the beginnings of the files, where lines part documents."""
        with self._may_write(), task("reading", total=self.file_bytes, unit="B") as advance:
            for origin in origins:
                self._read_source(origin, advance)
            self.counts = self._builder.counts()
            """The number of occurrences of each code point, or byte."""
            # The text is hashed before the documents are brought into their order.
            self.digest = digest_in_order(self._builder.digest(), config)
        self.notes += _notes_on_changes(self.files)
        self.notes += notes_on_speakers(self.files)
        if problem := self._problem_of_parting():
            self.notes.append(problem)

    @property
    def name(self) -> str:
        """The name of the text in messages."""
        return listed(origin.label for origin in self.origins)

    def encode(self, vocab: Vocab) -> EncodedBlock:
        """Encode the text in an alphabet. Returns `Corpus.ids` and `Corpus.unknown`; must be called
        only once.

        Raises CharRNNError if the ids of a large text cannot be written.
        """
        store = partial(stored, vocab=vocab, num_bytes=self._builder.num_bytes)
        with self._may_write():
            encoded = store(self._builder.encode(vocab, self.counts))
            if self.config.end_id is not None:
                encoded = store(arrange(encoded, config=self.config))
            return encoded

    def check_parting(self) -> None:
        """Raise DataError if the line that should part the documents is not in the text."""
        if problem := self._problem_of_parting():
            remedy = f"give the line between two documents as {named('documents', 'line:TEXT')}"
            raise DataError(f"{problem}: {name_repeated(self._repeated)}\n{remedy}")

    def _problem_of_parting(self) -> str:
        """Say that no line parts the documents; "" if one does, or none should."""
        mark = self.config.parting_line
        if mark is None or any(file.num_parting for file in self.files):
            return ""
        if not mark:
            return f"{named('documents')} is {self.config.documents!r}, without a text"
        return f"{self.name} has no line {mark!r}, which parts documents"

    @contextmanager
    def _may_write(self) -> Iterator[None]:
        """Convert the errors of temporary files; those of the sources are DataErrors."""
        try:
            yield
        except OSError:
            # The folder is known if it was needed. Asking for it before would write a file into
            # it, which a text of a few characters does not need.
            folder = Path(tempfile.tempdir or "a temporary folder")
            with convert_os_errors("write to", path=folder, num_bytes=self.file_bytes):
                raise

    def check_fits(self) -> None:
        """Raise DataError if the text does not fit into memory as a whole.

        Call it for a text whose `content` will be asked for; training reads its text in blocks.
        """
        check_text_fits(self.name, self._builder.num_bytes)

    def _read_source(self, origin: Origin, advance: Task) -> None:
        """Read the files or the stream of a source. Raises DataError, TextChangedError if a file
        changes while it is read."""
        files = []
        skipped: dict[str, str] = {}
        names = list(map(str, origin.paths))
        if origin.stream is not None:
            names = [origin.label]
        for name in names:
            file = FileRecord(name=name, label=origin.label)
            begin = self._builder.num_bytes
            try:
                if origin.stream is not None or not Path(name).is_file():
                    self._copies[name] = self._copied(name, origin.stream)
                self._read_file(file, advance)
            except DataError as fault:
                if isinstance(fault, TextChangedError) or not origin.skips_unusable:
                    raise
                # The fault may be at the end of a file, of which then nothing counts.
                self._builder.truncate(begin)
                reason = str(fault).splitlines()[0].removeprefix(f"{name} ")
                skipped[os.path.basename(name)] = reason
                continue
            self._seen |= file.take_documents()
            self.document_texts |= file.document_texts
            files.append(file)

        self.files += files
        self.notes += notes_on_source(origin, skipped=skipped, files=files, config=self.config)
        if not files:
            why = describe_skipped(origin, skipped)
            raise DataError(f"{origin.label} has no file to learn from: give text files\n{why}")

    def _copied(self, name: str, stream: BinaryIO | None) -> BinaryIO:
        """Copy a stream, a pipe or a device, which can be read only once. Raises DataError if
        it does not fit into memory."""
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

    def _read_file(self, file: FileRecord, advance: Task) -> None:
        builder = self._builder
        if self._is_running_text:
            builder.end_line()
        begin = file.first_byte = builder.num_bytes
        for _, content in self._lines_of(file, self._seen):
            builder.add(content)
            advance(max(0, builder.num_bytes - advance.done))
        file.num_bytes = builder.num_bytes - begin
        if self.config.parting_line is not None:
            self._repeated += repeated_lines(file.start)
        describe_file(file)

    def lines(self) -> Iterator[tuple[FileRecord, Line]]:
        """Read the text again, before its documents are brought into their order: yield its lines,
        each after its file.

        The places of characters in the files are found by it: the numbers of lines are not kept
        while a text is encoded.
        """
        ends_line = True
        seen: set[str] = set()
        for file in self.files:
            if self._is_running_text and not ends_line:
                yield file, Line(number=1, content="\n")
            again = FileRecord(name=file.name, label=file.label)
            for line in self._lines_of(again, seen):
                yield file, line
                ends_line = line.content.endswith("\n")
            seen |= again.take_documents()

    def _lines_of(self, file: FileRecord, seen: set[str]) -> Iterator[Line]:
        """Yield the lines of a file with the numbers that they have in it: without what nobody
        wrote, tidied, joined and divided into documents, without those that were `seen`."""
        file_opener: AbstractContextManager[BinaryIO] = opened(Path(file.name))
        if file.name in self._copies:
            self._copies[file.name].seek(0)
            file_opener = nullcontext(self._copies[file.name])
        with file_opener as content:
            pieces = self._pieces_of(content, file)
            first = next(pieces, None)
            if first is None or not first.content:
                raise EmptyTextError(f"{file.name} is empty: give a file with text in it")
            file.start = first.content[:BEGINNING]
            file.is_parsed = self._has_column

            lines: Iterable[Line] = chain((first,), pieces)
            if self.config.composes and not self._has_column:
                lines = _written(first, pieces=pieces, file=file)
            # Nobody sees the lines of a document: they are counted as paragraphs.
            if file.is_document:
                lines = _by_paragraph(first.content, lines)
            # The values of a column are known only when its table is read.
            if self._has_column:
                lines = read_documents(lines, config=self.config, file=file)
            if self.config.composes:
                lines = map(partial(_tidied, file=file), lines)
            if self.config.join_lines and self.config.alphabet != "byte":
                # Its regular expressions take a twentieth of the start of `sample`.
                from charrnn.text.paragraphs import join_lines

                lines = join_lines(split_lines(lines), self.config.parting_line or "")
            if self.config.end_id is not None and not self._has_column:
                lines = read_documents(lines, config=self.config, file=file)
            if self.config.unique_documents:
                lines = without_repeated(lines, seen=seen, file=file)
            yield from lines

    def _pieces_of(self, content: BinaryIO, file: FileRecord) -> Iterator[Line]:
        """Yield a file in pieces of whole lines; of a document, its text."""
        kind = None
        encoding = None
        is_archive = False
        if self.config.alphabet != "byte":
            encoding = self.config.encoding
            start = content.read(START_BYTES)
            file.encoding = encoding_of(start, encoding)
            if start.startswith(b"PK"):
                content = seekable(file.name, content)
                names = names_in(content)
                is_archive = names != b""
                start = names or start
            start = start_in_utf_8(start)
            if self.config.clean:
                kind = document_kind(start)
            if kind is None and (reason := why_not_text(start, clean=self.config.clean)):
                raise DataError(f"{file.name} {reason}")
            content.seek(0)
        pieces = read_pieces(
            file.name, file=content, encoding=encoding, allows_nul=self.config.clean
        )
        if kind is None:
            yield from pieces
            return

        file.is_document = True
        file.changes["file", f"read {{num}} of {{label}} by pandoc ({kind.what})"] += 1
        # A document in characters is decoded first, as any text is, with the same errors.
        if not is_archive:
            check_size_of(file.name, content)
            data = _decoded(file.name, pieces)
            if kind.format == "html":
                file.changes[SCRIPTS] += num_scripts(data)
            content = io.BytesIO(data)
        digest = document_digest(content, kind)
        text = self.document_texts.get(digest)
        if text is None:
            text = self._kept_texts.get(digest)
        if text is None:
            text = read_document(file.name, file=content, kind=kind)
        file.document_texts[digest] = text
        yield Line(number=1, content=text)


def _decoded(name: str, pieces: Iterable[Line]) -> bytes:
    """Return a document in characters as UTF-8. Raises DataError if it is too large."""
    data = bytearray()
    for piece in pieces:
        data += piece.content.encode()
        check_size(name, len(data))
    return bytes(data)


def _written(first: Line, pieces: Iterator[Line], file: FileRecord) -> Iterator[Line]:
    """Yield the lines of a file that somebody wrote. A chat and subtitles are parsed as a whole."""
    format = cue_format(file.start)
    is_json = JSON_CHAT.match(file.start)
    if not (format or is_json or find_stamps(file.start)):
        yield from written_lines(first.content, file.changes)
        yield from pieces
        return

    text = "".join(line.content for line in chain((first,), pieces))
    chat = None
    said = None
    if format:
        said = parse_cues(file.name, text=text, format=format, changes=file.changes)
    elif is_json:
        chat = messages_of_json(text, file.changes)
    else:
        chat = parse_chat(text, file.changes)
    if chat is not None:
        said = chat.lines
        file.speakers = chat.speakers
    file.is_parsed = said is not None
    if said is None:
        said = [Line(number=1, content=text)]
    yield from said


def _by_paragraph(text: str, lines: Iterable[Line]) -> Iterator[Line]:
    """Yield lines of a text by themselves, each after the number of its paragraph."""
    numbers = list(accumulate(not is_blank(line) for line in text.split("\n")))
    for number, content in split_lines(lines):
        yield Line(max(1, numbers[number - 1]), content)


def _tidied(line: Line, file: FileRecord) -> Line:
    # The END of a document is no stray character.
    content = line.content.removesuffix(END)
    return Line(line.number, tidied(content, file.changes) + line.content[len(content) :])


def _notes_on_changes(files: Sequence[FileRecord]) -> Iterator[str]:
    """Describe each change once: the shell may have named many chapters."""
    totals: Counter[Change] = Counter()
    for file in files:
        totals += file.changes
    kinds: dict[str, Counter[str]] = {}
    for (noun, note), num in totals.items():
        if "{kinds}" in note:
            kinds.setdefault(note, Counter())[noun] += num
        else:
            label = _labels(files, {(noun, note)})
            yield note.format(num=counted(num, noun), label=label)

    # The kinds of one change stand in one note, the most frequent first.
    for note, nums in kinds.items():
        listed_kinds = ", ".join(f"{num:,} {kind}" for kind, num in nums.most_common())
        label = _labels(files, {(kind, note) for kind in nums})
        yield note.format(kinds=listed_kinds, label=label)


def _labels(files: Sequence[FileRecord], changes: set[Change]) -> str:
    """Return the names of the sources whose files have one of these changes."""
    changed = [file for file in files if any(file.changes[change] for change in changes)]
    return listed(dict.fromkeys(file.label for file in changed))


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

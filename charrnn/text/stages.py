"""The stages through which a file passes on its way from bytes to the text that a model learns.

`decoded` makes lines of the bytes, by pandoc (`pandoc.read_by_pandoc`) or by their encoding
(`text_files.read_pieces`). `STAGES` lists what is done with the lines after that, in its order. A
stage begins with the condition on which it changes nothing.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, chain
from typing import BinaryIO

from charrnn.config.settings import Config
from charrnn.errors import DataError
from charrnn.text.archives import check_size, check_size_of, names_in, seekable
from charrnn.text.cleaning import tidied, written_lines
from charrnn.text.cues import cue_format, parse_cues
from charrnn.text.documents import END, documents_of_file, without_repeated
from charrnn.text.file_kinds import SCRIPTS, Kind, num_scripts, pandoc_kind, why_not_text
from charrnn.text.json_chats import JSON_CHAT, messages_of_json
from charrnn.text.messages import find_stamps, parse_chat
from charrnn.text.pandoc import pandoc_digest, read_by_pandoc
from charrnn.text.phone_numbers import num_lines_with_number
from charrnn.text.text_files import (
    START_BYTES,
    Chat,
    EmptyTextError,
    FileRecord,
    Line,
    encoding_of,
    is_blank,
    read_pieces,
    split_lines,
    start_in_utf_8,
)

BEGINNING = 65_536
"""Characters by which the kind of a text is recognised."""

_HALVES = (
    "half character",
    "read {num} of {label} as ?: JSON has {them} where a text was cut in the middle of a character",
)
"""A change of a text: half of a surrogate pair."""
_HALF = re.compile("[\ud800-\udfff]")
_HALF_BUT_BYTES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Matches halves, without those that stand for a byte in a text of bytes."""

FindText = Callable[[str], str | None]
"""Return the text that pandoc has read in a file before, by its digest; None if there is none."""


def staged_lines(
    content: BinaryIO, config: Config, *, file: FileRecord, find_text: FindText
) -> Iterator[Line]:
    """Yield the lines of a file with the numbers that they have in it: without what nobody wrote,
    tidied, joined and divided into documents, without those of earlier files.

    Both the first reading of a text and each later one go through it. What is left out or changed
    is counted in `file`. Raises DataError.
    """
    lines = decoded(content, config, file=file, find_text=find_text)
    first = next(lines, None)
    if first is None or not first.content:
        raise EmptyTextError(f"{file.name} is empty: give a file with text in it")
    file.start = first.content[:BEGINNING]

    lines = chain((first,), lines)
    for stage in STAGES:
        lines = stage(lines, config, file)
    yield from lines


def decoded(
    content: BinaryIO, config: Config, *, file: FileRecord, find_text: FindText
) -> Iterator[Line]:
    """Yield a file in pieces of whole lines; what pandoc reads, such as a .docx, is one piece.

    Raises DataError for a file that is no text.
    """
    kind = None
    encoding = None
    is_archive = False
    if config.alphabet != "byte":
        encoding = config.encoding
        start = content.read(START_BYTES)
        file.encoding = encoding_of(start, encoding)
        if start.startswith(b"PK"):
            content = seekable(file.name, content)
            names = names_in(content)
            is_archive = names != b""
            start = names or start
        start = start_in_utf_8(start)
        if config.clean:
            kind = pandoc_kind(start)
        if kind is None and (reason := why_not_text(start, clean=config.clean)):
            raise DataError(f"{file.name} {reason}")
        content.seek(0)

    pieces = read_pieces(file.name, file=content, encoding=encoding, allows_nul=config.clean)
    if kind is None:
        yield from pieces
        return

    file.is_read_by_pandoc = True
    file.changes["file", f"read {{num}} of {{label}} by pandoc ({kind.what})"] += 1
    # A page and other files in characters are decoded first, as any text is, with the same errors.
    if not is_archive:
        check_size_of(file.name, content)
        data = _in_utf_8(file.name, pieces)
        if kind.format == "html":
            file.changes[SCRIPTS] += num_scripts(data)
        content = io.BytesIO(data)
    yield Line(number=1, content=_text_by_pandoc(content, kind, file, find_text))


def _in_utf_8(name: str, pieces: Iterable[Line]) -> bytes:
    """Return a file for pandoc that is in characters as UTF-8. Raises DataError if it is too
    large."""
    data = bytearray()
    for piece in pieces:
        data += piece.content.encode()
        check_size(name, len(data))
    return bytes(data)


def _text_by_pandoc(content: BinaryIO, kind: Kind, file: FileRecord, find_text: FindText) -> str:
    """Return the text of a file, which pandoc reads only if it has not read it before."""
    digest = pandoc_digest(content, kind)
    text = find_text(digest)
    if text is None:
        text = read_by_pandoc(file.name, file=content, kind=kind)
    file.pandoc_texts[digest] = text
    return text


def leave_out_unwritten(lines: Iterator[Line], config: Config, file: FileRecord) -> Iterator[Line]:
    """Leave out what a program wrote in a chat or in subtitles, and of any other text the terms of
    Project Gutenberg and a head of settings."""
    if not config.composes or config.documents == "column":
        return lines
    # A chat and subtitles are parsed as a whole; of other texts only the first piece is looked at.
    if cue_format(file.start) or JSON_CHAT.match(file.start) or find_stamps(file.start):
        return _parsed(lines, file)
    return _without_terms(lines, file)


def _parsed(lines: Iterable[Line], file: FileRecord) -> Iterator[Line]:
    """Yield the messages of a chat, or the cues of subtitles; a text that only begins like them as
    it is."""
    text = "".join(line.content for line in lines)
    chat: Chat | None = None
    said: list[Line] | None = None
    if format := cue_format(file.start):
        said = parse_cues(file.name, text=text, format=format, changes=file.changes)
    elif JSON_CHAT.match(file.start):
        chat = messages_of_json(text, file.changes)
    else:
        chat = parse_chat(text, file.changes)

    if chat is not None:
        said = chat.lines
        file.speakers = chat.speakers
        file.num_with_number = num_lines_with_number("".join(line.content for line in said))
    file.is_parsed = said is not None
    if said is None:
        said = [Line(number=1, content=text)]
    yield from said


def _without_terms(lines: Iterator[Line], file: FileRecord) -> Iterator[Line]:
    first = next(lines)
    yield from written_lines(first.content, file.changes)
    yield from lines


def number_paragraphs(lines: Iterator[Line], config: Config, file: FileRecord) -> Iterator[Line]:
    """Number the lines of a file that pandoc has read by its paragraphs: nobody sees its lines."""
    if not file.is_read_by_pandoc:
        return lines
    (text,) = file.pandoc_texts.values()
    return _by_paragraph(text, lines)


def _by_paragraph(text: str, lines: Iterable[Line]) -> Iterator[Line]:
    """Yield lines of a text by themselves, each after the number of its paragraph."""
    numbers = list(accumulate(not is_blank(line) for line in text.split("\n")))
    for number, content in split_lines(lines):
        yield Line(max(1, numbers[number - 1]), content)


def take_column(lines: Iterator[Line], config: Config, file: FileRecord) -> Iterator[Line]:
    """Take the values of one column out of a table or JSON: each is a document."""
    if config.documents != "column":
        return lines
    file.is_parsed = True
    return documents_of_file(lines, config=config, file=file)


def replace_halves(lines: Iterator[Line], config: Config, file: FileRecord) -> Iterator[Line]:
    """Put ? in the place of halves of surrogate pairs: JSON can have them, and they are no
    characters."""
    if config.documents != "column" and not JSON_CHAT.match(file.start):
        return lines
    halves = _HALF
    if config.alphabet == "byte":
        halves = _HALF_BUT_BYTES
    return map(partial(_with_whole_characters, halves=halves, file=file), lines)


def _with_whole_characters(line: Line, halves: re.Pattern[str], file: FileRecord) -> Line:
    content, num_halves = halves.subn("?", line.content)
    file.changes[_HALVES] += num_halves
    return Line(line.number, content)


def leave_out_unseen(lines: Iterator[Line], config: Config, file: FileRecord) -> Iterator[Line]:
    """Leave out the characters that nobody sees, and join letters with their accents."""
    if not config.composes:
        return lines
    return map(partial(_tidied, file=file), lines)


def _tidied(line: Line, file: FileRecord) -> Line:
    # The END of a document is no stray character.
    content = line.content.removesuffix(END)
    return Line(line.number, tidied(content, file.changes) + line.content[len(content) :])


def join_wrapped(lines: Iterator[Line], config: Config, file: FileRecord) -> Iterator[Line]:
    """Join the lines of each paragraph."""
    if not config.join_lines or config.alphabet == "byte":
        return lines
    # Its regular expressions take a twentieth of the start of `sample`.
    from charrnn.text.paragraphs import join_lines

    return join_lines(split_lines(lines), config.parting_line or "")


def divide(lines: Iterator[Line], config: Config, file: FileRecord) -> Iterator[Line]:
    """Divide a text into documents, and end each with END."""
    if config.end_id is None or config.documents == "column":
        return lines
    return documents_of_file(lines, config=config, file=file)


def leave_out_repeated(lines: Iterator[Line], config: Config, file: FileRecord) -> Iterator[Line]:
    """Leave out the documents that an earlier file has, or this one before."""
    if not config.unique_documents:
        return lines
    return without_repeated(lines, file)


STAGES: Sequence[Callable[[Iterator[Line], Config, FileRecord], Iterator[Line]]] = (
    # What nobody wrote is recognised by lines as they stand in the file.
    leave_out_unwritten,
    number_paragraphs,
    # The values of a column have no characters to leave out before they are taken out of a table.
    take_column,
    replace_halves,
    leave_out_unseen,
    # Blank lines end paragraphs and documents: lines are joined while they are still there.
    join_wrapped,
    divide,
    leave_out_repeated,
)
"""What is done with the lines of every file, in this order."""

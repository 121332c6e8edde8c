"""Divide a text into documents, each of which ends with END.

Documents are many short texts in one corpus. The END symbol is the character U+0000 (NUL), which no
text may contain. `document_order` brings them into their order, and `splits` holds some of them
out.
"""

from collections.abc import Iterable, Iterator

from charrnn.config.settings import PARTED_BY, Config
from charrnn.errors import DataError, named
from charrnn.text.columns import column_values
from charrnn.text.parting_lines import is_parting, records_between
from charrnn.text.text_files import FileRecord, Line, is_blank, split_lines, without_blank_end
from charrnn.text.vocab import NUL, Vocab

END = NUL
"""The END symbol, as a character."""
_REPEATED = "repeated document", "left out {num} of {label}"
_WITHOUT_NUL = "tr -d '\\000' < FILE > NEW"
_WITHOUT_ESCAPED_NUL = "sed 's/\\\\u0000//g' FILE > NEW"
"""What removes a NUL that JSON writes as an escape."""


def documents_of_file(lines: Iterable[Line], config: Config, file: FileRecord) -> Iterator[Line]:
    """Yield the documents of one file in lines (see `end_documents`). Raises DataError also if it
    has no document.

    A corpus is read by it. `end_documents` alone is for a text that somebody gives to a model, in
    which there may be none.
    """
    is_empty = True
    for line in end_documents(lines, config.documents, file=file, column=config.column):
        is_empty = False
        yield line

    # The reader of a folder skips a file with this error, as it does an empty file.
    if is_empty:
        kind = named("documents", config.documents)
        raise DataError(f"{file.name} has no document that is not empty ({kind})")


def without_repeated(lines: Iterable[Line], file: FileRecord) -> Iterator[Line]:
    """Yield the lines of documents without those of documents that earlier files have (`seen` of
    the `file`), or this one before. The documents themselves are kept, in `file`, and compared
    character by character.

    A list that was joined of several lists has names twice, and one of the two may be held out:
    then what is measured was learned.
    """
    document: list[Line] = []
    for line in lines:
        document.append(line)
        if not line.content.endswith(END):
            continue
        # The document is whole.
        text = "".join(part.content for part in document)
        # An unusable file is left out as a whole, and what it has is not seen.
        if text in file.seen or text in file.documents:
            file.changes[_REPEATED] += 1
        else:
            file.documents.add(text)
            yield from document
        document = []


def end_documents(
    lines: Iterable[Line], kind: str, *, file: FileRecord, column: str | None = None
) -> Iterator[Line]:
    """Yield the documents of one file in lines or parts of lines, each with the number of its line
    in the file. The last line of a document ends in END.

    Both a corpus and a given text go through it, so that a model sees the same ends in both. A line
    is blank if nobody sees anything in it (`is_blank`). By `kind`, a document is:

    - "files": the whole file, without blank lines at its start and without white space at its end;
    - "lines": every line that is not blank, without its line end (LF or CRLF);
    - "blank-lines": the lines between two blank lines, without the last line end;
    - "line:TEXT": the lines between two lines that equal TEXT but for blanks at their ends, trimmed
      like a file;
    - "column": every value of the column `column` of a CSV file or another table, trimmed like a
      file; the column is a name in the header, or a number from 1. In JSON (.json, .jsonl, .ndjson,
      or a text that begins with an object) it is the name of a field of each object (see
      `json_fields.json_values`).

    Empty documents are left out, and changes are counted in `file`. Raises DataError for a NUL, a
    damaged table and a table without that column.
    """
    checked = _without_nul(lines, file.name)
    if kind == "column":
        assert column is not None, "the configuration checks that a column is named"
        for value in column_values(checked, column=column, file=file):
            yield from _whole(_without_nul(value, file.name, remedy=_WITHOUT_ESCAPED_NUL))
    elif kind.startswith(PARTED_BY):
        mark = kind.removeprefix(PARTED_BY).strip()
        for record in records_between(_counted(split_lines(checked), mark=mark, file=file), mark):
            yield from _whole(record)
    elif kind == "lines":
        yield from _paragraphs(split_lines(checked), are_lines=True)
    elif kind == "blank-lines":
        yield from _paragraphs(split_lines(checked), are_lines=False)
    else:
        yield from _whole(split_lines(checked))


def separator_of(config: Config, vocab: Vocab) -> str:
    """Return the text that replaces END between documents; END itself if there is none.

    It shows documents to people, who cannot see an END.

    It is a blank line between paragraphs, and the line that parts records. It is a newline if the
    documents are lines, or if no document can contain a newline because it is not in the alphabet.
    """
    if config.documents == "blank-lines":
        return "\n\n"
    if config.documents == "lines":
        return "\n"
    if config.parting_line:
        return f"\n{config.parting_line}\n"

    # The byte alphabet contains every byte, so a document may contain a newline.
    if config.end_id is not None and "\n" not in vocab.characters:
        return "\n"
    return END


def _counted(lines: Iterable[Line], mark: str, file: FileRecord) -> Iterator[Line]:
    """Yield lines, and count in `file` those that part documents."""
    for line in lines:
        if is_parting(line.content, mark):
            file.num_parting += 1
        yield line


def _without_nul(lines: Iterable[Line], label: str, remedy: str = _WITHOUT_NUL) -> Iterator[Line]:
    for line in lines:
        if END in line.content:
            # The content may be many lines.
            number = line.number + line.content.partition(END)[0].count("\n")
            raise DataError(
                f"{label}, line {number}: there is a NUL (U+0000), by which charrnn marks the end"
                f" of a document\nremove it, such as by: {remedy}"
            )
        yield line


def _paragraphs(lines: Iterable[Line], *, are_lines: bool) -> Iterator[Line]:
    """Turn lines into documents that end at blank lines or, if they `are_lines`, with each line."""
    # A line is yielded once the next one is known, because the last line of a document has no end.
    # Of a line that was joined, the last part has one.
    held: Line | None = None
    for line in lines:
        is_blank_line = is_blank(line.content)
        if held is not None and not held.content.endswith("\n"):
            is_blank_line = False
            yield held
        elif held is not None:
            end = END if are_lines or is_blank_line else "\n"
            yield _ended(held, end)
        held = None if is_blank_line else line
    if held is not None:
        yield _ended(held, END)


def _ended(line: Line, end: str) -> Line:
    """Return a line with another end than LF or CRLF."""
    return line._replace(content=line.content.removesuffix("\n").removesuffix("\r") + end)


def _whole(lines: Iterable[Line]) -> Iterator[Line]:
    """Turn the lines of one text into one document."""
    # The last line that is not blank, and the blank lines after it, which may be the end.
    pending: list[Line] = []
    for line in lines:
        if not is_blank(line.content):
            yield from pending
            pending = [line]
        elif pending:
            pending.append(line)
    if pending:
        last = pending[0]
        yield last._replace(content=without_blank_end(last.content) + END)

"""Read one column of a table or of JSON, and describe the columns of a file."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any

from charrnn.errors import DataError, counted, named, shortened
from charrnn.text.sources import is_smiles_file
from charrnn.text.text_files import Line, Tally, file_lines, is_blank, without_gz

SMILES = "smiles"
"""Name of the first field of a .smi file, also if the file has no header."""
MAX_FIELD_CHARS = 2**31 - 1
"""Maximum length of a value in a CSV file; Python's own limit is 131,072."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""The signs between two columns, and their names."""
_BLANK_DELIMITER = " "
"""Stands for any number of blanks and tabs."""
_EXCEL_DELIMITER = re.compile(r'"?sep=([^"\s]|\t)"?\s*', re.IGNORECASE)
"""The line before the header in which Excel names the delimiter."""
_POSITION = re.compile(r"[1-9][0-9]{0,5}")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_JSON_START = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\[\s*)?\{\s*(?:"[^"\n]*"\s*:|\Z|\n)')
_SURROGATE = re.compile("[\ud800-\udfff]")
NULL = "object", "left out {num} of {label}: the value is null"
"""A change of a text: an object without a text."""
EMPTY = "empty value", "left out {num} of {label}"
"""A change of a text: a row without a text."""
HEADERS = "repeated header", "left out {num} of {label}"
"""A change of a text: the first row of a table, again, as in tables that were joined."""
HALVES = (
    "half character",
    "replaced {num} of {label} by U+FFFD: one half of a pair is no character",
)
"""A change of a text: half of a surrogate pair."""
_LINES_SEEN = 20
"""Lines that show whether a text without a suffix is JSON."""


def column_values(
    lines: Iterator[Line], *, column: str, label: str, tally: Tally
) -> Iterator[Iterator[Line]]:
    """Yield the values of one column of a table or of JSON, each in lines with the numbers that
    they have in the file.

    What is changed is counted in `tally`. Raises DataError.
    """
    first = list(islice(lines, _LINES_SEEN))
    lines = chain(first, lines)
    # A text from standard input has no suffix, so its first lines decide.
    if is_json(b"".join(line.content for line in first), label):
        yield from _json_values(lines, column=column, label=label, tally=tally)
    else:
        yield from _values(lines, column=column, label=label, tally=tally)


def is_json(start: bytes, label: str) -> bool:
    """Whether a file is JSON Lines by its suffix, or begins with an object of JSON."""
    return _has_suffix(label, ".jsonl", ".ndjson") or _JSON_START.match(start) is not None


def is_table(start: bytes, label: str) -> bool:
    """Whether a file is a table by its suffix, or JSON."""
    return _has_suffix(label, ".csv", ".tsv") or is_json(start, label)


def _values(
    lines: Iterable[Line], *, column: str, label: str, tally: Tally
) -> Iterator[Iterator[Line]]:
    """Yield the values of one column of a table, row by row. Raises DataError."""
    table = _Table(lines, label=label, column=column)
    try:
        if not table.read_first():
            return
        # A row with too few or too many values is damaged, and its values may be in other columns.
        # Only the first field of a list with blanks is safe: the other fields may contain blanks.
        index = table.index
        width = len(table.names)
        if table.delimiter == _BLANK_DELIMITER and index == 0:
            width = MAX_FIELD_CHARS
        for line, row in table.rows:
            if column not in table.names and not tally.column_note and index < len(row):
                tally.column_note = _describe_position(table, row, label)
            if table.has_header and _as_text(row) == table.names:
                tally.changes[HEADERS] += 1
                continue
            if not index < len(row) <= width:
                values = counted(len(row), "value")
                raise DataError(
                    f"{label}, line {line}: {values}, but {column!r} is column {index + 1} of"
                    f" {len(table.names)} {table.separated}: mend the line; a value with a"
                    f" delimiter needs quotes, and {named('documents', 'lines')} reads whole lines"
                )
            value = row[index].encode("latin-1")
            tally.changes[EMPTY] += is_blank(value)
            # The values before it may have lines, too.
            number = line + sum(value.count("\n") for value in row[:index])
            yield _lines_of_value(value, number, lines_per_end=1)
    except csv.Error as error:
        remedy = "a quotation mark that begins a value must end it, too; double the marks inside"
        if "new-line" in str(error):
            remedy = "put LF in the place of each CR"
        raise DataError(f"{label}, line {table.line}, is not CSV ({error}): {remedy}") from error


def _describe_position(table: "_Table", row: Sequence[str], label: str) -> str:
    """Say how a column is read that is given by its position, for a note."""
    said = f"is read by column {table.index + 1} of {len(table.names)}"
    if len(table.names) > 1:
        said += f" {table.separated}, without the others"
    said += f"; the first value is {shortened(_as_text(row)[table.index], 40)!r}"
    if not is_smiles_file(label):
        said += f": {named('column')} with a name leaves a header out"
    return said


def _lines_of_value(value: bytes, number: int, *, lines_per_end: int) -> Iterator[Line]:
    """Yield the lines of a value, which ends them with LF, CRLF or CR, and which begins in the line
    `number` of a file. The file has `lines_per_end` line ends for each LF."""
    for line in value.splitlines(keepends=True):
        content = line.rstrip(b"\r\n")
        if content != line:
            content += b"\n"
        yield Line(number, content)
        if line.endswith(b"\n"):
            number += lines_per_end


class _Table:
    """A CSV file or another table that is read row by row. Blank lines are no rows."""

    names: Sequence[str] = ()
    """The first row as text."""
    has_header = False
    """Whether the first row has the names of the columns."""
    index: int = 0
    """The index of the column."""
    line = 0
    """The number of the line, from 1, in which the last row that was read begins."""

    def __init__(self, lines: Iterable[Line], *, label: str, column: str) -> None:
        """Read the lines of a file up to the first row."""
        self._label = label
        self._column = column
        # Latin-1 keeps bytes that are not UTF-8, which the byte alphabet allows; CSV's own
        # characters are all ASCII.
        content = (line.content.decode("latin-1") for line in lines)

        # Before the first row there may be blank lines, and a line in which Excel names the
        # delimiter.
        self._num_before = -1
        named_delimiter = None
        start = ""
        for line in content:
            start = line.removeprefix("ï»¿")
            self._num_before += 1
            excel = _EXCEL_DELIMITER.fullmatch(start)
            if excel:
                named_delimiter = excel[1]
            elif not is_blank(start.encode("latin-1")):
                break
        else:
            start = ""
        self.delimiter = named_delimiter or _delimiter(start, label=label, column=column)
        self.rows = self._rows(chain((start,), content))
        """Each row, after the number of the line in which it begins."""

    def _rows(self, content: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        self.line = self._num_before + 1
        if self.delimiter in ("\t", _BLANK_DELIMITER):
            for line in content:
                if line.strip():
                    yield self.line, _fields(line, self.delimiter)
                self.line += 1
            return

        # A value in quotes may go on in the next line.
        csv.field_size_limit(MAX_FIELD_CHARS)
        reader = csv.reader(content, delimiter=self.delimiter, strict=True)
        for row in reader:
            if row:
                yield self.line, row
            self.line = self._num_before + 1 + reader.line_num

    @property
    def separated(self) -> str:
        """Say what separates the columns, for a message."""
        return f"between {DELIMITERS.get(self.delimiter, 'blanks')}"

    def read_first(self) -> bool:
        """Read the first row, and find the column by its name in it, or else by its number from 1.
        The row stays a row of the table, unless it has the name.

        Returns False for a table without rows. Raises DataError if there is no such column.
        """
        first = next(self.rows, None)
        if first is None:
            return False
        column = self._column
        self.names = _as_text(first[1])
        if self.names.count(column) > 1:
            raise DataError(
                f"{self._label} has {self.names.count(column)} columns {column!r} in its header:"
                " rename all but one"
            )
        if column in self.names:
            self.index = self.names.index(column)
            self.has_header = True
            return True

        # Few files of molecules have a header.
        is_molecules = is_smiles_file(self._label)
        self.has_header = is_molecules and SMILES in self.names[0].lower()
        if is_molecules and column.lower() == SMILES:
            column = "1"
        if not (_POSITION.fullmatch(column) and int(column) <= len(self.names)):
            raise DataError(
                f"{self._label} has no column {column!r}; its first line has"
                f" {_listed(self.names)} ({self.separated}): give one of them, or a number from 1"
                f" to {len(self.names)}, as {named('column')}"
            )
        self.index = int(column) - 1
        if not self.has_header:
            self.rows = chain((first,), self.rows)
        return True


def _delimiter(start: str, *, label: str, column: str) -> str:
    """Return the delimiter of a table with `start` as its first row: the one by which it has the
    column, or else the one of which it has most. Raises DataError if it may have none of them."""
    if _has_suffix(label, ".tsv"):
        return "\t"
    # The name of a molecule may contain commas after the first blank.
    if is_smiles_file(label):
        has_tab = re.match(r"\s*\S+\t", start)
        return "\t" if has_tab else _BLANK_DELIMITER
    for delimiter in (*DELIMITERS, _BLANK_DELIMITER):
        names = _as_text(_fields(start, delimiter))
        if len(names) > 1 and column in names:
            return delimiter

    most = max(DELIMITERS, key=start.count)
    is_clear = most in start or len(start.split()) == 1 or _has_suffix(label, ".csv")
    if _POSITION.fullmatch(column) and start and not is_clear:
        raise DataError(
            f"{label}: no comma, semicolon, tab or bar separates columns in its first line: save it"
            f" as a table with one of them; {named('documents', 'lines')} reads whole lines"
        )
    return most


def _fields(line: str, delimiter: str) -> list[str]:
    """Return the fields of a row without line ends in its values."""
    if delimiter == _BLANK_DELIMITER:
        return line.split()
    if delimiter != "\t":
        return next(csv.reader([line], delimiter=delimiter), [])
    # Between tabs, a quotation mark is a character unless two of them enclose a whole value.
    values = line.rstrip("\r\n").split("\t")
    for index, value in enumerate(values):
        if _QUOTED.fullmatch(value):
            values[index] = value[1:-1].replace('""', '"')
    return values


def _as_text(row: Sequence[str]) -> list[str]:
    """Decode a row as UTF-8, without the byte-order mark that spreadsheets write."""
    return [name.encode("latin-1").decode("utf-8-sig", "replace").strip() for name in row]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:40] for name in names[:20])


def _has_suffix(label: str, *suffixes: str) -> bool:
    return without_gz(label).lower().endswith(suffixes)


def describe_columns(start: bytes, *, label: str) -> str:
    """Describe the columns of a table or of JSON that is read as a text, for a note, by the
    beginning of the file; "" if it has none."""
    if is_json(start, label):
        # The names in the first record, of which the end may be missing.
        names = dict.fromkeys(re.findall(rb'"([^"\n]{1,40})"\s*:\s*"', start))
        columns = [name.decode("utf-8", "replace") for name in names][:10]
        if not columns:
            return ""
        remedy = f"{named('column')} reads one alone"
        return f"is read with its braces; it has {_listed(columns)}: {remedy}"
    table = _Table(file_lines([start]), label=label, column="")
    with suppress(csv.Error, DataError):
        _, row = next(table.rows, (0, []))
        return (
            f"is read as a text, with all columns. Its first line has {_listed(_as_text(row))}"
            f" ({table.separated}): {named('column')} reads one column, by its name there or its"
            f" number, and {named('documents', 'lines')} whole lines"
        )
    return ""


def _json_values(
    lines: Iterable[Line], *, column: str, label: str, tally: Tally
) -> Iterator[Iterator[Line]]:
    """Yield the value `column` of each object of JSON Lines, or of a file with a list of objects;
    null is left out. Raises DataError."""
    for number, record in _records(lines, column=column, label=label):
        # Records need not have the same columns, so each is asked.
        if column not in record:
            raise DataError(
                f"{label}, line {number}, has no {column!r}; it has {_listed([*record])}: give one"
                f" of them as {named('column')}"
            )
        value = record[column]
        if value is None:
            tally.changes[NULL] += 1
            continue
        if isinstance(value, bool):
            value = json.dumps(value)
        if not isinstance(value, str):
            kind = "a list" if isinstance(value, list) else "an object"
            raise DataError(
                f"{label}, line {number}: {column!r} is {kind}, not a text: give a field with a"
                f" text as {named('column')}, or save the texts as plain text"
            )

        # Half a surrogate pair has no UTF-8.
        value, num_halves = _SURROGATE.subn("\ufffd", value)
        tally.changes[HALVES] += num_halves
        # A value is in one line of the file, whatever lines it has.
        yield _lines_of_value(value.encode(), number, lines_per_end=0)


def _records(
    lines: Iterable[Line], *, column: str, label: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file, each after the number of its line. Raises DataError."""
    rest = iter(lines)
    is_first = True
    for number, line, *_ in rest:
        if is_blank(line):
            continue
        try:
            record = _decoded(line, place=f"{label}, line {number}")
        except DataError:
            # A file that is one object, or a list, has several lines.
            if not is_first:
                raise
            whole = b"".join([line, *(following.content for following in rest)])
            record = _decoded(whole, place=f"{label}, line {number}")
        # An object may have the list of records in one of its fields.
        if is_first:
            record = _list_in(record, column)
        is_first = False
        for item in record if isinstance(record, list) else [record]:
            if not isinstance(item, dict):
                raise DataError(
                    f'{label}, line {number}, is not an object such as {{"text": "…"}}: mend or'
                    " remove the line"
                )
            yield number, item


def _list_in(data: object, column: str) -> object:
    """Return the list of objects with a column that an object has; else the object itself."""
    if isinstance(data, dict) and column not in data:
        for value in data.values():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                return value
    return data


def _decoded(content: bytes, *, place: str) -> object:
    """Decode JSON, with numbers as they are written. Raises DataError."""
    try:
        text = content.decode("utf-8-sig").rstrip()
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place}, column {error.colno}, is not JSON ({error.msg}): mend or remove the line"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}, is not JSON ({error}): mend or remove the line") from error

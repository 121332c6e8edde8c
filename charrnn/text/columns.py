"""Read one column of a table or of JSON, and describe the columns of a file."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any, NamedTuple

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
    table = _read_table(lines, label=label, column=column)
    if table is None:
        return
    names = table.names
    index = _index_of(column, table, label)
    has_header = column in names or (is_smiles_file(label) and SMILES in names[0].lower())
    # A row with too few or too many values is damaged, and its values may be in other columns.
    # Only the first field of a list with blanks is safe: the other fields may contain blanks.
    width = len(names)
    if table.delimiter == _BLANK_DELIMITER and index == 0:
        width = MAX_FIELD_CHARS
    for row_index, (line, row) in enumerate(table.rows):
        if has_header and _as_text(row) == names:
            tally.changes[HEADERS] += row_index > 0
            continue
        if not index < len(row) <= width:
            values = counted(len(row), "value")
            raise DataError(
                f"{label}, line {line}: {values}, but {column!r} is column {index + 1} of"
                f" {len(names)} {table.separated}: mend the line; a value with a"
                f" delimiter needs quotes, and {named('documents', 'lines')} reads whole lines"
            )
        value = row[index].encode("latin-1")
        if column not in names and not tally.column_note:
            tally.column_note = _describe_position(table, index, value, label)
        tally.changes[EMPTY] += is_blank(value)
        # The values before it may have lines, too.
        number = line + sum(value.count("\n") for value in row[:index])
        yield _lines_of_value(value, number, lines_per_end=1)


def _describe_position(table: "_Table", index: int, value: bytes, label: str) -> str:
    """Say how a column is read that is given by its position, for a note."""
    said = f"is read by column {index + 1} of {len(table.names)}"
    if len(table.names) > 1:
        said += f" {table.separated}, without the others"
    said += f"; the first value is {shortened(value.decode('utf-8', 'replace'), 40)!r}"
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


class _Table(NamedTuple):
    """A CSV file or another table that is read row by row. Blank lines are no rows."""

    names: Sequence[str]
    """The first row as text."""
    delimiter: str
    rows: Iterator[tuple[int, list[str]]]
    """Each row, the first one included, after the number of the line in which it begins."""

    @property
    def separated(self) -> str:
        """Say what separates the columns, for a message."""
        return f"between {DELIMITERS.get(self.delimiter, 'blanks')}"


def _read_table(lines: Iterable[Line], *, label: str, column: str) -> _Table | None:
    """Read a table up to its first row, None if it has none. Raises DataError."""
    # Latin-1 keeps bytes that are not UTF-8, which the byte alphabet allows; CSV's own characters
    # are all ASCII. Spreadsheets write a byte-order mark.
    content = (line.content.decode("latin-1") for line in lines)
    delimiter = None
    number = 0
    for line in content:
        number += 1
        start = line.removeprefix("ï»¿")
        # Excel may name the delimiter before the first row.
        if excel := _EXCEL_DELIMITER.fullmatch(start):
            delimiter = excel[1]
        elif not is_blank(start.encode("latin-1")):
            break
    else:
        return None
    delimiter = delimiter or _delimiter(start, label=label, column=column)
    rows = _rows(chain((start,), content), delimiter, number, label)
    first = next(rows)
    return _Table(_as_text(first[1]), delimiter, chain((first,), rows))


def _rows(
    content: Iterable[str], delimiter: str, first_number: int, label: str
) -> Iterator[tuple[int, list[str]]]:
    # Between tabs and blanks, a quotation mark joins no lines.
    if delimiter in ("\t", _BLANK_DELIMITER):
        for number, line in enumerate(content, first_number):
            if line.strip():
                yield number, _fields(line, delimiter)
        return

    # A value in quotes may go on in the next line.
    csv.field_size_limit(MAX_FIELD_CHARS)
    reader = csv.reader(content, delimiter=delimiter, strict=True)
    number = first_number
    try:
        for row in reader:
            if row:
                yield number, row
            number = first_number + reader.line_num
    except csv.Error as error:
        remedy = "a quotation mark that begins a value must end it, too; double the marks inside"
        if "new-line" in str(error):
            remedy = "put LF in the place of each CR"
        raise DataError(f"{label}, line {number}, is not CSV ({error}): {remedy}") from error


def _index_of(column: str, table: _Table, label: str) -> int:
    """Return the index of a column, which is given by its name in the first row, or else by its
    number from 1. Raises DataError."""
    names = table.names
    # Neither of two columns of one name is the one that is meant.
    if names.count(column) > 1:
        raise DataError(
            f"{label} has {names.count(column)} columns {column!r} in its header: rename all but"
            " one"
        )
    if column in names:
        return names.index(column)
    # Few files of molecules have a header.
    if is_smiles_file(label) and column.lower() == SMILES:
        return 0
    if _POSITION.fullmatch(column) and int(column) <= len(names):
        return int(column) - 1
    raise DataError(
        f"{label} has no column {column!r}; its first line has {_listed(names)}"
        f" ({table.separated}): give one of them, or a number from 1 to {len(names)}, as"
        f" {named('column')}"
    )


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
    with suppress(DataError):
        if table := _read_table(file_lines([start]), label=label, column=""):
            return (
                "is read as a text, with all columns. Its first line has"
                f" {_listed(table.names)} ({table.separated}): {named('column')} reads one column,"
                f" by its name there or its number, and {named('documents', 'lines')} whole lines"
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

"""Read one column of a table or of JSON, and describe the columns of a file."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from charrnn.errors import DataError, counted, named
from charrnn.text.sources import is_smiles_file
from charrnn.text.text_files import FileRecord, Line, is_blank, split_lines, without_gz

SMILES = "smiles"
"""Name of the first field of a .smi file, also if the file has no header."""
MAX_FIELD_CHARS = 2**31 - 1
"""Maximum length of a value in a CSV file; Python's own limit is 131,072."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
"""The signs between two columns, and their names. A blank stands for any number of blanks and
tabs."""
_JSON_START = re.compile(r'\s*(?:\[\s*)?\{\s*(?:"[^"\n]*"\s*:|\Z|\n)')
NULL = "object", "left out {num} of {label}: the value is null"
"""A change of a text: an object without a text."""
EMPTY = "empty value", "left out {num} of {label}"
"""A change of a text: a row without a text."""
HEADERS = "repeated header", "left out {num} of {label}"
"""A change of a text: the first row of a table, again, as in tables that were joined."""


def column_values(lines: Iterable[Line], *, column: str, file: FileRecord) -> Iterator[list[Line]]:
    """Yield the values of one column of a table or of JSON, each in lines with the numbers that
    they have in the file.

    What is changed is counted in `file`. Raises DataError.
    """
    # A text from standard input has no suffix, so its beginning decides.
    is_in_json = is_json(file.start, file.name)
    read = _json_values if is_in_json else _table_values
    for number, value in read(split_lines(lines), column=column, file=file):
        value_lines = []
        for line in io.StringIO(value, newline=""):
            value_lines.append(Line(number, re.sub(r"\r\n?$", "\n", line)))
            # A value of JSON stands in one line of the file, whatever lines it has. CR ends none.
            if not is_in_json and line.endswith("\n"):
                number += 1
        yield value_lines


def is_json(start: str, label: str) -> bool:
    """Whether a file is JSON or JSON Lines by its suffix, or begins with an object of JSON."""
    return _has_suffix(label, ".json", ".jsonl", ".ndjson") or _JSON_START.match(start) is not None


def _has_suffix(label: str, *suffixes: str) -> bool:
    return without_gz(label).lower().endswith(suffixes)


def _table_values(
    lines: Iterable[Line], *, column: str, file: FileRecord
) -> Iterator[tuple[int, str]]:
    """Yield the values of one column of a table, row by row. Raises DataError."""
    # Excel writes the delimiter into a line before the header.
    named_lines = (line for line in lines if not line.content.startswith("sep="))
    first = next((line for line in named_lines if not is_blank(line.content)), None)
    if first is None:
        return
    delimiter = _delimiter(first.content, column=column, label=file.name)
    rows = _rows(first, lines, delimiter, label=file.name)
    header = next(rows)
    names = _stripped(header[1])
    index = _index_of(column, names, delimiter, file.name)

    # A column that is given by its number begins with the first row.
    is_named = column in names
    separated = f"column {index + 1} of {len(names)} between {DELIMITERS[delimiter]}"
    by_number = "value", f"read {{num}} of {{label}}, with the first line: {separated}"
    # A row with too few or too many values is damaged, and its values may be in other columns. Only
    # the first field of a list with blanks is safe: the other fields may contain blanks.
    width = len(names)
    if delimiter == " " and index == 0:
        width = MAX_FIELD_CHARS
    is_header = is_named or (is_smiles_file(file.name) and SMILES in names[0].lower())
    for number, row in chain((header,), rows):
        if is_header and _stripped(row) == names:
            if number > first.number:
                file.changes[HEADERS] += 1
            continue
        if not index < len(row) <= width:
            raise DataError(
                f"{file.name}, line {number}: {counted(len(row), 'value')}, but {column!r} is"
                f" {separated}: mend the line; a value with a delimiter needs quotes, and"
                f" {named('documents', 'lines')} reads whole lines"
            )
        value = row[index]
        if not is_named:
            file.changes[by_number] += 1
        if is_blank(value):
            file.changes[EMPTY] += 1
        # The values before it may have lines, too.
        yield number + sum(value.count("\n") for value in row[:index]), value


def _rows(
    first: Line, rest: Iterable[Line], delimiter: str, *, label: str
) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the rows of a table, each after the number of its line. Raises DataError."""
    lines = chain((first,), rest)
    # Between tabs and blanks, a quotation mark joins no lines.
    if delimiter in "\t ":
        for number, line in lines:
            if line.strip():
                yield number, _fields(line, delimiter)
        return

    # A value in quotes may go on in the next line.
    csv.field_size_limit(MAX_FIELD_CHARS)
    reader = csv.reader((line.content for line in lines), delimiter=delimiter, strict=True)
    number = first.number
    try:
        for row in reader:
            if row:
                yield number, row
            number = first.number + reader.line_num
    except csv.Error as error:
        raise DataError(
            f"{label}, line {number}, is not CSV ({error}): a quotation mark that begins a value"
            " must end it, too; double the marks inside, and put LF in the place of each CR"
        ) from error


def _index_of(column: str, names: Sequence[str], delimiter: str, label: str) -> int:
    """Return the index of a column, which is given by its name in the first row, or else by its
    number from 1. Raises DataError."""
    # Neither of two columns of one name is the one that is meant.
    if names.count(column) == 1:
        return names.index(column)
    # Few files of molecules have a header.
    if is_smiles_file(label) and column.lower() == SMILES:
        return 0
    if column.isdecimal() and 1 <= int(column) <= len(names):
        return int(column) - 1
    raise DataError(
        f"{label} has no column {column!r}; its first line has {_listed(names)} (between"
        f" {DELIMITERS[delimiter]}): give one of them, or a number from 1 to {len(names)}, as"
        f" {named('column')}"
    )


def _delimiter(start: str, *, column: str, label: str) -> str:
    """Return the delimiter of a table with `start` as its first row: the one by which it has the
    column, or else the one of which it has most."""
    if _has_suffix(label, ".tsv"):
        return "\t"
    # The name of a molecule may contain commas after the first blank or tab.
    if is_smiles_file(label):
        return " "
    for delimiter in DELIMITERS:
        names = _stripped(_fields(start, delimiter))
        if len(names) > 1 and column in names:
            return delimiter
    return max(",;\t|", key=start.count)


def _fields(line: str, delimiter: str) -> list[str]:
    """Return the fields of a row without line ends in its values."""
    if delimiter == " ":
        return line.split()
    # Between tabs, a quotation mark is a character.
    if delimiter == "\t":
        return line.rstrip("\r\n").split("\t")
    return next(csv.reader([line], delimiter=delimiter), [])


def _stripped(row: Sequence[str]) -> list[str]:
    return [name.strip("\ufeff \t\r\n") for name in row]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name[:40] for name in islice(names, 20))


def describe_columns(start: str, *, label: str) -> str:
    """Describe the columns of a table or of JSON that is read as a text, for a note, by the
    beginning of the file; "" if it has none."""
    if is_json(start, label):
        # The names in the first records, of which the end may be missing.
        names = dict.fromkeys(re.findall(r'"([^"\n]{1,40})"\s*:\s*"', start))
        if not names:
            return ""
        return (
            f"is read with its braces; it has {_listed(names)}: charrnn train {named('column')}"
            " reads one"
        )
    if not _has_suffix(label, ".csv", ".tsv"):
        return ""
    first = re.sub("^\ufeff?sep=.*\n", "", start.lstrip()).split("\n")[0]
    names = dict.fromkeys(_stripped(_fields(first, _delimiter(first, column="", label=label))))
    return (
        f"is read as a text, with all columns. Its first line has {_listed(names)}:"
        f" charrnn train {named('column')} reads one column, and {named('documents', 'lines')}"
        " whole lines"
    )


def _json_values(
    lines: Iterable[Line], *, column: str, file: FileRecord
) -> Iterator[tuple[int, str]]:
    """Yield the value `column` of each object of JSON Lines, or of a file with a list of objects;
    null is left out. Raises DataError."""
    for number, record in _records(lines, column=column, label=file.name):
        # Records need not have the same columns, so each is asked.
        if not isinstance(record, dict) or column not in record:
            has = "no object (jq -r '.[]' FILE writes a list of texts as lines)"
            if isinstance(record, dict):
                has = _listed(record)
            raise DataError(
                f"{file.name}, line {number}, has no {column!r}; it has {has}: give a field of each"
                f" object as {named('column')}"
            )
        value = record[column]
        if value is None:
            file.changes[NULL] += 1
            continue
        if isinstance(value, bool):
            value = json.dumps(value)
        if not isinstance(value, str):
            raise DataError(
                f"{file.name}, line {number}: {column!r} is not a text: give a field with a text as"
                f" {named('column')}"
            )
        yield number, value


def _records(lines: Iterable[Line], *, column: str, label: str) -> Iterator[tuple[int, object]]:
    """Yield the objects of a file, each after the number of its line. Raises DataError."""
    rest = (line for line in lines if not is_blank(line.content))
    is_first = True
    for number, line in rest:
        try:
            record = _decoded(line)
        except (ValueError, RecursionError) as error:
            problem = DataError(
                f"{label}, line {number}, is not JSON ({error}): mend or remove the line"
            )
            if not is_first:
                raise problem from error
            # A file that is one object, or a list, has several lines.
            try:
                record = _decoded("".join([line, *(following.content for following in rest)]))
            except (ValueError, RecursionError):
                raise problem from error
        # An object may have the list of records in one of its fields.
        if is_first and isinstance(record, dict) and column not in record:
            for value in record.values():
                if isinstance(value, list) and value and isinstance(value[0], dict):
                    record = value
                    if column in value[0]:
                        break
        is_first = False
        for item in record if isinstance(record, list) else [record]:
            yield number, item


def _decoded(text: str) -> object:
    """Decode JSON, with numbers as they are written. Raises ValueError, RecursionError."""
    plain = text.strip("\ufeff \t\r\n")
    return json.loads(plain, parse_int=str, parse_float=str, parse_constant=str)

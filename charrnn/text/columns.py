"""Read one column of a table, or one field of JSON, and describe the columns of a file."""

import csv
import io
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice

from charrnn.errors import DataError, NoColumnError, counted, did_you_mean, named
from charrnn.text.json_fields import describe_fields, fields_of, is_json, json_values
from charrnn.text.sources import is_smiles_file
from charrnn.text.text_files import FileRecord, Line, is_blank, split_lines, without_gz

SMILES = "smiles"
"""Name of the first field of a .smi file, also if the file has no header."""
MAX_FIELD_CHARS = 2**31 - 1
"""Maximum length of a value in a CSV file; Python's own limit is 131,072."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
"""The signs between two columns, and their names. A blank stands for any number of blanks and
tabs."""
_SIGNS = ",;\t|"
MOST_LISTED = 20
"""Number of columns that a message lists, at most."""
LEAST_ROWS = 20
"""Rows of a table that is recognised without the suffix of one, at least."""
WITH_COLUMNS = "is read as a text, with all columns"
"""How a note on a table begins that is read as a text."""
EMPTY = "empty value", "left out {num} of {label}"
"""A change of a text: a row, or an object of JSON, without a text."""
ESCAPED = (
    "value",
    "{num} of {label} {have} a backslash before a quotation mark, which stays:"
    " sed 's/\\\\\"/\"/g' FILE > mended.csv leaves it out",
)
"""A note on quotation marks as some databases write them."""
HEADERS = "repeated header", "left out {num} of {label}"
"""A change of a text: the first row of a table, again, as in tables that were joined."""


def column_values(lines: Iterable[Line], *, column: str, file: FileRecord) -> Iterator[list[Line]]:
    """Yield the values of one column of a table or of JSON, each in lines with the numbers that
    they have in the file.

    What is changed is counted in `file`. Raises DataError.
    """
    # A text from standard input has no suffix, so its beginning decides.
    is_in_json = is_json(file.start, file.name)
    read = json_values if is_in_json else _table_values
    for number, value in read(split_lines(lines), column=column, file=file):
        if is_blank(value):
            file.changes[EMPTY] += 1
        value_lines = []
        for line in io.StringIO(value, newline=""):
            value_lines.append(Line(number, re.sub(r"\r\n?$", "\n", line)))
            # A value of JSON stands in one line of the file, whatever lines it has. CR ends none.
            if not is_in_json and line.endswith("\n"):
                number += 1
        yield value_lines


def _table_values(
    lines: Iterable[Line], *, column: str, file: FileRecord
) -> Iterator[tuple[int, str]]:
    """Yield the values of one column of a table, row by row. Raises DataError."""
    # Excel writes the delimiter into a line before the header.
    named_lines = (line for line in lines if not line.content.startswith("sep="))
    first = next((line for line in named_lines if not is_blank(line.content)), None)
    if first is None:
        return
    delimiter = find_delimiter(file.start or first.content, column=column, label=file.name)
    rows = _rows(first, rest=lines, delimiter=delimiter, label=file.name)
    header = next(rows)
    names = _stripped(header[1])
    index = _index_of(column, names=names, delimiter=delimiter, label=file.name)

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
        if '\\"' in value:
            file.changes[ESCAPED] += 1
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
        remedy = (
            "a quotation mark that begins a value must end it, too; double the marks inside"
            ' (sed \'s/\\\\"/""/g\' FILE does so where they stand behind a backslash)'
        )
        if "new-line" in str(error):
            remedy = "put LF in the place of each CR, or quotation marks around the value"
        raise DataError(f"{label}, line {number}, is not CSV ({error}): {remedy}") from error


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
    if column in names:
        places = [str(place) for place, name in enumerate(names, start=1) if name == column]
        raise NoColumnError(
            f"{label} has {len(places)} columns {column!r} (between {DELIMITERS[delimiter]})",
            remedy=f"give the number of one of them ({_listed(places)}) as {named('column')}",
        )
    raise NoColumnError(
        f"{label} has no column {column!r}; its first line has {_listed(names)} (between"
        f" {DELIMITERS[delimiter]})",
        remedy=f"give one of them, or a number from 1 to {len(names)}, as {named('column')}."
        f"{did_you_mean(column, names)}",
    )


def find_delimiter(start: str, *, column: str, label: str) -> str:
    """Return the delimiter of a table by the beginning of its text: the sign that parts most rows
    into as many fields as the first one.

    Of signs that do so alike, it is one by which there is a column of the given name. A blank parts
    columns only where no other sign does, and only if it makes such a column.
    """
    if _has_suffix(label, ".tsv"):
        return "\t"
    # The name of a molecule may contain commas after the first blank or tab.
    if is_smiles_file(label):
        return " "
    header = _first_line(start)
    ranks = []
    for delimiter in _SIGNS:
        rows = _first_rows(start, delimiter)
        share = _share_alike(rows)
        if share > 0:
            names = _stripped(rows[0])
            ranks.append((share, column in names, len(names), -_SIGNS.index(delimiter)))
    if ranks:
        return _SIGNS[-max(ranks)[-1]]

    words = header.split()
    if column in words and len(words) > 1:
        has_sign = any(sign in header for sign in _SIGNS)
        if not has_sign or _share_alike(_first_rows(start, " ")) == 1:
            return " "
    return max(_SIGNS, key=header.count)


def has_column(start: str, *, column: str, label: str) -> bool:
    """Whether a text begins with a row that names a column, or as JSON, whatever its suffix.

    A command asks it of a file that is to be read by the `column` of a run, but may be a plain list
    of the same things.
    """
    if is_json(start, label):
        return True
    delimiter = find_delimiter(start, column=column, label=label)
    names = _stripped(_fields(_first_line(start), delimiter))
    return len(names) > 1 and column in names


def _first_rows(start: str, delimiter: str) -> list[list[str]]:
    """Return the rows with which a table begins, without the last, whose end may be missing."""
    text = _without_separator(start)
    if delimiter in "\t ":
        rows = [_fields(line, delimiter) for line in text.split("\n") if line.strip()]
    else:
        # A wrong delimiter may make anything of quotation marks.
        csv.field_size_limit(MAX_FIELD_CHARS)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = []
        with suppress(csv.Error):
            rows.extend(filter(None, reader))
    return rows[:-1] if len(rows) > LEAST_ROWS else rows


def _share_alike(rows: Sequence[Sequence[str]]) -> float:
    """Return the share of the rows that have as many fields as the first one; 0 if that has one."""
    if not rows or len(rows[0]) < 2:
        return 0.0
    if len(rows) == 1:
        return 1.0
    return sum(1 for row in rows[1:] if len(row) == len(rows[0])) / (len(rows) - 1)


def _without_separator(start: str) -> str:
    """Return a table without the line that Excel writes before its header."""
    return re.sub("^\ufeff?sep=.*\n", "", start.lstrip("\ufeff \t\r\n"))


def _first_line(start: str) -> str:
    return _without_separator(start).split("\n")[0]


def _has_suffix(label: str, *suffixes: str) -> bool:
    return without_gz(label).lower().endswith(suffixes)


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


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(islice(names, MOST_LISTED))
    return f"{listed}, …" if len(names) > MOST_LISTED else listed


def describe_columns(start: str, *, label: str, source: str) -> str:
    """Describe the columns of a table or of JSON that is read as a text, for a note, by the
    beginning of the file; "" if it has none. `source` is what a command is given to read it.

    A user who trains on a table as it stands learns commas and numbers: the note shows the setting
    that reads one column.
    """
    if is_json(start, label):
        return describe_fields(start, source=source)
    delimiter = find_delimiter(start, column="", label=label)
    rows = _first_rows(start, delimiter)
    if not rows:
        return ""
    names = _stripped(rows[0])
    # The column with most text is probably the one to learn. Numbers and dates are none.
    sizes = [0] * len(names)
    for row in rows[1:]:
        for index, value in enumerate(row[: len(names)]):
            sizes[index] += sum(map(str.isalpha, value))
    largest = sizes.index(max(sizes))
    if _has_suffix(label, ".csv", ".tsv"):
        usable = [name for name in names if name and names.count(name) == 1]
        column = names[largest] if names[largest] in usable else str(largest + 1)
        return (
            f"{WITH_COLUMNS}. Its first line has {_listed(names)}:"
            f" charrnn train {source} {named('column', shlex.quote(column))} reads one column, and"
            f" {named('documents', 'lines')} whole lines"
        )
    # Commas part the words of a sentence, too, with a blank behind each; semicolons end &amp;.
    is_prose = 2 * start.count(f"{delimiter} ") > start.count(delimiter) or "&amp;" in start
    least = 2 if delimiter == "\t" else 3
    if is_prose or len(rows) < LEAST_ROWS or len(names) < least or _share_alike(rows) < 1:
        return ""
    return (
        f"is read as a text, but its lines have {len(names)} columns between"
        f" {DELIMITERS[delimiter]}: charrnn train {source} {named('column', 1)} reads the first"
    )


def columns_of(start: str, *, label: str) -> Counter[str]:
    """Return the names of the columns of a table with the number of letters in each, or of the
    fields of JSON with the number of characters, by the beginning of a file that is one by its
    suffix."""
    if is_json(start, label):
        return fields_of(start)
    columns: Counter[str] = Counter()
    if _has_suffix(label, ".csv", ".tsv"):
        delimiter = find_delimiter(start, column="", label=label)
        header, *rows = _first_rows(start, delimiter) or [[]]
        names = _stripped(header)
        for row in rows:
            for name, value in zip(names, row, strict=False):
                columns[name] += sum(map(str.isalpha, value))
    return columns

"""Read one field of the objects in JSON or JSON Lines, and name the fields that have texts.

A field of an inner object has the names of both, with a dot between them: `name.english`. Lists are
passed through, so that `verses.text` is the text of every object in the list `verses`. So are long
objects that other programs write for a list, in which each record stands after its key.
"""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeGuard

from charrnn.errors import DataError, NoColumnError, named
from charrnn.text.json_size import fills_memory
from charrnn.text.text_files import FileRecord, Line, is_blank, without_gz

NULL = "object", "left out {num} of {label}: the value is null"
"""A change of a text: an object without a text."""
MISSING = "object", "left out {num} of {label}: the field is missing"
"""A change of a text: an object that does not have the field."""
NO_TEXT = "value", "left out {num} of {label}: an object, and no text"
"""A change of a text: a field with fields of its own."""
EMPTY_LIST = "empty list", "left out {num} of {label}"
"""A change of a text: a field with a list in which nothing is."""
OTHER_LISTS = (
    "other list",
    "left out {num} of {label} with this field: jq -c '.[][]' FILE > all.jsonl joins them",
)
"""A change of a text: lists of objects beside the one that is read."""
MOST_LISTED = 20
"""Number of fields that a message lists, at most."""
MIN_KEYED = 20
"""Number of records that an object has instead of a list, each after its key, at least."""
WITH_BRACES = "is read with its braces"
"""How a note on JSON begins that is read as a text."""
_SUFFIXES = (".json", ".jsonl", ".ndjson")
# An archive of Twitter has JSON behind the name of a variable.
_VARIABLE = r"window\.YTD\.[\w.]+\s*=\s*"
_JSON_START = re.compile(rf'\s*(?:{_VARIABLE})?(?:\[\s*)?\{{\s*(?:"[^"\n]*"\s*:|\Z|\n)')
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*\\?(?:"|\Z)|[\[\]{},]', re.DOTALL)
_DEEPEST = 100
"""Brackets within brackets, at most, of which the missing ends are added."""
_CLOSING = {"[": "]", "{": "}"}
_BLANKS = re.compile(r"[ \t\r\n]*")
_ABSENT = object()


def is_json(start: str, label: str) -> bool:
    """Whether a file is JSON or JSON Lines by its suffix, or begins with an object of JSON.

    A column is read from it by `json_values`, and from any other file as from a table.
    """
    return without_gz(label).lower().endswith(_SUFFIXES) or _JSON_START.match(start) is not None


def json_values(
    lines: Iterable[Line], *, column: str, file: FileRecord
) -> Iterator[tuple[int, str]]:
    """Yield the texts of a field of all objects of JSON Lines, or of a file with a list of objects,
    each after the number of its line.

    Data sets of texts are often files of objects, of which one field is the text. Each text of a
    list is a value of its own. Objects without the field, and values that are no text, are left out
    and counted in `file`. Raises DataError if no object has such a field.
    """
    seen: Counter[str] = Counter()
    is_found = False
    for number, record in _records(lines, column=column, file=file):
        if not is_found and len(seen) < MOST_LISTED:
            seen.update(_text_fields(record))
        for value in _fields_at(record, column):
            if value is _ABSENT:
                file.changes[MISSING] += 1
            elif isinstance(value, dict) and not _is_keyed(value, kind=list):
                file.changes[NO_TEXT] += 1
            elif value == []:
                file.changes[EMPTY_LIST] += 1
            else:
                is_found = True
                for text in _texts_in(value, file):
                    yield number, text
    if is_found or not (file.changes[MISSING] or file.changes[NO_TEXT]):
        return

    # A field of the same beginning is probably what is meant.
    inner = {name: num for name, num in seen.items() if name.startswith(f"{column}.")}
    problem = f"has no field {column!r}"
    if file.changes[NO_TEXT]:
        problem = f"has no text in the field {column!r}"
    if not seen:
        has = "no object with a text (jq -r '.. | strings' FILE writes the texts as lines)"
        raise DataError(f"{file.name} {problem}; it has {has}")
    raise NoColumnError(
        f"{file.name} {problem}; it has {_listed_fields(inner or seen)}",
        remedy=f"give one of them as {named('column')}",
    )


def _texts_in(value: object, file: FileRecord) -> Iterator[str]:
    """Yield a value, or the values of a list, as texts; null and objects are counted."""
    if isinstance(value, dict):
        value = list(value.values())
    for item in _items(value):
        if item is None:
            file.changes[NULL] += 1
        elif isinstance(item, dict):
            file.changes[NO_TEXT] += 1
        elif isinstance(item, str):
            yield item
        else:
            # Numbers were decoded as texts, so that only true and false are left.
            yield json.dumps(item)


def _items(value: object) -> Iterator[object]:
    """Yield the items of a list and of the lists in it, or a value that is no list."""
    # Lists may be nested more deeply than functions may call each other.
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(item))
        else:
            yield item


def _fields_at(value: object, path: str) -> Iterator[object]:
    """Yield the values of a field, whose name is compared as a whole before it is parted at a dot;
    `_ABSENT` for what does not have it."""
    # Objects may be nested more deeply than functions may call each other.
    waiting = [(value, path)]
    while waiting:
        item, rest = waiting.pop()
        if isinstance(item, list):
            waiting += [(inner, rest) for inner in reversed(item)]
            continue
        head = rest
        while isinstance(item, dict) and head and head not in item:
            head = head.rpartition(".")[0]
        if isinstance(item, dict) and head == rest:
            yield item[head]
        elif isinstance(item, dict) and head:
            waiting.append((item[head], rest[len(head) + 1 :]))
        elif _is_keyed(item):
            waiting.append((list(item.values()), rest))
        else:
            yield _ABSENT


def _is_keyed(
    value: object, kind: type | tuple[type, ...] = (dict, list)
) -> TypeGuard[dict[str, object]]:
    """Whether a value is an object that stands for a list: many fields, and in each of them a
    record, or a list of records or texts."""
    if not isinstance(value, dict) or len(value) < MIN_KEYED:
        return False
    return all(isinstance(record, kind) for record in value.values())


def _has_field(value: object, path: str) -> bool:
    return any(field is not _ABSENT for field in _fields_at(value, path))


def _records(
    lines: Iterable[Line], *, column: str, file: FileRecord
) -> Iterator[tuple[int, object]]:
    """Yield the objects of a file, each after the number of its line. Raises DataError."""
    rest = (line for line in lines if not is_blank(line.content))
    first = next(rest, None)
    if first is None:
        return

    # A file that is one object, or a list, may have several lines.
    texts = chain((first,), rest)
    error_of_line = None
    try:
        for _ in _items_in(first.content, file.name):
            pass
    except (ValueError, RecursionError) as error:
        error_of_line = error
        whole = "".join([first.content, *(line.content for line in rest)])
        texts = chain((Line(first.number, whole),))

    is_first = True
    for number, text in texts:
        try:
            for item in _items_in(text, file.name):
                records: Sequence[object] = [item]
                # An object may have the list of records in one of its fields.
                if is_first and isinstance(item, dict) and not _plain(text).startswith("["):
                    records = _records_inside(item, column=column, file=file)
                is_first = False
                for record in records:
                    yield number, record
        except (ValueError, RecursionError) as error_of_text:
            reason = error_of_text
            # Of several lines, the first may be the one that is damaged.
            if is_first and error_of_line is not None:
                reason = error_of_line
            elif isinstance(reason, json.JSONDecodeError):
                number += reason.lineno - 1
            raise DataError(
                f"{file.name}, line {number}, is not JSON ({reason}): mend or remove the line"
            ) from reason


def _records_inside(
    record: Mapping[str, object], *, column: str, file: FileRecord
) -> Sequence[object]:
    """Return the first list of an object that has objects with a field; the object itself if it has
    the field, or none of its lists."""
    if _has_field(record, column):
        return [record]
    lists = [value for value in record.values() if isinstance(value, list)]
    alike = [value for value in lists if _has_field(value, column)]
    if not alike:
        return [record]
    file.changes[OTHER_LISTS] += len(alike) - 1
    return alike[0]


def _plain(text: str) -> str:
    """Return JSON without what may stand around it."""
    return re.sub(f"^{_VARIABLE}", "", text.strip("\ufeff \t\r\n"))


def _items_in(text: str, label: str) -> Iterator[object]:
    """Yield the items of a list in JSON, of which one is in memory, or values that stand one after
    the other, as jq writes them. Numbers are texts, as they are written.

    Raises ValueError, RecursionError; DataError if the JSON would fill the memory.
    """
    if fills_memory(text):
        raise DataError(
            f"{label} has JSON of so many brackets and commas that it would fill the memory:"
            " jq -r '.. | strings' FILE > text.txt takes its texts out of it"
        )
    plain = _plain(text)
    decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
    if not plain.startswith("["):
        position = 0
        while position < len(plain):
            item, position = decoder.raw_decode(plain, position)
            yield item
            position = _after(_BLANKS, plain, position)
        return

    # The decoder finds where an item ends, but nothing of what is between two of them.
    position = _after(_BLANKS, plain, 1)
    is_next = plain[position : position + 1] != "]"
    while is_next:
        item, position = decoder.raw_decode(plain, position)
        yield item
        position = _after(_BLANKS, plain, position)
        is_next = plain[position : position + 1] == ","
        if is_next:
            position = _after(_BLANKS, plain, position + 1)
    if plain[position : position + 1] != "]":
        raise json.JSONDecodeError("Expecting ',' delimiter", plain, position)
    if position + 1 < len(plain):
        raise json.JSONDecodeError("Extra data", plain, position + 1)


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Return the index behind what a pattern, which may match nothing, matches at an index."""
    match = pattern.match(text, position)
    assert match is not None
    return match.end()


def describe_fields(start: str, *, source: str) -> str:
    """Describe the fields of JSON that is read as a text, for a note, by the beginning of the file;
    "" if no field has a text. `source` is what a command is given to read it.

    The note shows commands that can be typed as they are: a user need not know how the fields are
    nested.
    """
    fields = fields_of(start)
    records = _first_records(start)
    if len(records) == 1 and _has_named_texts(records[0], fields):
        return (
            f"{WITH_BRACES}; it is one object, in which every text has a name:"
            " jq -r '.. | strings' FILE > text.txt writes the texts as lines"
        )
    if not fields:
        return ""
    name = max(fields, key=fields.__getitem__)
    return (
        f"{WITH_BRACES}; it has {_listed_fields(fields)}:"
        f" charrnn train {source} {named('column', shlex.quote(name))} reads one"
    )


def fields_of(start: str) -> Counter[str]:
    """Return the names of the fields that have texts, as one types them, with the number of
    characters in each, by the beginning of JSON."""
    fields: Counter[str] = Counter()
    for record in _first_records(start):
        fields.update(_text_fields(record))
    return fields


def _first_records(start: str) -> list[object]:
    """Return the objects with which JSON begins, of which the last may lack its end."""
    rest = re.sub(rf"^\s*\ufeff?\s*(?:{_VARIABLE})?", "", start)
    decoder = json.JSONDecoder()
    records: list[object] = []
    while rest:
        try:
            record, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError):
            record, end = _closed(rest), len(rest)
        if isinstance(record, list):
            records += record
        else:
            records.append(record)
        rest = rest[end:].lstrip()
    return records


def _closed(start: str) -> object:
    """Decode the beginning of JSON up to its last comma; None if that is not possible."""
    open_marks: list[str] = []
    end = 0
    closing = ""
    for mark in _MARKS.finditer(start):
        sign = mark[0]
        if len(open_marks) > _DEEPEST:
            return None
        if sign in _CLOSING:
            open_marks.append(sign)
        elif sign in ("]", "}"):
            if not open_marks:
                break
            open_marks.pop()
        elif sign == ",":
            end = mark.start()
            closing = "".join(_CLOSING[mark] for mark in reversed(open_marks))
    try:
        return json.loads(start[:end] + closing)
    except (ValueError, RecursionError):
        return None


def _text_fields(record: object) -> Counter[str]:
    """Return the names of the fields of an object that have texts, as one types them, with the
    number of characters in each."""
    fields: Counter[str] = Counter()
    waiting: list[tuple[str, object]] = [("", record)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str) and path:
            fields[path] += len(value)
        elif isinstance(value, list):
            waiting += [(path, item) for item in reversed(value)]
        elif _is_keyed(value):
            waiting.append((path, list(value.values())))
        elif isinstance(value, dict):
            before = f"{path}." if path else ""
            waiting += [(f"{before}{name}", item) for name, item in reversed(value.items())]
    return fields


def _has_named_texts(record: object, fields: Mapping[str, int]) -> bool:
    """Whether an object with these fields has a name for each of its texts, so that no field is
    what one wants."""
    if _is_keyed(record, kind=list) and not fields:
        return True
    if not isinstance(record, dict) or len(fields) <= MOST_LISTED:
        return False
    # Texts in a list share the name of the field.
    num_named = 0
    waiting: list[object] = [record]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            num_named += 1
        elif isinstance(value, dict) and not _is_keyed(value):
            waiting += value.values()
    return 2 * num_named > len(fields)


def _listed_fields(names: Iterable[str]) -> str:
    shown = list(names)
    if len(shown) > MOST_LISTED:
        shown[MOST_LISTED:] = ["…"]
    return ", ".join(shown)

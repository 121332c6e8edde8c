"""Records from the JSON that their `to_json` returns, for the findings of a run. What is read is checked.

A record is a dataclass whose fields are int, float, str, bool, tuples of one kind, other records, or None beside one of
these.
"""

import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from charrnn.files import JSON

Record = TypeVar("Record")
"""A type of records."""


def record_from_json(kind: type[Record], value: JSON) -> Record | None:
    """Return the record of a type from its JSON; None if `value` is anything else, or has numbers that are not finite.

    Ranges are not checked: a picture must be able to draw any number and any text.
    """
    try:
        record: Record = _read(kind, value)
    except _NotThatError:
        return None
    return record


def records_from_json(kind: type[Record], value: JSON, size: int) -> tuple[Record, ...] | None:
    """Return `size` records of a type from a list; None if `value` is anything else."""
    if not isinstance(value, list) or len(value) != size:
        return None
    records = tuple(record for one in value if (record := record_from_json(kind, one)) is not None)
    return records if len(records) == size else None


class _NotThatError(Exception):
    """A value is not of the kind that was asked for."""


def _read(kind: Any, value: JSON) -> Any:
    return _reader(kind)(value)


@cache
def _reader(kind: Any) -> Callable[[JSON], Any]:
    """Return what reads a value of a kind; kept, because looking at the kind takes longer than reading the value."""
    if get_origin(kind) is UnionType:
        kinds = get_args(kind)
        (of,) = (_reader(one) for one in kinds if one is not NoneType)
        return (lambda value: None if value is None else of(value)) if NoneType in kinds else of
    if is_dataclass(kind):
        return _record_reader(kind)
    if get_origin(kind) is tuple:
        read = _reader(get_args(kind)[0])

        def read_tuple(value: JSON) -> tuple[Any, ...]:
            if not isinstance(value, list | tuple):
                raise _NotThatError
            return tuple(map(read, value))

        return read_tuple

    def read_plain(value: JSON) -> Any:
        if type(value) is not kind or (type(value) is float and not math.isfinite(value)):
            raise _NotThatError
        return value

    return read_plain


def _record_reader(kind: Any) -> Callable[[JSON], Any]:
    hints = get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}

    def read_record(value: JSON) -> Any:
        if not isinstance(value, dict) or value.keys() != readers.keys():
            raise _NotThatError
        return kind(**{name: read(value[name]) for name, read in readers.items()})

    return read_record

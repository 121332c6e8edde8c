"""Records from the JSON that their `to_json` returns, for the findings of a run. What is read is checked.

A record is a dataclass whose fields are int, float, str, bool, tuples of one kind, other records, or None beside one of
these.
"""

import math
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


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """Return the type of each field; kept, because finding it takes longer than reading a record."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _read(kind: Any, value: JSON) -> Any:
    if get_origin(kind) is UnionType:
        kinds = get_args(kind)
        if value is None and NoneType in kinds:
            return None
        (kind,) = (one for one in kinds if one is not NoneType)
    if is_dataclass(kind):
        record: Any = kind
        hints = _hints(record)
        if not isinstance(value, dict) or value.keys() != hints.keys():
            raise _NotThatError
        return record(**{name: _read(hint, value[name]) for name, hint in hints.items()})
    if get_origin(kind) is tuple:
        (of, *_) = get_args(kind)
        if not isinstance(value, list | tuple):
            raise _NotThatError
        return tuple(_read(of, one) for one in value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):  # type: ignore[arg-type]
        raise _NotThatError
    return value

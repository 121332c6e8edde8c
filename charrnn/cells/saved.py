"""Measurements to JSON and back, for the findings of a run. What is read is checked, because a run
may be untrusted.

The type of a measurement says what it consists of: a dataclass, a tuple, an array of NumPy, a
number, text, or None beside one of these. A dataclass is written as the list of its fields, which
takes a third of the space of an object.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from charrnn.config.architectures import CELL_GROUP
from charrnn.hooks.extensions import GROUP, scan_plugins
from charrnn.system.files import JSON

Result = TypeVar("Result")
"""The type of a measurement."""
Reader = Callable[[JSON, Mapping[str, int]], Any]
"""Reads a value, with the sizes of the model and the text by name. Raises _UnexpectedError."""
Range = Callable[[float, Mapping[str, int]], bool]
"""Says whether a number is in a range, which may depend on these sizes."""
ROUNDING = 1e-6
"""Tolerance for rounding errors at the ends of a range."""


def _between(low: float, high: float) -> Range:
    """Return the range of a number, both ends included, up to rounding errors."""
    return lambda number, sizes: low - ROUNDING <= number <= high + ROUNDING


def _below(size: str, *, is_end: bool = False) -> Range:
    """Return the range of an index: from 0 to less than `layers`, `units` or `chars`, or up to it
    for an end."""
    return lambda number, sizes: 0 <= number < sizes.get(size, math.inf) + is_end


Layer = Annotated[int, _below("layers")]
"""The index of a layer."""
Unit = Annotated[int, _below("units")]
"""The index of a unit in its layer."""
Place = Annotated[int, _below("chars")]
"""The index of a character of the text."""
End = Annotated[int, _below("chars", is_end=True)]
"""The end of a part of the text."""
Share = Annotated[float, _between(0, 1)]
"""A share, an AUC, a p-value, …"""
Association = Annotated[float, _between(-1, 1)]
"""A value of a cell, a correlation, …"""


MEASURING = (
    *(
        "config/architectures.py",
        "config/settings.py",
        "statistics/intervals.py",
        "cells/*.py",
        "detectors/*.py",
        "analyses/**/*.py",
        "reports/*.py",
        "model/*.py",
    ),
    *("text/batches.py", "text/vocab.py"),
)
"""Patterns of the source files whose code decides what is measured."""


@cache
def _source_digest() -> str:
    """Return the SHA-256 of the source code that measures, as this process found it; "" if it is
    not installed."""
    package = Path(__file__).parents[1]
    sources = sorted(path for part in MEASURING for path in package.glob(part))
    return (
        hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
        if sources
        else ""
    )


def program_digest() -> str | None:
    """Return a SHA-256 of the source code that measures and of the versions of the packages that
    add cells or rooms.

    None if the source files are not installed. Raises UsageError as `scan_plugins`.
    """
    if not _source_digest():
        return None
    digest = hashlib.sha256(_source_digest().encode())
    plugins = [
        plugin for group in (GROUP, CELL_GROUP) for plugin in scan_plugins(group, "extension")
    ]
    digest.update(
        repr(sorted({plugin.package for plugin in plugins if not plugin.is_own})).encode()
    )
    return digest.hexdigest()


def encode(value: Any) -> JSON:
    """Return a measurement as JSON; numbers of an array in as few digits as restore them
    exactly."""
    if is_dataclass(value):
        return [encode(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, tuple):
        return [encode(part) for part in value]
    if isinstance(value, np.ndarray):
        return (
            [float(str(number)) for number in value] if value.dtype.kind == "f" else value.tolist()
        )
    found: JSON = value
    return found


def decode(kind: type[Result], value: JSON, sizes: Mapping[str, int]) -> Result | None:
    """Return the measurement of a type from its JSON; None if `value` is anything else.

    Numbers are finite and in the ranges that the type states; `sizes` has the number of layers,
    units and chars. A record may have a property `is_consistent`, which must be true.
    """
    try:
        return cast(Result, _reader(cast(Any, kind))(value, sizes))
    except _UnexpectedError:
        return None


def first_difference(saved: JSON, measured: JSON) -> tuple[JSON, JSON] | None:
    """Return the first two parts of two encoded measurements that differ, but for names; None if
    they are equal."""
    if isinstance(saved, list) and isinstance(measured, list) and len(saved) == len(measured):
        return next(filter(None, map(first_difference, saved, measured)), None)
    return None if saved == measured or isinstance(measured, str) else (saved, measured)


class _UnexpectedError(Exception):
    """A value is not of the type that was asked for."""


@cache
def _reader(kind: Any) -> Reader:
    """Return what reads a value of a type; kept, because looking at the type takes longer than
    reading the value."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        read, contains = _reader(parts[0]), parts[1]

        def read_number(value: JSON, sizes: Mapping[str, int]) -> Any:
            number = read(value, sizes)
            if not contains(number, sizes):
                raise _UnexpectedError
            return number

        return read_number

    if origin in (Union, UnionType):
        (only,) = (_reader(part) for part in parts if part is not NoneType)
        return lambda value, sizes: None if value is None else only(value, sizes)
    if origin is tuple:
        return _tuple_reader(parts)
    if origin is np.ndarray:
        dtype = np.dtype(get_args(parts[1])[0])
        numbers = _tuple_reader((float if dtype.kind == "f" else int, ...))
        return lambda value, sizes: np.array(numbers(value, sizes), dtype)
    if is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        read_fields = _tuple_reader(tuple(hints[field.name] for field in fields(kind)))
        names = [field.name for field in fields(kind)]
        build: Callable[..., Any] = cast(Any, kind)

        def read_record(value: JSON, sizes: Mapping[str, int]) -> Any:
            record = build(**dict(zip(names, read_fields(value, sizes), strict=True)))
            if not getattr(record, "is_consistent", True):
                raise _UnexpectedError
            return record

        return read_record

    def read_plain(value: JSON, sizes: Mapping[str, int]) -> Any:
        if type(value) is not kind or (type(value) is float and not math.isfinite(value)):
            raise _UnexpectedError
        return value

    return read_plain


def _tuple_reader(kinds: tuple[Any, ...]) -> Reader:
    """Return what reads a list as a tuple: of one type (kind, ...) or of a type for each place."""
    if kinds[-1:] == (...,):
        read = _reader(kinds[0])
        return lambda value, sizes: tuple(read(part, sizes) for part in _listed(value))
    readers = [_reader(kind) for kind in kinds]

    def read_each(value: JSON, sizes: Mapping[str, int]) -> tuple[Any, ...]:
        parts = _listed(value)
        if len(parts) != len(readers):
            raise _UnexpectedError
        return tuple(read(part, sizes) for read, part in zip(readers, parts, strict=True))

    return read_each


def _listed(value: JSON) -> list[JSON]:
    # A result of this process that was not written yet may contain tuples.
    if not isinstance(value, list):
        raise _UnexpectedError
    return value

"""Measurements to JSON and back, for the findings of a run. What is read is checked, because a run may be untrusted.

Shapes: N characters, C = L * H cells.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.records import CellScore, FoundCell
from charrnn.cells.scores import Measured, Target
from charrnn.cells.statistics import SIZES
from charrnn.detectors.registry import DETECTORS, Labels
from charrnn.files import JSON

Record = TypeVar("Record")
"""A type of records."""
NAMES = frozenset(field.name for field in fields(CellScore)) - {"detector"}
"""Keys of a score."""
ABLATIONS = frozenset({"ablation_inside", "ablation_outside"})
"""Figures that `measure` leaves out, because they have entries of their own."""
FIGURES = NAMES - ABLATIONS - {"layer", "unit", "polarity", "num_positive", "probe"}
"""Keys whose values are numbers or null."""
NEEDED = frozenset({"ci_low", "ci_high", "chosen_on", "null_level", "p_value"})
"""Figures that every score of `measure` has."""
FOUND_CELLS = "found cells"
"""The kind of the entry with the found cells of all texts that were measured, the latest for each detector."""
ROUNDING = 1e-6
"""Tolerance for rounding errors at the ends of a range."""


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


@cache
def program_digest() -> str | None:
    """Return the SHA-256 of the source code that measures; None if the source files are not installed."""
    package = Path(__file__).parents[1]
    parts = ("intervals.py", "cells/*.py", "detectors/*.py", "lab/*.py", "model/*.py")
    sources = sorted(path for part in parts for path in package.glob(part))
    if not sources:
        return None
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def labels_digest(labels: Labels) -> str:
    """Return the SHA-256 of labels (N,): equal for detectors that give the same labels."""
    return hashlib.sha256(labels.dtype.kind.encode("ascii") + np.ascontiguousarray(labels).tobytes()).hexdigest()


def floats_to_json(values: NDArray[np.float32]) -> JSON:
    """Return numbers (N,) in as few digits as restore them exactly."""
    return [float(str(value)) for value in values]


def floats_from_json(value: JSON, size: int) -> NDArray[np.float32] | None:
    """Return numbers (size,) in [-1, 1]; None if `value` is anything else."""
    if not isinstance(value, list) or len(value) != size:
        return None
    if not all(isinstance(number, float) and -1 <= number <= 1 for number in value):
        return None
    return np.array(value, np.float32)


def measured_to_json(measured: Measured) -> JSON:
    """Return a measurement without its detector, which is identified by its labels."""
    score = {name: value for name, value in asdict(measured.score).items() if name in NAMES}
    score["probe"] = [list(pair) for pair in measured.score.probe]
    return {"score": score, "first_half": floats_to_json(measured.first_half)}


def measured_from_json(value: JSON, target: Target, num_layers: int, num_units: int) -> Measured | None:
    """Return the measurement of a target with L layers of H units; None if `value` is anything else."""
    if not isinstance(value, Mapping) or value.keys() != {"score", "first_half"}:
        return None
    num_cells = num_layers * num_units
    first_half = floats_from_json(value["first_half"], num_cells)
    score: Any = value["score"]
    if first_half is None or not isinstance(score, dict) or score.keys() != NAMES:
        return None
    needed = NEEDED | {"auc" if target.is_yes_no else "spearman"}
    unwanted = ABLATIONS | {"spearman" if target.is_yes_no else "auc"}
    is_whole = all(type(score[name]) is int for name in ("layer", "unit", "polarity", "num_positive"))
    is_there = is_whole and 0 <= score["layer"] < num_layers and 0 <= score["unit"] < num_units
    if not is_there or score["polarity"] not in (-1, 1) or not 0 <= score["num_positive"] <= len(target.labels):
        return None
    if any(score[name] is not None for name in unwanted):
        return None
    # R² has no lower bound.
    lowest = {"r2": -math.inf, "threshold": -1.0}
    least = 0.0 if target.is_yes_no else -1.0
    for name in FIGURES:
        if not _is_figure(score[name], is_needed=name in needed, low=lowest.get(name, least), high=1.0):
            return None
    probe = score["probe"]
    sizes = [*(size for size in SIZES if size < num_cells), num_cells]
    if not isinstance(probe, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in probe):
        return None
    least = 0.0 if target.is_yes_no else -math.inf
    if [size for size, _ in probe] != sizes:
        return None
    if not all(_is_figure(reached, is_needed=True, low=least, high=1.0) for _, reached in probe):
        return None
    pairs = tuple((int(size), float(reached)) for size, reached in probe)
    return Measured(CellScore(**{**score, "detector": target.name, "probe": pairs}), first_half)


def found_cells_to_json(scores: Iterable[CellScore], known: Iterable[FoundCell] = ()) -> JSON:
    """Return the significant scores that exceed the untrained baseline, beside those of other detectors in `known`."""
    by_name = {one.detector: one for one in known}
    for score in scores:
        by_name.pop(score.detector, None)
        if score.is_significant and score.gain > 0:
            one = FoundCell(detector=score.detector, layer=score.layer, unit=score.unit, gain=score.gain)
            by_name[score.detector] = one
    return [[one.detector, one.layer, one.unit, one.gain] for _, one in sorted(by_name.items())]


def found_cells_from_json(value: JSON, num_layers: int, num_units: int) -> tuple[FoundCell, ...]:
    """Return found cells for built-in detectors, largest gain first; none if `value` is anything else."""
    found = {}
    for one in value if isinstance(value, list) else ():
        if not isinstance(one, list) or [type(part) for part in one] != [str, int, int, float]:
            return ()
        name, layer, unit, gain = one
        if not (0 <= layer < num_layers and 0 <= unit < num_units and 0 < gain <= 1 + ROUNDING):
            return ()
        if name in DETECTORS:
            found[name] = FoundCell(detector=name, layer=layer, unit=unit, gain=gain)
    return tuple(sorted(found.values(), key=lambda one: -one.gain))


def pair_from_json(value: JSON) -> tuple[float | None, float | None] | None:
    """Return two figures, or two times None; None if `value` is neither."""
    if not isinstance(value, list) or len(value) != 2 or not all(_is_figure(one, is_needed=False) for one in value):
        return None
    inside, outside = value
    return (inside, outside) if (inside is None) == (outside is None) else None


def part_from_json(value: JSON, num_chars: int) -> slice | None:
    """Return the part of a text of `num_chars` characters from a list of its two ends; None if it is not one."""
    if not isinstance(value, list) or len(value) != 2 or not all(type(end) is int for end in value):
        return None
    begin, end = value
    return slice(begin, end) if 0 <= begin < end <= num_chars else None


def _is_figure(value: object, *, is_needed: bool, low: float = -math.inf, high: float = math.inf) -> bool:
    """Return whether a value is a finite number in [low, high], or None where it is not needed."""
    if value is None:
        return not is_needed
    return isinstance(value, float) and math.isfinite(value) and low - ROUNDING <= value <= high + ROUNDING

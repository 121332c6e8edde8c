"""Saved measurements: what is written is read back exactly, and anything else is refused."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from charrnn.cells.saved import End, Layer, Place, Share, Unit, decode, encode
from charrnn.files import JSON

SIZES = {"layers": 2, "units": 3, "chars": 100}


@dataclass(frozen=True)
class Part:
    """An index, a part of the text, a share, and text that may be missing."""

    layer: Layer
    begin: Place
    end: End
    share: Share | None
    name: str | None = None


@dataclass(frozen=True)
class Whole:
    """Parts, a pair, arrays and a truth value."""

    unit: Unit
    parts: tuple[Part, ...]
    pair: tuple[float, int]
    values: NDArray[np.float32]
    columns: NDArray[np.int64]
    is_it: bool


PART = Part(1, 99, 100, 0.25, "ä\ud800")
WHOLE = Whole(
    2, (PART, Part(0, 0, 1, None)), (1.5, 2), np.array([0.1, -1 / 3], np.float32), np.array([3, -1]), is_it=True
)


def saved(value: Any) -> JSON:
    found: JSON = json.loads(json.dumps(encode(value), allow_nan=False))
    return found


def test_what_is_written_is_read_back_exactly() -> None:
    found = decode(Whole, saved(WHOLE), SIZES)
    assert found is not None
    assert (found.unit, found.parts, found.pair, found.is_it) == (2, WHOLE.parts, (1.5, 2), True)
    assert found.values.dtype == np.float32 and (found.values == WHOLE.values).all()
    assert found.columns.dtype == np.int64 and (found.columns == WHOLE.columns).all()


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        [1, 99, 100, 0.25],
        [1, 99, 100, 0.25, "a", 1],
        [2, 99, 100, 0.25, "a"],
        [-1, 99, 100, 0.25, "a"],
        [1, 100, 100, 0.25, "a"],
        [1, 99, 101, 0.25, "a"],
        [True, 99, 100, 0.25, "a"],
        [1, 99, 100, 1.25, "a"],
        [1, 99, 100, 1, "a"],
        [1, 99, 100, float("nan"), "a"],
        [1, 99, 100, 0.25, 1],
        [None, 99, 100, 0.25, "a"],
    ],
)
def test_anything_else_is_refused(value: JSON) -> None:
    assert decode(Part, [1, 99, 100, 0.25, "a"], SIZES) is not None
    assert decode(Part, value, SIZES) is None
    assert decode(tuple[Part, ...], [value], SIZES) is None


def test_the_parts_of_a_value_are_checked() -> None:
    for place, wrong in enumerate((3, [[]], [1.5, 2, 3], [0.5, "a"], [0.5], 1)):
        value = saved(WHOLE)
        assert isinstance(value, list)
        value[place] = wrong
        assert decode(Whole, value, SIZES) is None, place

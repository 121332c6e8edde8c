"""Saved measurements: what is written is read back exactly, and anything else is refused."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray

import charrnn
from charrnn.cells.saved import MEASURING, End, Layer, Place, Share, Unit, decode, encode, program_digest
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


def test_anything_else_is_refused() -> None:
    for place, wrong in (
        *((0, wrong) for wrong in (None, 2, -1, True, "1")),
        *((1, wrong) for wrong in (100, 0.5)),
        *((2, wrong) for wrong in (101, -1)),
        *((3, wrong) for wrong in (1.25, 1, float("nan"), float("inf"))),
        (4, 1),
    ):
        value: list[JSON] = [1, 99, 100, 0.25, "a"]
        assert decode(Part, value, SIZES) is not None
        others: list[JSON] = [{}, [], value[:4], [*value, 1], [*value[:place], wrong, *value[place + 1 :]]]
        for other in others:
            assert decode(Part, other, SIZES) is None
            assert decode(tuple[Part, ...], [other], SIZES) is None


def test_the_parts_of_a_value_are_checked() -> None:
    for place, wrong in enumerate((3, [[]], [1.5, 2, 3], [0.5, "a"], [0.5], 1)):
        value = saved(WHOLE)
        assert isinstance(value, list)
        value[place] = wrong
        assert decode(Whole, value, SIZES) is None, place


def test_the_digest_covers_all_code_that_measures_and_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = "code_cache, display, errors, extensions, files, findings_cache, lazy, options, process, progress"
    package = Path(charrnn.__file__).parent
    covered = {path for part in MEASURING for path in package.glob(part)}
    keeps = re.compile(r"\.(kept|kept_each|look_up)\(")
    for source in (one for one in covered if "lab" not in one.parts or keeps.search(one.read_text("utf-8"))):
        for name in re.findall(r"(?m)^ *from charrnn\.([\w.]+) import", source.read_text("utf-8")):
            path = package / name.replace(".", "/")
            is_covered = {path.with_suffix(".py"), path / "__init__.py"} & covered
            # What draws and names results decides none.
            shows = name in ("api", "evaluation.comparison") or name.startswith(("cli.", "views."))
            assert is_covered or name in harmless.split(", ") or (shows and "lab" in source.parts), (source, name)
    usual, theirs = program_digest(), Mock(package="theirs 1.0", is_own=False)
    monkeypatch.setattr("charrnn.cells.saved.scan_plugins", lambda group, kind: [theirs])
    assert usual != program_digest.__wrapped__()

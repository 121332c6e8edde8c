"""Records survive JSON, and nothing else is taken for one."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from charrnn.cells.saved import record_from_json, records_from_json


@dataclass(frozen=True)
class Part:
    name: str
    share: float | None


@dataclass(frozen=True)
class Whole:
    count: int
    is_good: bool
    parts: tuple[Part, ...]
    best: Part | None = None


WHOLE = Whole(3, True, (Part("a", 0.5), Part("\x1b", None)), Part("b", 1e-300))


def as_json(record: Any) -> Any:
    return json.loads(json.dumps(asdict(record)))


def test_records_survive() -> None:
    assert record_from_json(Whole, as_json(WHOLE)) == WHOLE
    assert record_from_json(Whole, asdict(WHOLE)) == WHOLE  # before it was written
    assert records_from_json(Whole, [as_json(WHOLE)] * 2, 2) == (WHOLE, WHOLE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("count",), 3.0),
        (("count",), True),
        (("is_good",), 1),
        (("parts",), {}),
        (("parts",), None),
        (("parts", 0, "name"), None),
        (("parts", 0, "name"), 7),
        (("parts", 0, "share"), 1),
        (("parts", 0, "share"), float("nan")),
        (("parts", 0, "share"), float("inf")),
        (("parts", 0, "other"), 1.0),
        (("best",), []),
    ],
)
def test_nothing_else_is_a_record(path: tuple[Any, ...], value: Any) -> None:
    changed = as_json(WHOLE)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert record_from_json(Whole, changed) is None
    assert records_from_json(Whole, [as_json(WHOLE), changed], 2) is None


def test_a_list_must_have_its_length() -> None:
    assert records_from_json(Whole, [as_json(WHOLE)], 2) is None
    assert records_from_json(Whole, as_json(WHOLE), 1) is None
    assert record_from_json(Whole, None) is None

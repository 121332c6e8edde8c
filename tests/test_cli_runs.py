"""`charrnn runs`: columns, order, CSV, JSON, and learning curves on the terminal and in files."""

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from built_runs import build_chain
from conftest import Ran

from charrnn.cli.runs import MAX_CURVES
from charrnn.runs.logs import MetricsLog

Command = Callable[..., Ran]


@pytest.fixture
def checkpoints(command: Command, tmp_path: Path) -> Path:
    """Build three runs, oldest first: `b-001` and `a,"2"` with a loss, `c-001` without."""
    for age, (name, nats) in enumerate((("b-001", (3.0, 2.0)), ('a,"2"', (2.5, 1.5)), ("c-001", ()))):
        path = build_chain(tmp_path / "checkpoints" / name, "\nabcd")
        log = MetricsLog(path / "metrics.jsonl")
        for step, loss in enumerate(nats, start=1):
            log.append({"event": "step", "step": step, "seconds": 60.0 * step, "train_nats": loss + 0.25})
            log.append({"event": "evaluation", "step": step, "seconds": 60.0 * step + 30, "val_nats": loss})
        os.utime(path / "latest", (100 + age, 100 + age))
    return tmp_path / "checkpoints"


def _in_csv(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def test_csv_is_quoted_and_has_the_same_values(command: Command, checkpoints: Path) -> None:
    found = json.loads(command("runs", "--json").out)
    ran = command("runs", "--csv")
    assert (ran.code, ran.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["name"] for row in rows] == [run["name"] for run in found]
    for row, run in zip(rows, found, strict=True):
        assert row == {key: _in_csv(value) for key, value in run.items()}
    assert '"a,""2"""' in ran.out


def test_as_many_curves_are_drawn_as_there_are_marks(command: Command, checkpoints: Path) -> None:
    for number in range(MAX_CURVES):
        path = build_chain(checkpoints / f"d-{number}", "\nabcd")
        MetricsLog(path / "metrics.jsonl").append({"event": "evaluation", "step": 1, "seconds": 1, "val_nats": 9.0})
        os.utime(path / "latest", (200 + number, 200 + number))
    ran = command("runs", "--plot")
    assert ran.err == "warning: drawing the last 7 of 9 runs; name others to draw them\n"
    assert all(f"d-{number}" in ran.out for number in range(MAX_CURVES)) and "b-001" not in ran.out
    ran = command("runs", "--plot", "--sort", "loss", "--quiet")
    assert "b-001" in ran.out and "d-6" not in ran.out and ran.err == ""

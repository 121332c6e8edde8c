"""Runs in the folder of a sweep: commands find them by name, and the newest run is never one of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from built_runs import build_chain
from conftest import Ran

from charrnn.errors import CheckpointError
from charrnn.runs.locate import list_runs, list_runs_and_sweeps, open_run, runs_of_sweep
from charrnn.runs.overview import find_runs, run_summaries
from charrnn.runs.reader import SWEEP

Command = Callable[..., Ran]


@pytest.fixture
def checkpoints(command: Command, tmp_path: Path) -> Path:
    """Two runs of a sweep, newer than a run beside it."""
    folder = tmp_path / "checkpoints"
    for number, name in enumerate(("book-001", "sweep-book/lstm_seed-0", "sweep-book/gru_seed-0")):
        run = build_chain(folder / name, "\nabcd")
        for file in ("latest", "config.yaml"):
            os.utime(run / file, (1000 + number, 1000 + number))
    (folder / "sweep-book" / SWEEP).write_text("{}")
    return folder


def test_all_runs_are_listed_with_the_names_that_commands_take(checkpoints: Path, command: Command) -> None:
    names = ["book-001", "sweep-book/lstm_seed-0", "sweep-book/gru_seed-0"]
    assert [run.name for run in list_runs_and_sweeps(checkpoints)] == names
    assert [summary.name for summary in run_summaries(checkpoints=checkpoints)] == names
    assert [run["name"] for run in json.loads(command("runs", "--json").out)] == names
    assert open_run(None, checkpoints).name == "book-001"
    assert [run.name for run in list_runs(checkpoints)] == ["book-001"]
    for name in names:
        assert open_run(name, checkpoints).name == name


def test_the_name_of_a_sweep_stands_for_its_runs(checkpoints: Path) -> None:
    found = find_runs(["sweep-book", "book-001", "sweep-book/gru_seed-0"], checkpoints=checkpoints)
    assert [run.name for run in found] == ["sweep-book/lstm_seed-0", "sweep-book/gru_seed-0", "book-001"]
    assert runs_of_sweep(str(checkpoints / "sweep-book")) is not None
    assert runs_of_sweep("book-001", checkpoints) is None
    assert runs_of_sweep("a\0b", checkpoints) is None


def test_a_sweep_where_a_run_is_needed_names_its_runs(checkpoints: Path, command: Command) -> None:
    ran = command("predict", "sweep-book", "a")
    assert (ran.code, ran.err) == (
        4,
        "error: sweep-book is a sweep, not a run\n"
        "       name one of its runs: sweep-book/lstm_seed-0, sweep-book/gru_seed-0\n",
    )
    with pytest.raises(CheckpointError, match=r"did you mean sweep-book/gru_seed-0\?"):
        open_run("sweep-book/gru_sed-0", checkpoints)
    (checkpoints / "sweep-new").mkdir()
    (checkpoints / "sweep-new" / SWEEP).write_text("{}")
    with pytest.raises(CheckpointError, match="it has none yet"):
        open_run("sweep-new", checkpoints)
    assert command("runs", "sweep-new") == Ran(0, "", "warning: No runs in sweep-new.\n")

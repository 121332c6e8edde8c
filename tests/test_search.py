"""Searches with Optuna: what is drawn, that it can be continued, and that its journal is read safely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran

from charrnn.config import Config
from charrnn.errors import CheckpointError
from charrnn.scale.sweep.plan import FAILED, FINISHED, SweepPlan, SweepRun, plan_sweep
from charrnn.scale.sweep.search import JOURNAL, SearchSource, recorded_runs

pytest.importorskip("optuna", reason="a search needs optuna: pip install -c constraints.txt -e '.[sweep]'")
AXES = {
    "learning_rate": "1e-3..1e-1",
    "hidden_size": "64..512",
    "dropout": "0..0.5",
    "cell": "lstm,gru",
    "split": "90/10,80/20",
    "evaluate_every": "auto,10",
}


def plan(num_trials: int = 4, num_seeds: int = 1, axes: dict[str, Any] = AXES) -> SweepPlan:
    return plan_sweep(Config(steps=1), axes, num_seeds=num_seeds, num_trials=num_trials)


def loss_of(run: SweepRun) -> float:
    """Stand for the training of a run."""
    return abs(run.values.get("dropout", 0.0) - 0.2) + run.seed / 10


def search(source: SearchSource, num_runs: int) -> list[SweepRun]:
    """Train so many runs of a search, one after the other."""
    runs = []
    for _ in range(num_runs):
        run = source.next_run()
        assert run is not None
        runs.append(replace(run, status=FINISHED, nats_per_char=loss_of(run)))
        source.record(runs[-1])
    return runs


def test_settings_are_drawn_from_the_ranges_and_lists(tmp_path: Path) -> None:
    source = SearchSource(plan(), tmp_path)
    runs = search(source, 4)
    assert source.next_run() is None
    assert [run.name for run in runs] == [f"trial-00{number}_seed-0" for number in range(4)]
    for run in runs:
        assert 1e-3 <= run.values["learning_rate"] <= 1e-1
        assert isinstance(run.values["hidden_size"], int) and 64 <= run.values["hidden_size"] <= 512
        assert run.values["split"] in ((90.0, 10.0), (80.0, 20.0)) and run.values["evaluate_every"] in ("auto", 10)
    # More trials continue a search, and fewer show its first ones.
    assert [run.values for run in search(SearchSource(plan(5), tmp_path), 5)][:4] == [run.values for run in runs]
    assert len(recorded_runs(plan(1), tmp_path)) == 1


def test_a_search_that_was_interrupted_continues_with_the_same_settings(tmp_path: Path) -> None:
    # More trials than the 10 that are drawn at random.
    undisturbed = search(SearchSource(plan(14), tmp_path), 14)
    (tmp_path / "b").mkdir()
    search(SearchSource(plan(14), tmp_path / "b"), 5)
    interrupted = SearchSource(plan(14), tmp_path / "b")
    before = search(interrupted, 5)
    # Asked for, and killed before it ended; and a line that was not written to its end.
    running = interrupted.next_run()
    with (tmp_path / "b" / JOURNAL).open("a") as journal:
        journal.write('{"op_code": 4, "worker')
    again = search(SearchSource(plan(14), tmp_path / "b"), 14)
    assert running is not None and again[5].values == running.values
    assert [run.values for run in again] == [run.values for run in undisturbed]
    assert before == undisturbed[:5]
    assert recorded_runs(plan(14), tmp_path / "b") == [replace(r, status="waiting", nats_per_char=None) for r in again]


def test_a_trial_has_the_mean_loss_of_its_seeds(tmp_path: Path) -> None:
    source = SearchSource(plan(2, num_seeds=2), tmp_path)
    first, second = search(source, 2)
    assert (first.seed, second.seed, first.values) == (0, 1, second.values)
    third = source.next_run()
    assert third is not None
    source.record(replace(third, status=FAILED))
    search(source, 1)
    trial, failed = source._study.get_trials()
    assert trial.value == pytest.approx((loss_of(first) + loss_of(second)) / 2)
    assert failed.state.name == "FAIL", "else the mean of the seeds that did not diverge would count"


@pytest.mark.parametrize("line", ["[]", "x"])
def test_a_damaged_journal_is_named(tmp_path: Path, line: str) -> None:
    search(SearchSource(plan(), tmp_path), 1)
    path = tmp_path / JOURNAL
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(CheckpointError, match=r"optuna\.jsonl is damaged"):
        SearchSource(plan(), tmp_path)


def test_without_optuna_a_search_says_how_to_install_it(
    command: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    ran = command("sweep", "text.txt", "--search", 3, "--set", "learning_rate=1e-3..1e-1")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[1].strip() == "Install it: pip install -c constraints.txt -e '.[sweep]'"
    assert not Path("checkpoints").exists()

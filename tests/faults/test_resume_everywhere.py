"""A run resumed at any step equals the uninterrupted run; only the settings that may change do.

`tests/test_resume.py` has whole runs interrupted here and there; here is every step of two epochs, and every setting.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL_RUN
from saved_runs import FILES
from small_runs import assert_same, latest_step, records
from synthetic import make_corpus

import charrnn
from charrnn.errors import UsageError
from charrnn.model.device import cpu_computes_bf16
from charrnn.runs.checkpoint import best_checkpoint, checkpoint_name, read_state
from charrnn.runs.writer import RunWriter
from charrnn.training.loop import CHANGEABLE

NUM_CHARS = 711  # 639 to learn from, in 4 lanes of 16: just under ten steps an epoch, which so ends amid a window.
EPOCH = 10
SETTINGS: dict[str, Any] = {
    **SMALL_RUN,
    "dropout": 0.3,
    "zoneout": 0.1,
    "weight_drop": 0.1,
    "reset_probability": 0.4,
    "steps": 2 * EPOCH,
    "evaluate_every": 7,
    "save_every": 100,
}


@pytest.fixture(autouse=True)
def _text_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("charrnn.training.session.SAMPLE_LENGTH", 24)
    Path("text.txt").write_text(make_corpus(num_chars=NUM_CHARS, seed=6).text[:NUM_CHARS])


def stop_after(num_steps: int) -> Callable[[], bool]:
    asked = iter(range(num_steps))
    return lambda: next(asked, None) is None


def train(name: str, stop: int = 10**9, **changes: Any) -> Path:
    config = charrnn.Config(corpus=("text.txt",), **{**SETTINGS, **changes})
    list(charrnn.train(config, out=Path(name), should_stop=stop_after(stop)))
    return Path(name)


def files_of(run: Path, step: int) -> dict[str, bytes]:
    return {name: (run / checkpoint_name(step) / name).read_bytes() for name in FILES}


# The very first and the last, before, at and after the end of an epoch, and where it validates.
@pytest.mark.parametrize(
    "steps",
    [(0, 7, EPOCH - 1, EPOCH, 2 * EPOCH), pytest.param(range(2 * EPOCH + 1), marks=pytest.mark.thorough)],
    ids=["some steps", "every step"],
)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cell": "gru", "num_layers": 2, "weight_average": 0.0, "optimizer": "rmsprop"},
        {"initial_state": "learned", "optimizer": "adamw"},
    ],
    ids=["lstm", "gru rmsprop", "learned state", "sgd"],
)
def test_resuming_at_any_step_equals_the_uninterrupted_run(steps: Any, changes: dict[str, Any]) -> None:
    uninterrupted = train("uninterrupted", save_every=1, keep=100, **changes)
    logged = records(uninterrupted)
    for step in steps:
        run = RunWriter(Path(f"from-{step}"))
        best = best_checkpoint(read_state(uninterrupted / checkpoint_name(step)))
        for name in {checkpoint_name(step), best or checkpoint_name(step)}:
            shutil.copytree(uninterrupted / name, run.path / name)
        for name in ("config.yaml", "vocab.json", "samples.txt", "metrics.jsonl"):
            shutil.copy(uninterrupted / name, run.path / name)
        run.write_pointer("latest", checkpoint_name(step))
        last = min(step + 2, 2 * EPOCH)
        *_, done = charrnn.resume(run.path, should_stop=stop_after(2))
        # Weights, optimizer, averages, hidden state and place in the text are in these files; what is random in a step
        # is drawn from its number. The losses show that the next batches are the same, too.
        assert (done.step, files_of(run.path, last)) == (last, files_of(uninterrupted, last))
        assert records(run.path) == [record for record in logged if record["step"] <= last]


def test_twenty_chained_resumes_are_one_run() -> None:
    uninterrupted = train("uninterrupted")
    run = train("chained", stop=0)
    for taken in range(1, 2 * EPOCH + 1):
        *_, done = charrnn.resume(run, should_stop=stop_after(1))
        assert done.step == taken
    assert_same(run, uninterrupted)


def test_saving_validating_and_sampling_do_not_change_the_weights() -> None:
    never = train("never", save_every=10**6, evaluate_every=10**6)
    always = train("always", save_every=1, evaluate_every=1, keep=0)
    for name in ("model.safetensors", "training.safetensors"):
        assert files_of(always, 2 * EPOCH)[name] == files_of(never, 2 * EPOCH)[name]
    assert sorted(entry.name for entry in always.glob("step-*")) == sorted(
        {(always / name).read_text().strip() for name in ("latest", "best")}
    )


def test_the_best_checkpoint_is_known_without_its_pointer() -> None:
    uninterrupted = train("uninterrupted")
    run = train("run", stop=7)
    assert (run / "best").read_text() == (run / "latest").read_text() == "step-00000007\n"
    (run / "best").unlink()  # killed after `latest` was moved to step 7
    list(charrnn.resume(run, should_stop=stop_after(1)))
    assert (run / "best").read_text() == "step-00000007\n"
    # The pointer was mended before that step; the step itself is to know it, too.
    assert best_checkpoint(read_state(run / "step-00000008")) == "step-00000007"
    list(charrnn.resume(run))
    assert_same(run, uninterrupted)


MAY_CHANGE: dict[str, Any] = {
    "minutes": 0.002,
    "epochs": 1.0,
    "steps": 25,
    "device": "auto",
    "precision": "bf16",
    "threads": 2,
    "evaluate_every": 3,
    "save_every": 2,
    "keep": 0,
}


def test_a_changeable_setting_changes() -> None:
    stopped = train("run", stop=5)
    for name, value in MAY_CHANGE.items():
        if name == "precision" and not cpu_computes_bf16():
            continue
        run = Path(shutil.copytree(stopped, f"run-{name}"))
        start, *_, done = charrnn.resume(run, {name: value}, should_stop=stop_after(3))
        assert start.first_step == 5
        assert done.step == latest_step(run) <= 8
        if name not in ("minutes", "epochs"):
            assert start.config[name] == value
        # Seen by the next resume, too.
        again, *_ = charrnn.resume(run, should_stop=stop_after(0))
        assert {**again.config, "threads": None} == {**start.config, "threads": None}


def test_any_other_setting_is_refused_by_name() -> None:
    run = train("run", steps=1)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()}
    assert set(CHANGEABLE) == set(MAY_CHANGE)
    for name in {field.name for field in fields(charrnn.Config)} - set(CHANGEABLE):
        with pytest.raises(UsageError, match=f"^`resume` cannot change `{name}`: .*It can change `minutes`, "):
            list(charrnn.resume(run, {name: None, "steps": 30}))
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()} == before

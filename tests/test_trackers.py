"""Trackers: what each of them gets of a training, and that none of them can disturb it.

TensorBoard's files are read by TensorBoard itself. The other packages are imitated: they record what they get, with the
signatures of wandb 0.31, mlflow 3.17 and trackio 0.43, with which the same trainings were logged by hand.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Generator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from conftest import SMALL_RUN, Ran
from synthetic import make_corpus

from charrnn.config import Config
from charrnn.errors import CharRNNError, UsageError
from charrnn.scale.trackers import IDS, TRACKERS, check_trackers, tracked
from charrnn.training.events import (
    DoneEvent,
    EvaluationEvent,
    SampleEvent,
    SavedEvent,
    StartEvent,
    StepEvent,
    TrainEvent,
    WarningEvent,
)

Call = tuple[str, Any]


def events_of(run: Path, *, first: int = 0, last: int = 2) -> Generator[TrainEvent, None, None]:
    """Yield the events of a training from step `first` to step `last`, validated at its end."""
    run.mkdir(exist_ok=True)
    config = asdict(Config(learning_rate=0.003, steps=last))
    text = {"num_chars": 100, "num_train_chars": 90, "num_distinct_chars": 10, "vocab_size": 11}
    start = {"num_parameters": 1234, "num_steps": last, "first_step": first, "config": config, "corpus": "text.txt"}
    yield StartEvent(run=str(run), **start, **text)
    yield WarningEvent(message="a note")
    if not first:
        yield SavedEvent(step=0, path=str(run / "step-00000000"))
    for step in range(first + 1, last + 1):
        numbers = {"seconds": 1.0, "grad_norm": math.nan, "learning_rate": 0.1, "chars_per_second": 9}
        yield StepEvent(step=step, train_nats=3.0 / step, **numbers)
    yield EvaluationEvent(step=last, seconds=1.0, val_nats=1.25, val_bpc=1.8, num_chars=10, is_best=True)
    yield SampleEvent(step=last, text="*one*\ntwo")
    best = {"val_nats": 1.25, "best_nats": 1.25, "best_step": last}
    yield DoneEvent(step=last, seconds=2.0, **best, run=str(run), is_complete=True)


class Recorder:
    """Records the calls of a package that is imitated."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.fails_at = ""
        """Name of the call that raises an error."""

    def __call__(self, called: str, /, **details: Any) -> None:
        self.calls.append((called, details))
        if called == self.fails_at:
            raise ConnectionError("the network\nis down")

    def of(self, name: str) -> list[Any]:
        return [details for called, details in self.calls if called == name]

    def record(self, name: str, *parameters: str) -> Callable[..., None]:
        """Return a function with these parameters whose calls are recorded under `name`."""
        return lambda *given, **named: self(name, **dict(zip(parameters, given, strict=False)), **named)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def imitate(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> None:
    module = ModuleType(name)
    module.__dict__.update(contents)
    module.__spec__ = SimpleNamespace(name=name)  # type: ignore[assignment]  # what says that it is installed
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> Recorder:
    def init(**details: Any) -> Any:
        recorder("init", **details)
        print("wandb says something")
        return SimpleNamespace(
            id=details["id"] or "new-id",
            summary=SimpleNamespace(update=recorder.record("summary", "values")),
            define_metric=recorder.record("define_metric", "name"),
            log=recorder.record("log", "values"),
            finish=recorder.record("finish"),
        )

    imitate(monkeypatch, "wandb", init=init, Settings=lambda **kw: kw, Html=lambda text: f"html:{text}")
    return recorder


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> Recorder:
    def create_run(experiment_id: str, *, run_name: str) -> Any:
        recorder("create_run", experiment_id=experiment_id, run_name=run_name)
        return SimpleNamespace(info=SimpleNamespace(run_id="new-id"))

    client = SimpleNamespace(
        create_run=create_run,
        update_run=recorder.record("update_run", "run_id"),
        log_batch=lambda run_id, *, metrics=(), params=(): recorder("log_batch", metrics=metrics, params=params),
        log_text=recorder.record("log_text", "run_id", "text", "path"),
        set_terminated=recorder.record("set_terminated", "run_id", "status"),
    )
    entities = {
        "Metric": lambda key, value, time, step: (key, value, step),
        "Param": lambda key, value: (key, value),
    }
    experiment = SimpleNamespace(experiment_id="7")
    imitate(monkeypatch, "mlflow", MlflowClient=lambda: client, set_experiment=lambda name: experiment)
    imitate(monkeypatch, "mlflow.entities", **entities)
    return recorder


@pytest.fixture
def trackio(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> Recorder:
    def init(**details: Any) -> Any:
        recorder("init", **details)
        return SimpleNamespace(name=details["name"], log=lambda values, step: recorder("log", values=values, step=step))

    imitate(monkeypatch, "trackio", init=init, finish=lambda: recorder("finish"))
    return recorder


def test_tensorboard_reads_what_was_logged_and_a_resumed_run_continues(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard: pip install -e '.[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run = tmp_path / "book-001"
    events = list(tracked(events_of(run), ["tensorboard"]))
    assert [event.event for event in events] == [event.event for event in events_of(run)]
    # It logged step 2, was killed, and is resumed from step 1.
    list(tracked(events_of(run, first=1, last=3), ["tensorboard"]))
    reader = EventAccumulator(str(run)).Reload()
    losses = [(scalar.step, scalar.value) for scalar in reader.Scalars("train_nats")]
    assert losses == [(1, 3.0), (2, 1.5), (3, 1.0)]
    assert [scalar.value for scalar in reader.Scalars("learning_rate")] == pytest.approx([0.1] * 3)
    assert "grad_norm" not in reader.Tags()["scalars"]  # NaN
    assert [scalar.step for scalar in reader.Scalars("val_nats")] == [3]
    assert reader.Scalars("best_val_nats")[-1].value == 1.25
    sample = reader.Tensors("sample/text_summary")[-1]
    # Indented, so that TensorBoard's Markdown leaves the characters as they are.
    assert (sample.step, sample.tensor_proto.string_val[0].decode()) == (3, "    *one*\n    two")
    plugin = reader.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = HParamsPluginData.FromString(plugin).session_start_info.hparams
    assert settings["learning_rate"].number_value == 0.003
    assert settings["split"].string_value == "[0.9, 0.1]"


def test_wandb_gets_settings_steps_samples_and_the_summary(
    wandb: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    list(tracked(events_of(tmp_path / "book-001"), ["wandb"]))
    assert capsys.readouterr() == ("", "wandb says something\n"), "stdout carries the result of the command"
    init = wandb.of("init")[0]
    assert (init["project"], init["name"], init["id"], init["resume"]) == ("charrnn", "book-001", None, "allow")
    assert init["config"]["learning_rate"] == 0.003
    assert init["config"]["num_parameters"] == 1234
    assert wandb.of("define_metric") == [{"name": "*", "step_metric": "step"}]
    logged = [call["values"] for call in wandb.of("log")]
    assert logged == [
        {"train_nats": 3.0, "learning_rate": 0.1, "chars_per_second": 9, "step": 1},
        {"train_nats": 1.5, "learning_rate": 0.1, "chars_per_second": 9, "step": 2},
        {"val_nats": 1.25, "val_bpc": 1.8, "step": 2},
        {"sample": "html:<pre>*one*\ntwo</pre>", "step": 2},
    ]
    assert wandb.of("summary") == [{"values": {"best_val_nats": 1.25, "best_step": 2.0}}]
    assert wandb.calls[-1] == ("finish", {})


def test_mlflow_gets_settings_steps_samples_and_the_end(mlflow: Recorder, tmp_path: Path) -> None:
    list(tracked(events_of(tmp_path / "book-001"), ["mlflow"]))
    assert mlflow.of("create_run") == [{"experiment_id": "7", "run_name": "book-001"}]
    batches = mlflow.of("log_batch")
    parameters = dict(batches[0]["params"])
    assert (parameters["learning_rate"], parameters["split"]) == ("0.003", "[0.9, 0.1]")
    # One request until the validation, and one at the end.
    assert [(key, step) for key, _, step in batches[1]["metrics"]] == [
        *[(name, step) for step in (1, 2) for name in ("train_nats", "learning_rate", "chars_per_second")],
        ("val_nats", 2),
        ("val_bpc", 2),
    ]
    assert ("best_val_nats", 1.25, 2) in batches[2]["metrics"]
    assert mlflow.of("log_text") == [{"run_id": "new-id", "text": "*one*\ntwo", "path": "samples/step-00000002.txt"}]
    assert mlflow.calls[-1] == ("set_terminated", {"run_id": "new-id", "status": "FINISHED"})


def test_trackio_gets_settings_steps_samples_and_the_end(trackio: Recorder, tmp_path: Path) -> None:
    list(tracked(events_of(tmp_path / "book-001"), ["trackio"]))
    init = trackio.of("init")[0]
    assert (init["project"], init["name"], init["resume"]) == ("charrnn", "book-001", "never")
    assert init["config"]["split"] == "[0.9, 0.1]"
    assert {"values": {"sample": "*one*\ntwo"}, "step": 2} in trackio.of("log")
    assert trackio.of("log")[-1]["values"]["best_val_nats"] == 1.25
    assert trackio.calls[-1] == ("finish", {})


def test_a_resumed_run_continues_the_runs_of_its_trackers(
    wandb: Recorder, mlflow: Recorder, trackio: Recorder, tmp_path: Path
) -> None:
    run = tmp_path / "book-001"
    names = ["wandb", "mlflow", "trackio"]
    list(tracked(events_of(run), names))
    assert json.loads((run / IDS).read_text()) == {"wandb": "new-id", "mlflow": "new-id", "trackio": "book-001"}
    wandb.calls.clear()  # the same recorder
    list(tracked(events_of(run, first=2, last=4), names))
    assert [call["id"] for call in wandb.of("init") if "id" in call] == ["new-id"]
    assert mlflow.of("update_run") == [{"run_id": "new-id", "status": "RUNNING"}]
    assert [call["resume"] for call in trackio.of("init") if "id" not in call] == ["allow"]
    assert mlflow.of("create_run") == []


def test_a_damaged_file_of_ids_starts_new_runs(wandb: Recorder, tmp_path: Path) -> None:
    run = tmp_path / "book-001"
    run.mkdir()
    for content in ("x", '{"wandb": 3}'):
        (run / IDS).write_text(content)
        list(tracked(events_of(run), ["wandb"]))
    assert [call["id"] for call in wandb.of("init")] == [None, None]


@pytest.mark.parametrize("place", ["init", "summary"])
def test_a_tracker_that_fails_warns_once_and_ends_nothing(wandb: Recorder, tmp_path: Path, place: str) -> None:
    wandb.fails_at = place
    events = list(tracked(events_of(tmp_path / "book-001"), ["wandb"]))
    warnings = [event.message for event in events if isinstance(event, WarningEvent)]
    assert warnings == ["a note", "wandb failed, and gets no more of this run: the network is down"]
    others = [event.event for event in events if not isinstance(event, WarningEvent)]
    assert others == ["start", "saved", "step", "step", "evaluation", "sample", "done"]
    assert [name for name, _ in wandb.calls].count(place) == 1


def test_trackers_are_closed_as_incomplete_when_training_fails(mlflow: Recorder, tmp_path: Path) -> None:
    def failing() -> Generator[TrainEvent, None, None]:
        for event in events_of(tmp_path / "book-001"):
            if isinstance(event, EvaluationEvent):
                raise CharRNNError("the disk is full")
            yield event

    with pytest.raises(CharRNNError, match="the disk is full"):
        list(tracked(failing(), ["mlflow"]))
    assert mlflow.calls[-1] == ("set_terminated", {"run_id": "new-id", "status": "KILLED"})


def test_nothing_is_written_before_the_run_is_saved(wandb: Recorder, tmp_path: Path) -> None:
    events = tracked(events_of(tmp_path / "book-001"), ["wandb"])
    assert [next(events).event, next(events).event] == ["start", "warning"]
    assert wandb.calls == []
    events.close()
    assert list((tmp_path / "book-001").iterdir()) == []


def test_unknown_repeated_and_missing_trackers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"tensorboard, wandb, mlflow, trackio\. Did you mean tensorboard\?"):
        check_trackers(["tensorbord"])
    with pytest.raises(UsageError, match="is wandb twice"):
        imitate(monkeypatch, "wandb")
        check_trackers(["wandb", "wandb"])
    for name, tracker in TRACKERS.items():
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(CharRNNError) as raised:
            check_trackers([name])
        assert str(raised.value).splitlines()[1] == f"Install it: {tracker.remedy}"


SMALL = [part for name, value in {**SMALL_RUN, "threads": 1}.items() for part in ("--set", f"{name}={value}")]


def test_train_logs_to_the_trackers_it_is_given(
    command: Callable[..., Ran], wandb: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.training.session.SAMPLE_LENGTH", 24)
    (tmp_path / "text.txt").write_bytes(make_corpus(num_chars=3_000, seed=5).text.encode())
    ran = command("train", "text.txt", "--steps", 3, "--log", "wandb", *SMALL)
    assert (ran.code, ran.out) == (0, "checkpoints/text-001\n")
    assert [call["values"]["step"] for call in wandb.of("log") if "train_nats" in call["values"]] == [1, 2, 3]
    # What follows a run changes nothing of it.
    assert command("train", "text.txt", "--steps", 3, "--out", "alone", *SMALL).code == 0
    first, again = (Path(run, "step-00000003", "model.safetensors") for run in ("checkpoints/text-001", "alone"))
    assert first.read_bytes() == again.read_bytes()

"""Trackers: what each of them gets of a training, and that none of them can disturb it.

TensorBoard's files are read by TensorBoard itself. wandb is imitated: the calls are recorded, which are those of wandb
0.31, with which the same trainings were logged by hand.
"""

import json
import math
import sys
from collections.abc import Generator
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, call

import pytest
from conftest import SMALL_RUN
from fixture_types import Command
from synthetic import make_corpus

from charrnn.config import Config
from charrnn.errors import CharRNNError, UsageError
from charrnn.scale.trackers import IDS, TRACKERS, check_trackers, tracked
from charrnn.training import events as training_events
from charrnn.training.events import DoneEvent, EvaluationEvent, SampleEvent, SavedEvent, TrainEvent, WarningEvent


def events_of(run: Path, *, first: int = 0, last: int = 2) -> Generator[TrainEvent, None, None]:
    """Yield the events of a training from step `first` to step `last`, validated at its end."""
    run.mkdir(exist_ok=True)
    config = asdict(Config(learning_rate=0.003, steps=last))
    text = {"num_chars": 100, "num_train_chars": 90, "num_distinct_chars": 10, "vocab_size": 11}
    start = {"num_parameters": 1234, "num_steps": last, "first_step": first, "config": config, "corpus": "text.txt"}
    yield training_events.StartEvent(run=str(run), **start, **text)
    yield WarningEvent(message="a note")
    if not first:
        yield SavedEvent(step=0, path=str(run / "step-00000000"))
    for step in range(first + 1, last + 1):
        numbers = {"seconds": 1.0, "grad_norm": math.nan, "learning_rate": 0.1, "chars_per_second": 9}
        yield training_events.StepEvent(step=step, train_nats=3.0 / step, **numbers)
    yield EvaluationEvent(step=last, seconds=1.0, val_nats=1.25, val_bpc=1.8, num_chars=10, is_best=True)
    yield SampleEvent(step=last, text="*one*\ntwo")
    best = {"val_nats": 1.25, "best_nats": 1.25, "best_step": last}
    yield DoneEvent(step=last, seconds=2.0, **best, run=str(run), is_complete=True)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    module = MagicMock()
    module.__spec__ = SimpleNamespace(name="wandb")  # what says that it is installed
    monkeypatch.setitem(sys.modules, "wandb", module)
    module.init.return_value.id = "new-id"
    module.Html = "html:{}".format
    return module


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
    assert [(scalar.step, scalar.value) for scalar in reader.Scalars("train_nats")] == [(1, 3.0), (2, 1.5), (3, 1.0)]
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


def test_wandb_gets_steps_and_a_summary(wandb: MagicMock, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = wandb.init.return_value
    run.finish.side_effect = lambda: print("wandb says something")
    list(tracked(events_of(tmp_path / "book-001"), ["wandb"]))
    assert capsys.readouterr() == ("", "wandb says something\n"), "stdout carries the result of the command"
    init = wandb.init.call_args.kwargs
    assert (init["project"], init["name"], init["id"], init["resume"]) == ("charrnn", "book-001", None, "allow")
    assert (init["config"]["learning_rate"], init["config"]["num_parameters"]) == (0.003, 1234)
    assert run.mock_calls == [
        call.define_metric("*", step_metric="step"),
        call.log({"train_nats": 3.0, "learning_rate": 0.1, "chars_per_second": 9, "step": 1}),
        call.log({"train_nats": 1.5, "learning_rate": 0.1, "chars_per_second": 9, "step": 2}),
        call.log({"val_nats": 1.25, "val_bpc": 1.8, "step": 2}),
        call.log({"sample": "html:<pre>*one*\ntwo</pre>", "step": 2}),
        call.summary.update({"best_val_nats": 1.25, "best_step": 2.0}),
        call.finish(),
    ]


def test_a_resumed_run_continues_that_of_its_tracker_unless_its_id_is_damaged(wandb: MagicMock, tmp_path: Path) -> None:
    run = tmp_path / "book-001"
    list(tracked(events_of(run), ["wandb"]))
    assert json.loads((run / IDS).read_text()) == {"wandb": "new-id"}
    list(tracked(events_of(run, first=2, last=4), ["wandb"]))
    for content in ("x", '{"wandb": 3}'):
        (run / IDS).write_text(content)
        list(tracked(events_of(run), ["wandb"]))
    assert [init.kwargs["id"] for init in wandb.init.call_args_list] == [None, "new-id", None, None]


@pytest.mark.parametrize("place", ["init", "init.return_value.summary.update"])
def test_a_tracker_that_fails_warns_once_and_ends_nothing(wandb: MagicMock, tmp_path: Path, place: str) -> None:
    wandb.configure_mock(**{f"{place}.side_effect": ConnectionError("the network\nis down")})
    events = list(tracked(events_of(tmp_path / "book-001"), ["wandb"]))
    warnings = [event.message for event in events if isinstance(event, WarningEvent)]
    assert warnings == ["a note", "wandb failed, and gets no more of this run: the network is down"]
    others = [event.event for event in events if not isinstance(event, WarningEvent)]
    assert others == ["start", "saved", "step", "step", "evaluation", "sample", "done"]
    assert attrgetter(place)(wandb).call_count == 1


def test_trackers_are_closed_when_training_fails(wandb: MagicMock, tmp_path: Path) -> None:
    def failing() -> Generator[TrainEvent, None, None]:
        for event in events_of(tmp_path / "book-001"):
            if isinstance(event, EvaluationEvent):
                raise CharRNNError("the disk is full")
            yield event

    with pytest.raises(CharRNNError, match="the disk is full"):
        list(tracked(failing(), ["wandb"]))
    assert wandb.init.return_value.mock_calls[-1] == call.finish()


def test_nothing_is_written_before_the_run_is_saved(wandb: MagicMock, tmp_path: Path) -> None:
    events = tracked(events_of(tmp_path / "book-001"), ["wandb"])
    assert [next(events).event, next(events).event] == ["start", "warning"]
    wandb.init.assert_not_called()
    events.close()
    assert list((tmp_path / "book-001").iterdir()) == []


def test_unknown_repeated_and_missing_trackers_are_refused(wandb: MagicMock, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"tensorboard, wandb\. Did you mean tensorboard\?"):
        check_trackers(["tensorbord"])
    with pytest.raises(UsageError, match="is wandb twice"):
        check_trackers(["wandb", "wandb"])
    for name, tracker in TRACKERS.items():
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(CharRNNError) as raised:
            check_trackers([name])
        assert str(raised.value).splitlines()[1] == f"Install it: {tracker.remedy}"


SMALL = [part for name, value in {**SMALL_RUN, "threads": 1}.items() for part in ("--set", f"{name}={value}")]


def test_train_logs_to_the_trackers_it_is_given(command: Command, wandb: MagicMock, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(make_corpus(num_chars=3_000, seed=5).text.encode())
    ran = command("train", "text.txt", "--steps", 3, "--log", "wandb", *SMALL)
    assert (ran.code, ran.out) == (0, "checkpoints/text-001\n")
    logged = [log.args[0] for log in wandb.init.return_value.log.call_args_list]
    assert [values["step"] for values in logged if "train_nats" in values] == [1, 2, 3]

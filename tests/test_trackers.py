"""TensorBoard: what it gets of a training, read by itself, and that it cannot disturb one, where it is imitated."""

import math
import sys
from collections.abc import Generator
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from unittest.mock import MagicMock, call

import pytest
from conftest import SMALL_RUN
from fixture_types import Command
from synthetic import make_corpus

from charrnn.config import Config
from charrnn.errors import CharRNNError, UsageError, install_command
from charrnn.scale import trackers
from charrnn.scale.trackers import check_trackers, tracked
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
def board(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """Return what stands for TensorBoard."""
    module = MagicMock()
    monkeypatch.setattr(trackers, "TensorBoard", module)
    monkeypatch.setattr(trackers, "_is_installed", lambda package: True)
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


@pytest.mark.parametrize("place", ["side_effect", "return_value.send.side_effect", "return_value.close.side_effect"])
def test_a_tracker_that_fails_warns_once_and_ends_nothing(board: MagicMock, tmp_path: Path, place: str) -> None:
    board.configure_mock(**{place: OSError("the disk\nis full")})
    events = list(tracked(events_of(tmp_path / "book-001"), ["tensorboard"]))
    warnings = [event.message for event in events if isinstance(event, WarningEvent)]
    assert warnings == ["a note", "tensorboard failed, and gets no more of this run: the disk is full"]
    others = [event.event for event in events if not isinstance(event, WarningEvent)]
    assert others == ["start", "saved", "step", "step", "evaluation", "sample", "done"]
    assert attrgetter(place.removesuffix("side_effect") + "call_count")(board) == 1


def test_trackers_are_closed_when_training_fails(board: MagicMock, tmp_path: Path) -> None:
    def failing() -> Generator[TrainEvent, None, None]:
        for event in events_of(tmp_path / "book-001"):
            if isinstance(event, EvaluationEvent):
                raise CharRNNError("the disk is full")
            yield event

    with pytest.raises(CharRNNError, match="the disk is full"):
        list(tracked(failing(), ["tensorboard"]))
    assert board.return_value.mock_calls[-1] == call.close({}, 2)


def test_nothing_is_written_before_the_run_is_saved(board: MagicMock, tmp_path: Path) -> None:
    events = tracked(events_of(tmp_path / "book-001"), ["tensorboard"])
    assert [next(events).event, next(events).event] == ["start", "warning"]
    board.assert_not_called()
    events.close()
    assert list((tmp_path / "book-001").iterdir()) == []


def test_what_prints_does_not_print_results(
    board: MagicMock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board.return_value.close.side_effect = lambda *values: print("it says something")
    list(tracked(events_of(tmp_path / "book-001"), ["tensorboard"]))
    assert capsys.readouterr() == ("", "it says something\n"), "stdout carries the result of the command"
    assert board.return_value.close.call_args == call({"best_val_nats": 1.25, "best_step": 2.0}, 2)


def test_unknown_repeated_and_missing_trackers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="must be tensorboard, whose files `wandb sync` reads"):
        check_trackers(["wandb"])
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(CharRNNError) as raised:
        check_trackers(["tensorboard"])
    assert str(raised.value).splitlines()[1] == f"Install it: {install_command('tensorboard')}"
    with pytest.raises(UsageError, match="is tensorboard twice"):
        check_trackers(["tensorboard", "tensorboard"])


SMALL = [part for name, value in {**SMALL_RUN, "threads": 1}.items() for part in ("--set", f"{name}={value}")]


def test_train_logs_to_the_tracker_it_is_given(command: Command, board: MagicMock, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(make_corpus(num_chars=3_000, seed=5).text.encode())
    ran = command("train", "text.txt", "--steps", 3, "--log", "tensorboard", *SMALL)
    assert (ran.code, ran.out) == (0, "checkpoints/text-001\n")
    sent = [sent.args[0] for sent in board.return_value.send.call_args_list]
    assert [event.step for event in sent if event.event == "step"] == [1, 2, 3]

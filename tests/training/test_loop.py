"""Training that goes wrong: back to what was saved, once, with half the learning rate; then the
end."""

import json
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

import charrnn
from charrnn.commands.app import run as run_command
from charrnn.errors import CheckpointError, NonFiniteError, UsageError
from charrnn.runs.reader import RunReader
from charrnn.training.resuming import read_same_text
from charrnn.training.trainer import Trainer

pytestmark = pytest.mark.trained

TEXT = "the lamp by the river was lit\nand the stone was cold\n" * 60
SETTINGS = {
    "corpus": ("text.txt",),
    "hidden_size": 12,
    "batch_size": 4,
    "bptt_length": 8,
}
SETTINGS |= {
    "learning_rate": 0.01,
    "weight_decay": 0.1,
    "decay_shape": "cosine",
    "decay_share": 1.0,
    "steps": 12,
    "evaluate_every": 4,
    "save_every": 2,
}


@pytest.fixture(autouse=True)
def text_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT, encoding="utf-8")


@pytest.fixture
def fail_at(monkeypatch):
    """Call with the numbers of the calls of `take_step` (from 1) that shall meet a loss that is not
    finite."""
    take_step = Trainer.take_step
    num_calls = 0

    def install(*failing):
        def take(self):
            nonlocal num_calls
            num_calls += 1
            if num_calls in failing:
                raise NonFiniteError(f"Step {self.step + 1}: loss nan.")
            return take_step(self)

        monkeypatch.setattr(Trainer, "take_step", take)

    return install


def test_the_first_time_it_goes_back_and_halves_the_rate(fail_at):
    fail_at(8)
    events = list(charrnn.train(charrnn.Config(**SETTINGS), out=Path("run")))
    (warning,) = [event for event in events if event.event == "warning"]
    assert (
        "Step 8: loss nan." in warning.message
        and "back to step 6" in warning.message
        and "0.005" in warning.message
    )
    done = events[-1]
    assert done.event == "done" and done.is_complete and done.step == 12
    logged = map(json.loads, Path("run/metrics.jsonl").read_text().splitlines())
    assert [line["step"] for line in logged if line["event"] == "step"] == list(range(1, 13)), (
        "each step once"
    )
    assert RunReader(Path("run")).read_config().learning_rate == 0.005
    rates = [event.learning_rate for event in events if event.event == "step"]
    assert max(rates[7:]) <= 0.005 < max(rates[:7])


def test_nothing_of_the_steps_that_were_given_up_counts_when_it_goes_back(fail_at, monkeypatch):
    """Step 8 is validated and saved as the best, and its checkpoint is damaged when step 9 fails:
    what is left is that of step 6."""
    losses = iter([2.0, 1.0, 1.5])
    monkeypatch.setattr(
        "charrnn.training.session.stateful_scores",
        lambda *args, **kwargs: SimpleNamespace(means=(next(losses), 0.5)),
    )
    fail_at(9)
    stops = []
    events = charrnn.train(
        charrnn.Config(**SETTINGS), out=Path("run"), should_stop=lambda: bool(stops)
    )
    seen = []
    for event in events:
        seen.append(event)
        if event.event == "saved" and event.step == 8:
            Path("run/step-00000008/model.safetensors").write_bytes(b"")
        if event.event == "warning" and "Went back to step 6" in event.message:
            stops.append(True)
    done = seen[-1]
    assert (done.step, done.val_nats) == (6, None)
    assert (done.best_nats, done.best_step) == (2.0, 4)
    assert Path("run/best").read_text() == "step-00000004\n"


def test_the_second_time_it_ends_with_the_last_good_step(fail_at, capsys):
    fail_at(8, 9)
    flags = [f"--set={name}={value}" for name, value in SETTINGS.items() if name != "corpus"]
    assert run_command(["train", "text.txt", "--out", "run", "--quiet", *flags]) == 5
    err = capsys.readouterr().err
    assert "loss nan" in err and len(err.splitlines()) <= 3
    # The remedy that is printed can be typed.
    remedy = shlex.split(err.splitlines()[-1].partition(": charrnn ")[2])
    assert remedy == ["train", "--recipe", "run/config.yaml", "--set", "learning_rate=0.0025"]
    assert run_command([*remedy, "--quiet"]) == 0
    assert charrnn.load().config.learning_rate == 0.0025
    assert RunReader(Path("run")).load_checkpoint("latest", with_training=True).step == 6
    assert charrnn.load("run").sample(length=5).text


def test_a_validation_loss_that_is_not_finite_is_never_the_best(monkeypatch):
    losses = iter([float("nan"), 2.5, float("inf"), 2.0])
    monkeypatch.setattr(
        "charrnn.training.session.stateful_scores",
        lambda *args, **kwargs: SimpleNamespace(means=(next(losses), 0.5)),
    )
    events = list(charrnn.train(charrnn.Config(**{**SETTINGS, "steps": 16}), out=Path("run")))
    evaluations = [event for event in events if event.event == "evaluation"]
    assert [event.is_best for event in evaluations] == [False, True, False, True]
    warned = [event.message for event in events if event.event == "warning"]
    assert [message.split(":")[0] for message in warned] == [
        "the loss of the validation text is nan at step 4",
        "the loss of the validation text is inf at step 12",
    ]
    run = RunReader(Path("run"))
    assert (run.path / "best").read_text() == "step-00000016\n"
    assert (
        json.loads((run.path / "step-00000016" / "training.json").read_text())["best_nats"] == 2.0
    )


def test_a_run_without_a_digest_or_with_a_window_longer_than_its_text_is_not_resumed():
    list(charrnn.train(charrnn.Config(**{**SETTINGS, "steps": 2}), out=Path("run")))
    run = RunReader(Path("run"))
    checkpoint = run.load_checkpoint("latest", with_training=True)
    for num_rows, state, message in (
        (4, {}, "does not say by a digest .*\n.*init_from=run"),
        (65_536, checkpoint.state, "65536 batch rows of "),
    ):
        resumed = SimpleNamespace(
            run=run,
            config=replace(run.read_config(), batch_size=num_rows),
            checkpoint=replace(checkpoint, state=state),
        )
        with pytest.raises(CheckpointError, match=message):
            read_same_text(resumed)


def test_what_was_chosen_for_another_machine_is_chosen_again(monkeypatch):
    """`auto` in a change is resolved on this machine."""
    list(charrnn.train(charrnn.Config(**{**SETTINGS, "steps": 2}), out="run"))
    run = RunReader(Path("run"))
    config = run.read_config()
    with monkeypatch.context() as patch:
        patch.setattr("charrnn.training.plan.chosen_precision", lambda *_, **__: "fp32")
        list(charrnn.resume("run", {"precision": "auto", "steps": 3}))
    monkeypatch.setattr("charrnn.model.device.cpu_computes_bf16", lambda: False)
    bf16 = {"precision": "bf16"}
    for train in (
        partial(charrnn.resume, "run", bf16),
        partial(charrnn.train, replace(config, precision="bf16")),
    ):
        with pytest.raises(UsageError, match="cannot compute in it on this CPU"):
            list(train())
    assert run.read_config().precision == "fp32" and not Path("checkpoints").exists()


def test_of_a_long_validation_text_a_recorded_number_of_characters_is_read():
    Path("text.txt").write_text(TEXT * 2, encoding="utf-8")
    settings = {**SETTINGS, "validation_chars": 324}

    def evaluations(events):
        return [
            (event.step, event.val_nats, event.num_chars)
            for event in events
            if event.event == "evaluation"
        ]

    whole = list(charrnn.train(charrnn.Config(**settings), out=Path("whole")))
    start = whole[0]
    num_val = len(TEXT) * 2 - start.num_train_chars
    note = (
        f"validation reads 324 of {num_val:,} characters (51 %), in segments spread evenly over the"
        " validation text"
    )
    assert note in start.notes
    assert [num for _, _, num in evaluations(whole)] == [324, 324, 324]
    logged = [json.loads(line) for line in Path("whole/metrics.jsonl").read_text().splitlines()]
    assert {line["num_chars"] for line in logged if line["event"] == "evaluation"} == {324}
    asked = iter(range(5))
    list(
        charrnn.train(
            charrnn.Config(**settings),
            out=Path("part"),
            should_stop=lambda: next(asked, None) is None,
        )
    )
    resumed = list(charrnn.resume("part"))
    assert note in resumed[0].notes
    assert evaluations(resumed) == evaluations(whole)[1:], "the same segments"

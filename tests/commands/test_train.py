"""`charrnn train` as a whole: what it prints, what it leaves on disk, and that what it learned is a
torch.nn model."""

import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL_FLAGS
from safetensors.torch import load_file
from saved_runs import FILES
from synthetic import make_corpus
from torch import nn

import charrnn
from charrnn.cli.progress_bars import tqdm_class
from charrnn.commands.training_view import TrainingView
from charrnn.config.plan_record import PlanEntry
from charrnn.config.settings import FIELD_NAMES
from charrnn.system.signals import Signals
from charrnn.training.measuring import TrialSteps
from charrnn.training.minutes import TimeBudget, with_plan

TEXT = make_corpus(num_chars=3_000, seed=5).text
EVENT_KEYS = {
    "start": {"run", "num_parameters", "num_steps", "config"},
    "step": {"step", "seconds", "train_nats", "grad_norm", "learning_rate", "chars_per_second"},
    "validating": {"step", "num_chars"},
    "evaluation": {"step", "seconds", "val_nats", "val_bpc", "first_guess", "num_chars"},
    "sample": {"step", "text"},
    "saved": {"step", "path"},
    "done": {"step", "seconds", "val_nats", "best_nats", "best_step", "run"},
}
"""The keys of each event that others may rely on."""


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


def read_metrics(run):
    return json_lines((run / "metrics.jsonl").read_text())


@pytest.fixture
def text_file(command, tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


def make_torch_stack(path, cell):
    """ids (T, B) to logits (T, B, V), of nothing but torch.nn and the saved tensors."""
    tensors = load_file(path)
    layers = []
    while (prefix := f"layers.{len(layers)}.") + "weight_ih_l0" in tensors:
        rows, input_size = tensors[prefix + "weight_ih_l0"].shape
        layer = cell(input_size, tensors[prefix + "weight_hh_l0"].shape[1])
        assert rows == layer.weight_ih_l0.shape[0]
        layer.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
        layers.append(layer)
    embedding = nn.Embedding.from_pretrained(tensors["embedding.weight"])
    output = nn.Linear(*reversed(tensors["output.weight"].shape))
    output.load_state_dict({"weight": tensors["output.weight"], "bias": tensors["output.bias"]})
    assert len(tensors) == 3 + 4 * len(layers), "there is nothing else in the file"

    @torch.no_grad()
    def logits(ids):
        values = embedding(ids)
        for layer in layers:
            values, _ = layer(values)
        return output(values)

    return logits


@pytest.mark.trained
@pytest.mark.parametrize("run, cell", [("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_the_saved_weights_are_a_torch_model(run, cell, request):
    trained = request.getfixturevalue(run)
    model = charrnn.load(trained.path)
    logits = make_torch_stack(trained.path / f"step-{model.step:08d}" / "model.safetensors", cell)
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, len(model.vocab), (20, 3)))
    with torch.no_grad():
        expected, _ = model.network(ids, model.network.initial_state(3))
    # The same float32 operations, fused differently: a few units in the last place of logits around
    # 10.
    torch.testing.assert_close(logits(ids), expected, atol=1e-5, rtol=1e-5)
    stepped, _ = model.stepper.read(ids[:, 0].numpy())
    np.testing.assert_allclose(stepped[0], logits(ids)[-1, 0].numpy(), atol=2e-5, rtol=1e-4)


def test_json_events_come_in_order_with_their_documented_keys(command, text_file):
    options = "--steps 8 --set evaluate_every=4 --set save_every=3 --set keep=9 --json"
    ran = command(f"train text.txt {options}", *SMALL_FLAGS)
    events = json_lines(ran.out)
    assert (ran.code, ran.err) == (0, "") and set(EVENT_KEYS) == {
        event["event"] for event in events
    }
    for event in events:
        assert event.keys() >= EVENT_KEYS[event["event"]]
    assert [e["step"] for e in events if e["event"] == "step"] == [*range(1, 9)]
    start, done = events[0], events[-1]
    run = Path(start["run"])
    assert start["run"] == done["run"] == "checkpoints/text-001"
    assert (start["num_steps"], start["config"]["hidden_size"]) == (8, 12)
    assert list(start["config"]) == list(FIELD_NAMES)
    best = min((e for e in events if e["event"] == "evaluation"), key=lambda e: e["val_nats"])
    assert (done["best_nats"], done["best_step"]) == (best["val_nats"], best["step"])
    times = [e["seconds"] for e in events if "seconds" in e]
    assert times == sorted(times) and times[0] > 0
    assert read_metrics(run) == [e for e in events if e["event"] in ("step", "evaluation")]
    steps = sorted({Path(e["path"]).name for e in events if e["event"] == "saved"})
    names = [
        "best",
        "config.yaml",
        "latest",
        "lock",
        "metrics.jsonl",
        "samples.txt",
        *steps,
        "vocab.json",
    ]
    assert sorted(os.listdir(run)) == names and (run / "latest").read_text() == "step-00000008\n"
    assert all(sorted(os.listdir(run / step)) == sorted(FILES) for step in steps)


def test_suggested_commands_work_anywhere(command, text_file, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Signals, "is_stop_asked", lambda signals: True)
        stopped = command("train text.txt --steps 1 --out else/where", *SMALL_FLAGS)
    (line,) = re.findall(r"(?m)^  charrnn (train --resume.*)$", stopped.err)
    ran = command(line)
    assert ran.out == "else/where\n"
    suggested = re.findall(r"(?m)^  charrnn (sample.*|evaluate.*)$", ran.err)
    assert len(suggested) == 2
    for line in suggested:
        assert command(line).code == 0, line


@pytest.mark.parametrize("num_steps", [9, 30])
def test_the_bar_follows_another_plan_without_going_back(
    command, text_file, monkeypatch, num_steps
):
    """The steps before their number stands beside it change; where the bar is, it goes on from."""
    drawn = []

    class Bar(tqdm_class()):
        def refresh(self, *_, **__):
            drawn.append((self.n / self.total, self.desc))

        display = refresh

    def planned_again(config, **of_run):
        return with_plan(config, PlanEntry(of_run["num_taken"], num_steps, threads=1))

    monkeypatch.setattr("charrnn.commands.training_view.tqdm_class", lambda: Bar)
    monkeypatch.setattr("charrnn.commands.training_view.can_animate", lambda: True)
    monkeypatch.setattr(TimeBudget, "is_due", lambda budget, *_, **__: budget.num_plannings == 0)
    monkeypatch.setattr(
        TimeBudget,
        "note_planning",
        lambda budget, *_, **__: budget.__dict__.update(num_plannings=3),
    )
    monkeypatch.setattr("charrnn.training.session.plan_rest", planned_again)
    monkeypatch.setattr(
        "charrnn.training.measuring.time_trial_steps", lambda *_, **__: TrialSteps(0.4, 1)
    )

    ran = command("train text.txt --minutes 0.1 --set threads=1", *SMALL_FLAGS)

    shares = [share for share, _ in drawn]
    assert shares == sorted(shares)
    assert drawn[-1] == (1.0, f"{num_steps}/{num_steps}")
    assert f"Done: {num_steps} steps." in ran.err


def test_the_last_command_trains_the_same_weights_again(command, text_file):
    """After a budget in minutes, too, whose steps, threads and learning rate depend on how fast the
    machine was."""
    ran = command("train text.txt --minutes 0.002 --seed 7 --set hidden_size=12")
    assert "seed: 7" in ran.err
    (line,) = re.findall(
        r"(?m)^The same weights again, on this machine:\n  charrnn (train --recipe.*)$", ran.err
    )
    again = command(line)
    folders = [
        Path(out.strip(), Path(out.strip(), "latest").read_text().strip())
        for out in (ran.out, again.out)
    ]
    assert folders[0] != folders[1] and folders[0].name == folders[1].name
    for name in ("model.safetensors", "training.safetensors", "config.yaml"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    # A run that was continued has more than one schedule.
    num_steps = int(folders[1].name.removeprefix("step-"))
    assert "--init-from RUN" in command("train more.txt --resume text-001").err
    resumed = command("train --resume --steps", num_steps + 1)
    assert resumed.code == 0 and "--recipe" not in resumed.err


def test_it_learns(lstm, corpus):
    evaluations = [event.val_nats for event in lstm.events if event.event == "evaluation"]
    # The words of the corpus are drawn evenly from 21, so a model that spells them needs about
    # log(21) / 5 nats.
    assert evaluations[-1] < 0.4 * corpus.unigram_nats() and evaluations[-1] < 0.6 * evaluations[0]
    losses = [event.train_nats for event in lstm.events if event.event == "step"]
    assert losses[0] == pytest.approx(math.log(lstm.events[0].vocab_size), abs=0.5), (
        "it begins by knowing nothing"
    )
    assert sum(losses[-10:]) / 10 < 0.4 * corpus.unigram_nats()


def test_a_training_without_a_finite_loss_names_no_best_step(command, corpus_file, monkeypatch):
    """Its last words would end in the middle of a sentence."""
    show_done = TrainingView._show_done

    def show_without_loss(view, event):
        show_done(view, replace(event, best_nats=None, best_step=0))

    monkeypatch.setattr(TrainingView, "_show_done", show_without_loss)
    ran = command("train --hidden-size 8 --steps 2 --set threads=1", corpus_file)
    assert "Done: 2 steps.\n" in ran.err
    assert "every command uses" not in ran.err

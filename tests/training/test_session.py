"""A training session verb by verb; whole sessions are in `test_loop.py`, `test_resume.py` and
`faults/`.

Tests `training.events`, too.
"""

import json
from types import SimpleNamespace

import pytest
import torch

import charrnn
from charrnn.runs.writer import RunWriter, lock_folder
from charrnn.training import plan
from charrnn.training.measuring import Computing
from charrnn.training.run_text import read_text
from charrnn.training.session import TrainingSession
from charrnn.training.trainer import Trainer

pytestmark = pytest.mark.trained

CPU = torch.device("cpu")
TEXT = "the lamp by the river was lit\nand the stone was cold\n" * 60


class Session:
    """A session of seven steps, with the values that `should_stop` and `should_save` return."""

    def __init__(self, folder, alphabet="char"):
        (folder / "text.txt").write_text(TEXT, encoding="utf-8")
        sizes = {
            "hidden_size": 12,
            "batch_size": 4,
            "bptt_length": 8,
            "precision": "fp32",
            "threads": 1,
        }
        times = {"steps": 7, "evaluate_every": 2, "save_every": 3}
        config = charrnn.Config(
            corpus=(str(folder / "text.txt"),), alphabet=alphabet, **sizes, **times
        )
        self.is_stop_asked = False
        self.is_save_asked = False
        self.text = read_text(config)
        self.computing = Computing(CPU)
        sized = plan.choose_model(config, self.text, self.computing)
        self.config = plan.plan_steps(sized, self.text, self.computing).config
        self.run = RunWriter.create_at(folder / "run")
        self.session = self.make(self.run)

    def make(self, run, checkpoint=None):
        trainer = Trainer(self.config, self.text.batch_rows(self.config), len(self.text.vocab), CPU)
        return TrainingSession(
            run,
            trainer,
            self.text,
            self.computing,
            lambda: self.is_stop_asked,
            lambda: self.is_save_asked,
            checkpoint,
        )

    def resumed(self):
        """Return a session that starts from the latest checkpoint."""
        session = self.make(self.run, self.run.load_checkpoint("latest", with_training=True))
        next(session.events())
        return session

    def saved_state(self):
        name = (self.run.path / "latest").read_text().strip()
        return json.loads((self.run.path / name / "training.json").read_text())


@pytest.fixture
def made(tmp_path):
    made = Session(tmp_path)
    with lock_folder(made.run.path):
        # What `train` writes first; a folder without it counts as removed.
        made.run.write_description(made.session.description)
        yield made


def test_an_interrupted_validation_is_due_and_done_later(made):
    session = made.session
    session.take_step()
    made.is_stop_asked = True
    assert [event.event for event in session.validate()] == ["validating"]
    assert session.is_validation_due and session.is_stopped
    session.save()
    assert made.saved_state()["is_validation_due"] is True
    resumed = made.resumed()
    assert (resumed.saved_step, resumed.is_validation_due, resumed.best_nats) == (1, True, None)
    made.is_stop_asked = False
    assert [event.event for event in session.validate()] == ["validating", "evaluation"]
    assert not session.is_validation_due
    session.save()
    assert "is_validation_due" not in made.saved_state()


def test_a_best_checkpoint_that_is_gone_is_no_longer_the_best(made):
    session = made.session
    session.take_step()
    _, evaluation = session.validate()
    session.save()
    session.take_step()
    session.save()
    resumed = made.resumed()
    assert (resumed.best_nats, resumed.best_step) == (evaluation.val_nats, 1)
    (made.run.path / "step-00000001").rename(made.run.path.parent / "elsewhere")
    resumed = made.resumed()
    assert (resumed.best_nats, resumed.best_step, resumed.saved_step) == (None, 0, 2)


def run_all(made):
    """Train to the end, saving on request at step 5; return the steps of each kind of event, in
    order."""
    steps = {}
    for event in made.session.events():
        if event.event not in ("start", "warning"):
            steps.setdefault(event.event, []).append(event.step)
        made.is_save_asked = event.event == "step" and event.step == 5
    return steps


def test_it_validates_and_saves_when_it_should(made, monkeypatch):
    """Validation every two steps and at the last; saves every three, at the best, on request and at
    the last."""
    losses = iter([3.0, 4.0, 3.5, 3.2])
    monkeypatch.setattr(
        "charrnn.training.session.stateful_scores",
        lambda *args, **kwargs: SimpleNamespace(means=(next(losses), 0.5)),
    )
    steps = run_all(made)
    assert steps["step"] == [1, 2, 3, 4, 5, 6, 7] and steps["evaluation"] == [2, 4, 6, 7]
    assert steps["saved"] == [0, 2, 3, 5, 6, 7] and steps["sample"] == [0, 1, 2, 7]
    assert steps["done"] == [7] and not made.session.is_stopped


def test_a_step_whose_validation_was_due_is_not_taken_or_sampled_again(made):
    session = made.session
    for _ in range(7):
        session.take_step()
    session.write_sample()
    session.is_validation_due = True
    steps = run_all(made)
    assert "step" not in steps and "sample" not in steps
    assert (steps["evaluation"], steps["done"]) == ([7], [7])

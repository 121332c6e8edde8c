"""`charrnn train --recipe vanishing` obeys the rules of `charrnn train`."""

import signal
import sys
from itertools import count
from pathlib import Path

import pytest
from conftest import as_json

import charrnn
from charrnn.runs.overview import run_summaries
from charrnn.trained_model import load
from charrnn.training.trainer import Trainer

SHORT = "train --recipe vanishing --steps 4 --hidden-size 8"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("charrnn.analyses.vanishing.NUM_TRAINING_STRINGS", 400)
    monkeypatch.setattr("charrnn.analyses.vanishing.NUM_STRINGS", 12)


def measured(line, command):
    """Return what the networks have learned, without what depends on a clock or a name."""
    learners = as_json(command(line, "--json"))
    return [
        {name: value for name, value in learner.items() if name not in ("run", "seconds")}
        for learner in learners
    ]


@pytest.mark.slow
def test_the_networks_are_measured_after_their_last_step(command, monkeypatch):
    steps = []

    def load_and_note(run, *, step):
        steps.append(step)
        return load(run, step=step)

    monkeypatch.setattr("charrnn.analyses.vanishing.load", load_and_note)
    at_the_end = measured(f"{SHORT} --out once", command)
    by_option = measured(f"{SHORT} --set evaluate_every=1 --out by-option", command)
    monkeypatch.setenv("CHARRNN_EVALUATE_EVERY", "1")
    by_environment = measured(f"{SHORT} --out by-environment", command)
    assert steps == [4] * 9
    assert by_option == by_environment == at_the_end


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_ctrl_c_saves_the_network_that_is_trained(command, monkeypatch):
    take_step = Trainer.take_step
    taken = count(1)

    def interrupted(trainer):
        if next(taken) == 6:
            signal.raise_signal(signal.SIGINT)
        return take_step(trainer)

    monkeypatch.setattr(Trainer, "take_step", interrupted)
    ran = command(f"{SHORT} --out three")
    assert (ran.code, ran.out) == (130, "")
    assert "at step 2; everything is saved" in ran.err
    assert "charrnn train --resume three/rnn-omega" in ran.err

    # It can be continued by the command that was named, or by the newest unfinished run.
    assert [(run.name, run.step) for run in run_summaries()] == [
        ("three/rnn", 4),
        ("three/rnn-omega", 2),
    ]
    assert command("train --resume").code == 0
    assert charrnn.load("three/rnn-omega", step=4).step == 4
    assert command("runs delete three/rnn three/rnn-omega", stdin=b"y\n").code == 0
    assert run_summaries() == []


def test_it_says_which_files_it_wrote_and_its_folder_can_be_moved(command):
    ran = command(f"{SHORT} --out three")
    written = sorted(path.name for path in Path("three").iterdir())
    assert written == ["gradients.csv", "gradients.svg", "lstm", "recall.txt", "rnn", "rnn-omega"]
    assert [name for name in written if name not in ran.err] == []

    # A folder that was moved has its text with it.
    Path("three").rename("week3")
    assert command("evaluate week3/rnn").code == 0
    assert command("train --resume week3/lstm --steps 5").code == 0


def test_a_setting_that_one_network_lacks_is_refused_before_anything_is_trained(command):
    for given in ("--column a", "--documents files", "--set num_members=2", "--type gru"):
        command(f"{SHORT} {given} --out three").assert_refused(2)
    assert not Path("three").exists()


def test_several_processes_are_refused_by_name(command, monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    ran = command(f"{SHORT} --out three")
    ran.assert_refused(2, "The recipe vanishing", "without torchrun")
    assert not Path("three").exists()


@pytest.mark.slow
def test_its_messages_are_quiet_if_asked(command):
    ran = command(f"{SHORT} --out three --quiet")
    assert "rnn-omega" in ran.out
    assert ran.err == ""

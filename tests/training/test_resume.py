"""A run that was interrupted and resumed is the run that was never interrupted, bit for bit.

Tests `training.resuming`, too.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import SMALL_FLAGS, SMALL_RUN
from saved_runs import FILES, metrics_of
from synthetic import make_corpus

import charrnn
from charrnn.config.settings_file import from_yaml
from charrnn.runs.checkpoint import best_checkpoint, checkpoint_name, read_state
from charrnn.runs.logs import MetricsLog
from charrnn.runs.writer import RunWriter
from charrnn.training import measuring

TEXT = make_corpus(num_chars=3_000, seed=6).text
# Everything random is on: dropout and resets draw from generators that must be resumed too.
SETTINGS = {**SMALL_RUN, "dropout": 0.3, "reset_probability": 0.4}
SETTINGS |= {"steps": 12, "evaluate_every": 5, "save_every": 4}


@pytest.fixture
def text_file(command, tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


def make_config(**changes):
    return charrnn.Config(**{"corpus": ("text.txt",), **SETTINGS, **changes})


def stop_after(num_steps):
    """Yes, once `num_steps` steps were taken since training went on: it is asked before each
    step."""
    asked = iter(range(num_steps))
    return lambda: next(asked, None) is None


def train(name, *, stop=None, **changes):
    should_stop = stop_after(10**9 if stop is None else stop)
    *_, done = charrnn.train(
        make_config(**changes), out=Path("checkpoints", name), should_stop=should_stop
    )
    assert done.is_complete is (stop is None)
    assert stop is None or done.step == stop
    return Path(done.run)


def saved_files(run, step=None):
    """The bytes of every file of a checkpoint, by default the latest."""
    folder = run / (step or (run / "latest").read_text().strip())
    return {name: (folder / name).read_bytes() for name in FILES}


def test_a_changed_text_is_refused(command, text_file):
    train("run", stop=3)
    text_file.write_bytes((TEXT[:-1] + "!").encode())
    ran = command("train --resume run")
    ran.assert_refused(3, "run has changed since it was trained (text.txt)")
    text_file.unlink()
    ran = command("train --resume run")
    ran.assert_refused(3, "text.txt")
    text_file.write_bytes(TEXT.encode())
    assert command("train --resume run").code == 0


def num_steps_told(run):
    return [record["step"] for record in metrics_of(run) if record["event"] == "step"]


def test_minutes_are_those_of_the_whole_run(command, text_file, monkeypatch):
    """It has trained for one minute; of the second, five steps of ten seconds and validations."""
    run = train("run", stop=3)
    monkeypatch.setattr(MetricsLog, "seconds_at", lambda self, step: 60.0)
    monkeypatch.setattr(measuring, "time_trial_steps", lambda *_, **__: (10.0, 1))
    ran = command("train --resume run --minutes 2")
    [resumed] = [line for line in ran.err.splitlines() if line.startswith("Resumed")]
    # Steps and minutes that were taken, and steps that are left.
    assert re.findall(r"[\d.]+", resumed) == ["3", "1.0", "5"]
    assert num_steps_told(run) == list(range(1, 9))
    config = from_yaml((run / "config.yaml").read_text(), "config.yaml")
    assert (config.minutes, config.steps) == (None, 8)


def test_a_run_goes_on_from_its_only_checkpoint_which_was_being_replaced(command, text_file):
    run = train("run", stop=3, keep=0, steps=30)
    [name] = RunWriter(run).checkpoints()
    (run / name).rename(run / f".{name}.old-7")
    start = json.loads(command("train --resume --steps 60 --json").out.splitlines()[0])
    assert start["first_step"] == 3
    assert (start["config"]["evaluate_every"], start["config"]["save_every"]) == (
        5,
        4,
    ), "as they were given"


def test_a_new_budget_decides_how_often_to_validate_if_the_old_one_did(text_file):
    run = train("run", stop=3, evaluate_every="auto", save_every="auto", steps=400)
    asked = [{"steps": 4000}, {"steps": 8000, "save_every": 7}, {"steps": 400}]
    every = []
    for changes in asked:
        start, *_ = charrnn.resume(run, changes, should_stop=stop_after(1))
        every.append((start.config["evaluate_every"], start.config["save_every"]))
    assert every == [(500, 500), (1000, 7), (50, 7)]
    lines = (run / "metrics.jsonl").read_text().splitlines()
    seconds = [json.loads(line)["seconds"] for line in lines]
    assert len(seconds) > 5 and seconds == sorted(seconds), "they go on from those before"


def test_a_run_learned_from_a_pipe_needs_the_same_pipe_again(command):
    assert command("train - --steps 2", *SMALL_FLAGS, stdin=TEXT.encode()).code == 0
    line = "train --resume stdin-001 --steps 4"
    command(line, stdin=TEXT[1:].encode()).assert_refused(3, "has changed since it was trained")
    command(line).assert_refused(3, "standard input is empty")
    assert command(line, stdin=TEXT.encode()).code == 0
    assert num_steps_told(Path("checkpoints/stdin-001")) == [1, 2, 3, 4]
    command("evaluate stdin-001").assert_refused(3, "give --text FILE")


@pytest.mark.parametrize("what", ["the folder", "lock"])
def test_a_run_that_is_removed_while_it_trains_is_no_success(tmp_path, what):
    """Saving into what is left would leave a folder that no command takes for a run."""
    (tmp_path / "text.txt").write_text(make_corpus(num_chars=3_000).text, encoding="utf-8")
    config = charrnn.Config(
        corpus=(str(tmp_path / "text.txt"),), steps=6, save_every=1, **SMALL_RUN
    )
    run = tmp_path / "run"
    with pytest.raises(charrnn.CharRNNError, match="was moved or removed"):
        for event in charrnn.train(config, out=run):
            if event.event == "saved" and event.step == 2:
                if what == "the folder":
                    run.rename(tmp_path / "elsewhere")
                else:
                    (run / what).unlink()
    assert not run.exists() or not (run / "step-00000003").exists()


NUM_CHARS = 711  # 639 to learn from, in 4 rows of 16: just under ten steps an epoch, which so ends amid a window.
EPOCH = 10
EPOCHS = {
    "zoneout": 0.1,
    "weight_drop": 0.1,
    "steps": 2 * EPOCH,
    "evaluate_every": 7,
    "save_every": 1,
}


# The very first and the last, before, at and after the end of an epoch, and where it validates.
@pytest.mark.parametrize(
    "steps",
    [(0, 7, EPOCH), pytest.param(range(2 * EPOCH + 1), marks=pytest.mark.thorough)],
    ids=["some steps", "every step"],
)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "cell_type": "gru",
            "initial_state": "learned",
            "weight_average": 0.0,
            "optimizer": "rmsprop",
        },
    ],
    ids=["lstm", "gru rmsprop"],
)
def test_resuming_at_any_step_equals_an_uninterrupted_run(text_file, steps, changes):
    text_file.write_text(TEXT[:NUM_CHARS])
    uninterrupted = train("uninterrupted", **EPOCHS, keep=100, **changes)
    logged = metrics_of(uninterrupted)
    for step in steps:
        run = RunWriter(Path(f"from-{step}"))
        best = best_checkpoint(read_state(uninterrupted / checkpoint_name(step)))
        for name in {checkpoint_name(step), best or checkpoint_name(step)}:
            shutil.copytree(uninterrupted / name, run.path / name)
        for name in ("config.yaml", "vocab.json", "samples.txt", "metrics.jsonl"):
            shutil.copy(uninterrupted / name, run.path / name)
        last = min(step + 2, 2 * EPOCH)
        *_, done = charrnn.resume(run.path, should_stop=stop_after(2))
        # Weights, optimizer, averages, hidden state and place in the text are in these files; what
        # is random in a step is drawn from its number. The losses show that the next batches are
        # the same, too.
        assert (done.step, saved_files(run.path)) == (
            last,
            saved_files(uninterrupted, checkpoint_name(last)),
        )
        assert metrics_of(run.path) == [record for record in logged if record["step"] <= last]


def test_saving_validating_and_sampling_do_not_change_the_weights(text_file):
    never = train("never", save_every=10**6, evaluate_every=10**6)
    always = train("always", save_every=1, evaluate_every=1, keep=0)
    for name in ("model.safetensors", "training.safetensors"):
        assert saved_files(always)[name] == saved_files(never)[name]
    assert sorted(entry.name for entry in always.glob("step-*")) == sorted(
        {(always / name).read_text().strip() for name in ("latest", "best")}
    )


def test_settings_of_the_environment_count_as_on_the_command_line(command, text_file, monkeypatch):
    run = train("one", steps=4, save_every=1)
    monkeypatch.setenv("CHARRNN_STEPS", "6")
    monkeypatch.setenv("CHARRNN_KEEP", "0")
    ran = command("train --json --resume one")
    assert json.loads(ran.out.splitlines()[-1])["step"] == 6
    assert len(RunWriter(run).checkpoints()) <= 2
    # A budget that is typed replaces that of the environment, of whatever kind.
    ran = command("train --json --resume one --epochs 1")
    assert json.loads(ran.out.splitlines()[-1])["step"] > 6


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CHARRNN_LEARNING_RATE", "1", "--resume cannot change learning_rate"),
        ("CHARRNN_STEPS", "many", "must be a whole number"),
        ("CHARRNN_THREADS", "", "threads is empty"),
    ],
)
def test_a_variable_that_a_flag_would_refuse_is_refused_by_name(
    variable, value, words, command, text_file, monkeypatch
):
    monkeypatch.setenv(variable, value)
    command("train --resume nosuch").assert_refused(2, f"{variable}: ", words)

"""Signals at any moment: progress is saved at a complete step, and an unsaved run leaves nothing
behind."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from small_runs import (
    assert_same,
    last_logged,
    latest_step,
    restart,
    train,
    until,
)
from terminals import Terminal

pytest_plugins = ("shared",)
pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has neither these signals nor fork"
)

HEAR = "child_faults:receive_in"
TAKE_STEP = "charrnn.training.trainer:Trainer.take_step"
AMID_TRAINING = [
    ("charrnn.training.run_text:read_text", 1, signal.SIGINT, None),
    ("charrnn.runs.writer:RunWriter.save_checkpoint", 1, signal.SIGINT, 0),
    ("charrnn.training.session:stateful_scores", 1, signal.SIGHUP, 5),
    ("charrnn.runs.logs:MetricsLog.append", 8, signal.SIGTERM, 7),
    ("charrnn.runs.logs:MetricsLog.append", 8, signal.SIGUSR2, 7),
    ("charrnn.training.trainer:Trainer.take_step", 7, signal.SIGXCPU, 7),
    ("charrnn.runs.writer:RunWriter.prune", 5, signal.SIGTERM, 10),
]
"""A function and the number of its call, at which a signal comes; the step at which training then
ends, None before the first save."""


@pytest.mark.parametrize("place, call, number, step", AMID_TRAINING)
def test_a_signal_saves_at_a_complete_step(
    fork_server, uninterrupted, tmp_path, place, call, number, step
):
    run = tmp_path / "run"
    code, child = fork_server.run(
        *train(run), prepare=HEAR, place=place, call=call, signals=[number]
    )
    assert code == 128 + number, child.err
    if step is None:
        assert (child.out, child.err, run.exists()) == ("", "", False), "nothing is left of it"
        return
    assert "Traceback" not in child.err
    assert latest_step(run) == last_logged(run) == step
    assert json.loads(child.out.splitlines()[-1])["is_complete"] is False
    code, child = fork_server.run(*restart(run))
    assert code == 0, child.err
    assert_same(run, uninterrupted.path)


def test_a_second_ctrl_c_exits_at_once(fork_server, uninterrupted, tmp_path):
    ctrl_c = [signal.SIGINT, signal.SIGINT]
    run = tmp_path / "run"
    # Amid the save at step 5, where a save has some thirty operations.
    amid_save = {
        "prepare": "child_faults:die_in_saves",
        "number": 95,
        "count_path": "",
        "signals": ctrl_c,
    }
    code, child = fork_server.run(*train(run), **amid_save)
    assert code == 130, child.err
    assert "Traceback" not in child.err and '"done"' not in child.out
    latest_step(run)
    assert [entry.name for entry in run.iterdir() if entry.name.startswith(".")] == []
    assert (run / "lock").read_bytes() == b""
    assert fork_server.run(*restart(run))[0] == 0
    assert_same(run, uninterrupted.path)


@pytest.mark.parametrize(
    "number, code, step",
    [(signal.SIGTERM, 143, 7), (signal.SIGXCPU, 152, 7), (signal.SIGHUP, 0, 14)],
)
def test_a_repeated_signal_saves_and_an_ignored_one_stays_ignored(
    fork_server, tmp_path, number, code, step
):
    # `timeout` sends SIGTERM to the command and then to its group, and a limit of processor time
    # SIGXCPU every second; `nohup` ignores SIGHUP.
    asked = {"call": 7, "signals": [number] * 3, "ignored": signal.SIGHUP}
    found, child = fork_server.run(*train(tmp_path / "run"), prepare=HEAR, place=TAKE_STEP, **asked)
    assert (found, latest_step(tmp_path / "run")) == (code, step), child.err


def test_sigusr1_saves_and_it_continues(fork_server, uninterrupted, tmp_path):
    run, asked = tmp_path / "run", {"call": 7, "signals": [signal.SIGUSR1]}
    code, child = fork_server.run(*train(run), prepare=HEAR, place=TAKE_STEP, **asked)
    assert code == 0, child.err
    saved = [
        event["step"]
        for event in map(json.loads, child.out.splitlines())
        if event["event"] == "saved"
    ]
    assert saved == [0, 4, 5, 7, 8, 10, 12, 14]
    assert_same(run, uninterrupted.path)


def test_a_closed_terminal_saves(fork_server, tmp_path):
    run = tmp_path / "run"
    endless = [
        argument
        for argument in train(run, steps=10**6, evaluate_every=10**6)
        if argument != "--json"
    ]
    terminal = Terminal(fork_server, *endless)
    terminal.read_until(b"sample at step")
    until(lambda: last_logged(run))
    assert terminal.close() == 128 + signal.SIGHUP
    assert latest_step(run) == last_logged(run) > 0


@pytest.fixture
def explorer(fork_server, uninterrupted):
    """A terminal in which the explorer has opened its screen."""
    text = fork_server.folder / "text.txt"
    terminal = Terminal(fork_server, "explore", uninterrupted.path, "--text", text)
    terminal.read_until(b"\x1b[?1049h")
    return terminal


def test_the_explorer_restores_the_terminal(explorer):
    assert explorer.terminate() == 143
    assert b"Traceback" not in explorer.seen


def test_the_explorer_ends_with_its_terminal(explorer):
    assert explorer.close() == 129


@pytest.fixture
def stuck(fork_server, uninterrupted):
    """A terminal with an explorer that waits for ever, as Textual does for a terminal that has
    gone."""
    text = fork_server.folder / "text.txt"
    line = ("explore", uninterrupted.path, "--text", text, "--chars", 300)
    terminal = Terminal(fork_server, *line, prepare="child_faults:get_stuck_in_explorer")
    terminal.read_until(b"is stuck")
    return terminal


def test_a_stuck_explorer_ends_by_a_signal(stuck):
    os.kill(stuck.child.pid, signal.SIGTERM)
    assert stuck.read_to_the_end() == 143


def test_a_stuck_explorer_ends_with_its_terminal_even_if_nobody_tells_it(stuck):
    """The system tells only the process that opened the terminal."""
    assert stuck.close() == 129


@pytest.mark.skipif(
    not Path("/proc/self/wchan").exists(), reason="only Linux says what a process waits for"
)
def test_reading_standard_input_ends_at_once(fork_server, tmp_path):
    pipe, run = tmp_path / "pipe", tmp_path / "run"
    os.mkfifo(pipe)
    child = fork_server.spawn(
        "train", "-", "--out", run, prepare="child_faults:use_pipe", path=str(pipe), stream=0
    )
    writer = os.open(pipe, os.O_WRONLY)
    os.write(
        writer, b"some of it\n" * 100_000
    )  # more than a pipe holds: this waits until it is being read
    until(lambda: "pipe" in Path(f"/proc/{child.pid}/wchan").read_text())  # it waits for more
    os.kill(child.pid, signal.SIGTERM)
    assert (child.wait(), child.out, child.err) == (143, "", "")
    os.close(writer)
    assert not run.exists()


def test_training_whose_reader_leaves_saves_and_stops(fork_server, tmp_path):
    pipe, run = tmp_path / "pipe", tmp_path / "run"
    os.mkfifo(pipe)
    child = fork_server.spawn(
        *train(run, steps=10**6), prepare="child_faults:use_pipe", path=str(pipe), stream=1
    )
    with pipe.open() as reader:
        for _ in range(8):
            reader.readline()
    assert (child.wait(), child.err) == (128 + signal.SIGPIPE, "")
    assert latest_step(run) == last_logged(run) > 0, "what was learned is saved"

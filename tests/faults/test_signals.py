"""Signals at any moment: progress is saved at a complete step, and an unsaved run leaves nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import random
import signal
import struct
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from fork_server import ForkServer
from small_runs import SETTINGS, Uninterrupted, assert_same, last_logged, latest_step, restart, train, until
from synthetic import make_corpus

import charrnn

pytest_plugins = ("shared",)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these signals nor fork")

HEAR = "child_faults:receive_in"
BEFORE_THE_FIRST_SAVE = [
    "charrnn.training.plan:read_text",
    "charrnn.training.plan:plan_steps",
    "charrnn.training.loop:planning_notes",
    "charrnn.training.trainer:Trainer.__init__",
]
AMID_TRAINING = {
    ("charrnn.runs.writer:RunWriter.save_checkpoint", 1): 0,
    ("charrnn.training.trainer:Trainer.take_step", 1): 1,
    ("charrnn.training.session:_generate_sample", 2): 1,
    ("charrnn.runs.writer:RunWriter.save_checkpoint", 2): 4,
    ("charrnn.training.session:stateful_nats", 1): 5,
    ("charrnn.runs.logs:MetricsLog.append", 8): 7,
    ("charrnn.training.trainer:Trainer.take_step", 9): 9,
    ("charrnn.runs.writer:RunWriter.prune", 5): 10,
}
"""The step at which training ends when a signal comes there for the time given."""


@pytest.mark.parametrize("place", BEFORE_THE_FIRST_SAVE, ids=lambda place: place.rpartition(":")[2])
def test_a_run_ended_before_its_first_save_leaves_nothing(fork_server: ForkServer, tmp_path: Path, place: str) -> None:
    number = (signal.SIGINT, signal.SIGTERM)[BEFORE_THE_FIRST_SAVE.index(place) % 2]
    code, child = fork_server.run(*train(tmp_path / "run"), prepare=HEAR, place=place, call=1, signals=[number])
    assert (code, child.out, child.err) == (128 + number, "", "")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("place", "call", "step"),
    [(*when, step) for when, step in AMID_TRAINING.items()],
    ids=[f"{place.rpartition(':')[2]}-{call}" for place, call in AMID_TRAINING],
)
def test_a_signal_saves_at_a_complete_step(
    fork_server: ForkServer, uninterrupted: Uninterrupted, tmp_path: Path, place: str, call: int, step: int
) -> None:
    number = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[step % 3]
    run = tmp_path / "run"
    code, child = fork_server.run(*train(run), prepare=HEAR, place=place, call=call, signals=[number])
    assert code == 128 + number, child.err
    assert "Traceback" not in child.err
    assert latest_step(run) == last_logged(run) == step
    assert json.loads(child.out.splitlines()[-1])["is_complete"] is False
    code, child = fork_server.run(*restart(run))
    assert code == 0, child.err
    assert_same(run, uninterrupted.path)


@pytest.mark.parametrize("count", [3, pytest.param(100, marks=pytest.mark.thorough)])
def test_a_signal_at_any_moment_leaves_a_consistent_run(
    fork_server: ForkServer, uninterrupted: Uninterrupted, tmp_path: Path, count: int
) -> None:
    dice = random.Random(count)
    codes = []
    for attempt in range(count):
        run = tmp_path / str(attempt)
        number = dice.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        call = 1 + int(dice.random() * uninterrupted.num_calls)  # a fraction: the same moments, whatever their number
        code, child = fork_server.run(
            *train(run), prepare="child_faults:die_at_call", number=call, count_path="", signals=[number]
        )
        codes.append(code)
        # Ended by the signal itself: the child was not yet the command. 0: it had taken its last step.
        assert code in (128 + number, -number, 0), (number, code, child.err)
        assert "Traceback" not in child.err, child.err
        if run.exists():
            assert latest_step(run) == last_logged(run)
            assert code != 0 or latest_step(run) == SETTINGS["steps"]
        code, child = fork_server.run(*restart(run))
        assert code == 0, child.err
        assert_same(run, uninterrupted.path)
    assert sum(code > 0 for code in codes) > count / 2, codes


def test_a_second_ctrl_c_exits_at_once_without_damage(
    fork_server: ForkServer, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    ctrl_c = [signal.SIGINT, signal.SIGINT]
    for operation in (60, 95):  # of the saves at 4 and 5, where a save has some thirty
        run = tmp_path / str(operation)
        amid_save = {"prepare": "child_faults:die_in_saves", "number": operation, "count_path": "", "signals": ctrl_c}
        code, child = fork_server.run(*train(run), **amid_save)
        assert code == 130, child.err
        assert "Traceback" not in child.err
        assert '"done"' not in child.out
        latest_step(run)
        assert [entry.name for entry in run.iterdir() if entry.name.startswith(".")] == []
        assert (run / "lock").read_bytes() == b""
        assert fork_server.run(*restart(run))[0] == 0
        assert_same(run, uninterrupted.path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_only_a_repeated_ctrl_c_exits_at_once(fork_server: ForkServer, tmp_path: Path, number: int) -> None:
    # `timeout` sends SIGTERM to the command and then to its group; a shell that is closed passes SIGHUP on.
    take_step = "charrnn.training.trainer:Trainer.take_step"
    code, child = fork_server.run(*train(tmp_path / "run"), prepare=HEAR, place=take_step, call=7, signals=[number] * 3)
    assert (code, latest_step(tmp_path / "run")) == (128 + number, 7), child.err


def test_an_ignored_signal_stays_ignored(fork_server: ForkServer, uninterrupted: Uninterrupted, tmp_path: Path) -> None:
    take_step = "charrnn.training.trainer:Trainer.take_step"
    hang_up = {"call": 7, "signals": [signal.SIGHUP], "ignored": signal.SIGHUP}
    code, child = fork_server.run(*train(tmp_path / "run"), prepare=HEAR, place=take_step, **hang_up)
    assert code == 0, child.err
    assert_same(tmp_path / "run", uninterrupted.path)


@pytest.mark.parametrize(("place", "step"), [("trainer:Trainer.take_step", 7), ("session:stateful_nats", 10)])
def test_sigusr1_saves_and_training_continues(
    fork_server: ForkServer, uninterrupted: Uninterrupted, tmp_path: Path, place: str, step: int
) -> None:
    run, call = tmp_path / "run", step if "take_step" in place else step // 5
    asked = {"call": call, "signals": [signal.SIGUSR1]}
    code, child = fork_server.run(*train(run), prepare=HEAR, place=f"charrnn.training.{place}", **asked)
    assert code == 0, child.err
    saved = [event["step"] for event in map(json.loads, child.out.splitlines()) if event["event"] == "saved"]
    assert saved == sorted({0, 4, 5, 8, 10, 12, 14, step})
    assert_same(run, uninterrupted.path)


def test_a_closed_terminal_saves(fork_server: ForkServer, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    run = tmp_path / "run"
    endless = [argument for argument in train(run, steps=10**6, evaluate_every=10**6) if argument != "--json"]
    child = fork_server.spawn(*endless, prepare="child_faults:take_terminal", path=os.ttyname(slave))
    seen = b""
    while b"sample at step" not in seen:
        seen += os.read(master, 4096)
    until(lambda: last_logged(run))
    os.close(slave)
    os.close(master)
    assert child.wait() == 128 + signal.SIGHUP
    assert latest_step(run) == last_logged(run) > 0


def test_the_explorer_restores_the_terminal(fork_server: ForkServer, uninterrupted: Uninterrupted) -> None:
    pytest.importorskip("textual", reason="the extra `tui` is not installed")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    arguments = ("explore", uninterrupted.path, "--text", fork_server.folder / "text.txt")
    child = fork_server.spawn(*arguments, prepare="child_faults:take_terminal", path=os.ttyname(slave))
    seen = b""
    while b"\x1b[?1049h" not in seen:  # the other screen
        seen += os.read(master, 65536)
    os.kill(child.pid, signal.SIGTERM)
    while b"\x1b[?1049l" not in seen:
        seen += os.read(master, 65536)
    os.close(slave)
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while more := os.read(master, 65536):
            seen += more
    os.close(master)
    assert child.wait() == 143
    assert b"Traceback" not in seen


@pytest.mark.parametrize("is_closed", [False, True])
def test_the_editor_ends_and_says_what_is_lost(
    fork_server: ForkServer, uninterrupted: Uninterrupted, tmp_path: Path, is_closed: bool
) -> None:
    """A signal ends it, or the terminal is closed; a byte that is not UTF-8 and a letter were typed before."""
    pytest.importorskip("textual", reason="the extra `tui` is not installed")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    draft = tmp_path / "draft.txt"
    draft.write_text("a draft")
    child = fork_server.spawn(
        "write", draft, "--run", uninterrupted.path, prepare="child_faults:take_terminal", path=os.ttyname(slave)
    )
    seen = b""
    while b"a draft" not in seen:
        seen += os.read(master, 65536)
    os.write(master, b"\xe9Q")  # of a terminal that is set to Latin-1
    while b"* " not in seen:  # there are changes
        seen += os.read(master, 65536)
    if is_closed:
        os.close(slave)
        os.close(master)
    else:
        os.kill(child.pid, signal.SIGTERM)
        while b"\x1b[?1049l" not in seen:
            seen += os.read(master, 65536)
        os.close(slave)
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while more := os.read(master, 65536):
                seen += more
        os.close(master)
    assert child.wait() == 128 + (signal.SIGHUP if is_closed else signal.SIGTERM), child.err
    assert draft.read_text() == "a draft" and [path.name for path in tmp_path.iterdir()].count("draft.txt") == 1
    assert not list(tmp_path.glob(".draft*")), "nothing is left beside the draft"
    assert b"Traceback" not in seen
    if not is_closed:
        assert b"the changes since the last save are lost" in seen + child.err.encode()


@pytest.mark.skipif(not Path("/proc/self/wchan").exists(), reason="only Linux says what a process waits for")
def test_reading_standard_input_ends_at_once(fork_server: ForkServer, tmp_path: Path) -> None:
    pipe, run = tmp_path / "pipe", tmp_path / "run"
    os.mkfifo(pipe)
    child = fork_server.spawn("train", "-", "--out", run, prepare="child_faults:read_pipe", path=str(pipe))
    writer = os.open(pipe, os.O_WRONLY)
    os.write(writer, b"some of it\n" * 100_000)  # more than a pipe holds: this waits until it is being read
    until(lambda: "pipe" in Path(f"/proc/{child.pid}/wchan").read_text())  # it waits for more
    os.kill(child.pid, signal.SIGTERM)
    assert (child.wait(), child.out, child.err) == (143, "", "")
    os.close(writer)
    assert not run.exists()


def test_an_interrupted_validation_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(make_corpus(num_chars=40_000).text)
    config = charrnn.Config(corpus=("text.txt",), **{**SETTINGS, "split": (0.5, 0.5), "steps": 6, "evaluate_every": 3})
    uninterrupted = [*charrnn.train(config, out=Path("uninterrupted"))][-1]
    # Asked before each of three steps, then twice amid the validation: after 8192 of 20,000 characters, and 16,384.
    for num_no, left_at in ((3, 3), (4, 3), (8, 6)):
        run, answers = Path(f"left-{num_no}"), iter([False] * num_no)
        *_, done = charrnn.train(config, out=run, should_stop=lambda answers=answers: next(answers, True))
        assert (done.step, done.is_complete) == (left_at, False)
        assert left_at not in [record["step"] for record in records_of(run, "evaluation")]
        # Left again in the very same validation, which changes nothing, and then made up for.
        answers = iter([False])
        *_, done = charrnn.resume(run, should_stop=lambda answers=answers: next(answers, True))
        assert (done.step, done.is_complete) == (left_at, False)
        *_, done = charrnn.resume(run)
        assert (done.step, done.is_complete, done.val_nats) == (6, True, uninterrupted.val_nats)
        assert_same(run, Path("uninterrupted"))


def records_of(run: Path, event: str) -> list[dict[str, Any]]:
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [record for record in records if record["event"] == event]


def test_sampling_ends_without_a_message(fork_server: ForkServer, tmp_path: Path) -> None:
    # A unitary cell is not compiled, which would take ten seconds where it has not been done yet.
    run = tmp_path / "run"
    assert fork_server.run(*train(run, steps=1, cell="unitary"))[0] == 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        child = fork_server.spawn("sample", run, "--seed", 0, "--length", 10**8)
        until(lambda path=child.out_path: path.exists() and path.stat().st_size)
        os.kill(child.pid, number)
        assert (child.wait(), child.err) == (128 + number, "")


def test_every_command_ends_without_a_message(
    fork_server: ForkServer, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    for place, command in {
        "charrnn.api:load": [["sample"], ["predict"], ["evaluate"], ["visualize"]],
        "charrnn.runs.locate:list_runs": [["runs"]],
    }.items():
        for (name,) in command:
            asked = {"place": place, "call": 1, "signals": [signal.SIGTERM]}
            text = ["the"] if name == "predict" else []
            code, child = fork_server.run(
                name, *([] if name == "runs" else [uninterrupted.path]), *text, prepare=HEAR, **asked
            )
            assert (code, child.out, child.err) == (143, "", ""), name

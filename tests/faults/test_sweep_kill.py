"""A sweep that is killed or stopped at any moment ends, when it is started again, as if it had not
been."""

import json
import os
import random
import signal
import sys
import time
from functools import partial

import pytest
from conftest import SMALL_RUN
from small_runs import latest_step, until

import charrnn
from charrnn.system.files import try_lock

pytest_plugins = ("shared",)
pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="kill -9 and sessions are POSIX words"
)

SETTINGS = {
    **SMALL_RUN,
    "steps": 40,
    "evaluate_every": 7,
    "save_every": 5,
    "dropout": 0.3,
    "threads": 1,
}


def start(fork_server, out, jobs=1, **changes):
    """Start a sweep of two runs."""
    settings = [
        part
        for name, value in {**SETTINGS, **changes}.items()
        for part in ("--set", f"{name}={value}")
    ]
    arguments = (
        "sweep",
        "text.txt",
        "--cell",
        "rnn,gru",
        "--seeds",
        1,
        "--jobs",
        jobs,
        "--out",
        out,
        "--json",
    )
    return fork_server.spawn(*arguments, *settings)


def last_state(run):
    return (run / f"step-{SETTINGS['steps']:08}" / "training.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.thorough)])
def test_a_sweep_killed_at_any_moment_ends_with_the_same_results(fork_server, tmp_path, kills):
    dice = random.Random(kills)
    out = f"killed-{kills}"
    folder = fork_server.folder / out
    folder.mkdir()
    for number in range(kills):
        jobs = 1 if kills == 2 else 1 + number % 2
        sweep = start(fork_server, out, jobs)
        if kills == 2:  # in the training of the first run, then of the second
            cell = "gru" if number else "rnn"
            log = folder / f"{cell}_seed-0" / "metrics.jsonl"
            until(lambda log=log: log.exists() and log.read_text())
        else:  # within the time that two runs take: before a run, in its start, its training or its saves
            time.sleep(dice.uniform(2, 12))
        if number % 3 == 1:
            for path in folder.glob("*/lock"):  # first a run, then the sweep
                with path.open("r+b") as lock:
                    if not try_lock(lock) and (owner := lock.read().split()):
                        os.kill(int(owner[0]), signal.SIGKILL)
        os.kill(sweep.pid, signal.SIGKILL)
        sweep.wait()
        with (folder / "lock").open("ab") as lock:
            until(partial(try_lock, lock))  # its processes have ended
    sweep = start(fork_server, out)
    assert sweep.wait() == 0, sweep.err
    for cell, found in zip(("rnn", "gru"), json.loads(sweep.out)["runs"], strict=True):
        # The same run without a sweep, in this process.
        config = charrnn.Config(
            corpus=(str(fork_server.folder / "text.txt"),), cell=cell, **SETTINGS
        )
        events = charrnn.train(config, out=tmp_path / cell)
        best = min(
            (event for event in events if event.event == "evaluation"),
            key=lambda event: event.val_nats,
        )
        ended = (found["name"], found["nats_per_char"])
        assert ended == (f"{cell}_seed-0", best.val_nats)
        assert last_state(folder / found["name"]) == last_state(tmp_path / cell), (
            "weights and the optimizer's state"
        )
        lines = map(
            json.loads, (folder / f"{cell}_seed-0" / "metrics.jsonl").read_text().splitlines()
        )
        steps = [line["step"] for line in lines if line["event"] == "step"]
        assert steps == list(range(1, SETTINGS["steps"] + 1)), "each step once"


def test_a_signal_to_a_sweep_saves_its_runs(fork_server):
    folder = fork_server.folder / "stopped"
    sweep = start(fork_server, "stopped", steps=100_000, save_every=100_000)
    log = folder / "rnn_seed-0" / "metrics.jsonl"
    until(lambda: log.exists() and log.read_text())
    os.kill(sweep.pid, signal.SIGTERM)
    assert sweep.wait() == 128 + signal.SIGTERM, sweep.err
    assert "Stopped; everything is saved. The same command continues." in sweep.err
    assert latest_step(folder / "rnn_seed-0") > 0
    assert json.loads(sweep.out)["runs"][0]["status"] == "stopped"

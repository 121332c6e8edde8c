"""A sweep that is killed or stopped at any moment ends, when it is started again, as if it had not been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import SMALL_RUN, clean_environment
from synthetic import make_corpus

import charrnn
from charrnn.files import try_lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and sessions are POSIX words")

SETTINGS = {**SMALL_RUN, "steps": 60, "evaluate_every": 7, "save_every": 5, "dropout": 0.3, "threads": 1}


def start(folder: Path, out: str, *options: str) -> subprocess.Popen[bytes]:
    """Start a sweep of two runs."""
    settings = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    arguments = ["text.txt", "--cell", "rnn,gru", "--seeds", "1", "--out", out, "--json", *settings, *options]
    return subprocess.Popen(
        [sys.executable, "-m", "charrnn", "sweep", *arguments],
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(folder: Path, out: str) -> list[tuple[str, float, int]]:
    """Continue a sweep to its end, once the runs of the one that was killed have ended; return its results."""
    with (folder / out / "lock").open("ab") as lock:
        while not try_lock(lock):
            time.sleep(0.1)
    process = start(folder, out)
    printed, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()
    return [(run["name"], run["nats_per_char"], run["best_step"]) for run in json.loads(printed)["runs"]]


def runs_in(folder: Path) -> set[int]:
    """Return the process ids that are noted in the locks of the runs there."""
    texts = [lock.read_text() for lock in folder.glob("*/lock")]
    return {int(text) for text in texts if text.isdecimal()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    (folder / "text.txt").write_bytes(make_corpus(num_chars=6_000, seed=6).text.encode())
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> list[tuple[str, float, int]]:
    """The results of the same runs without a sweep, in this process."""
    expected = []
    for cell in ("rnn", "gru"):
        config = charrnn.Config(corpus=(str(folder / "text.txt"),), cell=cell, **SETTINGS)
        validations = [event for event in charrnn.train(config, out=folder / cell) if event.event == "evaluation"]
        best = min(validations, key=lambda event: event.val_nats)
        expected.append((f"{cell}_seed-0", best.val_nats, best.step))
    return expected


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.thorough)])
def test_a_sweep_killed_at_any_moment_ends_with_the_same_results(
    folder: Path, undisturbed: list[tuple[str, float, int]], kills: int
) -> None:
    dice = random.Random(kills)
    out = f"killed-{kills}"
    for number in range(kills):
        process = start(folder, out, "--jobs", str(1 + number % 2))
        # Within the time that two runs take: before a run, in its start, its training or its saves.
        deadline = time.monotonic() + dice.uniform(2, 12)
        while time.monotonic() < deadline and process.poll() is None:
            if kills == 1 and list((folder / out).glob("*/latest")):
                break
            time.sleep(0.01)
        if number % 3 == 2:
            for owner in runs_in(folder / out):  # first a run, then the sweep
                os.kill(owner, signal.SIGKILL)
        process.kill()
        process.communicate()
    assert finish(folder, out) == undisturbed

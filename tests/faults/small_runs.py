"""The run that the fault tests start, interrupt and resume: one second long, with every random
component."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import SMALL_RUN
from fork_server import ForkServer
from saved_runs import FILES, metrics_of

from charrnn.runs.checkpoint import read_checkpoint
from charrnn.runs.reader import RunReader

SAVE_EVERY = 4
# Validations (5, 10, 14) and saves (4, 8, 12, 14) fall together and apart.
SETTINGS: dict[str, Any] = {
    **SMALL_RUN,
    "dropout": 0.3,
    "reset_probability": 0.4,
    "steps": 14,
    "keep": 1,
}
SETTINGS |= {"evaluate_every": 5, "save_every": SAVE_EVERY}


@dataclass(frozen=True, slots=True)
class Uninterrupted:
    """A run that was not interrupted."""

    path: Path
    num_operations: int
    """Number of file operations in all its saves."""
    num_calls: int
    """Number of function calls from the start to the end of the command."""


def train(out: Path, **changes: Any) -> list[object]:
    """Return the command that starts a run."""
    flags = [
        part
        for name, value in {**SETTINGS, **changes}.items()
        for part in ("--set", f"{name}={value}")
    ]
    return ["train", "text.txt", "--json", "--out", out, *flags]


def restart(run: Path, **changes: Any) -> list[object]:
    """Return the command to type after a crash: `--resume`, or the first command if nothing was
    saved."""
    is_saved = run.is_dir() and RunReader(run).checkpoints()
    return ["train", "--json", "--resume", run] if is_saved else train(run, **changes)


def last_logged(run: Path) -> int:
    """Return the last step with a complete line in metrics.jsonl; 0 if there is none."""
    path = run / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return max((json.loads(line)["step"] for line in lines), default=0)


def until(is_so: Callable[[], object]) -> None:
    """Wait for another process until `is_so`. Fails after ten minutes, so that a busy machine does
    not matter."""
    deadline = time.monotonic() + 600
    while not is_so():
        assert time.monotonic() < deadline, "waited for ten minutes"
        time.sleep(0.005)


def latest_step(run: Path) -> int:
    """Return the step that `latest` names, after checking every file of it."""
    name = (run / "latest").read_text().strip()
    read_checkpoint(run / name, with_training=True)
    return int(name.removeprefix("step-"))


def assert_same(run: Path, uninterrupted: Path) -> None:
    """Assert that two runs have the same bytes, and that no temporary file is left."""
    assert [entry.name for entry in run.iterdir() if entry.name.startswith(".")] == []
    latest = (uninterrupted / "latest").read_text().strip()
    for name in (
        "latest",
        "best",
        "config.yaml",
        "vocab.json",
        "samples.txt",
        *(f"{latest}/{file}" for file in FILES),
    ):
        assert (run / name).read_bytes() == (uninterrupted / name).read_bytes(), name
    assert metrics_of(run) == metrics_of(uninterrupted)


def run_uninterrupted(fork_server: ForkServer) -> Uninterrupted:
    """Train a run without interruption twice, and count its file operations and function calls."""
    counts = []
    for prepare in ("child_faults:die_in_saves", "child_faults:die_at_call"):
        path, count = (
            fork_server.folder / f"uninterrupted-{len(counts)}",
            fork_server.folder / f"count-{len(counts)}",
        )
        code, child = fork_server.run(
            *train(path), prepare=prepare, number=None, count_path=str(count)
        )
        assert code == 0, child.err
        counts.append(int(count.read_text()))
    return Uninterrupted(path, *counts)

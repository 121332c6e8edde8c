"""The run that the fault tests start, break and start again: a second long, with everything random in it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import SMALL_RUN
from nursery import Nursery
from saved_runs import FILES

from charrnn.runs.reader import RunReader

SAVE_EVERY = 4
# Validations (5, 10, 14) and saves (4, 8, 12, 14) fall together and apart.
SETTINGS: dict[str, Any] = {
    **SMALL_RUN,
    "dropout": 0.3,
    "reset_probability": 0.4,
    "steps": 14,
    "evaluate_every": 5,
    "save_every": SAVE_EVERY,
    "keep": 1,
}
CLOCKS = ("seconds", "chars_per_second")


@dataclass(frozen=True, slots=True)
class Straight:
    """A run that nobody disturbed."""

    path: Path
    num_operations: int
    """File operations of all its saves."""
    num_calls: int
    """Function calls from the start of the command to its end."""


def train(out: Path, **changes: Any) -> list[object]:
    """The command that starts a run."""
    flags = [part for name, value in {**SETTINGS, **changes}.items() for part in ("--set", f"{name}={value}")]
    return ["train", "text.txt", "--json", "--out", out, *flags]


def restart(run: Path, **changes: Any) -> list[object]:
    """What a person types after a crash, who knows nothing of what is inside of a run folder."""
    is_saved = run.is_dir() and RunReader(run).checkpoints()
    return ["train", "--json", "--resume", run] if is_saved else train(run, **changes)


def records(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, each of which must be whole, without what a clock gave."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name not in CLOCKS} for line in lines]


def last_logged(run: Path) -> int:
    """The last step with a whole line in metrics.jsonl; 0 when there is none."""
    path = run / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return max((json.loads(line)["step"] for line in lines), default=0)


def until(is_so: Callable[[], object]) -> None:
    """Wait for what another process does. Fails after ten minutes, so that a busy machine does not matter."""
    deadline = time.monotonic() + 600
    while not is_so():
        assert time.monotonic() < deadline, "waited for ten minutes"
        time.sleep(0.005)


def latest_step(run: Path) -> int:
    """The step that `latest` holds, every file of which is checked."""
    name = (run / "latest").read_text().strip()
    RunReader(run).verify(name)
    return int(name.removeprefix("step-"))


def assert_same(run: Path, straight: Path) -> None:
    """The same bytes in the same files, and no file of a save, or of a pointer, that was never finished."""
    assert [entry.name for entry in run.iterdir() if entry.name.startswith(".")] == []
    latest = (straight / "latest").read_text().strip()
    for name in ("latest", "best", "config.yaml", "vocab.json", "samples.txt", *(f"{latest}/{file}" for file in FILES)):
        assert (run / name).read_bytes() == (straight / name).read_bytes(), name
    assert records(run) == records(straight)


def run_straight(nursery: Nursery) -> Straight:
    """Let a run end undisturbed, twice, and count what it does."""
    counts = []
    for prepare in ("killers:die_amid_saves", "killers:die_at_call"):
        path, count = nursery.folder / f"straight-{len(counts)}", nursery.folder / f"count-{len(counts)}"
        code, child = nursery.run(*train(path), prepare=prepare, number=None, count_path=str(count))
        assert code == 0, child.err
        counts.append(int(count.read_text()))
    return Straight(path, *counts)

"""Measure the seconds to a loss on tiny Shakespeare, for gpu_check.py."""

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.gpu.checking import ROOT, TEXT, Results, Setup

TINY_SHAKESPEARE_BYTES = 1_115_394
TINY_SHAKESPEARE_NAMES = ("shakespeare.txt", "tinyshakespeare.txt", "input.txt")
TARGET_NATS = 1.4697
"""What nanoGPT reports for tiny Shakespeare after about three minutes on an A100."""
GOAL_SECONDS = 30.0
TIMED_STEPS = 900
"""Steps of that run. On an H100, 1,300 end at 1.419 nats windowed-256, after 36 s: fewer suffice
(benchmarks/LOG.md)."""
TIMED_SETTINGS = (
    "num_layers=1",
    "hidden_size=512",
    "batch_size=32",
    "bptt_length=128",
    "learning_rate=9e-3",
)
SMALL_SETTINGS = (
    "num_layers=1",
    "hidden_size=16",
    "batch_size=4",
    "bptt_length=8",
    "learning_rate=9e-3",
    "threads=1",
)


def find_tiny_shakespeare() -> Path | None:
    """Return the file of tiny Shakespeare, if there is one."""
    folders = [ROOT / "corpora", Path("corpora")]
    folders += [
        Path(folder).expanduser()
        for folder in os.environ.get("CHARRNN_CORPORA", "").split(os.pathsep)
        if folder
    ]
    for folder in folders:
        for name in TINY_SHAKESPEARE_NAMES:
            path = folder / name
            if path.is_file() and path.stat().st_size == TINY_SHAKESPEARE_BYTES:
                return path
    return None


def measure_time_to_loss(setup: Setup, results: Results) -> None:
    """Train from process start with three seeds, and report the slowest run and the worst loss."""
    with tempfile.TemporaryDirectory() as folder:
        if setup.is_small:
            text = Path(folder) / "text.txt"
            text.write_text(TEXT[:8_000], encoding="utf-8")
            seconds, nats = timed_run(setup, text, Path(folder) / "run", 0, num_steps=3)
            results.measure(
                "generated text, 3 steps in a new process: seconds", seconds, f"{nats:.4f} nats"
            )
            return
        corpus, name = (
            find_tiny_shakespeare(),
            f"tiny Shakespeare to {TARGET_NATS} nats windowed-256",
        )
        if corpus is None:
            results.skip(
                name, "tiny Shakespeare is neither in corpora/ nor in a folder of $CHARRNN_CORPORA"
            )
            return
        found: list[tuple[float, float]] = []
        for seed in (0, 1, 2):
            found.append(timed_run(setup, corpus, Path(folder) / f"run{seed}", seed))
            results.measure(
                f"{name}, seed {seed}: seconds", found[-1][0], f"{found[-1][1]:.4f} nats"
            )
    seconds, nats = (max(column) for column in zip(*found, strict=True))
    results.check(f"{name}: the worst loss of three seeds", nats, TARGET_NATS)
    results.check(f"{name}: the longest time of three seeds, in seconds", seconds, GOAL_SECONDS)


def timed_run(
    setup: Setup, corpus: Path, run: Path, seed: int, num_steps: int = TIMED_STEPS
) -> tuple[float, float]:
    """Train a run in a new process: seconds from its start to its end, and the loss of its best
    step."""
    chosen = SMALL_SETTINGS if setup.is_small else TIMED_SETTINGS
    settings = [word for setting in chosen for word in ("--set", setting)]
    options = [
        "--device",
        setup.device.type,
        "--steps",
        str(num_steps),
        "--seed",
        str(seed),
        "--quiet",
        *settings,
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
    }
    begin = time.perf_counter()
    charrnn = partial(subprocess.run, check=True, capture_output=True, text=True, env=environment)
    charrnn([sys.executable, "-m", "charrnn", "train", str(corpus), "--out", str(run), *options])
    seconds = time.perf_counter() - begin
    evaluated = charrnn([sys.executable, "-m", "charrnn", "evaluate", str(run), "--json"])
    reports = json.loads(evaluated.stdout)
    return seconds, float(reports["windowed_256"]["nats_per_char"])

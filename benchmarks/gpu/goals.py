"""Measure losses that minutes buy on a GPU, from the start of a process, for gpu_check.py."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.gpu.checking import ROOT, TEXT, Results, Setup
from charrnn.runs.reader import RunReader

TINY_SHAKESPEARE_BYTES = 1_115_394
TINY_SHAKESPEARE_NAMES = ("shakespeare.txt", "tinyshakespeare.txt", "input.txt")
TARGET_NATS = 1.4697
"""What nanoGPT reports for tiny Shakespeare after about three minutes on an A100."""
GOAL_SECONDS = 30.0
"""Seconds to that loss from the start of the process. An H100 took 36."""
MINUTE_NATS = 1.37
"""Goal of a minute of tiny Shakespeare, windowed-256."""
WAR_AND_PEACE_NATS = 1.04
"""Goal of three minutes of War and Peace, in nats per byte of the test part."""
CANDIDATES = (
    (1, 256, 32),
    (1, 512, 32),
    (1, 512, 64),
    (1, 512, 128),
    (2, 512, 32),
    (2, 512, 128),
    (1, 1024, 64),
    (2, 1024, 64),
    (3, 1024, 128),
)
"""Layers, units and batch rows among which the recipe has to choose."""
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


def find_corpus(names: Sequence[str], num_bytes: int | None) -> Path | None:
    """Return a file with one of these names, and of that size, in corpora/ or in a folder of
    $CHARRNN_CORPORA."""
    folders = [ROOT / "corpora", Path("corpora")]
    folders += [
        Path(folder).expanduser()
        for folder in os.environ.get("CHARRNN_CORPORA", "").split(os.pathsep)
        if folder
    ]
    for folder in folders:
        for name in names:
            path = folder / name
            if path.is_file() and num_bytes in (None, path.stat().st_size):
                return path
    return None


def measure_time_to_loss(setup: Setup, results: Results) -> None:
    """Train from process start with three seeds, and report the slowest run and the worst loss."""
    name = f"tiny Shakespeare to {TARGET_NATS} nats windowed-256"
    with tempfile.TemporaryDirectory() as folder:
        corpus = corpus_of(setup, results, name, Path(folder))
        if corpus is None:
            return
        chosen = SMALL_SETTINGS if setup.is_small else TIMED_SETTINGS
        settings = [word for setting in chosen for word in ("--set", setting)]
        num_steps = 3 if setup.is_small else TIMED_STEPS
        runs: list[tuple[float, float]] = []
        for seed in range(setup.size(3, 1, 1)):
            options = ["--steps", str(num_steps), "--seed", str(seed), *settings]
            runs.append(timed_run(setup, corpus, Path(folder) / f"run{seed}", options))
            seconds, nats = runs[-1]
            results.measure(f"{name}, seed {seed}: seconds", seconds, f"{nats:.4f} nats")
    if setup.is_small:
        return
    all_seconds, all_nats = zip(*runs, strict=True)
    results.check(f"{name}: the worst loss of three seeds", max(all_nats), TARGET_NATS)
    results.check(
        f"{name}: the longest time of three seeds, in seconds", max(all_seconds), GOAL_SECONDS
    )


def measure_minute(setup: Setup, results: Results) -> None:
    """Train for a minute as the recipe chooses, and report the loss and the choice."""
    name = "tiny Shakespeare in a minute, windowed-256"
    minutes = "1" if not setup.is_small else "0.05"
    with tempfile.TemporaryDirectory() as folder:
        corpus = corpus_of(setup, results, name, Path(folder))
        if corpus is None:
            return
        run = Path(folder) / "run"
        seconds, nats = timed_run(setup, corpus, run, ["--minutes", minutes])
        results.measure(f"{name}: seconds", seconds, choice_of(run))
    if setup.is_small:
        results.measure(f"{name}: nats", nats)
    else:
        results.check(f"{name}: nats", nats, MINUTE_NATS)


def measure_war_and_peace(setup: Setup, results: Results) -> None:
    """Train for three minutes on the bytes of War and Peace, and report the loss of the test
    part."""
    name = "War and Peace in three minutes: nats per byte of the test part"
    corpus = find_corpus(("war-and-peace.txt",), num_bytes=None)
    if corpus is None or setup.is_small:
        results.skip(name, "it needs a GPU, and war-and-peace.txt in corpora/ or $CHARRNN_CORPORA")
        return
    options = ["--minutes", "3", "--alphabet", "byte", "--split", "80/10/10"]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        seconds, nats = timed_run(
            setup, corpus, run, options, evaluated=["--part", "test"], protocol="stateful"
        )
        results.measure(f"{name}, seconds", seconds, choice_of(run))
        results.check(name, nats, WAR_AND_PEACE_NATS)


def measure_budgets(setup: Setup, results: Results) -> None:
    """Train sizes and batch rows for budgets of 10 s and of a minute, one seed each: what the
    recipe's table of sizes for a GPU is to be chosen by."""
    minutes = ["0.05"] if setup.is_small else ["0.1667", "1"]
    candidates = CANDIDATES if not setup.is_small else ((1, 16, 4),)
    for budget in minutes:
        for num_layers, hidden_size, batch_size in candidates:
            name = f"{budget} minutes: {num_layers}x{hidden_size}, {batch_size} rows"
            with tempfile.TemporaryDirectory() as folder:
                corpus = corpus_of(setup, results, name, Path(folder))
                if corpus is None:
                    return
                run = Path(folder) / "run"
                settings = (
                    f"num_layers={num_layers}",
                    f"hidden_size={hidden_size}",
                    f"batch_size={batch_size}",
                )
                options = [word for setting in settings for word in ("--set", setting)]
                _, nats = timed_run(setup, corpus, run, ["--minutes", budget, *options])
                results.measure(f"{name}: nats", nats, choice_of(run))


def corpus_of(setup: Setup, results: Results, name: str, folder: Path) -> Path | None:
    """Return tiny Shakespeare, or on a CPU a file of generated text; None, and a row, if it is
    missing."""
    if setup.is_small:
        text = folder / "text.txt"
        text.write_text(TEXT[:8_000], encoding="utf-8")
        return text
    corpus = find_corpus(TINY_SHAKESPEARE_NAMES, TINY_SHAKESPEARE_BYTES)
    if corpus is None:
        results.skip(
            name, "tiny Shakespeare is neither in corpora/ nor in a folder of $CHARRNN_CORPORA"
        )
    return corpus


def choice_of(run: Path) -> str:
    """Describe what a run chose: sizes, batch rows, steps and precision."""
    config = RunReader(run).read_config()
    rows = f"{config.batch_size} x {config.bptt_length}, {config.steps} steps"
    sizes = f"{config.num_layers}x{config.hidden_size} in {config.num_networks} networks"
    return f"{sizes}, {rows}, {config.precision}"


def timed_run(
    setup: Setup,
    corpus: Path,
    run: Path,
    options: list[str],
    *,
    evaluated: Sequence[str] = (),
    protocol: str = "windowed-256",
) -> tuple[float, float]:
    """Train a run in a new process: seconds from its start to its end, and the loss of its best
    step."""
    results_of = partial(
        subprocess.run,
        check=True,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
        },
    )
    charrnn = [sys.executable, "-m", "charrnn"]
    device = ["--device", setup.device.type, "--quiet"]
    begin = time.perf_counter()
    results_of([*charrnn, "train", str(corpus), "--out", str(run), *device, *options])
    seconds = time.perf_counter() - begin
    evaluate = [*charrnn, "evaluate", str(run), "--json", "--windowed", *evaluated]
    rows = json.loads(results_of(evaluate).stdout)["rows"]
    nats = next(row["nats_per_char"] for row in rows if row["protocol"] == protocol)
    return seconds, float(nats)

"""Time the same commands with two checkouts, pair by pair, and print the ratio of the medians.

    python benchmarks/lock_speed.py OTHER-CHECKOUT [--pairs 7] [--only NAME]

A ratio above 1 means that this checkout is slower than the other one. Whole processes are timed, by
the processor time of this process's children (`--wall` for the wall clock), with one thread; an
idle machine gives the best figures.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[1]
_TRAIN = (
    "train text.txt --device cpu --precision fp32 --set threads=1 --seed 1 --quiet "
    "--steps 6 --set evaluate_every=6 --set batch_size=16 --set validation_chars=20000"
)
COMMANDS = {
    "train 2x256": f"{_TRAIN} --layers 2 --hidden-size 256 --out OUT",
    "train 1x512": f"{_TRAIN} --layers 1 --hidden-size 512 --out OUT",
    "sample": "sample run --seed 1 --length 20000 --quiet",
    "visualize": "visualize run --find --recompute --quiet",
    "evaluate": "evaluate run --quiet",
    "--help": "--help",
}


def main() -> None:
    """Time each command with both checkouts in turn: A B A B."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", choices=[*COMMANDS])
    parser.add_argument("--wall", action="store_true")
    given = parser.parse_args()
    checkouts = {"here": HERE, "other": given.other.resolve()}
    with tempfile.TemporaryDirectory(prefix="lock-speed-") as name:
        folder = Path(name)
        # A text of source code that is already here; the runs it trains are deleted with the
        # folder.
        sources = sorted((HERE / "tests").glob("*/test_*.py"))
        (folder / "text.txt").write_text(
            "".join(path.read_text(encoding="utf-8") for path in sources[:40])
        )
        for checkout in checkouts:
            (folder / checkout).mkdir()
        _run(HERE, folder, folder / "here", f"{_TRAIN} --layers 2 --hidden-size 128 --out run")
        print(f"{'command':14} {'here':>8} {'other':>8}   ratio of medians ({given.pairs} pairs)")
        for label in [given.only] if given.only else COMMANDS:
            times: dict[str, list[float]] = {checkout: [] for checkout in checkouts}
            for pair in range(given.pairs + 1):
                for checkout, path in checkouts.items():
                    line = COMMANDS[label].replace(
                        "OUT", f"{checkout}-{label.replace(' ', '-')}-{pair}"
                    )
                    taken = _run(path, folder, folder / checkout, line, is_wall=given.wall)
                    if pair:  # the first pair warms up: compiled functions, the cache of files
                        times[checkout].append(taken)
            here, other = (statistics.median(values) for values in times.values())
            print(f"{label:14} {here:8.3f} {other:8.3f}   {here / other:.3f}", flush=True)


def _run(checkout: Path, folder: Path, home: Path, line: str, *, is_wall: bool = False) -> float:
    """Run one command and return its seconds."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": "1",
    }
    before, start = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "charrnn", *line.split()],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after, seconds = os.times(), time.perf_counter() - start
    if is_wall:
        return seconds
    return (
        after.children_user - before.children_user + after.children_system - before.children_system
    )


if __name__ == "__main__":
    main()

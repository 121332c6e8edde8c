"""Measure the memory and the time of training on a text that is larger than the memory that
training may use.

    python benchmarks/speed/big_corpus.py                      # 2 GB, 10,000 steps: about four minutes, Linux only
    python benchmarks/speed/big_corpus.py --gigabytes 10 --folder /mnt/large

The text is random words by Zipf's law in lines of twelve; --cyrillic writes them in another script.
The text, its ids and the runs lie in a temporary folder (--folder: where), which is removed; the disk
needs twice the size of the text.

Each command is its own process, observed from outside every SAMPLE_SECONDS. Two figures of its
memory are reported:

- `peak_mb`: the largest RssAnon of /proc/PID/status, the memory that the process has written to. It
  has to fit.
- `resident_mb`: VmHWM. It also counts pages of the mapped ids, which are read from the file and
  which the kernel drops at any time without writing them. So it depends on how much memory happens
  to be free, and is no need of the program.

`growth_percent` compares the median RssAnon in the last tenth of the steps with that in the fourth:
until then every kind of work (steps, validations, checkpoints, samples) was done for the first
time, and allocated what it uses again. The medians of all tenths go to stderr.
`start_seconds` is the time until the first step: the text is read and encoded before it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Report, make_parser

SAMPLE_SECONDS = 0.1
CHUNK_LINES = 200_000
NUM_WORDS = 5_000
SCRIPTS = {"latin": "etaoinshrdlucmfwypvbgkjqxz", "cyrillic": "оеаинтсрвлкмдпуяыьгзбчйхжш"}
SMALL_MODEL = (
    "--hidden-size",
    "64",
    "--layers",
    "1",
    "--set",
    "batch_size=32",
    "--set",
    "bptt_length=32",
)
VALIDATION_CHARS = 1 << 18
EVALUATED_CHARS = 1 << 20
"""Fewer than by default: the time for them says nothing of the memory."""


def write_text(path: Path, num_bytes: int, script: str) -> None:
    """Write lines of twelve random words, `num_bytes` bytes in all: one chunk of lines, again and
    again reordered."""
    draw = np.random.default_rng(0)
    letters = np.array(list(SCRIPTS[script]))
    words = ["".join(draw.choice(letters, size)) for size in draw.integers(2, 9, NUM_WORDS)]
    chances = 1 / np.arange(1, NUM_WORDS + 1)
    drawn = draw.choice(NUM_WORDS, (CHUNK_LINES, 12), p=chances / chances.sum())
    lines = [" ".join([words[index] for index in row]) for row in drawn.tolist()]
    left = num_bytes
    with path.open("wb") as file:
        while left > 0:
            data = (
                "\n".join([lines[index] for index in draw.permutation(CHUNK_LINES)]).encode()
                + b"\n"
            )
            # Cut at a line, so that no character is cut.
            data = data[: data.find(b"\n", left) + 1] if len(data) > left else data
            file.write(data)
            left -= len(data)


@dataclass
class Observed:
    """What was seen of a process: its duration, its memory over time and its events."""

    seconds: float = 0.0
    samples: list[tuple[float, int]] = field(default_factory=list)
    """(seconds since the start, bytes of RssAnon)"""
    resident: int = 0
    """VmHWM in bytes."""
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """(seconds since the start, one object of `--json`)"""

    @property
    def peak(self) -> int:
        """Largest RssAnon in bytes."""
        return max(anonymous for _, anonymous in self.samples)

    def time_of(self, name: str, step: int | None = None) -> float:
        """Return when an event came, in seconds since the start."""
        return next(
            at
            for at, event in self.events
            if event.get("event") == name and step in (None, event.get("step"))
        )

    def median_between(self, begin: float, end: float) -> float:
        """Return the median RssAnon in a span of seconds."""
        return statistics.median(anonymous for at, anonymous in self.samples if begin <= at <= end)


def observe(arguments: list[str], folder: Path) -> Observed:
    """Run a command of charrnn with `--json` in `folder`. Raises CalledProcessError if it fails."""
    package = Path(__file__).resolve().parents[2]
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(package)}
    found = Observed()
    begin = time.perf_counter()
    command = [sys.executable, "-m", "charrnn", *arguments, "--json", "--quiet"]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )

    def watch() -> None:
        while process.poll() is None:
            if sizes := read_memory(process.pid):
                found.samples.append((time.perf_counter() - begin, sizes["RssAnon"]))
                found.resident = max(found.resident, sizes["VmHWM"])
            time.sleep(SAMPLE_SECONDS)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.stdout is not None
    for line in process.stdout:
        found.events.append((time.perf_counter() - begin, json.loads(line)))
    process.wait()
    watcher.join()
    found.seconds = time.perf_counter() - begin
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return found


def read_memory(pid: int) -> dict[str, int]:
    """Return the entries RssAnon and VmHWM of a process in bytes; nothing if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    sizes = {
        name: int(value.split()[0]) * 1024
        for name, _, value in (line.partition(":") for line in lines)
        if name in ("RssAnon", "VmHWM")
    }
    return sizes if len(sizes) == 2 else {}


def measure(report: Report, folder: Path, num_bytes: int, steps: int, script: str) -> None:
    """Add one row per command."""
    begin = time.perf_counter()
    write_text(folder / "text.txt", num_bytes, script)
    print(
        f"wrote {num_bytes:,} bytes in {time.perf_counter() - begin:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    train = [
        "train",
        "text.txt",
        *SMALL_MODEL,
        "--set",
        f"validation_chars={VALIDATION_CHARS}",
        "--out",
    ]

    def add(name: str, seen: Observed, **more: float | None) -> None:
        row = {
            "seconds": seen.seconds,
            "peak_mb": seen.peak / 1e6,
            "resident_mb": seen.resident / 1e6,
        }
        report.add(command=name, **row, **{"growth_percent": None, "start_seconds": None, **more})

    first = observe([*train, "run", "--steps", str(steps)], folder)
    times = [first.time_of("step", max(1, steps * tenth // 10)) for tenth in range(11)]
    medians = [first.median_between(begin - SAMPLE_SECONDS, end) for begin, end in pairwise(times)]
    print(
        "MB by tenth:", *(f"{median / 1e6:.2f}" for median in medians), file=sys.stderr, flush=True
    )
    growth = medians[-1] / medians[3] - 1
    add(
        f"train --steps {steps}",
        first,
        growth_percent=100 * growth,
        start_seconds=first.time_of("start"),
    )
    for name in (
        f"evaluate run --precision fp32 --chars {EVALUATED_CHARS}",
        "visualize run --find",
        "sample run --length 2000 --trace",
    ):
        add(name, observe(name.split(), folder))


def main() -> None:
    """Report what each command needs."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--gigabytes", type=float, default=2.0, metavar="GB", help="size of the text"
    )
    parser.add_argument(
        "--steps", type=int, default=10_000, metavar="N", help="optimizer steps of the training"
    )
    parser.add_argument("--cyrillic", action="store_true", help="write the words in another script")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where the files lie for a while"
    )
    arguments = parser.parse_args()
    report = Report("big_corpus", as_json=arguments.json, with_limits=False)
    script = "cyrillic" if arguments.cyrillic else "latin"
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        measure(report, Path(temporary), int(1e9 * arguments.gigabytes), arguments.steps, script)
    report.close()


if __name__ == "__main__":
    main()

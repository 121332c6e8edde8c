"""Measure how long trainings with a budget in minutes take, alone and beside a process that keeps a
core busy from a quarter of the time on, or until then.

    python benchmarks/speed/minutes.py shakespeare.txt
    python benchmarks/speed/minutes.py shakespeare.txt --minutes 0.5 --neighbours arrives --rounds 1

Each training is `charrnn train TEXT --minutes M --seed S` in a process of its own, one after the
other. The seconds are those of the training (`done` of `train --json`, from the start of the
training) and of the whole process, which also loads the program. `plans` are the numbers of steps
that were planned. `--program` names another program to compare with, such as that of an older
version. Run it on a machine that does nothing else: whatever else runs is a neighbour, too.
"""

import json
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.measuring import Report, make_parser
from benchmarks.speed.busy_neighbour import busy_processes

NEIGHBOURS = ("none", "arrives", "leaves", "always")
"""When a core is kept busy: never, from a quarter of the budget on, until then, all the time."""
QUARTER = 1 / 4


def keep_busy(neighbour: str, budget: float, is_over: threading.Event) -> None:
    """Keep a core busy for a part of a budget in seconds, until the training is over."""
    if neighbour == "none":
        return
    if neighbour == "arrives" and is_over.wait(QUARTER * budget):
        return
    with busy_processes(1):
        if neighbour == "leaves":
            is_over.wait(QUARTER * budget)
        else:
            is_over.wait()


def train(command: list[str], neighbour: str, budget: float) -> tuple[float, float, list[int]]:
    """Return the seconds of a training and of its process, and the numbers of steps it planned."""
    is_over = threading.Event()
    thread = threading.Thread(target=keep_busy, args=(neighbour, budget, is_over))
    begin = time.perf_counter()
    thread.start()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - begin
    is_over.set()
    thread.join()

    events = [json.loads(line) for line in done.stdout.splitlines()]
    plans = [event["num_steps"] for event in events if event["event"] in ("start", "replanned")]
    return events[-1]["seconds"], seconds, plans


def main() -> None:
    """Report each budget with each neighbour."""
    parser = make_parser(__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--minutes", nargs="+", type=float, default=[0.5, 1.0, 3.0])
    parser.add_argument("--neighbours", nargs="+", choices=NEIGHBOURS, default=NEIGHBOURS[:3])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--program",
        default=shlex.join([sys.executable, "-m", "charrnn"]),
        help="the command of the program that trains",
    )
    arguments = parser.parse_args()
    report = Report("minutes", as_json=arguments.json, with_limits=False)
    text = str(arguments.text.resolve())
    for minutes in arguments.minutes:
        for neighbour in arguments.neighbours:
            for seed in range(arguments.rounds):
                with tempfile.TemporaryDirectory() as folder:
                    words = ("train", text, "--minutes", str(minutes), "--seed", str(seed))
                    command = [
                        *shlex.split(arguments.program),
                        *words,
                        "--out",
                        f"{folder}/run",
                        "--json",
                    ]
                    seconds, of_process, plans = train(command, neighbour, budget=60 * minutes)
                report.add(
                    minutes=minutes,
                    neighbour=neighbour,
                    seed=seed,
                    seconds=seconds,
                    percent_off=100 * (seconds / (60 * minutes) - 1),
                    seconds_of_process=of_process,
                    plans=" ".join(map(str, plans)),
                )
    report.close()


if __name__ == "__main__":
    main()

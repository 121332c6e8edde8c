"""Measure how much processes that keep cores busy slow charrnn, with the waiting that it chooses and
with others.

    python benchmarks/speed/busy_neighbour.py                      # idle, and beside 1, 2, 4 and 8 processes
    python benchmarks/speed/busy_neighbour.py --work 1x256 evaluate --neighbours 4 --rounds 5

The threads of libgomp wait for each other thousands of times a second. charrnn sets GOMP_SPINCOUNT
(`charrnn/system/spinning.py`), which is read when torch is loaded, so each setting has a process of its
own. The settings take turns. Figures are means of ROUNDS turns: milliseconds of a step of training
on all threads, of which a turn has STEPS, or milliseconds of a command. A turn can take ten times
as long as the next one, so there have to be many. On which cores the threads of a process run can
matter more than its setting, so calls have to be repeated. The weights, or what the command prints,
must be the same with every setting.
"""

import argparse
import contextlib
import hashlib
import inspect
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

SHAPES = {128: (50, 50), 256: (32, 128), 512: (32, 128)}
"""Batch rows and characters of a step, by the units of the LSTM."""
COMMANDS = {
    "evaluate": ("evaluate", "prose", "--chars", "50000", "--precision", "bf16", "--json"),
    "visualize": ("visualize", "prose", "--find", "--recompute", "--json"),
}
"""Commands on a text: a module of the Python that runs this."""
SPINS = {"charrnn": None, "1,000": "1000", "5,000": "5000", "30,000": "30000", "libgomp": "300000"}
"""The settings. libgomp has 300,000 if nothing is set and there is a core for each thread."""


def train(units: int, num_steps: int) -> None:
    """For each line of standard input take some steps of training, and print their mean seconds; at
    its end print the digest of the weights."""
    # Before torch, as in a command.
    from charrnn.system.spinning import prepare_threads

    prepare_threads()

    from benchmarks.speed.train_speed import our_step  # isort: skip

    batch_size, length = SHAPES[units]
    trainer = our_step("lstm", 1, units, batch_size, length, "auto")
    for _ in range(2):
        trainer.take_step()

    for _ in sys.stdin:
        begin = time.perf_counter()
        for _ in range(num_steps):
            trainer.take_step()
        print((time.perf_counter() - begin) / num_steps, flush=True)

    digest = hashlib.sha256()
    for weights in trainer.model_tensors().values():
        digest.update(weights.tobytes())
    print(digest.hexdigest())


def start(command: list[str], spins: str | None) -> subprocess.Popen[str]:
    """Start a process whose user has set GOMP_SPINCOUNT to `spins`."""
    environment = dict(os.environ)
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        environment.pop(name, None)
    if spins is not None:
        environment["GOMP_SPINCOUNT"] = spins
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    )


def measure_training(
    units: int, num_steps: int, num_rounds: int, number: int
) -> tuple[dict[str, list[float]], set[str]]:
    """Return the seconds of a step in each round by setting, and the digests of the weights."""
    command = [sys.executable, __file__, "--units", str(units), "--steps", str(num_steps)]
    taken: dict[str, list[float]] = {name: [] for name in SPINS}

    def take_turn(process: subprocess.Popen[str]) -> float:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    with busy_processes(number):
        # One after the other: charrnn counts the processes that run when it starts.
        processes = {}
        for name, spins in SPINS.items():
            processes[name] = start(command, spins)
            take_turn(processes[name])
        for _ in range(num_rounds):
            for name, process in processes.items():
                taken[name].append(take_turn(process))
    return taken, {process.communicate()[0] for process in processes.values()}


def measure_command(
    work: str, num_rounds: int, number: int
) -> tuple[dict[str, list[float]], set[str]]:
    """Return the seconds of a command in each round by setting, and what it printed."""
    command = [sys.executable, "-m", "charrnn", *COMMANDS[work], "--text", inspect.__file__]
    taken: dict[str, list[float]] = {name: [] for name in SPINS}
    printed = set()
    with busy_processes(number):
        for _ in range(num_rounds):
            for name, spins in SPINS.items():
                begin = time.perf_counter()
                process = start(command, spins)
                printed.add(process.communicate()[0])
                taken[name].append(time.perf_counter() - begin)
                if process.returncode:
                    sys.exit(f"{work} ended with {process.returncode}")
    return taken, printed


@contextlib.contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Keep as many cores busy, as far as there are that many."""
    command = [sys.executable, "-c", "while True: pass"]
    neighbours = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def main() -> None:
    """Report the settings for each kind of work and number of neighbours."""
    from benchmarks.measuring import Report, make_parser

    parser = make_parser(__doc__)
    parser.add_argument("--work", nargs="+", default=[*(f"1x{n}" for n in SHAPES), *COMMANDS])
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--units", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.units is not None:
        train(arguments.units, arguments.steps)
        return

    report = Report("busy_neighbour", as_json=arguments.json, with_limits=False)
    for work in arguments.work:
        for number in arguments.neighbours:
            if work in COMMANDS:
                taken, results = measure_command(work, arguments.rounds, number)
            else:
                units = int(work.removeprefix("1x"))
                taken, results = measure_training(units, arguments.steps, arguments.rounds, number)
            means = {}
            for name, seconds in taken.items():
                means[f"ms, {name}"] = 1000 * statistics.mean(seconds)
            report.add(
                work=work,
                neighbours=number,
                **means,
                times_the_best=means["ms, charrnn"] / min(means.values()),
                same_results="yes" if len(results) == 1 else "no",
            )
    report.close()


if __name__ == "__main__":
    main()

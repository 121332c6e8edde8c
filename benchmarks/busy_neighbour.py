"""Measure how much processes that keep cores busy slow charrnn, with the waiting that it chooses and
with others.

    python benchmarks/busy_neighbour.py                      # idle, and beside 1, 2, 4 and 8 processes
    python benchmarks/busy_neighbour.py --work 1x256 evaluate --neighbours 4 --rounds 1

The threads of libgomp wait for each other thousands of times a second. charrnn sets GOMP_SPINCOUNT
(`charrnn/__init__.py`), which is read when torch is loaded, so every figure is of a process of its
own. The settings take turns. Figures are medians of ROUNDS processes: the mean milliseconds of a
step of training on all threads, or the milliseconds of a command. The weights, or what the command
prints, must be the same with every setting.
"""

import argparse
import contextlib
import hashlib
import inspect
import json
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
SPINS = {"charrnn": None, "1,000": "1000", "30,000": "30000", "libgomp": "300000"}
"""The settings. libgomp has 300,000 if nothing is set and there is a core for each thread."""


def train(units: int, num_steps: int) -> None:
    """Print the mean seconds of a step, and the digest of the weights after all of them."""
    # charrnn before torch, as in a command.
    import charrnn  # noqa: F401

    from train_speed import our_step  # isort: skip

    batch_size, length = SHAPES[units]
    trainer = our_step("lstm", 1, units, batch_size, length, "auto")
    for _ in range(2):
        trainer.take_step()

    begin = time.perf_counter()
    for _ in range(num_steps):
        trainer.take_step()
    seconds = (time.perf_counter() - begin) / num_steps

    digest = hashlib.sha256()
    for weights in trainer.model_tensors().values():
        digest.update(weights.tobytes())
    print(json.dumps({"seconds": seconds, "weights": digest.hexdigest()}))


def run_in_process(work: str, num_steps: int, spins: str | None) -> tuple[float, str]:
    """Return the seconds that some work takes in a process whose user has set GOMP_SPINCOUNT to
    `spins`, and what must not depend on it."""
    environment = dict(os.environ)
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        environment.pop(name, None)
    if spins is not None:
        environment["GOMP_SPINCOUNT"] = spins

    command = [sys.executable, __file__, "--units", work.removeprefix("1x")]
    command += ["--steps", str(num_steps)]
    if work in COMMANDS:
        command = [sys.executable, "-m", "charrnn", *COMMANDS[work], "--text", inspect.__file__]

    begin = time.perf_counter()
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    if work in COMMANDS:
        return time.perf_counter() - begin, ran.stdout
    printed = json.loads(ran.stdout)
    return printed["seconds"], printed["weights"]


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
    from measuring import Report, make_parser

    parser = make_parser(__doc__)
    parser.add_argument("--work", nargs="+", default=[*(f"1x{n}" for n in SHAPES), *COMMANDS])
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--units", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.units is not None:
        train(arguments.units, arguments.steps)
        return

    report = Report("busy_neighbour", as_json=arguments.json, with_limits=False)
    for work in arguments.work:
        for number in arguments.neighbours:
            taken: dict[str, list[float]] = {name: [] for name in SPINS}
            results = set()
            with busy_processes(number):
                for _ in range(arguments.rounds):
                    for name, spins in SPINS.items():
                        seconds, result = run_in_process(work, arguments.steps, spins)
                        taken[name].append(seconds)
                        results.add(result)
            medians = {}
            for name, seconds in taken.items():
                medians[f"ms, {name}"] = 1000 * statistics.median(seconds)
            report.add(
                work=work,
                neighbours=number,
                **medians,
                times_the_best=medians["ms, charrnn"] / min(medians.values()),
                same_results="yes" if len(results) == 1 else "no",
            )
    report.close()


if __name__ == "__main__":
    main()

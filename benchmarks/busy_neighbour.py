"""Measure how much processes that keep cores busy slow training, with the waiting that charrnn
chooses and with that of libgomp.

    python benchmarks/busy_neighbour.py                      # idle, and beside 1, 2, 4 and 8 processes
    python benchmarks/busy_neighbour.py --neighbours 4 --rounds 1 --steps 20

The threads of libgomp wait for each other thousands of times a second. charrnn sets GOMP_SPINCOUNT
(`charrnn/__init__.py`), which is read when torch is loaded, so every figure is of a process of its
own. The settings take turns. Figures are medians of ROUNDS processes of the mean milliseconds of a
step on all threads; the weights after these steps must be the same.
"""

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

SHAPES = {128: (50, 50), 256: (32, 128)}
"""Batch rows and characters of a step, by the units of the LSTM."""
LIBGOMP_SPINS = "300000"
"""What libgomp chooses if nothing is set and there is a core for each thread."""


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


def train_in_process(units: int, num_steps: int, spins: str | None) -> dict[str, str | float]:
    """Return what `train` prints in a process whose user has set GOMP_SPINCOUNT to `spins`."""
    environment = dict(os.environ)
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        environment.pop(name, None)
    if spins is not None:
        environment["GOMP_SPINCOUNT"] = spins
    command = [sys.executable, __file__, "--units", str(units), "--steps", str(num_steps)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    printed: dict[str, str | float] = json.loads(ran.stdout)
    return printed


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
    """Report both settings for each shape and number of neighbours."""
    from measuring import Report, make_parser

    parser = make_parser(__doc__)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--units", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.units is not None:
        train(arguments.units, arguments.steps)
        return

    report = Report("busy_neighbour", as_json=arguments.json, with_limits=False)
    for units in SHAPES:
        for number in arguments.neighbours:
            taken: dict[str | None, list[float]] = {None: [], LIBGOMP_SPINS: []}
            weights = set()
            with busy_processes(number):
                for _ in range(arguments.rounds):
                    for spins, seconds in taken.items():
                        ran = train_in_process(units, arguments.steps, spins)
                        seconds.append(float(ran["seconds"]))
                        weights.add(ran["weights"])
            ours = 1000 * statistics.median(taken[None])
            theirs = 1000 * statistics.median(taken[LIBGOMP_SPINS])
            report.add(
                shape=f"1x{units}",
                neighbours=number,
                ms_a_step=ours,
                ms_with_spins_of_libgomp=theirs,
                times_as_long=theirs / ours,
                same_weights="yes" if len(weights) == 1 else "no",
            )
    report.close()


if __name__ == "__main__":
    main()

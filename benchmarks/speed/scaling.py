"""Measure two processes of one thread against one process of two threads, and extrapolate to
several machines.

    python benchmarks/speed/scaling.py                  # 1x128, 1x512, 2x512, 1x1024: about a minute and a half
    python benchmarks/speed/scaling.py --sizes 1x128    # layers x units

Two processes on loopback, started by torchrun as `charrnn train --processes 2` starts them. Steps
are whole steps of `charrnn.training.trainer.Trainer` in fp32, with the recipe's Muon, B batch rows
of T characters. The two kinds of step alternate: a pair is a few steps of each. While one process
computes with two threads, the other one waits.

ratio: characters per second of 2 x 1 divided by those of 1 x 2, the median over the pairs; lower
and upper quartile. exchange: time of the sum of all gradients over both processes, alone, through
loopback. alone: time of a step of one process with one thread and B, B/2, B/4, B/8 batch rows: what
each of N machines computes.

Extrapolated, not measured: the speed-up of N machines with one thread each over one, at equal B. A
step takes the time of `alone` at B/N rows, and its exchange 2 (N - 1)/N times the bytes of all
weights over the network's rate, plus 2 (N - 1) latencies (a ring), and half the loopback time of
`exchange` for copying and adding.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import torch

from benchmarks.measuring import Report, make_parser
from charrnn.config.settings import Config
from charrnn.distributed.group import SINGLE, ProcessGroup
from charrnn.distributed.processes import connect
from charrnn.text.batches import BatchRows
from charrnn.training.trainer import Trainer

SIZES = ("1x128", "1x512", "2x512", "1x1024")
NUM_LANES, LENGTH, VOCAB_SIZE = 64, 64, 65
IDS = np.random.default_rng(0).integers(0, VOCAB_SIZE, 1_000_000).astype(np.uint16)
NUM_PAIRS = 7
STEPS_PER_PAIR = 2
SECONDS_PER_SIZE = 12.0
"""Longest time for the pairs of one size."""
NETWORKS = {
    "1 Gbit/s": (0.125e9, 100e-6),
    "10 Gbit/s": (1.25e9, 50e-6),
    "100 Gbit/s": (12.5e9, 20e-6),
}
"""Bytes per second and seconds of latency: assumed, not measured."""
MACHINES = (2, 4, 8)


def make_trainer(size: str, batch_size: int, group: ProcessGroup) -> Trainer:
    """Build a trainer of `layers x units`."""
    num_layers, hidden_size = map(int, size.split("x"))
    config = Config(
        cell="lstm",
        num_layers=num_layers,
        hidden_size=hidden_size,
        embedding_size=64,
        dropout=0.0,
        input_dropout=0.0,
        batch_size=batch_size,
        bptt_length=LENGTH,
        learning_rate=1e-3,
        weight_decay=0.1,
        steps=10**6,
        precision="fp32",
    )
    return Trainer(config, BatchRows(IDS, batch_size), VOCAB_SIZE, torch.device("cpu"), group)


def seconds_of(call: Callable[[], object], repeats: int) -> float:
    """Return the mean seconds of a call over `repeats` calls in a row."""
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - begin) / repeats


def measure_pairs(size: str, group: ProcessGroup) -> tuple[list[float], list[float]]:
    """Return the seconds per step of 1 x 2 and of 2 x 1, pair by pair; those of 1 x 2 in the first
    process only."""
    together = make_trainer(size, NUM_LANES, group)
    whole = make_trainer(size, NUM_LANES, SINGLE) if group.is_first else None
    one, two = [], []
    start = time.perf_counter()
    for pair in range(NUM_PAIRS + 1):
        if whole is not None:
            torch.set_num_threads(2)
            one.append(seconds_of(whole.take_step, STEPS_PER_PAIR))
        torch.set_num_threads(1)
        group.any(True)  # The second process waits here, without computing.
        two.append(seconds_of(together.take_step, STEPS_PER_PAIR))
        if group.any(pair >= 3 and time.perf_counter() - start > SECONDS_PER_SIZE):
            break
    return one[1:], two[1:]  # The first pair warms up.


def measure_exchange(size: str, group: ProcessGroup) -> tuple[int, float]:
    """Return the bytes of all gradients, and the median seconds of their sum over both
    processes."""
    torch.set_num_threads(1)
    gradients = [
        torch.ones_like(weight)
        for weight in make_trainer(size, NUM_LANES, SINGLE).network.parameters()
    ]
    num_bytes = sum(gradient.numel() * gradient.element_size() for gradient in gradients)
    times = [seconds_of(lambda: group.sum_in_place(gradients), 1) for _ in range(12)]
    return num_bytes, median(times[2:])


def measure_alone(size: str) -> list[float]:
    """Return the seconds of a step of one process with one thread and B, B/2, B/4, B/8 batch
    rows."""
    torch.set_num_threads(1)
    seconds = []
    for machines in (1, *MACHINES):
        trainer = make_trainer(size, NUM_LANES // machines, SINGLE)
        trainer.take_step()
        seconds.append(median(seconds_of(trainer.take_step, 1) for _ in range(3)))
    return seconds


def speed_up(
    alone: Sequence[float],
    num_bytes: int,
    exchange: float,
    machines: int,
    rate: float,
    latency: float,
    every: int = 1,
) -> tuple[float, float]:
    """Return the modelled speed-up of `machines` over one, and the share of the time that the
    exchange takes.

    `alone` are the seconds of a step with B, B/2, B/4, B/8 rows; the gradients are exchanged
    `every` so many steps.
    """
    computing = alone[(1, *MACHINES).index(machines)]
    transfer = (
        2 * (machines - 1) / machines * num_bytes / rate
        + 2 * (machines - 1) * latency
        + exchange / 2
    )
    step = computing + transfer / every
    return alone[0] / step, transfer / every / step


def work(sizes: Sequence[str], *, as_json: bool) -> None:
    """Measure as one of two processes; the first one prints."""
    with connect() as group:
        report = Report("scaling", as_json=as_json, with_limits=False) if group.is_first else None
        measured = {}
        for size in sizes:
            one, two = measure_pairs(size, group)
            num_bytes, exchange = measure_exchange(size, group)
            alone = measure_alone(size) if group.is_first else []
            group.any(True)  # The second process waits here.
            if report is None:
                continue
            measured[size] = alone, num_bytes, exchange
            ratios = [a / b for a, b in zip(one, two, strict=True)]
            lower, _, upper = quantiles(ratios, n=4)
            report.add(
                size=size,
                weights=num_bytes // 4,
                ms_1x2=1e3 * median(one),
                ms_2x1=1e3 * median(two),
                ratio=median(ratios),
                lower=lower,
                upper=upper,
                pairs=len(ratios),
                MB_per_step=num_bytes / 1e6,
                exchange_ms=1e3 * exchange,
            )
        if report is not None:
            _add_extrapolation(report, measured)
            report.close()


def _add_extrapolation(report: Report, measured: dict[str, tuple[list[float], int, float]]) -> None:
    for size, (alone, _, _) in measured.items():
        report.add(
            size=size,
            **{f"alone_B/{n}_ms": 1e3 * s for n, s in zip((1, *MACHINES), alone, strict=True)},
        )
    for size, (alone, num_bytes, exchange) in measured.items():
        for network, (rate, latency) in NETWORKS.items():
            columns: dict[str, float] = {}
            for machines in MACHINES:
                speed, share = speed_up(alone, num_bytes, exchange, machines, rate, latency)
                columns |= {f"speedup_{machines}": speed, f"exchange_share_{machines}": share}
            rare, _ = speed_up(alone, num_bytes, exchange, MACHINES[-1], rate, latency, every=20)
            report.add(
                size=size, network=network, **columns, **{f"speedup_{MACHINES[-1]}_every_20": rare}
            )


def main() -> int:
    """Start two processes of this script by torchrun, or be one of them."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--sizes", nargs="+", default=list(SIZES), metavar="LxH", help="layers x units"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.sizes, as_json=arguments.json)
        return 0
    options = ["--json"] if arguments.json else []
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    script = [str(Path(__file__).resolve()), "--worker", "--sizes", *arguments.sizes, *options]
    environment = {
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "TORCH_CPP_LOG_LEVEL": "FATAL",
        **os.environ,
    }
    return subprocess.run([*torchrun, *script], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""What a process that keeps one core busy costs training, on the threads that `--minutes` chooses and on all of them.

    python benchmarks/busy_neighbour.py

Rates are medians of whole optimizer steps taken for SECONDS after the choice was made.
"""

import platform
import statistics
import subprocess
import sys
import time

import torch
from train_speed import IDS, VOCAB_SIZE, our_step

from charrnn.model.device import on_threads
from charrnn.text.lanes import Lanes
from charrnn.training.loop import MEASURE_SECONDS
from charrnn.training.measuring import measure_step
from charrnn.training.trainer import Trainer

SECONDS = 8.0
SHAPES = ((1, 512, 32, 128), (2, 128, 50, 50))


def rate(trainer: Trainer, num_threads: int, chars: int) -> float:
    """Characters per second."""
    times = []
    end = time.perf_counter() + SECONDS
    with on_threads(num_threads):
        while time.perf_counter() < end:
            begin = time.perf_counter()
            trainer.take_step()
            times.append(time.perf_counter() - begin)
    return chars / statistics.median(times)


def measure(shape: tuple[int, int, int, int]) -> tuple[int, float, float]:
    """The threads chosen, and the rates with them and with all."""
    num_layers, hidden_size, num_lanes, length = shape
    trainer = our_step("lstm", num_layers, hidden_size, num_lanes, length, "auto")
    lanes = Lanes(IDS, num_lanes)
    _, threads = measure_step(trainer.config, lanes, VOCAB_SIZE, torch.device("cpu"), MEASURE_SECONDS)
    chars = num_lanes * length
    return threads, rate(trainer, threads, chars), rate(trainer, torch.get_num_threads(), chars)


def main() -> None:
    """Print the rates without and with a neighbour, and what it costs."""
    print(f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for shape in SHAPES:
        quiet_threads, quiet, _ = measure(shape)
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
            try:
                busy_threads, busy, busy_all = measure(shape)
            finally:
                neighbour.kill()
        print(
            f"{shape}: quiet {quiet:,.0f} characters/s on {quiet_threads} threads; "
            f"busy {busy:,.0f} on {busy_threads} ({quiet / busy:.2f} times slower), "
            f"{busy_all:,.0f} on all ({quiet / busy_all:.2f} times)"
        )


if __name__ == "__main__":
    main()

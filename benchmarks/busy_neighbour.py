"""Measure how much a process that keeps one core busy slows training, with the chosen threads and
with all.

    python benchmarks/busy_neighbour.py

The threads are chosen as for `--minutes`. Rates are medians of the optimizer steps of SECONDS after
the choice.
"""

import statistics
import subprocess
import sys
import time

import torch
from measuring import Report, make_parser, seconds
from train_speed import IDS, VOCAB_SIZE, our_step

from charrnn.model.device import on_threads
from charrnn.text.batches import BatchRows
from charrnn.training.measuring import MEASURE_SECONDS, measure_step
from charrnn.training.process_group import Computing
from charrnn.training.trainer import Trainer

SECONDS = 5.0
SHAPES = ((1, 512, 32, 128), (2, 128, 50, 50))


def rate(trainer: Trainer, num_threads: int, chars: int) -> float:
    """Return the characters per second."""
    times = []
    end = time.perf_counter() + SECONDS
    with on_threads(num_threads):
        while time.perf_counter() < end:
            times.append(seconds(trainer.take_step))
    return chars / statistics.median(times)


def measure(report: Report, shape: tuple[int, int, int, int], machine: str) -> None:
    """Add the chosen threads, and the rates with them and with all threads."""
    num_layers, hidden_size, batch_size, length = shape
    trainer = our_step("lstm", num_layers, hidden_size, batch_size, length, "auto")
    batches, computing = BatchRows(IDS, batch_size), Computing(torch.device("cpu"))
    _, chosen = measure_step(trainer.config, batches, VOCAB_SIZE, computing, MEASURE_SECONDS)
    chars, most = batch_size * length, torch.get_num_threads()
    rates = {count: rate(trainer, count, chars) for count in {chosen, most}}
    report.add(
        shape=f"{num_layers}x{hidden_size}, {batch_size}x{length}",
        machine=machine,
        threads=chosen,
        chars_per_second=rates[chosen],
        on_all_threads=rates[most],
    )


def main() -> None:
    """Report the rates without and with a busy process."""
    arguments = make_parser(__doc__).parse_args()
    report = Report("busy_neighbour", as_json=arguments.json, with_limits=False)
    for shape in SHAPES:
        measure(report, shape, "quiet")
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
            try:
                measure(report, shape, "one core busy")
            finally:
                neighbour.kill()
    report.close()


if __name__ == "__main__":
    main()

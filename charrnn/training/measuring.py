"""Choose precision and threads by the shape of the model, and measure the steps of a budget in minutes.

What a command with a number of steps or epochs chooses does not depend on how busy the machine is.
"""

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from charrnn.config import Config, resolved
from charrnn.model.device import has_fast_bf16, on_threads
from charrnn.progress import task
from charrnn.text.batches import BatchRows
from charrnn.training.process_group import Computing
from charrnn.training.recipe import CPU_RATE, OPERATIONS_PER_WEIGHT, num_recurrent_weights
from charrnn.training.trainer import Trainer

BF16_UNITS = 128
"""Units from which on a CPU computes in bf16: products of fewer gain less than converting numbers costs
(benchmarks/LOG.md)."""
UNITS_PER_THREAD = 32
"""Units for which a second thread is no faster, because threads wait for each other (benchmarks/LOG.md)."""
MIN_SPEEDUP = 1.1
"""How many times faster fewer threads must be to be chosen, because short measurements are noisy."""
GPU_RATE = 5e12
"""Assumed operations per second of training on a device other than the CPU: not measured."""
FP32_SHARE = 0.3
"""Assumed rate of fp32 as a share of that of bf16 on the CPU."""
TRIAL_RATE = 1e-9
"""Learning rate of trial steps: too small for the weights to diverge."""


def assumed_rate(config: Config, device: torch.device, num_processes: int = 1) -> float:
    """Return the operations per second that are assumed of all processes together, to choose the model's size.

    They are not measured, so that the same command chooses the same size however busy the machine is.
    """
    if device.type != "cpu":
        return GPU_RATE * math.sqrt(num_processes)
    is_fp32 = config.precision == "fp32" or not has_fast_bf16(device)
    return CPU_RATE * math.sqrt(_most_threads(config) * num_processes) * (FP32_SHARE if is_fp32 else 1)


def _most_threads(config: Config) -> int:
    return torch.get_num_threads() if config.threads == "auto" else config.threads


def choose_precision(config: Config, device: torch.device) -> str:
    """Return the configuration's precision; for `auto` bf16 or fp32.

    bf16 if the device has instructions for it and is no CPU, or the layers have at least BF16_UNITS units.
    """
    if config.precision != "auto":
        return config.precision
    is_large = device.type != "cpu" or resolved(config.hidden_size) >= BF16_UNITS
    return "bf16" if is_large and has_fast_bf16(device) else "fp32"


def choose_threads(config: Config) -> int:
    """Return the configuration's threads; for `auto` one per UNITS_PER_THREAD units of a layer, at most all."""
    if config.threads != "auto":
        return config.threads
    return max(1, min(torch.get_num_threads(), resolved(config.hidden_size) // UNITS_PER_THREAD))


def measure_step(
    config: Config, batches: BatchRows, vocab_size: int, computing: Computing, seconds: float
) -> tuple[float, int]:
    """Measure for about `seconds`: return the seconds of one step and the number of threads to take it on.

    If the threads are `auto`, all, all but one and one are tried: if another process keeps a core busy, all threads
    wait at every operation for the one that shares its core. Several processes measure together, so that the exchange
    of gradients counts, on all threads that each has.

    The seconds are the lower quartile of those on the chosen threads, not the median. Otherwise another process that
    is busy while this measures would cost the whole run its steps.
    """
    device, group, _ = computing
    # A step takes the same time with any dropout and any learning rate.
    changes: dict[str, Any] = {name: 0.1 for name in ("dropout", "input_dropout") if getattr(config, name) == "auto"}
    changes |= {"minutes": None, "steps": 10**6, "learning_rate": TRIAL_RATE}
    with on_threads(1):  # Drawing weights is no faster on several, and much slower if other processes use the cores.
        trainer = Trainer(replace(config, **changes), batches, vocab_size, device, group)
    most = _most_threads(config)
    times: dict[int, list[float]] = {most: []}
    if config.threads == "auto" and device.type == "cpu" and group.size == 1:
        operations = OPERATIONS_PER_WEIGHT * num_recurrent_weights(config)
        operations *= batches.batch_size * resolved(config.bptt_length)
        alone = operations / assumed_rate(replace(config, threads=1), device)
        # Fewer threads are not tried for a model that is too large for them.
        times |= {count: [] for count in (most - 1, 1) if 1 <= count < most and alone / count <= seconds}
    with task("measuring", unit="steps") as advance:
        with on_threads(min(times)):  # On several, a step takes any time while other processes use the cores.
            for _ in range(2):  # The first one chooses its kernels.
                trainer.take_step()
                advance()
        begin, is_over = time.perf_counter(), False
        while not is_over:
            for num_threads, taken in times.items():
                with on_threads(num_threads):
                    step_begin = time.perf_counter()
                    trainer.take_step()
                    taken.append(time.perf_counter() - step_begin)
                advance()
            # Up to twice as long, for three steps on each number of threads.
            least = seconds if len(times[most]) >= 3 else 2 * seconds
            is_over = group.any(time.perf_counter() - begin >= least)[0]
    chosen = min(times, key=lambda num_threads: np.median(times[num_threads]))
    if np.median(times[chosen]) * MIN_SPEEDUP >= np.median(times[most]):
        chosen = most
    return float(np.quantile(times[chosen], 0.25)), chosen

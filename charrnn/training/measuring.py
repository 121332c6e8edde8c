"""How fast this machine trains: what is assumed before a model is chosen, and what a few steps
measure.

The steps are taken by a trainer that is thrown away, so that the weights of the run do not depend
on how many they were.
"""

import math
import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from charrnn.config.settings import DROPPED, Config, resolved
from charrnn.model.device import has_fast_bf16, on_threads
from charrnn.system.progress import task
from charrnn.text.batches import BatchRows
from charrnn.training import recipe
from charrnn.training.recipe import CPU_RATE, OPERATIONS_PER_WEIGHT, num_recurrent_weights
from charrnn.training.trainer import ALL_ROWS, AllRows, Trainer


@dataclass(frozen=True)
class Computing:
    """What a training computes with.

    Functions of the plan take it as one thing, because a trial step needs all of it.
    """

    device: torch.device
    start: float = 0.0
    """When a budget in minutes began, as `time.perf_counter` counts."""
    own_rows: AllRows = ALL_ROWS
    """The batch rows that are computed with it."""
    num_processes: int = 1
    """How many processes take the steps together."""

    @property
    def can_choose_threads(self) -> bool:
        """Whether the number of threads may be chosen by measuring, as in `time_trial_steps`."""
        return self.device.type == "cpu" and self.num_processes == 1

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true, wherever the steps are taken."""
        return flag


UNITS_PER_THREAD = 32
"""Units for which a second thread is no faster, because threads wait for each other
(benchmarks/LOG.md)."""
GPU_RATE = 5e12
"""Assumed operations per second of training on a device other than the CPU: not measured."""
FP32_SHARE = 0.3
"""Assumed rate of fp32 as a share of the rate of bf16 on the CPU."""


def assumed_rate(config: Config, computing: Computing) -> float:
    """Return the operations per second that are assumed of all processes together, to choose the
    model's size.

    They are not measured, so that the same command chooses the same size however busy the machine
    is.
    """
    # Roots, because threads and processes wait for each other.
    num_processes = computing.num_processes
    if computing.device.type != "cpu":
        return GPU_RATE * math.sqrt(num_processes)
    rate = CPU_RATE * math.sqrt(_most_threads(config) * num_processes)
    if config.precision == "fp32" or not has_fast_bf16(computing.device):
        rate *= FP32_SHARE
    return rate


def _most_threads(config: Config) -> int:
    return torch.get_num_threads() if config.threads == "auto" else config.threads


def choose_threads(config: Config) -> int:
    """Return the configuration's threads; for `auto` one thread per UNITS_PER_THREAD units of a
    layer, at most all threads."""
    if config.threads != "auto":
        return config.threads
    return max(1, min(torch.get_num_threads(), recipe.units_of_network(config) // UNITS_PER_THREAD))


MEASURE_SECONDS = 2.5
"""Time for which steps are measured, at most twice as long, to plan the steps of a budget of 1.4 to
8.3 minutes."""
MEASURE_SHARE = 0.03
"""Largest share of such a budget that is spent on measuring."""
LONG_MEASURE_SHARE = 0.005
"""Share of a long budget: large networks are slower in the first 5 to 10 seconds
(benchmarks/LOG.md)."""
MAX_MEASURE_SECONDS = 30.0
"""Longest time for which steps are measured, however long the budget."""
MIN_MEASURE_SECONDS = 0.25
"""Shortest time for which steps are measured, however small the budget."""


def seconds_of_measuring(minutes: float) -> float:
    """Return for how long steps are measured to plan the steps of a budget."""
    seconds = 60 * minutes
    longest = max(MEASURE_SECONDS, min(MAX_MEASURE_SECONDS, LONG_MEASURE_SHARE * seconds))
    return min(longest, max(MIN_MEASURE_SECONDS, MEASURE_SHARE * seconds))


MIN_SPEEDUP = 1.1
"""How many times faster fewer threads must be to be chosen, because short measurements are noisy.
"""
TRIAL_RATE = 1e-9
"""Learning rate of trial steps: too small for the weights to diverge."""
NUM_WARM_UPS = 2
"""First steps, which are slower than all later steps, because libraries choose their kernels."""


class TrialSteps(NamedTuple):
    """What was measured before a training."""

    seconds: float
    """Seconds of a step."""
    threads: int
    """The number of threads on which to take the steps."""


def time_trial_steps(
    config: Config, batches: BatchRows, vocab_size: int, computing: Computing, seconds: float
) -> TrialSteps:
    """Measure for about `seconds` how long a step takes in seconds, and on how many threads to take
    it.

    If the threads are `auto`, three numbers are tried: all threads, all but one, and a single
    thread. While another program keeps a core busy, all threads wait at every operation for the
    thread on that core. Several processes measure together, so that the exchange of gradients
    counts, and each uses all of its threads.

    The seconds are the lower quartile of the measured steps on the chosen threads, not the median.
    With the median, a program that is busy during the measurement would cost the whole run its
    steps.
    """
    # A network of its own: the weights of the run must not depend on how many steps were measured.
    # Drawing them is no faster on several threads, and much slower while other programs use the
    # cores.
    with on_threads(1):
        trainer = Trainer(
            _trial_config(config, num_train_chars=len(batches.ids), computing=computing),
            batches=batches,
            vocab_size=vocab_size,
            device=computing.device,
            own_rows=computing.own_rows,
        )
    most = _most_threads(config)
    times: dict[int, list[float]] = {most: []}
    for count in _fewer_threads(config, computing, batch_size=batches.batch_size, seconds=seconds):
        times[count] = []

    with task("measuring", unit="steps") as advance:
        # The first step chooses its kernels. On several threads it may take very long while other
        # programs use the cores.
        with on_threads(min(times)):
            for _ in range(NUM_WARM_UPS):
                trainer.take_step()
                advance()

        # Each number of threads in turn, so that a busy moment meets all of them.
        begin = time.perf_counter()
        longest = 0.0
        is_over = False
        while not is_over:
            round_begin = time.perf_counter()
            for num_threads, taken in times.items():
                with on_threads(num_threads):
                    step_begin = time.perf_counter()
                    trainer.take_step()
                    taken.append(time.perf_counter() - step_begin)
                advance()
            longest = max(longest, time.perf_counter() - round_begin)

            # Measure for `seconds`, or for up to twice that time until there are three rounds. The
            # longest round does not count, because charrnn may have been stopped in it.
            least = seconds if len(times[most]) >= 3 else 2 * seconds
            is_over = computing.any(time.perf_counter() - begin - longest >= least)

    # The fastest number of threads; all of them unless another is clearly faster.
    medians = {count: np.quantile(taken, 0.5, method="lower") for count, taken in times.items()}
    fastest = min(medians, key=medians.__getitem__)
    if medians[fastest] * MIN_SPEEDUP >= medians[most]:
        fastest = most
    seconds_per_step = float(np.quantile(times[fastest], 0.25, method="lower"))
    return TrialSteps(seconds_per_step, threads=fastest)


def _trial_config(config: Config, num_train_chars: int, computing: Computing) -> Config:
    """Return a configuration without `auto` whose steps take as long as the steps of `config`."""
    # A step takes the same time with any dropout, weight decay and learning rate, and 8 % longer if
    # weights are dropped (1x512). They are not dropped in an irnn, nor in a model that, at the
    # assumed rate, does not read the text often.
    rate = assumed_rate(config, computing)
    num_read = recipe.chars_of_minutes(config, operations_per_second=rate)
    dropped = dict.fromkeys(DROPPED, 0.1)
    dropout = recipe.choose_dropout(config, num_read=num_read, num_train_chars=num_train_chars)
    if dropout == 0 or config.cell_type == "irnn":
        dropped["weight_drop"] = 0.0

    # The settings that `plan.choose_steps` fills in only when the steps are known; any number does.
    return replace(
        recipe.fill_auto(config, **dropped),
        minutes=None,
        steps=10**6,
        learning_rate=TRIAL_RATE,
        weight_decay=0.1,
        **recipe.EARLY_FALL,
    )


def _fewer_threads(
    config: Config, computing: Computing, *, batch_size: int, seconds: float
) -> list[int]:
    """Return the numbers of threads to try beside all of them."""
    if config.threads != "auto" or not computing.can_choose_threads:
        return []

    # Fewer threads are not tried for a model that is too large for them.
    operations = OPERATIONS_PER_WEIGHT * num_recurrent_weights(config)
    operations *= batch_size * resolved(config.bptt_length)
    seconds_of_one = operations / assumed_rate(replace(config, threads=1), computing)
    most = torch.get_num_threads()
    fewer = []
    for count in (most - 1, 1):
        if 1 <= count < most and seconds_of_one / count <= min(seconds, MEASURE_SECONDS):
            fewer.append(count)
    return fewer

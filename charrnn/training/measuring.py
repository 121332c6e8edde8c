"""Measure optimizer steps on this machine, to choose precision, threads and the number of steps of a run."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from charrnn.config import Config, resolved
from charrnn.model.device import has_fast_bf16, on_threads
from charrnn.text.batches import BatchRows
from charrnn.training.process_group import SINGLE, ProcessGroup
from charrnn.training.recipe import CPU_RATE, num_recurrent_weights, steps_of_budget
from charrnn.training.trainer import Trainer

MIN_STEPS = 50
"""Fewer steps are not measured: they take less time than measuring saves."""
MIN_BUDGET_SECONDS = 10
"""A smaller budget in minutes is not measured to choose a precision."""
MAX_SECONDS = 0.5
"""Seconds of one measurement at most: of threads, or of both precisions on one number of threads."""
MAX_SHARE = 0.03
"""Largest share of a budget in steps or epochs that is spent on measuring."""
MIN_SPEEDUP = 1.1
"""How many times faster fp32, or fewer threads, must be to be chosen, because short measurements are noisy."""
LARGE_UNITS = 256
"""From this many units on, bf16 products are more than twice as fast on every processor with instructions for them."""
MAX_TRIAL_WINDOW = 64
"""Characters per batch row of a trial step that compares precisions, at most."""
TRIAL_STEPS = 3
"""Trial steps of each precision on one thread, of which the fastest counts; twice as many on all threads."""
CLEAR_SPEEDUP = 1.5
"""How many times faster bf16 must be on one thread to be chosen without trying all threads."""
MAX_DELAY = 5.0
"""How many times longer than on one thread the first step on all threads may take; more means that other processes use
the cores."""
TRIAL_OPERATIONS = 1e9
"""Operations of a trial step, about: a large model reads fewer characters."""
MIN_TRIAL_WINDOW = 16
"""Characters per batch row of any trial step, at least."""
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


def choose_precision(config: Config, batches: BatchRows, vocab_size: int, device: torch.device) -> str:
    """Choose `fp32` or `bf16` if the configuration's precision is `auto`; else return it.

    The choice is bf16 if the processor has instructions for it, unless trial steps are clearly faster in fp32: small
    products gain less from bf16 than converting numbers costs. Only the instructions count for a model of at least
    LARGE_UNITS units, a budget under MIN_STEPS steps or MIN_BUDGET_SECONDS, and a device other than the CPU.
    """
    if config.precision != "auto":
        return config.precision
    if not has_fast_bf16(device):
        return "fp32"
    num_steps = steps_of_budget(config, len(batches.ids))
    is_short = num_steps < MIN_STEPS if num_steps is not None else 60 * (config.minutes or 0) < MIN_BUDGET_SECONDS
    if device.type != "cpu" or is_short or resolved(config.hidden_size) >= LARGE_UNITS:
        return "bf16"
    length = min(MAX_TRIAL_WINDOW, resolved(config.bptt_length))
    configs = {name: replace(config, precision=name) for name in ("bf16", "fp32")}
    trials = {name: _trial(trial, batches, vocab_size, device, length) for name, trial in configs.items()}
    # On one thread and by that thread's own clock, which other processes do not delay.
    least = _fastest_steps(trials, 1, time.thread_time, TRIAL_STEPS)
    most = _most_threads(config)
    if most > 1 and least["fp32"] < CLEAR_SPEEDUP * least["bf16"]:
        # Small bf16 products gain less from threads, which wait for each other if other processes use their cores.
        with on_threads(most):
            delay = max(_seconds(trainer.take_step) / least[name] for name, trainer in trials.items())
        if delay < MAX_DELAY:
            together = _fastest_steps(trials, most, time.perf_counter, 2 * TRIAL_STEPS)
            least = {name: min(least[name], together[name]) for name in trials}
    return "fp32" if least["fp32"] * MIN_SPEEDUP < least["bf16"] else "bf16"


def _fastest_steps(
    trials: Mapping[str, Trainer], num_threads: int, clock: Callable[[], float], rounds: int
) -> dict[str, float]:
    """Measure each trainer's fastest step in seconds of that clock; the first step of each does not count."""
    least = dict.fromkeys(trials, float("inf"))
    end = time.perf_counter() + MAX_SECONDS
    with on_threads(num_threads):
        for trainer in trials.values():
            trainer.take_step()  # Chooses its kernels.
        for _ in range(rounds):
            for name, trainer in trials.items():
                least[name] = min(least[name], _seconds(trainer.take_step, clock))
            if time.perf_counter() > end or least["fp32"] > CLEAR_SPEEDUP * least["bf16"]:
                break
    return least


def choose_threads(
    config: Config, batches: BatchRows, vocab_size: int, device: torch.device, group: ProcessGroup = SINGLE
) -> int:
    """Choose the processor threads of a configuration with a number of steps, if they are `auto`, by measuring.

    All threads, without measuring, if there is only one, for fewer than MIN_STEPS steps, on a device other than the
    CPU, and for several processes.
    """
    most, num_steps = _most_threads(config), resolved(config.steps or 0)
    is_long = num_steps >= MIN_STEPS
    if config.threads != "auto" or most == 1 or not is_long or device.type != "cpu" or group.size > 1:
        return most
    trainer = _trial(config, batches, vocab_size, device)
    # On one thread: on several, a step takes any time while other processes use the cores.
    one_step = _warm_up(trainer, 1)
    budget = num_steps * one_step * resolved(config.bptt_length) / resolved(trainer.config.bptt_length)
    seconds = min(MAX_SECONDS, MAX_SHARE * budget)
    return _fastest(_measure(trainer, _candidates(most), seconds)) if one_step <= seconds else most


def measure_step(
    config: Config,
    batches: BatchRows,
    vocab_size: int,
    device: torch.device,
    seconds: float,
    group: ProcessGroup = SINGLE,
) -> tuple[float, int]:
    """Measure for about `seconds`: return the seconds of one step and the number of threads to take it on.

    Several processes measure together, so that the exchange of gradients counts, on all threads that each has.

    The seconds are the lower quartile of those on the chosen threads, not the median. Otherwise another process that
    is busy while this measures would cost the whole run its steps.
    """
    trainer = _trial(config, batches, vocab_size, device, resolved(config.bptt_length), group)
    most = _most_threads(config)
    candidates = [most]
    if most > 1 and config.threads == "auto" and device.type == "cpu" and trainer.group.size == 1:
        # On one thread: on several, a step takes any time while other processes use the cores.
        short = _trial(config, batches, vocab_size, device)
        alone = _warm_up(short, 1) * resolved(config.bptt_length) / resolved(short.config.bptt_length)
        candidates = [n for n in _candidates(most) if n == most or alone / n <= seconds]
    _warm_up(trainer, candidates[-1])
    times = _measure(trainer, candidates, seconds)
    chosen = _fastest(times)
    # With `sync_every` few of these steps, or none, were followed by an outer step.
    outer_step = _seconds(trainer.sync) / config.sync_every if config.sync_every > 1 else 0.0
    return float(np.quantile(times[chosen], 0.25)) + outer_step, chosen


def _trial(
    config: Config,
    batches: BatchRows,
    vocab_size: int,
    device: torch.device,
    length: int | None = None,
    group: ProcessGroup = SINGLE,
) -> Trainer:
    """Build a trainer for windows of `length` characters; by default those of the run, or fewer for a large model."""
    if length is None:
        per_character = 6 * batches.batch_size * num_recurrent_weights(config)
        affordable = max(MIN_TRIAL_WINDOW, int(TRIAL_OPERATIONS / per_character))
        length = min(affordable, resolved(config.bptt_length))
    # A step takes the same time with any dropout and any learning rate.
    changes: dict[str, Any] = {name: 0.1 for name in ("dropout", "input_dropout") if getattr(config, name) == "auto"}
    changes |= {"minutes": None, "epochs": None, "steps": 10**6, "bptt_length": length, "learning_rate": TRIAL_RATE}
    trial = replace(config, **changes)
    with on_threads(1):  # Drawing weights is no faster on several, and much slower if other processes use the cores.
        return Trainer(trial, batches, vocab_size, device, group)


def _warm_up(trainer: Trainer, num_threads: int) -> float:
    """Measure the seconds of a trainer's second step; the first chooses its kernels."""
    with on_threads(num_threads):
        trainer.take_step()
        return _seconds(trainer.take_step)


def _candidates(most: int) -> list[int]:
    """List the numbers of threads to try: all, all but one, and one.

    If another process keeps a core busy, fewer threads are faster: all others wait at every operation for the thread
    that shares its core.
    """
    return list(dict.fromkeys((most, max(1, most - 1), 1)))


def _measure(trainer: Trainer, candidates: list[int], seconds: float) -> dict[int, list[float]]:
    """Measure steps on each number of threads in turn, for about `seconds`; up to twice that for three of each."""
    times: dict[int, list[float]] = {num_threads: [] for num_threads in candidates}
    begin = time.perf_counter()
    while True:
        for num_threads, taken in times.items():
            with on_threads(num_threads):
                taken.append(_seconds(trainer.take_step))
        least = seconds if len(times[candidates[0]]) >= 3 else 2 * seconds
        if trainer.group.any(time.perf_counter() - begin >= least)[0]:
            return times


def _fastest(times: Mapping[int, list[float]]) -> int:
    """Return the number of threads with the shortest median; the first one unless another is MIN_SPEEDUP faster."""
    most = next(iter(times))
    fastest = min(times, key=lambda num_threads: np.median(times[num_threads]))
    return fastest if np.median(times[fastest]) * MIN_SPEEDUP < np.median(times[most]) else most


def _seconds(step: Callable[[], object], clock: Callable[[], float] | None = None) -> float:
    clock = clock or time.perf_counter
    begin = clock()
    step()
    return clock() - begin

"""How fast this machine takes the steps of a model that is to be trained: in which precision, on how many threads."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from charrnn.config import Config, resolved
from charrnn.model.device import has_fast_bf16, on_threads
from charrnn.text.lanes import Lanes
from charrnn.training.recipe import num_recurrent_weights, steps_of_budget
from charrnn.training.trainer import Trainer

LEAST_STEPS, LEAST_SECONDS = 50, 10
"""A smaller budget is over before measuring could pay."""
MOST_SECONDS, SHARE = 0.5, 0.03
"""A budget in steps or epochs is measured for so many seconds, but for no more than this share of it."""
MIN_SPEEDUP = 1.1
"""How many times faster fp32, or fewer threads, must be to be chosen: a short measurement is noisy."""
UNITS_OF_LARGE = 256
"""From so many units on, bf16 products are more than twice as fast wherever there are instructions for them."""
MOST_CHARACTERS = 64
"""Of a trial step's window, in the choice of the precision."""
ROUNDS = 3
"""Steps of each precision on one thread, of which the fastest counts; twice as many on all threads."""
CLEAR = 1.5
"""How many times faster bf16 must be on one thread to be chosen without trying all threads."""
LONGEST_DELAY = 5.0
"""How many times longer than on one thread a first step may take, before it is clear that other work delays threads."""
OPERATIONS_MEASURED = 1e9
"""A trial step of a large model reads fewer characters, so that it does about this many operations."""
SHORTEST_WINDOW = 16
"""Characters per lane that every trial step reads, at least."""
TRIAL_RATE = 1e-9
"""Learning rate of trial steps: too small for the weights to diverge."""


def choose_precision(config: Config, lanes: Lanes, vocab_size: int, device: torch.device) -> str:
    """`fp32` or `bf16` for a configuration whose precision is `auto`.

    bf16 is taken where the processor has instructions for it, unless trial steps are clearly faster in fp32: small
    products gain less from bf16 than it costs to convert numbers. A model of UNITS_OF_LARGE units, a budget under
    LEAST_STEPS steps or LEAST_SECONDS, and a device that is not a CPU, go by the instructions alone.
    """
    if config.precision != "auto":
        return config.precision
    if not has_fast_bf16(device):
        return "fp32"
    num_steps = steps_of_budget(config, len(lanes.ids))
    is_short = num_steps < LEAST_STEPS if num_steps is not None else 60 * (config.minutes or 0) < LEAST_SECONDS
    if device.type != "cpu" or is_short or resolved(config.hidden_size) >= UNITS_OF_LARGE:
        return "bf16"
    length = min(MOST_CHARACTERS, resolved(config.bptt_length))
    configs = {name: replace(config, precision=name) for name in ("bf16", "fp32")}
    trials = {name: _trial(trial, lanes, vocab_size, device, length) for name, trial in configs.items()}
    # On one thread and by its own clock, because a neighbour delays neither.
    least = _fastest_steps(trials, 1, time.thread_time, ROUNDS)
    most = torch.get_num_threads() if config.threads == "auto" else config.threads
    if most > 1 and least["fp32"] < CLEAR * least["bf16"]:
        # Threads gain small bf16 products less. Beside a neighbour they wait for each other.
        with on_threads(most):
            delay = max(_seconds(trainer.take_step) / least[name] for name, trainer in trials.items())
        if delay < LONGEST_DELAY:
            together = _fastest_steps(trials, most, time.perf_counter, 2 * ROUNDS)
            least = {name: min(least[name], together[name]) for name in trials}
    return "fp32" if least["fp32"] * MIN_SPEEDUP < least["bf16"] else "bf16"


def _fastest_steps(
    trials: Mapping[str, Trainer], num_threads: int, clock: Callable[[], float], rounds: int
) -> dict[str, float]:
    """Seconds of each trainer's fastest step by that clock: the first of each is not counted."""
    least = dict.fromkeys(trials, float("inf"))
    end = time.perf_counter() + MOST_SECONDS
    with on_threads(num_threads):
        for trainer in trials.values():
            trainer.take_step()  # Which chooses its kernels.
        for _ in range(rounds):
            for name, trainer in trials.items():
                least[name] = min(least[name], _seconds(trainer.take_step, clock))
            if time.perf_counter() > end or least["fp32"] > CLEAR * least["bf16"]:
                break
    return least


def choose_threads(config: Config, lanes: Lanes, vocab_size: int, device: torch.device) -> int:
    """Processor threads for a configuration with a number of steps: what it says, or for `auto` what is measured.

    All threads, unmeasured, where there is one, for fewer than LEAST_STEPS steps, and on a device that is not a CPU.
    """
    most = torch.get_num_threads() if config.threads == "auto" else config.threads
    num_steps = resolved(config.steps or 0)
    if config.threads != "auto" or most == 1 or num_steps < LEAST_STEPS or device.type != "cpu":
        return most
    trainer = _trial(config, lanes, vocab_size, device)
    # On one thread, because the time of the others says little beside a neighbour.
    one_step = _warm_up(trainer, 1)
    budget = num_steps * one_step * resolved(config.bptt_length) / resolved(trainer.config.bptt_length)
    seconds = min(MOST_SECONDS, SHARE * budget)
    return _fastest(_measure(trainer, _candidates(most), seconds)) if one_step <= seconds else most


def measure_step(
    config: Config, lanes: Lanes, vocab_size: int, device: torch.device, seconds: float
) -> tuple[float, int]:
    """Seconds of one step and the threads to take it on, measured for about `seconds` on a trainer of its own.

    The seconds are the lower quartile of those on the threads chosen, not the median: a neighbour that was busy for
    these few seconds would otherwise cost the whole run its steps.
    """
    trainer = _trial(config, lanes, vocab_size, device, resolved(config.bptt_length))
    most = torch.get_num_threads() if config.threads == "auto" else config.threads
    one_step = _warm_up(trainer, most)
    is_chosen = config.threads != "auto" or device.type != "cpu"
    candidates = [most] if is_chosen else [n for n in _candidates(most) if n == most or one_step * most / n <= seconds]
    times = _measure(trainer, candidates, seconds)
    chosen = _fastest(times)
    return float(np.quantile(times[chosen], 0.25)), chosen


def _trial(config: Config, lanes: Lanes, vocab_size: int, device: torch.device, length: int | None = None) -> Trainer:
    """A new trainer on windows of `length` characters; by default shorter than those of the run for a large model."""
    if length is None:
        per_character = 6 * lanes.num_lanes * num_recurrent_weights(config)
        affordable = max(SHORTEST_WINDOW, int(OPERATIONS_MEASURED / per_character))
        length = min(affordable, resolved(config.bptt_length))
    # A dropout that is not chosen yet takes the same time at any share, and a step at any learning rate.
    shares: dict[str, Any] = {name: 0.1 for name in ("dropout", "input_dropout") if getattr(config, name) == "auto"}
    trial = replace(
        config, minutes=None, epochs=None, steps=10**6, bptt_length=length, learning_rate=TRIAL_RATE, **shares
    )
    with on_threads(1):  # Drawing weights on several takes no less time, and long beside a neighbour.
        return Trainer(trial, lanes, vocab_size, device)


def _warm_up(trainer: Trainer, num_threads: int) -> float:
    """Seconds of a trainer's second step; the first chooses its kernels."""
    with on_threads(num_threads):
        trainer.take_step()
        return _seconds(trainer.take_step)


def _candidates(most: int) -> list[int]:
    """All threads, all but one, and one alone.

    Beside a busy neighbour fewer are faster: the others would wait at every operation for the thread that shares its
    core.
    """
    return list(dict.fromkeys((most, max(1, most - 1), 1)))


def _measure(trainer: Trainer, candidates: list[int], seconds: float) -> dict[int, list[float]]:
    """Seconds of steps on each number of threads, in turn, for so many seconds: three, if they fit into twice that."""
    times: dict[int, list[float]] = {num_threads: [] for num_threads in candidates}
    begin = time.perf_counter()
    while True:
        for num_threads, taken in times.items():
            with on_threads(num_threads):
                taken.append(_seconds(trainer.take_step))
        least = seconds if len(times[candidates[0]]) >= 3 else 2 * seconds
        if time.perf_counter() - begin >= least:
            return times


def _fastest(times: Mapping[int, list[float]]) -> int:
    """The number of threads with the shortest median; the first, unless another is faster by `MIN_SPEEDUP`."""
    most = next(iter(times))
    fastest = min(times, key=lambda num_threads: np.median(times[num_threads]))
    return fastest if np.median(times[fastest]) * MIN_SPEEDUP < np.median(times[most]) else most


def _seconds(step: Callable[[], object], clock: Callable[[], float] | None = None) -> float:
    clock = clock or time.perf_counter
    begin = clock()
    step()
    return clock() - begin

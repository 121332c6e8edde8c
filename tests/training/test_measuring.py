"""What is chosen or measured before a run begins: seconds of a step, the number of threads, the
precision.
"""

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hand_built import small_config

from charrnn.model import device
from charrnn.text.batches import BatchRows
from charrnn.training import measuring
from charrnn.training.measuring import Computing, choose_threads, time_trial_steps
from charrnn.training.plan import with_precision
from charrnn.training.trainer import Trainer

V, B = 9, 6
CPU = torch.device("cpu")


def make_config(**changes):
    return small_config(**{"num_layers": 1, "steps": 1000, "batch_size": B, **changes})


def make_batches():
    return BatchRows(np.random.default_rng(1).integers(0, V, 300).astype(np.uint16), B)


def measured(**changes):
    """Return the seconds of a step, the threads, and what was computed with."""
    config = make_config(**{"steps": None, "minutes": 1.0, "threads": 1, **changes})
    computing = Computing(CPU)
    return *time_trial_steps(config, make_batches(), V, computing, 0.5), computing


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def clock(monkeypatch):
    """Let steps take the seconds that a function of their trainer says; returns the trainers of the
    steps taken."""

    def install(seconds_of):
        now, stepped = 1000.0, []  # a clock counts from any time

        def take_step(self):
            nonlocal now
            stepped.append(self)
            now += seconds_of(self)

        monkeypatch.setattr(Trainer, "take_step", take_step)
        monkeypatch.setattr(time, "perf_counter", lambda: now)
        return stepped

    return install


@pytest.mark.parametrize("dropout", ["auto", 0.0])
def test_a_step_is_measured_on_a_trainer_of_its_own(dropout, monkeypatch):
    ticks = itertools.count(1000)
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) / 100)
    trainer = Trainer(make_config(), make_batches(), V, CPU)
    twin = Trainer(make_config(), make_batches(), V, CPU)
    config = make_config(dropout=dropout, steps=None, minutes=1.0)
    state_of_torch = torch.get_rng_state()
    seconds, threads = time_trial_steps(config, trainer.batches, V, Computing(CPU), 0.05)
    assert seconds == pytest.approx(0.01), "a tick for each step"
    assert torch.equal(torch.get_rng_state(), state_of_torch)
    assert [trainer.take_step() for _ in range(2)] == [twin.take_step() for _ in range(2)]
    # As many as are fastest, and for so small a model that may be one of several.
    assert 1 <= threads <= torch.get_num_threads()


def test_a_step_takes_the_lower_quartile_of_the_measured_seconds(clock):
    """Six of ten steps are delayed by other processes, and one is faster than it will be again."""
    durations = itertools.cycle([0.0002, *[0.001] * 3, *[0.005] * 6])
    stepped = clock(lambda trainer: next(durations))
    seconds, *_ = measured()
    assert seconds == pytest.approx(0.001), "neither the median nor the fastest"
    assert 140 < len(stepped) < 160, "half a second of steps of 3.3 ms"


@pytest.mark.parametrize("paused", [2, 3, 4, 9])
def test_a_pause_in_one_step_decides_nothing(clock, paused):
    """The first two steps are not measured; for the next ones, the process is stopped once."""
    numbers = itertools.count()
    clock(lambda trainer: 30.0 if next(numbers) == paused else 0.05)
    seconds, _, _ = measured()
    assert seconds == pytest.approx(0.05)
    assert next(numbers) >= 10, "as many as without the pause"


def test_minutes_take_the_fastest_threads(monkeypatch, four_threads, clock):
    for asked, weights, milliseconds, expected in (
        ("auto", 10**3, {4: 10, 3: 9.5, 1: 30}, 4),
        ("auto", 10**3, {4: 40, 3: 36, 1: 30}, 1),
        (2, 10**3, {2: 40}, 2),
        (
            "auto",
            10**10,
            {4: 40},
            4,
        ),  # a step on fewer would take longer than all that is to be measured
    ):
        monkeypatch.setattr(
            measuring, "num_recurrent_weights", lambda config, weights=weights: weights
        )
        clock(
            lambda trainer, milliseconds=milliseconds: milliseconds[torch.get_num_threads()] / 1000
        )
        seconds, threads, _ = measured(threads=asked)
        assert threads == expected and seconds == pytest.approx(milliseconds[expected] / 1000)
        assert torch.get_num_threads() == 4


def test_steps_take_a_thread_for_every_32_units(four_threads):
    for asked, units, expected in (("auto", 12, 1), ("auto", 64, 2), ("auto", 512, 4), (3, 12, 3)):
        assert choose_threads(make_config(threads=asked, hidden_size=units)) == expected


def test_auto_is_bf16_for_128_units_where_the_processor_has_it(monkeypatch):
    for precision, units, has_instructions, expected in (
        ("fp32", 512, True, "fp32"),
        ("fp16", 12, False, "fp16"),
        ("auto", 512, False, "fp32"),
        ("auto", 128, True, "bf16"),
        ("auto", 127, True, "fp32"),
    ):
        for module in (device, measuring):
            monkeypatch.setattr(
                module, "has_fast_bf16", lambda device, is_fast=has_instructions: is_fast
            )
        config = make_config(precision=precision, hidden_size=units)
        assert with_precision(config, CPU).precision == expected
        is_slow = precision == "fp32" or not has_instructions
        rate = measuring.assumed_rate(replace(config, threads=4), Computing(CPU))
        assert rate == 2 * measuring.CPU_RATE * (measuring.FP32_SHARE if is_slow else 1), (
            "of four threads"
        )
        four = Computing(torch.device("cuda"), num_processes=4)
        assert measuring.assumed_rate(config, four) == 2 * measuring.GPU_RATE
        assert with_precision(config, torch.device("cuda")).precision == (
            "bf16" if units == 127 else expected
        )

"""What is measured before a run begins: seconds of a step, the number of threads, the precision."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hand_built import small_config

from charrnn.config import Config
from charrnn.text.batches import BatchRows
from charrnn.training import measuring
from charrnn.training.measuring import MIN_BUDGET_SECONDS, MIN_STEPS, choose_precision, choose_threads, measure_step
from charrnn.training.trainer import Trainer

V, B = 9, 6
CPU = torch.device("cpu")


def make_config(**changes: Any) -> Config:
    return small_config(**{"num_layers": 1, "steps": 1000, "num_lanes": B, **changes})


def make_batches() -> BatchRows:
    return BatchRows(np.random.default_rng(1).integers(0, V, 300).astype(np.uint16), B)


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


Clock = Callable[[Callable[[Trainer], float]], list[Trainer]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let steps take the seconds that a function of their trainer says; returns the trainers of the steps taken."""

    def install(seconds_of: Callable[[Trainer], float]) -> list[Trainer]:
        now, stepped = 1000.0, []  # a clock counts from any time

        def take_step(self: Trainer) -> None:
            nonlocal now
            stepped.append(self)
            now += seconds_of(self)

        monkeypatch.setattr(Trainer, "take_step", take_step)
        monkeypatch.setattr(time, "perf_counter", lambda: now)
        monkeypatch.setattr(time, "thread_time", lambda: now)
        return stepped

    return install


def by_threads(milliseconds: dict[int, float]) -> Callable[[Trainer], float]:
    return lambda trainer: milliseconds[torch.get_num_threads()] / 1000


@pytest.mark.parametrize("dropout", ["auto", 0.0])
def test_a_step_is_measured_on_a_trainer_of_its_own(dropout: float | str) -> None:
    trainer, twin = (Trainer(make_config(), make_batches(), V, CPU) for _ in range(2))
    config = make_config(dropout=dropout, steps=None, minutes=1.0)
    state_of_torch = torch.get_rng_state()
    begin = time.perf_counter()
    seconds, threads = measure_step(config, trainer.batches, V, CPU, 0.05)
    assert 0 < seconds <= (time.perf_counter() - begin) / 3
    assert torch.equal(torch.get_rng_state(), state_of_torch)
    assert [trainer.take_step() for _ in range(2)] == [twin.take_step() for _ in range(2)]
    # As many as are fastest, and for so small a model that may be one of several.
    assert 1 <= threads <= torch.get_num_threads()


def test_a_step_takes_the_lower_quartile_of_the_measured_seconds(clock: Clock) -> None:
    """Six of ten steps are delayed by other processes, and one is faster than it will be again."""
    durations = itertools.cycle([0.0002, *[0.001] * 3, *[0.005] * 6])
    stepped = clock(lambda trainer: next(durations))
    config = make_config(steps=None, minutes=1.0, threads=1)
    seconds, _ = measure_step(config, make_batches(), V, CPU, 0.5)
    assert seconds == pytest.approx(0.001), "neither the median nor the fastest"
    assert 140 < len(stepped) < 160, "half a second of steps of 3.3 ms"


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [({4: 10, 3: 9.5, 1: 30}, 4), ({4: 40, 3: 12, 1: 30}, 3)],
)
def test_a_budget_in_steps_takes_the_fastest_threads_too(
    four_threads: None, clock: Clock, milliseconds: dict[int, float], expected: int
) -> None:
    stepped = clock(by_threads(milliseconds))
    assert choose_threads(make_config(), make_batches(), V, CPU) == expected
    seconds, threads = measure_step(make_config(steps=None, minutes=1.0), make_batches(), V, CPU, 0.5)
    assert threads == expected and seconds == pytest.approx(milliseconds[expected] / 1000)
    stepped.clear()
    choose_threads(make_config(), make_batches(), V, CPU)
    assert torch.get_num_threads() == 4
    assert len(stepped) * min(milliseconds.values()) < 700, "about half a second of steps"


@pytest.mark.parametrize(
    ("changes", "available", "expected"),
    [
        ({"threads": 2}, 4, 2),  # what is asked for
        ({}, 1, 1),  # nothing to choose from
        ({"steps": MIN_STEPS - 1}, 4, 4),  # over before it could pay
    ],
)
def test_threads_are_not_measured_where_there_is_nothing_to_gain(
    four_threads: None, clock: Clock, changes: dict[str, Any], available: int, expected: int
) -> None:
    torch.set_num_threads(available)
    stepped = clock(lambda trainer: 0.01)
    assert choose_threads(make_config(**changes), make_batches(), V, CPU) == expected
    assert stepped == []


@pytest.mark.parametrize(
    ("alone", "together", "expected"),
    [
        ((10, 40), None, "bf16"),  # so clear that threads are not tried
        ((10, 9.5), (8, 7.5), "bf16"),  # within what a short measurement may be wrong by
        ((10, 14), (8, 7), "fp32"),  # threads gain the larger products more
        ((10, 14), (800, 9.5), "bf16"),  # a neighbour delayed bf16: it would be trained on one thread
        ((10, 5), (80, 90), "fp32"),
    ],
)
def test_bf16_is_taken_unless_fp32_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch,
    four_threads: None,
    clock: Clock,
    alone: tuple[float, float],
    together: tuple[float, float] | None,
    expected: str,
) -> None:
    """Milliseconds in bf16 and fp32, on one thread and on all four."""
    monkeypatch.setattr(measuring, "has_fast_bf16", lambda device: True)
    milliseconds = {1: alone, 4: together}

    def seconds_of(trainer: Trainer) -> float:
        pair = milliseconds[torch.get_num_threads()]
        assert pair is not None
        return pair[trainer.config.precision == "fp32"] / 1000

    stepped = clock(seconds_of)
    assert choose_precision(make_config(precision="auto"), make_batches(), V, CPU) == expected
    assert {trainer.config.precision for trainer in stepped} == {"bf16", "fp32"}
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize(
    ("changes", "has_instructions", "expected"),
    [
        ({"precision": "fp32"}, True, "fp32"),
        ({"precision": "bf16"}, False, "bf16"),
        ({"precision": "auto"}, False, "fp32"),
        ({"precision": "auto", "steps": MIN_STEPS - 1}, True, "bf16"),
        ({"precision": "auto", "hidden_size": measuring.LARGE_UNITS}, True, "bf16"),
        ({"precision": "auto", "steps": None, "epochs": 1.0}, True, "bf16"),  # 8 steps
        ({"precision": "auto", "steps": None, "minutes": MIN_BUDGET_SECONDS / 61}, True, "bf16"),
    ],
)
def test_precision_is_not_measured_where_there_is_nothing_to_gain(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, changes: dict[str, Any], has_instructions: bool, expected: str
) -> None:
    monkeypatch.setattr(measuring, "has_fast_bf16", lambda device: has_instructions)
    stepped = clock(lambda trainer: 0.01)
    assert choose_precision(make_config(**changes), make_batches(), V, CPU) == expected
    assert stepped == []

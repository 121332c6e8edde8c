"""Runs that differ in the seed alone: what is a group, its figures, and what is printed of it."""

import math
from dataclasses import replace

import pytest

from charrnn.config.settings import Config
from charrnn.evaluation.seed_groups import group_by_seed

SMALL = Config(cell_type="lstm", hidden_size=8, dropout=0.1, steps=9)
LARGE = replace(SMALL, hidden_size=16, dropout=0.2)


def runs_of(*settings):
    """The configuration of each run by its name: its number in the call."""
    return {f"run-{number}": config for number, config in enumerate(settings)}


def seeds_of(config, *seeds):
    return [replace(config, seed=seed) for seed in seeds]


def test_a_group_has_students_interval_and_a_difference_welchs():
    configs = runs_of(*seeds_of(SMALL, 0, 1, 2), *seeds_of(LARGE, 0, 1, 2))
    losses = dict(zip(configs, (1.0, 2.0, 6.0, 3.0, 4.0, 5.0), strict=True))
    small, large = group_by_seed(configs, losses)

    assert (small.name, large.name) == ("hidden_size=8", "hidden_size=16")
    assert small.runs == ("run-0", "run-1", "run-2")
    assert small.seeds == (0, 1, 2)
    assert (small.nats.mean, small.smallest, small.largest) == (3.0, 1.0, 6.0)
    # The variance of 1, 2, 6 is 7, and 4.302653 is Student's t for two degrees of freedom.
    assert small.nats.half_width == pytest.approx(4.302653 * math.sqrt(7 / 3), rel=1e-6)
    assert small.difference is None

    # Welch's degrees of freedom for variances 7 and 1 of three values each: (8/3)² / (50/18).
    freedom = 2 * 64 / 50
    assert large.difference.mean == pytest.approx(1.0)
    half = large.difference.half_width
    assert half == pytest.approx(t_by_bisection(freedom) * math.sqrt(8 / 3), rel=1e-4)


def t_by_bisection(freedom):
    """The t for which |T| <= t has probability 0.95, by the trapezoidal rule."""
    constant = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2)
    constant /= math.sqrt(freedom * math.pi)
    step = 1e-4
    reached = 0.0
    t = 0.0
    while reached < 0.95:
        density = constant * (1 + (t + step / 2) ** 2 / freedom) ** (-(freedom + 1) / 2)
        reached += 2 * step * density
        t += step
    return t


@pytest.mark.parametrize(
    "settings, sizes",
    [
        ([SMALL, LARGE], []),
        ([SMALL, SMALL], []),
        ([*seeds_of(SMALL, 0, 1), LARGE], [2, 1]),
        ([*seeds_of(SMALL, 0, 1), LARGE, LARGE], [2]),
        ([SMALL, replace(SMALL, seed=1, threads=4, keep=9, save_every=3)], [2]),
        ([SMALL, replace(SMALL, seed=1, steps=10)], []),
    ],
)
def test_what_is_a_group(settings, sizes):
    losses = dict.fromkeys(map("run-{}".format, range(4)), 1.0)
    found = group_by_seed(runs_of(*settings), losses)
    assert [len(group.runs) for group in found] == sizes
    assert [group.nats.low is None for group in found] == [size < 2 for size in sizes]


def test_bytes_and_characters_have_no_difference():
    configs = runs_of(*seeds_of(SMALL, 0, 1), *seeds_of(replace(SMALL, alphabet="byte"), 0, 1))
    found = group_by_seed(configs, dict.fromkeys(configs, 1.0))
    assert [group.difference for group in found] == [None, None]

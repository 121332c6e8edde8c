"""Intervals over few seeds, against naive formulas and the coverage they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from charrnn.scale.sweep.seed_statistics import mean_interval, paired_difference, welch_difference


def test_an_interval_is_the_mean_and_t_standard_errors() -> None:
    estimate = mean_interval([1.0, 2.0, 6.0])
    half = 4.302653 * math.sqrt(7.0) / math.sqrt(3)
    assert estimate.mean == 3.0
    assert (estimate.low, estimate.high) == (pytest.approx(3 - half, rel=1e-6), pytest.approx(3 + half, rel=1e-6))


def test_one_value_has_no_interval() -> None:
    assert mean_interval([2.0]).low is None
    assert welch_difference([2.0], [1.0, 1.5]).high is None


def test_pairs_remove_what_they_share() -> None:
    # The seeds differ by whole nats, the settings by 0.1: only pairs show it.
    reference = [1.0, 2.0, 3.0]
    values = [1.11, 2.10, 3.09]
    paired, welch = paired_difference(values, reference), welch_difference(values, reference)
    assert paired.mean == pytest.approx(welch.mean) == pytest.approx(0.1)
    assert paired.low is not None and paired.low > 0
    assert welch.low is not None and welch.low < 0


def test_welch_takes_the_degrees_of_freedom_of_the_more_variable_group() -> None:
    exact = [1.0, 1.0, 1.0]
    estimate = welch_difference([2.0, 3.0, 7.0], exact)
    alone = mean_interval([2.0, 3.0, 7.0])
    assert estimate.low is not None and alone.low is not None
    assert estimate.low == pytest.approx(alone.low - 1)
    assert welch_difference(exact, exact).high == 0


def test_intervals_cover_the_mean_as_often_as_they_promise() -> None:
    draws = np.random.default_rng(0).normal(5.0, 2.0, (2000, 3))
    intervals = [mean_interval(list(values)) for values in draws]
    covered = np.mean([e.low is not None and e.high is not None and e.low <= 5 <= e.high for e in intervals])
    # Of 2000 draws, 95 % have a standard error of 0.5 %.
    assert abs(covered - 0.95) < 0.02

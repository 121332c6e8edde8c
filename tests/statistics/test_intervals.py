"""Intervals of means: what they are computed from, and how often they contain it. M values, K
blocks."""

import math

import numpy as np
import pytest

from charrnn.statistics.intervals import (
    MAX_BLOCKS,
    MIN_VALUES,
    BlockSums,
    draw_counts,
    estimate,
    num_blocks_of,
    t_quantile,
)


def test_quantiles_are_those_of_the_tables():
    # Two-sided 95 % points of Student's t by degrees of freedom, as statistics tables have them; a
    # fraction of a degree is what Welch's formula gives.
    published = {1: 12.706, 2: 4.303, 3: 3.182, 5: 2.571, 9: 2.262, 29: 2.045, 120: 1.980}
    assert {freedom: t_quantile(freedom) for freedom in published} == pytest.approx(
        published, abs=5e-4
    )
    assert t_quantile(1e7) == pytest.approx(1.959964, abs=1e-5), "the normal quantile"
    assert t_quantile(1.5) == pytest.approx(6.016663104)
    assert t_quantile(7.3) == pytest.approx(2.345066737)


@pytest.mark.parametrize("num_values", [1, 99, 1000, 1001, 12_345, 1_234_567])
def test_blocks_grow_with_the_text_and_no_value_is_lost(num_values):
    blocks = BlockSums.of(np.ones(num_values, np.float32))
    assert (
        len(blocks.counts)
        == num_blocks_of(num_values)
        == max(1, min(MAX_BLOCKS, num_values // 100))
    )
    assert blocks.num_values == num_values
    assert np.array_equal(blocks.sums, blocks.counts)
    assert blocks.counts.max() - blocks.counts.min() <= 1


def test_the_interval_is_that_of_resampled_blocks():
    values = np.repeat(np.random.default_rng(1).normal(size=20), 150) + np.random.default_rng(
        2
    ).normal(size=3000)
    blocks = BlockSums.of(values)
    parts = values.reshape(20, 150)
    assert blocks.sums == pytest.approx(parts.sum(axis=1))
    means = [np.repeat(parts, drawn, axis=0).mean() for drawn in draw_counts(20).astype(int)]
    low, high = blocks.interval() or (0, 0)
    # Student's t with 19 degrees of freedom is wider than the normal distribution: 2.093 against
    # 1.960.
    tail = np.mean(np.array(means) < low), np.mean(np.array(means) > high)
    assert tail == pytest.approx(
        (0.0159, 0.0159), abs=0.002
    )  # the normal tail beyond 2.093 * sqrt(20 / 19)
    assert low < values.mean() < high


def test_a_text_too_short_has_no_interval():
    values = np.random.default_rng(0).normal(size=MIN_VALUES)
    assert BlockSums.of(values).interval() is not None
    assert BlockSums.of(values[1:]).interval() is None
    assert BlockSums(np.ones(100), np.r_[np.ones(9), np.zeros(91)]).interval() is None, (
        "9 blocks with any value"
    )


def test_paired_differences_need_the_same_blocks():
    first, second = np.random.default_rng(0).normal(size=(2, 5000))
    difference = BlockSums.of(first) - BlockSums.of(second)
    assert difference.mean == pytest.approx((first - second).mean())
    assert (BlockSums.of(first) - BlockSums.of(first)).interval() == (0.0, 0.0)
    with pytest.raises(ValueError, match="not paired"):
        BlockSums.of(first) - BlockSums.of(second[1:])


@pytest.mark.parametrize("num_values, correlation", [(MIN_VALUES, 0.0), (3000, 0.9)])
def test_the_interval_of_correlated_values_contains_the_mean(num_values, correlation):
    innovations = np.random.default_rng(3).normal(size=(num_values, 300))
    values = np.empty_like(innovations)
    values[0] = innovations[0] / np.sqrt(1 - correlation**2)
    for n in range(1, num_values):
        values[n] = correlation * values[n - 1] + innovations[n]
    intervals = [BlockSums.of(column).interval() or (0, 0) for column in values.T]
    coverage = np.mean([low <= 0 <= high for low, high in intervals])
    # 95 % of 300 have a standard error of 1.3 %. A bootstrap over characters would reach 35 % for
    # 0.9, 25 % for 0.95: the standard error of the mean is sqrt((1 + r) / (1 - r)) times that of
    # independent values.
    assert 0.91 <= coverage <= 0.985


def test_the_interval_is_students_of_one_group_and_welchs_of_two():
    one = estimate(3.0, [1.0, 2.0, 6.0])
    half = 4.302653 * math.sqrt(7.0) / math.sqrt(3)
    assert one.low == pytest.approx(3 - half, rel=1e-6)
    assert one.high == pytest.approx(3 + half, rel=1e-6)
    # A group without variance adds none, and has no degrees of freedom.
    assert estimate(2.0, [1.0, 2.0, 6.0], [1.0] * 3).low == pytest.approx(2 - half, rel=1e-6)
    # Two of equal variance have four.
    half = 2.776445 * math.sqrt(2 / 3)
    assert estimate(2.0, [3.0, 4.0, 5.0], [1.0, 2.0, 3.0]).high == pytest.approx(2 + half, rel=1e-6)


def test_an_interval_needs_two_values_and_is_empty_where_all_are_alike():
    assert estimate(2.0, [2.0]).low is estimate(0.8, [2.0], [1.0, 1.5]).high is None
    assert estimate(0.0, [1.0, 1.0], [1.0, 1.0]).high == 0

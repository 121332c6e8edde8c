"""95 % intervals: of means of few values by Student's t, of statistics of a text by a bootstrap
over its blocks.

Neighbouring characters are not independent: a passage such as a name or a quotation in another
language makes all of its characters unlikely. Blocks that are longer than such a passage are nearly
independent. So whole blocks are drawn with replacement (Künsch 1989, The jackknife and the
bootstrap for general stationary observations), here blocks without an overlap (Carlstein 1986).

One rule serves all statistics: `num_blocks_of` says how many blocks a text has, `draw_counts` draws
them, and `percentiles` makes an interval of the statistics of all resamples.

Shapes: M values in the order of the text, K blocks, R resamples, S sums.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, variance
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.system.arrays import Float64Array, Int64Array

Interval = tuple[float, float]
"""The ends of an interval."""
LEVEL = 0.95
"""Coverage of every interval."""


@lru_cache
def t_quantile(freedom: float) -> float:
    """Return the t for which |T| ≤ t has probability `LEVEL`, T being Student's with `freedom` ≥ 1
    degrees."""
    # Computed here, because nothing else needs SciPy, which has it.
    nodes, weights = np.polynomial.legendre.leggauss(100)
    log_constant = (
        math.lgamma((freedom + 1) / 2)
        - math.lgamma(freedom / 2)
        - 0.5 * math.log(freedom * math.pi)
    )

    def density(t: float | Float64Array) -> Float64Array:
        return np.exp(log_constant - (freedom + 1) / 2 * np.log1p(np.square(t) / freedom))

    # Newton's method, which never passes the solution because the density falls.
    t = 0.0
    step = 1.0
    while step > 1e-12 * t:
        # The probability of |T| ≤ t, twice the integral from 0 to t, by Gauss-Legendre quadrature,
        # which is exact to rounding for so smooth a function.
        reached = t * float(weights @ density(t * (1 + nodes) / 2))
        step = (LEVEL - reached) / (2 * float(density(t)))
        t += step
    return t


NUM_RESAMPLES = 2000
"""R: the ends of an interval then vary by some 2 % of its width with the random numbers."""
MIN_BLOCKS = 10
"""The fewest blocks that an interval is computed from."""
MAX_BLOCKS = 20
"""The most blocks. More would be shorter: the losses of a text vary from passage to passage at
every scale, and longer blocks contain more of this variation (benchmarks/LOG.md)."""
MIN_BLOCK_LENGTH = 100
"""Characters of a block, at least: about two lines."""
MIN_VALUES = MIN_BLOCKS * MIN_BLOCK_LENGTH
"""The fewest values that the interval of a mean is computed from."""


def num_blocks_of(num_values: int, min_length: int = MIN_BLOCK_LENGTH) -> int:
    """Return K: as many blocks as have `min_length` values, in 1..MAX_BLOCKS.

    The length of a block thus grows with the text, so that it contains ever longer passages that
    are alike; the number of blocks does not need to grow (Schmeiser 1982, Batch size effects in the
    analysis of simulation output).
    """
    return max(1, min(MAX_BLOCKS, num_values // min_length))


@dataclass(frozen=True, eq=False)
class BlockSums:
    """The sum of the values of each of K blocks of a text, and the number of values in each.

    It is all that must be kept of the losses of a long text for a mean with an interval. The
    difference of two is that of two models, if both have the same blocks.
    """

    sums: Float64Array
    """(K,)"""
    counts: Float64Array
    """(K,): at least 0."""

    @classmethod
    def zeros(cls, num_blocks: int) -> "BlockSums":
        """Start without any value; see `add`.

        Use it for values that come in any order, block numbers with them; `of` takes an array that
        is there.
        """
        return cls(np.zeros(num_blocks), np.zeros(num_blocks))

    def add(self, values: NDArray[np.number | np.bool_], blocks: Int64Array) -> None:
        """Add values of any shape, in place, each to the block with the index in `blocks`."""
        self.sums[:] += np.bincount(
            blocks.ravel(), weights=values.ravel(), minlength=len(self.sums)
        )
        self.counts[:] += np.bincount(blocks.ravel(), minlength=len(self.counts))

    @classmethod
    def of(cls, values: NDArray[np.number | np.bool_]) -> "BlockSums":
        """Divide values (M,), at least one, into `num_blocks_of(M)` blocks of equal length."""
        num_values = len(values)
        num_blocks = num_blocks_of(num_values)
        # Rounded up, so that value i is in block i * K // M.
        starts = -(-np.arange(num_blocks) * num_values // num_blocks)
        sums = np.add.reduceat(values, starts, dtype=np.float64)
        return cls(sums, np.diff(starts, append=num_values).astype(np.float64))

    @property
    def mean(self) -> float:
        """The mean of all values."""
        return float(self.sums.sum() / self.counts.sum())

    @property
    def num_values(self) -> int:
        """How many values there are."""
        return int(self.counts.sum())

    def __sub__(self, other: "BlockSums") -> "BlockSums":
        """Return the sums of the differences, value by value. Raises ValueError for blocks of other
        lengths."""
        if not np.array_equal(self.counts, other.counts):
            raise ValueError("the values are not paired: their blocks have other lengths")
        return BlockSums(self.sums - other.sums, self.counts)

    def interval(self) -> Interval | None:
        """Compute the 95 % interval of the mean; None if under MIN_BLOCKS blocks have any value.

        The generator is seeded: the same values give the same interval.
        """
        has_values = self.counts > 0
        num_blocks = int(has_values.sum())
        if num_blocks < MIN_BLOCKS:
            return None

        # A resample is a choice of blocks, so its mean needs only their sums.
        draws = draw_counts(num_blocks)
        num_drawn = draws @ self.counts[has_values]

        # All sums are taken about the mean, because a small difference of large sums would lose
        # digits.
        centred = self.sums[has_values] - self.mean * self.counts[has_values]
        return percentiles(self.mean + (draws @ centred) / num_drawn, num_blocks)


class DrawnBlocks(NamedTuple):
    """The blocks of a text, and resamples of them."""

    blocks: Int64Array
    """(N,): the block of each character."""
    draws: Float64Array
    """(R, K): how often each resample draws each block."""


def draw_blocks(num_chars: int) -> DrawnBlocks:
    """Divide a text into blocks, and draw resamples of them, for an interval of a statistic whose
    characters depend on each other.

    The draws are the same for every statistic of a text, so that differences of two statistics can
    be taken resample by resample.
    """
    num_blocks = _num_blocks_drawn(num_chars)
    blocks = np.arange(num_chars) * num_blocks // num_chars
    return DrawnBlocks(blocks, draws=draw_counts(num_blocks))


def _num_blocks_drawn(num_chars: int) -> int:
    """Return K: `num_blocks_of` the text, but at least MIN_BLOCKS. A short text has shorter
    blocks."""
    return max(MIN_BLOCKS, num_blocks_of(num_chars))


def resample_sums(*values: NDArray[np.number | np.bool_]) -> Float64Array:
    """Return the sums (S, R) of S times values (N,) of a text in each resample of its blocks.

    It serves statistics that are sums, such as shares.
    """
    blocks, draws = draw_blocks(len(values[0]))
    num_blocks = draws.shape[1]
    sums = [np.bincount(blocks, weights=weights, minlength=num_blocks) for weights in values]
    return np.asarray(np.stack(sums) @ draws.T)


def interval_of(estimates: Float64Array, num_chars: int) -> Interval:
    """Return the 95 % interval of a statistic from its estimates (R,) in the resamples of a text.

    It takes what `agreement.resample_score` returns; `percentiles` needs the number of blocks with
    it, for estimates of one's own.
    """
    return percentiles(estimates, _num_blocks_drawn(num_chars))


@lru_cache
def draw_counts(num_blocks: int) -> Float64Array:
    """Return how often each resample draws each block (R, K): K times in all, by a seeded
    generator.

    It says how often each block counts, for a statistic that is a ratio of sums; `draw_blocks` also
    says which character is in which block.
    """
    # In float64, which holds these counts exactly: NumPy has no fast product of integers.
    shares = np.full(num_blocks, 1 / num_blocks)
    drawn = np.random.default_rng(0).multinomial(num_blocks, shares, size=NUM_RESAMPLES)
    draws = drawn.astype(np.float64)
    draws.setflags(write=False)
    return draws


def percentiles(estimates: Float64Array, num_blocks: int) -> Interval:
    """Return the 95 % interval of a statistic from its resampled estimates (R,).

    Where blocks are few, the 2.5th and the 97.5th percentile lie too close together. They are taken
    further out, as far as Student's t distribution with K - 1 degrees of freedom is wider than the
    normal distribution (Hesterberg 2015, What teachers should know about the bootstrap, section
    4.2).
    """
    widening = math.sqrt(num_blocks / (num_blocks - 1))
    tail = NormalDist().cdf(-widening * t_quantile(num_blocks - 1))
    low, high = np.quantile(estimates, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean with its 95 % interval, which is None where there are too few values for it.

    A difference of two models is one: it counts only where `low` and `high` have the same sign.
    """

    mean: float
    """The mean of the values."""
    low: float | None = None
    """The lower end of the interval."""
    high: float | None = None
    """The upper end of the interval."""

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval.

        It is the number behind ± in a table.
        """
        if self.low is None:
            return None
        return self.mean - self.low


def estimate(mean: float, *groups: Sequence[float]) -> Estimate:
    """Return the 95 % interval of the mean of a group of independent values (Student 1908), or of
    the difference of the means of two groups whose variances differ (Welch 1947).

    Runs with other seeds are independent, and need it. The characters of a text are not: their mean
    has `BlockSums.interval`.
    """
    # Seeds are drawn independently, unlike the characters of a text, so no blocks are needed. The
    # runs with the same seed are not treated as pairs: with three seeds, pairs leave two degrees of
    # freedom, and the interval is wider unless the pairs are correlated by more than 0.58.
    if min(map(len, groups)) < 2:
        return Estimate(mean=mean)

    # If all seeds give the same loss, there is nothing to estimate.
    variances = [variance(group) / len(group) for group in groups]
    if not any(variances):
        return Estimate(mean=mean, low=mean, high=mean)

    # Welch's formula gives the degrees of freedom; for a single group it is n - 1.
    terms = []
    for group_variance, group in zip(variances, groups, strict=True):
        terms.append(group_variance**2 / (len(group) - 1))
    freedom = sum(variances) ** 2 / sum(terms)
    half = t_quantile(freedom) * math.sqrt(sum(variances))
    return Estimate(mean=mean, low=mean - half, high=mean + half)

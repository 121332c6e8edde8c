"""95 % intervals: of means of few values by Student's t, of means over a text by resampling blocks
of it (Künsch 1989).

Neighbouring characters are not independent: what makes one unlikely, such as a name or a quotation
in another language, makes the next one unlikely, too. Blocks that are longer than such a passage
are nearly independent.

Shapes: M values in the order of the text, K blocks.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

    def density(t: Any) -> Any:
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


Float64Array = NDArray[np.float64]

NUM_RESAMPLES = 2000
"""Resamples of an interval of a mean: its ends then vary by some 2 % of its width with the random
numbers."""
MIN_BLOCKS = 10
"""The fewest blocks that an interval is computed from."""
MAX_BLOCKS = 20
"""The most blocks. More would be shorter: the losses of a text vary from passage to passage at
every scale, and longer blocks contain more of that (benchmarks/LOG.md)."""
MIN_BLOCK_LENGTH = 100
"""Characters of a block, at least: about two lines."""
MIN_VALUES = MIN_BLOCKS * MIN_BLOCK_LENGTH
"""The fewest values that an interval is computed from."""


def num_blocks_of(num_values: int, min_length: int = MIN_BLOCK_LENGTH) -> int:
    """Return K: as many blocks as have `min_length` values, in 1..MAX_BLOCKS.

    The length of a block thus grows with the text, by which it contains ever longer passages that
    are alike; the number of blocks does not need to grow (Schmeiser 1982, Batch size effects in the
    analysis of simulation output).
    """
    return max(1, min(MAX_BLOCKS, num_values // min_length))


@dataclass(frozen=True, slots=True, eq=False)
class BlockSums:
    """The sum of the values of each of K blocks of a text, and how many values it has."""

    sums: Float64Array = field(repr=False)
    """(K,)"""
    counts: Float64Array = field(repr=False)
    """(K,): at least 0."""

    @classmethod
    def zeros(cls, num_blocks: int) -> "BlockSums":
        """Start without any value; see `add`."""
        return cls(np.zeros(num_blocks), np.zeros(num_blocks))

    def add(self, values: NDArray[Any], blocks: NDArray[np.int64]) -> None:
        """Add values of any shape, in place, each to the block with the index in `blocks`."""
        self.sums[:] += np.bincount(
            blocks.ravel(), weights=values.ravel(), minlength=len(self.sums)
        )
        self.counts[:] += np.bincount(blocks.ravel(), minlength=len(self.counts))

    @classmethod
    def of(cls, values: NDArray[Any]) -> "BlockSums":
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

    def interval(self) -> tuple[float, float] | None:
        """Compute the 95 % interval of the mean; None if under MIN_BLOCKS blocks have any value.

        The generator is seeded: the same values give the same interval.
        """
        has_values = self.counts > 0
        num_blocks = int(has_values.sum())
        if num_blocks < MIN_BLOCKS:
            return None

        # A resample is a choice of blocks, so its mean needs only their sums.
        draws = draw_counts(num_blocks, NUM_RESAMPLES)
        num_drawn = draws @ self.counts[has_values]

        # All sums are taken about the mean, because a small difference of large sums would lose
        # digits.
        centred = self.sums[has_values] - self.mean * self.counts[has_values]
        return percentiles(self.mean + (draws @ centred) / num_drawn, num_blocks)


NUM_SCORE_RESAMPLES = 200
"""Resamples of a score, such as an AUC: fewer than of a mean, because each takes longer."""
SCORE_BLOCK_LENGTH = 500
"""Characters per block, where a score is resampled: neighbouring characters are not independent,
blocks nearly are."""
MIN_SCORE_BLOCKS = 20
"""Blocks of a short text, which are shorter then: an interval from fewer is too narrow."""


def draw_blocks(num_chars: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide a text into blocks to resample a score.

    Returns the block of each character (N,), and how often each resample draws each block
    (NUM_SCORE_RESAMPLES, K). They are the same for every score of a text, so that differences of
    scores can be taken resample by resample.
    """
    num_blocks = max(min(MIN_SCORE_BLOCKS, num_chars), num_chars // SCORE_BLOCK_LENGTH)
    blocks = np.arange(num_chars) * num_blocks // num_chars
    return blocks, draw_counts(num_blocks, NUM_SCORE_RESAMPLES)


def draw_counts(num_blocks: int, num_resamples: int) -> NDArray[np.int64]:
    """Return how often each resample draws each block (num_resamples, K): K times in all, by a
    seeded generator."""
    return np.random.default_rng(0).multinomial(
        num_blocks, np.full(num_blocks, 1 / num_blocks), size=num_resamples
    )


def percentiles(estimates: Any, num_blocks: int | None = None) -> tuple[float, float]:
    """Return the 95 % interval of resampled estimates: their 2.5th and 97.5th percentile.

    Where blocks are few, these lie too close together. With the number of blocks, K, they are taken
    further out, as far as Student's t distribution with K - 1 degrees of freedom is wider than the
    normal one (Hesterberg 2015, What teachers should know about the bootstrap, section 4.2).
    """
    tail = 0.025
    if num_blocks is not None:
        tail = NormalDist().cdf(
            -math.sqrt(num_blocks / (num_blocks - 1)) * t_quantile(num_blocks - 1)
        )
    low, high = np.quantile(np.asarray(estimates), [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean with its 95 % interval, which is None where there are too few values for it."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval."""
        if self.low is None:
            return None
        return self.mean - self.low

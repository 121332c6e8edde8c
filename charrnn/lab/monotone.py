"""Fit a value that rises or falls with a count: isotonic regression, for many cells at once.

Shapes: n characters, G groups of neighbouring counts, c cells.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
NUM_GROUPS = 32
"""Groups into which the values of a count are divided, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Groups of neighbouring values of a count: group g begins at `starts[g]`."""

    starts: NDArray[np.int64]
    """(G,), rising."""

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> "Groups":
        """Divide the different values of counts (n,) into groups that occur about equally often."""
        different = np.unique(counts)
        if len(different) > NUM_GROUPS:
            different = np.unique(np.quantile(counts, np.linspace(0, 1, NUM_GROUPS + 1)[:-1], method="nearest"))
        return cls(different.astype(np.int64))

    def of_each(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the group (n,) of each count; the first or last one for a count outside all groups."""
        return np.maximum(np.searchsorted(self.starts, counts, side="right") - 1, 0)


def fit_rising(sums: Float64Array, sizes: Float64Array) -> Float64Array:
    """Return the rising sequences (c, G) closest to values with sums (c, G) in groups of sizes (G,), none empty.

    Entry g is the largest over i <= g of the smallest over j >= g of the mean of groups i to j (Robertson, Wright &
    Dykstra 1988, Order restricted statistical inference, section 1.4).
    """
    num_groups = len(sizes)
    totals = np.concatenate((np.zeros((len(sums), 1)), np.cumsum(sums, axis=1)), axis=1)
    ends = np.append(0, np.cumsum(sizes))
    widths = ends[None, 1:] - ends[:-1, None]  # of groups i to j (G, G)
    is_range = widths > 0
    means = np.where(is_range, (totals[:, None, 1:] - totals[:, :-1, None]) / np.where(is_range, widths, 1), np.inf)
    smallest = np.minimum.accumulate(means[:, :, ::-1], axis=2)[:, :, ::-1]
    largest = np.maximum.accumulate(smallest, axis=1)
    groups = np.arange(num_groups)
    return np.asarray(largest[:, groups, groups])


def fit_monotone(sums: Float64Array, sizes: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the closest rising or falling sequences (c, G), and the sum of squares (c,) that each of them explains.

    `sums` (c, G) are those of values with mean 0.
    """
    rising, falling = fit_rising(sums, sizes), -fit_rising(-sums, sizes)
    gains = [(fitted**2) @ sizes for fitted in (rising, falling)]
    is_rising = gains[0] >= gains[1]
    return np.where(is_rising[:, None], rising, falling), np.maximum(*gains)

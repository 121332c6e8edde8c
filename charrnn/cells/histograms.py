"""Rank without sorting: histograms of each cell's values in 512 bins, with the sum of the labels in each bin.

The AUC and Spearman's rho of every cell with every detector follow from the number of values in each bin and the sum of
every label over them, so memory does not grow with the text.

Shapes: N characters (n of them in a window), C cells (or other columns), K bins, D detectors.
"""

import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from charrnn.code_cache import KeptFunction

Float64Array = NDArray[np.float64]
NUM_BINS = 512
"""K: bins of a histogram."""
NUM_CALIBRATING = 8192
"""Values of each cell that its bin edges are quantiles of: the first ones, which are a fair sample of the text."""


def _fill(values: Any, edges: Any, labels: Any, counts: Any, sums: Any) -> None:
    """Add values (C, n) with labels (n, D) to counts (C, K) and sums (C, K, D); edges (C, K - 1) ascend."""
    num_cells, num_values = values.shape
    num_bins, num_labels = sums.shape[1:]
    bins = np.empty(num_values, np.int32)
    for cell in range(num_cells):
        bins[:] = 0
        step = num_bins // 2
        # Bisection is the outer loop, so that the inner one is vector code without a branch.
        while step:
            for index in range(num_values):
                bins[index] += step * (edges[cell, bins[index] + step - 1] <= values[cell, index])
            step //= 2
        for index in range(num_values):
            counts[cell, bins[index]] += 1
            for label in range(num_labels):
                sums[cell, bins[index], label] += labels[index, label]


@cache
def _compiled_fill() -> "KeptFunction":
    # Imported here, so that cached findings are shown without importing numba.
    from charrnn.code_cache import KeptFunction

    return KeptFunction(_fill, [Path(__file__)])


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)


class LabelledHistograms:
    """For each of C columns, the number of values in each of K bins, and the sums of D labels over them.

    The edges are quantiles of the column's first values, so that the resolution suits cells that hardly change or stay
    near 1 as well; `edges` (C, K - 1), where bin k contains edges[k - 1] <= value < edges[k].
    """

    def __init__(self) -> None:
        self.edges: NDArray[np.float32] | None = None
        self._waiting: list[tuple[NDArray[np.float32], Float64Array]] = []

    def add(self, values: NDArray[np.float32], labels: Float64Array) -> None:
        """Count values (n, C) that have labels (n, D)."""
        if self.edges is None:
            self._waiting.append((values, labels))
            if sum(len(part) for part, _ in self._waiting) < NUM_CALIBRATING:
                return
            self.finish()
        else:
            self._fill(self.edges, values, labels)

    def _fill(self, edges: NDArray[np.float32], values: NDArray[np.float32], labels: Float64Array) -> None:
        arguments = (np.ascontiguousarray(values.T), edges, labels, self.counts, self.sums)
        _compiled_fill().load(arguments, _warn)
        _compiled_fill()(*arguments)

    def finish(self) -> None:
        """Compute the edges if there were too few values so far, and count those values."""
        if self.edges is None:
            values, labels = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._waiting.clear()
            num_columns, num_labels = values.shape[1], labels.shape[1]
            ordered = np.sort(values.T, axis=1)
            at = np.arange(1, NUM_BINS) * len(values) // NUM_BINS
            self.edges = np.ascontiguousarray(ordered[:, at])
            self.counts = np.zeros((num_columns, NUM_BINS), np.int64)
            self.sums = np.zeros((num_columns, NUM_BINS, num_labels))
            self._fill(self.edges, values, labels)

    def ranks(self) -> Float64Array:
        """Return the centred rank of a value in each bin (C, K); values in one bin count as equal."""
        return np.asarray(np.cumsum(self.counts, axis=1) - self.counts / 2 - self.counts.sum(axis=1)[:, None] / 2)

    def associations(self, is_yes_no: NDArray[np.bool_], spread: Float64Array) -> Float64Array:
        """Compute the association (C, D) in [-1, 1]: 2 * AUC - 1 for 0/1 labels, Spearman's rho for counts.

        The labels of a count must be its centred ranks, and `spread` (D,) the sum of their squares; for 0/1 labels it
        is the number of pairs (one inside, one outside). AUC: Mann & Whitney 1947.
        """
        ranks = self.ranks()
        # Label by label, so that the sums for one do not depend on the number of labels.
        sums = np.stack([(ranks * self.sums[:, :, label]).sum(axis=1) for label in range(self.sums.shape[2])], axis=1)
        norms = np.sqrt((self.counts * ranks**2).sum(axis=1)[:, None] * spread)
        scale = np.where(is_yes_no, spread / 2, norms)
        return np.asarray(np.divide(sums, scale, out=np.zeros(sums.shape), where=scale > 0))

    def best_threshold(self, cell: int, label: int, polarity: int) -> float:
        """Return the threshold with the best F1: values from it on (polarity 1) or below it (-1) are called inside."""
        assert self.edges is not None, "finish() comes first"
        below = np.cumsum(self.counts[cell])[:-1]
        inside_below = np.cumsum(self.sums[cell, :, label])
        num_inside, inside_below = inside_below[-1], inside_below[:-1]
        called, correct = below, inside_below
        if polarity > 0:
            called, correct = self.counts[cell].sum() - below, num_inside - inside_below
        return float(self.edges[cell, int((2 * correct / (called + num_inside)).argmax())])

    def bin_ranks(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the centred ranks of values (n, C) of the same columns."""
        assert self.edges is not None, "finish() comes first"
        ranks, found = self.ranks().astype(np.float32), np.empty(values.T.shape, np.float32)
        for cell, column in enumerate(np.ascontiguousarray(values.T)):
            found[cell] = ranks[cell, np.searchsorted(self.edges[cell], column, side="right")]
        return np.ascontiguousarray(found.T)

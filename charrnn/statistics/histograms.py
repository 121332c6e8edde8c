"""Histograms of many columns of values with the sums of labels in each bin.

They take one pass over a text and little memory, and give thresholds and the association of every
column with every label.

Shapes: n values of a window, C columns, K bins, D labels.
"""

import numpy as np

from charrnn.statistics.agreement import divide
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array
from charrnn.system.compiling import CompiledLoop

NUM_BINS = 512
"""K: bins of a histogram."""
NUM_CALIBRATING = 8192
"""Number of values of each column, from the first, that give its bin edges. They must be a fair
sample of the text."""


class LabelledHistograms:
    """For each of C columns, the number of values in each of K bins, and the sums of D labels over
    them.

    It scores all cells of a text of any length in one pass. The exact score of the chosen cell is
    computed from its values (`agreement.measure_score`).

    The edges are quantiles of the column's first values, so that the resolution suits columns that
    hardly change or stay near 1 as well; `edges` (C, K - 1), where bin k contains edges[k - 1] <=
    value < edges[k].
    """

    def __init__(self) -> None:
        self.edges: Float32Array | None = None
        self._waiting: list[tuple[Float32Array, Float64Array]] = []

    def add(self, values: Float32Array, labels: Float64Array) -> None:
        """Count values (n, C) that have labels (n, D)."""
        if self.edges is not None:
            self._fill(self.edges, values=values, labels=labels)
            return
        self._waiting.append((values, labels))

        # The edges need enough values of the text; until then the windows are kept.
        if sum(len(window) for window, _ in self._waiting) >= NUM_CALIBRATING:
            self.finish()

    def finish(self) -> None:
        """Compute the edges if there were too few values so far, and count those values."""
        if self.edges is not None:
            return
        values = np.concatenate([window for window, _ in self._waiting])
        labels = np.concatenate([window for _, window in self._waiting])
        self._waiting.clear()

        # The quantiles k/K of each column, without interpolation: every edge is a value.
        ordered = np.sort(values.T, axis=1)
        quantiles = np.arange(1, NUM_BINS) * len(values) // NUM_BINS
        self.edges = np.ascontiguousarray(ordered[:, quantiles])

        shape = (values.shape[1], NUM_BINS)
        self.counts = np.zeros(shape, np.int64)
        self.sums = np.zeros((*shape, labels.shape[1]))
        self._fill(self.edges, values=values, labels=labels)

    def _fill(self, edges: Float32Array, values: Float32Array, labels: Float64Array) -> None:
        columns = np.ascontiguousarray(values.T)
        _compiled_fill.run(columns, edges, labels, self.counts, self.sums)

    def ranks(self) -> Float64Array:
        """Return the centred rank of a value in each bin (C, K); values in one bin count as
        equal."""
        # Half of a bin's own values count as below, so that equal values share their mean rank.
        below = np.cumsum(self.counts, axis=1) - self.counts / 2
        return np.asarray(below - self.counts.sum(axis=1)[:, None] / 2)

    def auc_associations(self, label: int, num_pairs: float) -> Float64Array:
        """Compute 2 * AUC - 1 (C,) of each column for a 0/1 label, where `num_pairs` is the number
        of pairs of a value inside and a value outside (Mann & Whitney 1947)."""
        sums = (self.ranks() * self.sums[:, :, label]).sum(axis=1)
        return divide(sums, np.full(len(sums), num_pairs / 2))

    def rank_correlations(self, label: int, variation: float) -> Float64Array:
        """Compute Spearman's rho (C,) of each column for a label that is the centred rank of a
        count, `variation` being the sum of its squares."""
        ranks = self.ranks()
        sums = (ranks * self.sums[:, :, label]).sum(axis=1)
        return divide(sums, np.sqrt((self.counts * ranks**2).sum(axis=1) * variation))

    def best_threshold(self, column: int, label: int, polarity: int) -> float:
        """Return the threshold with the best F1: values from it on (polarity 1) or below it (-1)
        are called inside."""
        assert self.edges is not None, "finish() comes first"

        # For every edge: how many values it calls inside, and how many of these are inside.
        below = np.cumsum(self.counts[column])
        inside_below = np.cumsum(self.sums[column, :, label])
        num_inside = inside_below[-1]
        called = below[:-1]
        correct = inside_below[:-1]
        if polarity > 0:
            called = below[-1] - called
            correct = num_inside - correct

        # F1 = 2 * correct / (called + inside); of equal F1 scores the lowest edge.
        best = int((2 * correct / (called + num_inside)).argmax())
        return float(self.edges[column, best])

    def bin_ranks(self, values: Float32Array) -> Float32Array:
        """Return the centred ranks of values (n, C) of the same columns."""
        assert self.edges is not None, "finish() comes first"
        ranks = self.ranks().astype(np.float32)
        bin_ranks = np.empty(values.T.shape, np.float32)
        for index, column in enumerate(np.ascontiguousarray(values.T)):
            bin_ranks[index] = ranks[
                index, np.searchsorted(self.edges[index], column, side="right")
            ]
        return np.ascontiguousarray(bin_ranks.T)


def _fill(
    values: Float32Array,
    edges: Float32Array,
    labels: Float64Array,
    counts: Int64Array,
    sums: Float64Array,
) -> None:
    """Add values (C, n) with labels (n, D) to counts (C, K) and sums (C, K, D); edges (C, K - 1)
    ascend."""
    num_columns, num_values = values.shape
    _, num_bins, num_labels = sums.shape
    bins = np.empty(num_values, np.int32)
    for column in range(num_columns):
        # Bisection is the outer loop, so that the inner loop is vector code: the branch on a local
        # variable becomes a selection.
        bins[:] = 0
        step = num_bins // 2
        while step:
            for index in range(num_values):
                bin_index = bins[index]
                if edges[column, bin_index + step - 1] <= values[column, index]:
                    bin_index += step
                bins[index] = bin_index
            step //= 2

        # A second loop, because additions to bins cannot be vector code.
        for index in range(num_values):
            counts[column, bins[index]] += 1
            for label in range(num_labels):
                sums[column, bins[index], label] += labels[index, label]


_compiled_fill = CompiledLoop(_fill)

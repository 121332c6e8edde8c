"""Means and covariances of cells, from sums that are updated window by window.

Shapes: N characters (n of them in a window), C cells.
"""

import numpy as np
from numpy.typing import NDArray

from charrnn.statistics.intervals import Float64Array

LEAST_SPREAD = 1e-4
"""The smallest standard deviation of a cell relative to its size: below, it is constant up to
float32 rounding."""
ALL = slice(None)
"""All cells."""


class Moments:
    """Sums of cells (N, C) and of their products.

    Cells are shifted by their means in the first window, so that the sums do not lose precision.
    """

    num_chars = 0
    origin: NDArray[np.float32]
    """(C,): what the cells are shifted by."""

    def add_cells(self, cells: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add cells (n, C), and return them shifted."""
        if self.num_chars == 0:
            self.origin = cells.mean(axis=0)
            self._sums = np.zeros(cells.shape[1])
            self._products = np.zeros((cells.shape[1], cells.shape[1]))

        # The products of a window in float32, which is faster; the sums of windows in float64.
        self.num_chars += len(cells)
        shifted = cells - self.origin
        self._sums += shifted.sum(axis=0, dtype=np.float64)
        self._products += shifted.T @ shifted
        return shifted

    @property
    def shifted_means(self) -> Float64Array:
        """The mean (C,) of each shifted cell."""
        return np.asarray(self._sums / self.num_chars)

    @property
    def means(self) -> Float64Array:
        """The mean (C,) of each cell."""
        return np.asarray(self.shifted_means + self.origin)

    @property
    def variances(self) -> Float64Array:
        """The variance (C,) of each cell."""
        # Rounding may make the variance of a constant cell negative.
        mean_squares = np.diag(self._products) / self.num_chars
        return np.asarray(np.maximum(mean_squares - self.shifted_means**2, 0))

    @property
    def moves(self) -> NDArray[np.bool_]:
        """Which cells (C,) are not constant up to rounding."""
        variances = self.variances
        size = variances + self.origin.astype(np.float64) ** 2
        return np.asarray(variances > LEAST_SPREAD**2 * size)

    @property
    def scales(self) -> Float64Array:
        """The standard deviation (C,) of each cell; 1 for a constant one."""
        return np.sqrt(np.where(self.moves, self.variances, 1))

    def cell_covariances(self, rows: slice = ALL, columns: slice = ALL) -> Float64Array:
        """Return the covariances of some cells, `rows`, with others, `columns`."""
        # E[xy] - E[x] E[y], which the shift does not change.
        means = self.shifted_means
        products = self._products[rows, columns] / self.num_chars
        return np.asarray(products - np.outer(means[rows], means[columns]))

"""Means and covariances of cells, updated window by window.

The deviations of a window are taken from the means of that window. They are combined with the
windows before by the formula of Chan, Golub & LeVeque 1983 (Algorithms for computing the sample
variance). The formula takes no small difference of large sums, so that no digits are lost where a
mean is large or changes along the text.

Shapes: N characters (n of them in a window), C cells, or columns of any other values.
"""

import math

import numpy as np
from numpy.typing import NDArray

from charrnn.system.arrays import BoolArray, Float32Array, Float64Array

LEAST_SPREAD = 1e-4
"""The smallest standard deviation of a cell relative to its size: below, it is constant up to
float32 rounding."""


class Means:
    """The means of columns (N, C)."""

    num_chars = 0
    means: Float64Array = np.zeros(())
    """(C,)"""
    _squares: Float64Array = np.zeros(())
    _products: Float64Array = np.zeros(())

    def deviations(self, columns: NDArray[np.number]) -> Float32Array:
        """Add a window of columns (n, C), at least one character, and return its deviations
        (n + 1, C).

        The sum of the products of two columns' deviations, over all windows, is N times their
        covariance. The last row is the distance of the window from the windows before it.
        """
        num_before = self.num_chars
        num_new, num_columns = columns.shape
        self.num_chars = num_before + num_new
        window_means = columns.mean(axis=0, dtype=np.float64)
        distances = window_means - self.means
        self.means = self.means + distances * (num_new / self.num_chars)

        # In float32, in which products are faster, and in the order of the columns in memory.
        deviations = np.empty_like(columns, np.float32, shape=(num_new + 1, num_columns))
        np.subtract(columns, window_means.astype(np.float32), out=deviations[:-1])
        deviations[-1] = distances * math.sqrt(num_before * num_new / self.num_chars)
        return deviations


class TargetMoments(Means):
    """The means and variances of cells (N, C), and their covariances with targets (N, D).

    A line that predicts a count is fitted by it, for all cells in one pass.
    """

    def __init__(self) -> None:
        """Begin with no characters."""
        self.targets = Means()

    def add(self, cells: Float32Array, targets: Float64Array) -> None:
        """Add cells (n, C) with targets (n, D)."""
        cell_deviations = self.deviations(cells)
        target_deviations = self.targets.deviations(targets)

        # Target by target, so that float32 sums do not depend on the number of targets.
        products = np.stack(
            [
                cell_deviations.T @ np.ascontiguousarray(deviations)
                for deviations in target_deviations.T
            ],
            axis=1,
        )
        squares = np.einsum("nc,nc->c", cell_deviations, cell_deviations)
        self._squares = self._squares + squares
        self._products = self._products + products

    def covariances(self, target: int) -> Float64Array:
        """Return the covariance (C,) of each cell with a target."""
        return self._products[:, target] / self.num_chars

    def line(self, cell: int, target: int) -> tuple[float, float]:
        """Return slope and intercept of the least-squares line from a cell's value to a target."""
        variance = self._squares[cell] / self.num_chars
        slope = 0.0
        if variance > 0:
            slope = self.covariances(target)[cell] / variance
        return float(slope), float(self.targets.means[target] - slope * self.means[cell])


class Moments(Means):
    """The means, variances and covariances of cells (N, C).

    Cells are compared with each other by it, and scaled by their standard deviations, without their
    values in memory.
    """

    def add_cells(self, cells: Float32Array) -> None:
        """Add cells (n, C)."""
        deviations = self.deviations(cells)
        squares = np.einsum("nc,nc->c", deviations, deviations)
        products = deviations.T @ deviations

        # The products of a window are in float32, the sums over windows in float64.
        self._squares = self._squares + squares
        self._products = self._products + products

    @property
    def variances(self) -> Float64Array:
        """The variance (C,) of each cell."""
        return self._squares / self.num_chars

    @property
    def moves(self) -> BoolArray:
        """Whether each cell (C,) is not constant up to rounding."""
        variances = self.variances
        return variances > LEAST_SPREAD**2 * (variances + self.means**2)

    @property
    def scales(self) -> Float64Array:
        """The standard deviation (C,) of each cell; 1 for a constant cell."""
        return np.sqrt(np.where(self.moves, self.variances, 1))

    def correlations(self) -> Float64Array:
        """Return Pearson's r (C, C) of all cells; 0 for constant cells."""
        inverse_scales = self.moves / self.scales
        covariances = self._products / self.num_chars
        return (covariances * np.outer(inverse_scales, inverse_scales)).clip(-1, 1)

"""Linear probes: the best linear combinations of few cells, or of all, that predict a target.

Shapes: N characters (n of them in a window), C cells, D targets, S sizes of probes, k cells of a
probe.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from charrnn.statistics.moments import Means, Moments
from charrnn.system.arrays import Float32Array, Float64Array

SIZES = (1, 2, 4, 8)
"""Numbers of cells of the probes, besides all cells."""
SMALLEST_VARIANCE = 1e-4
"""The smallest variance of a standardized cell given the cells selected before it: below, only
rounding is left."""


class Probes(NamedTuple):
    """Linear probes of one target, of several sizes."""

    sizes: tuple[int, ...]
    """(S,): numbers of cells, ascending; the last has all."""
    weights: Float32Array
    """(C, S)"""
    intercepts: Float32Array
    """(S,)"""


class ProbeSums(Moments):
    """The moments of cells (N, C) and targets (N, D), which are all that a linear fit needs."""

    def __init__(self) -> None:
        """Begin with no characters."""
        super().__init__()
        self.targets = Means()
        self._with_targets = np.zeros(())

    def add(self, cells: Float32Array, targets: Float64Array) -> None:
        """Add cells (n, C) with targets (n, D)."""
        cell_deviations = self.add_cells(cells)
        target_deviations = self.targets.deviations(targets)

        # Target by target, so that float32 sums do not depend on the number of targets.
        products = [
            cell_deviations.T @ np.ascontiguousarray(deviations)
            for deviations in target_deviations.T
        ]
        self._with_targets = self._with_targets + np.stack(products, axis=1)

    def covariances(self, target: int) -> Float64Array:
        """Return the covariance (C,) of each cell with a target."""
        return np.asarray(self._with_targets[:, target] / self.num_chars)

    def line(self, cell: int, target: int) -> tuple[float, float]:
        """Return slope and intercept of the least-squares line from a cell's value to a target."""
        variance = self.variances[cell]
        slope = 0.0
        if variance > 0:
            slope = self.covariances(target)[cell] / variance
        return float(slope), float(self.targets.means[target] - slope * self.means[cell])

    def fit(self, first: Sequence[int]) -> list[Probes]:
        """Return the probes of each target.

        `first` (D,) gives the first cell of each target; more cells are selected greedily: each
        time the cell that explains most of the residual (orthogonal least squares: Chen, Billings &
        Luo 1989). The probe on all cells is regularized by a ridge of C / N.
        """
        # The inverse for the probe on all cells, which all targets share.
        correlations, towards, scale = self.standardized()
        num_cells = len(scale)
        few = [size for size in SIZES if size < num_cells]
        inverse = np.linalg.inv(correlations + self.ridge())

        fitted = []
        for target, begin in enumerate(first):
            towards_target = np.ascontiguousarray(towards[:, target])
            weights = np.zeros((num_cells, len(few) + 1))
            weights[:, -1] = inverse @ towards_target

            # The cells of a smaller probe are the first cells of the largest, fitted anew.
            most = max(few, default=0)
            selected = choose_greedily(
                correlations, towards=towards_target, num_chosen=most, begin=begin
            )
            for index, size in enumerate(few):
                some = selected[:size]
                among = correlations[np.ix_(some, some)]
                weights[some, index] = np.linalg.solve(among, towards_target[some])

            # Back to cells that are not standardized.
            weights /= scale[:, None]
            intercepts = self.targets.means[target] - self.means @ weights
            fitted.append(
                Probes(
                    sizes=(*few, num_cells),
                    weights=weights.astype(np.float32),
                    intercepts=intercepts.astype(np.float32),
                )
            )
        return fitted

    def standardized(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the correlations (C, C) of the cells, their covariances (C, D) with the targets
        once they are scaled, and their scales (C,).

        All are 0 for a cell that does not move, and its scale is 1.
        """
        # A constant cell is 0 everywhere, so that no probe gives it a weight.
        with_targets = self._with_targets / self.num_chars * self.inverse_scales[:, None]
        return self.correlations(), with_targets, self.scales

    def ridge(self) -> Float64Array:
        """Return the ridge (C, C) of the probe on all cells."""
        return np.eye(len(self.means)) * (len(self.means) / self.num_chars)


def choose_greedily(
    correlations: Float64Array, towards: Float64Array, num_chosen: int, *, begin: int
) -> list[int]:
    """Select up to `num_chosen` cells, `begin` first unless it adds nothing.

    `correlations` (C, C) are correlations between the cells, `towards` (C,) between the cells and
    the target.
    """
    # The residual of the target, and the variance of each cell, given the cells selected so far.
    residual = towards.copy()
    variance = np.diag(correlations).copy()
    directions: list[Float64Array] = []
    selected: list[int] = []
    for turn in range(num_chosen):
        # The share of the residual that each cell explains, given the selected cells.
        explained = residual**2 / np.maximum(variance, SMALLEST_VARIANCE)
        gains = np.where(variance > SMALLEST_VARIANCE, explained, -1.0)
        best = int(gains.argmax())
        if turn == 0 and gains[begin] > 0:
            best = begin
        if gains[best] <= 0:
            break

        # Remove its direction from all cells and from the target.
        direction = correlations[:, best] - sum(before * before[best] for before in directions)
        direction /= np.sqrt(variance[best])
        residual = residual - direction * (residual[best] / direction[best])
        variance = variance - direction**2
        directions.append(direction)
        selected.append(best)
    return selected

"""Linear probes on one, two, four, eight and all cells: how many cells it takes to predict a label.

If one cell carries a property, it predicts the label as well as all cells together; if the property is distributed, it
does not (Gurnee et al. 2023, "Finding neurons in a haystack").

Shapes: N characters, C cells, D targets, P = D * S probes, S sizes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
SIZES = (1, 2, 4, 8)
"""Numbers of cells of the probes, besides all cells."""
SMALLEST_VARIANCE = 1e-4
"""The smallest variance of a standardized cell given those selected before it: below, only rounding is left."""
LEAST_SPREAD = 1e-4
"""The smallest standard deviation of a cell relative to its size: below, it is constant up to float32 rounding."""


class Moments:
    """Sums of products of cells (N, C) and targets (N, D), which are all that a linear fit needs.

    Cells are shifted by the means of the first window, so that the sums do not lose precision.
    """

    def __init__(self) -> None:
        self.num_chars = 0

    def add(self, cells: NDArray[np.float32], targets: Float64Array) -> None:
        """Add cells (n, C) with targets (n, D)."""
        if self.num_chars == 0:
            self.origin = cells.mean(axis=0)
            num_cells, num_targets = cells.shape[1], targets.shape[1]
            self._products = np.zeros((num_cells, num_cells))
            self._with_targets = np.zeros((num_cells, num_targets))
            self._cell_sums, self._target_sums = np.zeros(num_cells), np.zeros(num_targets)
        shifted = cells - self.origin
        self.num_chars += len(cells)
        self._products += shifted.T @ shifted
        # Target by target, so that float32 sums do not depend on the number of targets.
        for index in range(targets.shape[1]):
            self._with_targets[:, index] += shifted.T @ np.ascontiguousarray(targets[:, index], np.float32)
        self._cell_sums += shifted.sum(axis=0, dtype=np.float64)
        self._target_sums += targets.sum(axis=0)

    def line(self, cell: int, target: int) -> tuple[float, float]:
        """Return slope and intercept of the least-squares line from a cell's value to a target."""
        mean, mean_target = self._cell_sums[cell] / self.num_chars, self._target_sums[target] / self.num_chars
        variance = self._products[cell, cell] / self.num_chars - mean**2
        covariance = self._with_targets[cell, target] / self.num_chars - mean * mean_target
        slope = covariance / variance if variance > 0 else 0.0
        return float(slope), float(mean_target - slope * (mean + self.origin[cell]))

    def fit(self, first: Sequence[int] = ()) -> tuple[tuple[int, ...], NDArray[np.float32], Float64Array]:
        """Return the sizes (S,), weights (C, D * S) and intercepts (D * S,) of the probes, those of a target together.

        The first cell of each target is that of `first` (D,), if given; the others are selected greedily: each time the
        one that explains most of the residual (orthogonal least squares: Chen, Billings & Luo 1989). The probe on all
        cells is regularized by a ridge of C / N.
        """
        correlations, towards, scale = self._standardized()
        num_cells, num_targets = towards.shape
        sizes = (*(size for size in SIZES if size < num_cells), num_cells)
        weights = np.zeros((num_cells, num_targets, len(sizes)))
        inverse = np.linalg.inv(correlations + self._ridge())
        for target in range(num_targets):
            weights[:, target, -1] = inverse @ np.ascontiguousarray(towards[:, target])
            begin = [first[target]] if first else []
            chosen = _choose_greedily(correlations, towards[:, target], max(sizes[:-1], default=0), begin)
            for index, size in enumerate(sizes[:-1]):
                some = chosen[:size]
                solved = np.linalg.solve(correlations[np.ix_(some, some)], towards[some, target])
                weights[some, target, index] = solved
        weights /= scale[:, None, None]
        target_mean = self._target_sums / self.num_chars
        intercepts = target_mean[:, None] - (self.means[:, None, None] * weights).sum(axis=0)
        return sizes, weights.reshape(num_cells, -1).astype(np.float32), intercepts.reshape(-1)

    @property
    def num_cells(self) -> int:
        """C."""
        return len(self.origin)

    @property
    def means(self) -> Float64Array:
        """The mean (C,) of each cell."""
        return np.asarray(self._cell_sums / self.num_chars + self.origin)

    def direction(self, size: int, first: int) -> tuple[list[int], Float64Array, Float64Array, float]:
        """Return cells (k,), weights (k,), standard deviations (k,) and intercept of a probe on `size` cells.

        It is that of `fit` for the first target, of any size. There are fewer cells if the others add nothing.
        """
        correlations, towards, scale = self._standardized()
        if size < len(scale):
            chosen = _choose_greedily(correlations, towards[:, 0], size, [first])
            ridge = np.zeros((len(chosen), len(chosen)))
        else:
            ridge, others = self._ridge(), [cell for cell in range(len(scale)) if cell != first]
            chosen = [first, *others]
        weights = np.linalg.solve(correlations[np.ix_(chosen, chosen)] + ridge, towards[chosen, 0]) / scale[chosen]
        intercept = self._target_sums[0] / self.num_chars - self.means[chosen] @ weights
        return chosen, weights, scale[chosen], float(intercept)

    def _standardized(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the correlations (C, C) of the cells, their covariances (C, D) with the targets once they are scaled,
        and their scales (C,). All are 0 for a cell that does not move, and its scale is 1."""
        mean, target_mean = self._cell_sums / self.num_chars, self._target_sums / self.num_chars
        variance = np.maximum(np.diag(self._products) / self.num_chars - mean**2, 0)
        moves = variance > LEAST_SPREAD**2 * (variance + self.origin.astype(np.float64) ** 2)
        scale = np.sqrt(np.where(moves, variance, 1))
        both = np.outer(moves, moves)
        correlations = both * (self._products / self.num_chars - np.outer(mean, mean)) / np.outer(scale, scale)
        towards = (self._with_targets / self.num_chars - np.outer(mean, target_mean)) * (moves / scale)[:, None]
        return correlations, towards, scale

    def _ridge(self) -> Float64Array:
        """Return the ridge (C, C) of the probe on all cells."""
        return np.eye(self.num_cells) * (self.num_cells / self.num_chars)


def _choose_greedily(
    correlations: Float64Array, towards: Float64Array, num_chosen: int, begin: Sequence[int]
) -> list[int]:
    """Select up to `num_chosen` cells, those of `begin` first.

    `correlations` (C, C) are those of the cells, `towards` (C,) those with the target.
    """
    left, variance = towards.copy(), np.diag(correlations).copy()
    directions: list[Float64Array] = []
    chosen: list[int] = []
    for turn in range(num_chosen):
        gains = np.where(variance > SMALLEST_VARIANCE, left**2 / np.maximum(variance, SMALLEST_VARIANCE), -1.0)
        best = begin[turn] if turn < len(begin) and gains[begin[turn]] > 0 else int(gains.argmax())
        if gains[best] <= 0:
            break
        direction = correlations[:, best] - sum(part * part[best] for part in directions)
        direction /= np.sqrt(variance[best])
        left = left - direction * (left[best] / direction[best])
        variance = variance - direction**2
        directions.append(direction)
        chosen.append(best)
    return chosen

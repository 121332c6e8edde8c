"""How many cells it takes to tell a label: linear probes on one, two, four, eight and all of them.

A property that one cell carries is told as well by it as by all; one that is spread is not (Gurnee et al. 2023,
"Finding neurons in a haystack"). Shapes: N characters, C cells, D targets, P = D * S probes, S sizes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SIZES = (1, 2, 4, 8)
SMALLEST_VARIANCE = 1e-4
"""Of a standardized cell, given those chosen before it: with less of its own it adds nothing but rounding."""
LEAST_SPREAD = 1e-4
"""A cell whose standard deviation is a smaller share of its size stands still: what moves is float32's last digits."""


class Moments:
    """Sums of products of cells (N, C) and targets (N, D), less the first window's means: all a linear fit needs."""

    def __init__(self) -> None:
        self.num_chars = 0

    def add(self, cells: NDArray[np.float32], targets: Floats) -> None:
        """Count cells (n, C) with targets (n, D)."""
        if self.num_chars == 0:
            self.origin = cells.mean(axis=0)
            num_cells, num_targets = cells.shape[1], targets.shape[1]
            self._products = np.zeros((num_cells, num_cells))
            self._with_targets = np.zeros((num_cells, num_targets))
            self._cell_sums, self._target_sums = np.zeros(num_cells), np.zeros(num_targets)
        shifted = cells - self.origin
        self.num_chars += len(cells)
        self._products += shifted.T @ shifted
        # Target by target, so that sums in float32 do not depend on how many there are.
        for index in range(targets.shape[1]):
            self._with_targets[:, index] += shifted.T @ np.ascontiguousarray(targets[:, index], np.float32)
        self._cell_sums += shifted.sum(axis=0, dtype=np.float64)
        self._target_sums += targets.sum(axis=0)

    def line(self, cell: int, target: int) -> tuple[float, float]:
        """Slope and intercept of the least-squares line from a cell's value to a target."""
        mean, mean_target = self._cell_sums[cell] / self.num_chars, self._target_sums[target] / self.num_chars
        variance = self._products[cell, cell] / self.num_chars - mean**2
        covariance = self._with_targets[cell, target] / self.num_chars - mean * mean_target
        slope = covariance / variance if variance > 0 else 0.0
        return float(slope), float(mean_target - slope * (mean + self.origin[cell]))

    def fit(self, first: Sequence[int] = ()) -> tuple[tuple[int, ...], NDArray[np.float32], Floats]:
        """Numbers of cells (S,), weights (C, D * S) and intercepts (D * S,) of the probes, a target's side by side.

        A target's first cell is that of `first` (D,), if it is given; the others are chosen greedily: each time the
        one that explains most of what is left (orthogonal least squares: Chen, Billings & Luo 1989). All of them
        together are held down by a ridge of C / N.
        """
        mean, target_mean = self._cell_sums / self.num_chars, self._target_sums / self.num_chars
        variance = np.maximum(np.diag(self._products) / self.num_chars - mean**2, 0)
        moves = variance > LEAST_SPREAD**2 * (variance + self.origin.astype(np.float64) ** 2)
        scale = np.sqrt(np.where(moves, variance, 1))
        both = np.outer(moves, moves)
        correlations = both * (self._products / self.num_chars - np.outer(mean, mean)) / np.outer(scale, scale)
        towards = (self._with_targets / self.num_chars - np.outer(mean, target_mean)) * (moves / scale)[:, None]
        num_cells, num_targets = towards.shape
        sizes = (*(size for size in SIZES if size < num_cells), num_cells)
        weights = np.zeros((num_cells, num_targets, len(sizes)))
        ridge = np.eye(num_cells) * (num_cells / self.num_chars)
        inverse = np.linalg.inv(correlations + ridge)
        for target in range(num_targets):
            weights[:, target, -1] = inverse @ np.ascontiguousarray(towards[:, target])
            begin = [first[target]] if first else []
            chosen = _choose_greedily(correlations, towards[:, target], max(sizes[:-1], default=0), begin)
            for index, size in enumerate(sizes[:-1]):
                some = chosen[:size]
                solved = np.linalg.solve(correlations[np.ix_(some, some)], towards[some, target])
                weights[some, target, index] = solved
        weights /= scale[:, None, None]
        intercepts = target_mean[:, None] - ((mean + self.origin)[:, None, None] * weights).sum(axis=0)
        return sizes, weights.reshape(num_cells, -1).astype(np.float32), intercepts.reshape(-1)


def _choose_greedily(correlations: Floats, towards: Floats, num_chosen: int, begin: Sequence[int]) -> list[int]:
    """Up to so many cells, those of `begin` and then the best, from correlations (C, C) of cells and (C,) with the
    target."""
    left, variance = towards.copy(), np.diag(correlations).copy()
    directions: list[Floats] = []
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

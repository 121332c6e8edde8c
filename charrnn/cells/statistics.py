"""Statistics of cells and labels: exact ones of one cell, histograms and linear probes of all, the
chance level.

Shapes: N characters (n of them in a window), C cells (or other columns), K bins, D detectors, S
sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.findings import CellScore
from charrnn.detectors.detector import Labels
from charrnn.statistics.intervals import Float64Array, draw_blocks, percentiles

if TYPE_CHECKING:
    from charrnn.system.compiling import CompiledLoop

NUM_GROUPS = 512
"""Groups of similar rank that the bootstrap resamples as one value each, so that it need not sort
again."""
INTERIOR = 5
"""Characters after a label change from which on a character is interior: the delimiter is no longer
the last input."""
MIN_INTERIOR = 50
"""Interior characters, inside and outside each, that an interior score needs."""
NUM_BINS = 512
"""K: bins of a histogram."""
NUM_CALIBRATING = 8192
"""Values of each cell that its bin edges are quantiles of: the first ones, which are a fair sample
of the text."""
NUM_SHIFTS = 199
"""K: shifts that are drawn."""
MIN_SHIFT = 0.05
"""The smallest shift as a share of the text: labels that are shifted less still correlate with
themselves."""
SIZES = (1, 2, 4, 8)
"""Numbers of cells of the probes, besides all cells."""
SMALLEST_VARIANCE = 1e-4
"""The smallest variance of a standardized cell given those selected before it: below, only rounding
is left."""
LEAST_SPREAD = 1e-4
"""The smallest standard deviation of a cell relative to its size: below, it is constant up to
float32 rounding."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The cell that the choosing half selects for a detector, and how its values map to labels."""

    cell: int
    polarity: int
    threshold: float | None = None
    """For yes/no labels: values from here on (polarity 1) or below it (-1) are classified as
    inside."""
    line: tuple[float, float] | None = None
    """For counts: slope and intercept of the straight line from the cell's value to the count."""


def average_ranks(values: NDArray[Any]) -> Float64Array:
    """Rank values 1..N along the first axis of (N, C); equal values share the mean of their
    ranks."""
    columns = values.reshape(len(values), -1)
    ranks = np.empty(columns.shape, np.float64)
    for column in range(columns.shape[1]):
        _, group, sizes = np.unique(columns[:, column], return_inverse=True, return_counts=True)
        ranks[:, column] = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    return ranks.reshape(values.shape)


def auc(ranks: Float64Array, is_inside: NDArray[np.bool_]) -> Float64Array:
    """Compute the area under the ROC curve of each column of ranks (N, C) for labels (N,).

    It is Mann & Whitney's U over its maximum.
    """
    num_inside = int(is_inside.sum())
    num_outside = len(is_inside) - num_inside
    u = is_inside.astype(np.float64) @ ranks - num_inside * (num_inside + 1) / 2
    return np.asarray(u / (num_inside * num_outside))


def spearman(ranks: Float64Array, counts: NDArray[Any]) -> Float64Array:
    """Compute Spearman's rank correlation of each column of ranks (N, C) with counts (N,); 0 for a
    constant one."""
    target = average_ranks(counts)
    target -= target.mean()
    centred = ranks - ranks.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0) * (target**2).sum())
    return np.asarray(
        np.divide(target @ centred, norms, out=np.zeros(norms.shape), where=norms > 0)
    )


def measure_score(values: NDArray[Any], labels: Labels, polarity: int) -> float:
    """Compute the AUC of polarity * values (N,) for yes/no labels (N,), or Spearman's rho of values
    and counts."""
    ranks = average_ranks(values)
    if labels.dtype != bool:
        return float(spearman(ranks, labels))
    area = float(auc(ranks, labels))
    return area if polarity > 0 else 1 - area


def score_from_association(association: float, polarity: int, *, is_yes_no: bool) -> float:
    """Convert an association in [-1, 1] to the score that is reported: the AUC of polarity *
    values, or rho."""
    return (1 + polarity * association) / 2 if is_yes_no else association


def f1(is_called: NDArray[np.bool_], is_inside: NDArray[np.bool_]) -> float:
    """Compute the harmonic mean of precision and recall (van Rijsbergen 1979); 0 if nothing is
    classified as inside."""
    return float(2 * (is_called & is_inside).sum() / max(1, is_called.sum() + is_inside.sum()))


def r_squared(predicted: NDArray[Any], counts: Labels) -> float:
    """Compute the share of the counts' variance that predictions (N,) explain; negative if their
    mean does better."""
    return float(1 - ((counts - predicted) ** 2).sum() / ((counts - counts.mean()) ** 2).sum())


def interior(labels: Labels) -> NDArray[np.bool_]:
    """Return whether each character (N,) is INTERIOR or more after the last label change, or before
    the first."""
    index = np.arange(len(labels))
    changes = np.append(False, labels[1:] != labels[:-1])
    last_change = np.maximum.accumulate(np.where(changes, index, -INTERIOR))
    return np.asarray(index - last_change >= INTERIOR)


def score_cell(
    detector: str,
    choice: Choice,
    num_units: int,
    values: NDArray[np.float32],
    labels: Labels,
    is_interior: Labels,
) -> CellScore:
    """Score a selected cell by its values (N,) and labels (N,) on the half that did not select
    it."""
    is_yes_no = labels.dtype == bool
    value = measure_score(values, labels, choice.polarity)
    low, high = percentiles(resample_score(values, labels, choice.polarity))
    r2 = best_f1 = inner = None
    if choice.threshold is not None:
        best_f1 = f1((values >= choice.threshold) == (choice.polarity > 0), labels)
        inside = labels[is_interior]
        if min(inside.sum(), (~inside).sum()) >= MIN_INTERIOR:
            inner = measure_score(values[is_interior], inside, choice.polarity)
    if choice.line is not None:
        r2 = r_squared(choice.line[0] * values.astype(np.float64) + choice.line[1], labels)
    return CellScore(
        detector=detector,
        layer=choice.cell // num_units,
        unit=choice.cell % num_units,
        polarity=choice.polarity,
        num_positive=int((labels > 0).sum()),
        auc=value if is_yes_no else None,
        spearman=None if is_yes_no else value,
        ci_low=low,
        ci_high=high,
        r2=r2,
        threshold=choice.threshold,
        f1=best_f1,
        interior=inner,
    )


def resample_score(values: NDArray[Any], labels: Labels, polarity: int) -> Float64Array:
    """Compute a score in each resample of `draw_blocks` (Künsch 1989).

    values (N,), labels (N,). The resamples of a text are always the same, so that differences of
    scores can be taken one by one. A resampled AUC uses values in NUM_GROUPS groups of similar
    rank; a resampled rho is the correlation of the ranks in the whole text.
    """
    ranks = average_ranks(values)
    num_chars = len(ranks)
    block, draws = draw_blocks(num_chars)
    num_blocks = draws.shape[1]
    if labels.dtype == bool:
        if len(np.unique(ranks)) > NUM_GROUPS:
            ranks = np.ceil(ranks * NUM_GROUPS / num_chars)
        distinct, group = np.unique(ranks, return_inverse=True)
        cell_of = block * len(distinct) + group
        size = num_blocks * len(distinct)
        # In float64, which holds these counts exactly: NumPy has no fast product of integers.
        counts = (
            np.bincount(cell_of[chosen], minlength=size).astype(np.float64)
            for chosen in (labels, ~labels)
        )
        inside, outside = (draws @ count.reshape(num_blocks, -1) for count in counts)
        below = np.cumsum(outside, axis=1) - outside / 2
        pairs = inside.sum(axis=1) * outside.sum(axis=1)
        estimates = np.where(pairs > 0, (inside * below).sum(axis=1) / np.maximum(pairs, 1), 0.5)
        estimates = estimates if polarity > 0 else 1 - estimates
    else:
        x, y = ranks / num_chars - 0.5, average_ranks(labels) / num_chars - 0.5
        parts = (np.ones_like(x), x, y, x * x, y * y, x * y)
        sums = [np.bincount(block, weights=part, minlength=num_blocks) for part in parts]
        total, *moments = (draws @ np.stack(sums, axis=1)).T
        mean_x, mean_y, xx, yy, xy = (moment / total for moment in moments)
        norm = np.sqrt(np.maximum(0, (xx - mean_x**2) * (yy - mean_y**2)))
        estimates = np.divide(xy - mean_x * mean_y, norm, out=np.zeros(len(norm)), where=norm > 0)
    return np.asarray(estimates)


def _fill(values: Any, edges: Any, labels: Any, counts: Any, sums: Any) -> None:
    """Add values (C, n) with labels (n, D) to counts (C, K) and sums (C, K, D); edges (C, K - 1)
    ascend."""
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
def _compiled_fill() -> "CompiledLoop":
    # Imported here, so that cached findings are shown without importing numba.
    from charrnn.system.compiling import CompiledLoop

    return CompiledLoop(_fill)


class LabelledHistograms:
    """For each of C columns, the number of values in each of K bins, and the sums of D labels over
    them.

    The edges are quantiles of the column's first values, so that the resolution suits cells that
    hardly change or stay near 1 as well; `edges` (C, K - 1), where bin k contains edges[k - 1] <=
    value < edges[k].
    """

    def __init__(self) -> None:
        self.edges: NDArray[np.float32] | None = None
        self._waiting: list[tuple[NDArray[np.float32], Float64Array]] = []

    def add(self, values: NDArray[np.float32], labels: Float64Array) -> None:
        """Count values (n, C) that have labels (n, D)."""
        if self.edges is not None:
            self._fill(self.edges, values, labels)
        else:
            self._waiting.append((values, labels))
            if sum(len(part) for part, _ in self._waiting) >= NUM_CALIBRATING:
                self.finish()

    def _fill(
        self, edges: NDArray[np.float32], values: NDArray[np.float32], labels: Float64Array
    ) -> None:
        arguments = (np.ascontiguousarray(values.T), edges, labels, self.counts, self.sums)
        loop = _compiled_fill()
        if not loop.load(arguments):
            loop.compile(arguments)
        loop(*arguments)

    def finish(self) -> None:
        """Compute the edges if there were too few values so far, and count those values."""
        if self.edges is None:
            values, labels = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._waiting.clear()
            num_columns, num_labels = values.shape[1], labels.shape[1]
            ordered = np.sort(values.T, axis=1)
            self.edges = np.ascontiguousarray(
                ordered[:, np.arange(1, NUM_BINS) * len(values) // NUM_BINS]
            )
            self.counts = np.zeros((num_columns, NUM_BINS), np.int64)
            self.sums = np.zeros((num_columns, NUM_BINS, num_labels))
            self._fill(self.edges, values, labels)

    def ranks(self) -> Float64Array:
        """Return the centred rank of a value in each bin (C, K); values in one bin count as
        equal."""
        return np.asarray(
            np.cumsum(self.counts, axis=1) - self.counts / 2 - self.counts.sum(axis=1)[:, None] / 2
        )

    def associations(self, is_yes_no: NDArray[np.bool_], spread: Float64Array) -> Float64Array:
        """Compute the association (C, D) in [-1, 1]: 2 * AUC - 1 for 0/1 labels, Spearman's rho for
        counts.

        The labels of a count must be its centred ranks, and `spread` (D,) the sum of their squares;
        for 0/1 labels it is the number of pairs (one inside, one outside). AUC: Mann & Whitney
        1947.
        """
        ranks = self.ranks()
        # Label by label, so that the sums for one do not depend on the number of labels.
        sums = np.stack(
            [(ranks * self.sums[:, :, label]).sum(axis=1) for label in range(self.sums.shape[2])],
            axis=1,
        )
        norms = np.sqrt((self.counts * ranks**2).sum(axis=1)[:, None] * spread)
        scale = np.where(is_yes_no, spread / 2, norms)
        return np.asarray(np.divide(sums, scale, out=np.zeros(sums.shape), where=scale > 0))

    def best_threshold(self, cell: int, label: int, polarity: int) -> float:
        """Return the threshold with the best F1: values from it on (polarity 1) or below it (-1)
        are called inside."""
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


def best_by_chance(
    ranks: NDArray[np.float32], target: NDArray[np.float32], scale: NDArray[np.float32]
) -> tuple[float, float]:
    """Compute the p-value of the best cell's strength, and the 95 % quantile of that strength under
    shifted labels.

    ranks (N, C) are the centred ranks of the cells, target (N,) the centred label or ranks; scale
    (C,) times their product is an association in [-1, 1]. The observed strength counts as one of
    the shifts, so p is at least 1 / (K + 1).
    """
    num_chars = len(target)
    least = max(1, int(num_chars * MIN_SHIFT))
    shifts = np.random.default_rng(0).integers(least, max(least + 1, num_chars - least), NUM_SHIFTS)
    # Row 0 is the label without a shift.
    windows = np.lib.stride_tricks.sliding_window_view(np.append(target, target), num_chars)
    shifted = np.ascontiguousarray(windows[num_chars - np.append(0, shifts)])
    strengths = np.abs(shifted @ ranks * scale).max(axis=1)
    p_value = (strengths >= strengths[0] * (1 - 1e-6)).mean()
    return float(p_value), float(min(1.0, np.quantile(strengths[1:], 0.95)))


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
            self._with_targets[:, index] += shifted.T @ np.ascontiguousarray(
                targets[:, index], np.float32
            )
        self._cell_sums += shifted.sum(axis=0, dtype=np.float64)
        self._target_sums += targets.sum(axis=0)

    def covariances(self, target: int) -> Float64Array:
        """Return the covariance (C,) of each cell with a target."""
        means, mean_target = (
            self._cell_sums / self.num_chars,
            self._target_sums[target] / self.num_chars,
        )
        return np.asarray(self._with_targets[:, target] / self.num_chars - means * mean_target)

    def line(self, cell: int, target: int) -> tuple[float, float]:
        """Return slope and intercept of the least-squares line from a cell's value to a target."""
        mean, mean_target = (
            self._cell_sums[cell] / self.num_chars,
            self._target_sums[target] / self.num_chars,
        )
        variance = self._products[cell, cell] / self.num_chars - mean**2
        slope = self.covariances(target)[cell] / variance if variance > 0 else 0.0
        return float(slope), float(mean_target - slope * (mean + self.origin[cell]))

    def fit(
        self, first: Sequence[int] = ()
    ) -> tuple[tuple[int, ...], NDArray[np.float32], Float64Array]:
        """Return the sizes (S,), weights (C, D * S) and intercepts (D * S,) of the probes, those of
        a target together.

        The first cell of each target is that of `first` (D,), if given; the others are selected
        greedily: each time the one that explains most of the residual (orthogonal least squares:
        Chen, Billings & Luo 1989). The probe on all cells is regularized by a ridge of C / N.
        """
        correlations, towards, scale = self._standardized()
        num_cells, num_targets = towards.shape
        sizes = (*(size for size in SIZES if size < num_cells), num_cells)
        weights = np.zeros((num_cells, num_targets, len(sizes)))
        inverse = np.linalg.inv(correlations + self._ridge())
        for target in range(num_targets):
            weights[:, target, -1] = inverse @ np.ascontiguousarray(towards[:, target])
            begin = [first[target]] if first else []
            chosen = _choose_greedily(
                correlations, towards[:, target], max(sizes[:-1], default=0), begin
            )
            for index, size in enumerate(sizes[:-1]):
                some = chosen[:size]
                weights[some, target, index] = np.linalg.solve(
                    correlations[np.ix_(some, some)], towards[some, target]
                )
        weights /= scale[:, None, None]
        target_mean = self._target_sums / self.num_chars
        intercepts = target_mean[:, None] - (self.means[:, None, None] * weights).sum(axis=0)
        return sizes, weights.reshape(num_cells, -1).astype(np.float32), intercepts.reshape(-1)

    @property
    def means(self) -> Float64Array:
        """The mean (C,) of each cell."""
        return np.asarray(self._cell_sums / self.num_chars + self.origin)

    def direction(
        self, size: int, first: int
    ) -> tuple[list[int], Float64Array, Float64Array, float]:
        """Return cells (k,), weights (k,), standard deviations (k,) and intercept of a probe on
        `size` cells.

        It is that of `fit` for the first target, of any size. There are fewer cells if the others
        add nothing.
        """
        correlations, towards, scale = self._standardized()
        if size < len(scale):
            chosen = _choose_greedily(correlations, towards[:, 0], size, [first])
            ridge = np.zeros((len(chosen), len(chosen)))
        else:
            ridge, others = self._ridge(), [cell for cell in range(len(scale)) if cell != first]
            chosen = [first, *others]
        weights = (
            np.linalg.solve(correlations[np.ix_(chosen, chosen)] + ridge, towards[chosen, 0])
            / scale[chosen]
        )
        intercept = self._target_sums[0] / self.num_chars - self.means[chosen] @ weights
        return chosen, weights, scale[chosen], float(intercept)

    def _standardized(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the correlations (C, C) of the cells, their covariances (C, D) with the targets
        once they are scaled, and their scales (C,). All are 0 for a cell that does not move, and
        its scale is 1."""
        mean, target_mean = self._cell_sums / self.num_chars, self._target_sums / self.num_chars
        variance = np.maximum(np.diag(self._products) / self.num_chars - mean**2, 0)
        moves = variance > LEAST_SPREAD**2 * (variance + self.origin.astype(np.float64) ** 2)
        scale = np.sqrt(np.where(moves, variance, 1))
        both = np.outer(moves, moves)
        correlations = (
            both * (self._products / self.num_chars - np.outer(mean, mean)) / np.outer(scale, scale)
        )
        towards = (self._with_targets / self.num_chars - np.outer(mean, target_mean)) * (
            moves / scale
        )[:, None]
        return correlations, towards, scale

    def _ridge(self) -> Float64Array:
        """Return the ridge (C, C) of the probe on all cells."""
        return np.eye(len(self.origin)) * (len(self.origin) / self.num_chars)


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
        gains = np.where(
            variance > SMALLEST_VARIANCE, left**2 / np.maximum(variance, SMALLEST_VARIANCE), -1.0
        )
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

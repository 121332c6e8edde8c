"""How well values agree with labels: AUC, Spearman's rho, F1, R², and resamples of scores.

Three scales are used:

- A *score* is reported to the user: the AUC for yes/no labels, in [0, 1] with chance at 0.5, and
  Spearman's rho for counts, in [-1, 1] with chance at 0.
- An *association* compares both kinds of labels: 2 * AUC - 1, or rho, in [-1, 1].
- A *strength* ranks both: the absolute value of an association, in [0, 1] with chance at 0.

Values that are low inside have the polarity -1. The reported AUC is computed for polarity * values,
so its association is the association of the values times the polarity; rho keeps its sign.

Shapes: N characters, C columns of values, K blocks and R resamples as in `intervals`.
"""

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.statistics.intervals import draw_blocks, resample_sums
from charrnn.system.arrays import BoolArray, Float64Array

Number = TypeVar("Number", float, Float64Array)
"""A number or an array of numbers."""
NUM_GROUPS = 512
"""Groups of values of similar rank, which the bootstrap resamples as equal values, so that it need
not sort again."""


def auc_from_association(association: Number) -> Number:
    """Convert an association (or a strength) with yes/no labels, or an array of them, to an AUC.

    Cells are chosen by associations, which labels of both kinds have; an AUC is what is reported.

    >>> auc_from_association(0.5)
    0.75
    """
    return (1 + association) / 2


def association_from_auc(area: Number) -> Number:
    """Convert an AUC, or an array of them, to an association, to compare it with the correlation
    of a cell with counts.

    >>> association_from_auc(0.75)
    0.5
    """
    return 2 * area - 1


def score_from_association(association: float, polarity: int, *, is_yes_no: bool) -> float:
    """Convert the association of values to the reported score: the AUC of polarity * values, or
    rho.

    The choosing half is measured by associations for speed; what is shown must be in the unit of
    the score.
    """
    if is_yes_no:
        return float(auc_from_association(polarity * association))
    return association


def average_ranks(values: NDArray[np.generic]) -> Float64Array:
    """Rank values 1..N along the first axis of (N, C) or (N,); equal values share the mean of their
    ranks.

    An AUC and a rank correlation are computed from them: rank a cell once for all detectors.
    """
    columns = values.reshape(len(values), -1)
    ranks = np.empty(columns.shape, np.float64)
    for column in range(columns.shape[1]):
        _, group, sizes = np.unique(columns[:, column], return_inverse=True, return_counts=True)
        # A group of n equal values takes n ranks; the cumulative sum is the last of them.
        last = np.cumsum(sizes)
        ranks[:, column] = (last - (sizes - 1) / 2)[group]

    return ranks.reshape(values.shape)


def auc(ranks: Float64Array, is_inside: BoolArray) -> Float64Array:
    """Compute the area under the ROC curve of each column of ranks (N, C) for labels (N,).

    Use it for many columns of ranks at once; `measure_score` takes the values of one cell.

    It is Mann & Whitney's U over its maximum (Mann & Whitney 1947).
    """
    num_inside = int(is_inside.sum())
    num_outside = len(is_inside) - num_inside
    # U counts the pairs in which the value inside is larger. It is the sum of the ranks inside,
    # less the smallest possible sum.
    u = is_inside.astype(np.float64) @ ranks - num_inside * (num_inside + 1) / 2
    return u / (num_inside * num_outside)


def spearman(ranks: Float64Array, counts: NDArray[np.generic]) -> Float64Array:
    """Compute Spearman's rank correlation of each column of ranks (N, C) with counts (N,); 0 for a
    constant column.

    As `auc`, it takes the ranks of many cells; `measure_score` takes the values of one.
    """
    # Pearson's correlation of the ranks. Its short formula holds only without equal values.
    target = average_ranks(counts)
    target -= target.mean()
    centred = ranks - ranks.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0) * (target**2).sum())
    return divide(target @ centred, norms)


def divide(numerators: Float64Array, denominators: Float64Array) -> Float64Array:
    """Divide arrays of one shape; 0 where a denominator is 0."""
    quotients = np.zeros(np.shape(numerators))
    return np.divide(numerators, denominators, out=quotients, where=denominators > 0)


def measure_score(values: NDArray[np.generic], labels: NDArray[Any], polarity: int) -> float:
    """Compute the AUC of polarity * values (N,) for yes/no labels (N,), or Spearman's rho of values
    and counts.

    It is the exact score of one cell, on the scoring half; histograms (`LabelledHistograms`) find
    the best of all cells before.
    """
    ranks = average_ranks(values)
    if labels.dtype != bool:
        return float(spearman(ranks, labels))

    # Negating all values swaps the pairs that count for the AUC, so no second ranking is needed.
    area = float(auc(ranks, labels))
    return area if polarity > 0 else 1 - area


def f1(is_called: BoolArray, is_inside: BoolArray) -> float:
    """Compute the harmonic mean of precision and recall (van Rijsbergen 1979); 0 if nothing is
    classified as inside.

    It judges a threshold, as an AUC judges all thresholds together.
    """
    return float(2 * (is_called & is_inside).sum() / max(1, is_called.sum() + is_inside.sum()))


def r_squared(predicted: Float64Array, counts: NDArray[np.number]) -> float:
    """Compute the share of the counts' variance that predictions (N,) explain; negative if their
    mean does better.

    A rank correlation of 1 allows any curve: this asks whether the cell counts on a straight line.
    """
    return float(1 - ((counts - predicted) ** 2).sum() / ((counts - counts.mean()) ** 2).sum())


def resample_score(
    values: NDArray[np.generic], labels: NDArray[Any], polarity: int
) -> Float64Array:
    """Compute `measure_score` in each resample (R,) of the blocks of a text.

    `interval_of` makes an interval of the result. A resampled AUC uses values in NUM_GROUPS groups
    of similar rank; a resampled rho is the correlation of the ranks in the whole text.
    """
    ranks = average_ranks(values)
    if labels.dtype != bool:
        return _resample_spearman(ranks, average_ranks(labels))
    areas = _resample_auc(ranks, labels)
    return areas if polarity > 0 else 1 - areas


def _resample_auc(ranks: Float64Array, is_inside: BoolArray) -> Float64Array:
    num_chars = len(ranks)
    blocks, draws = draw_blocks(num_chars)

    # Count the characters of each group of ranks in each block, outside and inside.
    if len(np.unique(ranks)) > NUM_GROUPS:
        ranks = np.ceil(ranks * NUM_GROUPS / num_chars)
    distinct, groups = np.unique(ranks, return_inverse=True)
    shape = (2, draws.shape[1], len(distinct))
    bins = np.ravel_multi_index((is_inside.astype(np.int64), blocks, groups), shape)
    counts = np.bincount(bins, minlength=math.prod(shape)).astype(np.float64)
    outside, inside = counts.reshape(shape)

    # U of each pair of blocks (K, K): an equal value outside counts as half below. A resample
    # contains a pair of blocks as often as the product of their draws.
    below = np.cumsum(outside, axis=1) - outside / 2
    u = ((draws @ (inside @ below.T)) * draws).sum(axis=1)
    num_pairs = (draws @ inside.sum(axis=1)) * (draws @ outside.sum(axis=1))

    # A resample may have drawn no block with a label, or only such blocks: chance.
    return np.where(num_pairs > 0, u / np.maximum(num_pairs, 1), 0.5)


def _resample_spearman(ranks: Float64Array, count_ranks: Float64Array) -> Float64Array:
    # A correlation needs only the moments, which are sums over the drawn blocks. The ranks are
    # scaled to -1/2..1/2, so that differences of squares keep their digits.
    x = ranks / len(ranks) - 0.5
    y = count_ranks / len(ranks) - 0.5
    num_drawn, *sums = resample_sums(np.ones_like(x), x, y, x * x, y * y, x * y)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = sums / num_drawn

    # Var x · Var y and Cov xy of each resample. Rounding may make a variance negative.
    variances = (mean_xx - mean_x**2) * (mean_yy - mean_y**2)
    return divide(mean_xy - mean_x * mean_y, np.sqrt(np.maximum(0, variances)))

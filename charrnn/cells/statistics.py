"""Score one cell: exact statistics of values and labels, with an interval.

Shapes: N characters, C columns.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.bootstrap import draw_counts, percentiles
from charrnn.cells.records import CellScore
from charrnn.detectors.labels import Labels

Float64Array = NDArray[np.float64]
NUM_RESAMPLES = 200
"""Resamples of the bootstrap."""
BLOCK_LENGTH = 500
"""Characters per block of the bootstrap: neighbouring characters are not independent, blocks nearly are."""
NUM_GROUPS = 512
"""Groups of similar rank that the bootstrap resamples as one value each, so that it need not sort again."""
INTERIOR = 5
"""Characters after a label change from which on a character is interior: the delimiter is no longer the last input."""
MIN_INTERIOR = 50
"""Interior characters, inside and outside each, that an interior score needs."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The cell that the choosing half selects for a detector, and how its values map to labels."""

    cell: int
    polarity: int
    threshold: float | None = None
    """For yes/no labels: values from here on (polarity 1) or below it (-1) are classified as inside."""
    line: tuple[float, float] | None = None
    """For counts: slope and intercept of the straight line from the cell's value to the count."""


def average_ranks(values: NDArray[Any]) -> Float64Array:
    """Rank values 1..N along the first axis of (N, C); equal values share the mean of their ranks."""
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
    """Compute Spearman's rank correlation of each column of ranks (N, C) with counts (N,); 0 for a constant one."""
    target = average_ranks(counts)
    target -= target.mean()
    centred = ranks - ranks.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0) * (target**2).sum())
    return np.asarray(np.divide(target @ centred, norms, out=np.zeros(norms.shape), where=norms > 0))


def measure_score(values: NDArray[Any], labels: Labels, polarity: int) -> float:
    """Compute the AUC of polarity * values (N,) for yes/no labels (N,), or Spearman's rho of values and counts."""
    ranks = average_ranks(values)
    if labels.dtype != bool:
        return float(spearman(ranks, labels))
    area = float(auc(ranks, labels))
    return area if polarity > 0 else 1 - area


def score_from_association(association: float, polarity: int, *, is_yes_no: bool) -> float:
    """Convert an association in [-1, 1] to the score that is reported: the AUC of polarity * values, or rho."""
    return (1 + polarity * association) / 2 if is_yes_no else association


def f1(is_called: NDArray[np.bool_], is_inside: NDArray[np.bool_]) -> float:
    """Compute the harmonic mean of precision and recall (van Rijsbergen 1979); 0 if nothing is classified as inside."""
    return float(2 * (is_called & is_inside).sum() / max(1, is_called.sum() + is_inside.sum()))


def r_squared(predicted: NDArray[Any], counts: Labels) -> float:
    """Compute the share of the counts' variance that predictions (N,) explain; negative if their mean does better."""
    return float(1 - ((counts - predicted) ** 2).sum() / ((counts - counts.mean()) ** 2).sum())


def interior(labels: Labels) -> NDArray[np.bool_]:
    """Return whether each character (N,) is INTERIOR or more after the last label change, or before the first."""
    index = np.arange(len(labels))
    changes = np.append(False, labels[1:] != labels[:-1])
    last_change = np.maximum.accumulate(np.where(changes, index, -INTERIOR))
    return np.asarray(index - last_change >= INTERIOR)


def score_cell(
    detector: str, choice: Choice, num_units: int, values: NDArray[np.float32], labels: Labels, is_interior: Labels
) -> CellScore:
    """Score a selected cell by its values (N,) and labels (N,) on the half that did not select it."""
    is_yes_no = labels.dtype == bool
    value = measure_score(values, labels, choice.polarity)
    low, high = interval(values, labels, choice.polarity)
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


def draw_blocks(num_chars: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the block of each character (N,), and how often each resample draws each block (NUM_RESAMPLES, blocks).

    The generator is seeded: the same text gives the same intervals.
    """
    num_blocks = max(2, num_chars // BLOCK_LENGTH)
    return np.arange(num_chars) * num_blocks // num_chars, draw_counts(num_blocks, NUM_RESAMPLES)


def interval(values: NDArray[Any], labels: Labels, polarity: int) -> tuple[float, float]:
    """Compute the 95 % interval of a cell's score by `resample_score`."""
    return percentiles(resample_score(values, labels, polarity))


def resample_score(values: NDArray[Any], labels: Labels, polarity: int) -> Float64Array:
    """Compute a score in NUM_RESAMPLES resamples of blocks of BLOCK_LENGTH characters (Künsch 1989).

    values (N,), labels (N,). The resamples of a text are always the same, so that differences of scores can be taken
    one by one. A resampled AUC uses values in NUM_GROUPS groups of similar rank; a resampled rho is the
    correlation of the ranks in the whole text.
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
        inside, outside = (
            draws @ np.bincount(cell_of[chosen], minlength=num_blocks * len(distinct)).reshape(num_blocks, -1)
            for chosen in (labels, ~labels)
        )
        below = np.cumsum(outside, axis=1) - outside / 2
        pairs = inside.sum(axis=1) * outside.sum(axis=1)
        estimates = np.where(pairs > 0, (inside * below).sum(axis=1) / np.maximum(pairs, 1), 0.5)
        estimates = estimates if polarity > 0 else 1 - estimates
    else:
        x, y = ranks / num_chars - 0.5, average_ranks(labels) / num_chars - 0.5
        sums = [
            np.bincount(block, weights=part, minlength=num_blocks)
            for part in (np.ones_like(x), x, y, x * x, y * y, x * y)
        ]
        total, *moments = (draws @ np.stack(sums, axis=1)).T
        mean_x, mean_y, xx, yy, xy = (moment / total for moment in moments)
        norm = np.sqrt(np.maximum(0, (xx - mean_x**2) * (yy - mean_y**2)))
        estimates = np.divide(xy - mean_x * mean_y, norm, out=np.zeros(len(norm)), where=norm > 0)
    return np.asarray(estimates)

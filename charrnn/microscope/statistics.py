"""What one cell is worth: exact statistics of values and labels, with an interval.

Shapes: N characters, C columns.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.labels import Labels
from charrnn.records.microscope import CellScore

Floats = NDArray[np.float64]
NUM_RESAMPLES = 200
BLOCK_LENGTH = 500
"""Characters per block of the bootstrap: neighbouring characters are not independent, blocks nearly are."""
NUM_GROUPS = 512
"""Values of like rank are drawn together in the bootstrap, which so need not sort again."""
INTERIOR = 5
"""A character so many after the last change of its label is interior: what changed the label is out of sight."""
MIN_INTERIOR = 50
"""Fewer interior characters than this, inside or outside, are not scored."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the first part of a text decided about a detector: which cell, and how it is read."""

    cell: int
    polarity: int
    threshold: float | None = None
    """For yes/no labels: from this value on (polarity 1) or below it (-1) the cell says inside."""
    line: tuple[float, float] | None = None
    """For counts: slope and intercept of the straight line from the cell's value to the count."""


def average_ranks(values: NDArray[Any]) -> Floats:
    """Ranks 1..N along the first axis of (N, C); equal values share the mean of their ranks."""
    columns = values.reshape(len(values), -1)
    ranks = np.empty(columns.shape, np.float64)
    for column in range(columns.shape[1]):
        _, group, sizes = np.unique(columns[:, column], return_inverse=True, return_counts=True)
        ranks[:, column] = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    return ranks.reshape(values.shape)


def auc(ranks: Floats, is_inside: NDArray[np.bool_]) -> Floats:
    """Area under the ROC curve of each column of ranks (N, C) for labels (N,): Mann & Whitney's U over its maximum."""
    num_inside = int(is_inside.sum())
    num_outside = len(is_inside) - num_inside
    u = is_inside.astype(np.float64) @ ranks - num_inside * (num_inside + 1) / 2
    return np.asarray(u / (num_inside * num_outside))


def spearman(ranks: Floats, counts: NDArray[Any]) -> Floats:
    """Spearman's rank correlation of each column of ranks (N, C) with counts (N,); 0 for a column that is constant."""
    target = average_ranks(counts)
    target -= target.mean()
    centred = ranks - ranks.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0) * (target**2).sum())
    return np.asarray(np.divide(target @ centred, norms, out=np.zeros(norms.shape), where=norms > 0))


def strength(values: NDArray[Any], labels: Labels, polarity: int) -> float:
    """AUC, turned by the polarity, of values (N,) for yes/no labels (N,), or Spearman's rho (its sign kept)."""
    ranks = average_ranks(values)
    if labels.dtype != bool:
        return float(spearman(ranks, labels))
    found = float(auc(ranks, labels))
    return found if polarity > 0 else 1 - found


def read_strength(value: float, polarity: int, *, is_yes_no: bool) -> float:
    """A signed strength in [-1, 1] as it is reported: the AUC, turned by the polarity, or Spearman's rho."""
    return (1 + polarity * value) / 2 if is_yes_no else value


def f1(is_called: NDArray[np.bool_], is_inside: NDArray[np.bool_]) -> float:
    """Harmonic mean of precision and recall (van Rijsbergen 1979); 0 where nothing is called."""
    return float(2 * (is_called & is_inside).sum() / max(1, is_called.sum() + is_inside.sum()))


def r_squared(predicted: NDArray[Any], counts: Labels) -> float:
    """Share of the counts' variance that predictions (N,) explain; under 0 where their mean would do better."""
    return float(1 - ((counts - predicted) ** 2).sum() / ((counts - counts.mean()) ** 2).sum())


def interior(labels: Labels) -> NDArray[np.bool_]:
    """Whether each character (N,) is INTERIOR or more after the last that changed the label, or before the first."""
    index = np.arange(len(labels))
    changes = np.append(False, labels[1:] != labels[:-1])
    last_change = np.maximum.accumulate(np.where(changes, index, -INTERIOR))
    return np.asarray(index - last_change >= INTERIOR)


def score_cell(
    detector: str, choice: Choice, num_units: int, values: NDArray[np.float32], labels: Labels, is_interior: Labels
) -> CellScore:
    """The score of a chosen cell from its values (N,) and labels (N,) on text that it was not chosen on."""
    is_yes_no = labels.dtype == bool
    value = strength(values, labels, choice.polarity)
    low, high = interval(values, labels, choice.polarity)
    r2 = best_f1 = inner = None
    if choice.threshold is not None:
        best_f1 = f1((values >= choice.threshold) == (choice.polarity > 0), labels)
        inside = labels[is_interior]
        if min(inside.sum(), (~inside).sum()) >= MIN_INTERIOR:
            inner = strength(values[is_interior], inside, choice.polarity)
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
    """The block each character belongs to (N,), and how often each resample draws each block (NUM_RESAMPLES, blocks).

    The generator is seeded: the same text gives the same intervals.
    """
    num_blocks = max(2, num_chars // BLOCK_LENGTH)
    block = np.arange(num_chars) * num_blocks // num_chars
    generator = np.random.default_rng(0)
    return block, generator.multinomial(num_blocks, np.full(num_blocks, 1 / num_blocks), size=NUM_RESAMPLES)


def percentiles(estimates: Any) -> tuple[float, float]:
    """The 95 % interval of resampled estimates."""
    low, high = np.quantile(np.asarray(estimates), [0.025, 0.975])
    return float(low), float(high)


def interval(values: NDArray[Any], labels: Labels, polarity: int) -> tuple[float, float]:
    """95 % interval of a cell's AUC or rho by resampling blocks of BLOCK_LENGTH characters (Künsch 1989).

    values (N,), labels (N,). A resampled AUC is that of
    values in NUM_GROUPS groups of like rank, a resampled rho the correlation of the ranks in the whole text.
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
    return percentiles(estimates)

"""The scoring half: score a cell for a target by values that had no part in the choice.

Shapes: N characters of the text, n of the half.
"""

import numpy as np

from charrnn.cells.choosing_half import Choice
from charrnn.cells.findings import CellScore
from charrnn.cells.target_labels import Target
from charrnn.detectors.detector import Labels
from charrnn.statistics.agreement import (
    f1,
    measure_score,
    r_squared,
    resample_score,
    score_from_association,
)
from charrnn.statistics.intervals import interval_of
from charrnn.system.arrays import BoolArray, Float32Array

INTERIOR = 5
"""A character so many characters after a label change is interior: the delimiter is no longer the
last input."""
MIN_INTERIOR = 50
"""Least number of interior characters inside, and as many outside, for an interior score."""


def score_choice(
    target: Target, choice: Choice, values: Float32Array, *, association: float, num_units: int
) -> CellScore:
    """Score a cell for a target by its values (n,) on the scoring half.

    `association` is the cell's association on the choosing half, and `num_units` is H.
    """
    # The polarity comes from the choosing half: a cell that has turned round scores below chance.
    labels = target.scoring_labels
    polarity = choice.polarity
    cell_score = measure_score(values, labels=labels, polarity=polarity)
    resampled = resample_score(values, labels=labels, polarity=polarity)
    low, high = interval_of(resampled, len(labels))
    auc = spearman = None
    if target.is_yes_no:
        auc = cell_score
    else:
        spearman = cell_score

    # The threshold and the line, too, were fitted on the choosing half.
    r2 = f1_at_threshold = None
    if choice.threshold is not None:
        f1_at_threshold = f1((values >= choice.threshold) == (polarity > 0), labels)
    if choice.line is not None:
        slope, intercept = choice.line
        r2 = r_squared(slope * values.astype(np.float64) + intercept, labels)

    layer, unit = divmod(choice.cell, num_units)
    return CellScore(
        detector=target.name,
        layer=layer,
        unit=unit,
        polarity=polarity,
        num_positive=int((labels > 0).sum()),
        auc=auc,
        spearman=spearman,
        ci_low=low,
        ci_high=high,
        chosen_on=score_from_association(association, polarity, is_yes_no=target.is_yes_no),
        r2=r2,
        threshold=choice.threshold,
        f1=f1_at_threshold,
    )


def score_interior(target: Target, values: Float32Array, polarity: int) -> float | None:
    """Return the AUC of values (n,) over interior characters; None for a count, or where they are
    too few."""
    if not target.is_yes_no:
        return None

    # Changes are looked for in the whole text: the last change may be in the choosing half.
    is_interior = interior(target.labels)[target.half :]
    inside = target.scoring_labels[is_interior]
    if min(inside.sum(), (~inside).sum()) < MIN_INTERIOR:
        return None
    return measure_score(values[is_interior], labels=inside, polarity=polarity)


def interior(labels: Labels) -> BoolArray:
    """Return whether each character (N,) is INTERIOR or more after the last label change, or before
    the first."""
    index = np.arange(len(labels))
    changes = np.append(False, labels[1:] != labels[:-1])
    # Before the first change, as if a change stood INTERIOR characters before the text.
    last_change = np.maximum.accumulate(np.where(changes, index, -INTERIOR))
    return np.asarray(index - last_change >= INTERIOR)

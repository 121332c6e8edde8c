"""The scoring half: score the cell that the choosing half selected for a target.

Shapes: N characters of the half (n of them in a window), C cells.
"""

import numpy as np

from charrnn.cells.choosing_half import Choice
from charrnn.cells.findings import CellScore
from charrnn.cells.target_labels import Target
from charrnn.detectors.detector import Labels
from charrnn.statistics.agreement import f1, measure_score, r_squared, resample_score
from charrnn.statistics.intervals import interval_of
from charrnn.system.arrays import BoolArray, Float32Array, Int64Array

INTERIOR = 5
"""A character so many characters after a label change is interior: the delimiter is no longer the
last input."""
MIN_INTERIOR = 50
"""Least number of interior characters inside, and as many outside, for an interior score."""


class TargetScorer:
    """Scores the cell of a target on the scoring half."""

    def __init__(self, target: Target, choice: Choice) -> None:
        self.target = target
        self.choice = choice
        self._labels = target.scoring_labels
        self._values = np.empty(len(self._labels), np.float32)

    def add(self, indices: Int64Array, cells: Float32Array) -> None:
        """Add the cells (n, C) at characters (n,) of the scoring half."""
        # The values of a cell fit into memory, so its score is exact.
        self._values[indices] = cells[:, self.choice.cell]

    def score(self, num_units: int) -> CellScore:
        """Return the score of the cell on the scoring half, after all characters were added."""
        choice = self.choice
        values = self._values
        labels = self._labels

        # The polarity comes from the choosing half: a cell that has turned round scores below
        # chance.
        cell_score = measure_score(values, labels=labels, polarity=choice.polarity)
        resampled = resample_score(values, labels=labels, polarity=choice.polarity)
        low, high = interval_of(resampled, len(labels))
        auc = spearman = None
        if self.target.is_yes_no:
            auc = cell_score
        else:
            spearman = cell_score

        # The threshold and the line, too, were fitted on the choosing half.
        r2 = f1_at_threshold = None
        if choice.threshold is not None:
            f1_at_threshold = f1((values >= choice.threshold) == (choice.polarity > 0), labels)
        if choice.line is not None:
            slope, intercept = choice.line
            r2 = r_squared(slope * values.astype(np.float64) + intercept, labels)

        layer, unit = divmod(choice.cell, num_units)
        return CellScore(
            detector=self.target.name,
            layer=layer,
            unit=unit,
            polarity=choice.polarity,
            num_positive=int((labels > 0).sum()),
            auc=auc,
            spearman=spearman,
            ci_low=low,
            ci_high=high,
            r2=r2,
            threshold=choice.threshold,
            f1=f1_at_threshold,
            interior=self._score_interior(),
        )

    def _score_interior(self) -> float | None:
        """Return the AUC over interior characters; None for a count, or where they are too few."""
        if not self.target.is_yes_no:
            return None

        # Changes are looked for in the whole text: the last change may be in the choosing half.
        is_interior = interior(self.target.labels)[self.target.half :]
        inside = self._labels[is_interior]
        if min(inside.sum(), (~inside).sum()) < MIN_INTERIOR:
            return None
        return measure_score(
            self._values[is_interior], labels=inside, polarity=self.choice.polarity
        )


def interior(labels: Labels) -> BoolArray:
    """Return whether each character (N,) is INTERIOR or more after the last label change, or before
    the first."""
    index = np.arange(len(labels))
    changes = np.append(False, labels[1:] != labels[:-1])
    # Before the first change, as if a change stood INTERIOR characters before the text.
    last_change = np.maximum.accumulate(np.where(changes, index, -INTERIOR))
    return np.asarray(index - last_change >= INTERIOR)

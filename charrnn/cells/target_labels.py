"""The labels of a text that cells are scored for.

Shapes: N characters, n at the beginning of the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from charrnn.cells.records import Skipped
from charrnn.detectors.detector import Detector, Labels, why_not_scored
from charrnn.errors import check_length
from charrnn.statistics.agreement import average_ranks
from charrnn.system.arrays import Float64Array

MIN_TEXT = 200
"""Characters that a text needs for its halves to be scored."""


@dataclass(frozen=True, eq=False)
class Target:
    """A detector's labels (N,) of the whole text. The first `half` characters choose a cell, the
    rest score it.

    Once a text is labelled, nothing is measured by the detector itself: two detectors with the same
    labels have the same scores.
    """

    name: str
    labels: Labels
    half: int

    @property
    def is_yes_no(self) -> bool:
        """Whether the labels are booleans, not counts."""
        return self.labels.dtype == bool

    @property
    def scoring_labels(self) -> Labels:
        """The labels of the scoring half."""
        return self.labels[self.half :]

    def ranks(self, num_chars: int) -> Float64Array:
        """Return the numbers that histograms sum for the first `num_chars` characters (n,): 0 or 1,
        or the centred rank of a count."""
        labels = self.labels[:num_chars]
        if self.is_yes_no:
            return labels.astype(np.float64)
        # About 0, so that a sum of products is a covariance.
        return average_ranks(labels) - (num_chars + 1) / 2


class ChosenTargets(NamedTuple):
    """The detectors by which a text can be scored, and the others."""

    targets: list[Target]
    """Labels of the detectors with enough labels in both halves, in the order of the detectors."""
    skipped: list[Skipped]
    """The other detectors, with the reason."""


def choose_targets(text: str, detectors: Sequence[Detector]) -> ChosenTargets:
    """Label a text, before its cells are scored: cells are chosen on one half and scored on the
    other, so both need enough labels.

    A detector that it leaves out costs no reading of the text by the network.

    Raises DataError for a text under MIN_TEXT characters.
    """
    num_chars = len(text)
    check_length(num_chars, least=MIN_TEXT, what="scoring cells")
    half = num_chars // 2
    targets = []
    skipped = []
    for detector in detectors:
        labels = detector.labels_of(text)
        if labels is None:
            skipped.append(Skipped(detector=detector.name, reason=detector.absence))
            continue

        # The whole text first: "no label at all" says more than "no label in a half".
        reason = None
        for stretch in (labels, labels[:half], labels[half:]):
            reason = reason or why_not_scored(stretch)
        if reason is None:
            targets.append(Target(name=detector.name, labels=labels, half=half))
        else:
            skipped.append(Skipped(detector=detector.name, reason=reason))
    return ChosenTargets(targets, skipped)

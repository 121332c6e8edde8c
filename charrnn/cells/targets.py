"""Targets: the labels that cells are scored against, with enough labels in both halves of the text.

Shapes: N characters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.records import Skipped
from charrnn.cells.statistics import average_ranks
from charrnn.detectors.detector import Detector
from charrnn.detectors.labels import Labels, why_not_scored
from charrnn.detectors.registry import get_detectors
from charrnn.errors import DataError, UsageError, counted, named

Float64Array = NDArray[np.float64]
MIN_TEXT = 200
"""Characters that a text needs for its halves to be scored."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One detector's labels (N,) of the whole text."""

    name: str
    labels: Labels
    half: int

    @property
    def is_yes_no(self) -> bool:
        """Whether the labels are booleans, not counts."""
        return self.labels.dtype == bool

    def scale(self, num_chars: int) -> tuple[Float64Array, float]:
        """Return what histograms sum for the first `num_chars` characters (n,), and its spread; see `associations`."""
        labels = self.labels[:num_chars]
        if self.is_yes_no:
            return labels.astype(np.float64), float(labels.sum()) * float((~labels).sum())
        ranks = average_ranks(labels) - (num_chars + 1) / 2
        return ranks, float((ranks**2).sum())


def choose_targets(text: str, detectors: Sequence[Detector]) -> tuple[list[Target], list[Skipped]]:
    """Label a text; return the detectors with enough labels in both halves, in order, and the others with the reason.

    Raises DataError for a text under MIN_TEXT characters.
    """
    num_chars = len(text)
    if num_chars < MIN_TEXT:
        raise DataError(
            f"The text has {counted(num_chars, 'character')}; scoring cells needs at least {MIN_TEXT}. "
            f"Give a longer {named('text')}."
        )
    half = num_chars // 2
    targets, skipped = [], []
    for detector in detectors:
        labels = detector.label_documents(text)
        reason = why_not_scored(labels, detector.absence)
        if reason is None and labels is not None:
            reason = why_not_scored(labels[:half]) or why_not_scored(labels[half:])
        if reason is not None or labels is None:
            skipped.append(Skipped(detector=detector.name, reason=reason or ""))
        else:
            targets.append(Target(detector.name, labels, half))
    return targets, skipped


def label_by_name(
    text: str, names: Sequence[str], detectors: Sequence[str | Detector] | None = None
) -> dict[str, Labels]:
    """Label a text of N characters by those of `detectors` (the built-in ones, if None) that `names` lists.

    Returns labels (N,) by name. Raises UsageError if a detector is missing or does not apply to this text.
    """
    by_name = {detector.name: detector for detector in get_detectors(detectors)}
    by_detector: dict[str, Labels] = {}
    for name in dict.fromkeys(names):
        labels = by_name[name].label_documents(text) if name in by_name else None
        if labels is None:
            raise UsageError(f"No detector {name!r} applies to this text: give the detectors of the findings.")
        by_detector[name] = labels
    return by_detector

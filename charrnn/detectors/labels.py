"""Labels of a text, one per character, and whether there are enough of them to score a cell.

A label says what holds *after reading* its character: the opening quotation mark is inside, the closing one is not.
An opening mark of several characters (`//`, `if`, `http://`) is inside from its first.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import counted

Labels = NDArray[Any]
"""Labels (N,) of a text of N characters: bool for a yes/no detector, int64 for a count detector."""
MIN_POSITIVES = 50
"""A yes/no detector is scored if at least so many characters are inside, and as many outside."""
MIN_SPANS = 5
"""A yes/no detector is scored if there are at least so many spans; a count detector, if twice as many changes."""


def why_not_scored(labels: Labels | None, absence: str = "it does not apply to this text") -> str | None:
    """Return why these labels (N,) cannot be scored, or None if they can. `absence` is the reason if there are none."""
    if labels is None:
        return absence
    if labels.dtype != bool:
        return _why_count_not_scored(labels)
    num_inside = int(labels.sum())
    num_spans = int(np.diff(labels.astype(np.int8), prepend=0).clip(0).sum())
    if num_inside == 0:
        return "there are none in this text"
    if num_inside < MIN_POSITIVES or num_spans < MIN_SPANS:
        return f"too few: {counted(num_spans, 'span')}, {counted(num_inside, 'character')} inside"
    if len(labels) - num_inside < MIN_POSITIVES:
        return "nearly every character is inside"
    return None


def _why_count_not_scored(counts: Labels) -> str | None:
    num_changes = int(np.count_nonzero(np.diff(counts)))
    if num_changes == 0:
        return "it never changes in this text"
    num_unusual = len(counts) - int(np.unique(counts, return_counts=True)[1].max())
    # A segment with another value is two changes.
    if num_unusual < MIN_POSITIVES or num_changes < 2 * MIN_SPANS:
        unusual = counted(num_unusual, "character")
        return f"too few: {counted(num_changes, 'change')}, {unusual} with another value than most"
    return None

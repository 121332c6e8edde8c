"""Select the segment of a text that shows a cell, or ablates it, best."""

import re
from dataclasses import dataclass

import numpy as np

from charrnn.detectors.labels import Labels
from charrnn.display import Displayable
from charrnn.records.microscope import CellScore, ColouredText

NUM_LINES = 8
"""Lines of a passage."""
MAX_LENGTH = 900
"""Characters of a passage, at most."""
MAX_COUNT = 80
"""Counts are clipped to this before their variance is computed, so that one long line does not decide."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage(Displayable):
    """A segment of a text and the values of the cell that follows a detector best."""

    score: CellScore
    begin: int
    """The index in the text of its first character."""
    coloured: ColouredText


def choose_passage(text: str, labels: Labels, first: int) -> slice:
    """Select NUM_LINES lines from index `first` on, at most MAX_LENGTH characters, with the largest label variance.

    labels (N,). A line ends with a newline or with the END of a document. The variance of yes/no labels is p (1 - p).
    """
    starts = np.array([first, *(match.end() for match in re.finditer("[\n\0]", text[first:-1]))])
    starts[1:] += first
    ends = np.append(starts[NUM_LINES:], len(text))
    # A passage that reaches the end has fewer lines. Only the first such is kept: one short line would beat all others.
    starts = starts[: len(ends)]
    ends = np.minimum(ends, starts + MAX_LENGTH)
    values = np.minimum(labels.astype(np.float64), MAX_COUNT)
    sums, squares = (np.append(0.0, np.cumsum(values**power)) for power in (1, 2))
    lengths = np.maximum(1, ends - starts)
    means = (sums[ends] - sums[starts]) / lengths
    variances = (squares[ends] - squares[starts]) / lengths - means**2
    best = int(variances.argmax())
    return slice(int(starts[best]), int(ends[best]))


def most_changes(labels: Labels, first: int, length: int) -> int:
    """Return where, from index `first` on, the segment of `length` characters with the most label changes begins.

    labels (N,).
    """
    changes = np.append(0, np.cumsum(labels[first + 1 :] != labels[first:-1]))
    last = max(1, len(labels) - first - length + 1)
    inside = changes[np.minimum(np.arange(last) + length - 1, len(changes) - 1)] - changes[:last]
    return first + int(inside.argmax())

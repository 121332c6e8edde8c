"""Which stretch of a text shows a cell at work."""

import re

import numpy as np

from charrnn.detectors.labels import Labels

NUM_LINES = 8
MAX_LENGTH = 900
MAX_COUNT = 80


def choose_passage(text: str, labels: Labels, first: int) -> slice:
    """The NUM_LINES lines from index `first` on, at most MAX_LENGTH characters, over which labels (N,) vary the most.

    Variance is p (1 - p) for yes/no labels; counts are cut off at MAX_COUNT, lest one long line win.
    """
    starts = np.array([first, *(match.end() for match in re.finditer("\n", text[first:-1]))])
    starts[1:] += first
    ends = np.append(starts[NUM_LINES:], len(text))
    # What runs over the end has fewer lines: one short line would beat every passage.
    starts = starts[: len(ends)]
    ends = np.minimum(ends, starts + MAX_LENGTH)
    values = np.minimum(labels.astype(np.float64), MAX_COUNT)
    sums, squares = (np.append(0.0, np.cumsum(values**power)) for power in (1, 2))
    lengths = np.maximum(1, ends - starts)
    means = (sums[ends] - sums[starts]) / lengths
    variances = (squares[ends] - squares[starts]) / lengths - means**2
    best = int(variances.argmax())
    return slice(int(starts[best]), int(ends[best]))


def busiest(labels: Labels, first: int, length: int) -> int:
    """Where, from index `first` on, the `length` characters begin in which labels (N,) change most often."""
    changes = np.append(0, np.cumsum(labels[first + 1 :] != labels[first:-1]))
    last = max(1, len(labels) - first - length + 1)
    inside = changes[np.minimum(np.arange(last) + length - 1, len(changes) - 1)] - changes[:last]
    return first + int(inside.argmax())

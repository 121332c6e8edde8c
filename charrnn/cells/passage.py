"""Select the segment of a text that shows a cell, or ablates it, best."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.records import CellScore, ColouredText
from charrnn.cells.scores import Read
from charrnn.cells.statistics import measure_score
from charrnn.detectors.labels import Labels
from charrnn.display import Displayable

NUM_LINES = 8
"""Lines of a passage."""
MAX_LENGTH = 900
"""Characters of a passage, at most."""
MAX_COUNT = 80
"""Counts are clipped to this before their variance is computed, so that one long line does not decide."""
NUM_CHANGES = 6
"""Changes of a label that are enough: three spans. More do not add to the contrast of a passage."""
NUM_CANDIDATES = 9
"""Passages of which the typical one is selected, at most."""
MIN_CONTRAST = 0.5
"""Share of the largest contrast that a passage has at least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage(Displayable):
    """A segment of a text and the values of the cell that follows a detector best."""

    score: CellScore
    begin: int
    """The index in the text of its first character."""
    coloured: ColouredText


def choose_passages(
    text: str, shown: Sequence[tuple[CellScore, Labels]], half: int, read: Read, num_units: int
) -> list[slice]:
    """Select a passage of the scoring half for each score with its detector's labels (N,), after reading that half.

    The agreement of a cell with the labels of a passage is its score there, with the sign of its polarity.
    """
    values = np.empty((len(text) - half, len(shown)), np.float32)
    for indices, cells in read(half, len(text)):
        values[indices] = cells[:, [score.layer * num_units + score.unit for score, _ in shown]]

    def choose(score: CellScore, labels: Labels, of_cell: NDArray[np.float32]) -> slice:
        def agreement(part: slice) -> float:
            measured = measure_score(of_cell[part.start - half : part.stop - half], labels[part], score.polarity)
            return measured if labels.dtype == bool else score.polarity * measured

        return choose_passage(text, labels, half, agreement)

    return [choose(score, labels, of_cell) for (score, labels), of_cell in zip(shown, values.T, strict=True)]


def choose_passage(text: str, labels: Labels, first: int, agreement: Callable[[slice], float]) -> slice:
    """Select a passage from index `first` on in which the label changes, and which is typical of the cell.

    labels (N,). Of the `contrasting_passages`, the one with the median `agreement` is selected (the lower one of two):
    half of the others follow the detector at least as well. The cell's best place is not searched for.
    """
    candidates = contrasting_passages(text, labels, first)
    agreements = [agreement(part) if len(candidates) > 1 else 0.0 for part in candidates]
    order = sorted(range(len(candidates)), key=lambda index: (agreements[index], index))
    return candidates[order[(len(order) - 1) // 2]]


def contrasting_passages(text: str, labels: Labels, first: int) -> list[slice]:
    """Return the passages from index `first` on with the largest contrast of labels, which do not overlap, best first.

    labels (N,). A passage is NUM_LINES lines, at most MAX_LENGTH characters; a line ends with a newline or with the END
    of a document. Its contrast is the variance of its labels, which is p (1 - p) for yes/no labels, times the number of
    changes of the label up to NUM_CHANGES. There are at most NUM_CANDIDATES, none with less than MIN_CONTRAST of the
    contrast of the first.
    """
    starts, ends = _segments(text, first)
    contrasts = _contrasts(labels, starts, ends)
    chosen: list[slice] = []
    least = MIN_CONTRAST * float(contrasts.max())
    while len(chosen) < NUM_CANDIDATES:
        best = int(contrasts.argmax())
        if contrasts[best] < least:
            break
        chosen.append(slice(int(starts[best]), int(ends[best])))
        contrasts[(starts < ends[best]) & (ends > starts[best])] = -1.0
    return chosen


def _segments(text: str, first: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where every passage from index `first` on begins and ends."""
    starts = np.array([first, *(match.end() for match in re.finditer("[\n\0]", text[first:-1]))])
    starts[1:] += first
    ends = np.append(starts[NUM_LINES:], len(text))
    # A passage that reaches the end has fewer lines. Only the first such is kept: one short line would beat all others.
    starts = starts[: len(ends)]
    return starts, np.minimum(ends, starts + MAX_LENGTH)


def _contrasts(labels: Labels, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.float64]:
    values = np.minimum(labels.astype(np.float64), MAX_COUNT)
    sums, squares = (np.append(0.0, np.cumsum(values**power)) for power in (1, 2))
    lengths = np.maximum(1, ends - starts)
    means = (sums[ends] - sums[starts]) / lengths
    variances = (squares[ends] - squares[starts]) / lengths - means**2
    # changes[i]: how many of the first i + 1 labels differ from the one before.
    changes = np.append(0, np.cumsum(labels[1:] != labels[:-1]))
    num_changes = changes[ends - 1] - changes[starts]
    contrasts: NDArray[np.float64] = np.maximum(0.0, variances) * np.minimum(NUM_CHANGES, num_changes)
    return contrasts


def most_changes(labels: Labels, first: int, length: int) -> int:
    """Return where, from index `first` on, the segment of `length` characters with the most label changes begins.

    labels (N,).
    """
    changes = np.append(0, np.cumsum(labels[first + 1 :] != labels[first:-1]))
    last = max(1, len(labels) - first - length + 1)
    inside = changes[np.minimum(np.arange(last) + length - 1, len(changes) - 1)] - changes[:last]
    return first + int(inside.argmax())

"""Every cell in the order in which it follows a detector, to browse through.

Shapes: N characters, C = L * H cells.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.registry import Detector, Labels
from charrnn.microscope.statistics import auc, average_ranks, spearman
from charrnn.microscope.trace import Trace
from charrnn.records.microscope import CellScore

CELLS_AT_ONCE = 32
"""Ranks are float64: of all cells at once they would take twice as much memory as the trace."""


def rank_cells(
    trace: Trace, detectors: Sequence[Detector], on_progress: Callable[[int], object] = lambda num_cells: None
) -> dict[str, tuple[CellScore, ...]]:
    """All cells for each detector, by name: ordered by their strength on the first half, scored on the second.

    The first of them is the cell that `find_cells` reports, with the same score. The detectors must be ones that can
    be scored on this text. `on_progress` is told how many cells were measured since it was last called.
    """
    num_chars, _, num_units = trace.cells.shape
    cells, half = trace.cells.reshape(num_chars, -1), num_chars // 2
    labels = [labels for detector in detectors if (labels := detector.label(trace.text)) is not None]
    assert len(labels) == len(detectors), "a detector that can be scored has labels"
    strengths = np.empty((2, len(detectors), cells.shape[1]))
    for begin in range(0, cells.shape[1], CELLS_AT_ONCE):
        here = slice(begin, begin + CELLS_AT_ONCE)
        for part, rows in enumerate((slice(None, half), slice(half, None))):
            ranks = average_ranks(cells[rows, here])
            for index, found in enumerate(labels):
                strengths[part, index, here] = _measure(ranks, found[rows])
        on_progress(ranks.shape[1])
    ranked = {}
    for detector, found, chosen_on, scored_on in zip(detectors, labels, *strengths, strict=True):
        is_yes_no, num_positive = found.dtype == bool, int((found[half:] > 0).sum())
        scores = []
        for cell in np.argsort(-np.abs(chosen_on), kind="stable").tolist():
            polarity = 1 if chosen_on[cell] >= 0 else -1
            value = float(scored_on[cell])
            scores.append(
                CellScore(
                    detector=detector.name,
                    layer=cell // num_units,
                    unit=cell % num_units,
                    polarity=polarity,
                    num_positive=num_positive,
                    auc=(1 + polarity * value) / 2 if is_yes_no else None,
                    spearman=None if is_yes_no else value,
                )
            )
        ranked[detector.name] = tuple(scores)
    return ranked


def _measure(ranks: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """Signed strength in [-1, 1] of each column of ranks (N, C): 2 * AUC - 1 for yes/no labels, Spearman's rho else."""
    return 2 * auc(ranks, labels) - 1 if labels.dtype == bool else spearman(ranks, labels)

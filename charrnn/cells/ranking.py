"""Rank all cells by how closely they follow a detector.

Shapes: n characters of the second half, C = L * H cells.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.records import CellScore
from charrnn.cells.scores import Measured
from charrnn.cells.statistics import auc, average_ranks, score_from_association, spearman
from charrnn.cells.targets import Target
from charrnn.detectors.labels import Labels

Float32Array = NDArray[np.float32]
CELLS_AT_ONCE = 32
"""Cells that are ranked at once: their float64 ranks take twice as much memory as their values."""


def measure_all(
    cells: Float32Array, targets: Sequence[Target], on_progress: Callable[[int], object] = lambda num_cells: None
) -> list[Float32Array]:
    """Compute the association (C,) of every cell with each target on the scoring half: 2 * AUC - 1, or Spearman's rho.

    cells (n, C) are the values over that half. `on_progress` is called with the number of cells measured since its last
    call.
    """
    associations = np.empty((len(targets), cells.shape[1]), np.float32)
    for begin in range(0, cells.shape[1], CELLS_AT_ONCE):
        here = slice(begin, begin + CELLS_AT_ONCE)
        ranks = average_ranks(cells[:, here])
        for index, target in enumerate(targets):
            associations[index, here] = _measure(ranks, target.labels[target.half :])
        on_progress(ranks.shape[1])
    return list(associations)


def rank(target: Target, measured: Measured, second_half: Float32Array, num_units: int) -> tuple[CellScore, ...]:
    """Return the scores of all cells for a target, ordered by their strength on the choosing half.

    The first is the selected cell, with its score from `measure`. second_half (C,) is from `measure_all`; `num_units`
    is H.
    """
    best = measured.score.layer * num_units + measured.score.unit
    order = np.argsort(-np.abs(measured.first_half), kind="stable").tolist()
    order.remove(best)  # rounded to float32, others may have the same strength
    scores = [measured.score]
    for cell in order:
        chosen_on = float(measured.first_half[cell])
        polarity = 1 if chosen_on >= 0 else -1
        reached = score_from_association(float(second_half[cell]), polarity, is_yes_no=target.is_yes_no)
        scores.append(
            CellScore(
                detector=target.name,
                layer=cell // num_units,
                unit=cell % num_units,
                polarity=polarity,
                num_positive=measured.score.num_positive,
                auc=reached if target.is_yes_no else None,
                spearman=None if target.is_yes_no else reached,
                chosen_on=score_from_association(chosen_on, polarity, is_yes_no=target.is_yes_no),
            )
        )
    return tuple(scores)


def _measure(ranks: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """Compute the association of each column of ranks (n, C): 2 * AUC - 1 for yes/no labels, else Spearman's rho."""
    return 2 * auc(ranks, labels) - 1 if labels.dtype == bool else spearman(ranks, labels)

"""Every cell in the order in which it follows a detector, to browse through.

Shapes: n characters of the second half, C = L * H cells.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.labels import Labels
from charrnn.microscope.statistics import auc, average_ranks, read_strength, spearman
from charrnn.microscope.survey import Measured
from charrnn.microscope.targets import Target
from charrnn.records.microscope import CellScore

Floats = NDArray[np.float32]
CELLS_AT_ONCE = 32
"""Ranks are float64: of all cells at once they would take twice as much memory as the values."""


def measure_all(
    cells: Floats, targets: Sequence[Target], on_progress: Callable[[int], object] = lambda num_cells: None
) -> list[Floats]:
    """How well every cell follows each target on the second half: (C,) of 2 * AUC - 1, or Spearman's rho, signed.

    cells (n, C) are those of the second half's characters. `on_progress` is told how many cells were measured since it
    was last called.
    """
    strengths = np.empty((len(targets), cells.shape[1]), np.float32)
    for begin in range(0, cells.shape[1], CELLS_AT_ONCE):
        here = slice(begin, begin + CELLS_AT_ONCE)
        ranks = average_ranks(cells[:, here])
        for index, target in enumerate(targets):
            strengths[index, here] = _measure(ranks, target.labels[target.half :])
        on_progress(ranks.shape[1])
    return list(strengths)


def rank(target: Target, measured: Measured, second_half: Floats, num_units: int) -> tuple[CellScore, ...]:
    """The scores of all cells for a target, in the order of their strength on the first half.

    The first of them is the one that was chosen, with the score that `measure` gave it. second_half (C,) is from
    `measure_all`; `num_units` is H.
    """
    best = measured.score.layer * num_units + measured.score.unit
    order = np.argsort(-np.abs(measured.first_half), kind="stable").tolist()
    order.remove(best)  # as float32 it may share its strength with others
    scores = [measured.score]
    for cell in order:
        chosen_on = float(measured.first_half[cell])
        polarity = 1 if chosen_on >= 0 else -1
        reached = read_strength(float(second_half[cell]), polarity, is_yes_no=target.is_yes_no)
        scores.append(
            CellScore(
                detector=target.name,
                layer=cell // num_units,
                unit=cell % num_units,
                polarity=polarity,
                num_positive=measured.score.num_positive,
                auc=reached if target.is_yes_no else None,
                spearman=None if target.is_yes_no else reached,
                chosen_on=read_strength(chosen_on, polarity, is_yes_no=target.is_yes_no),
            )
        )
    return tuple(scores)


def _measure(ranks: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """Signed strength in [-1, 1] of each column of ranks (n, C): 2 * AUC - 1 for yes/no labels, Spearman's rho else."""
    return 2 * auc(ranks, labels) - 1 if labels.dtype == bool else spearman(ranks, labels)

"""Rank all cells for each detector: by their association on the choosing half of a text, with their
scores on the scoring half.

Shapes: C = L * H cells, n characters of the scoring half.
"""

from collections.abc import Sequence

import numpy as np

from charrnn.cells.choosing_half import polarity_of
from charrnn.cells.records import CellScore
from charrnn.cells.scores import Measured
from charrnn.cells.study import Study
from charrnn.cells.target_labels import Target, choose_targets
from charrnn.cells.trace import read_columns
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import get_detectors
from charrnn.statistics.agreement import (
    association_from_auc,
    auc,
    average_ranks,
    score_from_association,
    spearman,
)
from charrnn.system.arrays import Float32Array

CELLS_AT_ONCE = 32
"""Cells whose values are ranked at once: their float64 ranks take twice the memory of the
values."""


def ranking(
    study: Study, detectors: Sequence[str | Detector] | None
) -> dict[str, tuple[CellScore, ...]]:
    """Rank all cells for each detector that can be scored, by its name, as `rank` orders and scores
    them.

    Raises UsageError for an unknown detector, DataError for a text too short.
    """
    # The best cell of each target, and the association of every cell on the choosing half.
    targets = choose_targets(study.text.text, get_detectors(detectors)).targets
    measured = study.measure(targets)

    # The association of every cell on the scoring half, which `--find` does not need.
    keys = [(target, study.target_key(target)) for target in targets]
    associations = study.look_up("second half", keys, result=Float32Array)
    if associations.missing:
        associations.save(_measure_scoring_half(study, associations.missing))
    ranked = {}
    for target, target_scores, on_scoring_half in zip(
        targets, measured, associations.results(), strict=True
    ):
        ranked[target.name] = rank(
            target,
            measured=target_scores,
            on_scoring_half=on_scoring_half,
            num_units=study.num_units,
        )
    return ranked


def _measure_scoring_half(study: Study, targets: Sequence[Target]) -> list[Float32Array]:
    """Compute the association (C,) of every cell with each target on the scoring half: 2 * AUC - 1,
    or Spearman's rho."""
    # The ranks of a cell need all of its values.
    scoring_half = slice(study.half, len(study.text))
    cells = read_columns(study.windows, columns=range(study.num_cells), part=scoring_half)

    associations = np.empty((len(targets), study.num_cells), np.float32)
    for begin in range(0, study.num_cells, CELLS_AT_ONCE):
        block = slice(begin, begin + CELLS_AT_ONCE)
        # Ranking takes most of the time, and is the same for all targets.
        ranks = average_ranks(cells[block].T)
        for index, target in enumerate(targets):
            labels = target.scoring_labels
            # Both associations are from -1 to 1, so they fit one array.
            if target.is_yes_no:
                associations[index, block] = association_from_auc(auc(ranks, labels))
            else:
                associations[index, block] = spearman(ranks, labels)
    return list(associations)


def rank(
    target: Target, measured: Measured, on_scoring_half: Float32Array, *, num_units: int
) -> tuple[CellScore, ...]:
    """Return the scores of all cells for a target: the selected cell first, then all others by
    strength on the choosing half.

    The selected cell has its score from `measure`. All cells have the same chance level and
    untrained score: those that the best of all cells reaches. on_scoring_half (C,) is from
    `_measure_scoring_half`; `num_units` is H.
    """
    # The selected cell is not always the strongest: among nearly equal cells, the most visible is
    # selected.
    best = measured.score.layer * num_units + measured.score.unit
    is_yes_no = target.is_yes_no
    order = np.argsort(-np.abs(measured.on_choosing_half), kind="stable").tolist()
    order.remove(best)

    # The other cells are ordered by the choosing half and scored on the scoring half: the scores of
    # the first would be too high if both were one half.
    scores = [measured.score]
    for cell in order:
        chosen_on = float(measured.on_choosing_half[cell])
        polarity = polarity_of(chosen_on)
        reached = score_from_association(
            float(on_scoring_half[cell]), polarity, is_yes_no=is_yes_no
        )
        score = CellScore(
            detector=target.name,
            layer=cell // num_units,
            unit=cell % num_units,
            polarity=polarity,
            num_positive=measured.score.num_positive,
            auc=reached if is_yes_no else None,
            spearman=None if is_yes_no else reached,
            chosen_on=score_from_association(chosen_on, polarity, is_yes_no=is_yes_no),
            untrained=measured.score.untrained,
            null_level=measured.score.null_level,
        )
        scores.append(score)
    return tuple(scores)

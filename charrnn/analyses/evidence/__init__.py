"""`visualize --evidence`: the evidence card of a cell, which tests the claim that the cell tracks a
property.

The parts of a card follow the literature: scores beside chance and an untrained network (Heap et
al. 2026), faithfulness over the size of a circuit and interchange interventions (Mueller et al.
2025), and the assumptions in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from charrnn.analyses.evidence.card import Scoring
from charrnn.analyses.evidence.results import Birth, EvidenceCard
from charrnn.cells.findings import CellScore
from charrnn.cells.study import Study
from charrnn.cells.target_labels import MIN_TEXT, choose_targets
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import get_detectors
from charrnn.errors import DataError, UsageError, check_length, named
from charrnn.model.annotations import CharRNN
from charrnn.model.reading import read_parts
from charrnn.model.shapes import check_unit
from charrnn.statistics.agreement import measure_score
from charrnn.system.lazy import torch

SEGMENTS_OF_BIRTH = 32
"""Segments of the scoring half that every checkpoint reads, at most."""
CHARS_OF_BIRTH = 512
"""Characters of a segment: as many as its warm-up. Fewer and longer segments take more steps."""


def evidence(
    study: Study,
    layer: int | None = None,
    unit: int | None = None,
    *,
    detector: str | Detector | None = None,
) -> EvidenceCard:
    """Measure the evidence for the claim that a cell tracks the property of a detector.

    The default is the best cell of the detector. Without a detector, it is the cell that exceeds
    the untrained baseline most. Raises UsageError for an unknown detector or cell, DataError for a
    text without enough labels.

    >>> evidence(study, 0, 273, detector="quote").interchange.accuracy
    """
    # Checked before all cells are scored, which takes long.
    check_length(len(study.text), least=MIN_TEXT, what="evidence")
    cell = None
    if layer is not None and unit is not None:
        check_unit(layer, unit, num_layers=study.num_layers, num_units=study.num_units)
        cell = (layer, unit)
    detectors = None if detector is None else [detector]
    scores = study.findings(detectors).scores
    if not scores:
        raise DataError(
            f"The text has too few labels for a card: give another {named('text')} or"
            f" {named('detectors')}."
        )
    if cell is not None and detector is None:
        scores = tuple(score for score in scores if (score.layer, score.unit) == cell)
        if not scores:
            raise UsageError(
                f"Cell {layer}:{unit} follows no property best: choose one by {named('detectors')}."
            )
    best = max(scores, key=lambda score: (score.is_significant, score.gain))
    if cell is None:
        cell = (best.layer, best.unit)
    if detector is None:
        detector = best.detector
    (resolved,) = get_detectors([detector])
    (target,), _ = choose_targets(study.text.text, detectors=[resolved])

    def measure() -> EvidenceCard:
        (measured,) = study.measure([target])
        scoring = Scoring(study, target=target, measured=measured, cell=cell, detector=resolved)
        return scoring.card()

    key = study.target_key(target) | study.cell_key(*cell)
    card = study.cached(
        "evidence", key | {"output": resolved.output}, result=EvidenceCard, compute=measure
    )
    return replace(card, born=_birth(study, score=card.tracks, labels=target.labels))


def _birth(study: Study, score: CellScore, labels: np.ndarray) -> Birth | None:
    """Score the cell at every checkpoint. Return None for fewer than two, which show no birth."""
    steps = []
    values = []
    for step, network in study.steps():
        steps.append(step)
        values.append(_score_segments(study, score=score, network=network, labels=labels))
    if len(steps) < 2:
        return None

    begins, length = _segments_of_birth(study)
    return Birth(
        steps=tuple(steps),
        values=tuple(values),
        step=born_at(score, steps=steps, values=values),
        num_chars=len(begins) * length,
    )


def _segments_of_birth(study: Study) -> tuple[np.ndarray, int]:
    """Return where the segments of the scoring half begin that every checkpoint reads, and their
    length."""
    ids = study.text.ids
    begin = study.text.first + study.half
    # Segments, because every checkpoint of the run reads them again.
    length = min(CHARS_OF_BIRTH, len(ids) - begin)
    num_segments = min(SEGMENTS_OF_BIRTH, (len(ids) - begin) // length)
    return np.linspace(begin, len(ids) - length, num_segments).astype(np.int64), length


def _score_segments(
    study: Study, *, score: CellScore, network: CharRNN, labels: np.ndarray
) -> float:
    """Score the cell of a score in a network, on segments of the scoring half, after a warm-up."""
    ids = study.text.ids
    begins, length = _segments_of_birth(study)
    read_positions = []
    values = []
    with torch.inference_mode():
        for positions, (_, cells, _) in read_parts(
            network.trace, network.initial_state, ids, begins, length
        ):
            read_positions.append(positions)
            values.append(cells[:, :, score.layer, score.unit].numpy())
    indices = np.concatenate(read_positions).ravel() - study.text.first
    return measure_score(
        np.concatenate(values).ravel(), labels=labels[indices], polarity=score.polarity
    )


def born_at(score: CellScore, steps: Sequence[int], values: Sequence[float]) -> int | None:
    """Return the step from which on all values exceed the chance level of a score."""
    level = score.strength_of(score.null_level)
    born = None
    for step, value in zip(reversed(steps), reversed(values), strict=True):
        if score.strength_of(value) <= level:
            break
        born = step
    return born

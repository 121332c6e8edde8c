"""`visualize --evidence`: the evidence card of a cell, which tests the claim that the cell tracks a
property.

The parts of a card follow the literature: scores beside chance and an untrained network (Heap et
al. 2026), faithfulness over the size of a circuit and interchange interventions (Mueller et al.
2025), and the assumptions in words.
"""

from charrnn.analyses.evidence.card import measure_card
from charrnn.analyses.evidence.results import EvidenceCard
from charrnn.cells.known_cells import record_found_cells
from charrnn.cells.study import Study
from charrnn.cells.target_labels import MIN_TEXT, choose_targets
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import get_detectors
from charrnn.errors import DataError, UsageError, check_length, named
from charrnn.model.shapes import check_unit


def evidence(
    study: Study,
    layer: int | None = None,
    unit: int | None = None,
    *,
    detector: str | Detector | None = None,
) -> EvidenceCard:
    """Measure the evidence for the claim that a cell tracks the property of a detector.

    `Model.evidence` is this for users; `card.measure_card` measures the parts of a card. The
    default is the best cell of the detector. Without a detector, it is the cell that exceeds the
    untrained baseline most. Raises UsageError for an unknown detector or cell, DataError for a text
    without enough labels.

    >>> evidence(study, 0, 273, detector="quote").interchange.accuracy
    """
    # Checked before all cells are scored, which takes long.
    check_length(len(study.text), least=MIN_TEXT, what="evidence")
    cell = None
    if (layer is None) != (unit is None):
        raise UsageError(
            f"Of a cell, only one of {named('layer')} and {named('unit')} is given: give both, or"
            " none for the best cell."
        )
    if layer is not None and unit is not None:
        check_unit(layer, unit, num_layers=study.num_layers, num_units=study.num_units)
        cell = (layer, unit)
    detectors = None if detector is None else [detector]
    scores = study.findings(detectors).scores
    # They were measured for a user, as those of a survey are.
    record_found_cells(study.cache, scores)
    if not scores:
        raise DataError(
            "The text has too few labels for a card: take a longer text, or give another"
            f" {named('detector')}."
        )
    if cell is not None and detector is None:
        scores = tuple(score for score in scores if (score.layer, score.unit) == cell)
        if not scores:
            raise UsageError(
                f"Cell {layer}:{unit} follows no property best: choose one by {named('detector')}."
            )
    best = max(scores, key=lambda score: (score.is_significant, score.gain))
    if cell is None:
        cell = (best.layer, best.unit)
    if detector is None:
        detector = best.detector
    (resolved,) = get_detectors([detector])
    [target] = choose_targets(study.text.text, detectors=[resolved]).targets

    # The card has the names of the detector, so these belong to the key.
    key = study.target_key(target) | study.cell_key(*cell)
    of_detector = {
        "detector": resolved.name,
        "looks_for": resolved.looks_for,
        "output": resolved.output,
    }
    cards = study.look_up("evidence", [(target, key | of_detector)], result=EvidenceCard)
    if cards.missing:
        (measured,) = study.measure([target])
        card = measure_card(study, target=target, measured=measured, cell=cell, detector=resolved)
        cards.save([card])
    (card,) = cards.results()
    return card

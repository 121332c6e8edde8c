"""`visualize --evidence`: the evidence card of a cell, which tests the claim that the cell tracks a
property.

The parts of a card follow the literature: scores beside chance and an untrained network (Heap et
al. 2026), faithfulness over the size of a circuit and interchange interventions (Mueller et al.
2025), and the assumptions in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from charrnn.analyses.evidence.card import Choosing, Scoring, check_room
from charrnn.analyses.evidence.results import (
    Birth,
    EvidenceCard,
    OtherRun,
)
from charrnn.analyses.matching import is_near, load_others, match_pairs, studies_of
from charrnn.cells.findings import CellScore
from charrnn.cells.study import CellSection, Study
from charrnn.cells.target_labels import choose_targets
from charrnn.cli.analyses import DETECTOR_OPTIONS, SINGLE_CELLS, Analysis, Shown, Subject
from charrnn.cli.arguments import parse_cell
from charrnn.config.options import option
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import get_detectors
from charrnn.errors import DataError, UsageError, named
from charrnn.model.annotations import CharRNN
from charrnn.model.reading import KnownStates, read_parts
from charrnn.model.shapes import check_unit
from charrnn.statistics.agreement import measure_score
from charrnn.system.lazy import torch

SEGMENTS_OF_BIRTH = 32
"""Segments of the scoring half that every checkpoint reads, at most."""
CHARS_OF_BIRTH = 512
"""Characters of a segment: as many as its warm-up. Fewer and longer segments take more steps."""
BEST = "best"
"""The word for the cell that follows its detector best, in place of `L:U`."""


def evidence(
    study: Study,
    layer: int | None = None,
    unit: int | None = None,
    *,
    detector: str | Detector | None = None,
    others: Mapping[str, Study] | None = None,
) -> EvidenceCard:
    """Measure the evidence for the claim that a cell tracks the property of a detector.

    The default is the best cell of the detector. Without a detector, it is the cell that exceeds
    the untrained baseline most. `others` are studies of other runs over the same text, by name: the
    card says which of these runs have the cell, and its score there. Raises UsageError for an
    unknown detector or cell, DataError for a text without enough labels.

    >>> study.evidence(0, 273, "quote").interchange.accuracy
    >>> study.evidence(0, 273, "quote", others={"second": second.study(text)}).others
    """
    # Checked before all cells are scored, which takes long.
    check_room(study)
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
        choosing = Choosing(study, target=target, measured=measured, cell=cell, detector=resolved)
        return Scoring(choosing).card()

    key = study.target_key(target) | study.cell_key(*cell)
    card = study.cached(
        "evidence", key | {"output": resolved.output}, result=EvidenceCard, compute=measure
    )
    card = replace(
        card,
        born=_birth(study, score=card.tracks, labels=target.labels),
        others=tuple(_matches(study, card.tracks, others=others or {}, labels=target.labels)),
    )
    # The page of the cell finds the card under this key, without a detector.
    study.cache.save("evidence of", study.cell_key(*cell), value=card)
    # The card of an exported model has the verdict, which does not quote the text.
    place = f"{card.layer}:{card.unit} {card.detector}"
    study.cache.save("verdict", {"cell": place}, value=card.verdict)
    return card


def card_of(study: Study, layer: int, unit: int) -> EvidenceCard | None:
    """Return the latest card of a cell, or None: a page does not measure a card, which takes too
    long."""
    return study.cache.load("evidence of", study.cell_key(layer, unit), result=EvidenceCard)


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
    study: Study,
    *,
    score: CellScore,
    network: CharRNN,
    labels: np.ndarray,
    known: KnownStates | None = None,
) -> float:
    """Score the cell of a score in a network, on segments of the scoring half; without the `known`
    states of the network, after a warm-up."""
    ids = study.text.ids
    begins, length = _segments_of_birth(study)
    read_positions = []
    values = []
    with torch.inference_mode():
        for positions, (_, cells, _) in read_parts(
            network.trace, network.initial_state, ids, begins, length, known=known
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


def _matches(
    study: Study,
    score: CellScore,
    *,
    others: Mapping[str, Study],
    labels: np.ndarray,
) -> Iterator[OtherRun]:
    """Look for the cell of a score in each of the other runs, and score the cell that matches
    it."""
    for name, other in others.items():
        (pair,) = match_pairs({"the run": study, name: other})
        match = pair.matches[score.layer * study.num_units + score.unit]

        # A match of negative correlation has the opposite polarity.
        polarity = score.polarity
        if match.correlation < 0:
            polarity = -polarity
        partner = replace(score, layer=match.other_layer, unit=match.other_unit, polarity=polarity)
        value = _score_segments(
            other,
            score=partner,
            network=other.network(),
            labels=labels,
            known=other.known_states,
        )
        is_shared = match.is_shared and is_near(score.strength_of(value), best=score.strength)
        begins, length = _segments_of_birth(other)
        yield OtherRun(
            name=name,
            match=match,
            score=value,
            num_chars=len(begins) * length,
            is_shared=is_shared,
        )


SECTION = CellSection(
    "evidence",
    message="looking for a card",
    measure=card_of,
    place=10,
)
"""The section of the page of a cell: the card, if one was measured."""


@dataclass(frozen=True, kw_only=True)
class EvidenceOptions:
    """The option of the analysis."""

    evidence: str = option(
        "",
        flags=f"--evidence L:U|{BEST}",
        help="Show what there is for the claim that this cell, or the best one, tracks what a"
        " detector labels: its score, necessity, sufficiency, interchange, birth and mistakes.",
        panel=SINGLE_CELLS,
    )


def _measure(subject: Subject[EvidenceOptions]) -> EvidenceCard:
    typed = subject.own.evidence
    options = subject.options
    names = [*options.detectors, *options.detect]
    if len(names) > 1:
        raise UsageError(f"A card is of one detector, not of {', '.join(names)}: give one.")
    cell: tuple[int | None, int | None] = (None, None)
    if typed != BEST:
        cell = parse_cell("--evidence", text=typed, model=subject.model)
    detector = subject.detectors[0] if names else None

    # The text for one run may have characters that the model does not know; a text over which cells
    # are matched may not.
    others = load_others(subject)
    if not others:
        return evidence(subject.study, *cell, detector=detector)
    models = [subject.model, *others]
    studies = studies_of(models, subject.content, context=subject.context, cached=True)
    study = studies.pop(next(iter(studies)))
    return evidence(study, *cell, detector=detector, others=studies)


def _show(subject: Subject[EvidenceOptions], card: EvidenceCard) -> Shown:
    tests = card.tests()
    return Shown(
        f"Evidence for cell {card.layer}:{card.unit} of {subject.model.name}",
        pictures=card.view(),
        data={"run": subject.model.name, **card.to_json()},
        rows=[
            {"part": name, "passed": tests.get(name), "found": line}
            for name, line in card.lines().items()
        ],
    )


ANALYSES = (
    Analysis(
        flag="--evidence",
        options=EvidenceOptions,
        measure=_measure,
        show=_show,
        takes=DETECTOR_OPTIONS,
        example="--evidence 0:17",
        exports_rows=True,
        least_runs=1,
    ),
)
"""`visualize --evidence`."""

"""What is known of the cells of a model before anything is measured: what surveys have found, and
the scores on the card of an included model."""

from collections.abc import Mapping, Sequence
from typing import Any

from charrnn.cells.records import CellScore
from charrnn.detectors.registry import DETECTORS
from charrnn.runs.included import card_of
from charrnn.runs.measurement_cache import MeasurementCache

FOUND_CELLS = "found cells"
"""The kind of the entry with the found cells of all measured texts, the latest cell for each
detector."""


def found_cells(cache: MeasurementCache) -> tuple[CellScore, ...]:
    """Return the scores of the cells that were found to follow a built-in detector better than an
    untrained network does, best first; of an included model those of its card.

    Nothing is measured: it is what commands name cells by without reading a text. `Study.findings`
    measures, and `record_found_cells` records.
    """
    card = card_of(cache.identity)
    if not card:
        return cache.load(FOUND_CELLS, key={}, result=tuple[CellScore, ...]) or ()
    found = [score for score in card_scores(card) if score.is_found]
    return tuple(sorted(found, key=lambda score: -score.gain))


def record_found_cells(cache: MeasurementCache, scores: Sequence[CellScore]) -> None:
    """Record which cells were found, for `found_cells`: those whose scores are significant and
    exceed the untrained baseline.

    A command or a survey that measures a text for a user calls it with all scores of its
    `CellFindings`, and so the next command knows these cells. Cells that were found in other texts
    stay, except for the detectors that were scored now: the latest cell counts.
    """
    before = found_cells(cache)
    found = {score.detector: score for score in before}
    for score in scores:
        found.pop(score.detector, None)
        # Only built-in detectors: the name of a user's detector may quote the text.
        if score.detector in DETECTORS and score.is_found:
            found[score.detector] = score

    # Sorted by gain and name, so that the order of the commands that found them does not matter.
    best_first = tuple(sorted(found.values(), key=lambda score: (-score.gain, score.detector)))
    if best_first != before:
        cache.save(FOUND_CELLS, key={}, value=best_first)


def card_scores(card: Mapping[str, Any]) -> tuple[CellScore, ...]:
    """Return the scores of cells on the card of an included model; none of the empty card of any
    other model.

    They were measured on text that does not come with the model.
    """
    return tuple(CellScore(**fields) for fields in card.get("cells", ()))


def known_polarity(cache: MeasurementCache, layer: int, unit: int) -> int:
    """Return the polarity with which a cell is drawn where no detector is chosen: of the detector
    that it was found to follow best, 1 if none is known.

    `Model.polarity` returns it to users.
    """
    for cell in found_cells(cache):
        if (cell.layer, cell.unit) == (layer, unit):
            return cell.polarity
    return 1

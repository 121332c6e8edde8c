"""What is known of the cells of a model before anything is measured: what surveys have found, and
the scores on the card of an included model."""

from collections.abc import Mapping
from typing import Any

from charrnn.cells.records import CellScore
from charrnn.runs.included import card_of
from charrnn.runs.measurement_cache import MeasurementCache

FOUND_CELLS = "found cells"
"""The kind of the entry with the found cells of all measured texts, the latest cell for each
detector."""


def found_cells(cache: MeasurementCache) -> tuple[CellScore, ...]:
    """Return the scores of the cells that were found to follow a built-in detector better than an
    untrained network does, best first; of an included model those of its card.

    Nothing is measured: it is what commands name cells by without reading a text. `Study.findings`
    measures.
    """
    card = card_of(cache.identity)
    if not card:
        return cache.load(FOUND_CELLS, key={}, result=tuple[CellScore, ...]) or ()
    found = [score for score in card_scores(card) if score.is_found]
    return tuple(sorted(found, key=lambda score: -score.gain))


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

"""Measure the values of all cells, their places on a map, and their values in the passages that show them.

Shapes: N characters, L layers, H units per layer.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from charrnn.cells.records import CellValues, PassagePlace
from charrnn.cells.saved import record_from_json
from charrnn.cells.trace import Activations
from charrnn.cells.values import LARGEST_SNAP, correlate, measure_values
from charrnn.files import JSON
from charrnn.lab.atlas_map import place_cells
from charrnn.lab.atlas_records import AtlasCell
from charrnn.views.page import pack

NUM_AFTER = 12
"""Characters that are kept of those a cell was measured after: those that change its mean most."""
MIN_AFTER = 5
"""Occurrences that such a character needs."""
CHARS_BEFORE = 60
"""Characters of a passage that are kept before the one it was chosen for, at most."""
CHARS_AFTER = 30
"""Characters of a passage from that one on, at most."""
CELLS_PER_ENTRY = 128
"""Cells of one entry of the findings of a run, whose size is limited."""
NUM_DIGITS = 5
"""Significant digits of the numbers that are saved."""


def measure_cells(
    activations: Activations, on_cells: Callable[[int], object] = lambda num_cells: None
) -> tuple[AtlasCell, ...]:
    """Measure the values of all cells and place the cells on a map; all numbers have NUM_DIGITS digits.

    `on_cells` is called with the number of cells measured since its last call.
    """
    correlations = correlate(activations)
    places = place_cells(correlations)
    measured = measure_values(activations, None, on_cells, correlations)
    cells = []
    for found, (x, y) in zip(measured, places.tolist(), strict=True):
        kept = _shortened(found, activations.text.text)
        values = activations.of(kept.layer, kept.unit)
        shown = [values[one.begin : one.end] for one in kept.passages]
        scale, levels = pack(np.concatenate(shown) if shown else values[:0])
        cell = AtlasCell(layer=kept.layer, unit=kept.unit, x=x, y=y, values=kept, scale=scale, levels=levels)
        rounded = record_from_json(AtlasCell, _rounded(asdict(cell)))
        assert rounded is not None
        cells.append(rounded)
    return tuple(cells)


def _shortened(values: CellValues, text: str) -> CellValues:
    """Keep the characters that change the mean most, and the parts of the passages around what they show."""
    after = [one for one in values.after_characters if one.count >= MIN_AFTER]
    after.sort(key=lambda one: -abs(one.mean - values.mean))
    passages = tuple(_cropped(one, text) for one in values.passages)
    return replace(values, after_characters=tuple(after[:NUM_AFTER]), passages=passages)


def _cropped(place: PassagePlace, text: str) -> PassagePlace:
    """Shorten a passage, at its beginning to the next word if one begins within LARGEST_SNAP characters."""
    begin = max(place.begin, place.index - CHARS_BEFORE)
    if begin > place.begin:
        space = re.search(r"\s", text[begin - 1 : min(begin + LARGEST_SNAP, place.index)])
        begin += space.start() if space is not None else 0
    return replace(place, begin=begin, end=min(place.end, place.index + CHARS_AFTER))


def _rounded(value: JSON) -> JSON:
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return float(f"{value:.{NUM_DIGITS}g}") if isinstance(value, float) else value


def cells_to_json(cells: Sequence[AtlasCell]) -> list[JSON]:
    """Return cells in several values, each of CELLS_PER_ENTRY cells."""
    return [
        [_rounded(asdict(cell)) for cell in cells[begin : begin + CELLS_PER_ENTRY]]
        for begin in range(0, len(cells), CELLS_PER_ENTRY)
    ]


def cells_from_json(values: Sequence[JSON], num_layers: int, num_units: int, num_chars: int) -> tuple[AtlasCell, ...]:
    """Return the cells of L layers of H units over a text of N characters; () if `values` are anything else."""
    listed = [one for value in values if isinstance(value, list) for one in value]
    cells = [record_from_json(AtlasCell, one) for one in listed]
    known = tuple(cell for cell in cells if cell is not None and _is_whole(cell, num_chars))
    names = [divmod(column, num_units) for column in range(num_layers * num_units)]
    found = [(cell.layer, cell.unit) for cell in known]
    return known if found == names else ()


def _is_whole(cell: AtlasCell, num_chars: int) -> bool:
    """Return whether the passages are in the text and have their values."""
    places = cell.values.passages
    if (cell.values.layer, cell.values.unit) != (cell.layer, cell.unit) or not cell.values.histogram:
        return False
    if not all(0 <= number <= 1 for number in (cell.x, cell.y, cell.scale)):
        return False
    if not all(0 <= one.begin <= one.index < one.end <= num_chars for one in places):
        return False
    size = sum(one.end - one.begin for one in places)
    try:
        return len(base64.b64decode(cell.levels, validate=True)) == (size + 1) // 2
    except (binascii.Error, ValueError):
        return False

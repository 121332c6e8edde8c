"""The passages of a cell, from their places in a text and the values there.

Shapes: n characters of a passage.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.cell_values_records import PassagePlace
from charrnn.cells.measured_json import floats_from_json
from charrnn.cells.page_records import CellPassage
from charrnn.files import JSON

Float32Array = NDArray[np.float32]


def read_passages(text: str, places: Sequence[PassagePlace], values: Sequence[Float32Array]) -> tuple[CellPassage, ...]:
    """Return the passages of a text that are at these places, with values (n,) of each to four decimals."""
    return tuple(
        CellPassage(
            kind=place.kind,
            rank=place.rank,
            value=place.value,
            index=place.index,
            begin=place.begin,
            line=1 + text.count("\n", 0, place.index),
            text=text[place.begin : place.end],
            values=tuple(round(value, 4) for value in of_passage.tolist()),
        )
        for place, of_passage in zip(places, values, strict=True)
    )


def values_from_json(value: JSON, places: Sequence[PassagePlace]) -> list[Float32Array] | None:
    """Return the values (n,) of each passage from a list of lists; None if `value` is anything else."""
    if not isinstance(value, list) or len(value) != len(places):
        return None
    found = [floats_from_json(one, place.end - place.begin) for one, place in zip(value, places, strict=True)]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else None

"""Describe the values of cells over a text: their mean, their histogram, and passages.

Shapes: N characters, c cells.
"""

import numpy as np

from charrnn.cells import findings as records
from charrnn.cells.passages import extreme_passages, number_sentences
from charrnn.system.arrays import Float32Array


def measure_values(text: str, cells: Float32Array) -> list[records.CellValues]:
    """Describe the values (c, N) of each cell over a text."""
    sentences = number_sentences(text)
    # A cell that is often saturated has many equal values: the first of them is drawn from the
    # whole text, not from its beginning.
    drawn = np.random.default_rng(0).permutation(len(text))

    measured = []
    for values in cells:
        # In half precision, because the values are sorted as integers.
        halves = values.astype(np.float16)
        rounded = halves.astype(np.float32)
        places = extreme_passages(halves, text=text, sentences=sentences, drawn=drawn)
        measured.append(
            records.CellValues(
                num_chars=len(values),
                mean=float(rounded.mean(dtype=np.float64)),
                spread=float(rounded.std(dtype=np.float64)),
                histogram=_histogram(rounded),
                passages=tuple(places),
            )
        )
    return measured


def _histogram(values: Float32Array) -> tuple[int, ...]:
    # np.histogram, which allows bins of any width, takes longer. 1 belongs to the last bin.
    bins = ((values + 1) * (records.NUM_BINS / 2)).astype(np.int64)
    bins = np.minimum(bins, records.NUM_BINS - 1)
    return tuple(np.bincount(bins, minlength=records.NUM_BINS).tolist())

"""Describe the values of cells over a text: their mean, their histogram, and passages.

Shapes: N characters, c cells.
"""

from collections.abc import Sequence

import numpy as np

from charrnn.cells.findings import NUM_BINS, CellIndex, CellPage
from charrnn.cells.passages import extreme_passages, number_sentences
from charrnn.system.arrays import Float32Array


def measure_values(text: str, cells: Sequence[CellIndex], values: Float32Array) -> list[CellPage]:
    """Describe the values (c, N) of cells over a text: pages without scores."""
    sentences = number_sentences(text)
    # A cell that is often saturated has many equal values: the first of them is drawn from the
    # whole text, not from its beginning.
    drawn = np.random.default_rng(0).permutation(len(text))

    pages = []
    for (layer, unit), of_cell in zip(cells, values, strict=True):
        # Rounded to half precision, in which values that differ by rounding alone are equal.
        rounded = of_cell.astype(np.float16).astype(np.float32)
        # np.histogram, which allows bins of any width, takes longer. 1 belongs to the last bin.
        bins = ((rounded + 1) * (NUM_BINS / 2)).astype(np.int64).clip(max=NUM_BINS - 1)
        histogram = np.bincount(bins, minlength=NUM_BINS)
        passages = extreme_passages(rounded, text=text, sentences=sentences, drawn=drawn)
        pages.append(
            CellPage(
                layer=layer,
                unit=unit,
                num_chars=len(rounded),
                mean=float(rounded.mean(dtype=np.float64)),
                spread=float(rounded.std(dtype=np.float64)),
                histogram=tuple(histogram.tolist()),
                passages=tuple(passages),
            )
        )
    return pages

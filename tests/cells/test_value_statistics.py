"""The values of cells: statistics against NumPy."""

import numpy as np
import pytest

from charrnn.cells.findings import NUM_BINS
from charrnn.cells.value_statistics import measure_values

CELLS = [(0, unit) for unit in range(4)]


def test_the_statistics_are_those_of_numpy():
    generator = np.random.default_rng(0)
    text = "".join(generator.choice([*"ab. dxy"], 3_000))
    cells = np.tanh(generator.normal(size=(4, 3_000))).astype(np.float32)
    cells[3] = 1
    for values, measured in zip(cells, measure_values(text, CELLS, cells), strict=True):
        halves = values.astype(np.float16).astype(np.float64)
        assert measured.mean == pytest.approx(halves.mean())
        assert measured.spread == pytest.approx(halves.std(), rel=1e-5)
        assert measured.histogram == tuple(np.histogram(halves, NUM_BINS, (-1, 1))[0].tolist())
        assert sum(measured.histogram) == measured.num_chars == 3_000


def test_a_passage_has_the_values_of_its_characters():
    values = np.linspace(-1, 1, 3_000, dtype=np.float32)[None]
    [measured] = measure_values("She said. " * 300, CELLS[:1], values)
    for place in measured.passages:
        expected = values[0, place.begin : place.begin + len(place.text)]
        assert place.values == pytest.approx(expected.tolist(), abs=1e-3)
        assert place.value == pytest.approx(values[0, place.index], abs=1e-3)

"""Describe the values of cells over a text.

Shapes: N characters, V vocabulary, C cells of the model, c cells that are measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from charrnn.cells import findings as records
from charrnn.cells.activations import Activations
from charrnn.cells.passages import extreme_passages, number_sentences
from charrnn.statistics.moments import Moments
from charrnn.system.arrays import Float32Array, Int64Array
from charrnn.system.progress import task

NUM_CORRELATED = 5
"""Number of correlated cells that are listed."""
CORRELATED_CHARS = 4_096
"""Characters whose products are added at a time."""
SMALLEST_VARIANCE = 1e-9
"""Below this variance a cell counts as constant: its values differ by rounding errors only."""


def measure_values(
    activations: Activations,
    cells: Sequence[records.CellIndex] | None = None,
    correlations: Float32Array | None = None,
) -> tuple[records.CellValues, ...]:
    """Measure the cells (layer, unit), all by default, in their order.

    `correlations` (c, C) are the result of `correlate`, if it is known.
    """
    columns = np.arange(activations.num_cells)
    if cells is not None:
        of_cells = [layer * activations.num_units + unit for layer, unit in cells]
        columns = np.array(of_cells, np.int64)

    # All cells at once, because each correlates with all other cells.
    if correlations is None:
        correlations = correlate(activations, columns)

    text = _Text(activations)
    measured = []
    with task("measuring values", total=len(columns), unit="cells") as advance:
        for column, row in zip(columns.tolist(), correlations, strict=True):
            measured.append(_measure(activations, text, column=column, correlations=row))
            advance()
    return tuple(measured)


def correlate(activations: Activations, columns: Int64Array | None = None) -> Float32Array:
    """Return the Pearson correlations (c, C) of the cells in `columns`, all by default, with every
    cell.

    A constant cell has the correlation 0 with every other cell and 1 with itself.
    """
    moments = Moments()
    if columns is None:
        columns = np.arange(activations.num_cells)
    else:
        moments = Moments(columns)
    for begin in range(0, len(activations.text), CORRELATED_CHARS):
        window = activations.values[:, begin : begin + CORRELATED_CHARS]
        moments.add_cells(window.T.astype(np.float32))

    correlations = moments.correlations().astype(np.float32)
    correlations[np.arange(len(columns)), columns] = 1
    return correlations


class _Text:
    """Values of the text that all cells share: the sentences, the characters, and the order in
    which equal values are taken."""

    def __init__(self, activations: Activations) -> None:
        text = activations.text
        self.text = text.text
        self.ids = np.asarray(text.ids[text.first :]).astype(np.int64)
        self.sentences = number_sentences(self.text)
        self.counts = np.bincount(self.ids)
        """(V,): how often each id occurs."""
        self.frequent = np.argsort(-self.counts, kind="stable")[: np.count_nonzero(self.counts)]
        """The ids of the text, the most frequent first."""
        _, firsts = np.unique(self.ids, return_index=True)
        characters = {int(self.ids[first]): self.text[first] for first in firsts}
        self.characters = [characters[id] for id in self.frequent.tolist()]
        # A cell that is often saturated has many equal values: drawn from the whole text, not from
        # its beginning.
        self.drawn = np.random.default_rng(0).permutation(len(self.ids))


def _measure(
    activations: Activations, text: _Text, column: int, correlations: Float32Array
) -> records.CellValues:
    layer, unit = divmod(column, activations.num_units)
    halves = activations.values[column]
    values = halves.astype(np.float32)

    # The mean in float64, because it is taken from every value before they are multiplied.
    mean = float(values.mean(dtype=np.float64))
    autocorrelation = _autocorrelation(values - np.float32(mean))
    decay = _decay(autocorrelation)
    timescale, timescale_from = _timescale(activations, layer=layer, column=column, decay=decay)

    gates = []
    for use in activations.gates:
        if use.layer == layer:
            gates.append(
                records.CellGate(gate=use.gate, closed=use.left[unit], open=use.right[unit])
            )

    # In half precision, because these are sorted as integers.
    places = extreme_passages(halves, text=text.text, sentences=text.sentences, drawn=text.drawn)
    return records.CellValues(
        layer=layer,
        unit=unit,
        num_chars=len(values),
        mean=mean,
        spread=float(values.std(dtype=np.float64)),
        histogram=_histogram(values),
        autocorrelation=tuple(autocorrelation),
        decay=decay,
        timescale=timescale,
        timescale_from=timescale_from,
        gates=tuple(gates),
        after_characters=_after_characters(text, values),
        correlated=_most_correlated(correlations, column=column, num_units=activations.num_units),
        passages=tuple(places),
    )


def _histogram(values: Float32Array) -> tuple[int, ...]:
    # np.histogram, which allows bins of any width, takes longer. 1 belongs to the last bin.
    bins = ((values + 1) * (records.NUM_BINS / 2)).astype(np.int64)
    bins = np.minimum(bins, records.NUM_BINS - 1)
    return tuple(np.bincount(bins, minlength=records.NUM_BINS).tolist())


def _after_characters(text: _Text, values: Float32Array) -> tuple[records.AfterCharacter, ...]:
    """Return the mean of the values (N,) after each character."""
    # A pass for all characters, instead of a mask for each character.
    sums = np.bincount(text.ids, weights=values)[text.frequent]
    counts = text.counts[text.frequent]
    means = (sums / counts).tolist()
    return tuple(
        records.AfterCharacter(character=character, mean=mean, count=count)
        for character, mean, count in zip(text.characters, means, counts.tolist(), strict=True)
    )


def _most_correlated(
    correlations: Float32Array, column: int, num_units: int
) -> tuple[records.CorrelatedCell, ...]:
    """Return the cells with the largest absolute correlation (C,), without the cell itself."""
    # The cell itself is not always the first, because another cell may have the same values.
    order = np.argsort(-np.abs(correlations), kind="stable")
    order = order[order != column]
    correlated = []
    for cell in order[:NUM_CORRELATED].tolist():
        layer, unit = divmod(cell, num_units)
        correlation = float(correlations[cell])
        correlated.append(records.CorrelatedCell(layer=layer, unit=unit, correlation=correlation))
    return tuple(correlated)


def _autocorrelation(centred: Float32Array) -> list[float]:
    """Return the autocorrelation at the LAGS that are shorter than the values (N,); [] if they are
    constant.

    It is the biased estimate, which divides the products at every lag by N and lies in [-1, 1].
    """
    variance = float(np.dot(centred, centred))
    if variance < SMALLEST_VARIANCE * len(centred):
        return []

    autocorrelation = []
    for lag in records.LAGS:
        if lag >= len(centred):
            break
        autocorrelation.append(float(np.dot(centred[:-lag], centred[lag:])) / variance)
    return autocorrelation


def _decay(autocorrelation: Sequence[float]) -> float | None:
    """Return the lag at which it first falls to 1/e, on straight lines between the lags; at lag 0
    it is 1."""
    level = 1 / math.e
    lag_before = 0
    before = 1.0
    # The text may be too short for the longest lags.
    for lag, after in zip(records.LAGS, autocorrelation, strict=False):
        if after <= level:
            return lag_before + (lag - lag_before) * (before - level) / (before - after)
        lag_before = lag
        before = after
    return None


def _timescale(
    activations: Activations, layer: int, *, column: int, decay: float | None
) -> tuple[float | None, str]:
    """Return the timescale of a cell in characters, and where it comes from; see `CellValues`."""
    # Without a gate that keeps the memory, only the values say how long it lasts.
    if activations.retention is None or activations.keeping_gate is None:
        return decay, records.FROM_AUTOCORRELATION

    # A memory that is multiplied by `mean_gate` at each step is 1/e after -1 / ln mean_gate steps:
    # at once if the gate is closed, never if it is open.
    gate = activations.keeping_gate
    mean_gate = float(activations.retention[column])
    if mean_gate <= 0:
        return 0.0, gate
    if mean_gate >= 1:
        return None, gate
    return -activations.dilations[layer] / math.log(mean_gate), gate

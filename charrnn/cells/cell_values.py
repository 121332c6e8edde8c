"""Measure what the values of cells look like over a text, for all cells at once.

Shapes: N characters, V vocabulary, C cells of the model, c cells that are measured, K lags, S sentences.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.activations import Activations
from charrnn.cells.cell_values_records import (
    FROM_AUTOCORRELATION,
    LAGS,
    NUM_BINS,
    AfterCharacter,
    CellGate,
    CellValues,
    CorrelatedCell,
    PassagePlace,
)
from charrnn.cells.sentences import number_sentences

NUM_EXTREMES = 3
"""Top passages, and as many bottom ones."""
NUM_DECILES = 10
"""Tenths of the values, each of which gives one passage."""
CHARS_BEFORE = 100
"""Characters of a passage before the one it was chosen for, at most."""
CHARS_AFTER = 50
"""Characters of a passage from that one on, at most."""
NUM_CORRELATED = 5
"""Other cells that are listed."""
CORRELATED_CHARS = 4_096
"""Characters whose products are added at a time."""
LARGEST_SNAP = 12
"""Characters by which a passage is shortened at each end so that it begins and ends between words."""

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


def measure_values(
    activations: Activations,
    cells: Sequence[tuple[int, int]] | None = None,
    on_cells: Callable[[int], object] = lambda num_cells: None,
    correlations: Float32Array | None = None,
) -> tuple[CellValues, ...]:
    """Measure the cells (layer, unit), all by default, in their order.

    `correlations` (c, C) are those of `correlate`, if they are known. `on_cells` is called with the number of cells
    measured since its last call.
    """
    num_units = activations.num_units
    if cells is None:
        cells = [divmod(column, num_units) for column in range(activations.num_cells)]
    columns = np.array([layer * num_units + unit for layer, unit in cells], np.int64)
    if correlations is None:
        correlations = correlate(activations, columns)
    text = _Text(activations)
    measured = []
    for (layer, unit), column, row in zip(cells, columns.tolist(), correlations, strict=True):
        values = activations.values[column]
        measured.append(_measure(activations, text, layer, unit, values, row))
        on_cells(1)
    return tuple(measured)


def correlate(activations: Activations, columns: NDArray[np.int64] | None = None) -> Float32Array:
    """Return the Pearson correlations (c, C) of the cells in `columns`, all by default, with every cell.

    A constant cell has the correlation 0 with every other cell and 1 with itself.
    """
    num_chars, num_cells = len(activations.text), activations.num_cells
    columns = np.arange(num_cells) if columns is None else columns
    values = activations.values
    begins = range(0, num_chars, CORRELATED_CHARS)
    # Two passes: a cell may start far from its mean and then stay near it, where squares minus means lose all digits.
    sums = sum(values[:, begin : begin + CORRELATED_CHARS].sum(axis=1, dtype=np.float32) for begin in begins)
    means = (sums / num_chars)[:, None].astype(np.float32)
    variances, covariances = np.zeros(num_cells), np.zeros((len(columns), num_cells))
    for begin in begins:
        part = values[:, begin : begin + CORRELATED_CHARS].astype(np.float32) - means
        variances += np.einsum("ij,ij->i", part, part) / num_chars
        covariances += part[columns] @ part.T / num_chars
    variances[variances < SMALLEST_VARIANCE] = np.inf
    correlations = covariances / np.sqrt(variances[columns][:, None]) / np.sqrt(variances)
    correlations[np.arange(len(columns)), columns] = 1
    return np.clip(correlations, -1, 1).astype(np.float32)


SMALLEST_VARIANCE = 1e-9
"""Below this variance a cell counts as constant: its values differ by rounding errors only."""


class _Text:
    """What all cells share: the sentences, the characters, and the order in which equal values are taken."""

    def __init__(self, activations: Activations) -> None:
        text = activations.text
        self.text = text.text
        self.ids = np.asarray(text.ids[text.first :]).astype(np.int64)
        self.sentences = number_sentences(self.text)
        self.counts = np.bincount(self.ids)
        self.frequent = np.argsort(-self.counts, kind="stable")[: np.count_nonzero(self.counts)]
        firsts = np.zeros(len(self.counts), np.int64)
        firsts[self.ids[::-1]] = np.arange(len(self.ids))[::-1]
        self.characters = [self.text[firsts[char]] for char in self.frequent.tolist()]
        # A cell that is often saturated has many equal values: drawn from the whole text, not from its beginning.
        self.drawn = np.random.default_rng(0).permutation(len(self.ids))


def _measure(
    activations: Activations,
    text: _Text,
    layer: int,
    unit: int,
    halves: NDArray[np.float16],
    correlations: Float32Array,
) -> CellValues:
    values = halves.astype(np.float32)
    mean = float(values.mean(dtype=np.float64))
    autocorrelation = _autocorrelation(values - np.float32(mean))
    decay = _decay(autocorrelation)
    column = layer * activations.num_units + unit
    sums = np.bincount(text.ids, weights=values)
    timescale, timescale_from = _timescale(activations, layer, column, decay)
    bins = np.minimum(((values + 1) * (NUM_BINS / 2)).astype(np.int64), NUM_BINS - 1)
    others = [other for other in np.argsort(-np.abs(correlations), kind="stable").tolist() if other != column]
    return CellValues(
        layer=layer,
        unit=unit,
        num_chars=len(values),
        mean=mean,
        spread=float(values.std(dtype=np.float64)),
        histogram=tuple(np.bincount(bins, minlength=NUM_BINS).tolist()),
        autocorrelation=tuple(autocorrelation),
        decay=decay,
        timescale=timescale,
        timescale_from=timescale_from,
        gates=tuple(
            CellGate(gate=use.gate, closed=use.left[unit], open=use.right[unit])
            for use in activations.gates
            if use.layer == layer
        ),
        after_characters=tuple(
            AfterCharacter(
                character=character, mean=float(sums[char] / text.counts[char]), count=int(text.counts[char])
            )
            for character, char in zip(text.characters, text.frequent.tolist(), strict=True)
        ),
        correlated=tuple(
            CorrelatedCell(
                layer=other // activations.num_units,
                unit=other % activations.num_units,
                correlation=float(correlations[other]),
            )
            for other in others[:NUM_CORRELATED]
        ),
        passages=tuple(choose_passages(halves, text.text, text.sentences, text.drawn)),
    )


def _autocorrelation(centred: Float32Array) -> list[float]:
    """Return the autocorrelation at those of LAGS that are shorter than the values (N,); [] if they are constant.

    It is the biased estimate, whose products at every lag are divided by N: it is in [-1, 1].
    """
    variance = float(np.dot(centred, centred))
    if variance < SMALLEST_VARIANCE * len(centred):
        return []
    return [float(np.dot(centred[:-lag], centred[lag:])) / variance for lag in LAGS if lag < len(centred)]


def _decay(autocorrelation: Sequence[float]) -> float | None:
    """Return the lag at which it first falls to 1/e, on straight lines between the lags; at lag 0 it is 1."""
    level, lag_before, before = 1 / math.e, 0, 1.0
    for lag, after in zip(LAGS, autocorrelation, strict=False):
        if after <= level:
            return lag_before + (lag - lag_before) * (before - level) / (before - after)
        lag_before, before = lag, after
    return None


def _timescale(activations: Activations, layer: int, column: int, decay: float | None) -> tuple[float | None, str]:
    """Return the timescale of a cell in characters, and where it comes from; see `CellValues`."""
    if activations.kept is None or activations.keeping_gate is None:
        return decay, FROM_AUTOCORRELATION
    kept = float(activations.kept[0][column])
    if not 0 < kept < 1:
        return (0.0 if kept <= 0 else None), activations.keeping_gate
    return -activations.dilations[layer] / math.log(kept), activations.keeping_gate


def choose_passages(
    values: NDArray[np.float16], text: str, sentences: NDArray[np.int64], drawn: NDArray[np.int64]
) -> Iterator[PassagePlace]:
    """Yield the top, the bottom and the decile passages of a cell's values (N,), as `CellValues.passages` has them.

    `sentences` (N,) numbers those of the text, `drawn` (N,) is a permutation of all indices: of equal values, the one
    that comes first in it is taken first. A passage that cannot be chosen is left out.
    """
    order = drawn[np.argsort(_sortable(values[drawn]), kind="stable")]
    is_free = np.ones(len(values), np.bool_)

    def take(kind: str, rank: int, candidates: NDArray[np.int64]) -> Iterator[PassagePlace]:
        index = _first_free(candidates, is_free)
        if index is None:
            return
        first, last = np.searchsorted(sentences, [sentences[index], sentences[index] + 1])
        is_free[first:last] = False
        reach = CHARS_BEFORE + CHARS_AFTER
        is_free[max(0, index - reach + 1) : index + reach] = False
        begin, end = _snapped(text, index)
        yield PassagePlace(kind=kind, rank=rank, index=index, begin=begin, end=end, value=float(values[index]))

    for rank in range(NUM_EXTREMES):
        yield from take("top", rank + 1, order[::-1])
    for rank in range(NUM_EXTREMES):
        yield from take("bottom", rank + 1, order)
    for decile in range(NUM_DECILES, 0, -1):
        begin, end = (len(order) * number // NUM_DECILES for number in (decile - 1, decile))
        middle = (begin + end) // 2
        yield from take("decile", decile, np.concatenate((order[middle:end], order[begin:middle][::-1])))


def _sortable(values: NDArray[np.float16]) -> NDArray[np.uint16]:
    """Map values to integers in the same order: sorting those is many times as fast."""
    bits = (values + np.float16(0)).view(np.uint16)  # -0 becomes 0
    keys: NDArray[np.uint16] = np.where(bits & 0x8000, ~bits, bits | 0x8000)
    return keys


def _first_free(candidates: NDArray[np.int64], is_free: NDArray[np.bool_]) -> int | None:
    for begin in range(0, len(candidates), 1024):
        part = candidates[begin : begin + 1024]
        found = is_free[part]
        if found.any():
            return int(part[found.argmax()])
    return None


def _snapped(text: str, index: int) -> tuple[int, int]:
    """Return begin and end of the passage around a character: between words, if a gap is near enough."""
    begin, end = max(0, index - CHARS_BEFORE), min(len(text), index + CHARS_AFTER)
    if begin > 0:
        gaps = [at for at in range(begin, min(begin + LARGEST_SNAP, index)) if text[at - 1].isspace()]
        begin = gaps[0] if gaps else begin
    if end < len(text):
        gaps = [at for at in range(end, max(end - LARGEST_SNAP, index + 1), -1) if text[at].isspace()]
        end = gaps[0] if gaps else end
    return begin, end

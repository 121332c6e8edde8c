"""What the values of cells look like over a text, and the passages that show them.

Shapes: N characters, V vocabulary, C cells of the model, c cells that are measured, K lags, S
sentences.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import findings as records
from charrnn.cells.activations import Activations
from charrnn.cells.trace import Float32Array, Read
from charrnn.detectors.detector import Labels
from charrnn.statistics.agreement import measure_score
from charrnn.system.progress import task

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
"""Characters by which a passage is shortened at each end so that it begins and ends between words.
"""
SMALLEST_VARIANCE = 1e-9
"""Below this variance a cell counts as constant: its values differ by rounding errors only."""
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’»)\]}]*(?=\s)|\n[ \t\r]*\n|\0|[;{}][ \t]*(?=\r?\n)")
"""The end of a sentence, with its closing marks; a blank line; the end of a document; the end of a
line of code."""
MAX_SENTENCE = 1_000
"""Characters after which a sentence ends in any case, as in a text without punctuation."""
NUM_LINES = 8
"""Lines of a passage."""
MAX_LENGTH = 900
"""Characters of a passage, at most."""
MAX_COUNT = 80
"""Counts are clipped to this before their variance is computed, so that one long line does not
decide."""
NUM_CHANGES = 6
"""Changes of a label that are enough: three spans. More do not add to the contrast of a passage."""
NUM_CANDIDATES = 9
"""Passages of which the typical one is selected, at most."""
MIN_CONTRAST = 0.5
"""Share of the largest contrast that a passage has at least."""


def measure_values(
    activations: Activations,
    cells: Sequence[tuple[int, int]] | None = None,
    correlations: Float32Array | None = None,
) -> tuple[records.CellValues, ...]:
    """Measure the cells (layer, unit), all by default, in their order.

    `correlations` (c, C) are those of `correlate`, if they are known.
    """
    if cells is None:
        cells = [divmod(column, activations.num_units) for column in range(activations.num_cells)]
    columns = np.array([layer * activations.num_units + unit for layer, unit in cells], np.int64)
    if correlations is None:
        correlations = correlate(activations, columns)
    text, measured = _Text(activations), []
    with task("measuring values", len(cells), unit="cells") as advance:
        for column, row in zip(columns.tolist(), correlations, strict=True):
            measured.append(_measure(activations, text, column, row))
            advance()
    return tuple(measured)


def correlate(activations: Activations, columns: NDArray[np.int64] | None = None) -> Float32Array:
    """Return the Pearson correlations (c, C) of the cells in `columns`, all by default, with every
    cell.

    A constant cell has the correlation 0 with every other cell and 1 with itself.
    """
    num_chars, num_cells = len(activations.text), activations.num_cells
    columns = np.arange(num_cells) if columns is None else columns
    values = activations.values
    begins = range(0, num_chars, CORRELATED_CHARS)
    # Two passes: a cell may start far from its mean and then stay near it, where squares minus
    # means lose all digits.
    sums = sum(
        values[:, begin : begin + CORRELATED_CHARS].sum(axis=1, dtype=np.float32)
        for begin in begins
    )
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


class _Text:
    """What all cells share: the sentences, the characters, and the order in which equal values are
    taken."""

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
        self.frequencies = self.counts[self.frequent].tolist()
        # A cell that is often saturated has many equal values: drawn from the whole text, not from
        # its beginning.
        self.drawn = np.random.default_rng(0).permutation(len(self.ids))


def _measure(
    activations: Activations, text: _Text, column: int, correlations: Float32Array
) -> records.CellValues:
    layer, unit = divmod(column, activations.num_units)
    halves = activations.values[column]
    values = halves.astype(np.float32)
    mean = float(values.mean(dtype=np.float64))
    autocorrelation = _autocorrelation(values - np.float32(mean))
    decay = _decay(autocorrelation)
    means = np.bincount(text.ids, weights=values)[text.frequent] / text.counts[text.frequent]
    timescale, timescale_from = _timescale(activations, layer, column, decay)
    bins = np.minimum(
        ((values + 1) * (records.NUM_BINS / 2)).astype(np.int64), records.NUM_BINS - 1
    )
    others = [
        other
        for other in np.argsort(-np.abs(correlations), kind="stable").tolist()
        if other != column
    ]
    return records.CellValues(
        layer=layer,
        unit=unit,
        num_chars=len(values),
        mean=mean,
        spread=float(values.std(dtype=np.float64)),
        histogram=tuple(np.bincount(bins, minlength=records.NUM_BINS).tolist()),
        autocorrelation=tuple(autocorrelation),
        decay=decay,
        timescale=timescale,
        timescale_from=timescale_from,
        gates=tuple(
            records.CellGate(gate=use.gate, closed=use.left[unit], open=use.right[unit])
            for use in activations.gates
            if use.layer == layer
        ),
        after_characters=tuple(
            records.AfterCharacter(character=character, mean=mean, count=count)
            for character, mean, count in zip(
                text.characters, means.tolist(), text.frequencies, strict=True
            )
        ),
        correlated=tuple(
            records.CorrelatedCell(
                layer=layer_of, unit=unit_of, correlation=float(correlations[other])
            )
            for other in others[:NUM_CORRELATED]
            for layer_of, unit_of in [divmod(other, activations.num_units)]
        ),
        passages=tuple(extreme_passages(halves, text.text, text.sentences, text.drawn)),
    )


def _autocorrelation(centred: Float32Array) -> list[float]:
    """Return the autocorrelation at those of LAGS that are shorter than the values (N,); [] if they
    are constant.

    It is the biased estimate, whose products at every lag are divided by N: it is in [-1, 1].
    """
    variance = float(np.dot(centred, centred))
    if variance < SMALLEST_VARIANCE * len(centred):
        return []
    return [
        float(np.dot(centred[:-lag], centred[lag:])) / variance
        for lag in records.LAGS
        if lag < len(centred)
    ]


def _decay(autocorrelation: Sequence[float]) -> float | None:
    """Return the lag at which it first falls to 1/e, on straight lines between the lags; at lag 0
    it is 1."""
    level, lag_before, before = 1 / math.e, 0, 1.0
    for lag, after in zip(records.LAGS, autocorrelation, strict=False):
        if after <= level:
            return lag_before + (lag - lag_before) * (before - level) / (before - after)
        lag_before, before = lag, after
    return None


def _timescale(
    activations: Activations, layer: int, column: int, decay: float | None
) -> tuple[float | None, str]:
    """Return the timescale of a cell in characters, and where it comes from; see `CellValues`."""
    if activations.kept is None or activations.keeping_gate is None:
        return decay, records.FROM_AUTOCORRELATION
    kept = float(activations.kept[0][column])
    if not 0 < kept < 1:
        return (0.0 if kept <= 0 else None), activations.keeping_gate
    return -activations.dilations[layer] / math.log(kept), activations.keeping_gate


def extreme_passages(
    values: NDArray[np.float16], text: str, sentences: NDArray[np.int64], drawn: NDArray[np.int64]
) -> Iterator[records.PassagePlace]:
    """Yield the top, the bottom and the decile passages of a cell's values (N,), as
    `CellValues.passages` has them.

    `sentences` (N,) numbers those of the text, `drawn` (N,) is a permutation of all indices: of
    equal values, the one that comes first in it is taken first. A passage that cannot be chosen is
    left out.
    """
    order = drawn[np.argsort(_sortable(values[drawn]), kind="stable")]
    is_free = np.ones(len(values), np.bool_)

    def take(kind: str, rank: int, candidates: NDArray[np.int64]) -> Iterator[records.PassagePlace]:
        index = _first_free(candidates, is_free)
        if index is None:
            return
        first, last = np.searchsorted(sentences, [sentences[index], sentences[index] + 1])
        is_free[first:last] = False
        reach = CHARS_BEFORE + CHARS_AFTER
        is_free[max(0, index - reach + 1) : index + reach] = False
        begin, end = _snapped(text, index)
        yield records.PassagePlace(
            kind=kind, rank=rank, index=index, begin=begin, end=end, value=float(values[index])
        )

    for kind, ranked in (("top", order[::-1]), ("bottom", order)):
        for rank in range(NUM_EXTREMES):
            yield from take(kind, rank + 1, ranked)
    for decile in range(NUM_DECILES, 0, -1):
        begin, end = (len(order) * number // NUM_DECILES for number in (decile - 1, decile))
        middle = (begin + end) // 2
        yield from take(
            "decile", decile, np.concatenate((order[middle:end], order[begin:middle][::-1]))
        )


def _sortable(values: NDArray[np.float16]) -> NDArray[np.uint16]:
    """Map values to integers in the same order: sorting those is many times as fast."""
    bits = (values + np.float16(0)).view(np.uint16)  # -0 becomes 0
    return np.asarray(np.where(bits & 0x8000, ~bits, bits | 0x8000), np.uint16)


def _first_free(candidates: NDArray[np.int64], is_free: NDArray[np.bool_]) -> int | None:
    for begin in range(0, len(candidates), 1024):
        part = candidates[begin : begin + 1024]
        found = is_free[part]
        if found.any():
            return int(part[found.argmax()])
    return None


def _snapped(text: str, index: int) -> tuple[int, int]:
    """Return begin and end of the passage around a character: between words, if a gap is near
    enough."""
    begin, end = max(0, index - CHARS_BEFORE), min(len(text), index + CHARS_AFTER)
    if begin > 0:
        gaps = [
            at for at in range(begin, min(begin + LARGEST_SNAP, index)) if text[at - 1].isspace()
        ]
        begin = gaps[0] if gaps else begin
    if end < len(text):
        gaps = [
            at for at in range(end, max(end - LARGEST_SNAP, index + 1), -1) if text[at].isspace()
        ]
        end = gaps[0] if gaps else end
    return begin, end


def number_sentences(text: str) -> NDArray[np.int64]:
    """Return for each character of a text (N,) the number of its sentence, ascending from 0.

    White space after a sentence belongs to the next one.
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    cuts: list[int] = []
    for begin, end in zip([0, *ends], [*ends, len(text)], strict=True):
        cuts += [*range(begin + MAX_SENTENCE, end, MAX_SENTENCE), end]
    starts = np.zeros(len(text), np.int64)
    starts[[cut for cut in cuts if cut < len(text)]] = 1
    return np.cumsum(starts)


def read_passages(
    text: str, places: Sequence[records.PassagePlace], values: Sequence[Float32Array]
) -> tuple[records.CellPassage, ...]:
    """Return the passages of a text that are at these places, with values (n,) of each to four
    decimals."""
    return tuple(
        records.CellPassage(
            kind=place.kind,
            rank=place.rank,
            value=place.value,
            index=place.index,
            begin=place.begin,
            line=1 + text.count("\n", 0, place.index) + text.count("\0", 0, place.index),
            text=text[place.begin : place.end],
            values=tuple(round(value, 4) for value in of_passage.tolist()),
        )
        for place, of_passage in zip(places, values, strict=True)
    )


def choose_passages(
    text: str,
    shown: Sequence[tuple[records.CellScore, Labels]],
    half: int,
    read: Read,
    num_units: int,
) -> list[slice]:
    """Select a passage of the scoring half for each score with its detector's labels (N,), after
    reading that half.

    The agreement of a cell with the labels of a passage is its score there, with the sign of its
    polarity.
    """
    values = np.empty((len(text) - half, len(shown)), np.float32)
    for indices, cells in read(half, len(text)):
        values[indices] = cells[:, [score.layer * num_units + score.unit for score, _ in shown]]

    def choose(score: records.CellScore, labels: Labels, of_cell: NDArray[np.float32]) -> slice:
        def agreement(part: slice) -> float:
            measured = measure_score(
                of_cell[part.start - half : part.stop - half], labels[part], score.polarity
            )
            return measured if labels.dtype == bool else score.polarity * measured

        return choose_passage(text, labels, half, agreement)

    return [
        choose(score, labels, of_cell)
        for (score, labels), of_cell in zip(shown, values.T, strict=True)
    ]


def choose_passage(
    text: str, labels: Labels, first: int, agreement: Callable[[slice], float]
) -> slice:
    """Select a passage from index `first` on in which the label changes, and which is typical of
    the cell.

    labels (N,). Of the `contrasting_passages`, the one with the median `agreement` is selected (the
    lower one of two): half of the others follow the detector at least as well. The cell's best
    place is not searched for.
    """
    candidates = contrasting_passages(text, labels, first)
    ordered = sorted(candidates, key=agreement) if len(candidates) > 1 else candidates
    return ordered[(len(ordered) - 1) // 2]


def contrasting_passages(text: str, labels: Labels, first: int) -> list[slice]:
    """Return the passages from index `first` on with the largest contrast of labels, which do not
    overlap, best first.

    labels (N,). A passage is NUM_LINES lines, at most MAX_LENGTH characters; a line ends with a
    newline or with the END of a document. Its contrast is the variance of its labels, which is p (1
    - p) for yes/no labels, times the number of changes of the label up to NUM_CHANGES. There are at
    most NUM_CANDIDATES, none with less than MIN_CONTRAST of the contrast of the first.
    """
    starts, ends = _segments(text, first)
    contrasts = _contrasts(labels, starts, ends)
    chosen: list[slice] = []
    least = MIN_CONTRAST * float(contrasts.max())
    while len(chosen) < NUM_CANDIDATES:
        best = int(contrasts.argmax())
        if contrasts[best] < least:
            break
        chosen.append(slice(int(starts[best]), int(ends[best])))
        contrasts[(starts < ends[best]) & (ends > starts[best])] = -1.0
    return chosen


def _segments(text: str, first: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where every passage from index `first` on begins and ends."""
    line = (
        f"[^\n\0]{{0,{MAX_LENGTH - 1}}}[\n\0]|[^\n\0]{{{MAX_LENGTH}}}"  # or a part of a longer one
    )
    starts = np.array([first, *(match.end() for match in re.finditer(line, text[first:-1]))])
    starts[1:] += first
    ends = np.append(starts[NUM_LINES:], [len(text)] * NUM_LINES)[: len(starts)]
    ends = np.minimum(ends, starts + MAX_LENGTH)
    # A passage that reaches the end has fewer lines. Only the first such is kept: one short line
    # would beat all others.
    is_kept = np.append(True, ends[:-1] < len(text))
    return starts[is_kept], ends[is_kept]


def _contrasts(
    labels: Labels, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.float64]:
    values = np.minimum(labels.astype(np.float64), MAX_COUNT)
    sums, squares = (np.append(0.0, np.cumsum(values**power)) for power in (1, 2))
    lengths = np.maximum(1, ends - starts)
    means = (sums[ends] - sums[starts]) / lengths
    variances = (squares[ends] - squares[starts]) / lengths - means**2
    # changes[i]: how many of the first i + 1 labels differ from the one before.
    changes = np.append(0, np.cumsum(labels[1:] != labels[:-1]))
    return np.asarray(
        np.maximum(0.0, variances) * np.minimum(NUM_CHANGES, changes[ends - 1] - changes[starts])
    )


def most_changes(labels: Labels, first: int, length: int) -> int:
    """Return where, from index `first` on, the segment of `length` characters with the most label
    changes begins.

    labels (N,).
    """
    changes = np.append(0, np.cumsum(labels[first + 1 :] != labels[first:-1]))
    last = max(1, len(labels) - first - length + 1)
    inside = changes[np.minimum(np.arange(last) + length - 1, len(changes) - 1)] - changes[:last]
    return first + int(inside.argmax())

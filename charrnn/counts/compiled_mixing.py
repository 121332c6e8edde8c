"""Mix the predictions of a network and of counts by compiled loops.

The results equal those of `MixingPowers.mix` bit for bit.

Shapes: M predictions, V vocabulary, K characters of the longest context.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.compiled import sampling as loops
from charrnn.compiled.functions import exp, take_logarithms
from charrnn.counts import contexts, mixing_powers
from charrnn.counts.contexts import Float64Array, Int64Array, NgramPredictor, Scratch
from charrnn.counts.mixing_powers import BORDERS, NUM_PAIRS, NUM_SURE, RUN
from charrnn.system.compiling import CompiledLoop, for_loops


class LoopCounts(NamedTuple):
    """The counts and powers, as compiled loops take them."""

    ngrams: NgramPredictor
    powers: Float64Array
    """(NUM_PAIRS, 2): see `MixingPowers`."""


@for_loops
def _how_sure(largest: float) -> int:
    """Return the class of a prediction by its largest probability."""
    number = 0
    for border in BORDERS:
        if largest >= border:
            number += 1
    return number


@for_loops
def _is_run(history: Int64Array, end_id: int) -> bool:
    """Return whether a history (K,) ends with a run of the same character, which is not END."""
    if len(history) < RUN or history[-1] == end_id:
        return False
    num_same = 1
    for back in range(2, RUN + 1):
        if history[-back] == history[-1]:
            num_same += 1
    return num_same == RUN


@for_loops
def mix(
    counts: LoopCounts,
    logits: NDArray[np.float32],
    history: Int64Array,
    mixed: Float64Array,
    values: Float64Array,
    scratch: Scratch,
) -> None:
    """Set mixed (V,) to the logits that `Counts.mix` returns for the logits (V,) of a network and a
    history (K,). values (V,) are overwritten."""
    # How sure the network is: its largest exponential is 1.
    size = len(logits)
    largest = logits[0]
    for char in range(size):
        largest = max(largest, logits[char])
    for char in range(size):
        values[char] = exp(np.float64(logits[char]) - np.float64(largest))
    total = 0.0
    for char in range(size):
        total += values[char]

    # The probabilities by the counts, and how sure the counts are.
    contexts.predict_next(counts.ngrams, history, values, scratch)
    most_by_counts = 0.0
    for char in range(size):
        most_by_counts = max(most_by_counts, values[char])

    pair = NUM_SURE * _how_sure(1.0 / total) + _how_sure(most_by_counts)
    if _is_run(history, counts.ngrams.end_id):
        pair = NUM_PAIRS - 1
    powers = counts.powers[pair]
    take_logarithms(values, mixed)
    for char in range(size):
        score = np.float64(logits[char]) - np.float64(largest)
        mixed[char] = powers[0] * score + powers[1] * mixed[char]


def _fill_mixed(
    counts: LoopCounts, logits: NDArray[np.float32], histories: Int64Array, mixed: Float64Array
) -> None:
    """Set mixed (M, V) to the logits (M, V) of a network, mixed with the predictions of the counts
    after histories (M, K)."""
    values = np.empty(mixed.shape[1])
    scratch = contexts.make_scratch(counts.ngrams)
    for row in range(len(mixed)):
        mix(counts, logits[row], histories[row], mixed[row], values, scratch)


SOURCES = [
    *loops.SOURCES,
    *(Path(str(module.__file__)) for module in (contexts, mixing_powers)),
    Path(__file__),
]
"""The files with the code of the loops that mix."""
_mix_rows = CompiledLoop(_fill_mixed, SOURCES)


def mix_rows(counts: LoopCounts, logits: NDArray[Any], histories: Int64Array) -> Float64Array:
    """Return the logits (M, V) of `counted_model.Counts.mix`, without arrays of all
    probabilities."""
    mixed = np.empty(logits.shape)
    _mix_rows.run(
        counts,
        np.ascontiguousarray(logits, dtype=np.float32),
        np.ascontiguousarray(histories),
        mixed,
    )
    return mixed

"""Turns logits into the distribution that sampling draws from.

Shapes: B batch, V vocabulary. Works on ids.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.sample_options import Shaping
from charrnn.model.portable_math import exact_exp

Float64Array = NDArray[np.float64]


def log_softmax(logits: NDArray[Any]) -> Float64Array:
    """Return log-probabilities (B, V) in float64 for logits (B, V)."""
    # exp of the largest one is 1, so that nothing overflows.
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


class CharWeights(NamedTuple):
    """Probabilities up to a factor."""

    values: Float64Array
    """(V,)."""
    total: float
    """The sum of `values`, added one after the other."""


def next_char_probs(
    logits: NDArray[Any], shaping: Shaping, banned: Sequence[int] = ()
) -> Float64Array:
    """Return probabilities (B, V) for logits (B, V), 0 for characters that are not kept and for the
    ids `banned`. Each row sums to 1.
    """
    rows = []
    for row in logits:
        weights = char_weights(row, shaping, banned=banned)
        rows.append(weights.values / weights.total)
    return np.stack(rows)


def char_weights(logits: NDArray[Any], shaping: Shaping, banned: Sequence[int] = ()) -> CharWeights:
    """Return the probabilities (V,) up to a factor for logits (V,), the same on every processor.

    Characters are kept by rank, because tied logits would keep more than k of them. Every operation
    is one of the compiled loop or of an exported page, in the same order. Of logits that are nan,
    one is certain.
    """
    size = len(logits)
    scores = logits.astype(np.float64)
    scores[list(banned)] = -np.inf
    most_likely = int(np.argmax(scores))

    # Greedy: the limit of a falling temperature.
    if shaping.temperature == 0:
        greedy = np.zeros(size)
        greedy[most_likely] = 1.0
        return CharWeights(greedy, total=1.0)

    # Temperature. A tiny one overflows: it leaves the most likely character. exact_exp gives the
    # same bits on every processor, which np.exp does not.
    with np.errstate(over="ignore", invalid="ignore"):
        weights = exact_exp((scores - scores[most_likely]) / shaping.temperature)
    weights[most_likely] = 1.0
    total = _sum(weights)

    # Top-k, then top-p of what it leaves: a character is kept if those before it do not reach p
    # yet. The most likely one always is.
    top_k = min(shaping.top_k or size, size)
    if top_k < size or shaping.top_p is not None:
        order = np.argsort(-scores, kind="stable")
        ordered = weights[order]
        ordered[top_k:] = 0.0
        sums = np.cumsum(ordered)
        total = float(sums[-1])
        if shaping.top_p is not None:
            ordered[1:][sums[:-1] >= shaping.top_p * total] = 0.0
            total = _sum(ordered)
        weights[order] = ordered

    # Min-p, relative to the most likely character, which has weight 1.
    if shaping.min_p:
        weights[weights < shaping.min_p * weights[most_likely]] = 0.0
        total = _sum(weights)
    return CharWeights(weights, total)


def _sum(values: Float64Array) -> float:
    """Add one after the other; np.sum adds in another order."""
    return float(np.cumsum(values)[-1])

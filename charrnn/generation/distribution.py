"""Turns logits into the distribution that sampling draws from.

Shapes: B batch, V vocabulary. Works on ids.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.sample_options import Shaping
from charrnn.model.portable_math import exact_exp

Float64Array = NDArray[np.float64]


def log_softmax(logits: NDArray[Any]) -> Float64Array:
    """Return log-probabilities (B, V) in float64 for logits (B, V)."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def next_char_probs(logits: NDArray[Any], shaping: Shaping) -> Float64Array:
    """Return probabilities (B, V) for logits (B, V), 0 for characters that are not kept. Each row
    sums to 1.

    Raises ValueError if every id is banned.
    """
    if len(set(shaping.banned)) >= logits.shape[-1]:
        raise ValueError("every character is banned: nothing is left to draw")
    return np.stack(
        [weights / total for weights, total in (char_weights(row, shaping) for row in logits)]
    )


def char_weights(logits: NDArray[Any], shaping: Shaping) -> tuple[Float64Array, float]:
    """Return the probabilities (V,) up to a factor for logits (V,), and their sum, the same on
    every processor.

    Characters are kept by rank, because tied logits would keep more than k of them. Every operation
    is one of the compiled loop or of an exported page, in the same order. Of logits that are nan,
    one is certain.
    """
    size, scores = len(logits), logits.astype(np.float64)
    scores[list(shaping.banned)] = -np.inf
    most_likely = int(np.argmax(scores))
    weights = np.zeros(size)
    if shaping.temperature > 0:
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # a tiny temperature leaves the most likely one
            weights = exact_exp((scores - scores[most_likely]) / shaping.temperature)
    weights[most_likely] = 1.0
    total = _sum(weights)
    top_k = size if shaping.temperature == 0 else min(shaping.top_k or size, size)
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
    if shaping.min_p:
        weights[weights < shaping.min_p * weights[most_likely]] = 0.0
        total = _sum(weights)
    return weights, total


def _sum(values: Float64Array) -> float:
    """Add one after the other; np.sum adds in another order."""
    return float(np.cumsum(values)[-1])

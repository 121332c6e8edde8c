"""Turn logits into the distribution from which sampling draws.

Shapes: B batch, V vocabulary. Works on ids.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.sample_options import SampleOptions
from charrnn.model.portable_math import exact_exp
from charrnn.system.arrays import BoolArray, Float64Array


def log_softmax(logits: NDArray[np.floating]) -> Float64Array:
    """Return log-probabilities (B, V) in float64 for logits (B, V).

    Log-probabilities of the model itself are reported by it, whatever the options are;
    `char_weights` are what a character is drawn from.
    """
    # After the shift the largest logit is 0, so that exp does not overflow.
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


class CharWeights(NamedTuple):
    """Probabilities of the next character, up to a factor.

    Drawing needs no division by the sum: a uniform number is multiplied by it instead.
    """

    values: Float64Array
    """(V,)."""
    total: float
    """The sum of `values`, added in their order."""

    @property
    def probs(self) -> Float64Array:
        """The probabilities (V,), which sum to 1: 0 for characters that are never drawn."""
        return self.values / self.total


def char_weights(
    logits: NDArray[np.floating], options: SampleOptions, *, banned: BoolArray
) -> CharWeights:
    """Return the probabilities (V,) up to a factor for logits (V,), the same on every processor: 0
    for banned characters (V,), of which there must be others.

    A character is drawn from them, after temperature and truncation; `log_softmax` has the
    probabilities of the model without any option. Top-k keeps characters by rank, because a
    threshold would keep more than k characters with equal logits. The compiled loop does the same
    operations in the same order, and so does an exported page with those that it has: the ban and
    the temperature. If the logits are nan, one character has all probability.
    """
    size = len(logits)
    scores = logits.astype(np.float64)
    scores[banned] = -np.inf
    most_likely = int(np.argmax(scores))

    # Greedy: the limit of a falling temperature.
    if options.temperature == 0:
        greedy = np.zeros(size)
        greedy[most_likely] = 1.0
        return CharWeights(greedy, total=1.0)

    # Temperature. With a tiny temperature the division overflows, and only the most likely
    # character is left. exact_exp gives the same bits on every processor, which np.exp does not.
    with np.errstate(over="ignore", invalid="ignore"):
        weights = exact_exp((scores - scores[most_likely]) / options.temperature)
    weights[most_likely] = 1.0
    total = _sum(weights)

    # Top-k, then top-p of the characters that are left: a character is kept if the more likely
    # characters do not reach p yet. The most likely character is always kept.
    top_k = min(options.top_k or size, size)
    if top_k < size or options.top_p is not None:
        order = np.argsort(-scores, kind="stable")
        ordered = weights[order]
        ordered[top_k:] = 0.0
        sums = np.cumsum(ordered)
        total = float(sums[-1])
        if options.top_p is not None:
            ordered[1:][sums[:-1] >= options.top_p * total] = 0.0
            total = _sum(ordered)
        weights[order] = ordered

    # Min-p, relative to the most likely character, which has weight 1.
    if options.min_p:
        weights[weights < options.min_p * weights[most_likely]] = 0.0
        total = _sum(weights)
    return CharWeights(weights, total)


def _sum(values: Float64Array) -> float:
    """Add values in their order; np.sum adds in another order."""
    return float(np.cumsum(values)[-1])

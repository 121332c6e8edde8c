"""Logits to the distribution that sampling draws from.

Shapes: B batch, V vocabulary. Speaks ids only; text is the vocabulary's business.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError, named
from charrnn.generation.defaults import SAMPLE_TEMPERATURE

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shaping:
    """How logits become probabilities. Raises UsageError naming the option and its range.

    Order: banned ids, temperature, top-k, top-p (nucleus; Holtzman 2020), min-p.
    """

    temperature: float = 1.0
    """0 is greedy: all probability on the likeliest character, the first of equals."""
    top_k: int | None = None
    """Keep the k likeliest characters."""
    top_p: float | None = None
    """Keep the fewest likeliest characters whose probabilities reach p."""
    min_p: float | None = None
    """Keep characters at least min_p times as likely as the likeliest."""
    banned: tuple[int, ...] = ()
    """Ids that are never drawn."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(
                f"{named('temperature')} is {self.temperature}; it must be 0 (greedy) or more, and finite. "
                f"Try {SAMPLE_TEMPERATURE}."
            )
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"{named('top_k')} is {self.top_k}; it must be at least 1.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"{named('top_p')} is {self.top_p}; it must be more than 0 and at most 1.")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise UsageError(f"{named('min_p')} is {self.min_p}; it must be between 0 and 1.")


def log_softmax(logits: NDArray[Any]) -> Floats:
    """Log-probabilities (B, V) in float64 of logits (B, V)."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def next_char_probs(logits: NDArray[Any], shaping: Shaping) -> Floats:
    """Map logits (B, V) to probabilities (B, V), zero outside the kept characters. Each row sums to 1.

    Raises ValueError if every id is banned.
    """
    scores = logits.astype(np.float64)
    if len(set(shaping.banned)) >= scores.shape[-1]:
        raise ValueError("every character is banned: nothing is left to draw")
    scores[:, list(shaping.banned)] = -np.inf
    # By rank rather than by value: tied logits would let more than k characters through.
    order = np.argsort(-scores, axis=-1, kind="stable")
    scores -= scores.max(axis=-1, keepdims=True)
    kept = 1 if shaping.temperature == 0 else min(shaping.top_k or scores.shape[-1], scores.shape[-1])
    np.put_along_axis(scores, order[:, kept:], -np.inf, axis=-1)
    with np.errstate(over="ignore"):  # a tiny temperature sends all but the likeliest to -inf, as it should
        probs = np.exp(scores / (shaping.temperature or 1.0))
    if shaping.top_p is not None:
        # Not yet divided by their sum: of equals, whose sums are exact, none is then rounded across the border.
        ordered = np.take_along_axis(probs, order, axis=-1)
        sums = np.cumsum(ordered, axis=-1)
        ordered[:, 1:][sums[:, :-1] >= shaping.top_p * sums[:, -1:]] = 0.0
        np.put_along_axis(probs, order, ordered, axis=-1)
    if shaping.min_p is not None:
        probs[probs < shaping.min_p * probs.max(axis=-1, keepdims=True)] = 0.0
    return np.asarray(probs / probs.sum(axis=-1, keepdims=True))

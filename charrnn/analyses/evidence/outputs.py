"""Where a property shows in the output of a model: the two sides of its labels, the next characters
whose odds differ between them, and the characters after which they do.

All is chosen on the choosing half, from the text alone.

Shapes: N characters, V characters of the alphabet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.detector import Labels
from charrnn.statistics.intervals import Float64Array
from charrnn.system.lazy import Tensor, torch

Sides = NDArray[np.int8]
"""(N,): 1 inside a span or at a high count, -1 outside or at a low count, 0 between them."""
PERCENTILES = (20, 80)
"""A count up to the first of these percentiles is low, from the second one on high."""
MIN_OCCURRENCES = 20
"""Occurrences on either side that a character needs."""
MIN_SHARE = 0.01
"""Share of the occurrences after which the output follows on one side, at least."""
MIN_RATIO = 2
"""How much more often than on the other side, at least."""
NUM_CANDIDATES = 64
"""Frequent characters among which the output is chosen where the detector names none."""


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """The output that a property shows in: the log odds of some next characters."""

    ids: NDArray[np.int64]
    """The next characters."""
    sign: int
    """1 if they are likelier inside, -1 if they are likelier outside."""
    after: NDArray[np.int64]
    """The characters that are read where this shows."""

    def odds(self, logits: Tensor) -> Tensor:
        """Compute the log odds (...,) of the characters, times the sign, from logits (..., V)."""
        is_chosen = torch.zeros(logits.shape[-1], dtype=torch.bool)
        is_chosen[self.ids] = True
        logits = logits.double()
        chosen = logits[..., is_chosen].logsumexp(-1)
        return self.sign * (chosen - logits[..., ~is_chosen].logsumexp(-1))


def sides_of(labels: Labels) -> Sides:
    """Divide labels (N,) into two sides."""
    if labels.dtype == bool:
        return np.where(labels, 1, -1).astype(np.int8)

    # Of a count that is mostly one number, the others are the high ones.
    low, high = np.percentile(labels, PERCENTILES)
    high = max(high, np.nextafter(low, np.inf))
    return np.asarray((labels >= high).astype(np.int8) - (labels <= low))


def choose_output(ids: NDArray[np.int64], sides: Sides, declared: Sequence[int]) -> Output:
    """Choose the output of a property on a text ids (N,) with its sides (N,).

    The next characters are those that are `declared`, or else the one whose frequency differs most
    between the sides.
    """
    codes = ids[:-1]
    sides = sides[:-1]
    gaps = partial(_gaps, codes, sides)

    # The sum of the differences over the characters that are read, each as often as both sides
    # have it: what is more frequent inside only because other characters are, does not count.
    chosen = list(declared)
    if not chosen:
        counts = np.bincount(ids)
        frequent = counts.argsort()[::-1][: min(NUM_CANDIDATES, np.count_nonzero(counts))]
        totals = []
        for id in frequent.tolist():
            inside, outside, weights = gaps(ids[1:] == id)
            totals.append(abs(float(weights @ (inside - outside))))
        chosen = [int(frequent[np.argmax(totals)])]
    inside, outside, weights = gaps(np.isin(ids[1:], chosen))
    sign = 1
    if weights @ (inside - outside) < 0:
        sign = -1
        inside, outside = outside, inside

    # Where it shows: after a letter in a word no quotation ends, on neither side.
    shows = (weights >= MIN_OCCURRENCES) & (inside >= MIN_SHARE)
    shows &= inside >= MIN_RATIO * outside
    if not shows.any():
        shows = weights >= max(1, min(MIN_OCCURRENCES, weights.max()))
    return Output(np.array(chosen), sign=sign, after=np.flatnonzero(shows))


def _gaps(
    codes: NDArray[np.int64], sides: Sides, follows: NDArray[np.bool_]
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return, for each character, how often it `follows` it inside and outside, and how many
    occurrences both sides have."""
    rates = []
    counts = []
    for side in (1, -1):
        here = sides == side
        size = int(codes.max()) + 1
        count = np.bincount(codes[here], minlength=size)
        rates.append(np.bincount(codes[here], follows[here], size) / np.maximum(1, count))
        counts.append(count)
    return rates[0], rates[1], np.minimum(*counts).astype(np.float64)


def difference(odds: Float64Array, sides: Sides, codes: NDArray[np.int64]) -> float:
    """Compute how much higher odds (n,) are inside than outside, with the same characters read.

    A mean over the characters that are read, each as often as both sides have it.
    """
    total = 0.0
    weight = 0
    for code in np.unique(codes):
        inside = odds[(codes == code) & (sides > 0)]
        outside = odds[(codes == code) & (sides < 0)]
        num_both = min(len(inside), len(outside))
        if num_both:
            total += num_both * float(inside.mean() - outside.mean())
            weight += num_both
    return total / max(1, weight)

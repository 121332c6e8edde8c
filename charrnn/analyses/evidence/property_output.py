"""The output of a model that shows a property: the two sides of the property's labels, the next
characters with odds that differ between the sides, and the characters after which they differ.

The output is chosen on the choosing half, from the text alone.

Shapes: N characters, V characters of the alphabet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.detector import Labels
from charrnn.system.arrays import BoolArray, Float64Array, Int64Array
from charrnn.system.lazy import Tensor, torch

LabelSigns = NDArray[np.int8]
"""(N,): 1 inside a span or at a high count, -1 outside or at a low count, 0 at counts in
between."""
PERCENTILES = (20, 80)
"""A count up to the first of these percentiles is low, from the second on high."""
MIN_OCCURRENCES = 20
"""Occurrences on either side that a character needs."""
MIN_SHARE = 0.01
"""Least share of the occurrences of a character that the output follows, on the likelier side."""
MIN_RATIO = 2
"""Least ratio of this share to the share on the other side."""
NUM_CANDIDATES = 64
"""Frequent characters among which the output is chosen where the detector declares none."""


@dataclass(frozen=True, eq=False)
class Output:
    """The output that shows a property: the log odds of some next characters.

    A cell is looked into by what the model does: this says which part of a prediction shows the
    property.
    """

    ids: Int64Array
    """The next characters."""
    sign: int
    """1 if they are likelier inside, -1 if they are likelier outside."""
    after: Int64Array
    """The characters after which the odds differ."""

    def odds(self, logits: Tensor) -> Tensor:
        """Compute the log odds (...,) of the characters, times the sign, from logits (..., V)."""
        is_output = torch.zeros(logits.shape[-1], dtype=torch.bool)
        is_output[self.ids] = True
        logits = logits.double()
        of_output = logits[..., is_output].logsumexp(-1)
        return self.sign * (of_output - logits[..., ~is_output].logsumexp(-1))


def signs_of(labels: Labels) -> LabelSigns:
    """Return on which side each of the labels (N,) is, as a sign."""
    if labels.dtype == bool:
        return np.where(labels, 1, -1).astype(np.int8)

    # Where most counts are the same number, all larger counts are high.
    low, high = np.percentile(labels, PERCENTILES)
    high = max(high, np.nextafter(low, np.inf))
    signs: LabelSigns = (labels >= high).astype(np.int8) - (labels <= low)
    return signs


def choose_output(ids: Int64Array, signs: LabelSigns, declared: Sequence[int]) -> Output:
    """Choose the output that shows a property, from the ids (N,) of a text and the signs (N,) of
    its labels.

    A detector that knows its characters declares them; for others they are looked for in the text.
    The next characters are the `declared` ones, or else the character with the frequency that
    differs most between the sides.
    """
    codes = ids[:-1]
    signs = signs[:-1]
    gaps = partial(_gaps, codes, signs)

    # The differences of frequency, summed over the characters read before, each as often as both
    # sides have it: the sides may differ in these characters, too.
    output_ids = list(declared)
    if not output_ids:
        counts = np.bincount(ids)
        frequent = counts.argsort()[::-1][: min(NUM_CANDIDATES, np.count_nonzero(counts))]
        totals = []
        for id in frequent.tolist():
            inside, outside, weights = gaps(ids[1:] == id)
            totals.append(abs(float(weights @ (inside - outside))))
        output_ids = [int(frequent[np.argmax(totals)])]
    inside, outside, weights = gaps(np.isin(ids[1:], output_ids))
    sign = 1
    if weights @ (inside - outside) < 0:
        sign = -1
        inside, outside = outside, inside

    # The characters after which the odds differ: no quotation ends after a letter within a word, on
    # either side.
    shows = (weights >= MIN_OCCURRENCES) & (inside >= MIN_SHARE)
    shows &= inside >= MIN_RATIO * outside
    if not shows.any():
        shows = weights >= max(1, min(MIN_OCCURRENCES, weights.max()))
    return Output(np.array(output_ids), sign=sign, after=np.flatnonzero(shows))


def _gaps(
    codes: Int64Array, signs: LabelSigns, follows: BoolArray
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return, for each character, how often the output `follows` it inside and outside, and how
    many occurrences both sides have."""
    rates = []
    counts = []
    for sign in (1, -1):
        is_on_side = signs == sign
        side_codes = codes[is_on_side]
        size = int(codes.max()) + 1
        count = np.bincount(side_codes, minlength=size)
        following = np.bincount(side_codes, weights=follows[is_on_side], minlength=size)
        rates.append(following / np.maximum(1, count))
        counts.append(count)
    return rates[0], rates[1], np.minimum(*counts).astype(np.float64)


def resample_differences(
    odds: Float64Array,
    *,
    signs: LabelSigns,
    codes: Int64Array,
    blocks: Int64Array,
    draws: Float64Array,
) -> Float64Array:
    """Compute how much higher the odds (C, n) of each of C conditions are inside than outside,
    after the same characters `codes` (n,), in R resamples: (C, R).

    It is a mean over these characters, each weighted by the occurrences that both sides have.
    `blocks` (n,) are the numbers of the blocks of the text, and `draws` (R, K) says how often each
    resample has each of K blocks. A character that a resample does not have on both sides is left
    out of it.
    """
    num_blocks = draws.shape[1]
    total = np.zeros((len(odds), len(draws)))
    weight = np.zeros(len(draws))
    for code in np.unique(codes):
        means = []
        counts = []
        for sign in (1, -1):
            where = (codes == code) & (signs == sign)
            num_drawn = draws @ np.bincount(blocks[where], minlength=num_blocks)
            sums = [
                np.bincount(blocks[where], weights=row[where], minlength=num_blocks) for row in odds
            ]
            means.append(np.stack(sums) @ draws.T / np.maximum(1, num_drawn))
            counts.append((int(where.sum()), num_drawn))
        (num_inside, drawn_inside), (num_outside, drawn_outside) = counts
        num_both = min(num_inside, num_outside) * ((drawn_inside > 0) & (drawn_outside > 0))
        total += num_both * (means[0] - means[1])
        weight += num_both
    return total / np.maximum(1, weight)

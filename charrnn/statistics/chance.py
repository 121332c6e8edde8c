"""The association that the best of many columns reaches by chance.

The best of hundreds of columns agrees somewhat with any labels. So its association is compared with
the association of the best column for the same labels, shifted along the text: shifted labels keep
the lengths of their spans and lose their relation to the values.

Shapes: N values, C columns, K shifts.
"""

from typing import NamedTuple

import numpy as np

from charrnn.system.arrays import Float32Array

NUM_SHIFTS = 199
"""K: number of shifts."""
MIN_SHIFT = 0.05
"""The smallest shift as a share of the text: labels that are shifted less still correlate with
themselves."""


class Chance(NamedTuple):
    """The strength that the best of many columns reaches by chance."""

    p_value: float
    """Share of the shifts at which the best column is as strong as for the labels themselves."""
    level: float
    """The strength that the best column stays below at 95 % of the shifts."""


def best_by_chance(ranks: Float32Array, target: Float32Array, scale: Float32Array) -> Chance:
    """Compute the strength that the best column reaches by chance, from shifted labels.

    The best of hundreds of cells follows anything a little: a score is only above chance if it is
    above this one.

    ranks (N, C) are the centred ranks of the columns, target (N,) the centred label or ranks; scale
    (C,) times their product is an association. The observed strength counts as one of the shifts,
    so p is at least 1 / (K + 1).
    """
    # Draw circular shifts: neither few places nor nearly N, because neighbouring values are alike.
    # They are always the same shifts, so that a score that is measured again is as significant as
    # before.
    num_values = len(target)
    least = max(1, int(num_values * MIN_SHIFT))
    most = max(least + 1, num_values - least)
    shifts = np.random.default_rng(0).integers(least, most, size=NUM_SHIFTS)

    # Row 0 is the label without a shift. A single matrix product serves all shifts; it needs them
    # as rows in memory.
    windows = np.lib.stride_tricks.sliding_window_view(np.append(target, target), num_values)
    shifted = np.ascontiguousarray(windows[num_values - np.append(0, shifts)])
    strengths = np.abs(shifted @ ranks * scale).max(axis=1)

    # Equal up to the rounding of float32 counts as reached.
    p_value = (strengths >= strengths[0] * (1 - 1e-6)).mean()
    return Chance(float(p_value), level=float(min(1.0, np.quantile(strengths[1:], 0.95))))

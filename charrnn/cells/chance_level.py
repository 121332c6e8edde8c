"""The chance level: how strongly the best of all cells follows circularly shifted labels.

A circular shift keeps the autocorrelation of cells and of labels, and breaks the association between them.
Shapes: N characters, C cells, K shifts.
"""

import numpy as np
from numpy.typing import NDArray

NUM_SHIFTS = 199
"""K: shifts that are drawn."""
MIN_SHIFT = 0.05
"""The smallest shift as a share of the text: labels that are shifted less still correlate with themselves."""


def best_by_chance(
    ranks: NDArray[np.float32], target: NDArray[np.float32], scale: NDArray[np.float32]
) -> tuple[float, float]:
    """Compute the p-value of the best cell's strength, and the 95 % quantile of that strength under shifted labels.

    ranks (N, C) are the centred ranks of the cells, target (N,) the centred label or ranks; scale (C,) times their
    product is an association in [-1, 1]. The observed strength counts as one of the shifts, so p is at least
    1 / (K + 1).
    """
    num_chars = len(target)
    least = max(1, int(num_chars * MIN_SHIFT))
    generator = np.random.default_rng(0)
    shifts = generator.integers(least, max(least + 1, num_chars - least), NUM_SHIFTS)
    # Row 0 is the label without a shift.
    at = (np.arange(num_chars) - np.append(0, shifts)[:, None]) % num_chars
    strengths = np.abs(target[at] @ ranks * scale).max(axis=1)
    p_value = (strengths >= strengths[0] * (1 - 1e-6)).mean()
    return float(p_value), float(min(1.0, np.quantile(strengths[1:], 0.95)))

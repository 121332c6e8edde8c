"""exp, tanh and the logistic function of compiled loops: the bits of `exact_exp` and `exact_tanh`
of `model.portable_math`.

They are the same operations in the same order, without branches, so that loops over them are
vectorized.
"""

from typing import Any

import numpy as np

from charrnn.model.portable_math import (
    EXP_LIMIT,
    EXP_TERMS,
    INVERSE_LN2,
    LN2_HIGH,
    LN2_LOW,
    TANH_BOTTOM,
    TANH_LIMIT,
    TANH_TOP,
)
from charrnn.system.compiling import for_loops

LIMIT = np.float32(TANH_LIMIT)
"""tanh is computed for arguments clipped to [-LIMIT, LIMIT]."""
P0, P1, P2, P3, P4 = np.array(TANH_TOP, np.float32)
"""Coefficients of the numerator of tanh."""
Q0, Q1, Q2, Q3, Q4 = np.array(TANH_BOTTOM, np.float32)
"""Coefficients of the denominator of tanh."""
HALF = np.float32(0.5)
"""A half in float32, because Python's would make the arithmetic float64."""
E2, E3, E4, E5, E6, E7, E8, E9, E10, E11, E12, E13 = EXP_TERMS[2:]
"""Coefficients of exp."""


@for_loops
def tanh(x: np.float32) -> Any:
    """Compute `exact_tanh`: the same operations in the same order."""
    x = min(max(x, -LIMIT), LIMIT)
    square = x * x
    top = (((P4 * square + P3) * square + P2) * square + P1) * square + P0
    bottom = (((Q4 * square + Q3) * square + Q2) * square + Q1) * square + Q0
    return x * top / bottom


@for_loops
def sigmoid(x: np.float32) -> Any:
    """Compute 1 / (1 + exp(-x)) as a tanh, whose polynomials are vectorized."""
    return HALF * tanh(HALF * x) + HALF


@for_loops
def power_of_two(exponent: int) -> Any:
    """Compute 2^exponent in float64, from -1022 to 1023."""
    # The exponent of a double is in the bits from 52 on, with 1023 added.
    return np.int64((np.int64(exponent) + 1023) << 52).view(np.float64)


@for_loops
def exp(x: float) -> float:
    """Compute `exact_exp`, without branches, so that loops vectorize."""
    # exp(x) = 2^power * exp(r), where |r| is at most ln(2) / 2. The logarithm has two parts; the
    # product with the high part is exact.
    inside = max(x, EXP_LIMIT)
    power = np.rint(inside * INVERSE_LN2)
    r = (inside - power * LN2_HIGH) - power * LN2_LOW

    # The Taylor series of exp(r).
    high = ((((((E13 * r + E12) * r + E11) * r + E10) * r + E9) * r + E8) * r + E7) * r + E6
    total = (((((high * r + E5) * r + E4) * r + E3) * r + E2) * r + 1.0) * r + 1.0

    scaled = total * power_of_two(power)
    return scaled if x >= EXP_LIMIT else 0.0

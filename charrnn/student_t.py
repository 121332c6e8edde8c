"""Quantiles of Student's t distribution, for intervals of means of few values."""

import math
from functools import lru_cache

LEVEL = 0.95
"""Coverage of every interval."""
MAX_TERMS = 300
"""Terms of the continued fraction, of which about the square root of the degrees of freedom are needed."""


@lru_cache
def t_quantile(freedom: float, level: float = LEVEL) -> float:
    """Return the t for which |T| ≤ t has probability `level`, T being Student's with `freedom` > 0 degrees."""
    # By bisection of P(|T| > t) = I_x(ν/2, 1/2), x = ν / (ν + t²) (Abramowitz & Stegun 1964, 26.7.1).
    low, high = 0.0, 1.0
    while _tail(high, freedom) > 1 - level:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _tail(middle, freedom) > 1 - level else (low, middle)
    return (low + high) / 2


def _tail(t: float, freedom: float) -> float:
    return _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b) (Abramowitz & Stegun 1964, 26.5.8)."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly
        return 1 - _incomplete_beta(1 - x, b, a)
    log_factor = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    # The continued fraction from its end.
    fraction = 0.0
    for term in range(MAX_TERMS, 0, -1):
        half, is_odd = divmod(term, 2)
        if is_odd:
            coefficient = -(a + half) * (a + b + half) / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            coefficient = half * (b - half) / ((a + 2 * half - 1) * (a + 2 * half))
        fraction = coefficient * x / (1 + fraction)
    return math.exp(log_factor) / a / (1 + fraction)

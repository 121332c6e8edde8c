"""Compare losses over few seeds: mean, spread, intervals by Student's t, and differences with theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

LEVEL = 0.95
"""Coverage of every interval."""
MAX_TERMS = 300
"""Terms of the continued fraction, of which about the square root of the degrees of freedom are needed."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with the ends of its 95 % interval; they are None for fewer than two values."""

    mean: float
    low: float | None = None
    high: float | None = None


def mean_interval(values: Sequence[float]) -> Estimate:
    """Estimate the mean of independent values: mean ± t · s / √n, with n - 1 degrees of freedom (Student 1908)."""
    mean, num = fmean(values), len(values)
    if num < 2:
        return Estimate(mean)
    half = t_quantile(num - 1) * stdev(values) / math.sqrt(num)
    return Estimate(mean, mean - half, mean + half)


def paired_difference(values: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Estimate the mean difference of pairs, value minus reference, from the differences themselves."""
    return mean_interval([value - other for value, other in zip(values, reference, strict=True)])


def welch_difference(values: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Estimate the difference of the means of two independent groups whose variances differ (Welch 1947)."""
    difference = fmean(values) - fmean(reference)
    if min(len(values), len(reference)) < 2:
        return Estimate(difference)
    squares = [stdev(group) ** 2 / len(group) for group in (values, reference)]
    if not sum(squares):
        return Estimate(difference, difference, difference)
    freedom = sum(squares) ** 2 / sum(
        square**2 / (len(group) - 1) for square, group in zip(squares, (values, reference), strict=True)
    )
    half = t_quantile(freedom) * math.sqrt(sum(squares))
    return Estimate(difference, difference - half, difference + half)


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

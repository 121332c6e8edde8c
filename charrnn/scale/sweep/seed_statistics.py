"""Compare losses over few seeds: mean, spread, intervals by Student's t, and differences with theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from charrnn.evaluation.estimate import Estimate
from charrnn.student_t import t_quantile


def mean_interval(values: Sequence[float]) -> Estimate:
    """Estimate the mean of independent values: mean ± t · s / √n, with n - 1 degrees of freedom (Student 1908)."""
    mean, num = fmean(values), len(values)
    if num < 2:
        return Estimate(mean=mean)
    half = t_quantile(num - 1) * stdev(values) / math.sqrt(num)
    return Estimate(mean=mean, low=mean - half, high=mean + half)


def paired_difference(values: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Estimate the mean difference of pairs, value minus reference, from the differences themselves."""
    return mean_interval([value - other for value, other in zip(values, reference, strict=True)])


def welch_difference(values: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Estimate the difference of the means of two independent groups whose variances differ (Welch 1947)."""
    difference = fmean(values) - fmean(reference)
    if min(len(values), len(reference)) < 2:
        return Estimate(mean=difference)
    squares = [stdev(group) ** 2 / len(group) for group in (values, reference)]
    if not sum(squares):
        return Estimate(mean=difference, low=difference, high=difference)
    freedom = sum(squares) ** 2 / sum(
        square**2 / (len(group) - 1) for square, group in zip(squares, (values, reference), strict=True)
    )
    half = t_quantile(freedom) * math.sqrt(sum(squares))
    return Estimate(mean=difference, low=difference - half, high=difference + half)

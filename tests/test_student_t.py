"""Quantiles of Student's t distribution, against published ones and its density."""

import math

import numpy as np
import pytest

from charrnn.intervals import t_quantile

QUANTILES = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 29: 2.045, 120: 1.980}
"""Two-sided 95 % points of Student's t by degrees of freedom, to three places as every statistics table has them."""


@pytest.mark.parametrize(("freedom", "quantile"), QUANTILES.items())
def test_quantiles_are_those_of_the_tables(freedom: int, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, abs=5e-4)


def test_many_degrees_of_freedom_give_the_normal_quantile() -> None:
    assert t_quantile(1e7) == pytest.approx(1.959964, abs=1e-5)


@pytest.mark.parametrize("freedom", [1.5, 2.5, 7.3])
def test_the_quantile_inverts_the_density(freedom: float) -> None:
    # By Simpson's rule over the density of Student's t: a fraction of a degree is what Welch's formula gives.
    t = np.linspace(0, t_quantile(freedom), 200_001)
    log_constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    density = np.exp(log_constant - (freedom + 1) / 2 * np.log1p(t * t / freedom))
    weights = np.ones_like(t)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    assert 2 * float((density * weights).sum()) * (t[1] - t[0]) / 3 == pytest.approx(0.95, abs=1e-8)

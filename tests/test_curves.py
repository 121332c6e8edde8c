"""Gradients by lag on a log scale: what stands where."""

import math
import re

import pytest
from drawn import lines as plain

from charrnn.lab.gradients import GradientReach, gradient_chart
from charrnn.views.charts import MAX_TICKS, _numbers
from charrnn.views.svg import GRID


def reach(name: str, *factors: float, furthest: int = 200, start: float = 1.0) -> GradientReach:
    """One layer for each factor, by which its norm changes from lag to lag."""
    lags = tuple(range(1, furthest + 1))
    norms = tuple(tuple(start * factor ** (lag - 1) for lag in lags) for factor in factors)
    return GradientReach(name=name, lags=lags, norms=norms, num_losses=9)


def test_what_fades_or_explodes_out_of_sight_leaves_the_chart() -> None:
    lines = plain(gradient_chart([reach("gone", 1e-2, furthest=100), reach("up", 1e3, furthest=100)]), 60)
    ticks = [int(line.split("┤")[0].strip().removeprefix("1e")) for line in lines if "┤" in line]
    assert (ticks[0], ticks[-1]) == (12, -12) and len(ticks) <= MAX_TICKS
    infinite = GradientReach(name="x", lags=(1, 2, 3), norms=((math.inf, math.nan, 0.0),), num_losses=1)
    for nothing in ([infinite], []):
        assert plain(gradient_chart(nothing), 60)[1:] == ["There is nothing to draw between 1e-12 and 1e12."]


def points(element: str) -> list[tuple[float, float]]:
    numbers = [float(number) for number in re.findall(r"[\d.]+", re.search(r' d="([^"]*)"', element)[1])]  # type: ignore[index]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_in_an_exported_picture_curves_are_paths_on_the_same_scale() -> None:
    """A factor per character is a straight line down; a norm of 10 ** -k stands at the gridline of 1e-k."""
    fading = reach("rnn-001", 10 ** (-5.99 / 199))  # from 1 to nearly 1e-6
    height, shapes = gradient_chart([fading, reach("gru-001", 1.0, start=1e-3)]).to_shapes(1200.0)
    grid = [points(one)[0][1] for one in shapes if GRID in one]
    ticks = [int(text) for text in re.findall(r">1e(-?\d+)<", "".join(shapes))]
    assert ticks == sorted(ticks) and grid == sorted(grid, reverse=True) and len(ticks) == len(grid) == 7
    axes = next(points(one) for one in shapes if one.startswith("<path") and len(points(one)) == 3)
    assert (grid[-1], grid[0]) == (axes[0][1], axes[1][1]), "the drawing fills its axes"
    curves = [points(one) for one in shapes if one.startswith("<path") and 'stroke-width="2"' in one]
    assert [len(curve) for curve in curves] == [200, 200]
    (x, top), *_, (right, bottom) = curves[0]
    assert (top, bottom) == pytest.approx((grid[ticks.index(0)], grid[ticks.index(-6)]), abs=1)
    for at, y in curves[0]:
        assert y == pytest.approx(top + (at - x) / (right - x) * (bottom - top), abs=0.05)
    assert {y for _, y in curves[1]} == {grid[ticks.index(-3)]}
    assert all(0 <= at <= 1200 and 0 <= y <= height for curve in curves for at, y in curve)
    assert "characters before" in "".join(shapes) and ">rnn-001<" in shapes[-3] and ">gru-001<" in shapes[-1]


def test_numbers_below_a_chart_do_not_touch() -> None:
    assert _numbers({1: "100", 4: "200", 5: "300", 11: "400"}, 12) == "100 300  400"

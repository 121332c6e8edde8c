"""Gradients by lag on a log scale, and scatters of saturated gates: what stands where."""

import math
import re

import pytest
from drawn import lines as plain

from charrnn.cells.records import GateUse
from charrnn.lab.gates import DOT, GateReport, GateScatters
from charrnn.lab.gradients import GradientReach, _lags, decades, gradient_chart
from charrnn.views.charts import MAX_TICKS
from charrnn.views.svg import GRID, INK


def reach(name: str, *factors: float, furthest: int = 200, start: float = 1.0) -> GradientReach:
    """One layer for each factor, by which its norm changes from lag to lag."""
    lags = tuple(range(1, furthest + 1))
    norms = tuple(tuple(start * factor ** (lag - 1) for lag in lags) for factor in factors)
    return GradientReach(name=name, lags=lags, norms=norms, num_losses=9)


FADING = reach("rnn-001", 10 ** (-5.99 / 199))
"""From 1 to nearly 1e-6."""


def test_what_fades_or_explodes_out_of_sight_leaves_the_chart() -> None:
    lines = plain(gradient_chart([reach("gone", 1e-2, furthest=100), reach("up", 1e3, furthest=100)]), 60)
    ticks = [int(line.split("┤")[0].strip().removeprefix("1e")) for line in lines if "┤" in line]
    assert (ticks[0], ticks[-1]) == (12, -12)
    assert len(ticks) <= MAX_TICKS
    infinite = GradientReach(name="x", lags=(1, 2, 3), norms=((math.inf, math.nan, 0.0),), num_losses=1)
    for nothing in ([infinite], []):
        assert plain(gradient_chart(nothing), 60)[1:] == ["There is nothing to draw between 1e-12 and 1e12."]


@pytest.mark.parametrize(
    ("lowest", "highest", "ticks"),
    [
        (-5.9, -0.1, [-6, -5, -4, -3, -2, -1, 0]),
        (-6.1, -0.1, [-8, -6, -4, -2, 0]),
        (0.2, 0.3, [0, 1]),
        (-12.0, 12.0, [-12, -8, -4, 0, 4, 8, 12]),
    ],
)
def test_powers_of_ten(lowest: float, highest: float, ticks: list[int]) -> None:
    assert decades(lowest, highest) == ticks


@pytest.mark.parametrize(
    ("furthest", "most", "lags"),
    [
        (200, 5, [1, 50, 100, 150, 200]),
        (30, 7, [1, 5, 10, 15, 20, 25, 30]),
        (2, 1, [1, 2]),
        (1_000_000, 3, [1, 500_000, 1_000_000]),
    ],
)
def test_round_lags(furthest: int, most: int, lags: list[int]) -> None:
    assert _lags(furthest, most) == lags


def points(element: str) -> list[tuple[float, float]]:
    numbers = [float(number) for number in re.findall(r"[\d.]+", re.search(r' d="([^"]*)"', element)[1])]  # type: ignore[index]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_in_an_exported_picture_curves_are_paths_on_the_same_scale() -> None:
    """A factor per character is a straight line down; a norm of 10 ** -k stands at the gridline of 1e-k."""
    height, shapes = gradient_chart([FADING, reach("gru-001", 1.0, start=1e-3)]).to_shapes(1200.0)
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


def report(letters: str = "fio", num_layers: int = 2) -> GateReport:
    """Four units: three in corners, one in the middle; in the first layer only."""
    shares = ((0.0, 1.0, 0.0, 0.25), (0.0, 0.0, 1.0, 0.25))
    gates = tuple(
        GateUse(
            layer=layer, gate=gate, left=shares[0] if layer == 0 else (0.5,), right=shares[1] if layer == 0 else (0.5,)
        )
        for layer in range(num_layers)
        for gate in letters
    )
    return GateReport(name="lamps-001", cell="lstm", num_chars=12_345, gates=gates)


def test_in_an_exported_picture_each_unit_is_a_dot_where_its_shares_put_it() -> None:
    height, shapes = GateScatters(report("fi", num_layers=1)).to_shapes(1200.0)
    drawn = "".join(shapes)
    axes = [re.findall(r"[\d.]+", d) for d in re.findall(rf'd="(M[^"]*)" fill="none" stroke="{INK}"', drawn)]
    assert len(axes) == 2, "one plot for each gate"
    left, upper, _, lower, right, _ = map(float, axes[0])
    places = [(float(x) + DOT, float(y)) for x, y in re.findall(rf'd="M([\d.]+) ([\d.]+)a{DOT:g} ', drawn)]
    # (shut, open): (0, 0), (1, 0), (0, 1), (1/4, 1/4)
    middle = (left + (right - left) / 4, lower - (lower - upper) / 4)
    expected = [(left, lower), (right, lower), (left, upper), middle]
    assert [(x, y) for place in places[:4] for x, y in [place]] == [pytest.approx(one, abs=0.02) for one in expected]
    assert len(places) == 8 and all(x <= 1200 and y <= height for x, y in places)
    assert "layer 0: forget" in drawn and "layer 0: input" in drawn and "shut 31% open 31%" in drawn

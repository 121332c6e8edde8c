"""Means and covariances from windows are those of all values at once."""

import numpy as np
import pytest

from charrnn.statistics.moments import Moments, TargetMoments


def read(cells, *, window):
    moments = Moments()
    for begin in range(0, len(cells), window):
        moments.add_cells(cells[begin : begin + window])
    return moments


def wandering_cells():
    """Cells (N, 4): noise, a large one, one that starts far from where it stays, and a constant."""
    cells = np.random.default_rng(0).normal(size=(5_000, 4))
    cells[:, 1] += 50 + cells[:, 0]
    cells[:, 2] *= 1e-3
    cells[:4, 2] -= 100
    cells[:, 3] = 0.7
    return cells.astype(np.float32)


@pytest.mark.parametrize("window", [5_000, 1_000, 4])
def test_moments_of_windows_are_those_of_all_values(window):
    cells = wandering_cells()
    moments = read(cells, window=window)
    exact = cells.astype(np.float64)
    assert moments.means == pytest.approx(exact.mean(axis=0), rel=1e-6)
    # The products of a window are float32, which has seven digits; 50 + noise keeps four of them.
    deviations = exact[:, :3].std(axis=0)
    assert moments.scales == pytest.approx([*deviations, 1], rel=1e-4)
    expected = np.corrcoef(exact[:, :3], rowvar=False)
    assert moments.correlations()[:3, :3] == pytest.approx(expected, abs=2e-4)


def test_a_constant_cell_correlates_with_none():
    correlations = read(wandering_cells(), window=900).correlations()
    assert not correlations[3].any()


def test_the_covariances_and_the_line_of_a_target_are_those_of_all_values():
    cells = wandering_cells()
    targets = np.random.default_rng(1).normal(size=(5_000, 2))
    targets[:, 1] += 3 * cells[:, 0]
    moments = TargetMoments()
    for begin in range(0, len(cells), 900):
        moments.add(cells[begin : begin + 900], targets[begin : begin + 900])

    exact = cells.astype(np.float64)
    expected = np.cov(exact[:, 0], targets[:, 1], bias=True)[0, 1]
    assert moments.covariances(1)[0] == pytest.approx(expected, rel=1e-4)
    assert moments.line(0, 1) == pytest.approx(np.polyfit(exact[:, 0], targets[:, 1], 1), abs=1e-4)


def test_a_constant_cell_has_a_level_line():
    moments = TargetMoments()
    cells = np.array([[1, 2], [-1, 2], [1, 2], [-1, 2]], np.float32)
    moments.add(cells, cells[:, :1].astype(np.float64))
    assert moments.line(0, 0) == (1, 0)
    assert moments.line(1, 0) == (0, 0)

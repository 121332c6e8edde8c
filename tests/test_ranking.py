"""All cells in the order of a detector."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import TrainedRun
from synthetic import make_corpus

import charrnn
from charrnn.detectors.registry import DETECTORS, get_detectors
from charrnn.microscope.ranking import rank_cells
from charrnn.microscope.scores import find_cells
from charrnn.microscope.trace import Trace


@pytest.fixture(scope="module")
def trace(lstm: TrainedRun) -> Trace:
    return charrnn.load(lstm.path).trace(make_corpus(num_chars=8_000, seed=1).text)


def test_the_first_of_each_list_is_the_cell_that_is_found(trace: Trace) -> None:
    found = find_cells(trace, get_detectors(None)).scores
    ranked = rank_cells(trace, [DETECTORS[score.detector] for score in found])
    assert list(ranked) == [score.detector for score in found]
    for score in found:
        first = ranked[score.detector][0]
        for name in ("detector", "layer", "unit", "polarity", "num_positive"):
            assert getattr(first, name) == getattr(score, name)
        assert (first.auc, first.spearman) == pytest.approx((score.auc, score.spearman), abs=1e-12)


def test_cells_are_ordered_by_the_first_half_and_scored_on_the_second(trace: Trace) -> None:
    """By counting pairs."""
    quote = DETECTORS["quote"]
    scores = rank_cells(trace, [quote])["quote"]
    assert sorted((score.layer, score.unit) for score in scores) == [(0, unit) for unit in range(32)]
    is_inside, half = quote.label(trace.text), len(trace.text) // 2
    assert is_inside is not None

    def auc(part: slice, unit: int) -> float:
        values, labels = trace.cells[part, 0, unit].astype(np.float64), is_inside[part]
        inside, outside = values[labels][:, None], values[~labels]
        return float(((inside > outside) + 0.5 * (inside == outside)).mean())

    chosen_on = [auc(slice(None, half), score.unit) for score in scores]
    distances = [abs(value - 0.5) for value in chosen_on]
    assert distances == sorted(distances, reverse=True)
    assert [score.polarity for score in scores] == [1 if value >= 0.5 else -1 for value in chosen_on]
    for score in scores[:3]:
        expected = auc(slice(half, None), score.unit)
        assert score.auc == pytest.approx(expected if score.polarity > 0 else 1 - expected)


def test_it_tells_how_many_cells_are_done(trace: Trace) -> None:
    told: list[int] = []
    rank_cells(trace, [DETECTORS["quote"]], told.append)
    assert sum(told) == 32

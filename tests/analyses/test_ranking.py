"""All cells in the order of a detector."""

import numpy as np
import pytest
from synthetic import make_corpus

from charrnn.detectors.prose import label_quotes

TEXT = make_corpus(num_chars=8_000, seed=1).text


@pytest.mark.slow
def test_cells_are_ordered_by_the_first_half_and_scored_on_the_second(model):
    """By counting pairs; the order is by values in 512 bins that hold about equally many
    characters."""
    scores = model.ranking(model.study(TEXT), ["quote"])["quote"]
    assert sorted((score.layer, score.unit) for score in scores) == [
        (0, unit) for unit in range(32)
    ]
    cells, is_inside, half = model.trace(TEXT).cells[:, 0], label_quotes(TEXT), len(TEXT) // 2

    def auc(part, unit, *, num_bins=None):
        values, labels = cells[part, unit].astype(np.float64), is_inside[part]
        if num_bins is not None:
            edges = np.sort(values)[np.arange(1, num_bins) * len(values) // num_bins]
            values = np.searchsorted(edges, values, side="right")
        inside, outside = values[labels][:, None], values[~labels]
        return float(((inside > outside) + 0.5 * (inside == outside)).mean())

    # The first may be a cell that can be seen better among those that are nearly as strong.
    shown = [abs((score.chosen_on or 0.0) - 0.5) for score in scores[1:]]
    assert shown == sorted(shown, reverse=True)
    num_clear = 0
    for score in scores:
        chosen_on, reached = (
            auc(slice(half), score.unit, num_bins=512),
            auc(slice(half, None), score.unit),
        )
        # Rounding, not the text, puts the values of a saturated cell in order.
        is_clear = (np.abs(cells[:, score.unit]) > 0.9999).mean() < 0.1
        if is_clear:
            num_clear += 1
        assert (
            score.polarity == (1 if chosen_on >= 0.5 else -1)
            or not is_clear
            or abs(chosen_on - 0.5) < 2e-4
        )
        turned = (chosen_on, reached) if score.polarity > 0 else (1 - chosen_on, 1 - reached)
        assert (score.chosen_on, score.auc) == pytest.approx(turned, abs=2e-4 if is_clear else 0.02)
    assert num_clear >= 8

"""The interval of a rise of the loss."""

import numpy as np
import pytest

from charrnn.analyses.ablation import mean_change
from charrnn.statistics.intervals import NUM_RESAMPLES, draw_blocks, percentiles


def test_the_interval_is_a_bootstrap_over_blocks():
    generator = np.random.default_rng(1)
    num_chars = 10_000
    # What blocks have in common is what makes their mean uncertain; a bootstrap over characters
    # would not see it.
    changes = np.repeat(generator.normal(size=20), 500) + 0.1 * generator.normal(size=num_chars)
    where = generator.random(num_chars) < np.repeat(generator.random(20), 500)
    mean, interval = mean_change(changes, where)
    assert mean == pytest.approx(changes[where].mean())
    block, draws = draw_blocks(num_chars)
    assert draws.shape == (NUM_RESAMPLES, 20)
    assert set(draws.sum(axis=1)) == {20}
    resampled = [np.average(changes, weights=drawn[block] * where) for drawn in draws]
    assert interval == pytest.approx(percentiles(np.array(resampled), 20))
    assert interval[1] - interval[0] > 0.3
    # Blocks without any character inside are no trouble.
    changes, where = np.arange(2000.0), np.arange(2000) < 100
    mean, (low, high) = mean_change(changes, where)
    assert mean == low == high == pytest.approx(49.5)  # the only block that has any

"""Ablation: what holding a cell costs is what a character-by-character loop says, and what the
wiring says."""

import numpy as np
import pytest
from effects_networks import (
    CHARACTERS,
    make_config,
    make_network,
    make_text,
    step_through,
    tensors_of,
)

from charrnn.cells.ablation import ablate_text, mean_change
from charrnn.detectors.prose import label_quotes
from charrnn.detectors.registry import get_detectors
from charrnn.model.stepper import Stepper
from charrnn.statistics.intervals import NUM_SCORE_RESAMPLES, SCORE_BLOCK_LENGTH, draw_blocks

CASES = [
    ("lstm", "stacked"),
    ("gru", "stacked"),
    ("mlstm", "dilated"),
    ("antisymmetric", "residual"),
    ("coupled", "grid"),
]


def ablate(network, text, layer, unit):
    detectors = get_detectors(["quote", "line-position"])
    labellings = [detector.labelling(text.text) for detector in detectors]
    return ablate_text(network, text, labellings, layer=layer, unit=unit)


def held_slowly(config, network, text, cell, free):
    """The changes (N - 1,) of the losses in nats while a cell is clamped in a loop, and the value
    it is clamped at.

    `free` are the log-probabilities and the cell values while none is.
    """
    (layer, unit), (logprobs, values) = cell, free
    following = text.ids[1:].astype(np.int64)[:, None]
    held = Stepper(config, tensors_of(network))
    value = float(values[text.first :, layer, unit].mean())
    held.clamp(layer, unit, value)
    clamped, _ = step_through(held, text.ids)
    return np.take_along_axis(logprobs - clamped, following, axis=1)[:, 0], value


@pytest.mark.parametrize(("cell", "depth"), CASES)
def test_a_held_cell_costs_what_it_costs_one_step_after_the_other(cell, depth):
    config = make_config(cell, depth, num_layers=2, zoneout=0.1)
    network, text = make_network(cell, depth, num_layers=2, zoneout=0.1).float(), make_text(300)
    free = step_through(Stepper(config, tensors_of(network)), text.ids)
    for layer, unit in ((0, 3), (1, 5)):
        changes, value = held_slowly(config, network, text, (layer, unit), free)
        result = ablate(network, text, layer, unit)
        # Both sides are float32, and add up their products in another order.
        assert result.value == pytest.approx(value, abs=1e-5)
        assert result.change == pytest.approx(changes.mean(), abs=1e-4)
        assert (result.layer, result.unit, result.num_chars) == (layer, unit, 299)
        spans = (label_quotes(text.text)[:-1], text.ids[:-1] != CHARACTERS.index("\n"))
        for effect, inside in zip(result.effects, spans, strict=True):
            assert effect.num_inside == inside.sum()
            assert effect.change_inside == pytest.approx(changes[inside].mean(), abs=1e-4)
            assert effect.change_outside == pytest.approx(changes[~inside].mean(), abs=1e-4)
            assert effect.ci_inside[0] <= effect.change_inside <= effect.ci_inside[1]
            assert effect.ci_outside[0] <= effect.change_outside <= effect.ci_outside[1]
        # Far above the tolerance, so that a hold that does nothing, or holds another cell, cannot
        # pass.
        assert np.abs(changes).max() > 0.005


def test_the_interval_is_a_bootstrap_over_blocks():
    generator = np.random.default_rng(1)
    num_chars = 20 * SCORE_BLOCK_LENGTH
    # What blocks have in common is what makes their mean uncertain; a bootstrap over characters
    # would not see it.
    changes = np.repeat(generator.normal(size=20), SCORE_BLOCK_LENGTH) + 0.1 * generator.normal(
        size=num_chars
    )
    where = generator.random(num_chars) < np.repeat(generator.random(20), SCORE_BLOCK_LENGTH)
    mean, interval = mean_change(changes, where)
    assert mean == pytest.approx(changes[where].mean())
    block, draws = draw_blocks(num_chars)
    assert draws.shape == (NUM_SCORE_RESAMPLES, 20)
    assert set(draws.sum(axis=1)) == {20}
    resampled = [np.average(changes, weights=drawn[block] * where) for drawn in draws]
    assert interval == pytest.approx(np.quantile(resampled, [0.025, 0.975]))
    assert interval[1] - interval[0] > 0.3
    # Blocks without any character inside are no trouble.
    changes, where = np.arange(2000.0), np.arange(2000) < 100
    mean, (low, high) = mean_change(changes, where)
    assert mean == low == high == pytest.approx(49.5)  # the only block that has any

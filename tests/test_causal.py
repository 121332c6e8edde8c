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
from progress_reports import reports

from charrnn.cells.ablation import ablate_cells, ablate_text, mean_change
from charrnn.detectors.prose import label_quotes
from charrnn.detectors.registry import get_detectors
from charrnn.model import reading
from charrnn.model.stepper import Stepper
from charrnn.statistics.intervals import NUM_SCORE_RESAMPLES, SCORE_BLOCK_LENGTH, draw_blocks

CASES = [
    ("lstm", "stacked", "mean"),
    ("gru", "stacked", "zero"),
    ("mlstm", "dilated", "mean"),
    ("antisymmetric", "residual", "zero"),
    ("coupled", "grid", "mean"),
]


def ablate(network, text, layer, unit, at="mean"):
    detectors = get_detectors(["quote", "line-position"])
    labellings = [detector.labelling(text.text) for detector in detectors]
    return ablate_text(network, text, labellings, layer=layer, unit=unit, at=at)


def held_slowly(config, network, text, cell, at, free):
    """The changes (N - 1,) of the losses in nats while a cell is clamped in a loop, and the value
    it is clamped at.

    `free` are the log-probabilities and the cell values while none is.
    """
    (layer, unit), (logprobs, values) = cell, free
    following = text.ids[1:].astype(np.int64)[:, None]
    held = Stepper(config, tensors_of(network))
    value = float(values[text.first :, layer, unit].mean()) if at == "mean" else 0.0
    held.clamp(layer, unit, value)
    clamped, _ = step_through(held, text.ids)
    return np.take_along_axis(logprobs - clamped, following, axis=1)[:, 0], value


@pytest.mark.parametrize(("cell", "depth", "at"), CASES)
def test_a_held_cell_costs_what_it_costs_one_step_after_the_other(cell, depth, at):
    config = make_config(cell, depth, num_layers=2, zoneout=0.1)
    network, text = make_network(cell, depth, num_layers=2, zoneout=0.1).float(), make_text(300)
    free = step_through(Stepper(config, tensors_of(network)), text.ids)
    for layer, unit in ((0, 3), (1, 5)):
        changes, value = held_slowly(config, network, text, (layer, unit), at, free)
        result = ablate(network, text, layer, unit, at)
        # Both sides are float32, and add up their products in another order.
        assert result.value == pytest.approx(value, abs=1e-5)
        assert result.change == pytest.approx(changes.mean(), abs=1e-4)
        assert (result.layer, result.unit, result.at, result.num_chars) == (layer, unit, at, 299)
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


def test_a_long_text_is_read_in_lanes_and_after_its_context(monkeypatch):
    """Reading without lanes is the same but for what is forgotten in 128 characters."""
    monkeypatch.setattr(reading, "WARM_UP", 128)
    network, text = make_network("gru", num_layers=2).float(), make_text(8 * 128 + 50, 30)
    with reports() as done:
        result = ablate(network, text, 0, 2)
    config = make_config("gru", num_layers=2)
    free = step_through(Stepper(config, tensors_of(network)), text.ids)
    changes, value = held_slowly(config, network, text, (0, 2), "mean", free)
    assert (result.change, result.value) == pytest.approx((changes[30:].mean(), value), abs=1e-5)
    assert done == {"ablating": 2 * len(text)}


@pytest.mark.parametrize(
    ("depth", "documents"), [("stacked", "none"), ("dilated", "none"), ("stacked", "lines")]
)
def test_several_cells_are_clamped_at_once_as_each_alone(depth, documents):
    network, text = (
        make_network("gru", depth, num_layers=2, documents=documents).float(),
        make_text(700),
    )
    begins, cells = [0, 400, 100, 650], [(0, 2), (1, 3), (0, 5), (1, 3)]
    found = ablate_cells(network, text.ids, begins=begins, num_chars=50, cells=cells)
    for begin, (layer, unit), (value, changes) in zip(begins, cells, found, strict=True):
        alone = ablate_text(network, text.part(begin, begin + 50), [], layer=layer, unit=unit)
        # A product of several rows adds up in another order.
        assert (alone.value, alone.change) == pytest.approx((value, changes.mean()), abs=1e-5)
        assert len(changes) == 49
        assert np.abs(changes).max() > 0.001


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

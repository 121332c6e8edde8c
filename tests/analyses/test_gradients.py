"""How far the error signal reaches, and its chart. K lags, L layers, S state vectors, H units, V
characters."""

import numpy as np
import pytest
import torch
from effects_networks import ARCHITECTURES, make_network, make_text
from encoded_texts import as_text
from progress_reports import reports
from torch.nn.functional import cross_entropy

from charrnn.analyses.gradients import (
    NUM_AT_ONCE,
    NUM_LOSSES,
    GradientReach,
    before_and_after,
    measure_reach,
)
from charrnn.views.chart_files import draw_chart

K = 5


@torch.no_grad()
def differences(network, ids, lag, layer):
    """The norm of the last character's loss by a layer's state `lag` characters before, by central
    differences."""
    split = len(ids) - 1 - lag
    _, state = network(ids[:split], network.initial_state(1))
    step = 1e-5
    # Two rows for each number of the state, in which it alone is moved.
    num_parts, _, num_units = state[layer].shape
    num_rows = 2 * num_parts * num_units
    moves = step * torch.eye(num_rows // 2, dtype=torch.float64)
    moves = torch.cat([moves, -moves]).reshape(num_rows, num_parts, num_units)
    moved = state.repeat(1, 1, num_rows, 1)
    moved[layer] += moves.transpose(0, 1)
    logits, _ = network(ids[split:-1].expand(-1, num_rows), moved)
    losses = cross_entropy(logits[-1], ids[-1].expand(num_rows), reduction="none")
    above, below = losses.chunk(2)
    return float(torch.linalg.vector_norm((above - below) / (2 * step)))


@pytest.mark.parametrize("cell, depth", ARCHITECTURES)
def test_norms_are_those_of_finite_differences(cell, depth):
    network, text = make_network(cell, depth, num_layers=2), make_text(2, 30)
    assert text.ids[-1] not in text.ids[-3:-1]  # another character's loss is another loss
    reach = measure_reach(
        network, text, max_lag=K
    )  # the loss after the last but one character alone
    assert reach.num_losses == 1 and reach.lags == (1, 2, 3, 4, 5)
    ids = torch.from_numpy(text.ids.astype(np.int64))[:, None]
    lags = (1, K)
    expected = [[differences(network, ids, lag, layer) for lag in lags] for layer in range(2)]
    # A central difference is off by its step squared, 1e-10, and by rounding over its step, 1e-11.
    np.testing.assert_allclose(
        [[norms[lag - 1] for lag in lags] for norms in reach.norms], expected, rtol=1e-5
    )
    assert np.min(expected) > 1e-6  # far above what the tolerance could hide


def test_losses_are_averaged_over_the_text():
    network, text = make_network("lstm", "residual", num_layers=2), make_text(40, 320)
    with reports() as done:
        together = measure_reach(network, text, max_lag=K, name="lamps")
    assert together.num_losses == 39 > 2 * NUM_AT_ONCE
    assert done == {"gradients of lamps": 39}
    apart = [
        measure_reach(network, as_text(text.ids[: t + 2], t), max_lag=K).norms
        for t in range(320, 359)
    ]
    # Alone, a loss is read from up to 38 characters earlier on: this network forgets what is 300
    # characters away.
    np.testing.assert_allclose(together.norms, np.mean(apart, axis=0), rtol=1e-9)
    assert np.std(apart, axis=0).min() > 1e-6


def test_a_long_text_has_a_sample_of_losses():
    assert measure_reach(make_network("rnn"), make_text(2000), max_lag=2).num_losses == NUM_LOSSES


@pytest.mark.parametrize("num_chars, num_context", [(K + 2, 0), (2, K)])
def test_the_shortest_texts_leave_the_network_as_it_was(num_chars, num_context):
    network = make_network("gru").float()
    reach = measure_reach(network, make_text(num_chars, num_context), max_lag=K)
    assert reach.num_losses >= 1
    assert np.min(reach.norms) > 0
    for value in network.parameters():
        assert value.dtype == torch.float32
        assert value.requires_grad
        assert value.grad is None


def reach_of(name, *norms):
    return GradientReach(name=name, lags=(1, 2, 3), norms=norms, num_losses=1)


FALLING = (1.0, 0.1, 0.01)
VANISHED = (1.0, 1e-6, 0.0)
BESIDE = before_and_after(
    [reach_of("rnn, step 0", FALLING), reach_of("lstm, new weights", FALLING)],
    [reach_of("rnn", VANISHED), reach_of("lstm", FALLING)],
)
"""The chart of two networks."""


def test_a_network_looks_alike_before_and_after_its_training():
    [[before, after]] = BESIDE.rows
    looks = []
    for plot in (before, after):
        looks.append([(line.name, line.colour, line.mark) for line in plot.lines])
    assert looks[0] == looks[1]
    assert len({colour for _, colour, _ in looks[0]}) == 2
    assert [plot.heading for plot in (before, after)] == ["untrained", "trained"]


def test_both_plots_have_the_same_axes():
    [[before, after]] = BESIDE.rows
    assert before.y_ticks == after.y_ticks
    assert before.x_ticks == after.x_ticks
    assert before.y_label == after.y_label == "mean norm (nats)"


def test_a_norm_of_zero_is_a_gap():
    [[_, after]] = BESIDE.rows
    powers = [power for _, power in after.lines[0].points]
    assert powers[:2] == [0.0, pytest.approx(-6)]
    assert np.isnan(powers[2])


def test_the_layers_of_a_network_differ_in_their_style():
    reach = reach_of("lstm", FALLING, VANISHED)
    [[before, _]] = before_and_after([reach], [reach]).rows
    assert [line.name for line in before.lines] == ["lstm, layer 0", "lstm, layer 1"]
    assert len({(line.colour, line.mark) for line in before.lines}) == 1
    assert len({line.dashes for line in before.lines}) == 2


def test_norms_that_all_vanished_are_drawn():
    gone = reach_of("rnn", (0.0, float("nan"), 1e300))
    assert b"1e0" in draw_chart(before_and_after([gone], [gone]), "svg")

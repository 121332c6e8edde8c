"""The fitted temperature equals a search over a grid, and no character is scored at one that was fitted to it.

Shapes: N characters, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from charrnn.config import Config
from charrnn.evaluation.losses import char_losses
from charrnn.lab.dynamic import LARGEST, cross_fitted_losses, fit_temperature, losses_at
from charrnn.model.network import CharRNN
from charrnn.text.vocab import IdArray

V = 6


def make_network(certainty: float) -> CharRNN:
    sizes: dict[str, Any] = {"num_layers": 1, "hidden_size": 8, "embedding_size": 4}
    network = CharRNN(Config(cell="gru", **sizes), V)
    with torch.no_grad():
        network.output.weight.mul_(certainty)
    return network


def make_ids(num_chars: int, seed: int = 1) -> IdArray:
    return np.random.default_rng(seed).choice(V, num_chars, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.1]).astype(np.uint16)


def draw_from(network: CharRNN, num_chars: int) -> IdArray:
    """Draw a text from the network, at whose own temperature its losses are thus least."""
    generator, ids = np.random.default_rng(3), [0]
    state = network.initial_state(1)
    with torch.no_grad():
        for _ in range(num_chars):
            logits, state = network(torch.tensor([[ids[-1]]]), state)
            ids.append(int(generator.choice(V, p=logits[0, 0].double().softmax(-1).numpy())))
    return np.array(ids, np.uint16)


@pytest.mark.parametrize("certainty", [0.4, 1.0, 12.0])
def test_the_temperature_has_the_least_loss(certainty: float) -> None:
    network = make_network(6.0)
    ids = draw_from(network, 600)
    with torch.no_grad():
        network.output.weight.mul_(certainty)
    found = fit_temperature(network, ids, 100, precision="fp32")
    here = losses_at(found, network, ids, 100, precision="fp32").mean
    # The loss is convex in 1 / T: the least one is where both neighbours are larger.
    for factor in (0.97, 1.03):
        assert here < losses_at(found * factor, network, ids, 100, precision="fp32").mean


def test_losses_at_a_temperature_are_those_of_divided_logits() -> None:
    network, ids = make_network(4.0), make_ids(50)
    with torch.no_grad():
        logits, _ = network(torch.from_numpy(ids[:-1].astype(np.int64))[:, None], network.initial_state(1))
    expected = -(logits[:, 0] / 1.7).log_softmax(-1)[torch.arange(49), torch.from_numpy(ids[1:].astype(np.int64))]
    before = network.output.weight.clone()
    np.testing.assert_allclose(losses_at(1.7, network, ids, precision="fp32").nats, expected, rtol=1e-5)
    assert torch.equal(network.output.weight, before)


def test_networks_that_know_nothing_or_the_contrary() -> None:
    network = make_network(6.0)
    ids = draw_from(network, 300)
    with torch.no_grad():
        network.output.weight.mul_(-1)
        network.output.bias.mul_(-1)
    assert fit_temperature(network, ids, precision="fp32") == pytest.approx(LARGEST)
    assert fit_temperature(make_network(0.0), make_ids(50), precision="fp32") == 1


@pytest.mark.parametrize("max_chars", [None, 150])
def test_each_half_is_scored_at_the_temperature_of_the_other(max_chars: int | None) -> None:
    network, ids, first = make_network(5.0), make_ids(401), 100
    ids[250:] = 0  # the halves have temperatures of their own
    losses, (in_first, in_second) = cross_fitted_losses(network, ids, first, precision="fp32", max_chars=max_chars)
    assert in_first == fit_temperature(network, ids, 250, precision="fp32")
    assert in_second == fit_temperature(network, ids[:250], first, precision="fp32")
    assert in_first != pytest.approx(in_second, rel=0.05)
    static = char_losses(network, ids, first, precision="fp32", max_chars=max_chars)
    assert np.array_equal(losses.positions, static.positions)
    for temperature, half in ((in_first, losses.positions < 250), (in_second, losses.positions >= 250)):
        expected = losses_at(temperature, network, ids, first, precision="fp32", max_chars=max_chars)
        assert np.array_equal(losses.nats[half], expected.nats[half])


def test_one_character_has_no_halves() -> None:
    with pytest.raises(ValueError, match="halves need at least 2 characters"):
        cross_fitted_losses(make_network(1.0), make_ids(10), 9)

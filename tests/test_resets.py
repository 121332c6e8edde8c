"""The loss with resets: equal to reading each window by itself, on the same characters for every interval.

Shapes: N characters, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from charrnn.config import Config
from charrnn.evaluation.losses import CharLosses, char_losses
from charrnn.lab import long_range as resets_module
from charrnn.lab.long_range import MIN_GROUPS, choose_groups, measure_resets
from charrnn.model.network import CharRNN

V = 6


def make_network() -> CharRNN:
    config = Config(
        cell="lstm", num_layers=1, hidden_size=8, embedding_size=4, dropout=0.0, initial_state="learned", seed=3
    )
    network = CharRNN(config, V).double()
    with torch.no_grad():
        assert network.learned_state is not None
        network.learned_state.fill_(0.7)  # a reset goes there, which zeros would not show
        network.output.weight.mul_(4)
    return network


def make_ids(num_chars: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, V, num_chars).astype(np.uint16)


@torch.no_grad()
def naive_reset_nats(network: CharRNN, ids: np.ndarray, start: int, length: int, interval: int) -> list[float]:
    """Read the characters one by one from `start - 1` on; reset the state before every `interval` of them."""
    losses = []
    for place in range(start, start + length):
        if (place - start) % interval == 0:
            state = network.initial_state(1)
        logits, state = network(torch.tensor([[int(ids[place - 1])]]), state)
        losses.append(-logits[0, 0].log_softmax(-1)[int(ids[place])].item())
    return losses


@pytest.mark.parametrize("at_once", [1, 64])
def test_the_report_compares_the_same_characters(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resets_module, "_CHARS_AT_ONCE", at_once)
    network, ids = make_network(), make_ids(400)
    losses = char_losses(network, ids, precision="fp32")
    groups = choose_groups(losses.positions)
    assert groups.shape == (24, 16)
    rows = measure_resets(network, ids, losses, groups, precision="fp32")
    assert [row.interval for row in rows] == [2, 4, 8, 16, None]
    kept = losses.nats[groups].mean(dtype=np.float64)
    for row in rows[:-1]:
        assert row.interval is not None
        naive = [naive_reset_nats(network, ids, int(group[0]) + 1, 16, row.interval) for group in groups]
        assert row.nats_per_char == pytest.approx(np.mean(naive), abs=1e-6)
        assert row.rise.mean == pytest.approx(np.mean(naive) - kept, abs=1e-6)
        assert row.nats_per_reset == pytest.approx(row.interval * row.rise.mean)
    assert rows[-1].nats_per_char == pytest.approx(kept)
    assert (rows[-1].rise.mean, rows[-1].rise.low) == (0.0, 0.0)
    apart = CharLosses(np.array([3, 5, 9]), np.ones(3, np.float32))
    assert measure_resets(network, ids, apart, choose_groups(apart.positions)) == (), "no two characters in a row"


@pytest.mark.parametrize(
    ("num_chars", "length"),
    [(16 * 1024, 1024), (16 * 1024 - 1, 512), (16 * 64, 64), (33, 2), (32, 2), (5, 2), (2, 2)],
)
def test_the_groups_are_as_long_as_sixteen_of_them_allow(num_chars: int, length: int) -> None:
    groups = choose_groups(np.arange(1, num_chars + 1))
    assert groups.shape == (num_chars // length, length)
    assert groups.shape[0] >= MIN_GROUPS or length == 2
    assert (np.diff(groups.ravel()) == 1).all(), "without a limit, no characters are between the groups"


def test_groups_are_consecutive_characters_spread_evenly() -> None:
    positions = np.concatenate([np.arange(begin, begin + 100) for begin in range(1, 4000, 130)])
    groups = choose_groups(positions, max_chars=640)
    assert groups.shape == (10, 64)
    scored = positions[groups]
    assert (np.diff(scored, axis=1) == 1).all()
    assert scored[0, 0] == 1 and scored[-1, 0] > 3500
    assert len(np.unique(groups)) == groups.size

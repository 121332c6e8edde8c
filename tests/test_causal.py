"""Ablation: what holding a cell costs is what a character-by-character loop says, and what the wiring says."""

from typing import Any

import numpy as np
import pytest
import torch
from encoded_texts import as_text
from numpy.typing import NDArray
from progress_reports import reports
from torch import Tensor

from charrnn.cells.ablation import WAYS, ablate_text, mean_change
from charrnn.cells.records import Ablation
from charrnn.cells.statistics import BLOCK_LENGTH, NUM_RESAMPLES, draw_blocks
from charrnn.config import Config
from charrnn.detectors.detector import Detector
from charrnn.detectors.prose import label_quotes
from charrnn.detectors.registry import get_detectors
from charrnn.model.network import CharRNN
from charrnn.model.reading import WARM_UP
from charrnn.model.stepper import Stepper

CHARACTERS = 'ab"c\nd '
V, H = len(CHARACTERS), 6
ARCHITECTURES = [
    ("lstm", "stacked"),
    ("gru", "stacked"),
    ("rnn", "stacked"),
    ("mlstm", "dilated"),
    ("antisymmetric", "residual"),
    ("unitary", "highway"),
    ("coupled", "grid"),
]


def make_network(cell: str, depth: str = "stacked", **changes: Any) -> CharRNN:
    config = Config(cell=cell, depth=depth, num_layers=2, hidden_size=H, embedding_size=4, dropout=0.0, **changes)
    network = CharRNN(config, V)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        # Biases too: drawn as for training, they are zero. Larger weights would make some of these networks chaotic,
        # and float32 would not be enough to compare anything.
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network


def make_ids(num_chars: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, V, num_chars).astype(np.uint16)


def spell(ids: NDArray[np.uint16]) -> str:
    return "".join(CHARACTERS[index] for index in ids)


def ablate(network: CharRNN, ids: NDArray[np.uint16], first: int = 0, **options: Any) -> Ablation:
    return ablate_text(
        network, as_text(ids, first, spell(ids[first:])), get_detectors(["quote", "line-position"]), **options
    )


def step_through(stepper: Stepper, ids: NDArray[np.uint16], layer: int, unit: int) -> tuple[Any, Any]:
    """Losses (N - 1,) in nats and the cell's values (N,), one character after the other."""
    state = stepper.initial_state(1)
    losses, values = [], []
    for index, char in enumerate(ids):
        logits, state = stepper.step(np.array([char]), state)
        values.append(stepper.values(state)[layer, 0, unit])
        if index + 1 < len(ids):
            exponentials = np.exp(logits[0].astype(np.float64))
            losses.append(-np.log(exponentials[ids[index + 1]] / exponentials.sum()))
    return np.array(losses), np.array(values)


@pytest.mark.parametrize(("cell", "depth"), ARCHITECTURES)
@pytest.mark.parametrize("at", WAYS)
def test_a_held_cell_costs_what_it_costs_one_step_after_the_other(cell: str, depth: str, at: str) -> None:
    config = Config(cell=cell, depth=depth, num_layers=2, hidden_size=H, embedding_size=4, dropout=0.0, zoneout=0.1)
    network, ids = make_network(cell, depth, zoneout=0.1), make_ids(700)
    tensors = {name: value.numpy() for name, value in network.state_dict().items()}
    for layer, unit in ((0, 3), (1, 5)):
        free, held = Stepper(config, tensors), Stepper(config, tensors)
        losses, values = step_through(free, ids, layer, unit)
        value = float(values.mean()) if at == "mean" else 0.0
        held.clamp(layer, unit, value)
        changes = step_through(held, ids, layer, unit)[0] - losses
        result = ablate(network, ids, layer=layer, unit=unit, at=at)
        # Both sides are float32, and add up their products in another order.
        assert result.value == pytest.approx(value, abs=1e-5)
        assert result.change == pytest.approx(changes.mean(), abs=1e-4)
        assert (result.layer, result.unit, result.at, result.num_chars) == (layer, unit, at, 699)
        (quote, position) = result.effects
        for effect, inside in ((quote, label_quotes(spell(ids))[:-1]), (position, ids[:-1] != CHARACTERS.index("\n"))):
            assert effect.num_inside == inside.sum()
            assert effect.change_inside == pytest.approx(changes[inside].mean(), abs=1e-4)
            assert effect.change_outside == pytest.approx(changes[~inside].mean(), abs=1e-4)
            assert effect.ci_inside[0] <= effect.change_inside <= effect.ci_inside[1]
            assert effect.ci_outside[0] <= effect.change_outside <= effect.ci_outside[1]
        # Far above the tolerance, so that a hold that does nothing, or holds another cell, cannot pass.
        assert np.abs(changes[inside]).max() > 0.01


@pytest.mark.parametrize("num_chars", [8 * WARM_UP + 50, 8 * WARM_UP])
def test_a_long_text_is_read_in_lanes_and_after_its_context(num_chars: int) -> None:
    """Reading without lanes is the same but for what is forgotten in 512 characters."""
    network, ids = make_network("gru"), make_ids(num_chars + 30)
    with reports() as done:
        result = ablate(network, ids, 30, layer=0, unit=2)
    config = Config(cell="gru", num_layers=2, hidden_size=H, embedding_size=4, dropout=0.0)
    tensors = {name: value.numpy() for name, value in network.state_dict().items()}
    free, held = Stepper(config, tensors), Stepper(config, tensors)
    losses, values = step_through(free, ids, 0, 2)
    held.clamp(0, 2, float(values[30:].mean()))
    changes = step_through(held, ids, 0, 2)[0] - losses
    assert result.change == pytest.approx(changes[30:].mean(), abs=1e-5)
    assert result.value == pytest.approx(values[30:].mean(), abs=1e-5)
    assert done == {"ablating": 2 * num_chars}


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("at", WAYS)
def test_a_cell_that_nothing_listens_to_costs_exactly_nothing(cell: str, at: str) -> None:
    network, ids = make_network(cell), make_ids(600)
    with torch.no_grad():
        below, above = network.recurrent_layers()
        for weight in (below.weight("hh"), above.weight("ih"), above.weight("hh"), network.output.weight):
            weight[:, 4] = 0
    for layer in (0, 1):
        result = ablate(network, ids, layer=layer, unit=4, at=at)
        assert (result.change, result.ci) == (0, (0, 0))
        assert all(effect.change_inside == effect.change_outside == 0 for effect in result.effects)
        assert ablate(network, ids, layer=layer, unit=3, at=at).change != 0


def wire_memory(cell: str) -> CharRNN:
    """One unit of two that is 1 after an opening mark ("a"), and 0 after a closing one ("b"); the others keep it.

    The logit of "c" is 3 times the unit's output, all others are 0.
    """
    config = Config(cell=cell, num_layers=1, hidden_size=2, embedding_size=V, dropout=0.0)
    network = CharRNN(config, V)
    (layer,) = network.recurrent_layers()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.embedding.weight.copy_(torch.eye(V))
        from_opening, from_closing = (layer.weight("ih")[:, CHARACTERS.index(mark)] for mark in "ab")
        if cell == "rnn":
            # tanh(20) is 1 in float32, and tanh(20 - 20) is 0.
            layer.weight("hh")[0, 0], from_opening[0], from_closing[0] = 20, 20, -20
        elif cell == "gru":
            keep, new = 2, 4  # rows of blocks z and n, two units each
            layer.bias("ih")[keep] = 40
            from_opening[keep] = from_closing[keep] = -80
            from_opening[new] = 20
        else:
            write, forget, new, out = 0, 2, 4, 6
            layer.bias("ih")[[write, forget, out]] = 40
            from_closing[forget] = -80
            from_opening[new] = 20
        network.output.weight[CHARACTERS.index("c"), 0] = 3
    return network


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_only_memory_is_worth_what_it_remembers_where_it_remembers(cell: str) -> None:
    network = wire_memory(cell)
    text = "".join(f"dd dd {'a'}{'c' * (8 + index % 5)}b" for index in range(200))
    ids = np.array([CHARACTERS.index(character) for character in text], np.uint16)
    depth = np.cumsum([(character == "a") - (character == "b") for character in text])
    spans = Detector("span", "between the marks", lambda text: depth > 0)
    result = ablate_text(network, as_text(ids, 0, text), [spans], layer=0, unit=0, at="zero")
    (effect,) = result.effects
    # With the memory, "c" has a logit of 3 * output; without it, all characters are equally likely.
    logit = 3 * (np.tanh(1) if cell == "lstm" else 1)
    loss_with = np.log(np.exp(logit) + V - 1) - logit * np.array([character == "c" for character in text[1:]])
    worth = (np.log(V) - loss_with)[depth[:-1] > 0].mean()
    assert worth > 1
    assert effect.change_inside == pytest.approx(worth, abs=1e-5)
    # After a closing mark an LSTM's cell is within 1e-8 of zero, the others' exactly there.
    assert effect.change_outside == pytest.approx(0, abs=1e-7)
    assert result.change == pytest.approx(worth * effect.num_inside / (len(text) - 1), abs=1e-5)
    (idle,) = ablate_text(network, as_text(ids, 0, text), [spans], layer=0, unit=1, at="zero").effects
    assert idle.change_inside == idle.change_outside == 0


def test_the_network_is_as_it_was() -> None:
    network, ids = make_network("lstm"), make_ids(300)
    before = network(torch.from_numpy(ids.astype(np.int64))[:, None], network.initial_state(1))
    ablate(network, ids, layer=0, unit=0)
    after: tuple[Tensor, Tensor] = network(torch.from_numpy(ids.astype(np.int64))[:, None], network.initial_state(1))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_detector_with_too_little_to_see_says_so() -> None:
    ids = np.full(300, CHARACTERS.index("a"), np.uint16)
    detectors = get_detectors(["quote", "string", "line-position"])
    result = ablate_text(make_network("rnn"), as_text(ids, 0, spell(ids)), detectors, layer=0, unit=0)
    assert result.effects == ()
    assert [(skipped.detector, skipped.reason) for skipped in result.skipped] == [
        ("quote", "there are none in this text"),
        ("string", "there are none in this text"),
        ("line-position", "too few: 1 span, 299 characters inside"),
    ]
    assert result.to_json()["skipped"][0]["detector"] == "quote"


def test_the_interval_is_a_bootstrap_over_blocks() -> None:
    generator = np.random.default_rng(1)
    num_chars = 10 * BLOCK_LENGTH
    # What blocks have in common is what makes their mean uncertain; a bootstrap over characters would not see it.
    changes = np.repeat(generator.normal(size=10), BLOCK_LENGTH) + 0.1 * generator.normal(size=num_chars)
    where = generator.random(num_chars) < np.repeat(generator.random(10), BLOCK_LENGTH)
    mean, interval = mean_change(changes, where)
    assert mean == pytest.approx(changes[where].mean())
    block, draws = draw_blocks(num_chars)
    assert draws.shape == (NUM_RESAMPLES, 10) and set(draws.sum(axis=1)) == {10}
    resampled = [np.average(changes, weights=drawn[block] * where) for drawn in draws]
    assert interval == pytest.approx(np.quantile(resampled, [0.025, 0.975]))
    assert interval[1] - interval[0] > 0.3


def test_blocks_without_any_character_inside_are_no_trouble() -> None:
    changes, where = np.arange(2000.0), np.arange(2000) < 400
    mean, (low, high) = mean_change(changes, where)
    assert mean == low == high == pytest.approx(199.5)  # the only block that has any

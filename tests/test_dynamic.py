"""Dynamic evaluation equals a naive loop, is causal, and leaves the model as it is.

Shapes: N characters, T characters of a segment, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from charrnn.architectures import CELLS, DEPTHS
from charrnn.config import Config
from charrnn.errors import NonFiniteError, UsageError
from charrnn.evaluation.losses import char_losses
from charrnn.lab import dynamic
from charrnn.lab.dynamic import DynamicSettings, adapt, root_mean_square_gradients
from charrnn.model.network import CharRNN
from charrnn.text.vocab import IdArray

V = 6
LARGE_STEPS = DynamicSettings(segment_length=4, learning_rate=0.01, decay=0.1, damping=0.5)


def make_network(config: Config) -> CharRNN:
    network = CharRNN(config, V).double()
    with torch.no_grad():
        network.output.weight.mul_(4)  # untrained logits are all alike; these care what they have read
        if network.learned_state is not None:
            network.learned_state.fill_(0.3)
    return network


def make_config(cell: str = "lstm", depth: str = "stacked", **settings: Any) -> Config:
    sizes: dict[str, Any] = {"num_layers": 2, "hidden_size": 8, "embedding_size": 4}
    return Config(cell=cell, depth=depth, **sizes | settings)


def make_ids(num_chars: int, *, seed: int = 1) -> IdArray:
    return np.random.default_rng(seed).integers(0, V, num_chars).astype(np.uint16)


def dynamic_nats(network: CharRNN, ids: IdArray, first: int, **options: Any) -> NDArray[np.float32]:
    """The losses of ids[first:]; the scale is by default that of the context."""
    scale = options.pop("scale", None) or root_mean_square_gradients(network, make_ids(100), 20)
    return adapt(network, ids, first, scale=scale, **options).losses.nats


def naive_adaptation(
    config: Config, network: CharRNN, ids: IdArray, first: int, scale: dict[str, Tensor]
) -> tuple[list[float], dict[str, Tensor]]:
    """Read one character after the other, and change the weights by the formula of the paper after each segment."""
    settings = LARGE_STEPS
    copy = CharRNN(replace(config, omega=0.0), V).double()
    copy.load_state_dict(network.state_dict())
    weights = dict(copy.named_parameters())
    trained = {name: value.detach().clone() for name, value in weights.items()}
    mean = torch.cat([part.flatten() for part in scale.values()]).mean()
    state, found = copy.initial_state(1), []
    for char in ids[: first - 1]:
        _, state = copy(torch.tensor([[int(char)]]), state)
    for begin in range(first, len(ids), settings.segment_length):
        copy.zero_grad()
        state, losses = state.detach(), []
        for index in range(begin, min(begin + settings.segment_length, len(ids))):
            logits, state = copy(torch.tensor([[int(ids[index - 1])]]), state)
            losses.append(-logits[0, 0].log_softmax(-1)[int(ids[index])])
        found.extend(loss.item() for loss in losses)
        torch.stack(losses).mean().backward()
        with torch.no_grad():
            for name, value in weights.items():
                back = (settings.decay * scale[name] / mean).clamp(max=1) * (trained[name] - value)
                slope = torch.zeros_like(value) if value.grad is None else value.grad
                value += back - settings.learning_rate * slope / (scale[name] + settings.damping * mean)
    return found, {name: value.detach() for name, value in weights.items()}


CONFIGS = [
    *(make_config(cell) for cell in CELLS),
    *(make_config(depth=depth) for depth in DEPTHS),
    make_config("rnn", omega=0.5),  # its regulariser is no part of the loss that is learned from
    make_config("gru", zoneout=0.1, weight_drop=0.2, dropout=0.3),
    make_config(documents="lines", initial_state="learned"),
    make_config("gru", "residual", documents="lines", sum_outputs=True),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.cell}-{config.depth}-{config.documents}")
def test_dynamic_evaluation_equals_a_loop_over_the_characters(config: Config) -> None:
    network, ids = make_network(config), make_ids(31)
    first = 1 if config.depth == "residual" else 9
    before = {name: value.clone() for name, value in network.state_dict().items()}
    scale = root_mean_square_gradients(network, make_ids(200, seed=2), LARGE_STEPS.segment_length)
    adapted = adapt(network, ids, first, scale=scale, settings=LARGE_STEPS)
    losses, weights = naive_adaptation(config, network, ids, first, scale)
    assert adapted.losses.positions.tolist() == list(range(first, 31))
    # The losses are rounded to float32, the weights are not; the products are summed in another order.
    np.testing.assert_allclose(adapted.losses.nats, losses, rtol=1e-6)
    for name, value in weights.items():
        torch.testing.assert_close(adapted.tensors[name], value, rtol=1e-8, atol=1e-10)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_later_characters_do_not_influence_earlier_losses() -> None:
    network = make_network(make_config())
    scale = root_mean_square_gradients(network, make_ids(200, seed=2), LARGE_STEPS.segment_length)
    ids = make_ids(40)
    before = dynamic_nats(network, ids, 5, scale=scale, settings=LARGE_STEPS)
    for changed in (7, 8, 24, 39):
        other = ids.copy()
        other[changed] = (other[changed] + 1) % V
        after = dynamic_nats(network, other, 5, scale=scale, settings=LARGE_STEPS)
        assert np.array_equal(before[: changed - 5], after[: changed - 5])
        assert not np.array_equal(before[changed - 5 :], after[changed - 5 :])


def test_without_steps_the_losses_are_those_of_the_stateful_protocol() -> None:
    network, ids = make_network(make_config("gru")), make_ids(700)
    still = dynamic_nats(network, ids, 600, settings=DynamicSettings(learning_rate=0.0))
    static = char_losses(network, ids, 600, precision="fp32")
    np.testing.assert_allclose(still, static.nats, rtol=1e-5)


def test_what_repeats_is_learned() -> None:
    network = make_network(make_config("rnn"))
    ids = np.tile(make_ids(11), 60)
    scale = root_mean_square_gradients(network, make_ids(500, seed=2), 11)
    settings = DynamicSettings(segment_length=11, learning_rate=0.05)
    nats = dynamic_nats(network, ids, 1, scale=scale, settings=settings)
    assert nats[-110:].mean() < 0.5 * nats[:110].mean()


@pytest.mark.parametrize("num_chars", [2, 7, 40, 900])
def test_the_scale_is_the_root_mean_square_of_the_gradients(num_chars: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic, "NUM_STRETCHES", 3)
    monkeypatch.setattr(dynamic, "SCALE_WARM_UP", 30)
    network, ids, num_segments = make_network(make_config("gru")), make_ids(num_chars), dynamic.SEGMENTS_OF_STRETCH
    scale = root_mean_square_gradients(network, ids, 4)
    length = 30 + 4 * num_segments + 1
    num_stretches = max(1, min(3, num_chars // length))
    warm_up = min(30, max(0, num_chars - 4 * num_segments - 1))
    squares: dict[str, list[Tensor]] = {name: [] for name in scale}
    for stretch in range(num_stretches):
        start = stretch * max(0, num_chars - length) // num_stretches
        text = torch.from_numpy(ids[start : start + warm_up + 4 * num_segments + 1].astype(np.int64))
        state = network.initial_state(1)
        if warm_up:
            _, state = network(text[:warm_up, None], state)
        for begin in range(warm_up, len(text) - 1, 4):
            network.zero_grad()
            segment = text[begin : begin + 5]
            logits, state = network(segment[:-1, None], state.detach())
            cross_entropy(logits[:, 0], segment[1:]).backward()
            for name, parameter in network.named_parameters():
                squares[name].append(parameter.grad.clone() ** 2 if parameter.grad is not None else 0 * parameter)
    for name, found in scale.items():
        torch.testing.assert_close(found, torch.stack(squares[name]).mean(0).sqrt(), rtol=1e-6, atol=1e-12)


def test_a_weight_without_gradient_keeps_its_value() -> None:
    network, ids = make_network(make_config()), make_ids(60) % 4  # characters 4 and 5 do not occur
    adapted = adapt(network, ids, 1, scale=root_mean_square_gradients(network, ids, 4), settings=LARGE_STEPS)
    assert torch.equal(adapted.tensors["embedding.weight"][4:], network.embedding.weight[4:])
    assert not torch.equal(adapted.tensors["embedding.weight"][:4], network.embedding.weight[:4])


def test_divergence_is_an_error() -> None:
    network, ids = make_network(make_config("irnn")).float(), make_ids(400)
    with pytest.raises(NonFiniteError, match=r"diverged after .* characters: lower `learning_rate`, now 1e\+30"):
        dynamic_nats(network, ids, 100, settings=DynamicSettings(learning_rate=1e30))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segment_length": 0}, "`segment_length` is 0; it must be at least 1"),
        ({"learning_rate": -1.0}, "`learning_rate` is -1.0; it must be 0 or more"),
        ({"learning_rate": float("nan")}, "`learning_rate` is nan; it must be 0 or more"),
        ({"decay": float("inf")}, "`decay` is inf; it must be 0 or more"),
        ({"damping": 0.0}, "`damping` is 0.0; it must be above 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DynamicSettings(**settings)


@pytest.mark.parametrize("first", [0, 5])
def test_without_a_character_to_score_it_is_an_error(first: int) -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        dynamic_nats(make_network(make_config()), make_ids(5), first)

"""The network: whole is pieces is single steps, rows are strangers, and everything random is drawn from a given seed.

Shapes: T time, B batch, V vocabulary, E embedding, H hidden, L layers, S state vectors.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from charrnn.config import Config
from charrnn.errors import CheckpointError
from charrnn.model.cells import CELLS as EQUATIONS
from charrnn.model.layer import Noise
from charrnn.model.network import CharRNN, load_network

CELLS = ("lstm", "gru", "rnn")
T, B, V, E, H = 12, 3, 7, 4, 5
NUM_GATES = {"lstm": 4, "gru": 3, "rnn": 1}
NUM_STATES = {"lstm": 2, "gru": 1, "rnn": 1}

# float64: the same sums grouped in another way differ by some 1e-16.
EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-10}


def make_config(
    cell: str = "lstm", *, num_layers: int = 2, dropout: float = 0.0, seed: int = 0, hidden: int = H
) -> Config:
    return Config(cell=cell, num_layers=num_layers, hidden_size=hidden, embedding_size=E, dropout=dropout, seed=seed)


def make_inputs(network: CharRNN, batch_size: int = B, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Ids (T, B) and a state that is not zero."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(V, (T, batch_size), generator=generator)
    state = torch.randn(network.initial_state(batch_size).shape, generator=generator, dtype=torch.float64).tanh()
    return ids, state


@pytest.mark.parametrize("cell", CELLS)
def test_the_state_starts_at_zero_in_its_shape_and_the_weights_precision(cell: str) -> None:
    network = CharRNN(make_config(cell, num_layers=3), V)
    state = network.initial_state(B)
    assert state.shape == (3, NUM_STATES[cell], B, H)
    assert state.dtype == torch.float32 and network.double().initial_state(1).dtype == torch.float64
    assert state.count_nonzero() == 0
    _, last = network(torch.zeros(1, B, dtype=torch.long), state.double())
    assert last.shape == state.shape and last.dtype == torch.float64


def test_the_state_of_a_dilated_network_goes_back_as_far_as_its_last_layer() -> None:
    network = CharRNN(replace(make_config("lstm", num_layers=3), depth="dilated"), V)
    assert network.initial_state(B).shape == (3, 2 * 4, B, H)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_layers", [1, 3])
def test_parameters_have_the_promised_names_and_shapes(cell: str, num_layers: int) -> None:
    rows = NUM_GATES[cell] * H
    expected: dict[str, tuple[int, ...]] = {"embedding.weight": (V, E), "output.weight": (V, H), "output.bias": (V,)}
    for index in range(num_layers):
        expected[f"layers.{index}.weight_ih_l0"] = (rows, H if index else E)
        expected[f"layers.{index}.weight_hh_l0"] = (rows, H)
        expected[f"layers.{index}.bias_ih_l0"] = (rows,)
        expected[f"layers.{index}.bias_hh_l0"] = (rows,)
    network = CharRNN(make_config(cell, num_layers=num_layers), V)
    assert {name: tuple(parameter.shape) for name, parameter in network.named_parameters()} == expected
    assert network.state_dict().keys() == expected.keys(), "a buffer would change the format of a checkpoint"
    assert network.num_parameters == sum(torch.Size(shape).numel() for shape in expected.values())
    assert network.hidden_size == H
    assert EQUATIONS[cell].input_blocks == NUM_GATES[cell] and EQUATIONS[cell].num_states == NUM_STATES[cell]


def read_with_masks(network: CharRNN, ids: Tensor, seed: int | None) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Logits, last state, and per layer what its output (T, B, H) was multiplied by before it was passed on."""
    modules = [*network.recurrent_layers(), network.output]
    outputs: list[Tensor] = []
    passed_on: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda _m, _i, result: outputs.append(result[0])) for layer in modules[:-1]]
    hooks += [later.register_forward_pre_hook(lambda _m, inputs: passed_on.append(inputs[0])) for later in modules[1:]]
    noise = None if seed is None else Noise(torch.Generator().manual_seed(seed), ids.shape[1])
    with torch.no_grad():
        logits, last = network(ids, network.initial_state(ids.shape[1]), noise)
    for hook in hooks:
        hook.remove()
    return logits, last, [later / earlier for later, earlier in zip(passed_on, outputs, strict=True)]


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_drops_the_same_units_at_every_character_and_scales_the_others_up(cell: str) -> None:
    network = CharRNN(make_config(cell, dropout=0.25, hidden=64), V).double()
    ids = torch.randint(V, (T, 64), generator=torch.Generator().manual_seed(2))
    _, _, masks = read_with_masks(network, ids, seed=3)
    assert len(masks) == 2, "every layer's output is masked, the last one's too"
    for mask in masks:
        is_dropped = mask == 0
        torch.testing.assert_close(mask[~is_dropped], torch.full_like(mask[~is_dropped], 1 / 0.75))
        assert torch.equal(is_dropped, is_dropped[:1].expand_as(is_dropped))
        assert not torch.equal(is_dropped[0, 0], is_dropped[0, 1]), "rows have their own masks"
        # 4,096 coins of chance 1/4: a standard deviation is 0.0068, so 0.034 is five of them.
        assert is_dropped[0].double().mean().item() == pytest.approx(0.25, abs=0.034)
    assert not torch.equal(masks[0], masks[1]), "layers have their own masks"


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_leaves_the_carried_state_alone(cell: str) -> None:
    network = CharRNN(make_config(cell, num_layers=1, dropout=0.5), V).double()
    ids, _ = make_inputs(network)
    dropped, last, _ = read_with_masks(network, ids, seed=3)
    whole, whole_last, _ = read_with_masks(network, ids, seed=None)
    assert torch.equal(last, whole_last)
    assert not torch.equal(dropped, whole)


def test_nothing_is_dropped_without_a_generator_or_without_dropout() -> None:
    plain, dropping = CharRNN(make_config(dropout=0.0), V), CharRNN(make_config(dropout=0.5), V)
    ids, _ = make_inputs(plain)
    expected, _, _ = read_with_masks(plain, ids, seed=None)
    assert torch.equal(read_with_masks(dropping.train(), ids, seed=None)[0], expected)
    assert torch.equal(read_with_masks(plain, ids, seed=3)[0], expected)


def test_the_generator_alone_decides_what_is_dropped() -> None:
    network = CharRNN(make_config(dropout=0.5), V)
    ids, _ = make_inputs(network)
    torch.manual_seed(1)
    first, _, _ = read_with_masks(network, ids, seed=3)
    torch.manual_seed(2)
    assert torch.equal(read_with_masks(network, ids, seed=3)[0], first)
    assert not torch.equal(read_with_masks(network, ids, seed=4)[0], first)


@pytest.mark.parametrize("cell", CELLS)
def test_the_seed_alone_decides_the_weights(cell: str) -> None:
    torch.manual_seed(1)
    first = CharRNN(make_config(cell, seed=5), V).state_dict()
    torch.manual_seed(2)
    second = CharRNN(make_config(cell, seed=5), V).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "other",
    [
        1,
        2**31,
    ],
)
def test_another_seed_draws_every_weight_matrix_anew(other: int) -> None:
    first, second = (CharRNN(make_config(seed=seed), V).state_dict() for seed in (0, other))
    for name, value in first.items():
        assert torch.equal(value, second[name]) == ("bias" in name), name


def test_building_a_network_draws_nothing_from_torch_s_own_generator() -> None:
    before = torch.get_rng_state()
    CharRNN(make_config(), V)
    assert torch.equal(torch.get_rng_state(), before)


def test_saved_weights_load_into_the_same_network() -> None:
    network = CharRNN(make_config(seed=5), V)
    loaded = load_network(make_config(seed=6), V, network.state_dict())
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize("change", ["missing", "extra", "misshapen", "vocabulary"])
def test_weights_of_another_network_are_refused(change: str) -> None:
    tensors = dict(CharRNN(make_config(), V).state_dict())
    if change == "missing":
        del tensors["layers.1.weight_hh_l0"]
    elif change == "extra":
        tensors["layers.2.bias_hh_l0"] = tensors["layers.1.bias_hh_l0"]
    elif change == "misshapen":
        tensors["output.weight"] = tensors["output.weight"][:, 1:]
    with pytest.raises(RuntimeError if change == "vocabulary" else CheckpointError):
        load_network(make_config(), V + (change == "vocabulary"), tensors)

"""Cells: each is its equations, torch.nn's own layer, and its own trace; and each starts as its papers say.

Shapes: T time, B batch, I input, H hidden, G gates, S state vectors, V vocabulary.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from charrnn.config import Config
from charrnn.model.device import cpu_computes_bf16
from charrnn.model.layer import RecurrentLayer
from charrnn.model.network import CharRNN

T, B, I, H, V = 3, 2, 4, 5, 6  # noqa: E741  # I: input, in the legend of every cell
REFERENCES: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}

# Both sides are the same sums of a dozen float64 terms in another order: they differ by some 1e-16.
EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-10}


def make_layer(cell: str, seed: int = 0) -> RecurrentLayer:
    """A layer in float64, every weight and bias drawn anew: zero biases would hide a bias that is left out."""
    layer = RecurrentLayer(cell, I, H).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.7, generator=generator)
    return layer


def make_inputs(layer: RecurrentLayer, num_steps: int = T, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Inputs (T, B, I) and a first state (S, B, H) that is not zero and, for c, leaves [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_steps, B, I, generator=generator, dtype=torch.float64)
    state = torch.randn(layer.cell.num_states, B, H, generator=generator, dtype=torch.float64)
    state[0] = state[0].tanh()
    return inputs, state


def make_network(cell: str, *, num_layers: int = 2, dropout: float = 0.0, forget_bias: float = 1.0) -> CharRNN:
    config = Config(
        cell=cell, num_layers=num_layers, hidden_size=H, embedding_size=I, dropout=dropout, forget_bias=forget_bias
    )
    return CharRNN(config, V)


@pytest.mark.parametrize("cell", REFERENCES)
def test_a_cell_s_tensors_load_into_torch_nn_and_compute_the_same(cell: str) -> None:
    layer = make_layer(cell)
    reference = REFERENCES[cell](I, H).double()
    assert layer.state_dict().keys() == reference.state_dict().keys()
    reference.load_state_dict(layer.state_dict())
    inputs, state = make_inputs(layer)
    outputs, last = layer(inputs, state)
    expected, expected_last = reference(inputs, tuple(state.chunk(2)) if cell == "lstm" else state)
    torch.testing.assert_close(outputs, expected, **EXACT)
    torch.testing.assert_close(last, torch.cat(expected_last) if cell == "lstm" else expected_last, **EXACT)


@pytest.mark.parametrize("cell", REFERENCES)
def test_a_network_s_tensors_load_into_a_stacked_torch_nn_layer(cell: str) -> None:
    network = make_network(cell).double()
    renamed = {
        name.split(".")[2].replace("l0", f"l{name.split('.')[1]}"): value
        for name, value in network.state_dict().items()
        if name.startswith("layers.")
    }
    reference = REFERENCES[cell](I, H, num_layers=2).double()
    reference.load_state_dict(renamed)
    ids = torch.tensor([[0, 5], [3, 1], [2, 2]])
    outputs, _ = reference(network.embedding(ids))
    logits, _ = network(ids, network.initial_state(B))
    torch.testing.assert_close(logits, network.output(outputs), **EXACT)


def cells_step_by_step(cell: str, layer: RecurrentLayer, inputs: Tensor, state: Tensor) -> NDArray[np.float64]:
    """tanh(c) for an LSTM, else h, (T, B, H), from one forward per character."""
    cells = []
    for t in range(len(inputs)):
        _, state = layer(inputs[t : t + 1], state)
        cells.append(state[1].tanh() if cell == "lstm" else state[0])
    return torch.stack(cells).numpy()


@pytest.mark.parametrize("num_steps", [1, T, 40])
@pytest.mark.parametrize("cell", REFERENCES)
@torch.no_grad()
def test_a_trace_is_the_forward_pass_with_the_cells_of_single_steps(cell: str, num_steps: int) -> None:
    layer = make_layer(cell)
    inputs, state = make_inputs(layer, num_steps)
    before = state.clone()
    outputs, last = layer(inputs, state)
    traced, cells, traced_last = layer.trace(inputs, state)
    assert torch.equal(traced, outputs) and torch.equal(traced_last, last)
    assert torch.equal(state, before)
    assert cells.abs().max() <= 1
    # 40 steps of a forgetting memory do not add up rounding: still some 1e-15.
    np.testing.assert_allclose(cells.numpy(), cells_step_by_step(cell, layer, inputs, state), **EXACT)


@pytest.mark.skipif(not cpu_computes_bf16(), reason="oneDNN has no bf16 here")
@pytest.mark.parametrize("cell", REFERENCES)
@torch.no_grad()
def test_a_trace_in_bf16_stays_near_the_one_in_float32(cell: str) -> None:
    network = make_network(cell)
    ids = torch.randint(V, (200, B), generator=torch.Generator().manual_seed(5))
    _, exact, _, _ = network.trace(ids, network.initial_state(B))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, cells, _, last = network.trace(ids, network.initial_state(B))
    assert last.dtype == torch.float32
    # An LSTM's scan adds small numbers to a large one for hundreds of steps: in bf16 most of them would vanish.
    assert cell != "lstm" or cells.dtype == torch.float32
    # bf16 keeps 8 bits, so each gate is off by some 0.4 %, and these cells forget an error within a few characters.
    assert (cells - exact).abs().max() < 0.03


def test_a_trace_needs_no_no_grad() -> None:
    network = make_network("lstm")
    ids = torch.zeros(T, B, dtype=torch.long)
    _, cells, _, _ = network.trace(ids, network.initial_state(B))
    assert cells.shape == (T, B, 2, H)


def test_without_the_lstm_of_torch_the_equations_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make_layer("lstm")
    inputs, state = make_inputs(layer, num_steps=40)

    def compute() -> list[Tensor]:
        outputs, last = layer(inputs, state)
        gradients = torch.autograd.grad(outputs.sum() + last.square().sum(), list(layer.parameters()))
        return [outputs, last, *layer.trace(inputs, state), *gradients]

    expected = compute()
    monkeypatch.delattr(torch, "lstm")
    for one, other in zip(compute(), expected, strict=True):
        # Over 40 steps, gradients grow to some 100.
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("forget_bias", [1.0, 2.5])
@pytest.mark.parametrize("cell", REFERENCES)
def test_biases_start_at_zero_but_for_the_forget_gate(cell: str, forget_bias: float) -> None:
    for layer in make_network(cell, forget_bias=forget_bias).recurrent_layers():
        # torch.nn adds two biases: only one of them may carry the forget bias, or it would count twice.
        total = (layer.bias_ih_l0 + layer.bias_hh_l0).reshape(layer.cell.input_blocks, H)
        for gate, values in enumerate(total):
            expected = forget_bias if cell == "lstm" and gate == 1 else 0.0
            assert torch.equal(values, torch.full((H,), expected))
    assert make_network(cell).output.bias.count_nonzero() == 0


@pytest.mark.parametrize("cell", REFERENCES)
def test_each_gate_starts_orthogonal_on_the_state_and_within_glorot_s_bound_on_the_input(cell: str) -> None:
    config = Config(cell=cell, num_layers=2, hidden_size=16, embedding_size=8, dropout=0.0)
    layers = CharRNN(config, V).recurrent_layers()
    blocks = [block for layer in layers for block in layer.weight_hh_l0.detach().chunk(layer.cell.input_blocks)]
    for block in blocks:
        # float32 QR of a 16 x 16 matrix: products of unit rows are right to some 1e-6.
        torch.testing.assert_close(block @ block.T, torch.eye(16), rtol=0.0, atol=1e-5)
    for index, block in enumerate(blocks):
        assert not any(torch.equal(block, other) for other in blocks[:index])
    for layer in layers:
        bound = math.sqrt(6 / (layer.input_size + 16))
        for block in layer.weight_ih_l0.detach().chunk(layer.cell.input_blocks):
            # The largest of 128 uniform numbers is under 0.9 of the bound once in a million draws.
            assert 0.9 * bound < block.abs().max() <= bound

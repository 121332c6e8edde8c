"""The stepper: the network's own numbers without torch, and no weight file that is not whole."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from charrnn.config import Config
from charrnn.errors import CheckpointError
from charrnn.model.network import CharRNN
from charrnn.model.stepper import Stepper

CELLS = ("lstm", "gru", "rnn")
V, E, H = 11, 6, 16
Tensors = dict[str, NDArray[np.float32]]


def config_of(cell: str, num_layers: int = 2) -> Config:
    return Config(cell=cell, num_layers=num_layers, hidden_size=H, embedding_size=E, dropout=0.0)


def make_network(cell: str, num_layers: int) -> CharRNN:
    """A network whose biases are not zero: the GRU's two biases of n play different parts."""
    network = CharRNN(config_of(cell, num_layers), V)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "bias" in name:
                parameter.normal_(std=0.5, generator=generator)
    return network


def tensors_of(network: CharRNN) -> Tensors:
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_it_computes_what_the_network_computes(cell: str, num_layers: int) -> None:
    network = make_network(cell, num_layers)
    stepper = Stepper(config_of(cell, num_layers), tensors_of(network))
    ids = np.random.default_rng(2).integers(0, V, (300, 4))
    with torch.no_grad():
        expected, expected_last = network(torch.from_numpy(ids), network.initial_state(4))
    state = stepper.initial_state(4)
    assert state.shape == tuple(expected_last.shape) and state.dtype == np.float32
    logits = []
    for step_ids in ids:
        step_logits, state = stepper.step(step_ids, state)
        logits.append(step_logits)
    # float32 sums of 16 terms are off by some 1e-7 per step, and these random networks forget rather than amplify.
    np.testing.assert_allclose(np.stack(logits), expected.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(state, expected_last.numpy(), rtol=0, atol=1e-5)
    assert step_logits.dtype == state.dtype == np.float32


@pytest.mark.parametrize("cell", CELLS)
def test_the_state_passed_in_is_left_as_it_was(cell: str) -> None:
    stepper = Stepper(config_of(cell), tensors_of(make_network(cell, 2)))
    state = np.random.default_rng(3).standard_normal(stepper.initial_state(2).shape).astype(np.float32)
    before = state.copy()
    _, after = stepper.step(np.array([1, 2]), state)
    assert np.array_equal(state, before)
    assert not np.shares_memory(after, state) and not np.array_equal(after, before)


@pytest.mark.parametrize("cell", CELLS)
def test_reading_is_stepping_and_can_go_on_from_a_state(cell: str) -> None:
    stepper = Stepper(config_of(cell), tensors_of(make_network(cell, 2)))
    ids = np.random.default_rng(4).integers(0, V, 20).astype(np.uint16)
    state = stepper.initial_state(1)
    for char in ids:
        logits, state = stepper.step(np.array([char]), state)
    whole_logits, whole_state = stepper.read(ids)
    assert np.array_equal(whole_logits, logits) and np.array_equal(whole_state, state)
    _, halfway = stepper.read(ids[:9])
    rest_logits, rest_state = stepper.read(ids[9:], halfway)
    assert np.array_equal(rest_logits, logits) and np.array_equal(rest_state, state)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_of_any_size_step_without_overflow(cell: str) -> None:
    tensors = {name: value * np.float32(1e4) for name, value in tensors_of(make_network(cell, 2)).items()}
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        logits, state = Stepper(config_of(cell), tensors).read(np.arange(V))
    assert np.isfinite(logits).all() and np.isfinite(state).all()


NAMES = [
    "embedding.weight",
    *(f"layers.{index}.{part}_l0" for index in (0, 1) for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
    "output.weight",
    "output.bias",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_missing_weight_is_refused(cell: str, name: str) -> None:
    tensors = tensors_of(make_network(cell, 2))
    del tensors[name]
    with pytest.raises(CheckpointError, match=f"not contain the {cell} model"):
        Stepper(config_of(cell), tensors)


def change_rows(value: NDArray[np.float32], num_rows: int) -> NDArray[np.float32]:
    return np.resize(value, (num_rows, *value.shape[1:]))


@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_weight_of_too_few_or_too_many_rows_is_refused(cell: str, name: str, more: int) -> None:
    tensors = tensors_of(make_network(cell, 2))
    tensors[name] = change_rows(tensors[name], len(tensors[name]) + more)
    with pytest.raises(CheckpointError, match=f"not contain the {cell} model"):
        Stepper(config_of(cell), tensors)


@pytest.mark.parametrize("name", [name for name in NAMES if "weight" in name])
@pytest.mark.parametrize("cell", CELLS)
def test_a_weight_of_too_few_columns_is_refused(cell: str, name: str) -> None:
    tensors = tensors_of(make_network(cell, 2))
    tensors[name] = tensors[name][:, :-1]
    with pytest.raises(CheckpointError, match=f"not contain the {cell} model"):
        Stepper(config_of(cell), tensors)


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_that_numpy_would_broadcast_is_refused(name: str) -> None:
    tensors = tensors_of(make_network("lstm", 2))
    tensors[name] = change_rows(tensors[name], 1)
    with pytest.raises(CheckpointError, match="not contain the lstm model"):
        Stepper(config_of("lstm"), tensors)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("other", CELLS)
def test_another_cell_s_weights_are_refused(cell: str, other: str) -> None:
    if cell != other:
        with pytest.raises(CheckpointError, match=f"not contain the {cell} model"):
            Stepper(config_of(cell), tensors_of(make_network(other, 2)))


def test_no_weights_at_all_are_refused() -> None:
    with pytest.raises(CheckpointError):
        Stepper(config_of("lstm"), {})


def test_writing_imports_no_torch() -> None:
    modules = "charrnn.model.stepper, charrnn.generation.beam, charrnn.generation.sampling"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

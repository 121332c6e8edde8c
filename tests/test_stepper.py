"""The stepper: the network's own numbers without torch, and no weight file that is not whole."""

import subprocess
import sys
from collections.abc import Callable

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


DAMAGES: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "one row less": lambda value: value[:-1],
    "one row more": lambda value: np.resize(value, (len(value) + 1, *value.shape[1:])),
    "a row that NumPy would broadcast": lambda value: value[:1],
    "one column less": lambda value: value[..., :-1],
}


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_missing_or_of_another_shape_are_refused(name: str) -> None:
    tensors = tensors_of(make_network("gru", 2))
    others = [{key: value for key, value in tensors.items() if key != name}]
    others += [{**tensors, name: damage(tensors[name])} for damage in DAMAGES.values()]
    for damaged in others:
        with pytest.raises(CheckpointError, match="not contain the gru model"):
            Stepper(config_of("gru"), damaged)


@pytest.mark.parametrize("tensors", [{}, tensors_of(make_network("lstm", 2))], ids=["none", "lstm"])
def test_the_weights_of_another_network_are_refused(tensors: Tensors) -> None:
    with pytest.raises(CheckpointError, match="not contain the gru model"):
        Stepper(config_of("gru"), tensors)


def test_writing_imports_no_torch() -> None:
    modules = "charrnn.model.stepper, charrnn.generation.beam, charrnn.generation.sampling"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""Small networks with random weights that are not zero anywhere, for tests of what reads with
them."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.config.settings import Config
from charrnn.model.network import CharRNN

V, H, L = 7, 6, 2
"""Size of the alphabet, units and layers."""


def random_network(cell: str, **settings: Any) -> CharRNN:
    """Draw all weights, biases too, so small that what was read long ago is forgotten."""
    sizes = {"num_layers": L, "hidden_size": H, "embedding_size": 4, "dropout": 0.0, **settings}
    network = CharRNN(Config(cell_type=cell, **sizes), V)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return network


def random_state(network: CharRNN, batch_size: int) -> Tensor:
    """Draw the vectors of a state."""
    generator = torch.Generator().manual_seed(3)
    zeros = network.initial_state(batch_size)
    return torch.randn(zeros.shape, generator=generator).to(zeros.dtype)


def in_numpy(state: Tensor) -> NDArray:
    """Return a state as a stepper has it."""
    return state.detach().float().numpy()

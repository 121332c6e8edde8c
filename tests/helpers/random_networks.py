"""Small networks with random weights that are not zero anywhere, for tests of what reads with
them."""

from typing import Any

import torch

from charrnn.config.settings import Config
from charrnn.model.network import CharRNN
from charrnn.model.recurrent_state import RecurrentState

V, H, L = 7, 6, 2
"""Size of the alphabet, units and layers."""


def random_network(
    cell: str, depth: str = "stacked", vocab_size: int = V, **settings: Any
) -> CharRNN:
    """Draw all weights, biases too, so small that what was read long ago is forgotten."""
    sizes = {"num_layers": L, "hidden_size": H, "embedding_size": 4, "dropout": 0.0, **settings}
    network = CharRNN(Config(cell_type=cell, depth=depth, **sizes), vocab_size)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return network


def random_state(network: CharRNN, batch_size: int, seed: int = 3) -> RecurrentState:
    """Draw the vectors of a state."""
    generator = torch.Generator().manual_seed(seed)
    zeros = network.initial_state(batch_size)
    return zeros.map(lambda part: torch.randn(part.shape, generator=generator).to(part.dtype))


def in_numpy(state: RecurrentState) -> RecurrentState:
    """Return a state as a stepper has it."""
    return state.map(lambda part: part.detach().float().numpy())

"""Random networks with strong opinions, so that the likeliest text is not found by being greedy."""

from functools import cache

import numpy as np
import torch
from effects_networks import tensors_of

from charrnn.config.settings import Config
from charrnn.model.network import CharRNN
from charrnn.model.stepper import Stepper

V, T = 4, 4
PRIME = np.array([1, 3, 0])


def config_of(cell, seed=0):
    return Config(
        cell_type=cell, num_layers=2, hidden_size=8, embedding_size=4, dropout=0.0, seed=seed
    )


@cache
def make_network(cell, seed):
    """A random network with strong opinions, so that the likeliest text is not found by being
    greedy."""
    network = CharRNN(config_of(cell, seed), V)
    with torch.no_grad():
        network.embedding.weight.mul_(3)
        network.output.weight.mul_(4)
    return network


@cache
def make_stepper(cell, seed):
    return Stepper(config_of(cell), tensors_of(make_network(cell, seed)))

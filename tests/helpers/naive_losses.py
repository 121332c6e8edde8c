"""A small network, and the losses of a text that it reads character by character."""

import math

import numpy as np
import torch

from charrnn.config.settings import Config
from charrnn.model.network import CharRNN

V = 6


def make_network(cell_type="lstm"):
    sizes = {"num_layers": 1, "hidden_size": 8, "embedding_size": 4}
    network = CharRNN(
        Config(cell_type=cell_type, dropout=0.5, initial_state="learned", **sizes), V
    ).double()
    with torch.no_grad():
        network.learned_state.fill_(0.7)  # a text starts from here, which zeros would not show
        # Untrained logits are all alike; these care what they have read.
        network.output.weight.mul_(4)
    return network


@torch.no_grad()
def naive_scores(network, ids, first):
    """-ln p(character) of ids[first:] in float64, and whether its logit is the largest, the
    characters before each read one by one."""
    state = network.initial_state(1)
    losses = []
    is_right = []
    for index in range(1, len(ids)):
        logits, state = network(torch.tensor([[int(ids[index - 1])]]), state)
        scores = logits[0, 0].tolist()
        largest = max(scores)
        log_total = largest + math.log(sum(math.exp(score - largest) for score in scores))
        losses.append(log_total - scores[ids[index]])
        is_right.append(scores.index(largest) == ids[index])
    return np.array(losses[first - 1 :]), np.array(is_right[first - 1 :])

"""Models so small that all their numbers are listed, and how to read what is printed of them."""

import re

import numpy as np
import torch
from effects_networks import tensors_of
from hand_built import vocab_of

from charrnn.api import Model
from charrnn.config.settings import Config
from charrnn.model.network import CharRNN

VOCAB = vocab_of("hello, world\n", is_exact=True)
TEXT = "hello, hello"
H = 4


def config_of(cell_type, **options):
    sizes = {
        "num_layers": 2,
        "hidden_size": H,
        "embedding_size": "one-hot",
        "dropout": 0.0,
        "input_dropout": 0.0,
    }
    return Config(cell_type=cell_type, **{**sizes, **options})


def model_of(config, vocab=VOCAB):
    """A model all of whose weights, biases included, are drawn."""
    network = CharRNN(config, len(vocab))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "bias" in name or parameter.ndim == 1:
                parameter.normal_(std=0.5, generator=generator)
    return Model(
        config,
        vocab,
        tensors_of(network),
        name="small",
    )


def hello_model():
    """A network like that of the tour: four letters, three units."""
    config = config_of("rnn", num_layers=1, hidden_size=3)
    return model_of(config, vocab_of("helo", is_exact=True))


def printed(shown):
    """The numbers of a screen on which all tables are below each other, (R, C) by their names; the
    first table of each name."""
    tables = {}
    in_matrix = False
    for line in shown:
        numbers = re.findall(r"-?[0-9]+[.][0-9]{3,}", line)
        name = re.match(r"\S+( [a-z]+)?", line)
        if line.startswith(("W_", "dW_")) and not numbers:
            in_matrix = True
            tables.setdefault(name[0], current := [])
        elif line.startswith("step"):
            in_matrix = False
        elif numbers:
            if not in_matrix and name:
                tables.setdefault(name[0], current := [])
            current.append([float(number) for number in numbers])
    return {name: np.array(rows) for name, rows in tables.items()}

"""Small networks in float64 of every cell type and depth, and texts for them, for tests of the
effects of cells."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.config.architectures import DEPTH_DESCRIPTIONS
from charrnn.config.settings import Config
from charrnn.model.cell_types import CELLS
from charrnn.model.network import CharRNN
from charrnn.text.vocab import EncodedText, Vocab

CHARACTERS = 'abc"e\n'
V, H = len(CHARACTERS), 6
ARCHITECTURES = [
    *((cell, "stacked") for cell in CELLS),
    *(("lstm", depth) for depth in list(DEPTH_DESCRIPTIONS)[1:]),
    ("gru", "dilated"),
    ("mlstm", "grid"),
    ("antisymmetric", "highway"),
]


def make_config(cell: str, depth: str = "stacked", num_layers: int = 3, **changes: Any) -> Config:
    sizes: dict[str, Any] = {
        "num_layers": num_layers,
        "hidden_size": H,
        "embedding_size": 4,
        "dropout": 0.0,
        **changes,
    }
    return Config(cell_type=cell, depth=depth, **sizes)


def make_network(
    cell: str, depth: str = "stacked", num_layers: int = 3, scale: float = 0.2, **changes: Any
) -> CharRNN:
    network = CharRNN(make_config(cell, depth, num_layers, **changes), V).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        # Drawn as for training, biases are zero.
        for parameter in network.parameters():
            parameter.add_(
                scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            )
        if cell == "irnn":  # whose state would grow without bound, or stay at 0
            for layer in network.recurrent_layers():
                layer.weight("hh").mul_(0.5)
                layer.bias("ih").add_(2)
    return network


def tensors_of(network: CharRNN) -> dict[str, NDArray[Any]]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


def make_ids(num_chars: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, V, num_chars).astype(np.uint16)


def make_text(num_chars: int, num_context: int = 0) -> EncodedText:
    ids = make_ids(num_context + num_chars)
    text = "".join(CHARACTERS[id] for id in ids[num_context:])
    return EncodedText(ids, num_context, text, Vocab("char", tuple(CHARACTERS)))

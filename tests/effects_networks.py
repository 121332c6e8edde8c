"""Small networks in float64 of every cell type and depth, and texts for them, for tests of the effects of cells."""

from typing import Any

import numpy as np
import torch

from charrnn.architectures import DEPTHS
from charrnn.config import Config
from charrnn.model.cells import CELLS
from charrnn.model.network import CharRNN
from charrnn.text.encoded import EncodedText

CHARACTERS = "abcde\n"
V, H = len(CHARACTERS), 6
ARCHITECTURES = [
    *((cell, "stacked") for cell in CELLS),
    *(("lstm", depth) for depth in list(DEPTHS)[1:]),
    ("gru", "dilated"),
    ("mlstm", "grid"),
    ("antisymmetric", "highway"),
]


def make_network(cell: str, depth: str = "stacked", num_layers: int = 3, **changes: Any) -> CharRNN:
    sizes: dict[str, Any] = {"num_layers": num_layers, "hidden_size": H, "embedding_size": 4, "dropout": 0.0, **changes}
    network = CharRNN(Config(cell=cell, depth=depth, **sizes), V).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        # Drawn as for training, biases are zero.
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        if cell == "irnn":  # whose state would grow without bound, or stay at 0
            for layer in network.recurrent_layers():
                layer.weight("hh").mul_(0.5)
                layer.bias("ih").add_(2)
    return network


def make_text(num_chars: int, num_context: int = 0) -> EncodedText:
    ids = np.random.default_rng(0).integers(0, V, num_context + num_chars).astype(np.uint16)
    return EncodedText(ids, num_context, "".join(CHARACTERS[id] for id in ids[num_context:]), "char")

"""Add characters to a trained model: rows of its output layer and of its embedding, or columns for one-hot vectors.

Shapes: V old vocabulary, N ≥ V new one, E embedding, H hidden, G blocks.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = ("embedding.weight", "output.weight", "output.bias")
"""Tensors with one row per character: (V, E), (V, H) and (V,)."""
COLUMNS = ("bottom.weight", "layers.0.weight_ih_l0")
"""Tensors of which, in a network without an embedding, the first that exists has a column per character: (G*H, V)."""


def extend_rows(model: Mapping[str, NDArray[Any]], drawn: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the tensors of a model with rows (columns) for N characters, the first V of them its own, bit for bit.

    The others are those of `drawn`, a network with N characters that was initialized from the seed. The mean of the old
    rows is no better a start (benchmarks/LOG.md), and would make all new characters the same.
    """
    axes = {name: 0 for name in ROWS if name in model}
    if "embedding.weight" not in model:
        axes[next(name for name in COLUMNS if name in model)] = 1
    num_known = len(model["output.bias"])
    new = {name: np.split(drawn[name], [num_known], axis)[1] for name, axis in axes.items()}
    return {**model, **{name: np.concatenate((model[name], new[name]), axis) for name, axis in axes.items()}}

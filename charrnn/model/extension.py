"""Add characters to a trained model: rows of its embedding and of its output layer.

Shapes: V old vocabulary, N ≥ V new one, E embedding, H hidden.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = ("embedding.weight", "output.weight", "output.bias")
"""Tensors with one row per character: (V, E), (V, H) and (V,)."""


def extend_rows(model: Mapping[str, NDArray[Any]], drawn: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the tensors of a model with rows for N characters, the first V of them its own, bit for bit.

    The others are those of `drawn`, a network with N characters that was initialized from the seed. The mean of the old
    rows is no better a start (docs/LOG.md), and would make all new characters the same.
    """
    return {**model, **{name: np.concatenate((model[name], drawn[name][len(model[name]) :])) for name in ROWS}}

"""Models of random whole numbers: the same on every machine, and not trained."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import Config
from charrnn.model.shapes import weight_shapes
from charrnn.model.stepper import Stepper

V = 30


def hand_built_tensors(config: Config, vocab_size: int = V) -> dict[str, NDArray[Any]]:
    """Weights that are sums of uniform numbers, as large as those of a trained model."""
    generator, tensors = np.random.default_rng(11), {}
    for name, shape in weight_shapes(config, vocab_size).items():
        if name.endswith("permutation"):
            tensors[name] = generator.permutation(shape[0]).astype(np.float32)
            continue
        values = generator.integers(-(2**20), 2**20, (*shape, 4)).sum(axis=-1) / 2**20
        fan_in = 1 if "embedding" in name else shape[-1] if len(shape) > 1 else 4
        values = values * 2.0 ** round(1 - np.log2(fan_in) / 2)
        if name.endswith("modrelu_bias"):
            values = -np.abs(values) / 8
        tensors[name] = values.astype(np.float32)
    return tensors


def hand_built_stepper(cell: str, depth: str = "stacked", precision: str = "int8") -> Stepper:
    """Two layers of 24 units."""
    config = Config(cell=cell, depth=depth, num_layers=2, hidden_size=24, embedding_size=13, dropout=0.0)
    return Stepper(config, hand_built_tensors(config), precision)

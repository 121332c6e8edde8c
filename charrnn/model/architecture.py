"""The settings of a configuration that determine which products a network computes, and its state.

Shapes: H hidden, D dilation, R rows and C columns of a weight.
"""

import re
from collections.abc import Mapping

from charrnn.config.settings import Config, resolved
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.cell_types import Array
from charrnn.model.depths import DEPTHS

LINEAR = re.compile(r"(.+)\.weight(?:_(\w+)_l0)?")
"""Names of the weights of linear maps: `output.weight`, `layers.0.weight_hh_l0`."""


class Architecture:
    """The cell type, the depth and the sizes of a network."""

    def __init__(self, config: Config) -> None:
        """Take them from a resolved configuration."""
        self.cell = cell_type(config.cell_type)
        self.depth = DEPTHS[config.depth]
        self.num_layers = resolved(config.num_layers)
        self.hidden_size = resolved(config.hidden_size)
        self.dilations = tuple(map(self.depth.dilation, range(self.num_layers)))
        """The number of characters from each character back to the one whose state a layer
        continues."""
        self.num_states = self.cell.num_states * self.dilations[-1] + self.depth.span
        """S: the number of state vectors per layer, which is the number of states of its cell times
        the largest dilation, plus `Depth.span`."""
        self.kept_outputs = slice(self.cell.num_states, self.cell.num_states + self.depth.span)
        """The slice of a layer's state vectors that contains its last `Depth.span` outputs, oldest
        first."""

    def linear_weights(self, tensors: Mapping[str, Array]) -> dict[str, tuple[Array, Array]]:
        """Return weight (R, C) and bias (R,) of every product of a network by its name: `bottom`,
        `layers.0.ih`, `layers.0.hh` and other recurrent weights of the cell, `highways.0`,
        `attentions.0`, `grids.0.ih`, `grids.0.hh`, `output`.

        Recurrent weights are the effective weights of `Cell.effective_weight`. `tensors` are the
        content of `model.safetensors`.
        """
        linear = {}
        for name, weight in tensors.items():
            # Biases, the embedding and `Cell.extras` have no product.
            match = LINEAR.fullmatch(name)
            if match is None or name == "embedding.weight":
                continue

            # A linear map between layers has only one weight.
            module, product = match.groups()
            if product is None:
                linear[module] = (weight, tensors[f"{module}.bias"])
                continue

            # A layer has several products. The products of a grid belong to an LSTM, whose weights
            # are their own effective weights.
            if module.startswith("layers.") and product != "ih":
                weight = self.cell.effective_weight(weight)
            linear[f"{module}.{product}"] = (weight, tensors[f"{module}.bias_{product}_l0"])
        return linear

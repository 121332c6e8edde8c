"""The walk of one character up the layers of a network, for any array library.

`Stepper` walks in NumPy. `network` does not use the walk: there a layer reads a whole window at
once. `compiled.sampling` and the program of the model page repeat the walk by hand, as loops over
single numbers that change arrays in place.

Shapes: B batch, E embedding, H hidden, D dilation, R rows and C columns of a weight.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config, resolved
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.cell_types import Array, Cell, CellState, Lstm, Ops
from charrnn.model.depths import DEPTHS, Depth

LINEAR = re.compile(r"(.+)\.weight(?:_(\w+)_l0)?")
"""Names of the weights of linear maps: `output.weight`, `layers.0.weight_hh_l0`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The settings of a configuration that determine the walk."""

    cell: type[Cell]
    depth: type[Depth]
    num_layers: int
    hidden_size: int
    dilations: tuple[int, ...]
    """The number of characters from each character back to the one whose state a layer
    continues."""
    kept_share: Any
    """1 - zoneout: the share of a change of the state that remains, as a number of the array
    library."""
    sums_outputs: bool

    @classmethod
    def of(cls, config: Config) -> "Architecture":
        """Return the architecture of a resolved configuration."""
        depth = DEPTHS[config.depth]
        num_layers = resolved(config.num_layers)
        return cls(
            cell=cell_type(config.cell_type),
            depth=depth,
            num_layers=num_layers,
            hidden_size=resolved(config.hidden_size),
            dilations=tuple(map(depth.dilation, range(num_layers))),
            kept_share=1 - config.zoneout,
            sums_outputs=config.sum_outputs,
        )

    @property
    def num_states(self) -> int:
        """S: the number of state vectors per layer, which is the number of states of its cell times
        the largest dilation, plus `Depth.span`."""
        return self.cell.num_states * self.dilations[-1] + self.depth.span

    @property
    def kept_outputs(self) -> slice:
        """The slice of a layer's state vectors that contains its last `Depth.span` outputs, oldest
        first."""
        return slice(self.cell.num_states, self.cell.num_states + self.depth.span)

    def queue(self, state: Array, layer: int) -> Array:
        """Return a view of a layer's D latest states in a state (L, S, B, H), oldest first:
        (num_states, D, B, H)."""
        num_states = self.cell.num_states
        dilation = self.dilations[layer]
        latest = state[layer, : num_states * dilation]
        return latest.reshape(num_states, dilation, *state.shape[2:])

    def extras_of(self, layer: int, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the arrays of `Cell.extras` of a layer by name: a permutation as int64, other
        arrays as float32."""
        return {
            name: np.asarray(
                tensors[f"layers.{layer}.{name}"], np.int64 if kind == "permutation" else np.float32
            )
            for name, (_, kind) in self.cell.extras(self.hidden_size).items()
        }

    def linear_weights(self, tensors: Mapping[str, Array]) -> dict[str, tuple[Array, Array]]:
        """Return weight (R, C) and bias (R,) of every product of the walk by its name; see
        `Walk.product`.

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


class Walk:
    """The walk of one character up the layers. A subclass for each array library has its products
    and its state.

    It also implements `model.depths.Links`. An instance reads one character.
    """

    ops: Ops
    """The library's functions, without clamps."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.along_depth: CellState = ()
        """CellState of the LSTM along depth, if there is one."""

    def product(self, name: str, x: Array) -> Array:
        """Compute x @ weight.T + bias with the weights of that name.

        Names are `layers.0.ih`, `layers.0.hh` and other recurrent weights of the cell,
        `highways.0`, `bottom`, `grids.0.ih`, `grids.0.hh`, `attentions.0`, `output`.
        """
        raise NotImplementedError

    def ops_of(self, layer: int) -> Ops:
        """Return the functions for the equations of a layer, in which `clamp` sets its clamped
        units."""
        return self.ops

    def extras_of(self, layer: int) -> Mapping[str, Array]:
        """Return the arrays of `Cell.extras` of a layer."""
        raise NotImplementedError

    def oldest(self, layer: int) -> CellState:
        """Return the state of D characters before, from which a layer continues."""
        raise NotImplementedError

    def append(self, layer: int, latest: CellState) -> None:
        """Keep the latest state of a layer in place of the oldest one."""
        raise NotImplementedError

    def step_cell(
        self,
        cell: type[Cell],
        prefix: str,
        ops: Ops,
        x: Array,
        state: CellState,
        extras: Mapping[str, Array],
    ) -> CellState:
        """Compute the equations of a cell that reads x (B, E) or (B, H); `prefix` is the prefix of
        the names of its weights."""
        inputs = self.product(f"{prefix}.ih", x)

        def product(name: str, h: Array) -> Array:
            return self.product(f"{prefix}.{name}", h)

        # `ops` is passed by position: a cell of another package may have another name for it.
        return cell.step(ops, x=inputs, product=product, state=state, extras=extras)

    def read(self, x: Array) -> Array:
        """Read a character's vector (B, E), and return the input (B, H) of the output layer."""
        # Below the first layer of a grid is a projection to the state of the LSTM along depth.
        architecture = self.architecture
        below = x
        if architecture.depth.has_lstm:
            self.along_depth = tuple(self.ops.split(self.product("bottom", x), 2))
            below = self.along_depth[0]

        outputs = []
        for layer in range(architecture.num_layers):
            # Compute the equations of the cell.
            ops = self.ops_of(layer)
            before = self.oldest(layer)
            latest = self.step_cell(
                architecture.cell,
                prefix=f"layers.{layer}",
                ops=ops,
                x=below,
                state=before,
                extras=self.extras_of(layer),
            )

            # Generation replaces zoneout by its mean.
            if architecture.kept_share != 1:
                latest = tuple(
                    old + architecture.kept_share * (new - old)
                    for old, new in zip(before, latest, strict=True)
                )
                # Zoneout has moved a clamped unit away from its value.
                latest = (*latest[:-1], ops.clamp(latest[-1]))
            self.append(layer, latest)

            # Compute the input of the next layer.
            below = architecture.depth.join(
                self,
                layer=layer,
                x=below,
                y=latest[0],
            )
            outputs.append(below)

        # Compute the input of the output layer. The sum starts with the first output, because not
        # every library can add 0.
        if architecture.sums_outputs:
            below = sum(outputs[1:], start=outputs[0])
        return below

    def gate(self, layer: int, x: Array) -> Array:
        """Compute the gate of a highway; see `model.depths.Links`."""
        return self.ops.sigmoid(self.product(f"highways.{layer - 1}", x))

    def climb(self, layer: int, x: Array) -> Array:
        """Feed x to the LSTM along depth; see `model.depths.Links`."""
        self.along_depth = self.step_cell(
            Lstm,
            prefix=f"grids.{layer}",
            ops=self.ops,
            x=x,
            state=self.along_depth,
            extras={},
        )
        return self.along_depth[0]

    def attend(self, layer: int, y: Array) -> Array:
        """Read with the attention head of a layer; see `model.depths.Links`."""
        raise NotImplementedError

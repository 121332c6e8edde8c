"""The network in NumPy, one character at a time: generates text without importing torch.

Shapes: B batch, V vocabulary, H hidden, G blocks, L layers, S state vectors per layer; float32 throughout.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.config import Config, resolved
from charrnn.errors import UsageError, named
from charrnn.model.cells import Cell, Lstm, Ops, State
from charrnn.model.clamping import ClampedSum
from charrnn.model.depths import DEPTHS
from charrnn.model.portable_math import EXACT, NUMPY, Doubles, Float32Array, Matrix, exact_product
from charrnn.model.registry import cell_type
from charrnn.model.shapes import check_shapes, check_unit, dilation_of, num_states


class CharacterModel(Protocol):
    """What generating needs of a model: a `Stepper`, or several that predict together."""

    vocab_size: int
    """V."""
    precision: str
    """`fp32` or `int8`."""

    @property
    def changes(self) -> str:
        """What distinguishes it from others with the same weights: its precision and what is clamped."""

    def initial_state(self, batch_size: int) -> Float32Array:
        """Return the state before a text, whose axis 2 is that of the batch rows."""

    def step(
        self, ids: NDArray[np.integer[Any]], state: Float32Array
    ) -> tuple[NDArray[np.floating[Any]], Float32Array]:
        """Map ids (B,) and a state to logits (B, V) and a new state."""

    def read(
        self, ids: NDArray[np.integer[Any]], state: Float32Array | None = None
    ) -> tuple[NDArray[np.floating[Any]], Float32Array]:
        """Read ids (N,), N >= 1, in one row; return the logits (1, V) and the state after the last."""


class Stepper:
    """Maps one character per row and a state to the next character's logits and the new state.

    The first layer's input product is a table with one row per character. With precision `fp32`, equal to
    `CharRNN.forward` in float32 up to rounding; with `int8`, every weight matrix is rounded to eight bits
    (`model.portable_math.Matrix`). Its parts are `table` (V, G*H), `layers`, `grids`,
    `highways` and `output`.
    """

    def __init__(self, config: Config, tensors: Mapping[str, NDArray[Any]], precision: str = "fp32") -> None:
        """Take the weights of `model.safetensors`. Raises CheckpointError if one is missing or has another shape."""
        self.cell, self.cell_name, self.precision = cell_type(config.cell), config.cell, precision
        self.depth, self.depth_name = DEPTHS[config.depth], config.depth
        self.sum_outputs, self.zoneout = config.sum_outputs, np.float32(config.zoneout)
        self.num_layers, self.hidden_size = resolved(config.num_layers), resolved(config.hidden_size)
        self._num_states = num_states(config)
        self._dilations = [dilation_of(config, index) for index in range(self.num_layers)]
        self._num_grids = self.num_layers if self.depth.has_lstm else 0
        self.end_id = config.end_id
        self._learns_start = config.initial_state == "learned"
        self.vocab_size = check_shapes(config, tensors)
        self._weights = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
        is_int8 = precision == "int8"
        self.ops = EXACT if is_int8 else NUMPY
        self.clamped: dict[int, dict[int, float]] = {}
        """Layer to unit to the value of its memory."""
        self.clamped_sums: dict[int, list[ClampedSum]] = {}
        """Layer to the weighted sums of its cells that are clamped."""
        self.layers = [Layer(self.cell, f"layers.{index}.", self._weights, is_int8) for index in range(self.num_layers)]
        self.grids = [Layer(Lstm, f"grids.{index}.", self._weights, is_int8) for index in range(self._num_grids)]
        self.highways = [
            (
                Matrix(self._weights[f"highways.{index}.weight"], is_int8=is_int8),
                self._weights[f"highways.{index}.bias"],
            )
            for index in range(self.num_layers - 1 if self.depth.has_gates else 0)
        ]
        self.output = Matrix(self._weights["output.weight"], is_int8=is_int8), self._weights["output.bias"]
        # Without an embedding, characters are one-hot vectors, whose products are the columns of the weight.
        vectors = None if config.embedding_size == "one-hot" else self._weights["embedding.weight"].astype(np.float64)
        if self.grids:
            bottom = _products(vectors, self._weights["bottom.weight"]) + self._weights["bottom.bias"]
            self._bottom = bottom.astype(np.float32)
            vectors = bottom[:, : self.hidden_size]
        first = _products(vectors, self._weights["layers.0.weight_ih_l0"])
        with np.errstate(over="ignore"):  # in a model whose training diverged
            self.table: Float32Array = (first + self.layers[0].bias_ih).astype(np.float32)

    @property
    def changes(self) -> str:
        """What distinguishes it from others with the same weights: its precision and what is clamped."""
        return repr((self.precision, self.clamped, self.clamped_sums))

    def clamp(self, layer: int, unit: int, value: float) -> None:
        """Clamp a unit to the memory whose cell value is `value` (tanh(c), h or tanh(h); see `Cell.shows`).

        Raises UsageError for a layer or unit that does not exist, or a value outside [-1, 1].
        """
        self.check_unit(layer, unit)
        if not -1 <= value <= 1:
            raise UsageError(f"Cell {layer}:{unit} cannot be clamped at {value:g}: cell values are between -1 and 1.")
        self.clamped.setdefault(layer, {})[unit] = self.cell.memory(value)

    def clamp_sum(self, layer: int, clamped: ClampedSum) -> None:
        """Clamp a weighted sum of the values of a layer's cells.

        Raises UsageError for a unit that does not exist or that another clamp has already.
        """
        units = set(self.clamped.get(layer, {})).union(*(other.units for other in self.clamped_sums.get(layer, ())))
        for unit in clamped.units:
            self.check_unit(layer, unit)
            if unit in units:
                raise UsageError(
                    f"Cell {layer}:{unit} is in two {named('clamps')}: each cell follows one of them. Leave one "
                    "out, or take fewer cells for a direction."
                )
        self.clamped_sums.setdefault(layer, []).append(clamped)

    def check_unit(self, layer: int, unit: int) -> None:
        """Raise UsageError if the model has no such cell."""
        check_unit(layer, unit, self.num_layers, self.hidden_size)

    def _ops_of(self, layer: int) -> Ops[Float32Array]:
        """Return the functions for the equations of a layer, with `clamp` for its clamped units."""
        clamped, sums = self.clamped.get(layer, {}), self.clamped_sums.get(layer, [])
        if not clamped and not sums:
            return self.ops
        units, values = np.array(list(clamped), np.int64), np.array(list(clamped.values()), np.float32)

        def clamp(memory: Float32Array) -> Float32Array:
            memory = memory.copy()
            memory[:, units] = values
            for one in sums:
                chosen = list(one.units)
                memory[:, chosen] = one.apply(self.cell, memory[:, chosen])
            return memory

        return replace(self.ops, clamp=clamp)

    def values(self, state: Float32Array) -> Float32Array:
        """Compute the cell values (L, B, H), in [-1, 1], from a state (L, S, B, H)."""
        shown = []
        for index in range(self.num_layers):
            # The latest state of a dilated layer is at the end of its queue.
            queue = state[index, : self.cell.num_states * self._dilations[index]]
            latest = tuple(queue.reshape(self.cell.num_states, -1, *queue.shape[1:])[:, -1])
            shown.append(self.cell.value(self.ops, latest))
        return np.stack(shown)

    def initial_state(self, batch_size: int) -> Float32Array:
        """Return the initial state (L, S, B, H) of a text: zero, or the learned one."""
        shape = (self.num_layers, self._num_states, batch_size, self.hidden_size)
        if self._learns_start:
            return np.array(np.broadcast_to(self._weights["learned_state"][:, :, None], shape))
        return np.zeros(shape, np.float32)

    def step(self, ids: NDArray[np.integer[Any]], state: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Map ids (B,) and a state (L, S, B, H) to logits (B, V) and a new state; the old one is unchanged.

        A row that reads END starts from the initial state.
        """
        state = state.copy()
        if self.end_id is not None and (is_end := np.asarray(ids) == self.end_id).any():
            state[:, :, is_end] = self.initial_state(int(is_end.sum()))
        below, total = self.table[ids], np.float32(0)
        links = _Links(self, self._bottom[ids] if self.grids else None)
        for index, layer in enumerate(self.layers):
            ops = self._ops_of(index)
            x = below if index == 0 else layer.weight_ih.product(below) + layer.bias_ih
            # The D latest states of a dilated layer form a queue: its oldest is continued, and the result appended.
            queue = state[index, : self.cell.num_states * self._dilations[index]]
            queue = queue.reshape(self.cell.num_states, -1, *queue.shape[1:])
            oldest = tuple(queue[:, 0])
            latest = self.cell.step(ops, x, layer.product, oldest, layer.extras)
            if self.zoneout:
                latest = tuple(o + (1 - self.zoneout) * (n - o) for o, n in zip(oldest, latest, strict=True))
                # Zoneout moved a clamped unit only part of the way.
                latest = (*latest[:-1], ops.clamp(latest[-1]))
            queue[:, :-1] = queue[:, 1:]
            for part, value in zip(queue, latest, strict=True):
                part[-1] = value
            below = self.depth.join(links, index, below, latest[0])
            total = total + below if self.sum_outputs else below
        weight, bias = self.output
        return weight.product(total) + bias, state

    def read(
        self, ids: NDArray[np.integer[Any]], state: Float32Array | None = None
    ) -> tuple[Float32Array, Float32Array]:
        """Read a text ids (N,), N >= 1, in one row. Return the logits (1, V) and the state after its last character.

        Raises ValueError for an empty text.
        """
        if len(ids) == 0:
            raise ValueError("the text is empty")
        state = self.initial_state(1) if state is None else state
        logits = np.zeros((1, self.vocab_size), np.float32)
        for char in ids:
            logits, state = self.step(np.array([char]), state)
        return logits, state


def _products(vectors: Doubles | None, weight: Float32Array) -> Doubles:
    """Compute the products (V, R) of every character's vector, (V, E) or one-hot, with a weight (R, E) or (R, V)."""
    return weight.T.astype(np.float64) if vectors is None else exact_product(vectors, weight)


class _Links:
    """The weights of a stepper's depth in one step; see `model.depths.Links`."""

    def __init__(self, stepper: Stepper, bottom: Float32Array | None) -> None:
        """Take the initial state (B, 2 * H) of the LSTM along depth, if there is one."""
        self._stepper = stepper
        self._along_depth: State[Float32Array] = () if bottom is None else tuple(np.split(bottom, 2, axis=-1))

    def gate(self, layer: int, x: Float32Array) -> Float32Array:
        weight, bias = self._stepper.highways[layer - 1]
        return self._stepper.ops.sigmoid(np.asarray(weight.product(x) + bias))

    def climb(self, layer: int, x: Float32Array) -> Float32Array:
        grid = self._stepper.grids[layer]
        total = np.asarray(grid.weight_ih.product(x) + grid.bias_ih)
        self._along_depth = Lstm.step(self._stepper.ops, total, grid.product, self._along_depth, {})
        return self._along_depth[0]


class Layer:
    """The weights of one layer."""

    def __init__(self, cell: type[Cell], prefix: str, weights: Mapping[str, Float32Array], is_int8: bool) -> None:
        """Take the weights whose names begin with `prefix`."""
        self.weight_ih = Matrix(weights[f"{prefix}weight_ih_l0"], is_int8=is_int8)
        self.bias_ih = weights[f"{prefix}bias_ih_l0"]
        self.recurrent = {
            name: (
                Matrix(cell.effective_weight(weights[f"{prefix}weight_{name}_l0"]), is_int8=is_int8),
                weights[f"{prefix}bias_{name}_l0"],
            )
            for name in cell.products
        }
        size = len(self.bias_ih) // cell.input_blocks
        self.extras: dict[str, NDArray[Any]] = {
            name: weights[prefix + name].astype(np.int64 if kind == "permutation" else np.float32)
            for name, (_, kind) in cell.extras(size).items()
        }

    def product(self, name: str, h: Float32Array) -> Float32Array:
        """Compute h @ weight.T + bias with the recurrent weight `name`."""
        weight, bias = self.recurrent[name]
        return np.asarray(weight.product(h) + bias)

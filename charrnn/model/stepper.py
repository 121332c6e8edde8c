"""Compute the network in NumPy, one character at a time, to generate text without importing torch.

Shapes: B batch, V vocabulary, H hidden, G blocks, L layers, S state vectors per layer; float32
throughout.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.errors import UsageError
from charrnn.model.cell_types import Array, Cell, CellState, Lstm, Ops
from charrnn.model.interventions import hold
from charrnn.model.portable_math import (
    EXACT,
    NUMPY,
    Float32Array,
    Matrix,
    attend,
    exact_product,
)
from charrnn.model.shapes import Architecture, check_shapes, check_unit


class Linear(NamedTuple):
    """A weight matrix and its bias."""

    weight: Matrix
    bias: Float32Array

    def product(self, x: Float32Array) -> Float32Array:
        """Compute x (B, C) @ weight.T + bias, (B, R)."""
        return self.weight.product(x) + self.bias


class Stepper:
    """Maps one character per row and a state to the next character's logits and the new state.

    `Model.stepper` is one. Sampling, beams and explanations of one place need it, which read few
    characters at a time; `CharRNN` is faster for whole texts.

    With precision `fp32`, the results are those of `CharRNN.forward` in float32 up to rounding.
    With `int8`, every weight matrix is rounded to eight bits (`model.portable_math.Matrix`).

    `tables` (V, R) contain the products of the vectors of all characters by name: `layers.0.ih`,
    and `bottom` of a grid. `products` contain the other weights by name
    (`Architecture.linear_weights`), and `extras` the arrays of `Cell.extras` of each layer.
    """

    def __init__(
        self, config: Config, tensors: Mapping[str, NDArray[Any]], precision: str = "fp32"
    ):
        """Build a stepper from the weights of `model.safetensors`. Raises CheckpointError if a
        weight is missing or has another shape."""
        # The settings of the configuration.
        self.vocab_size = check_shapes(config, tensors)
        architecture = Architecture(config)
        self.architecture = architecture
        self.kept_share = np.float32(1) - np.float32(config.zoneout)
        """The share of a change of the state that remains, in place of zoneout."""
        self.sums_outputs = config.sum_outputs
        self.cell = architecture.cell
        self.cell_name = config.cell_type
        self.depth_name = config.depth
        self.num_layers = architecture.num_layers
        self.hidden_size = architecture.hidden_size
        self.precision = precision
        self.end_id = config.end_id

        # In int8, functions are used that round alike on every machine.
        weights = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
        self._learned_state = weights.get("learned_state")
        is_int8 = precision == "int8"
        self.ops = EXACT if is_int8 else NUMPY

        # At first nothing is clamped.
        self.clamped: dict[int, dict[int, float]] = {}
        """The memories of clamped units, by layer and unit."""

        # There are only V vectors of characters, so their products are computed once, here. Without
        # an embedding, characters are one-hot vectors, whose products are the columns of the
        # weight.
        linear = architecture.linear_weights(weights)
        self.tables: dict[str, Float32Array] = {}
        vectors = None
        if config.embedding_size != "one-hot":
            vectors = weights["embedding.weight"].astype(np.float64)
        if "bottom" in linear:
            table = self._add_table(
                "bottom",
                vectors=vectors,
                linear=linear.pop("bottom"),
            )
            # The first layer of a grid reads the h of this state.
            vectors = table[:, : self.hidden_size]

        self._add_table(
            "layers.0.ih",
            vectors=vectors,
            linear=linear.pop("layers.0.ih"),
        )

        # All other weights.
        self.products = {
            name: Linear(Matrix(weight, is_int8=is_int8), bias)
            for name, (weight, bias) in linear.items()
        }
        self.extras = []
        for layer in range(self.num_layers):
            extras = {
                name: weights[f"layers.{layer}.{name}"]
                for name in self.cell.extras(self.hidden_size)
            }
            if "permutation" in extras:
                extras["permutation"] = extras["permutation"].astype(np.int64)
            self.extras.append(extras)

    def _add_table(
        self, name: str, vectors: Any, linear: tuple[NDArray[Any], NDArray[Any]]
    ) -> NDArray[Any]:
        """Compute the table of products of all characters, store it in float32, and return it in
        float64. `vectors` (V, E) are None for one-hot vectors."""
        # The sums are in float64 and in a fixed order, so that they round to the same float32 on
        # every machine.
        weight, bias = linear
        with np.errstate(over="ignore"):  # The weights overflow if training has diverged.
            if vectors is None:
                table = weight.T.astype(np.float64) + bias
            else:
                table = exact_product(vectors, weight) + bias
            self.tables[name] = table.astype(np.float32)
        return np.asarray(table)

    @property
    def changes(self) -> str:
        """A cache key that distinguishes the steppers of a model by precision and clamps."""
        return repr((self.precision, self.clamped))

    def clamp(self, layer: int, unit: int, value: float) -> None:
        """Clamp a unit to the memory whose cell value is `value` (tanh(c), h or tanh(h); see
        `Cell.shows`).

        Raises UsageError for a layer or unit that does not exist, or a value outside [-1, 1].
        """
        self.check_unit(layer, unit)

        if not -1 <= value <= 1:
            raise UsageError(
                f"Cell {layer}:{unit} cannot be clamped at {value:g}: cell values are between -1"
                " and 1."
            )
        self.clamped.setdefault(layer, {})[unit] = self.cell.memory(value)

    def check_unit(self, layer: int, unit: int) -> None:
        """Raise UsageError if the model has no such cell."""
        check_unit(
            layer,
            unit,
            num_layers=self.num_layers,
            num_units=self.hidden_size,
        )

    def ops_of(self, layer: int) -> Ops:
        """Return the functions for the equations of a layer, with `clamp` for its clamped units."""
        # Most layers have no clamp, and need no additional function.
        clamped = self.clamped.get(layer, {})
        if not clamped:
            return self.ops

        values = np.array(list(clamped.values()), np.float32)
        return hold(self.ops, list(clamped), values=lambda _: values)

    def values(self, state: Float32Array) -> Float32Array:
        """Compute the cell values (L, B, H), in [-1, 1], from a state.

        A state is not bounded, and the cell types differ in it: pictures show these.
        """
        values = []
        for layer in range(self.num_layers):
            latest = self.queue(state, layer)[:, -1]
            values.append(self.cell.value(self.ops, tuple(latest)))
        return np.stack(values)

    def queue(self, state: Float32Array, layer: int) -> Float32Array:
        """Return a view of a layer's D latest states in a state (L, S, B, H), oldest first:
        (num_states, D, B, H)."""
        num_states = self.cell.num_states
        dilation = self.architecture.dilations[layer]
        latest = state[layer, : num_states * dilation]
        return latest.reshape(num_states, dilation, *state.shape[2:])

    def initial_state(self, batch_size: int) -> Float32Array:
        """Return the initial state of a text: zero, or the learned state."""
        shape = (self.num_layers, self.architecture.num_states, batch_size, self.hidden_size)
        vectors = np.zeros(shape, np.float32)
        if self._learned_state is not None:
            vectors[:] = self._learned_state[:, :, None]
        return vectors

    def step(
        self, ids: NDArray[np.integer[Any]], state: Float32Array
    ) -> tuple[Float32Array, Float32Array]:
        """Map ids (B,) and a state to logits (B, V) and a new state; the old state is not changed.

        It is for a loop with something between two characters; `read` reads a text at once.

        A row that reads END starts from the initial state.
        """
        joined, state = self.read_layers(ids, state)
        features = joined[-1]
        if self.sums_outputs:
            features = sum(joined[1:], start=joined[0])
        return self.products["output"].product(features), state

    def read_layers(
        self, ids: NDArray[np.integer[Any]], state: Float32Array
    ) -> tuple[list[Float32Array], Float32Array]:
        """Map ids (B,) and a state to what each layer hands to the one above it, L arrays (B, H),
        and a new state; the old state is not changed. The output layer reads the last of them, or
        with `sum_outputs` their sum.

        `step` multiplies by the output layer as well.

        A row that reads END starts from the initial state.
        """
        if self.end_id is not None:
            state = self._reset_at_end(ids, state)

        # The walk changes the state in place.
        state = state.copy()
        return _Walk(self, ids=ids, state=state).read(), state

    def _reset_at_end(self, ids: NDArray[np.integer[Any]], state: Float32Array) -> Float32Array:
        """Return a state with the rows that read END reset to the initial state, because a document
        begins."""
        is_end = (np.asarray(ids) == self.end_id)[:, None]
        if not is_end.any():
            return state

        initial = self.initial_state(len(ids))
        return np.where(is_end, initial, state)

    def read(
        self, ids: NDArray[np.integer[Any]], state: Float32Array | None = None
    ) -> tuple[Float32Array, Float32Array]:
        """Read a text ids (N,), N >= 1, in one row. Return the logits (1, V) and the state after
        its last character.

        Its result is where drawing begins.

        Raises ValueError for an empty text.
        """
        if len(ids) == 0:
            raise ValueError("the text is empty")

        # The logits of all characters except the last are computed and dropped: they cost little
        # compared with the layers.
        state = self.initial_state(batch_size=1) if state is None else state
        logits = np.zeros((1, self.vocab_size), np.float32)
        for char in ids:
            logits, state = self.step(np.array([char]), state)
        return logits, state


class _Walk:
    """The walk of one character of each row up the layers. It has the products of the depth, too
    (`model.depths.Links`)."""

    def __init__(self, stepper: Stepper, ids: NDArray[Any], state: Float32Array):
        """Take ids (B,), and a state (L, S, B, H), which `read` changes in place."""
        self._stepper = stepper
        self._ids = ids
        self._state = state
        self._along_depth: CellState = ()

    def read(self) -> list[Array]:
        """Read the characters, and return what each layer hands to the one above it, (B, H)."""
        # Below the first layer of a grid is a projection to the state of the LSTM along depth.
        stepper = self._stepper
        below: Array = self._ids
        if stepper.architecture.depth.has_lstm:
            self._along_depth = tuple(stepper.ops.split(stepper.tables["bottom"][self._ids], 2))
            below = self._along_depth[0]

        joined = []
        for layer in range(stepper.num_layers):
            # Compute the equations of the cell, from the oldest state of the layer.
            ops = stepper.ops_of(layer)
            queue = stepper.queue(self._state, layer)
            before = tuple(queue[:, 0])
            latest = self._step_cell(
                stepper.cell,
                prefix=f"layers.{layer}",
                ops=ops,
                x=below,
                state=before,
                extras=stepper.extras[layer],
            )

            # Generation replaces zoneout by its mean.
            if stepper.kept_share != 1:
                latest = tuple(
                    old + stepper.kept_share * (new - old)
                    for old, new in zip(before, latest, strict=True)
                )
                # Zoneout has moved a clamped unit away from its value.
                latest = (*latest[:-1], ops.clamp(latest[-1]))

            # The latest state replaces the oldest one. The queue is a view of the state.
            queue[:, :-1] = queue[:, 1:]
            for vectors, value in zip(queue, latest, strict=True):
                vectors[-1] = value

            # Compute the input of the next layer.
            below = stepper.architecture.depth.join(self, layer=layer, x=below, y=latest[0])
            joined.append(below)
        return joined

    def _step_cell(
        self,
        cell: type[Cell],
        prefix: str,
        ops: Ops,
        x: Array,
        state: CellState,
        extras: Mapping[str, Array],
    ) -> CellState:
        """Compute the equations of a cell that reads x (B, H), or the ids; `prefix` is the prefix
        of the names of its weights."""

        def product(name: str, h: Array) -> Array:
            return self._product(f"{prefix}.{name}", h)

        # `ops` is passed by position: a cell of another package may have another name for it.
        inputs = product("ih", x)
        return cell.step(ops, x=inputs, product=product, state=state, extras=extras)

    def _product(self, name: str, x: Array) -> Float32Array:
        """Compute x @ weight.T + bias with the weights of that name."""
        # The first product is looked up by the ids, and x is ignored.
        table = self._stepper.tables.get(name)
        if table is not None:
            rows: Float32Array = table[self._ids]
            return rows
        return self._stepper.products[name].product(x)

    def gate(self, layer: int, x: Array) -> Array:
        return self._stepper.ops.sigmoid(self._product(f"highways.{layer - 1}", x))

    def climb(self, layer: int, x: Array) -> Array:
        self._along_depth = self._step_cell(
            Lstm,
            prefix=f"grids.{layer}",
            ops=self._stepper.ops,
            x=x,
            state=self._along_depth,
            extras={},
        )
        return self._along_depth[0]

    def attend(self, layer: int, y: Array) -> Array:
        ops = self._stepper.ops
        query, gate = ops.split(self._product(f"attentions.{layer}", y), 2)
        outputs = self._state[layer, self._stepper.architecture.kept_outputs]
        opened = ops.sigmoid(gate)
        read = attend(query, outputs)

        # y is appended only now: a character does not attend to itself. The copy is needed because
        # the ranges overlap.
        outputs[:-1] = outputs[1:].copy()
        outputs[-1] = y
        return opened * read

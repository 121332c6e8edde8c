"""The network as an ONNX graph: the equations of cells and depths, computed with values that record their operations.

The graph maps ids (B, T) and a state (L, S, B, H) to logits (B, T, V) and the state after the last character. Its body,
a Scan over the characters, is what `model.stepper` computes at one character. Weights keep their names and are float32.

Shapes: B batch, T time, V vocabulary, E embedding, H hidden, L layers, S state vectors per layer, D dilation.
Needs the package onnx (extra `onnx`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from charrnn.config import Config, resolved
from charrnn.errors import UsageError
from charrnn.model.cells import CELLS, Cell, Lstm, Ops, State
from charrnn.model.depths import DEPTHS
from charrnn.model.registry import cell_type
from charrnn.model.shapes import check_shapes, dilation_of, num_states

OPSET = 17
"""Version of the operators: that of ONNX 1.12 of 2022, the first one with a Fourier transform."""
IR_VERSION = 8
"""Version of the file format, of the same release."""
INPUTS, OUTPUTS = ("ids", "state"), ("logits", "new_state")
"""Names of the inputs and outputs of the graph, in order."""


class Graph:
    """Nodes in the order in which they are computed, and the constants that they use."""

    def __init__(self, outer: Graph | None = None) -> None:
        """Start a graph, or the body of a loop in an `outer` one, whose constants and values the body may use."""
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {} if outer is None else outer.constants
        self._numbers: count[int] = count() if outer is None else outer._numbers

    def value(self, name: str) -> Value:
        """Return the value of that name, which is an input, a constant, or the output of a node."""
        return Value(self, name)

    def constant(self, array: NDArray[Any], name: str | None = None) -> Value:
        """Return a constant; those without a name are kept once, by their values."""
        if name is None:
            name = "_".join(("constant", str(array.dtype), *map(str, array.shape), *map(str, array.ravel().tolist())))
        self.constants[name] = array
        return Value(self, name)

    def nodes_of(self, operator: str, *inputs: Value, num_outputs: int = 1, **attributes: Any) -> list[Value]:
        """Add a node and return its outputs."""
        names = [f"{operator}_{next(self._numbers)}" for _ in range(num_outputs)]
        self.nodes.append(helper.make_node(operator, [one.name for one in inputs], names, **attributes))
        return [Value(self, name) for name in names]

    def node(self, operator: str, *inputs: Value, **attributes: Any) -> Value:
        """Add a node with one output and return that."""
        return self.nodes_of(operator, *inputs, **attributes)[0]

    def initializers(self) -> list[TensorProto]:
        """Return the constants as they are stored in the file."""
        return [numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in self.constants.items()]


class Value:
    """A tensor that a graph computes. Computing with it adds nodes to the graph; see `model.cells.Array`."""

    __array_ufunc__ = None  # so that NumPy leaves number * value to `__rmul__`

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def __add__(self, other: Any) -> Value:
        return self._with("Add", self, other)

    def __radd__(self, other: Any) -> Value:
        return self._with("Add", other, self)

    def __sub__(self, other: Any) -> Value:
        return self._with("Sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self._with("Sub", other, self)

    def __neg__(self) -> Value:
        return self.apply("Neg")

    def __mul__(self, other: Any) -> Value:
        return self._with("Mul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return self._with("Mul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return self._with("Div", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self._with("Div", other, self)

    def __getitem__(self, index: Any) -> Value:
        """Return one entry along the first axis, or the same with an axis of size 1 at the end.

        Raises UsageError for another index, which only the cell of another package can use.
        """
        if isinstance(index, int):
            return self.apply("Gather", self._integers(index), axis=0)
        if index == (..., None):
            return self.apply("Unsqueeze", self._integers([-1]))
        raise UsageError(
            f"The cell indexes an array by {index!r}, which cannot be written to a .onnx file.\nExport a .zip instead."
        )

    @property
    def T(self) -> Value:
        """The transposed matrix."""
        return self.apply("Transpose")

    def sum(self, axis: int | None = None) -> Value:
        """Add up all entries, or those along an axis."""
        axes = () if axis is None else (self._integers([axis]),)
        return self.apply("ReduceSum", *axes, keepdims=0)

    def apply(self, operator: str, *others: Value, **attributes: Any) -> Value:
        """Add a node whose first input is this value, and return its output."""
        return self.graph.node(operator, self, *others, **attributes)

    def part(self, begin: int, end: int) -> Value:
        """Return entries begin..end - 1 along the first axis."""
        return self.apply("Slice", self._integers([begin]), self._integers([end]), self._integers([0]))

    def stacked(self) -> Value:
        """Return the same with an axis of size 1 at the beginning."""
        return self.apply("Unsqueeze", self._integers([0]))

    def _integers(self, values: int | Sequence[int]) -> Value:
        return self.graph.constant(np.array(values, np.int64))

    def _with(self, operator: str, *operands: Any) -> Value:
        graph = self.graph
        return graph.node(
            operator,
            *(one if isinstance(one, Value) else graph.constant(np.array(one, np.float32)) for one in operands),
        )


def _concatenate(parts: Sequence[Value], axis: int) -> Value:
    return parts[0] if len(parts) == 1 else parts[0].apply("Concat", *parts[1:], axis=axis)


def _fourier(re: Value, im: Value, num_points: int, *, is_inverse: bool) -> tuple[Value, Value]:
    """Transform (B, N) along the last axis, divided by sqrt(N); the operator divides its inverse by N instead."""
    signal = _concatenate([part[..., None] for part in (re, im)], axis=-1)
    found = signal.apply("DFT", axis=1, inverse=int(is_inverse))
    scaled = found * (math.sqrt(num_points) if is_inverse else 1 / math.sqrt(num_points))
    real, imaginary = scaled.graph.nodes_of("Split", scaled, num_outputs=2, axis=-1)
    axis = scaled.graph.constant(np.array([-1]))
    return real.apply("Squeeze", axis), imaginary.apply("Squeeze", axis)


def onnx_ops(hidden_size: int) -> Ops[Value]:
    """Return the equations' functions as ONNX operators, for layers of `hidden_size` units."""
    return Ops(
        sigmoid=lambda x: x.apply("Sigmoid"),
        tanh=lambda x: x.apply("Tanh"),
        relu=lambda x: x.apply("Relu"),
        sqrt=lambda x: x.apply("Sqrt"),
        cos=lambda x: x.apply("Cos"),
        sin=lambda x: x.apply("Sin"),
        split=lambda x, blocks: x.graph.nodes_of("Split", x, num_outputs=blocks, axis=-1) if blocks > 1 else [x],
        cat=lambda parts: _concatenate(parts, axis=-1),
        permute=lambda x, order: x.apply("Gather", order, axis=-1),
        fft=lambda re, im: _fourier(re, im, hidden_size // 2, is_inverse=False),
        ifft=lambda re, im: _fourier(re, im, hidden_size // 2, is_inverse=True),
        clamp=lambda memory: memory,
    )


class _Layer:
    """The weights of one layer in a graph, as `model.stepper.Layer` has them in NumPy."""

    def __init__(self, graph: Graph, cell: type[Cell], prefix: str, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Take the weights whose names begin with `prefix`."""
        self._graph, self._prefix = graph, prefix
        for name in ("ih", *cell.products):
            weight = tensors[f"{prefix}weight_{name}_l0"]
            effective = weight if name == "ih" else np.asarray(cell.effective_weight(weight))
            graph.constant(effective.astype(np.float32), f"{prefix}weight_{name}_l0")
            graph.constant(tensors[f"{prefix}bias_{name}_l0"].astype(np.float32), f"{prefix}bias_{name}_l0")
        size = len(tensors[f"{prefix}bias_ih_l0"]) // cell.input_blocks
        self.extras = {
            name: graph.constant(
                tensors[prefix + name].astype(np.int64 if kind == "permutation" else np.float32), prefix + name
            )
            for name, (_, kind) in cell.extras(size).items()
        }

    def product(self, name: str, x: Value) -> Value:
        """Compute x @ weight.T + bias with the weight `name`: `ih` or a recurrent one."""
        weight, bias = (self._graph.value(f"{self._prefix}{part}_{name}_l0") for part in ("weight", "bias"))
        return x.apply("Gemm", weight, bias, transB=1)


class _Step:
    """The network at one character: what `model.stepper.Stepper.step` computes."""

    def __init__(self, config: Config, tensors: Mapping[str, NDArray[Any]], graph: Graph) -> None:
        self.graph, self.config, self.tensors = graph, config, tensors
        self.cell, self.depth = cell_type(config.cell), DEPTHS[config.depth]
        self.num_layers, self.hidden_size = resolved(config.num_layers), resolved(config.hidden_size)
        self.vocab_size = check_shapes(config, tensors)
        self.ops = onnx_ops(self.hidden_size)
        self.layers = [_Layer(graph, self.cell, f"layers.{index}.", tensors) for index in range(self.num_layers)]
        num_grids = self.num_layers if self.depth.has_lstm else 0
        self.grids = [_Layer(graph, Lstm, f"grids.{index}.", tensors) for index in range(num_grids)]
        own = ("embedding.", "output.", "highways.", "bottom.")
        for name, array in tensors.items():
            if name.startswith(own):
                graph.constant(array.astype(np.float32), name)

    def linear(self, name: str, x: Value) -> Value:
        """Compute x @ weight.T + bias with the weights `name`.weight and `name`.bias."""
        return x.apply("Gemm", self.graph.value(f"{name}.weight"), self.graph.value(f"{name}.bias"), transB=1)

    def vectors(self, ids: Value) -> Value:
        """Return the vectors (B, E) of characters (B,): embeddings, or one-hot."""
        graph = self.graph
        if self.config.embedding_size != "one-hot":
            return graph.value("embedding.weight").apply("Gather", ids, axis=0)
        table = graph.constant(np.eye(self.vocab_size, dtype=np.float32), "one_hot")
        return table.apply("Gather", ids, axis=0)

    def initial(self, layer: int, part: int) -> Value:
        """Return a part of the initial state of a layer, (H,) or, where it has a dilation D, (D, 1, H)."""
        dilation = dilation_of(self.config, layer)
        shape = (self.hidden_size,) if dilation == 1 else (dilation, 1, self.hidden_size)
        learned = self.tensors.get("learned_state")
        if learned is None:
            return self.graph.constant(np.zeros(shape, np.float32), f"initial_state.{layer}.{part}")
        rows = learned[layer, part * dilation : (part + 1) * dilation].astype(np.float32)
        return self.graph.constant(rows.reshape(shape), f"initial_state.{layer}.{part}")

    def reset(self, ids: Value, state: list[State[Value]]) -> list[State[Value]]:
        """Replace the state of rows that read END by the initial one."""
        if self.config.end_id is None:
            return state
        is_end = ids.apply("Equal", self.graph.constant(np.array(self.config.end_id, np.int64)))[..., None]
        return [
            tuple(is_end.apply("Where", self.initial(layer, part), value) for part, value in enumerate(parts))
            for layer, parts in enumerate(state)
        ]

    def step(self, ids: Value, state: list[State[Value]]) -> tuple[Value, list[State[Value]]]:
        """Map ids (B,) and for each layer a state, of arrays (B, H) or (D, B, H), to logits (B, V) and the new state.

        The latter have the D latest states, oldest first.
        """
        state = self.reset(ids, state)
        below, outputs, new_state = self.vectors(ids), [], []
        links = _Links(self, below)
        for index, layer in enumerate(self.layers):
            dilation = dilation_of(self.config, index)
            oldest = tuple(part if dilation == 1 else part[0] for part in state[index])
            x = layer.product("ih", links.along_depth[0] if links.along_depth else below)
            latest = self._cell_step(x, layer, oldest)
            if self.config.zoneout:
                kept = 1 - self.config.zoneout
                latest = tuple(before + kept * (after - before) for before, after in zip(oldest, latest, strict=True))
            new_state.append(
                latest
                if dilation == 1
                else tuple(
                    _concatenate([queue.part(1, dilation), new.stacked()], axis=0)
                    for queue, new in zip(state[index], latest, strict=True)
                )
            )
            below = self.depth.join(links, index, below, latest[0])
            outputs.append(below)
        top = sum(outputs[1:], start=outputs[0]) if self.config.sum_outputs else below
        return self.linear("output", top), new_state

    def _cell_step(self, x: Value, layer: _Layer, state: State[Value]) -> State[Value]:
        """Record the cell's equations. Raises UsageError where those of another package use more than `Ops` has."""
        try:
            return self.cell.step(self.ops, x, layer.product, state, layer.extras)
        except (AttributeError, TypeError) as error:
            if self.config.cell in CELLS:
                raise
            raise UsageError(
                f"The cell {self.config.cell} computes what cannot be written to a .onnx file: {error}.\n"
                "Export a .zip instead."
            ) from error


class _Links:
    """The weights of a depth in one step; see `model.depths.Links`."""

    def __init__(self, step: _Step, vectors: Value) -> None:
        """Compute the initial state of the LSTM along depth, if there is one, from vectors (B, E)."""
        self._step = step
        self.along_depth: State[Value] = ()
        if step.depth.has_lstm:
            self.along_depth = tuple(step.ops.split(step.linear("bottom", vectors), 2))

    def gate(self, layer: int, x: Value) -> Value:
        return self._step.linear(f"highways.{layer - 1}", x).apply("Sigmoid")

    def climb(self, layer: int, x: Value) -> Value:
        grid = self._step.grids[layer]
        self.along_depth = Lstm.step(self._step.ops, grid.product("ih", x), grid.product, self.along_depth, {})
        return self.along_depth[0]


def onnx_graph(config: Config, tensors: Mapping[str, NDArray[Any]]) -> GraphProto:
    """Build the graph of a model from the weights of `model.safetensors`.

    Raises CheckpointError if one is missing or has another shape, UsageError for a cell that cannot be written.
    """
    graph = Graph()
    step = _Step(config, tensors, Graph(graph))
    num_parts, num_rows = step.cell.num_states, num_states(config)
    dilations = [dilation_of(config, layer) for layer in range(step.num_layers)]
    before: list[Value] = []
    unused: list[list[Value]] = []
    for layer, dilation in enumerate(dilations):
        rows = graph.value("state")[layer]
        for part in range(num_parts):
            before.append(rows[part] if dilation == 1 else rows.part(part * dilation, (part + 1) * dilation))
        # S is that of the layer with the largest dilation; the rest of the others stays as it is.
        used = num_parts * dilation
        unused.append([rows.part(used, num_rows)] if used < num_rows else [])
    *after, logits = graph.nodes_of(
        "Scan",
        *before,
        graph.value("ids"),
        num_outputs=len(before) + 1,
        body=_body(step),
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_output_axes=[1],
    )
    layers = []
    for layer, dilation in enumerate(dilations):
        parts = after[layer * num_parts : (layer + 1) * num_parts]
        whole = [part.stacked() if dilation == 1 else part for part in parts]
        layers.append(_concatenate([*whole, *unused[layer]], axis=0).stacked())
    for value, name in zip((logits, _concatenate(layers, axis=0)), OUTPUTS, strict=True):
        graph.nodes.append(helper.make_node("Identity", [value.name], [name]))
    shape = (step.num_layers, num_rows, "batch", step.hidden_size)
    shapes: dict[str, tuple[str | int, ...]] = {
        "ids": ("batch", "time"),
        "state": shape,
        "logits": ("batch", "time", step.vocab_size),
        "new_state": shape,
    }
    described = {
        name: helper.make_tensor_value_info(name, TensorProto.INT64 if name == "ids" else TensorProto.FLOAT, sizes)
        for name, sizes in shapes.items()
    }
    inputs, outputs = ([described[name] for name in names] for names in (INPUTS, OUTPUTS))
    return helper.make_graph(graph.nodes, "charrnn", inputs, outputs, graph.initializers())


def _body(step: _Step) -> GraphProto:
    """Build the body of the Scan: the state of each layer and an id (B,) to the new state and the logits (B, V)."""
    body, num_parts = step.graph, step.cell.num_states
    before = [[f"layer_{layer}_state_{part}" for part in range(num_parts)] for layer in range(step.num_layers)]
    logits, after = step.step(body.value("id"), [tuple(map(body.value, parts)) for parts in before])

    def described(names: Iterable[str]) -> list[ValueInfoProto]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]

    return helper.make_graph(
        body.nodes,
        "step",
        [*described(chain(*before)), helper.make_tensor_value_info("id", TensorProto.INT64, None)],
        described(value.name for value in (*chain(*after), logits)),
    )

"""A model in one .onnx file: the network as an ONNX graph, the alphabet as metadata, and a check in
onnxruntime.

The graph maps ids (B, T) and a state (L, S, B, H) to logits (B, T, V) and the state after the last
character. Its body, a Scan over the characters, is the walk of `model.walk`, computed with values
that record their operations. Weights keep their names and are float32.

`torch.onnx.export` does not replace it (torch 2.13, benchmarks/LOG.md, 2026-11-27). The exporter
that needs no further package has no complex numbers and refuses the cell `unitary`; of `rglru` it
writes a softplus whose error is 64 times ours. The other one needs onnxscript, takes seconds, and
writes files for newer runtimes. With a loop over the characters, which calls of several characters
need, its file of `unitary` is refused by onnxruntime, and the others are 1.5 to 2.3 times as large.

Shapes: B batch, T time, V vocabulary, E embedding, H hidden, L layers, S state vectors per layer.
Needs the package onnx; the check needs onnxruntime (both: extra `onnx`).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain, count
from operator import methodcaller
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from charrnn.api import Model
from charrnn.config.settings import Config, resolved
from charrnn.errors import CharRNNError, UsageError
from charrnn.model.cell_types import CELLS, Cell, CellState, Ops
from charrnn.model.shapes import check_shapes
from charrnn.model.stepper import Stepper
from charrnn.model.walk import Architecture, Walk
from charrnn.version import __version__

MAX_BYTES = 2_000_000_000
"""Most bytes of weights: protobuf, the format of the file, ends at 2 GiB."""
CHECKED_CHARS = 1_000
"""Characters that the check reads."""
TOLERANCE = 1e-4
"""Allowed difference after one character, as a share of the largest value: a hundred times the
rounding of float32 products with 1,000 terms, and far less than what a wrong weight makes."""
OPSET = 17
"""Version of the operators: that of ONNX 1.12 of 2022, the first one with a Fourier transform."""
IR_VERSION = 8
"""Version of the file format, of the same release."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxCheck:
    """How closely onnxruntime computes what the model computes, over a text that the model
    wrote."""

    num_chars: int
    """Characters of the text."""
    max_difference: float
    """The largest absolute difference of a logit, with the state carried through the whole text."""


class Graph:
    """Nodes in the order in which they are computed, and the constants that they use."""

    def __init__(self, outer: Graph | None = None) -> None:
        """Start a graph, or the body of a loop in an `outer` one, whose constants and values the
        body may use."""
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {} if outer is None else outer.constants
        self._numbers: count[int] = count() if outer is None else outer._numbers

    def constant(self, array: NDArray[Any], name: str | None = None) -> Value:
        """Return a constant; those without a name are kept once, by their values."""
        if name is None:
            # The type is in the name: the same numbers as floats and as integers are two constants.
            numbers = [*array.shape, *array.ravel().tolist()]
            name = "_".join(["constant", str(array.dtype), *map(str, numbers)])

        self.constants[name] = array
        return Value(self, name)

    def integers(self, values: int | Sequence[int]) -> Value:
        """Return a constant of one whole number, or of several."""
        return self.constant(np.array(values, np.int64))

    def nodes_of(
        self, operator: str, *inputs: Value, num_outputs: int = 1, **attributes: Any
    ) -> list[Value]:
        """Add a node and return its outputs."""
        names = [f"{operator}_{next(self._numbers)}" for _ in range(num_outputs)]
        self.nodes.append(
            helper.make_node(operator, [one.name for one in inputs], names, **attributes)
        )
        return [Value(self, name) for name in names]


OPERATORS = {
    np.add: "Add",
    np.subtract: "Sub",
    np.multiply: "Mul",
    np.true_divide: "Div",
    np.negative: "Neg",
}
"""The nodes of Python's operators, by the function of NumPy that each calls."""


class Value(NDArrayOperatorsMixin):
    """A tensor that a graph computes. Computing with it adds nodes to the graph.

    It has the operators that `model.cell_types.Array` allows the equations of cells.
    """

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph = graph
        self.name = name

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any
    ) -> Value:
        """Add the node of an operator. Raises TypeError for another function of NumPy."""
        if ufunc not in OPERATORS or method != "__call__":
            raise TypeError(f"{ufunc.__name__} of an array")

        # A number in an equation, such as the 1 of `1 - gate`, becomes a constant.
        values = [
            one if isinstance(one, Value) else self.graph.constant(np.array(one, np.float32))
            for one in operands
        ]
        return self.graph.nodes_of(OPERATORS[ufunc], *values)[0]

    def __getitem__(self, index: Any) -> Value:
        """Return one entry along the first axis, or the same with an axis of size 1 at the end.

        Raises UsageError for another index, which only the cell of another package can use.
        """
        if isinstance(index, int):
            return self.apply("Gather", self.graph.integers(index), axis=0)
        if index == (..., None):
            return self.apply("Unsqueeze", self.graph.integers([-1]))

        raise UsageError(
            f"The cell indexes an array by {index!r}, which cannot be written to a .onnx"
            " file.\nExport a .zip instead."
        )

    @property
    def T(self) -> Value:
        """The transposed matrix."""
        return self.apply("Transpose")

    def sum(self, axis: int | None = None) -> Value:
        """Add up all entries, or those along an axis."""
        # ReduceSum without axes adds up all entries.
        if axis is None:
            return self.apply("ReduceSum", keepdims=0)
        return self.apply("ReduceSum", self.graph.integers([axis]), keepdims=0)

    def apply(self, operator: str, *others: Value, **attributes: Any) -> Value:
        """Add a node whose first input is this value, and return its output."""
        return self.graph.nodes_of(operator, self, *others, **attributes)[0]

    def stacked(self) -> Value:
        """Return the same with an axis of size 1 at the beginning."""
        return self.apply("Unsqueeze", self.graph.integers([0]))


def _concatenate(parts: Sequence[Value], axis: int) -> Value:
    # The node of one part would copy it.
    if len(parts) == 1:
        return parts[0]
    return parts[0].apply("Concat", *parts[1:], axis=axis)


def _split(x: Value, num_blocks: int) -> Sequence[Value]:
    """Split along the last axis."""
    if num_blocks == 1:
        return [x]
    return x.graph.nodes_of("Split", x, num_outputs=num_blocks, axis=-1)


def _fourier(re: Value, im: Value, num_points: int, *, is_inverse: bool) -> tuple[Value, Value]:
    """Transform (B, N) along the last axis, divided by sqrt(N); the operator divides its inverse by
    N instead."""
    # The operator wants complex numbers as pairs (B, N, 2).
    pairs = _concatenate([re[..., None], im[..., None]], axis=-1)
    found = pairs.apply("DFT", axis=1, inverse=int(is_inverse))

    # A unitary transform is its own inverse up to the sign, so both have the same scale.
    scale = math.sqrt(num_points)
    if not is_inverse:
        scale = 1 / scale
    scaled = found * scale

    real, imaginary = _split(scaled, num_blocks=2)
    axis = scaled.graph.integers([-1])
    return real.apply("Squeeze", axis), imaginary.apply("Squeeze", axis)


def onnx_ops(hidden_size: int) -> Ops[Value]:
    """Return the equations' functions as ONNX operators, for layers of `hidden_size` units."""
    # These operators have the names of the functions, capitalized.
    names = ("sigmoid", "tanh", "relu", "sqrt", "cos", "sin", "softplus")
    functions: dict[str, Any] = {name: methodcaller("apply", name.title()) for name in names}

    return Ops(
        **functions,
        linear=lambda x, weight: x.apply("Gemm", weight, transB=1),
        split=_split,
        cat=lambda parts: _concatenate(parts, axis=-1),
        permute=lambda x, order: x.apply("Gather", order, axis=-1),
        fft=lambda re, im: _fourier(re, im, num_points=hidden_size // 2, is_inverse=False),
        ifft=lambda re, im: _fourier(re, im, num_points=hidden_size // 2, is_inverse=True),
        # A clamped cell is part of an experiment, never of an exported model.
        clamp=lambda memory: memory,
    )


def _tensor_names(product: str) -> tuple[str, str]:
    """Return the names of the weight and the bias of a product of the walk, which are those of
    `torch.nn`."""
    prefix, _, last = product.rpartition(".")
    if prefix.startswith(("layers", "grids")):
        return f"{prefix}.weight_{last}_l0", f"{prefix}.bias_{last}_l0"
    return f"{product}.weight", f"{product}.bias"


class _Walk(Walk[Value]):
    """The network at one character, recorded in the body of the Scan."""

    def __init__(self, config: Config, tensors: Mapping[str, NDArray[Any]], graph: Graph) -> None:
        """Add the weights to the graph. Raises CheckpointError if one is missing or has another
        shape."""
        super().__init__(Architecture.of(config))
        self.graph = graph
        self.config = config
        self.tensors = tensors
        self.vocab_size = check_shapes(config, tensors)
        self.ops = onnx_ops(self.architecture.hidden_size)
        self.before: list[CellState[Value]] = []
        """For each layer its state, of arrays (B, H)."""
        self.after: list[CellState[Value]] = []
        """The same after the character."""
        # The recurrent weights are those that a cell computes from its parameters, such as
        # orthogonal ones: the graph gets the results, not the computation.
        for name, weights in self.architecture.linear_weights(tensors).items():
            for tensor, array in zip(_tensor_names(name), weights, strict=True):
                graph.constant(np.asarray(array, np.float32), tensor)

        if "embedding.weight" in tensors:
            graph.constant(np.asarray(tensors["embedding.weight"], np.float32), "embedding.weight")

    def step(self, ids: Value) -> Value:
        """Map ids (B,) and `before` to logits (B, V) and `after`."""
        if self.config.end_id is not None:
            self._reset(ids)

        # The vectors of characters are embeddings, or one-hot.
        if self.config.embedding_size == "one-hot":
            vocab_size = self.graph.constant(np.array(self.vocab_size), "vocab_size")
            values = self.graph.constant(np.array([0, 1], np.float32), "one_hot")
            vectors = ids.apply("OneHot", vocab_size, values)
        else:
            vectors = Value(self.graph, "embedding.weight").apply("Gather", ids, axis=0)

        return self.product("output", self.read(vectors))

    def product(self, name: str, x: Value) -> Value:
        # One node for the product and the bias; the walk asks for them by name.
        weight, bias = _tensor_names(name)
        return x.apply(
            "Gemm",
            Value(self.graph, weight),
            Value(self.graph, bias),
            transB=1,
        )

    def extras_of(self, layer: int) -> dict[str, Value]:
        # Computed beforehand, as the recurrent weights are: the graph has only results.
        arrays = self.architecture.extras_of(layer, self.tensors)
        return {
            name: self.graph.constant(array, f"layers.{layer}.{name}")
            for name, array in arrays.items()
        }

    def oldest(self, layer: int) -> CellState[Value]:
        return self.before[layer][: self.architecture.cell.num_states]

    def append(self, layer: int, latest: CellState[Value]) -> None:
        # Identity: an output of the body cannot be one of its inputs.
        queued = [part.apply("Identity") for part in self.before[layer][len(latest) :]]
        self.after.append((*latest, *queued))

    def step_cell(
        self,
        cell: type[Cell],
        prefix: str,
        ops: Ops[Value],
        x: Value,
        state: CellState[Value],
        extras: Mapping[str, Value],
    ) -> CellState[Value]:
        """Record the cell's equations. Raises UsageError where those of another package use more
        than `Ops` has."""
        try:
            return super().step_cell(cell, prefix=prefix, ops=ops, x=x, state=state, extras=extras)
        except (AttributeError, TypeError) as error:
            # In a cell of charrnn it is a mistake of charrnn.
            if self.config.cell in CELLS:
                raise
            raise UsageError(
                f"The cell {self.config.cell} computes what cannot be written to a .onnx file:"
                f" {error}.\nExport a .zip instead."
            ) from error

    def _reset(self, ids: Value) -> None:
        """Replace the state of rows that read END by the initial one."""
        assert self.config.end_id is not None
        is_end = ids.apply("Equal", self.graph.integers(self.config.end_id))[..., None]
        for layer, parts in enumerate(self.before):
            self.before[layer] = tuple(
                is_end.apply("Where", self._initial(layer, part), value)
                for part, value in enumerate(parts)
            )

    def _initial(self, layer: int, part: int) -> Value:
        """Return a part (H,) of the initial state of a layer."""
        # Zero unless it was learned.
        initial = np.zeros(self.architecture.hidden_size, np.float32)
        if "learned_state" in self.tensors:
            learned = self.tensors["learned_state"][layer, part]
            initial = learned.astype(np.float32).reshape(-1)
        return self.graph.constant(initial, f"initial_state.{layer}.{part}")


def onnx_graph(config: Config, tensors: Mapping[str, NDArray[Any]]) -> GraphProto:
    """Build the graph of a model from the weights of `model.safetensors`.

    Raises CheckpointError if one is missing or has another shape, UsageError for what cannot be
    written: the depths dilated and attention, or a cell of another package.
    """
    if config.depth in ("dilated", "attention"):
        raise UsageError(
            f"The depth {config.depth} cannot be written to a .onnx file. Export a .zip instead."
        )

    # The body has its own nodes; the constants of both are the weights of the file.
    graph = Graph()
    walk = _Walk(config, tensors=tensors, graph=Graph(graph))
    network = walk.architecture
    num_parts = network.num_states
    layers = range(network.num_layers)

    # A Scan carries each part of the state by itself.
    before = []
    for layer in layers:
        for part in range(num_parts):
            before.append(Value(graph, "state")[layer][part])

    # Time-major around the Scan: the axes of the Scan itself end the process of onnxruntime by a
    # division by zero where there are no characters. Names are what its errors show.
    ids = _checked_ids(graph, vocab_size=walk.vocab_size).apply("Transpose", perm=[1, 0])
    *after, logits = graph.nodes_of(
        "Scan",
        *before,
        ids,
        num_outputs=len(before) + 1,
        name="over_one_or_more_characters",
        body=_body(walk),
        num_scan_inputs=1,
    )
    logits = logits.apply("Transpose", perm=[1, 0, 2])

    # Back to one array (L, S, B, H).
    stacked = [part.stacked() for part in after]
    states = []
    for layer in layers:
        parts = stacked[layer * num_parts : (layer + 1) * num_parts]
        states.append(_concatenate(parts, axis=0).stacked())
    new_state = _concatenate(states, axis=0)

    # Nodes are numbered, but the outputs of the file have names.
    graph.nodes.append(helper.make_node("Identity", [logits.name], ["logits"]))
    graph.nodes.append(helper.make_node("Identity", [new_state.name], ["new_state"]))

    # A dimension with a name may have any size.
    state = (network.num_layers, num_parts, "batch", network.hidden_size)
    inputs = [
        _described("ids", kind=TensorProto.INT64, shape=("batch", "time")),
        _described("state", shape=state),
    ]
    outputs = [
        _described("logits", shape=("batch", "time", walk.vocab_size)),
        _described("new_state", shape=state),
    ]

    # C order: the bytes of a transposed array would be in another.
    weights = [
        numpy_helper.from_array(np.asarray(array, order="C"), name)
        for name, array in graph.constants.items()
    ]
    return helper.make_graph(
        nodes=graph.nodes,
        name="charrnn",
        inputs=inputs,
        outputs=outputs,
        initializer=weights,
    )


def _checked_ids(graph: Graph, vocab_size: int) -> Value:
    """Return the ids (B, T), or an error of the runtime where one is outside of the alphabet."""
    # A Gather counts negative indices from the end, and a OneHot takes any: ids are looked up in
    # the list of all ids, negative ones behind its end.
    ids = Value(graph, "ids")
    is_negative = ids.apply("Less", graph.integers(0))
    indices = is_negative.apply("Where", graph.integers(vocab_size), ids)
    allowed = graph.constant(np.arange(vocab_size), "allowed_ids")
    return allowed.apply("Gather", indices, name=f"ids_from_0_to_{vocab_size - 1}")


def _described(
    name: str, kind: int = TensorProto.FLOAT, shape: Sequence[str | int] | None = None
) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _body(walk: _Walk) -> GraphProto:
    """Build the body of the Scan: the state of each layer and an id (B,) to the new state and the
    logits (B, V)."""
    # A Scan passes its state by position: the names only have to differ.
    parts = range(walk.architecture.num_states)
    for layer in range(walk.architecture.num_layers):
        names = [f"layer_{layer}_state_{part}" for part in parts]
        walk.before.append(tuple(Value(walk.graph, name) for name in names))

    # Recorded now: `step` replaces `before` where a document ends.
    inputs = [_described(value.name) for value in chain(*walk.before)]
    inputs.append(_described("id", TensorProto.INT64))

    logits = walk.step(Value(walk.graph, "id"))
    outputs = [_described(value.name) for value in (*chain(*walk.after), logits)]
    return helper.make_graph(
        nodes=walk.graph.nodes,
        name="step",
        inputs=inputs,
        outputs=outputs,
    )


def onnx_to_bytes(model: Model) -> bytes:
    """Return the content of an .onnx file. The same model gives the same bytes.

    Raises CheckpointError if a weight is missing or has another shape, UsageError for a model that
    is too large for the format, the depths dilated and attention, and some cells of other packages.
    """
    num_bytes = 4 * sum(array.size for array in model.tensors.values())
    if num_bytes > MAX_BYTES:
        raise UsageError(
            f"The weights take {num_bytes:,} bytes; a .onnx file can hold {MAX_BYTES:,}. Export a"
            " .zip instead."
        )

    # The versions are fixed: those of the installed onnx would change the bytes, and a runtime that
    # is older could not read the file.
    file = helper.make_model(
        onnx_graph(model.config, model.tensors),
        producer_name="charrnn",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        doc_string=(
            "A character-level recurrent language model. docs/export.md of charrnn explains its"
            " inputs."
        ),
    )
    helper.set_model_props(file, metadata(model))

    # protobuf promises no order of maps otherwise.
    return bytes(file.SerializeToString(deterministic=True))


def metadata(model: Model) -> dict[str, str]:
    """Return the metadata of the file: strings by name, among them no path and no text."""
    config = model.config
    found = {
        "charrnn": __version__,
        "name": model.name,
        "alphabet": json.dumps(model.vocab.to_json(), ensure_ascii=True),
        "cell": config.cell,
        "depth": config.depth,
        "layers": str(resolved(config.num_layers)),
        "units": str(resolved(config.hidden_size)),
        "step": str(model.step),
    }

    # What a model does not have is missing.
    if model.val_nats is not None:
        found["val_nats"] = repr(model.val_nats)
        found["val_bpc"] = repr(model.val_nats / math.log(2))
    if config.end_id is not None:
        found["end_id"] = str(config.end_id)
    if "learned_state" in model.tensors:
        learned = model.tensors["learned_state"].astype(float)
        found["initial_state"] = json.dumps(learned.tolist())
    return found


def check_onnx(content: bytes, stepper: Stepper, ids: NDArray[Any]) -> OnnxCheck | None:
    """Compare the content of a file in onnxruntime with the model over ids (N,); None without
    onnxruntime.

    Each character is read twice: from the state that the model has before it, where the results
    must agree, and in one call for all characters, whose largest difference is returned. Raises
    CharRNNError where they do not agree.
    """
    if find_spec("onnxruntime") is None:
        return None
    # Its uploader of usage data starts on import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more threads wait for each other at every character
    options.log_severity_level = 3  # errors only: its warnings are about speed
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    # From the state of the model, so that differences do not add up: a wrong weight shows at the
    # first character that uses it.
    ids = ids.astype(np.int64)
    state = stepper.initial_state(1)
    initial = state.vectors
    expected = np.empty((len(ids), stepper.vocab_size), np.float32)
    for place, char in enumerate(ids):
        found = session.run(None, {"ids": np.array([[char]]), "state": state.vectors})
        logits, state = stepper.step(np.array([char]), state)
        expected[place] = logits[0]
        for one, other in zip(found, (logits[:, None], state.vectors), strict=True):
            _check_close(one, expected=other, place=place)

    # Its own state, as programs use the file; how far that drifts is reported, and no fault.
    carried, _ = session.run(None, {"ids": ids[None], "state": initial})
    largest = np.abs(carried[0] - expected).max()
    return OnnxCheck(num_chars=len(ids), max_difference=float(largest))


def _check_close(found: NDArray[np.float32], expected: NDArray[np.float32], place: int) -> None:
    """Raise CharRNNError unless both are the same up to rounding."""
    difference = float(np.abs(found - expected).max())
    largest = float(np.abs(expected).max())
    if not difference <= TOLERANCE * max(1.0, largest):  # also for nan
        raise CharRNNError(
            f"onnxruntime computes something else than the model at character {place}: a difference"
            f" of {difference:.2g}, where {TOLERANCE:g} of {largest:.2g} is allowed.\nNothing was"
            " written. Update onnxruntime, or export a .zip."
        )

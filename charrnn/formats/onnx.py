"""A model in one .onnx file: the network as an ONNX graph, the alphabet as metadata, and a check in
onnxruntime.

The graph maps ids (B, T) and a state (L, S, B, H) to logits (B, T, V) and the state after the last
character. Its body, a Scan over the characters, is the walk of `model.walk`, computed with values
that record their operations. Weights keep their names and are float32.

`torch.onnx.export` does not replace it (torch 2.13, benchmarks/LOG.md, 2026-11-27). The exporter
that needs no further package has no complex numbers and refuses the cell `unitary`; of `rglru` it
writes a softplus whose error is 64 times ours. The other exporter needs onnxscript, takes seconds,
and writes files for newer runtimes. With a loop over the characters, which calls of several
characters need, its file of `unitary` is refused by onnxruntime, and the files of all other cells
are 1.5 to 2.3 times as large.

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
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from charrnn.config.settings import Config, resolved
from charrnn.errors import CharRNNError, UsageError
from charrnn.formats.model_folder import without_private_name
from charrnn.generation.sample_options import SampleOptions
from charrnn.model.cell_types import CELLS, Cell, CellState, Ops
from charrnn.model.shapes import check_shapes
from charrnn.model.stepper import Stepper
from charrnn.model.walk import Architecture, Walk
from charrnn.runs.checkpoint import Tensors
from charrnn.system.arrays import Float32Array
from charrnn.system.progress import tell, warn
from charrnn.text.vocab import IdArray
from charrnn.trained_model import TrainedModel
from charrnn.version import __version__

MAX_BYTES = 2_000_000_000
"""Most bytes of weights: protobuf, the format of the file, ends at 2 GiB."""
CHECKED_CHARS = 1_000
"""Characters that the check reads."""
TOLERANCE = 1e-4
"""Allowed difference after one character, as a share of the largest value: a hundred times the
rounding of float32 products with 1,000 terms, and far less than the difference that a wrong weight
makes."""
OPSET = 17
"""Version of the operators, from ONNX 1.12 of 2022, the first with a Fourier transform."""
IR_VERSION = 8
"""Version of the file format, from the same release."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxCheck:
    """How closely onnxruntime and the model agree over a text that the model wrote."""

    num_chars: int
    """Characters of the text."""
    max_difference: float
    """The largest absolute difference of a logit, with the state carried through the whole text."""


class Graph:
    """Nodes in the order in which they are computed, and the constants that they use."""

    def __init__(self, outer: Graph | None = None) -> None:
        """Start a graph, or the body of a loop in the graph `outer`. The body may use its constants
        and values."""
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {} if outer is None else outer.constants
        self._numbers: count[int] = count() if outer is None else outer._numbers

    def constant(self, array: NDArray[np.generic], name: str | None = None) -> Value:
        """Return a constant. Equal constants without a name are stored once."""
        if name is None:
            # The type is in the name: the same numbers as floats and as integers are two constants.
            numbers = [*array.shape, *array.ravel().tolist()]
            name = "_".join(["constant", str(array.dtype), *map(str, numbers)])

        self.constants[name] = array
        return Value(self, name)

    def integers(self, values: int | Sequence[int]) -> Value:
        """Return a constant of a whole number, or of several."""
        return self.constant(np.array(values, np.int64))

    def nodes_of(
        self, operator: str, *inputs: Value, num_outputs: int = 1, **attributes: Any
    ) -> list[Value]:
        """Add a node and return its outputs."""
        names = [f"{operator}_{next(self._numbers)}" for _ in range(num_outputs)]
        self.nodes.append(
            helper.make_node(operator, [value.name for value in inputs], names, **attributes)
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

    It has the operators of arrays that the equations of `model.cell_types` use.
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
            operand
            if isinstance(operand, Value)
            else self.graph.constant(np.array(operand, np.float32))
            for operand in operands
        ]
        return self.graph.nodes_of(OPERATORS[ufunc], *values)[0]

    def __getitem__(self, index: object) -> Value:
        """Return an entry along the first axis, or this value with an axis of size 1 at the end.

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

    def sum(self, axis: int | None = None) -> Value:
        """Add up all entries, or the entries along an axis."""
        # ReduceSum without axes adds up all entries.
        if axis is None:
            return self.apply("ReduceSum", keepdims=0)
        return self.apply("ReduceSum", self.graph.integers([axis]), keepdims=0)

    def apply(self, operator: str, *operands: Value, **attributes: Any) -> Value:
        """Add a node whose first input is this value, and return its output."""
        return self.graph.nodes_of(operator, self, *operands, **attributes)[0]

    def stacked(self) -> Value:
        """Return this value with an axis of size 1 at the beginning."""
        return self.apply("Unsqueeze", self.graph.integers([0]))


def _concatenate(values: Sequence[Value], axis: int) -> Value:
    # The node of a single value would copy it.
    if len(values) == 1:
        return values[0]
    return values[0].apply("Concat", *values[1:], axis=axis)


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
    transformed = pairs.apply("DFT", axis=1, inverse=int(is_inverse))

    # A unitary transform is its own inverse up to the sign, so both have the same scale.
    scale = math.sqrt(num_points)
    if not is_inverse:
        scale = 1 / scale
    scaled = transformed * scale

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
        cat=lambda values: _concatenate(values, axis=-1),
        permute=lambda x, order: x.apply("Gather", order, axis=-1),
        fft=lambda re, im: _fourier(re, im, num_points=hidden_size // 2, is_inverse=False),
        ifft=lambda re, im: _fourier(re, im, num_points=hidden_size // 2, is_inverse=True),
        # A clamped cell is part of an experiment, never of an exported model.
        clamp=lambda memory: memory,
    )


def _tensor_names(product: str) -> tuple[str, str]:
    """Return the names of the weight and the bias of a product of the walk, which are the names in
    `torch.nn`."""
    prefix, _, last = product.rpartition(".")
    if prefix.startswith(("layers", "grids")):
        return f"{prefix}.weight_{last}_l0", f"{prefix}.bias_{last}_l0"
    return f"{product}.weight", f"{product}.bias"


class _GraphWalk(Walk[Value]):
    """The network at one character, recorded in the body of the Scan."""

    def __init__(self, config: Config, tensors: Tensors, graph: Graph) -> None:
        """Add the weights to the graph. Raises CheckpointError if a weight is missing or has
        another shape."""
        super().__init__(Architecture.of(config))
        self.graph = graph
        self.config = config
        self.tensors = tensors
        self.vocab_size = check_shapes(config, tensors)
        self.ops = onnx_ops(self.architecture.hidden_size)
        self.before: list[CellState[Value]] = []
        """For each layer its state before the character, of arrays (B, H)."""
        self.after: list[CellState[Value]] = []
        """For each layer its state after the character."""
        # A cell may compute its recurrent weights from its parameters, such as orthogonal matrices:
        # the graph gets the results, not the computation.
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
        # A single node for the product and the bias; the walk asks for them by name.
        weight, bias = _tensor_names(name)
        return x.apply(
            "Gemm",
            Value(self.graph, weight),
            Value(self.graph, bias),
            transB=1,
        )

    def extras_of(self, layer: int) -> dict[str, Value]:
        # Like the recurrent weights, the extras are computed beforehand: the graph has only
        # results.
        arrays = self.architecture.extras_of(layer, self.tensors)
        return {
            name: self.graph.constant(array, f"layers.{layer}.{name}")
            for name, array in arrays.items()
        }

    def oldest(self, layer: int) -> CellState[Value]:
        return self.before[layer][: self.architecture.cell.num_states]

    def append(self, layer: int, latest: CellState[Value]) -> None:
        # Identity: an output of the body cannot be one of its inputs.
        queued = [vector.apply("Identity") for vector in self.before[layer][len(latest) :]]
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
        """Record the cell's equations. Raises UsageError if the cell of another package uses more
        than `Ops` has."""
        try:
            return super().step_cell(cell, prefix=prefix, ops=ops, x=x, state=state, extras=extras)
        except (AttributeError, TypeError) as error:
            # In a cell of charrnn the error is a bug of charrnn.
            if self.config.cell in CELLS:
                raise
            raise UsageError(
                f"The cell {self.config.cell} computes what cannot be written to a .onnx file:"
                f" {error}.\nExport a .zip instead."
            ) from error

    def _reset(self, ids: Value) -> None:
        """Replace the state of rows that read END by the initial state."""
        assert self.config.end_id is not None
        is_end = ids.apply("Equal", self.graph.integers(self.config.end_id))[..., None]
        for layer, vectors in enumerate(self.before):
            self.before[layer] = tuple(
                is_end.apply("Where", self._initial(layer, index), vector)
                for index, vector in enumerate(vectors)
            )

    def _initial(self, layer: int, index: int) -> Value:
        """Return a vector (H,) of the initial state of a layer."""
        # Zeros unless the state was learned.
        initial = np.zeros(self.architecture.hidden_size, np.float32)
        if "learned_state" in self.tensors:
            learned = self.tensors["learned_state"][layer, index]
            initial = learned.astype(np.float32).reshape(-1)
        return self.graph.constant(initial, f"initial_state.{layer}.{index}")


def onnx_graph(config: Config, tensors: Tensors) -> GraphProto:
    """Build the graph of a model from the weights of `model.safetensors`.

    Raises CheckpointError if a weight is missing or has another shape. Raises UsageError for models
    that cannot be written: with the depths dilated and attention, or a cell of another package.
    """
    if config.depth in ("dilated", "attention"):
        raise UsageError(
            f"The depth {config.depth} cannot be written to a .onnx file. Export a .zip instead."
        )

    # The body has its own nodes; the constants of both are the weights of the file.
    graph = Graph()
    walk = _GraphWalk(config, tensors=tensors, graph=Graph(graph))
    network = walk.architecture
    num_states = network.num_states
    layers = range(network.num_layers)

    # A Scan carries each vector of the state by itself.
    before = []
    for layer in layers:
        for index in range(num_states):
            before.append(Value(graph, "state")[layer][index])

    # Time-major around the Scan: the axes of the Scan itself end the process of onnxruntime by a
    # division by zero where there are no characters. Its errors show the names.
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
    stacked = [vector.stacked() for vector in after]
    states = []
    for layer in layers:
        vectors = stacked[layer * num_states : (layer + 1) * num_states]
        states.append(_concatenate(vectors, axis=0).stacked())
    new_state = _concatenate(states, axis=0)

    # Nodes are numbered, but the outputs of the file have names.
    graph.nodes.append(helper.make_node("Identity", [logits.name], ["logits"]))
    graph.nodes.append(helper.make_node("Identity", [new_state.name], ["new_state"]))

    # A dimension with a name may have any size.
    state = (network.num_layers, num_states, "batch", network.hidden_size)
    inputs = [
        _described("ids", kind=TensorProto.INT64, shape=("batch", "time")),
        _described("state", shape=state),
    ]
    outputs = [
        _described("logits", shape=("batch", "time", walk.vocab_size)),
        _described("new_state", shape=state),
    ]

    # C order: the bytes of a transposed array would be in another order.
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
    """Return the ids (B, T); the runtime raises an error for an id outside of the alphabet."""
    # A Gather counts negative indices from the end, and a OneHot takes any: ids are looked up in
    # the list of all ids, negative ids behind its end.
    ids = Value(graph, "ids")
    is_negative = ids.apply("Less", graph.integers(0))
    indices = is_negative.apply("Where", graph.integers(vocab_size), ids)
    allowed = graph.constant(np.arange(vocab_size), "allowed_ids")
    return allowed.apply("Gather", indices, name=f"ids_from_0_to_{vocab_size - 1}")


def _described(
    name: str, kind: int = TensorProto.FLOAT, shape: Sequence[str | int] | None = None
) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _body(walk: _GraphWalk) -> GraphProto:
    """Build the body of the Scan: the state of each layer and an id (B,) to the new state and the
    logits (B, V)."""
    # A Scan passes its state by position: the names only have to differ.
    indices = range(walk.architecture.num_states)
    for layer in range(walk.architecture.num_layers):
        names = [f"layer_{layer}_state_{index}" for index in indices]
        walk.before.append(tuple(Value(walk.graph, name) for name in names))

    # The names are taken now, because `step` replaces `before` where a document ends.
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


def to_checked_bytes(model: TrainedModel, path: Path) -> bytes:
    """Return the content of an .onnx file, with the name of the file if the text is private, after
    a comparison with the model in onnxruntime. Raises the errors of `onnx_to_bytes` and
    `check_onnx`."""
    data = onnx_to_bytes(without_private_name(model, path.stem))

    # On a text that the model itself generates: all its characters are in the alphabet.
    options = SampleOptions(length=CHECKED_CHARS, temperature=1.0, seed=0, precision="fp32")
    ids = np.array(model.generator.draw_ids(options))
    check = check_onnx(data, stepper=model.stepper, ids=ids)
    if check is None:
        warn("the file was not checked, because onnxruntime is not installed")
    else:
        tell(
            f"onnxruntime read {check.num_chars:,} characters; the largest difference to the model"
            f" is {check.max_difference:.2g} (logits)"
        )
    return data


def onnx_to_bytes(model: TrainedModel) -> bytes:
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

    # The versions are fixed: the versions of the installed onnx would change the bytes, and an
    # older runtime could not read the file.
    file = helper.make_model(
        onnx_graph(model.config, model.tensors),
        producer_name="charrnn",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        doc_string=(
            "A character-level recurrent language model. docs/use/export.md of charrnn explains its"
            " inputs."
        ),
    )
    helper.set_model_props(file, metadata(model))

    # protobuf promises no order of maps otherwise.
    return bytes(file.SerializeToString(deterministic=True))


def metadata(model: TrainedModel) -> dict[str, str]:
    """Return the metadata of the file: strings by name, among them no path and no text."""
    config = model.config
    metadata = {
        "charrnn": __version__,
        "name": model.name,
        "alphabet": json.dumps(model.vocab.to_json(), ensure_ascii=True),
        "cell": config.cell,
        "depth": config.depth,
        "layers": str(resolved(config.num_layers)),
        "units": str(resolved(config.hidden_size)),
        "step": str(model.step),
    }

    # Keys for properties that the model does not have are left out.
    if model.val_nats is not None:
        metadata["val_nats"] = repr(model.val_nats)
        metadata["val_bpc"] = repr(model.val_nats / math.log(2))
    if config.end_id is not None:
        metadata["end_id"] = str(config.end_id)
    if "learned_state" in model.tensors:
        learned = model.tensors["learned_state"].astype(float)
        metadata["initial_state"] = json.dumps(learned.tolist())
    return metadata


def check_onnx(content: bytes, stepper: Stepper, ids: IdArray) -> OnnxCheck | None:
    """Compare the content of a file in onnxruntime with the model over ids (N,); None without
    onnxruntime.

    Each character is read twice: from the state that the model has before it, where the results
    must agree, and in a single call for all characters; the largest difference of that call is
    returned. Raises CharRNNError if the results of a character do not agree.
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
    for index, char in enumerate(ids):
        outputs = session.run(None, {"ids": np.array([[char]]), "state": state.vectors})
        logits, state = stepper.step(np.array([char]), state)
        expected[index] = logits[0]
        for output, array in zip(outputs, (logits[:, None], state.vectors), strict=True):
            _check_close(output, expected=array, index=index)

    # With its own state, as programs use the file. That may drift; how far is reported, and no
    # fault.
    carried, _ = session.run(None, {"ids": ids[None], "state": initial})
    largest = np.abs(carried[0] - expected).max()
    return OnnxCheck(num_chars=len(ids), max_difference=float(largest))


def _check_close(output: Float32Array, expected: Float32Array, index: int) -> None:
    """Raise CharRNNError unless both arrays are the same up to rounding."""
    difference = float(np.abs(output - expected).max())
    largest = float(np.abs(expected).max())
    if not difference <= TOLERANCE * max(1.0, largest):  # also for nan
        raise CharRNNError(
            f"onnxruntime computes something else than the model at character {index}: a difference"
            f" of {difference:.2g}, where {TOLERANCE:g} of {largest:.2g} is allowed.\nNothing was"
            " written. Update onnxruntime, or export a .zip."
        )

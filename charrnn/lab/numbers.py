"""Every number of a small network while it reads a text: products, gates, states, logits, losses. In NumPy, float64.

The equations are those of `model.walk`, called with products and functions that record arguments and results.

Shapes: E embedding (V for one-hot vectors), V vocabulary, H hidden; arrays have one row, (1, …).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.gates import INPUT_BLOCKS
from charrnn.config import Config, resolved
from charrnn.errors import UsageError, counted, named
from charrnn.lab.numbers_records import MAX_STEPS, MAX_UNITS, LayerNumbers, NetworkNumbers, NumberRow, StepNumbers
from charrnn.model.cells import Cell, Lstm, Ops, Unitary
from charrnn.model.portable_math import NUMPY
from charrnn.model.shapes import check_shapes
from charrnn.model.walk import Architecture, Walk

Doubles = NDArray[np.float64]
"""An array of float64."""

TANH = {
    "rnn": (("a", ""),),
    "gru": (("a_n", "n"),),
    "lstm": (("a_g", "g"), ("", "tanh(c)")),
    "peephole": (("a_g", "g"), ("", "tanh(c)")),
    "coupled": (("a_g", "g"), ("", "tanh(c)")),
    "mlstm": (("a_g", "g"), ("", "tanh(c)")),
    "antisymmetric": (("a_h", "tanh(a_h)"),),
}
"""Names of the argument and of the result of each tanh in `Cell.step`; "" where another row has that vector."""
RELU = {"irnn": (("a", ""),), "unitary": (("|z|+b", "|h|"),)}
"""The same for each relu."""
ARGUMENTS = {"mlstm": {"hh": "m"}}
"""What a recurrent weight is multiplied with, if it is not h."""


def compute_numbers(
    config: Config,
    tensors: Mapping[str, NDArray[Any]],
    vocabulary: Sequence[str],
    ids: NDArray[np.integer[Any]],
    *,
    name: str = "model",
) -> NetworkNumbers:
    """Compute every number of a network that reads ids (N,) from its initial state.

    Raises UsageError for more than MAX_UNITS units per layer or MAX_STEPS characters, CheckpointError for weights that
    do not fit.
    """
    if resolved(config.hidden_size) > MAX_UNITS:
        raise UsageError(
            f"{name} has {config.hidden_size} units per layer; the numbers of at most {MAX_UNITS} are listed.\n"
            f"Train a small network: {named('hidden_size', 3)} {named('embedding_size', 'one-hot')}."
        )
    if len(ids) > MAX_STEPS:
        raise UsageError(
            f"The text has {counted(len(ids), 'character')}; the numbers of at most {MAX_STEPS:,} are listed."
        )
    check_shapes(config, tensors)
    network = _Network(config, tensors, vocabulary)
    targets = [*(int(char) for char in ids[1:]), None]
    steps = tuple(network.step(int(char), target) for char, target in zip(ids, targets, strict=True))
    return NetworkNumbers(name=name, cell=config.cell, depth=config.depth, vocabulary=tuple(vocabulary), steps=steps)


def _units(size: int, letter: str = "") -> tuple[str, ...]:
    return tuple(f"{letter}{unit}" for unit in range(size))


def _row(name: str, values: Doubles, labels: Sequence[str]) -> NumberRow:
    return NumberRow(name, tuple(labels), tuple(values.reshape(-1).tolist()))


class _Network:
    """A network and its state, which `step` moves on by one character."""

    def __init__(self, config: Config, tensors: Mapping[str, NDArray[Any]], vocabulary: Sequence[str]) -> None:
        self.config, self.vocabulary = config, vocabulary
        self.architecture = Architecture.of(config)
        self._weights = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
        self.linear = self.architecture.linear_weights(self._weights)
        cell, size = self.architecture.cell, self.architecture.hidden_size
        self.extras: list[dict[str, Any]] = [
            {
                name: self._weights[f"layers.{layer}.{name}"].astype(np.int64 if kind == "permutation" else np.float64)
                for name, (_, kind) in cell.extras(size).items()
            }
            for layer in range(self.architecture.num_layers)
        ]
        self.queues = self._initial_queues()
        """For each layer the states from which its next characters continue, the next one first."""

    def _initial_queues(self) -> list[list[tuple[Doubles, ...]]]:
        learned, num_states = self._weights.get("learned_state"), self.architecture.cell.num_states
        queues = []
        for layer, dilation in enumerate(self.architecture.dilations):
            states = np.zeros((num_states, dilation, 1, self.architecture.hidden_size))
            if learned is not None:
                states += learned[layer, : num_states * dilation].reshape(states.shape)
            queues.append([tuple(states[:, place]) for place in range(dilation)])
        return queues

    def step(self, char: int, target: int | None) -> StepNumbers:
        """Read a character, and compare the prediction with the target."""
        if char == self.config.end_id:
            self.queues = self._initial_queues()
        vector = self._vector(char)
        entries = self.vocabulary if self.config.embedding_size == "one-hot" else _units(vector.shape[1])
        walk = _Walk(self)
        top = walk.read(vector)
        if self.config.sum_outputs:
            walk.rows.append(_row("sum", top, _units(self.architecture.hidden_size)))
        logits = walk.product("output", top)
        shifted = logits - logits.max()
        logprobs = shifted - np.log(np.exp(shifted).sum())
        return StepNumbers(
            character=self.vocabulary[char],
            target=None if target is None else self.vocabulary[target],
            input=_row("x", vector, entries),
            layers=tuple(walk.layers),
            output=tuple(walk.rows),
            logits=_row("logits", logits, self.vocabulary),
            probabilities=_row("softmax", np.exp(logprobs), self.vocabulary),
            loss=None if target is None else float(-logprobs[0, target]),
        )

    def _vector(self, char: int) -> Doubles:
        if self.config.embedding_size == "one-hot":
            return np.eye(len(self.vocabulary))[[char]]
        return np.asarray(self._weights["embedding.weight"][[char]])


class _Walk(Walk[Any]):
    """The walk of one character, which lists all products, arguments and results of functions, and states."""

    def __init__(self, network: _Network) -> None:
        super().__init__(network.architecture)
        self._network, self._size, self.ops = network, network.architecture.hidden_size, DOUBLE
        self.layers: list[LayerNumbers] = []
        self.rows: list[NumberRow] = []
        """The vectors since the last layer ended."""
        self._before: tuple[Doubles, ...] = ()
        self._begin = 0

    def product(self, name: str, x: Doubles) -> Doubles:
        weight, bias = self._network.linear[name]
        product, units = x @ weight.T, _units(self._size)
        prefix, _, last = name.rpartition(".")
        if name == "output":
            names, entries = ("W_hy h", "b_y"), tuple(self._network.vocabulary)
        elif name == "bottom":
            names, entries = ("W_bottom x", "b_bottom"), (*_units(self._size, "h"), *_units(self._size, "c"))
        elif prefix == "highways":
            names, entries = ("W_t x", "b_t"), units
        else:
            cell_name = self._network.config.cell if prefix.startswith("layers") else "lstm"
            argument = "x" if last == "ih" else ARGUMENTS.get(cell_name, {}).get(last, "h")
            names, entries = (f"W_{last} {argument}", f"b_{last}"), _block_labels(cell_name, len(weight), self._size)
        self.rows += [_row(names[0], product, entries), _row(names[1], bias, entries)]
        if last == "ih" and self.architecture.cell is Unitary and prefix.startswith("layers"):
            rotated = Unitary.rotate(DOUBLE, self._before[0], self.extras_of(len(self.layers)))
            self.rows.append(_row("U h", np.concatenate(rotated, axis=-1), units))
        return np.asarray(product + bias)

    def ops_of(self, layer: int) -> Ops[Any]:
        return _recording(self.rows, self.architecture.cell, self._network.config.cell)

    def extras_of(self, layer: int) -> dict[str, Any]:
        return self._network.extras[layer]

    def oldest(self, layer: int) -> tuple[Doubles, ...]:
        self._before, self._begin = self._network.queues[layer].pop(0), len(self.rows)
        return self._before

    def append(self, layer: int, latest: tuple[Doubles, ...]) -> None:
        self._network.queues[layer].append(latest)
        self.rows[self._begin :] = _with_states(self.rows[self._begin :], self._before, latest)

    def pass_on(self, layer: int, joined: Doubles) -> None:
        h, depth = self._network.queues[layer][-1][0], self.architecture.depth
        if joined is not h and not depth.has_lstm:
            self.rows.append(_row("y", joined, _units(self._size)))
        self.layers.append(LayerNumbers(tuple(self.rows)))
        self.rows = []

    def gate(self, layer: int, x: Doubles) -> Doubles:
        gate = super().gate(layer, x)
        self.rows.append(_row("t", gate, _units(self._size)))
        return np.asarray(gate)

    def climb(self, layer: int, x: Doubles) -> Doubles:
        before, begin, ops = self.along_depth, len(self.rows), _recording(self.rows, Lstm, "lstm")
        self.along_depth = self.step_cell(Lstm, f"grids.{layer}", ops, x, before, {})
        rows = _with_states(self.rows[begin:], before, self.along_depth)
        self.rows[begin:] = [replace(row, name=f"depth {row.name}") for row in rows]
        return np.asarray(self.along_depth[0])


def _with_states(
    rows: Sequence[NumberRow], before: tuple[Doubles, ...], latest: tuple[Doubles, ...]
) -> list[NumberRow]:
    """Return the rows of a step with the states around it, c before the tanh and the output gate that read it."""
    units = _units(latest[0].shape[1])
    states = [("h", before[0], latest[0])]
    if len(latest) > 1:
        states += [("c", before[-1], latest[-1])]
    memory = [_row("c", latest[-1], units)] if len(latest) > 1 else []
    late = [row for row in rows if row.name == "tanh(c)"]
    return [
        *(_row(f"{name} before", old, units) for name, old, _ in states),
        *(row for row in rows if row.name != "tanh(c)"),
        *memory,
        *late,
        _row("h", latest[0], units),
    ]


def _block_labels(cell_name: str, num_rows: int, size: int) -> tuple[str, ...]:
    """Return the labels of a product's rows: its units, with the letter of the block if there are several."""
    num_blocks = num_rows // size
    if num_blocks == 1:
        return _units(size)
    names = INPUT_BLOCKS.get(cell_name) or [f"{block}:" for block in range(num_blocks)]
    return tuple(label for name in names[:num_blocks] for label in _units(size, name))


def _recording(rows: list[NumberRow], cell: type[Cell], cell_name: str) -> Ops[Any]:
    """Return the functions of NumPy, of which sigmoid, tanh and relu add their arguments and results to `rows`."""

    def record(function: Callable[[Doubles], Doubles], names: Sequence[tuple[str, str]], other: str) -> Any:
        remaining = list(names)

        def call(value: Doubles) -> Doubles:
            before, after = remaining.pop(0) if remaining else (f"a_{other}", other)
            result = function(value)
            units = _units(value.shape[-1])
            rows.extend(_row(name, part, units) for name, part in ((before, value), (after, result)) if name)
            return result

        return call

    return replace(
        DOUBLE,
        sigmoid=record(DOUBLE.sigmoid, [(f"a_{gate}", gate) for gate in cell.gates], "sigmoid"),
        tanh=record(DOUBLE.tanh, TANH.get(cell_name, ()), "tanh"),
        relu=record(DOUBLE.relu, RELU.get(cell_name, ()), "relu"),
    )


def _parts(z: NDArray[np.complex128]) -> tuple[Doubles, Doubles]:
    return z.real, z.imag


_FOURIER: dict[str, Any] = {
    "fft": lambda re, im: _parts(np.fft.fft(re + 1j * im, norm="ortho")),
    "ifft": lambda re, im: _parts(np.fft.ifft(re + 1j * im, norm="ortho")),
}
DOUBLE: Ops[Any] = replace(NUMPY, **_FOURIER)
"""The equations' functions in float64."""

"""Every number of a small network while it reads a text: products, gates, states, logits, losses. In NumPy, float64.

The equations are those of `model.cells` and `model.depths`, called with functions that record their arguments.

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
from charrnn.model.depths import DEPTHS
from charrnn.model.portable_math import NUMPY
from charrnn.model.registry import cell_type
from charrnn.model.shapes import check_shapes, dilation_of

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
        self._config = config
        self._vocabulary = vocabulary
        self._weights = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
        self._cell, self._depth = cell_type(config.cell), DEPTHS[config.depth]
        self._size = resolved(config.hidden_size)
        self._dilations = [dilation_of(config, layer) for layer in range(resolved(config.num_layers))]
        self._queues = self._initial_queues()

    def _initial_queues(self) -> list[list[tuple[Doubles, ...]]]:
        """Return for each layer the states from which its next characters continue, the next one first."""
        learned, num_states = self._weights.get("learned_state"), self._cell.num_states
        queues = []
        for layer, dilation in enumerate(self._dilations):
            states = np.zeros((num_states, dilation, 1, self._size))
            if learned is not None:
                states += learned[layer, : num_states * dilation].reshape(num_states, dilation, 1, self._size)
            queues.append([tuple(states[:, place]) for place in range(dilation)])
        return queues

    def step(self, char: int, target: int | None) -> StepNumbers:
        """Read a character, and compare the prediction with the target."""
        if char == self._config.end_id:
            self._queues = self._initial_queues()
        vector = self._vector(char)
        entries = self._vocabulary if self._config.embedding_size == "one-hot" else _units(vector.shape[1])
        links = _Links(self._weights, self._size)
        below, total, layers = vector, np.zeros((1, self._size)), []
        if self._depth.has_lstm:
            below = links.start(vector)
        for index, queue in enumerate(self._queues):
            links.rows = links.rows if index == 0 else []
            rows, latest = self._read(index, below, queue.pop(0))
            queue.append(latest)
            num_rows = len(links.rows)
            joined = self._depth.join(links, index, below, latest[0])
            rows = [*links.rows[:num_rows], *rows, *links.rows[num_rows:]]
            if joined is not latest[0] and not self._depth.has_lstm:
                rows.append(_row("y", joined, _units(self._size)))
            layers.append(LayerNumbers(tuple(rows)))
            below = joined
            total = total + joined if self._config.sum_outputs else joined
        weight, bias = self._weights["output.weight"], self._weights["output.bias"]
        product = total @ weight.T
        logits = product + bias
        shifted = logits - logits.max()
        logprobs = shifted - np.log(np.exp(shifted).sum())
        output = [_row("W_hy h", product, self._vocabulary), _row("b_y", bias, self._vocabulary)]
        if self._config.sum_outputs:
            output.insert(0, _row("sum", total, _units(self._size)))
        return StepNumbers(
            character=self._vocabulary[char],
            target=None if target is None else self._vocabulary[target],
            input=_row("x", vector, entries),
            layers=tuple(layers),
            output=tuple(output),
            logits=_row("logits", logits, self._vocabulary),
            probabilities=_row("softmax", np.exp(logprobs), self._vocabulary),
            loss=None if target is None else float(-logprobs[0, target]),
        )

    def _vector(self, char: int) -> Doubles:
        if self._config.embedding_size == "one-hot":
            return np.eye(len(self._vocabulary))[[char]]
        return np.asarray(self._weights["embedding.weight"][[char]])

    def _read(self, index: int, x: Doubles, before: tuple[Doubles, ...]) -> tuple[list[NumberRow], tuple[Doubles, ...]]:
        """Return the vectors of a layer that reads x from a state, and its state after that."""
        rows, latest = _step(self._cell, self._config.cell, f"layers.{index}.", self._weights, x, before)
        share = 1 - self._config.zoneout
        if share < 1:
            latest = tuple(old + share * (new - old) for old, new in zip(before, latest, strict=True))
        return _with_states(rows, before, latest), latest


class _Links:
    """The weights of a depth in one step, which records their products; see `model.depths.Links`."""

    def __init__(self, weights: Mapping[str, Doubles], size: int) -> None:
        self._weights, self._size = weights, size
        self._along_depth: tuple[Doubles, ...] = ()
        self.rows: list[NumberRow] = []

    def start(self, vector: Doubles) -> Doubles:
        """Compute the first state of the LSTM along depth from a character's vector; return its h."""
        product, bias = vector @ self._weights["bottom.weight"].T, self._weights["bottom.bias"]
        labels = [*_units(self._size, "h"), *_units(self._size, "c")]
        self.rows += [_row("W_bottom x", product, labels), _row("b_bottom", bias, labels)]
        h, c = np.split(product + bias, 2, axis=-1)
        self._along_depth = h, c
        return h

    def gate(self, layer: int, x: Doubles) -> Doubles:
        """Compute the gate t of a highway."""
        product = x @ self._weights[f"highways.{layer - 1}.weight"].T
        bias = self._weights[f"highways.{layer - 1}.bias"]
        gate = 0.5 * np.tanh(0.5 * (product + bias)) + 0.5
        units = _units(self._size)
        self.rows += [_row("W_t x", product, units), _row("b_t", bias, units), _row("t", gate, units)]
        return np.asarray(gate)

    def climb(self, layer: int, x: Doubles) -> Doubles:
        """Compute the output of the LSTM along depth, which reads x."""
        before = self._along_depth
        rows, self._along_depth = _step(Lstm, "lstm", f"grids.{layer}.", self._weights, x, before)
        rows = _with_states(rows, before, self._along_depth)
        self.rows += [replace(row, name=f"depth {row.name}") for row in rows]
        return self._along_depth[0]


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


def _step(
    cell: type[Cell],
    cell_name: str,
    prefix: str,
    weights: Mapping[str, Doubles],
    x: Doubles,
    before: tuple[Doubles, ...],
) -> tuple[list[NumberRow], tuple[Doubles, ...]]:
    """Compute the equations of a cell type, and record every product and every function."""
    size = before[0].shape[1]
    rows: list[NumberRow] = []
    letters = INPUT_BLOCKS.get(cell_name, "")

    def labels(num_blocks: int) -> tuple[str, ...]:
        if num_blocks == 1:
            return _units(size)
        names = letters or [f"{block}:" for block in range(num_blocks)]
        return tuple(label for name in names[:num_blocks] for label in _units(size, name))

    def multiply(name: str, weight: Doubles, vector: Doubles, argument: str) -> Doubles:
        result, bias = vector @ weight.T, weights[f"{prefix}bias_{name}_l0"]
        entries = labels(len(weight) // size)
        rows.extend((_row(f"W_{name} {argument}", result, entries), _row(f"b_{name}", bias, entries)))
        return np.asarray(result + bias)

    def product(name: str, h: Doubles) -> Doubles:
        weight = np.asarray(cell.effective_weight(weights[f"{prefix}weight_{name}_l0"]))
        return multiply(name, weight, h, ARGUMENTS.get(cell_name, {}).get(name, "h"))

    extras: dict[str, Any] = {
        name: weights[prefix + name].astype(np.int64) if kind == "permutation" else weights[prefix + name]
        for name, (_, kind) in cell.extras(size).items()
    }
    inputs = multiply("ih", weights[f"{prefix}weight_ih_l0"], x, "x")
    if cell is Unitary:
        rows.append(_row("U h", np.concatenate(Unitary.rotate(DOUBLE, before[0], extras), axis=-1), _units(size)))
    ops = _recording(rows, cell, cell_name)
    return rows, tuple(cell.step(ops, inputs, product, before, extras))


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

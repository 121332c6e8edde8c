"""Every number of a small network while it reads a text, in NumPy and float64.

The numbers are weights, products, gates, states, logits and losses. The equations are those of
`model.walk`, called with products and functions that record arguments and results.

Shapes: E embedding (V for one-hot vectors), V vocabulary, H hidden; arrays have one row, (1, …).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from charrnn.analyses.number_tables import (
    MAX_ROWS,
    Line,
    NumberRow,
    WeightNumbers,
    character_cell,
    draw_matrix,
    layer_prefix,
    matrix_tables,
    number_cell,
    step_tables,
    vector_lines,
)
from charrnn.config.settings import Config, resolved
from charrnn.errors import UsageError, counted, named
from charrnn.generation.generator import check_vocab_size
from charrnn.model.cell_types import Cell, Lstm, Ops, Unitary
from charrnn.model.interventions import record
from charrnn.model.portable_math import NUMPY
from charrnn.model.shapes import check_shapes
from charrnn.model.stepper import ArrayWalk
from charrnn.model.walk import Architecture
from charrnn.system.arrays import Float64Array
from charrnn.system.display import Displayable
from charrnn.trained_model import TrainedModel

MAX_UNITS = 16
"""Units per layer of the largest network whose numbers are listed."""
MAX_STEPS = 1_000
"""Characters of the longest text."""
DOUBLE: Ops[Any] = NUMPY
"""The equations' functions in NumPy, which have the precision of their arguments."""
TANH = {
    "rnn": (("a", ""),),
    "gru": (("a_n", "n"),),
    **dict.fromkeys(("lstm", "peephole", "coupled", "mlstm"), (("a_g", "g"), ("", "tanh(c)"))),
    "antisymmetric": (("a_h", "tanh(a_h)"),),
    "rglru": (("-ln(a)/2", ""),),
    "slstm": (("a_g", "g"),),
    "mogrifier": (("Q h", "tanh(Q h)"), ("R x'", "tanh(R x')"), ("a_g", "g"), ("", "tanh(c)")),
}
"""Names of the argument and of the result of each tanh in `Cell.step`; "" for a vector that another
row has already."""
RELU = {"irnn": (("a", ""),), "unitary": (("|z|+b", "|h|"),)}
"""Names of the argument and of the result of each relu."""
ARGUMENTS = {"mlstm": {"hh": "m"}, "mogrifier": {"xh": "x'", "mh": "h'"}}
"""Names of the vectors, other than h, that recurrent weights are multiplied with."""
PRODUCTS = {
    "output": ("W_hy h", "b_y"),
    "bottom": ("W_bottom x", "b_bottom"),
    "highways": ("W_t x", "b_t"),
    "attentions": ("W_a h", "b_a"),
}
"""Names of the product and the bias of each linear map outside the cells."""
BLOCKS = {"bottom": ("h", "c"), "attentions": ("q", "s")}
"""The letters of the blocks of rows of the linear maps with several blocks."""
HIDDEN_ROWS = ("h before", "c before")
"""Rows that repeat the numbers of the column before."""


@dataclass(frozen=True, slots=True)
class LayerNumbers:
    """The vectors of one layer at one time step, in the order in which they are computed.

    `W_ih x`, `b_ih`, and for each recurrent weight its product and bias (`W_hh h`, `b_hh`); each
    gate before (`a_f`) and after its sigmoid (`f`); the new memory `c`, if there is one, and the
    output `h`; then what the depth adds. The state before the step is `h before`, `c before`.
    """

    rows: tuple[NumberRow, ...]
    """The vectors."""

    def row(self, name: str) -> NumberRow:
        """Return the first row with a name. Raises KeyError."""
        return {row.name: row for row in reversed(self.rows)}[name]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepNumbers:
    """Every number of one time step."""

    character: str
    """The character that is read; "" for the unknown symbol."""
    target: str | None
    """The next character of the text, which is to be predicted; None at the end."""
    input: NumberRow
    """x: the character's embedding, or its one-hot vector."""
    layers: tuple[LayerNumbers, ...]
    """The vectors of each layer."""
    output: tuple[NumberRow, ...]
    """`W_hy h` and `b_y`, of which the logits are the sum; before them, with `sum_outputs`, the sum
    of the layers."""
    logits: NumberRow
    """The logits (V,)."""
    probabilities: NumberRow
    """The softmax of the logits."""
    loss: float | None
    """-ln of the probability of the target, in nats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkNumbers(Displayable):
    """Every number of a network while it reads a text from the initial state."""

    name: str
    """Name of the run."""
    cell: str
    """The cell type, such as `lstm`."""
    depth: str
    """How the layers are connected, such as `stacked`."""
    vocabulary: tuple[str, ...]
    """The V characters, in the order of their ids."""
    weights: tuple[WeightNumbers, ...]
    """All matrices, in the order in which a step uses them."""
    steps: tuple[StepNumbers, ...]
    """The numbers of each time step."""
    _DERIVED = ("mean_loss",)

    @property
    def mean_loss(self) -> float | None:
        """Mean loss in nats of all characters but the first; None if there is only one."""
        losses = [step.loss for step in self.steps if step.loss is not None]
        if not losses:
            return None
        return sum(losses) / len(losses)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # The weights stand above the steps, so that a reader can compute every number.
        width = options.max_width
        yield from matrix_tables(self.weights, width=width)
        yield Text()

        # A bias that stands there is not repeated at every step.
        hidden = set()
        for weight in self.weights:
            prefix = layer_prefix(weight.layer, self.weights)
            if draw_matrix(weight, prefix=prefix, width=width):
                hidden.add(prefix + weight.bias_name)

        shown = self.shown_characters()
        step, read, target, loss = self.character_lines()
        lines = partial(vector_lines, shown=shown, vocabulary=self.vocabulary, hidden=hidden)
        layers = lines(map(self._layer_rows, self.steps))
        output = lines(map(_output_rows, self.steps))
        yield from step_tables(
            step, left=[read, *layers], right=[*output, target, loss], width=width
        )

        if self.mean_loss is not None:
            yield Text(f"mean loss {self.mean_loss:.4f} nats per character")
        if num_hidden := len(self.vocabulary) - len(shown):
            yield Text(f"{num_hidden:,} other characters are left out; the JSON has all numbers")

    def character_lines(self) -> Iterator[Line]:
        """Yield the lines around the vectors: the step, what is read, the target and its loss."""
        steps = self.steps
        yield Line("step", cells=[str(1 + number) for number in range(len(steps))], is_bold=True)
        yield Line("input", cells=[character_cell(step.character) for step in steps], is_bold=True)
        targets = ["" if step.target is None else character_cell(step.target) for step in steps]
        yield Line("target", targets, is_bold=True)
        losses = ["" if step.loss is None else number_cell(step.loss) for step in steps]
        yield Line("loss", losses, is_bold=True)

    def shown_characters(self) -> list[int]:
        """Return the entries of the vocabulary that are shown, in order: all, or the text's and the
        most likely ones."""
        # The characters of the text come first, then by the highest probability at any step.
        in_text = {step.character for step in self.steps} | {step.target for step in self.steps}
        best = np.max([step.probabilities.values for step in self.steps], axis=0)

        def order(entry: int) -> tuple[bool, float]:
            return self.vocabulary[entry] not in in_text, -best[entry]

        ranked = sorted(range(len(self.vocabulary)), key=order)
        return sorted(ranked[:MAX_ROWS])

    def _layer_rows(self, step: StepNumbers) -> Iterator[tuple[str, NumberRow]]:
        """Yield the input and the vectors of the layers at a time step, with their names."""
        # A one-hot vector says no more than the character above it.
        if step.input.labels != self.vocabulary:
            yield "x", step.input
        for number, layer in enumerate(step.layers):
            prefix = layer_prefix(number, self.weights)
            for row in layer.rows:
                # The state before a step of a dilated layer is not in the column before.
                if self.depth == "dilated" or row.name not in HIDDEN_ROWS:
                    yield prefix + row.name, row


def model_numbers(model: TrainedModel, text: str | bytes, *, unknown: str) -> NetworkNumbers:
    """Compute every number of a small network that reads `text` from the initial state, in float64.

    For a model of documents the text is the beginning of one. Raises UsageError for more than
    MAX_UNITS units per layer, a text of more than MAX_STEPS characters or an empty one, DataError
    for characters outside the vocabulary unless `unknown` is `nearest`.
    """
    # The text, by the same rules as the prime of a sample.
    config = model.config
    ids = model.generator.encode_prime(text, unknown, what="text")
    if not text and config.end_id is None:
        raise UsageError("The text is empty: give at least one character.")

    # Larger networks and longer texts have tables that nobody can read.
    check_vocab_size(check_shapes(config, model.tensors), vocab=model.vocab, name=model.name)
    if resolved(config.hidden_size) > MAX_UNITS:
        raise UsageError(
            f"{model.name} has {config.hidden_size} units per layer; the numbers of at most"
            f" {MAX_UNITS} are listed.\nTrain a small network: {named('hidden_size', 3)}"
            f" {named('embedding_size', 'one-hot')}."
        )
    if len(ids) > MAX_STEPS:
        length = counted(len(ids), "character")
        raise UsageError(f"The text has {length}; the numbers of at most {MAX_STEPS:,} are listed.")

    # The target of each character is the next character.
    vocabulary = tuple(model.generator.vocabulary())
    reader = _Reader(config, tensors=model.tensors, vocabulary=vocabulary)
    targets = [*ids[1:].tolist(), None]
    steps = tuple(map(reader.step, ids.tolist(), targets))
    return NetworkNumbers(
        name=model.name,
        cell=config.cell,
        depth=config.depth,
        vocabulary=vocabulary,
        weights=tuple(reader.used.values()),
        steps=steps,
    )


def number_row(name: str, values: Float64Array, labels: Sequence[str] = ()) -> NumberRow:
    """Return a row of values (1, N), which belong to the units unless there are labels."""
    if not labels:
        labels = _units([""], values.size)
    return NumberRow(name, labels=tuple(labels), values=tuple(values.reshape(-1).tolist()))


def _units(letters: Sequence[str], num_units: int) -> tuple[str, ...]:
    """Return the labels of the units of each block of rows, which has a letter."""
    return tuple(f"{letter}{unit}" for letter in letters for unit in range(num_units))


class _Reader(ArrayWalk):
    """A network and its state: lists all weights, and of each character all products, arguments and
    results of functions, and states."""

    def __init__(
        self, config: Config, tensors: Mapping[str, NDArray[Any]], vocabulary: Sequence[str]
    ) -> None:
        # The state before the first character: zeros unless it was learned.
        architecture = Architecture.of(config)
        self._weights = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
        shape = (architecture.num_layers, architecture.num_states, 1, architecture.hidden_size)
        self._initial = np.zeros(shape)
        if "learned_state" in tensors:
            self._initial += self._weights["learned_state"][:, :, None]
        super().__init__(architecture, self._initial.copy())
        self.ops = DOUBLE

        # What is listed, while the characters are read.
        self._config = config
        self._vocabulary = vocabulary
        self._size = architecture.hidden_size
        self._linear = architecture.linear_weights(self._weights)
        self._layers: list[LayerNumbers] = []
        """The layers of the current character that ended."""
        self._rows: list[NumberRow] = []
        """The vectors since the last layer ended."""
        self.used: dict[tuple[int | None, str], WeightNumbers] = {}
        """The weights that the steps so far have used, by layer and name."""

    def step(self, char: int, target: int | None) -> StepNumbers:
        """Read a character, and compare the prediction with the target."""
        # END begins a document, and nothing remains of the document before.
        if char == self._config.end_id:
            self.state[:] = self._initial
        self._layers = []
        self._rows = []

        # The input: a row of the embedding, or of the identity.
        if self._config.embedding_size == "one-hot":
            vector = np.eye(len(self._vocabulary))[[char]]
            read = number_row("x", values=vector, labels=self._vocabulary)
        else:
            embedding = self._weights["embedding.weight"]
            vector = embedding[[char]]
            read = number_row("x", vector)
            self._use("embedding", embedding, layer=None, labels=self._vocabulary)
        self._input = vector
        self._input_labels = read.labels

        # The walk up the layers records their vectors, the output layer the vectors above them.
        top = self.read(vector)
        if self._config.sum_outputs:
            self._rows.append(number_row("sum", top))
        logits = self.product("output", top)

        # The softmax; the largest logit is subtracted, so that no exponential overflows.
        shifted = logits - logits.max()
        logprobs = shifted - np.log(np.exp(shifted).sum())
        return StepNumbers(
            character=self._vocabulary[char],
            target=None if target is None else self._vocabulary[target],
            input=read,
            layers=tuple(self._layers),
            output=tuple(self._rows),
            logits=number_row("logits", values=logits, labels=self._vocabulary),
            probabilities=number_row("softmax", values=np.exp(logprobs), labels=self._vocabulary),
            loss=None if target is None else float(-logprobs[0, target]),
        )

    def product(self, name: str, x: Float64Array) -> Float64Array:
        weight, bias = self._linear[name]
        kind = name.partition(".")[0]

        # The names of the product, the bias and their entries: first of the maps outside the cells.
        if kind in PRODUCTS:
            product_name, bias_name = PRODUCTS[kind]
            labels = _units(BLOCKS.get(kind, [""]), self._size)
            if kind == "output":
                labels = tuple(self._vocabulary)
        else:
            # The weights of a cell. Along the depth of a grid there are LSTMs.
            cell: type[Cell] = Lstm
            cell_name = "lstm"
            if kind == "layers":
                cell = self.architecture.cell
                cell_name = self._config.cell
            matrix = name.rpartition(".")[2]
            argument = "h"
            if matrix == "ih":
                argument = "x"
            argument = ARGUMENTS.get(cell_name, {}).get(matrix, argument)
            product_name = f"W_{matrix} {argument}"
            bias_name = f"b_{matrix}"

            # The units of each gate: `i0`, or `0:0` where gates have numbers.
            letters = block_letters(cell, len(weight) // self._size)
            if letters[0].isdigit():
                letters = [f"{number}:" for number in letters]
            labels = _units(letters, self._size)

        # The columns of the weights that read the input are its entries.
        columns: Sequence[str] = ()
        if x is self._input:
            columns = self._input_labels
        layer = None
        if kind != "output":
            layer = len(self._layers)
        along = ""
        if kind == "grids":
            along = "depth "
        self._use(
            along + product_name.partition(" ")[0],
            weight,
            layer=layer,
            labels=labels,
            columns=columns,
            bias_name=along + bias_name,
            bias=bias,
        )

        # The product and the bias are two rows, of which the next one is the sum.
        product = x @ weight.T
        self._rows += [
            number_row(product_name, values=product, labels=labels),
            number_row(bias_name, values=bias, labels=labels),
        ]

        # A unitary cell has no recurrent weight to multiply with: it rotates its outputs.
        if kind == "layers" and matrix == "ih" and self.architecture.cell is Unitary:
            rotated = Unitary.rotate(
                DOUBLE, h=self._before[0], extras=self.extras_of(len(self._layers))
            )
            self._rows.append(number_row("U h", np.concatenate(rotated, axis=-1)))
        return np.asarray(product + bias)

    def ops_of(self, layer: int) -> Ops[Any]:
        return _recording(self._rows, cell=self.architecture.cell, cell_name=self._config.cell)

    def _use(
        self,
        name: str,
        matrix: Float64Array,
        *,
        layer: int | None,
        labels: Sequence[str],
        columns: Sequence[str] = (),
        bias_name: str = "",
        bias: Float64Array | None = None,
    ) -> None:
        """List a weight (R, C) and its bias (R,), once.

        Its columns are units unless they have other names.
        """
        if (layer, name) in self.used:
            return
        if bias is None:
            bias = np.zeros(0)
        self.used[layer, name] = WeightNumbers(
            layer=layer,
            name=name,
            labels=tuple(labels),
            columns=tuple(columns or _units([""], matrix.shape[1])),
            values=tuple(map(tuple, matrix.tolist())),
            bias_name=bias_name,
            bias=tuple(bias.tolist()),
        )

    def extras_of(self, layer: int) -> dict[str, Any]:
        extras = self.architecture.extras_of(layer, self._weights, dtype=np.float64)
        for name, value in extras.items():
            # One weight per unit is a matrix of one row.
            matrix = np.atleast_2d(value)
            self._use(name, matrix, layer=layer, labels=_units([""], len(matrix)))
        return extras

    def oldest(self, layer: int) -> tuple[Float64Array, ...]:
        # The rows of this cell begin here; `append` adds its states to them.
        self._begin = len(self._rows)
        self._before = super().oldest(layer)
        return self._before

    def append(self, layer: int, latest: tuple[Float64Array, ...]) -> None:
        # Now, because the state before is changed in place.
        self._rows[self._begin :] = _with_states(
            self._rows[self._begin :], before=self._before, latest=latest
        )
        self._output = latest[0]
        super().append(layer, latest)

    def attended(
        self, query: Float64Array, gate: Float64Array, opened: Float64Array, read: Float64Array
    ) -> None:
        self._rows += [
            number_row("q", values=query),
            number_row("a_s", values=gate),
            number_row("s", values=opened),
            number_row("read", values=read),
        ]

    def pass_on(self, layer: int, joined: Float64Array) -> None:
        # A plain stack passes on h itself, and the output of a grid has its rows already.
        if joined is not self._output and not self.architecture.depth.has_lstm:
            self._rows.append(number_row("y", joined))
        self._layers.append(LayerNumbers(tuple(self._rows)))
        self._rows = []

    def gate(self, layer: int, x: Float64Array) -> Float64Array:
        gate = super().gate(layer, x)
        self._rows.append(number_row("t", gate))
        return np.asarray(gate)

    def climb(self, layer: int, x: Float64Array) -> Float64Array:
        # An LSTM whose steps are layers, not characters: its rows are told apart by their names.
        before = self.along_depth
        begin = len(self._rows)
        ops = _recording(self._rows, cell=Lstm, cell_name="lstm")
        self.along_depth = self.step_cell(
            Lstm, prefix=f"grids.{layer}", ops=ops, x=x, state=before, extras={}
        )
        rows = _with_states(self._rows[begin:], before=before, latest=self.along_depth)
        self._rows[begin:] = [replace(row, name=f"depth {row.name}") for row in rows]
        return np.asarray(self.along_depth[0])


def _with_states(
    rows: Sequence[NumberRow], before: tuple[Float64Array, ...], latest: tuple[Float64Array, ...]
) -> list[NumberRow]:
    """Return the rows of a step with the states before and after it; c stands before the tanh and
    the output gate that read it."""
    # h is the first vector of a state and c the last; some cell types have more between them.
    names = ["h"]
    names += [f"s{number}" for number in range(1, len(latest) - 1)]
    if len(latest) > 1:
        names.append("c")
    old = [number_row(f"{name} before", state) for name, state in zip(names, before, strict=True)]
    h, *memory = map(number_row, names, latest)

    # The memory is added when the step is over, but belongs before tanh(c).
    computed = sorted((*rows, *memory), key=lambda row: row.name == "tanh(c)")
    return [*old, *computed, h]


def block_letters(cell: type[Cell], num_blocks: int) -> list[str]:
    """Return the letters of a product's blocks of rows: "" for a single block, numbers for a cell
    type without letters."""
    if num_blocks == 1:
        return [""]
    letters = list(cell.block_letters[:num_blocks])
    if not letters:
        letters = [str(block) for block in range(num_blocks)]
    return letters


def _recording(rows: list[NumberRow], cell: type[Cell], cell_name: str) -> Ops[Any]:
    """Return the functions of NumPy, of which sigmoid, tanh and relu add their arguments and
    results to `rows`."""

    def recorder(
        function: str, names: Sequence[tuple[str, str]]
    ) -> Callable[[Float64Array, Float64Array], None]:
        # The calls of a step come in the order of the names; another package's cell type may make
        # more calls.
        remaining = iter(names)

        def keep(value: Float64Array, result: Float64Array) -> None:
            before, after = next(remaining, (f"a_{function}", function))
            if before:
                rows.append(number_row(before, value))
            if after:
                rows.append(number_row(after, result))

        return keep

    ops = DOUBLE
    gates = [(f"a_{gate}", gate) for gate in cell.gates]
    tanh = TANH.get(cell_name, ())
    relu = RELU.get(cell_name, ())
    for name, names in (("sigmoid", gates), ("tanh", tanh), ("relu", relu)):
        ops = record(ops, name, keep=recorder(name, names))
    return ops


def _output_rows(step: StepNumbers) -> Iterator[tuple[str, NumberRow]]:
    """Yield the vectors over the vocabulary at a time step, with their names."""
    for row in (*step.output, step.logits, step.probabilities):
        yield row.name, row

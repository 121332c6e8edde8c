"""Every number of a small network while it reads a text, in torch and float64.

The numbers are weights, products, gates, states, logits and losses. The equations are those of
`model.walk` and `Cell.step`, called with products and functions that record arguments and results.
autograd can therefore go back from the losses to each of them (`analyses.backpropagation`).

Shapes: E embedding (V for one-hot vectors), V vocabulary, H hidden; vectors have one row, (1, …).
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
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
from charrnn.config.settings import resolved
from charrnn.errors import UsageError, counted, named
from charrnn.generation.generator import check_vocab_size
from charrnn.model.cell_types import Array, Cell, CellState, Lstm, Ops, Unitary
from charrnn.model.interventions import record
from charrnn.model.shapes import check_shapes
from charrnn.model.walk import Architecture, Walk
from charrnn.system.display import Displayable
from charrnn.system.lazy import LazyModule, Tensor, torch
from charrnn.trained_model import TrainedModel

if TYPE_CHECKING:
    from charrnn.model import layer as torch_layer
else:
    # `predict --help` reads MAX_UNITS, and imports no torch.
    torch_layer = LazyModule("charrnn.model.layer")

MAX_UNITS = 16
"""Units per layer of the largest network whose numbers are listed."""
MAX_STEPS = 1_000
"""Characters of the longest text."""
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
    cell_type: str
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
    return record_text(model, text, unknown=unknown).numbers()


def number_row(name: str, tensor: Tensor, labels: Sequence[str] = ()) -> NumberRow:
    """Return a row of values (1, N), which belong to the units unless there are labels."""
    values = tensor.flatten().tolist()
    return NumberRow(name, tuple(labels or _units([""], len(values))), tuple(values))


def record_text(model: TrainedModel, text: str | bytes, *, unknown: str) -> "Recording":
    """Read a text from the initial state, and record every vector. See `model_numbers`."""
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
    recording = Recording(model)
    for char, target in zip(ids.tolist(), [*ids[1:].tolist(), None], strict=True):
        recording.read_character(char, target)
    return recording


def _units(letters: Sequence[str], num_units: int) -> tuple[str, ...]:
    """Return the labels of the units of each block of rows, which has a letter."""
    return tuple(f"{letter}{unit}" for letter in letters for unit in range(num_units))


class Recording(Walk):
    """A network and its state: records all weights, and of each character all products, arguments
    and results of functions, and states."""

    def __init__(self, model: TrainedModel) -> None:
        config = model.config
        architecture = Architecture.of(config)
        super().__init__(architecture)
        self.ops = torch_layer.TORCH
        self._name = model.name
        self.config = config
        self.vocabulary = tuple(model.generator.vocabulary())
        self._size = architecture.hidden_size

        self._tensors = {
            name: torch.tensor(values, dtype=torch.float64, requires_grad=True)
            for name, values in model.tensors.items()
        }
        self._linear = architecture.linear_weights(self._tensors)

        # The state before the first character: zeros unless it was learned.
        shape = (architecture.num_layers, architecture.num_states, 1, self._size)
        self._initial = torch.zeros(shape, dtype=torch.float64)
        if "learned_state" in self._tensors:
            self._initial = self._tensors["learned_state"].unsqueeze(2)
        self._reset()

        # What is recorded.
        self.used: dict[tuple[int | None, str], WeightNumbers] = {}
        """The weights that the steps so far have used, by layer and name."""
        self.matrices: dict[tuple[int | None, str], tuple[Tensor, Tensor]] = {}
        """Each of them (R, C), and its bias (R,), which may have no entry."""
        self.steps: list[StepNumbers] = []
        """The steps so far."""
        self.losses: list[Tensor] = []
        """The losses of the steps that have a target."""
        self.kept: list[list[dict[str, Tensor]]] = []
        """For each step the vectors of each layer by name, then those above the layers.

        `h above`, `h right` and `c right` are copies of h and c for each of their readers, whose
        gradients add up to that of the vector; `u` is the last block of `W_hh h + b_hh`.
        """
        self._layers: list[LayerNumbers] = []
        """The layers of the current character that ended."""
        self._rows: list[NumberRow] = []
        """The vectors since the last layer ended."""

    def numbers(self) -> NetworkNumbers:
        """Return the numbers of the network and of all steps."""
        return NetworkNumbers(
            name=self._name,
            cell_type=self.config.cell_type,
            depth=self.config.depth,
            vocabulary=self.vocabulary,
            weights=tuple(self.used.values()),
            steps=tuple(self.steps),
        )

    def read_character(self, char: int, target: int | None) -> None:
        """Read a character, and compare the prediction with the target."""
        # END begins a document, and nothing remains of the document before.
        if char == self.config.end_id:
            self._reset()
        self._layers = []
        self._rows = []
        self.kept.append([{}])

        # The input: a row of the embedding, or of the identity.
        if self.config.embedding_size == "one-hot":
            self._input = torch.eye(len(self.vocabulary), dtype=torch.float64)[[char]]
            read = number_row("x", self._input, labels=self.vocabulary)
        else:
            embedding = self._tensors["embedding.weight"]
            self._input = embedding[[char]]
            read = number_row("x", self._input)
            self._use("embedding", embedding, layer=None, labels=self.vocabulary)
        self._input_labels = read.labels

        # The walk up the layers records their vectors, the output layer the vectors above them.
        top = self.read(self._input)
        if self.config.sum_outputs:
            self._add("sum", top)
        logits = self.product("output", top)
        self._keep("logits", logits)

        # The softmax, and the loss in nats.
        logprobs = logits.log_softmax(-1)
        target_name = loss = None
        if target is not None:
            target_name = self.vocabulary[target]
            self.losses.append(-logprobs[0, target])
            loss = self.losses[-1].item()
        step = StepNumbers(
            character=self.vocabulary[char],
            target=target_name,
            input=read,
            layers=tuple(self._layers),
            output=tuple(self._rows),
            logits=number_row("logits", logits, labels=self.vocabulary),
            probabilities=number_row("softmax", logprobs.exp(), labels=self.vocabulary),
            loss=loss,
        )
        self.steps.append(step)

    def _reset(self) -> None:
        """Return to the state before a text."""
        self._queues = []
        self._outputs = []
        for layer in range(self.architecture.num_layers):
            queue = self.architecture.queue(self._initial, layer)
            self._queues.append(deque(map(tuple, queue.unbind(1))))
            self._outputs.append(deque(self._initial[layer, self.architecture.kept_outputs]))

    def _keep(self, name: str, tensor: Tensor) -> None:
        """Keep a vector of the current layer with its gradient."""
        if tensor.requires_grad:
            tensor.retain_grad()
        self.kept[-1][-1][name] = tensor

    def _add(self, name: str, tensor: Tensor, labels: Sequence[str] = ()) -> None:
        """Record a vector of the current layer."""
        self._keep(name, tensor)
        self._rows.append(number_row(name, tensor, labels))

    def _use(
        self,
        name: str,
        matrix: Tensor,
        *,
        layer: int | None,
        labels: Sequence[str],
        columns: Sequence[str] = (),
        bias_name: str = "",
        bias: Tensor | None = None,
    ) -> None:
        """List a weight (R, C) and its bias (R,), once.

        Its columns are units unless they have other names.
        """
        if (layer, name) in self.used:
            return
        if bias is None:
            bias = torch.zeros(0)
        self.matrices[layer, name] = (matrix, bias)
        self.used[layer, name] = WeightNumbers(
            layer=layer,
            name=name,
            labels=tuple(labels),
            columns=tuple(columns or _units([""], matrix.shape[1])),
            values=tuple(map(tuple, matrix.tolist())),
            bias_name=bias_name,
            bias=tuple(bias.tolist()),
        )

    def product(self, name: str, x: Array) -> Array:
        kind = name.partition(".")[0]
        matrix = name.rpartition(".")[2]
        product_name, bias_name, labels = self._names_of(name)
        weight, bias = self._linear[name]

        # The columns of the weights that read the input are its entries.
        along = "depth " if kind == "grids" else ""
        self._use(
            along + product_name.partition(" ")[0],
            weight,
            layer=None if kind == "output" else len(self._layers),
            labels=labels,
            columns=self._input_labels if x is self._input else (),
            bias_name=along + bias_name,
            bias=bias,
        )

        # What stands above a layer reads a copy of its h.
        if self._layers and (kind == "output" or matrix == "ih"):
            x = x.clone()
            x.retain_grad()
            self.kept[-1][-2]["h above"] = x

        # The product and the bias are two rows, of which the next one is the sum.
        product = x @ weight.T
        self._add(product_name, product, labels)
        self._add(bias_name, bias, labels)

        # A unitary cell has no recurrent weight to multiply with: it rotates its outputs.
        if kind == "layers" and matrix == "ih" and self.architecture.cell is Unitary:
            extras = self.extras_of(len(self._layers))
            rotated = Unitary.rotate(self.ops, h=self._before[0], extras=extras)
            self._add("U h", torch.cat(rotated, dim=-1))
        total = product + bias
        if matrix == "hh":
            others, last = total[:, : -self._size], total[:, -self._size :]
            self._keep("u", last)
            total = torch.cat((others, last), dim=-1)
        return total

    def _names_of(self, name: str) -> tuple[str, str, Sequence[str]]:
        """Return the names of a product and of its bias, and the labels of their entries."""
        # The maps outside the cells.
        kind = name.partition(".")[0]
        if kind == "output":
            return *PRODUCTS[kind], self.vocabulary
        if kind in PRODUCTS:
            return *PRODUCTS[kind], _units(BLOCKS.get(kind, [""]), self._size)

        # The weights of a cell.
        cell, cell_name = self._cell_of(name)
        matrix = name.rpartition(".")[2]
        argument = "h"
        if matrix == "ih":
            argument = "x"
        argument = ARGUMENTS.get(cell_name, {}).get(matrix, argument)

        # The units of each gate: `i0`, or `0:0` where gates have numbers.
        letters = block_letters(cell, len(self._linear[name][0]) // self._size)
        if letters[0].isdigit():
            letters = [f"{number}:" for number in letters]
        return f"W_{matrix} {argument}", f"b_{matrix}", _units(letters, self._size)

    def _cell_of(self, name: str) -> tuple[type[Cell], str]:
        """Return the cell type to which a weight or a prefix belongs, and its name."""
        if name.startswith("grids"):
            return Lstm, "lstm"
        return self.architecture.cell, self.config.cell_type

    def step_cell(
        self,
        cell: type[Cell],
        prefix: str,
        ops: Ops,
        x: Tensor,
        state: CellState,
        extras: Mapping[str, Tensor],
    ) -> CellState:
        self._before = state
        for name, vector in zip(_state_names(state), state, strict=True):
            self._add(f"{name} before", vector)
        recording = self._recording_ops(*self._cell_of(prefix))
        return super().step_cell(cell, prefix, recording, x, state, extras)

    def _recording_ops(self, cell: type[Cell], cell_name: str) -> Ops:
        """Return the functions of torch, of which sigmoid, tanh and relu record their arguments and
        results."""

        def recorder(
            function: str, names: Sequence[tuple[str, str]]
        ) -> Callable[[Tensor, Tensor], None]:
            # The calls of a step come in the order of the names; another package's cell type may
            # make more calls.
            remaining = iter(names)

            def keep(value: Tensor, result: Tensor) -> None:
                before, after = next(remaining, (f"a_{function}", function))
                if before:
                    self._add(before, value)
                if after:
                    self._add(after, result)

            return keep

        ops = self.ops
        gates = [(f"a_{gate}", gate) for gate in cell.gates]
        tanh = TANH.get(cell_name, ())
        relu = RELU.get(cell_name, ())
        for name, names in (("sigmoid", gates), ("tanh", tanh), ("relu", relu)):
            ops = record(ops, name, keep=recorder(name, names))
        return ops

    def _add_state(self, state: CellState) -> None:
        """Record the state after a step."""
        (_, h), *memory = zip(_state_names(state), state, strict=True)
        for name, vector in memory:
            self._add(name, vector)
        # The memory is known when the step is over, but belongs before tanh(c), which reads it.
        self._rows.sort(key=lambda row: row.name == "tanh(c)")
        self._add("h", h)

    def extras_of(self, layer: int) -> dict[str, Tensor]:
        extras = {}
        for name, (_, kind) in self.architecture.cell.extras(self._size).items():
            values = self._tensors[f"layers.{layer}.{name}"]
            if kind == "permutation":
                values = values.long()
            extras[name] = values

            # One weight per unit is a matrix of one row.
            matrix = values.reshape(-1, values.shape[-1])
            self._use(name, matrix, layer=layer, labels=_units([""], len(matrix)))
        return extras

    def oldest(self, layer: int) -> CellState:
        return self._queues[layer].popleft()

    def append(self, layer: int, latest: CellState) -> None:
        self._add_state(latest)

        # The next step reads a copy.
        copies = tuple(vector.clone() for vector in latest)
        for name, vector in zip(_state_names(latest), copies, strict=True):
            self._keep(f"{name} right", vector)
        self._queues[layer].append(copies)

    def attend(self, layer: int, y: Array) -> Array:
        query, gate = self.ops.split(self.product(f"attentions.{layer}", y), 2)
        opened = self.ops.sigmoid(gate)

        # A character does not attend to itself: y is appended afterwards.
        outputs = torch.cat(tuple(self._outputs[layer]))
        shares = (query @ outputs.T / self._size**0.5).softmax(-1)
        read = shares @ outputs
        self._outputs[layer].popleft()
        self._outputs[layer].append(y)

        for name, vector in (("q", query), ("a_s", gate), ("s", opened), ("read", read)):
            self._add(name, vector)
        return opened * read

    def gate(self, layer: int, x: Array) -> Array:
        gate = super().gate(layer, x)
        self._add("t", gate)
        return gate

    def climb(self, layer: int, x: Array) -> Array:
        # An LSTM whose steps are layers, not characters: its rows are told apart by their names.
        rows = self._rows
        self._rows = []
        h = super().climb(layer, x)
        self._add_state(self.along_depth)
        rows += [replace(row, name=f"depth {row.name}") for row in self._rows]
        self._rows = rows
        return h

    def pass_on(self, layer: int, joined: Tensor) -> None:
        # A plain stack passes on h itself, and the output of a grid has its rows already.
        if joined is not self.kept[-1][-1]["h"] and not self.architecture.depth.has_lstm:
            self._add("y", joined)
        self._layers.append(LayerNumbers(tuple(self._rows)))
        self._rows = []
        self.kept[-1].append({})


def _state_names(state: CellState) -> list[str]:
    """Return the names of the vectors of a state: h, c if there are several, and between them s1
    and so on."""
    names = ["h"]
    names += [f"s{number}" for number in range(1, len(state) - 1)]
    if len(state) > 1:
        names.append("c")
    return names


def block_letters(cell: type[Cell], num_blocks: int) -> list[str]:
    """Return the letters of a product's blocks of rows: "" for a single block, numbers for a cell
    type without letters."""
    if num_blocks == 1:
        return [""]
    letters = list(cell.block_letters[:num_blocks])
    if not letters:
        letters = [str(block) for block in range(num_blocks)]
    return letters


def _output_rows(step: StepNumbers) -> Iterator[tuple[str, NumberRow]]:
    """Yield the vectors over the vocabulary at a time step, with their names."""
    for row in (*step.output, step.logits, step.probabilities):
        yield row.name, row

"""Every number of a small stack of layers while it reads a text, in torch and float64.

The numbers are weights, products, gates, states, logits and losses. The equations are those of
`Cell.step`, called with products and functions that record arguments and results. autograd can
therefore go back from the losses to each of them (`analyses.backpropagation`).

Shapes: E embedding (V for one-hot vectors), V vocabulary, H hidden; vectors have one row, (1, …).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from charrnn.analyses.number_tables import (
    MAX_ROWS,
    NumberRow,
    NumberTables,
    TableLine,
    WeightNumbers,
    character_cell,
    layer_prefix,
    number_cell,
)
from charrnn.config.settings import resolved
from charrnn.errors import UsageError, named
from charrnn.model.cell_types import Array, CellState
from charrnn.model.interventions import record
from charrnn.model.shapes import Architecture
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
PLAIN_STACK: Mapping[str, Sequence[Any]] = {
    "depth": ["stacked"],
    "sum_outputs": [False],
    "initial_state": ["zero"],
    "zoneout": [0.0],
}
"""The settings of the networks whose numbers are listed."""
LSTM_TANH = (("a_g", "g"), ("", "tanh(c)"))
"""Names of the arguments and the results of tanh in an LSTM."""
TANH = {
    "rnn": (("a", ""),),
    "gru": (("a_n", "n"),),
    **dict.fromkeys(("lstm", "peephole", "coupled", "mlstm"), LSTM_TANH),
    "mogrifier": (("Q h", "tanh(Q h)"), ("R x'", "tanh(R x')"), *LSTM_TANH),
}
"""Names of the argument and of the result of each tanh in `Cell.step`; "" for a vector that another
row has already. In other cell types they are `a_tanh` and `tanh`."""
ARGUMENTS = {"mlstm": {"hh": "m"}, "mogrifier": {"xh": "x'", "mh": "h'"}}
"""Names of the vectors, other than h, that recurrent weights are multiplied with."""


@dataclass(frozen=True)
class LayerNumbers:
    """The vectors of one layer at one time step, in the order in which they are computed.

    `row` finds a vector by its name. `W_ih x`, `b_ih`, and for each recurrent weight its product
    and bias (`W_hh h`, `b_hh`); each gate before (`a_f`) and after its sigmoid (`f`); the new
    memory `c`, if there is one, and the output `h`. The state before the step is `h before`, `c
    before`.
    """

    rows: tuple[NumberRow, ...]
    """The vectors."""

    def row(self, name: str) -> NumberRow:
        """Return the vector with a name, the last one if several have it.

        Without it one would have to know how many vectors a cell type has before the one that is
        wanted.

        Args:
            name: The symbol of the vector, such as `h`, or its formula, such as `W_hh h`.

        Returns:
            A `NumberRow`, with its `values` and a label for each.

        Raises:
            KeyError: The layer has no vector of this name.

        Example:
            >>> step = charrnn.load("hello").numbers("hel").steps[0]
            >>> step.layers[0].row("h").name
            'h'
        """
        return {row.name: row for row in self.rows}[name]


@dataclass(frozen=True, kw_only=True)
class StepNumbers:
    """Every number of one time step.

    Read it from `input` upwards to check a computation of one's own: every vector follows from
    those before it and the weights.
    """

    character: str
    """The character that is read; "" for the unknown symbol."""
    target: str | None
    """The next character of the text, which is to be predicted; None at the end."""
    input: NumberRow
    """x: the character's embedding, or its one-hot vector."""
    layers: tuple[LayerNumbers, ...]
    """The vectors of each layer."""
    output: tuple[NumberRow, ...]
    """`W_hy h` and `b_y`, of which the logits are the sum."""
    logits: NumberRow
    """The logits (V,)."""
    probabilities: NumberRow
    """The softmax of the logits."""
    loss: float | None
    """-ln of the probability of the target, in nats."""

    def vectors(self) -> list[tuple[int | None, NumberRow]]:
        """Return all vectors in the order in which they are computed, each after its layer.

        A loop that compares all numbers with those of another program needs them in one list;
        `layers` and the other fields have them by their places in the network.

        Returns:
            Pairs of the number of a layer, or None, and a `NumberRow`.

        Example:
            >>> step = charrnn.load("hello").numbers("hel").steps[0]
            >>> [row.name for _, row in step.vectors()][-2:]
            ['logits', 'softmax']
        """
        vectors: list[tuple[int | None, NumberRow]] = [(None, self.input)]
        for number, layer in enumerate(self.layers):
            vectors += [(number, row) for row in layer.rows]
        above = (*self.output, self.logits, self.probabilities)
        return vectors + [(None, row) for row in above]


@dataclass(frozen=True, kw_only=True)
class NetworkNumbers(Displayable):
    """Every number of a network while it reads a text from the initial state.

    `Model.numbers` returns it, for exercises and lectures. A notebook and `rich.print` draw its
    tables; `to_rows` gives them to a spreadsheet.
    """

    name: str
    """Name of the run."""
    cell_type: str
    """The cell type, such as `lstm`."""
    vocabulary: tuple[str, ...]
    """The V characters, in the order of their ids."""
    weights: tuple[WeightNumbers, ...]
    """All matrices, in the order in which a step uses them."""
    steps: tuple[StepNumbers, ...]
    """The numbers of each time step."""
    _DERIVED = ("mean_loss",)

    @property
    def mean_loss(self) -> float | None:
        """Mean loss in nats of all characters but the first; None if there is only one.

        `evaluate` reports the same of a text of any length.
        """
        losses = [step.loss for step in self.steps if step.loss is not None]
        if not losses:
            return None
        return sum(losses) / len(losses)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # The weights stand above the steps, so that a reader can compute every number.
        tables = self.tables(options.max_width)
        yield from tables.matrices(self.weights)
        yield Text()

        *heads, targets = self.heads()
        losses = []
        for step in self.steps:
            losses.append("" if step.loss is None else number_cell(step.loss, tables.decimals))
        vectors = tables.vectors([self._shown_rows(step) for step in self.steps])
        yield from tables.table(
            [*heads, *vectors, targets, TableLine("loss", cells=losses, style="bold")]
        )

        if self.mean_loss is not None:
            yield Text(f"mean loss {self.mean_loss:.4f} nats per character")
        if num_hidden := len(self.vocabulary) - len(tables.shown):
            yield Text(f"{num_hidden:,} other characters are left out; the JSON has all numbers")

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a row for each number, as a table for a spreadsheet.

        The rows of the weights come first, then those of the vectors of each step, and the loss of
        its target. In a spreadsheet, where every number has its name and its step, students can
        compute with them; `to_json` keeps the vectors and matrices whole.

        Returns:
            A list of dictionaries, the columns of a row by name.

        Example:
            >>> rows = charrnn.load("hello").numbers("hel").to_rows()
            >>> {"W_ih", "h", "loss"} <= {row["name"] for row in rows}
            True
        """
        rows = []
        for weight in self.weights:
            rows += weight.to_rows()
        for number, step in enumerate(self.steps, start=1):
            for layer, vector in step.vectors():
                rows += vector.to_rows(step=number, layer=layer)
            if step.loss is not None:
                target = step.target or ""
                loss = NumberRow("loss", labels=(target,), values=(step.loss,))
                rows += loss.to_rows(step=number, layer=None)
        return rows

    def tables(self, width: int) -> NumberTables:
        """Return what draws the tables. Of the vocabulary they show the characters of the text and
        the most likely ones."""
        best = np.max([step.probabilities.values for step in self.steps], axis=0)
        for step in self.steps:
            best[self.vocabulary.index(step.character)] = 1
        ranked = (-best).argsort(kind="stable")
        shown = sorted(ranked[:MAX_ROWS].tolist())
        return NumberTables(self.vocabulary, shown=shown, width=width)

    def heads(self) -> list[TableLine]:
        """Return the lines around the vectors: the number of the step, its input, its target."""
        numbers = [str(1 + number) for number in range(len(self.steps))]
        inputs = [character_cell(step.character) for step in self.steps]
        # The last character has no target.
        targets = [*inputs[1:], ""]
        lines = {"step": numbers, "input": inputs, "target": targets}
        return [TableLine(name, cells=cells, style="bold") for name, cells in lines.items()]

    def _shown_rows(self, step: StepNumbers) -> list[NumberRow]:
        """Return the vectors of a time step that are shown, named by their layers."""
        # A bias stands beside its matrix, and a state mostly in the column before.
        biases = {weight.bias_name for weight in self.weights}
        rows = []
        for layer, row in step.vectors():
            # A one-hot vector says no more than the character above it.
            is_one_hot = row is step.input and row.labels == self.vocabulary
            if row.name not in biases and not row.name.endswith(" before") and not is_one_hot:
                rows.append(replace(row, name=layer_prefix(layer, self.weights) + row.name))
        return rows


def model_numbers(model: TrainedModel, text: str | bytes, *, unknown: str) -> NetworkNumbers:
    """Compute every number of a small network that reads `text` from the initial state, in float64.

    `Model.numbers` reads the text from its file and calls it. For a model of documents the text is
    the beginning of one. Raises UsageError for a network that is no PLAIN_STACK or has more than
    MAX_UNITS units per layer, for a text of more than MAX_STEPS characters or an empty one,
    DataError for characters outside the vocabulary unless `unknown` is `nearest`.
    """
    return record_text(model, text, unknown=unknown).numbers()


def number_row(name: str, tensor: Tensor, labels: Sequence[str] = ()) -> NumberRow:
    """Return a row of values (1, N), which belong to the units unless there are labels."""
    values = tensor.flatten().tolist()
    return NumberRow(name, labels=tuple(labels or _numbered(len(values))), values=tuple(values))


def _numbered(num_units: int) -> tuple[str, ...]:
    return tuple(map(str, range(num_units)))


def check_settings(model: TrainedModel, listed: Mapping[str, Sequence[Any]], *, what: str) -> None:
    """Raise UsageError unless the settings of a model are among those for which `what` (numbers or
    gradients) is listed.

    Numbers and gradients can be shown of the plainest networks only, and the message says which
    setting is in the way.
    """
    for name, values in listed.items():
        value = getattr(model.config, name)
        if value not in values:
            words = " or ".join(map(str, values))
            raise UsageError(
                f"{model.name} has {named(name, value)}; {what} are listed for {words}.\n"
                f"Train such a network: {named(name, values[-1])} {named('hidden_size', 3)}."
            )


def record_text(model: TrainedModel, text: str | bytes, *, unknown: str) -> "Recording":
    """Read a text from the initial state, and record every vector. See `model_numbers`."""
    # The text, by the same rules as the prime of a sample.
    ids = model.generator.encode_prime(text, unknown, what="text").tolist()
    if not text and model.config.end_id is None:
        raise UsageError("The text is empty: give at least one character.")

    # Larger networks and longer texts have tables that nobody can read.
    check_settings(model, PLAIN_STACK, what="numbers")
    if resolved(model.config.hidden_size) > MAX_UNITS:
        raise UsageError(
            f"{model.name} has {model.config.hidden_size} units per layer; the numbers of at most"
            f" {MAX_UNITS} are listed.\nTrain a small network: {named('hidden_size', 3)}"
            f" {named('embedding_size', 'one-hot')}."
        )
    if len(ids) > MAX_STEPS:
        raise UsageError(
            f"The text has {len(ids):,} characters; the numbers of at most {MAX_STEPS:,} are"
            " listed."
        )

    # The target of each character is the next character.
    recording = Recording(model)
    for char, target in zip(ids, [*ids[1:], None], strict=True):
        recording.read_character(char, target)
    return recording


class Recording:
    """A network and its state: records all weights, and of each character all products, arguments
    and results of functions, and states."""

    def __init__(self, model: TrainedModel):
        self.config = model.config
        self.vocabulary = model.generator.vocabulary()
        self._name = model.name
        self._architecture = Architecture(model.config)
        self._cell = self._architecture.cell
        self._size = self._architecture.hidden_size
        self._tensors = {
            name: torch.tensor(values, dtype=torch.float64, requires_grad=True)
            for name, values in model.tensors.items()
        }
        self._linear = self._architecture.linear_weights(self._tensors)
        self._reset()

        # What is recorded.
        self.used: dict[tuple[int | None, str], tuple[WeightNumbers, Tensor, Tensor]] = {}
        """The weights that the steps so far have used, by layer and name: their numbers, the matrix
        (R, C) and the bias (R,), which may have no entry."""
        self.steps: list[StepNumbers] = []
        """The steps so far."""
        self.losses: list[Tensor] = []
        """The losses of the steps that have a target."""
        self.kept: list[list[dict[str, Tensor]]] = []
        """For each step the vectors of each layer by name, then those above the layers.

        `h right` and `c right` are the copies of h and c that the next step reads, `u` is the last
        product with its bias.
        """
        self._rows: list[NumberRow] = []
        """The vectors since the last layer ended."""

    def numbers(self) -> NetworkNumbers:
        """Return the numbers of the network and of all steps."""
        return NetworkNumbers(
            name=self._name,
            cell_type=self.config.cell_type,
            vocabulary=self.vocabulary,
            weights=tuple(weight for weight, *_ in self.used.values()),
            steps=tuple(self.steps),
        )

    def read_character(self, char: int, target: int | None) -> None:
        """Read a character, and compare the prediction with the target."""
        # END begins a document, and nothing remains of the document before.
        if char == self.config.end_id:
            self._reset()
        self.kept.append([])

        # The input: a row of the embedding, or of the identity.
        table = torch.eye(len(self.vocabulary), dtype=torch.float64)
        self._entries = self.vocabulary
        if "embedding.weight" in self._tensors:
            table = self._tensors["embedding.weight"]
            self._entries = _numbered(table.shape[1])
            self._use(layer=None, name="embedding", matrix=table, labels=self.vocabulary)
        x = table[[char]]

        # Up the layers, whose vectors are recorded, to the output layer.
        layers = []
        below = x
        for layer in range(self._architecture.num_layers):
            self._begin()
            below = self._read_layer(layer, below)
            layers.append(LayerNumbers(tuple(self._rows)))
        self._begin()
        logits = self._product(layer=None, matrix="hy", x=below)
        self._keep("logits", tensor=logits)

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
            input=number_row("x", x, labels=self._entries),
            layers=tuple(layers),
            output=tuple(self._rows),
            logits=number_row("logits", logits, labels=self.vocabulary),
            probabilities=number_row("softmax", logprobs.exp(), labels=self.vocabulary),
            loss=loss,
        )
        self.steps.append(step)

    def _reset(self) -> None:
        """Return to the state before a text: zeros."""
        zeros = torch.zeros(1, self._size, dtype=torch.float64)
        self._states: list[CellState] = [
            (zeros,) * self._cell.num_states
        ] * self._architecture.num_layers

    def _begin(self) -> None:
        """Begin to record the next layer."""
        self._rows = []
        self.kept[-1].append({})

    def _keep(self, name: str, tensor: Tensor) -> None:
        """Keep a vector of the current layer with its gradient."""
        if tensor.requires_grad:
            tensor.retain_grad()
        self.kept[-1][-1][name] = tensor

    def _add(self, name: str, tensor: Tensor, labels: Sequence[str] = ()) -> None:
        """Record a vector of the current layer."""
        self._keep(name, tensor=tensor)
        self._rows.append(number_row(name, tensor, labels=labels))

    def _use(
        self,
        layer: int | None,
        name: str,
        matrix: Tensor,
        *,
        labels: Sequence[str],
        columns: Sequence[str] = (),
        bias_name: str = "",
        bias: Tensor | None = None,
    ) -> None:
        """List a weight (R, C) and its bias (R,), once. Its columns are units unless they have
        other names."""
        if (layer, name) in self.used:
            return
        if bias is None:
            bias = torch.zeros(0)
        numbers = WeightNumbers(
            layer=layer,
            name=name,
            labels=tuple(labels),
            columns=tuple(columns or _numbered(matrix.shape[1])),
            values=tuple(map(tuple, matrix.tolist())),
            bias_name=bias_name,
            bias=tuple(bias.tolist()),
        )
        self.used[layer, name] = (numbers, matrix, bias)

    def _product(self, layer: int | None, matrix: str, x: Tensor) -> Tensor:
        """Compute and record the product with a weight of a layer, `ih`, `hh` or another one, or
        with that of the output layer, `hy`, and its bias. Return their sum."""
        place = "output"
        bias_name = "b_y"
        labels: Sequence[str] = self.vocabulary
        if layer is not None:
            place = f"layers.{layer}.{matrix}"
            bias_name = f"b_{matrix}"
        weight, bias = self._linear[place]
        if layer is not None:
            labels = _labels_of_blocks(
                self._cell.block_letters, num_rows=len(weight), num_units=self._size
            )
        argument = "x" if matrix == "ih" else "h"
        argument = ARGUMENTS.get(self.config.cell_type, {}).get(matrix, argument)

        # The columns of the weights that read the input are its entries.
        columns = self._entries if (layer, matrix) == (0, "ih") else ()
        self._use(
            layer,
            name=f"W_{matrix}",
            matrix=weight,
            labels=labels,
            columns=columns,
            bias_name=bias_name,
            bias=bias,
        )

        # The product and the bias are two rows, of which the next one is the sum.
        product = x @ weight.T
        self._add(f"W_{matrix} {argument}", product, labels=labels)
        self._add(bias_name, bias, labels=labels)
        self._keep("u", tensor=product + bias)
        return self.kept[-1][-1]["u"]

    def _read_layer(self, layer: int, x: Array) -> Array:
        """Compute the equations of a layer that reads x (1, E) or (1, H), and return its output
        (1, H)."""
        before = self._states[layer]
        names = _state_names(before)
        for name, vector in zip(names, before, strict=True):
            self._add(f"{name} before", tensor=vector)

        # The functions of which arguments and results are recorded; `clamp` passes the memory.
        calls = {
            "sigmoid": [(f"a_{gate}", gate) for gate in self._cell.gates],
            "tanh": TANH.get(self.config.cell_type, ()),
            "relu": (),
            "clamp": [("", names[-1])],
        }
        ops = torch_layer.TORCH
        for function, names_of_calls in calls.items():
            ops = record(ops, function, keep=self._recorder(function, names_of_calls))
        latest = self._cell.step(
            ops,
            x=self._product(layer, matrix="ih", x=x),
            product=partial(self._product, layer),
            state=before,
            extras=self._extras(layer),
        )

        # The state after the step, but for what `clamp` has recorded; h is the last. The next step
        # reads a copy.
        (_, h), *memory = zip(names, latest, strict=True)
        for name, vector in (*memory, ("h", h)):
            if self.kept[-1][-1].get(name) is not vector:
                self._add(name, tensor=vector)
        self._states[layer] = tuple(vector.clone() for vector in latest)
        for name, vector in zip(names, self._states[layer], strict=True):
            self._keep(f"{name} right", tensor=vector)
        return h

    def _recorder(
        self, function: str, names: Sequence[tuple[str, str]]
    ) -> Callable[[Tensor, Tensor], None]:
        """Return what records the arguments and the results of a function in one step."""
        # The calls of a step come in the order of the names; another package's cell type may make
        # more calls.
        remaining = iter(names)

        def keep(value: Tensor, result: Tensor) -> None:
            before, after = next(remaining, (f"a_{function}", function))
            if before:
                self._add(before, value)
            if after:
                self._add(after, result)

        return keep

    def _extras(self, layer: int) -> dict[str, Tensor]:
        """Return the arrays of `Cell.extras` of a layer, which are listed as weights."""
        extras = {}
        for name, (_, kind) in self._cell.extras(self._size).items():
            values = self._tensors[f"layers.{layer}.{name}"]
            if kind == "permutation":
                values = values.long()
            extras[name] = values

            # One weight per unit is a matrix of one row.
            matrix = values.reshape(-1, values.shape[-1])
            self._use(layer, name=name, matrix=matrix, labels=_numbered(len(matrix)))
        return extras


def _state_names(state: CellState) -> list[str]:
    """Return the names of the vectors of a state: h, c if there are several, and between them s1
    and so on."""
    names = ["h", "c"]
    names[1:1] = [f"s{number}" for number in range(1, len(state) - 1)]
    return names[: len(state)]


def _labels_of_blocks(letters: str, num_rows: int, num_units: int) -> list[str]:
    """Return the labels of the units of each block of rows: `0`, `i0` by the letter of the block,
    or `0:0` without letters."""
    num_blocks = num_rows // num_units
    names = list(letters[:num_blocks])
    if num_blocks == 1:
        names = [""]
    elif not names:
        names = [f"{block}:" for block in range(num_blocks)]
    return [f"{name}{unit}" for name in names for unit in range(num_units)]

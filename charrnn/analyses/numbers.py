"""`charrnn predict`: the most likely next characters, or every number of a small network, in NumPy
and float64.

The numbers are products, gates, states, logits and losses. The equations are those of `model.walk`,
called with products and functions that record arguments and results.

Shapes: E embedding (V for one-hot vectors), V vocabulary, H hidden; arrays have one row, (1, …).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from charrnn.api import Model
from charrnn.cli.arguments import load_model, to_content
from charrnn.cli.command_options import JsonOption, QuietOption
from charrnn.cli.streams import print_json, result_console
from charrnn.config.settings import Config, resolved
from charrnn.errors import UsageError, counted, named
from charrnn.generation.generated import Prediction
from charrnn.generation.generator import check_vocab_size
from charrnn.generation.sample_options import DEFAULT_TOP, DEFAULT_UNKNOWN
from charrnn.hooks.extensions import ModelMethod
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.cell_types import Cell, Lstm, Ops, Unitary
from charrnn.model.ngram_table import NUM_BEFORE, rows_of
from charrnn.model.portable_math import NUMPY, attend
from charrnn.model.shapes import check_shapes
from charrnn.model.walk import Architecture, Walk
from charrnn.system.display import Displayable
from charrnn.views.tables import Bar, plain_table
from charrnn.views.theme import shown_character

MAX_UNITS = 16
"""Units per layer of the largest network whose numbers are listed."""
MAX_STEPS = 1_000
"""Characters of the longest text."""
Doubles = NDArray[np.float64]
"""An array of float64."""
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
"""Names of the argument and of the result of each tanh in `Cell.step`; "" where another row has
that vector."""
RELU = {"irnn": (("a", ""),), "unitary": (("|z|+b", "|h|"),)}
"""The same for each relu."""
ARGUMENTS = {"mlstm": {"hh": "m"}, "mogrifier": {"xh": "x'", "mh": "h'"}}
"""What a recurrent weight is multiplied with, if it is not h."""
COLUMN_WIDTH = 9
"""Columns of the terminal for the numbers of a time step."""
MAX_ROWS = 16
"""Entries of a vector that are shown: of a larger one over the vocabulary, the most likely
characters."""
DIGITS = 3
"""Decimals of a number."""
HIDDEN_ROWS = ("h before", "c before")
"""Rows that repeat the column before."""


@dataclass(frozen=True, slots=True)
class NumberRow:
    """A vector of the network at one time step."""

    name: str
    """Its formula or symbol: `W_ih x`, `b_ih`, `h`, `logits`."""
    labels: tuple[str, ...]
    """The name of each entry: a unit, a gate block and a unit (`i0`), or a character."""
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LayerNumbers:
    """The vectors of one layer at one time step, in the order in which they are computed.

    `W_ih x`, `b_ih`, and for each recurrent weight its product and bias (`W_hh h`, `b_hh`); each
    gate before (`a_f`) and after its sigmoid (`f`); the new memory `c`, if there is one, and the
    output `h`; then what the depth adds. The state before the step is `h before`, `c before`.
    """

    rows: tuple[NumberRow, ...]

    def row(self, name: str) -> NumberRow:
        """Return the first row of that name. Raises KeyError."""
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
    output: tuple[NumberRow, ...]
    """`W_hy h` and `b_y`, of which the logits are the sum; before them, with `sum_outputs`, the sum
    of the layers."""
    logits: NumberRow
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
    depth: str
    vocabulary: tuple[str, ...]
    steps: tuple[StepNumbers, ...]
    DERIVED = ("mean_loss",)

    @property
    def mean_loss(self) -> float | None:
        """Mean loss in nats of all characters but the first; None if there is only one."""
        losses = [step.loss for step in self.steps if step.loss is not None]
        return sum(losses) / len(losses) if losses else None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = _shown_characters(self.steps)
        lines = list(self._lines(shown))
        name_width = max(len(name) for name, *_ in lines)
        margin = name_width + 1 + max(len(label) for _, label, *_ in lines) + 1
        num_columns = max(1, (options.max_width - margin) // COLUMN_WIDTH)
        for first in range(0, len(self.steps), num_columns):
            if first:
                yield Text()
            for name, label, cells, style in lines:
                start = set_cell_size(f"{name:<{name_width}} {label}", margin)
                columns = cells[first : first + num_columns]
                padded = "".join(
                    " " * max(1, COLUMN_WIDTH - cell_len(cell)) + cell for cell in columns
                )
                numbers = padded, style or "default"
                yield Text.assemble(
                    start, numbers, style=style or "dim", no_wrap=True, overflow="crop"
                )
        yield Text()
        if self.mean_loss is not None:
            yield Text(f"mean loss {self.mean_loss:.4f} nats per character")
        if num_hidden := len(self.vocabulary) - len(shown):
            yield Text(f"{num_hidden:,} other characters are left out; the JSON has all numbers")

    def _lines(self, shown: Sequence[int]) -> Iterator[tuple[str, str, list[str], str]]:
        """Yield each line: its name, the label of an entry, a cell for each time step, and the
        style."""
        steps = self.steps
        yield "step", "", [str(number) for number in range(1, len(steps) + 1)], "bold"
        yield "input", "", [_character(step.character) for step in steps], "bold"
        for same in zip(*(self._rows(step, shown) for step in steps), strict=True):
            (name, first, entries), rows = same[0], [row for _, row, _ in same]
            for place, entry in enumerate(entries):
                values = [_number(row.values[entry]) for row in rows]
                yield name if place == 0 else "", _character(first.labels[entry]), values, ""
        yield (
            "target",
            "",
            ["" if step.target is None else _character(step.target) for step in steps],
            "bold",
        )
        yield (
            "loss",
            "",
            ["" if step.loss is None else _number(step.loss) for step in steps],
            "bold",
        )

    def _rows(
        self, step: StepNumbers, shown: Sequence[int]
    ) -> Iterator[tuple[str, NumberRow, Sequence[int]]]:
        """Yield the vectors of a time step: name, row, and which of its entries are shown."""
        is_one_hot = step.input.labels == step.logits.labels
        yield "x", step.input, shown if is_one_hot else range(min(MAX_ROWS, len(step.input.values)))
        for number, layer in enumerate(step.layers):
            prefix = f"{number}: " if len(step.layers) > 1 else ""
            for row in layer.rows:
                # Of a dilated layer the state before a step is not that of the column before.
                if self.depth == "dilated" or row.name not in HIDDEN_ROWS:
                    yield prefix + row.name, row, range(len(row.values))
        for row in (*step.output, step.logits, step.probabilities):
            yield (
                row.name,
                row,
                shown if row.labels == step.logits.labels else range(len(row.values)),
            )


def model_numbers(
    model: Model, text: str | bytes, *, unknown: str = DEFAULT_UNKNOWN
) -> NetworkNumbers:
    """Compute every number of a small network that reads `text` from the initial state, in float64.

    For a model of documents the text is the beginning of one. Raises UsageError for more than
    MAX_UNITS units per layer, a text of more than MAX_STEPS characters or an empty one, DataError
    as `Model.sample` does.
    """
    ids, config = model.generator.encode_prime(text, unknown), model.config
    if not text and config.end_id is None:
        raise UsageError("The text is empty: give at least one character.")
    check_vocab_size(check_shapes(config, model.tensors), model.vocab, model.name)
    if resolved(config.hidden_size) > MAX_UNITS:
        raise UsageError(
            f"{model.name} has {config.hidden_size} units per layer; the numbers of at most"
            f" {MAX_UNITS} are listed.\nTrain a small network: {named('hidden_size', 3)}"
            f" {named('embedding_size', 'one-hot')}."
        )
    if len(ids) > MAX_STEPS:
        length = counted(len(ids), "character")
        raise UsageError(f"The text has {length}; the numbers of at most {MAX_STEPS:,} are listed.")
    vocabulary = tuple(model.generator.vocabulary())
    reader = _Reader(config, model.tensors, vocabulary)
    targets = [*ids[1:].tolist(), None]
    steps = tuple(
        reader.step(char, target) for char, target in zip(ids.tolist(), targets, strict=True)
    )
    return NetworkNumbers(
        name=model.name, cell=config.cell, depth=config.depth, vocabulary=vocabulary, steps=steps
    )


def _units(size: int, letter: str = "") -> tuple[str, ...]:
    return tuple(f"{letter}{unit}" for unit in range(size))


def _row(name: str, values: Doubles, labels: Sequence[str] = ()) -> NumberRow:
    """Return a row of values (1, N), which belong to the units unless there are labels."""
    return NumberRow(name, tuple(labels) or _units(values.size), tuple(values.reshape(-1).tolist()))


class _Reader(Walk[Any]):
    """A network and its state: lists all products, arguments and results of functions, and states
    of each character."""

    def __init__(
        self, config: Config, tensors: Mapping[str, NDArray[Any]], vocabulary: Sequence[str]
    ) -> None:
        super().__init__(Architecture.of(config))
        self.ops = DOUBLE
        self._config, self._vocabulary, self._size = (
            config,
            vocabulary,
            self.architecture.hidden_size,
        )
        self._weights = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
        self._linear = self.architecture.linear_weights(self._weights)
        self._reset()

    def _reset(self) -> None:
        network, num_states = self.architecture, self.architecture.cell.num_states
        initial = np.zeros(
            (network.num_layers, network.num_states, self._size)
        ) + self._weights.get("learned_state", 0)
        self._latest = (0,) * (NUM_BEFORE + 1)
        """The last characters, the oldest first: their ids plus 1."""
        self._queues: list[list[tuple[Doubles, ...]]] = []
        """For each layer the states from which its next characters continue, the next one first."""
        for layer, dilation in enumerate(network.dilations):
            states = initial[layer, : num_states * dilation].reshape(
                num_states, dilation, 1, self._size
            )
            self._queues.append([tuple(states[:, place]) for place in range(dilation)])
        self._past: list[Doubles] = [*initial[:, network.kept_outputs, None]]
        """The last outputs (span, 1, H) of each layer, oldest first."""

    def step(self, char: int, target: int | None) -> StepNumbers:
        """Read a character, and compare the prediction with the target."""
        if char == self._config.end_id:
            self._reset()
        is_one_hot = self._config.embedding_size == "one-hot"
        vector = (
            np.eye(len(self._vocabulary))[[char]]
            if is_one_hot
            else self._weights["embedding.weight"][[char]]
        )
        self._layers: list[LayerNumbers] = []
        self._rows: list[NumberRow] = []
        """The vectors since the last layer ended."""
        top = self.read(vector)
        if self._config.sum_outputs:
            self._rows.append(_row("sum", top))
        logits = self.product("output", top) + self._ngrams(char)
        shifted = logits - logits.max()
        logprobs = shifted - np.log(np.exp(shifted).sum())
        return StepNumbers(
            character=self._vocabulary[char],
            target=None if target is None else self._vocabulary[target],
            input=_row("x", vector, self._vocabulary if is_one_hot else ()),
            layers=tuple(self._layers),
            output=tuple(self._rows),
            logits=_row("logits", logits, self._vocabulary),
            probabilities=_row("softmax", np.exp(logprobs), self._vocabulary),
            loss=None if target is None else float(-logprobs[0, target]),
        )

    def _ngrams(self, char: int) -> Doubles:
        """Return the logits (1, V) of the last characters, 0 without a table; see
        `model.ngram_table`."""
        self._latest = (*self._latest[1:], char + 1)
        if (table := self._weights.get("ngrams.weight")) is None:
            return np.zeros((1, 1))
        found = table[rows_of(self._latest, len(table))].sum(0, keepdims=True)
        self._rows.append(_row("T n-grams", found, self._vocabulary))
        return np.asarray(found)

    def product(self, name: str, x: Doubles) -> Doubles:
        weight, bias = self._linear[name]
        prefix, _, last = name.rpartition(".")
        labels: Sequence[str] = ()
        if name == "output":
            names, labels = ("W_hy h", "b_y"), self._vocabulary
        elif name == "bottom":
            names, labels = (
                ("W_bottom x", "b_bottom"),
                (*_units(self._size, "h"), *_units(self._size, "c")),
            )
        elif prefix == "highways":
            names = ("W_t x", "b_t")
        elif prefix == "attentions":
            names, labels = ("W_a h", "b_a"), (*_units(self._size, "q"), *_units(self._size, "s"))
        else:
            cell_name = self._config.cell if prefix.startswith("layers") else "lstm"
            argument = "x" if last == "ih" else ARGUMENTS.get(cell_name, {}).get(last, "h")
            names, labels = (
                (f"W_{last} {argument}", f"b_{last}"),
                _block_labels(cell_name, len(weight), self._size),
            )
        product = x @ weight.T
        self._rows += [_row(names[0], product, labels), _row(names[1], bias, labels)]
        if last == "ih" and self.architecture.cell is Unitary and prefix.startswith("layers"):
            rotated = Unitary.rotate(DOUBLE, self._before[0], self.extras_of(len(self._layers)))
            self._rows.append(_row("U h", np.concatenate(rotated, axis=-1)))
        return np.asarray(product + bias)

    def ops_of(self, layer: int) -> Ops[Any]:
        return _recording(self._rows, self.architecture.cell, self._config.cell)

    def extras_of(self, layer: int) -> dict[str, Any]:
        return self.architecture.extras_of(layer, self._weights, np.float64)

    def oldest(self, layer: int) -> tuple[Doubles, ...]:
        self._before, self._begin = self._queues[layer].pop(0), len(self._rows)
        return self._before

    def append(self, layer: int, latest: tuple[Doubles, ...]) -> None:
        self._queues[layer].append(latest)
        self._rows[self._begin :] = _with_states(self._rows[self._begin :], self._before, latest)

    def attend(self, layer: int, y: Doubles) -> Doubles:
        query, gate = np.split(self.product(f"attentions.{layer}", y), 2, axis=-1)
        opened, read = DOUBLE.sigmoid(gate), attend(query, self._past[layer])
        self._past[layer] = np.concatenate((self._past[layer][1:], y[None]))
        self._rows += [_row("q", query), _row("a_s", gate), _row("s", opened), _row("read", read)]
        return np.asarray(opened * read)

    def pass_on(self, layer: int, joined: Doubles) -> None:
        if joined is not self._queues[layer][-1][0] and not self.architecture.depth.has_lstm:
            self._rows.append(_row("y", joined))
        self._layers.append(LayerNumbers(tuple(self._rows)))
        self._rows = []

    def gate(self, layer: int, x: Doubles) -> Doubles:
        gate = super().gate(layer, x)
        self._rows.append(_row("t", gate))
        return np.asarray(gate)

    def climb(self, layer: int, x: Doubles) -> Doubles:
        before, begin, ops = self.along_depth, len(self._rows), _recording(self._rows, Lstm, "lstm")
        self.along_depth = self.step_cell(Lstm, f"grids.{layer}", ops, x, before, {})
        rows = _with_states(self._rows[begin:], before, self.along_depth)
        self._rows[begin:] = [replace(row, name=f"depth {row.name}") for row in rows]
        return np.asarray(self.along_depth[0])


def _with_states(
    rows: Sequence[NumberRow], before: tuple[Doubles, ...], latest: tuple[Doubles, ...]
) -> list[NumberRow]:
    """Return the rows of a step with the states around it, c before the tanh and the output gate
    that read it."""
    names = ["h", *map("s{}".format, range(1, len(latest) - 1)), "c"][: len(latest)]
    old = [_row(f"{name} before", state) for name, state in zip(names, before, strict=True)]
    h, *memory = (_row(name, state) for name, state in zip(names, latest, strict=True))
    return [*old, *sorted((*rows, *memory), key=lambda row: row.name == "tanh(c)"), h]


def _block_labels(cell_name: str, num_rows: int, size: int) -> tuple[str, ...]:
    """Return the labels of a product's rows: its units, with the letter of the block if there are
    several."""
    num_blocks = num_rows // size
    if num_blocks == 1:
        return _units(size)
    names = cell_type(cell_name).block_letters or [f"{block}:" for block in range(num_blocks)]
    return tuple(label for name in names[:num_blocks] for label in _units(size, name))


def _recording(rows: list[NumberRow], cell: type[Cell], cell_name: str) -> Ops[Any]:
    """Return the functions of NumPy, of which sigmoid, tanh and relu add their arguments and
    results to `rows`."""

    def record(
        function: Callable[[Doubles], Doubles], names: Sequence[tuple[str, str]], other: str
    ) -> Any:
        remaining = list(names)

        def call(value: Doubles) -> Doubles:
            before, after = remaining.pop(0) if remaining else (f"a_{other}", other)
            result = function(value)
            rows.extend(
                _row(name, part) for name, part in ((before, value), (after, result)) if name
            )
            return result

        return call

    return replace(
        DOUBLE,
        sigmoid=record(DOUBLE.sigmoid, [(f"a_{gate}", gate) for gate in cell.gates], "sigmoid"),
        tanh=record(DOUBLE.tanh, TANH.get(cell_name, ()), "tanh"),
        relu=record(DOUBLE.relu, RELU.get(cell_name, ()), "relu"),
    )


def _shown_characters(steps: Sequence[StepNumbers]) -> list[int]:
    """Return the entries of the vocabulary that are shown, in order: all, or the text's and the
    most likely ones."""
    labels = steps[0].logits.labels
    in_text = {character for step in steps for character in (step.character, step.target)}
    best = [max(step.probabilities.values[entry] for step in steps) for entry in range(len(labels))]
    ranked = sorted(
        range(len(labels)), key=lambda entry: (labels[entry] not in in_text, -best[entry])
    )
    return sorted(ranked[:MAX_ROWS])


def _character(label: str) -> str:
    return shown_character(label).strip() if label else "?"


def _number(value: float) -> str:
    text = f"{value:.{DIGITS}f}"
    if len(text) >= COLUMN_WIDTH:
        return f"{value:.2g}"
    return text.replace("-0.000", "0.000") if float(text) == 0 else text


def predictions_table(predictions: Sequence[Prediction]) -> Table:
    """Build the table of next characters, each with its probability and a bar."""
    rows = [
        (shown_character(one.character), f"{one.probability:.4f}", Bar(one.probability))
        for one in predictions
    ]
    return plain_table("next", "probability", "", right=("probability",), rows=rows)


def predict(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] TEXT",
            help="The text before the character; before it, optionally, a run.",
        ),
    ],
    top: Annotated[
        int | None,
        typer.Option(
            "--top", help="Number of characters.", metavar="N", show_default=str(DEFAULT_TOP)
        ),
    ] = None,
    numbers: Annotated[
        bool,
        typer.Option(
            "--numbers",
            help=f"Print every number of each step, for networks of at most {MAX_UNITS} units.",
        ),
    ] = False,
    unknown: Annotated[
        str,
        typer.Option(
            "--unknown",
            help="Characters outside the vocabulary: error, skip or nearest.",
            metavar="WORD",
        ),
    ] = DEFAULT_UNKNOWN,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print the most likely next characters.

    Each character that may follow TEXT with its probability. With --numbers, how the network
    computes it, step by step: input, products, gates, hidden state, logits, softmax, target and
    loss.
    """
    if len(arguments) > 2:
        raise UsageError(
            f"predict takes [RUN] TEXT, not {len(arguments)} words. Put quotes around the text."
        )
    if numbers and top is not None:
        raise UsageError("--top does not apply to --numbers: leave out one of them.")
    *run, text = arguments
    model = load_model(run[0] if run else None, quiet=quiet)
    content = to_content(text, model.vocab.kind)
    found: Any
    picture: RenderableType
    if numbers:
        computed = model_numbers(model, content, unknown=unknown)
        found, picture = computed.to_json(), computed
    else:
        predictions = model.predict(
            content, top=DEFAULT_TOP if top is None else top, unknown=unknown
        )
        found, picture = (
            [asdict(prediction) for prediction in predictions],
            predictions_table(predictions),
        )
    print_json(found) if json else result_console().print(picture)


EXTENSIONS = (ModelMethod(name="numbers", function=model_numbers),)
"""`Model.numbers`."""

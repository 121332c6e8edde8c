"""Back-propagation through time in numbers: the gradient of the loss by every number of a network.

The equations are written out, step by step from the last to the first, and are those of
docs/understand/equations.md. dv is the gradient of the loss by v; h' and c' are the state before a
step.

Shapes: V vocabulary, H hidden, G gates; R rows and C columns of a weight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import starmap
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from charrnn.analyses.number_tables import (
    NumberRow,
    WeightNumbers,
    layer_prefix,
    matrix_tables,
    step_tables,
    vector_lines,
)
from charrnn.analyses.numbers import (
    LayerNumbers,
    NetworkNumbers,
    StepNumbers,
    model_numbers,
    number_row,
)
from charrnn.errors import UsageError, named
from charrnn.system.arrays import Float64Array
from charrnn.system.display import Displayable
from charrnn.trained_model import TrainedModel

DECIMALS = 5
"""Decimals of a gradient: those of a trained network are small."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellGradients:
    """The gradients of one step of a cell, computed from those of its new h and c."""

    rows: Mapping[str, Float64Array]
    """What is shown, by name, in the order in which it is computed."""
    input_product: Float64Array
    """(G * H,): by W_ih x + b_ih."""
    state_product: Float64Array
    """(G * H,): by W_hh h' + b_hh."""
    memory: Float64Array
    """(H,): by c'; 0 of a cell without c."""
    direct: Float64Array | float = 0.0
    """(H,): by h', as far as h is computed from it without W_hh."""


def _values(layer: LayerNumbers, *names: str) -> list[Float64Array]:
    """Return vectors of a step by their names."""
    return [np.array(layer.row(name).values) for name in names]


def _rnn(layer: LayerNumbers, d_h: Float64Array, d_c: Float64Array) -> CellGradients:
    """Compute the gradients of h = tanh(a), a = W_ih x + b_ih + W_hh h' + b_hh."""
    [h] = _values(layer, "h")
    d_a = d_h * (1 - h**2)
    return CellGradients(
        rows={"da": d_a},
        input_product=d_a,
        state_product=d_a,
        memory=d_c,
    )


def _lstm(layer: LayerNumbers, d_h: Float64Array, d_c: Float64Array) -> CellGradients:
    """Compute the gradients of c = f * c' + i * g, h = o * tanh(c).

    The argument of each gate is one block of a = W_ih x + b_ih + W_hh h' + b_hh. `d_c` comes from
    the next step.
    """
    i, f, g, o, tanh_c, before = _values(layer, "i", "f", "g", "o", "tanh(c)", "c before")

    # Through h = o * tanh(c), and then through the sum c.
    d_o = d_h * tanh_c
    total = d_c + d_h * o * (1 - tanh_c**2)
    d_i = total * g
    d_f = total * before
    d_g = total * i

    # Through the functions of the gates. The derivative of a sigmoid s is s (1 - s).
    arguments = {
        "da_i": d_i * i * (1 - i),
        "da_f": d_f * f * (1 - f),
        "da_g": d_g * (1 - g**2),
        "da_o": d_o * o * (1 - o),
    }
    d_a = np.concatenate([*arguments.values()])
    gates = {"do": d_o, "dc right": d_c, "dc": total, "di": d_i, "df": d_f, "dg": d_g}
    return CellGradients(
        rows=gates | arguments,
        input_product=d_a,
        state_product=d_a,
        memory=total * f,
    )


def _gru(layer: LayerNumbers, d_h: Float64Array, d_c: Float64Array) -> CellGradients:
    """Compute the gradients of h = (1 - z) * n + z * h', n = tanh(W_in x + b_in + r * u).

    u is the block n of W_hh h' + b_hh.
    """
    z, r, n, before, product, bias = _values(layer, "z", "r", "n", "h before", "W_hh h", "b_hh")
    _, _, u = np.split(product + bias, 3)

    # Through h, then through the candidate n, of which the gate r is a part.
    d_z = d_h * (before - n)
    d_n = d_h * (1 - z)
    d_a_n = d_n * (1 - n**2)
    d_r = d_a_n * u
    d_u = d_a_n * r

    # Through the sigmoids. Only u is multiplied by r, not the product with the input.
    d_a_r = d_r * r * (1 - r)
    d_a_z = d_z * z * (1 - z)
    gates = {"dz": d_z, "dn": d_n, "da_n": d_a_n, "dr": d_r, "du": d_u}
    return CellGradients(
        rows=gates | {"da_r": d_a_r, "da_z": d_a_z},
        input_product=np.concatenate([d_a_r, d_a_z, d_a_n]),
        state_product=np.concatenate([d_a_r, d_a_z, d_u]),
        direct=d_h * z,
        memory=d_c,
    )


CELL_GRADIENTS = {"rnn": _rnn, "lstm": _lstm, "gru": _gru}
"""The gradients of each cell type whose equations are written out."""
SUPPORTED: Mapping[str, Sequence[Any]] = {
    "cell": [*CELL_GRADIENTS],
    "depth": ["stacked"],
    "sum_outputs": [False],
    "initial_state": ["zero"],
    "zoneout": [0.0],
}
"""The settings of the networks whose gradients are listed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepGradients:
    """The gradients of the loss by the vectors of one time step."""

    logits: NumberRow
    """`dlogits`: the softmax minus the one-hot vector of the target; 0 without a target."""
    layers: tuple[LayerNumbers, ...]
    """For each layer `dh above` (from the output layer or the layer above), `dh right` (from the
    next step) and their sum `dh`; then those of its gates and of their arguments (`da`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backpropagation(Displayable):
    """The gradients of the sum of the losses of a text, by every number of the network."""

    forward: NetworkNumbers
    """The numbers from which the gradients are computed."""
    learning_rate: float
    """Of the step of SGD."""
    steps: tuple[StepGradients, ...]
    """The gradients of each time step."""
    gradients: tuple[WeightNumbers, ...]
    """The gradient of each weight, summed over the steps, under the name of the weight."""
    updated: tuple[WeightNumbers, ...]
    """The weights after a step of SGD: W - learning_rate * dW."""

    def to_json(self) -> Any:
        """Return the numbers of the network, and in `backward` what is computed from them."""
        backward = Displayable.to_json(self)
        del backward["forward"]
        return self.forward.to_json() | {"backward": backward}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.forward
        width = options.max_width

        # The columns are those of the forward table. They were computed from right to left.
        yield _title("Backward: gradients of the sum of the losses, last step first")
        step, read, target, _ = self.forward.character_lines()
        lines = partial(
            vector_lines,
            shown=self.forward.shown_characters(),
            vocabulary=self.forward.vocabulary,
            decimals=DECIMALS,
        )
        logits = lines([("dlogits", step.logits)] for step in self.steps)
        layers = lines(map(self._layer_rows, self.steps))
        yield from step_tables(
            step, left=[read, target, *logits], right=[*layers], width=width, decimals=DECIMALS
        )

        yield _title("Gradients of the weights, summed over the steps")
        yield from matrix_tables(self.gradients, width=width, decimals=DECIMALS, mark="d")
        yield _title(f"Weights after a step of SGD: W - {self.learning_rate:g} dW")
        yield from matrix_tables(self.updated, width=width, decimals=DECIMALS)

    def _layer_rows(self, step: StepGradients) -> list[tuple[str, NumberRow]]:
        """Return the gradients of the layers at a time step with their names, the top layer
        first."""
        rows = []
        for number, layer in reversed([*enumerate(step.layers)]):
            prefix = layer_prefix(number, self.gradients)
            rows += [(prefix + row.name, row) for row in layer.rows]
        return rows


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def model_backpropagation(
    model: TrainedModel, text: str | bytes, *, learning_rate: float, unknown: str
) -> Backpropagation:
    """Compute the gradients of the sum of the losses of `text`, in float64, from the numbers of
    `model_numbers`.

    Raises UsageError for a network other than a stack of rnn, lstm or gru layers, for a learning
    rate that is not above 0 and a text without a target, and as `model_numbers`.
    """
    for name, supported in SUPPORTED.items():
        value = getattr(model.config, name)
        if value not in supported:
            words = " or ".join(map(str, supported))
            raise UsageError(
                f"{model.name} has {named(name, value)}; gradients are listed for {words}.\n"
                f"Train such a network: {named(name, supported[-1])} {named('hidden_size', 3)}."
            )
    if not 0 < learning_rate < np.inf:
        raise UsageError(f"{named('learning_rate')} is {learning_rate}; it must be above 0.")

    numbers = model_numbers(model, text, unknown=unknown)
    if numbers.mean_loss is None:
        raise UsageError("The text has no character to predict: give a longer one.")
    return backpropagate(numbers, learning_rate)


def backpropagate(numbers: NetworkNumbers, learning_rate: float) -> Backpropagation:
    """Compute the gradients of the sum of the losses, from the last step to the first."""
    sums = _Sums(numbers)
    steps = [sums.go_back(step) for step in reversed(numbers.steps)]
    gradients = []
    updated = []
    for weight in numbers.weights:
        matrix, bias = sums.gradients[weight.layer, weight.name]
        gradients.append(_with_values(weight, matrix, bias=bias))
        changed = np.subtract(weight.values, learning_rate * matrix)
        updated.append(
            _with_values(weight, changed, bias=np.subtract(weight.bias, learning_rate * bias))
        )
    return Backpropagation(
        forward=numbers,
        learning_rate=learning_rate,
        steps=tuple(reversed(steps)),
        gradients=tuple(gradients),
        updated=tuple(updated),
    )


class _Sums:
    """The gradients of the weights, summed over the steps that were gone back, and the gradients of
    the state before these steps."""

    def __init__(self, numbers: NetworkNumbers) -> None:
        self._cell_gradients = CELL_GRADIENTS[numbers.cell]
        self._vocabulary = numbers.vocabulary
        self._weights = {}
        self.gradients = {}
        """The sums by layer and name: of each weight (R, C) and of its bias (R,)."""
        for weight in numbers.weights:
            key = (weight.layer, weight.name)
            self._weights[key] = np.array(weight.values)
            self.gradients[key] = (np.zeros_like(self._weights[key]), np.zeros(len(weight.bias)))

        # Nothing comes from the right of the last step: there is no later loss.
        layers = numbers.steps[0].layers
        zeros = np.zeros(len(layers[0].row("h").values))
        self._right = [(zeros, zeros) for _ in layers]

    def go_back(self, step: StepNumbers) -> StepGradients:
        """Go back through one step, and add its gradients to those of the weights."""
        # The softmax and -ln of the target's probability together.
        d_logits = np.zeros(len(self._vocabulary))
        if step.target is not None:
            d_logits += step.probabilities.values
            d_logits[self._vocabulary.index(step.target)] -= 1
        inputs = [step.input, *(layer.row("h") for layer in step.layers)]
        above = self._through(None, "W_hy", product=d_logits, argument=inputs[-1])

        layers = []
        for number in reversed(range(len(step.layers))):
            # The next step and what is above read the same h: its gradient is the sum.
            layer = step.layers[number]
            right, right_memory = self._right[number]
            d_h = above + right
            cell = self._cell_gradients(layer, d_h, right_memory)
            rows = {"dh above": above, "dh right": right, "dh": d_h, **cell.rows}

            # Through W_hh to the step before, and through W_ih to what is below.
            before = self._through(
                number, "W_hh", product=cell.state_product, argument=layer.row("h before")
            )
            self._right[number] = (before + cell.direct, cell.memory)
            above = self._through(
                number, "W_ih", product=cell.input_product, argument=inputs[number]
            )
            layers.append(LayerNumbers(tuple(starmap(number_row, rows.items()))))

        # A step reads one row of the embedding.
        embedding = self.gradients.get((None, "embedding"))
        if embedding is not None:
            embedding[0][self._vocabulary.index(step.character)] += above
        return StepGradients(
            logits=number_row("dlogits", values=d_logits, labels=self._vocabulary),
            layers=tuple(reversed(layers)),
        )

    def _through(
        self, layer: int | None, name: str, *, product: Float64Array, argument: NumberRow
    ) -> Float64Array:
        """Return the gradient (C,) by x from the gradient (R,) by W x + b, and add the gradients by
        W and by b to the sums."""
        matrix, bias = self.gradients[layer, name]
        matrix += np.outer(product, argument.values)
        bias += product
        return np.asarray(product @ self._weights[layer, name])


def _with_values(weight: WeightNumbers, matrix: Float64Array, bias: Float64Array) -> WeightNumbers:
    """Return a weight with other numbers."""
    values = tuple(map(tuple, matrix.tolist()))
    return replace(weight, values=values, bias=tuple(bias.tolist()))

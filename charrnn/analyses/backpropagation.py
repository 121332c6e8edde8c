"""Back-propagation through time in numbers: the gradient of the loss by every number of a network.

autograd goes back from the losses through what `analyses.numbers` has recorded. The gradients are
those of docs/understand/equations.md. dv is the gradient of the sum of the losses by v.

Shapes: V vocabulary; R rows and C columns of a weight.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

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
    Recording,
    number_row,
    record_text,
)
from charrnn.errors import UsageError, named
from charrnn.system.display import Displayable
from charrnn.system.lazy import Tensor, torch
from charrnn.trained_model import TrainedModel

DECIMALS = 5
"""Decimals of a gradient: those of a trained network are small."""
SHOWN: Mapping[str, Sequence[str]] = {
    "rnn": ("a",),
    "lstm": ("o", "c right", "c", "i", "f", "g", "a_i", "a_f", "a_g", "a_o"),
    "gru": ("z", "n", "a_n", "r", "u", "a_r", "a_z"),
}
"""The vectors below h whose gradients are shown, in the order in which the equations go back."""
SUPPORTED: Mapping[str, Sequence[Any]] = {
    "cell_type": [*SHOWN],
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
    """Compute the gradients of the sum of the losses of `text`, in float64, by every number that
    `model_numbers` lists.

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
    if not 0 < learning_rate < math.inf:
        raise UsageError(f"{named('learning_rate')} is {learning_rate}; it must be above 0.")

    recording = record_text(model, text, unknown=unknown)
    if not recording.losses:
        raise UsageError("The text has no character to predict: give a longer one.")
    return backpropagate(recording, learning_rate)


def backpropagate(recording: Recording, learning_rate: float) -> Backpropagation:
    """Compute the gradients of the sum of the losses, and the weights after a step of SGD."""
    torch.stack(recording.losses).sum().backward()  # type: ignore[no-untyped-call]

    names = ("h above", "h right", "h", *SHOWN[recording.config.cell_type])
    steps = []
    for [*kept, above] in recording.kept:
        layers = []
        for vectors in kept:
            rows = [number_row(f"d{name}", _gradient(vectors[name])) for name in names]
            layers.append(LayerNumbers(tuple(rows)))
        logits = number_row("dlogits", _gradient(above["logits"]), labels=recording.vocabulary)
        steps.append(StepGradients(logits=logits, layers=tuple(layers)))

    gradients = []
    updated = []
    for key, weight in recording.used.items():
        matrix, bias = recording.matrices[key]
        d_matrix, d_bias = _gradient(matrix), _gradient(bias)
        gradients.append(_with_values(weight, d_matrix, bias=d_bias))
        changed = matrix - learning_rate * d_matrix
        updated.append(_with_values(weight, changed, bias=bias - learning_rate * d_bias))
    return Backpropagation(
        forward=recording.numbers(),
        learning_rate=learning_rate,
        steps=tuple(steps),
        gradients=tuple(gradients),
        updated=tuple(updated),
    )


def _gradient(tensor: Tensor) -> Tensor:
    """Return the gradient by a tensor, which is 0 if no loss depends on it."""
    if tensor.grad is None:
        return torch.zeros_like(tensor)
    return tensor.grad


def _with_values(weight: WeightNumbers, matrix: Tensor, bias: Tensor) -> WeightNumbers:
    """Return a weight with other numbers."""
    values = tuple(map(tuple, matrix.tolist()))
    return replace(weight, values=values, bias=tuple(bias.tolist()))

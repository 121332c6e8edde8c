"""Back-propagation through time in numbers: the gradient of the loss by every number of a network.

autograd goes back from the losses through what `analyses.numbers` has recorded. The gradients are
those of docs/understand/equations.md. dv is the gradient of the sum of the losses by v.

Shapes: V vocabulary; R rows and C columns of a weight.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from charrnn.analyses.number_tables import NumberRow, WeightNumbers, layer_prefix
from charrnn.analyses.numbers import (
    LayerNumbers,
    NetworkNumbers,
    check_settings,
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
"""The vectors below h whose gradients are shown, by cell type, in the order in which the equations
go back."""


@dataclass(frozen=True, kw_only=True)
class StepGradients:
    """The gradients of the loss by the vectors of one time step.

    `Backpropagation.steps` has one for each step. Read them from the last step to the first:
    `dh right` of a step comes from the step after it.
    """

    logits: NumberRow
    """`dlogits`: the softmax minus the one-hot vector of the target; 0 without a target."""
    layers: tuple[LayerNumbers, ...]
    """For each layer `dh above` (from the output layer or the layer above), `dh right` (from the
    next step) and their sum `dh`; then those of its gates and of their arguments (`da`)."""


@dataclass(frozen=True, kw_only=True)
class Backpropagation(Displayable):
    """The gradients of the sum of the losses of a text, by every number of the network.

    `Model.backpropagation` returns it. Compare `gradients` with what a program of one's own
    computes, or with `loss.backward()` of PyTorch; `forward` has the numbers to begin with.
    """

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
        """Return the numbers of the network, and in `backward` what is computed from them.

        A test of another program compares its own numbers with these, which were computed in
        float64.

        Returns:
            A dictionary, which `json.dumps` takes.

        Example:
            >>> data = charrnn.load("hello").backpropagation("hello").to_json()
            >>> len(data["steps"]) == len(data["backward"]["steps"])
            True
        """
        backward = Displayable.to_json(self)
        del backward["forward"]
        return self.forward.to_json() | {"backward": backward}

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a row for each number, as a table for a spreadsheet.

        The rows of `forward` come first, then those of the gradients of each step, and of the
        weights (`dW_ih`, `db_ih`). So students can compute each gradient from the cells of one
        sheet; the weights after a step of SGD are left to them.

        Returns:
            A list of dictionaries, the columns of a row by name.

        Example:
            >>> rows = charrnn.load("hello").backpropagation("hel").to_rows()
            >>> {"W_ih", "h", "dh right", "dW_ih"} <= {row["name"] for row in rows}
            True
        """
        rows = self.forward.to_rows()
        for number, step in enumerate(self.steps, start=1):
            rows += step.logits.to_rows(step=number, layer=None)
            for layer, vectors in enumerate(step.layers):
                for vector in vectors.rows:
                    rows += vector.to_rows(step=number, layer=layer)
        for gradient in self.gradients:
            named_gradient = replace(
                gradient, name=f"d{gradient.name}", bias_name=f"d{gradient.bias_name}"
            )
            rows += named_gradient.to_rows()
        return rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.forward

        # The columns are those of the forward table. They were computed from right to left.
        yield _title("Backward: gradients of the sum of the losses, last step first")
        tables = replace(self.forward.tables(options.max_width), decimals=DECIMALS)
        vectors = []
        for step in self.steps:
            rows = [step.logits]
            for number, layer in reversed([*enumerate(step.layers)]):
                prefix = layer_prefix(number, self.gradients)
                rows += [replace(row, name=prefix + row.name) for row in layer.rows]
            vectors.append(rows)
        yield from tables.table([*self.forward.heads(), *tables.vectors(vectors)])

        yield _title("Gradients of the weights, summed over the steps")
        yield from tables.matrices(self.gradients, mark="d")
        yield _title(f"Weights after a step of SGD: W - {self.learning_rate:g} dW")
        yield from tables.matrices(self.updated)


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def model_backpropagation(
    model: TrainedModel, text: str | bytes, *, learning_rate: float, unknown: str
) -> Backpropagation:
    """Compute the gradients of the sum of the losses of `text`, in float64, by every number that
    `model_numbers` lists, and the weights after a step of SGD.

    `Model.backpropagation` reads the text from its file and calls it.

    Raises UsageError for another cell type than rnn, lstm and gru, for a learning rate that is not
    above 0 and a text without a target, and as `model_numbers`.
    """
    check_settings(model, {"cell_type": [*SHOWN]}, what="gradients")
    if not 0 < learning_rate < math.inf:
        raise UsageError(f"{named('learning_rate')} is {learning_rate}; it must be above 0.")
    recording = record_text(model, text, unknown=unknown)
    if not recording.losses:
        raise UsageError("The text has no character to predict: give a longer one.")
    torch.stack(recording.losses).sum().backward()  # type: ignore[no-untyped-call]

    steps = []
    for [*kept, above] in recording.kept:
        layers = []
        for vectors in kept:
            # What h gets from the right is the gradient of the copy that the next step reads.
            d_h = _gradient(vectors["h"])
            d_right = _gradient(vectors["h right"])
            rows = [number_row("dh above", d_h - d_right), number_row("dh right", d_right)]
            for name in ("h", *SHOWN[model.config.cell_type]):
                # Of the recurrent product of a gru, u is the last block.
                gradient = _gradient(vectors[name])[:, -d_h.shape[1] :]
                rows.append(number_row(f"d{name}", gradient))
            layers.append(LayerNumbers(tuple(rows)))
        logits = number_row("dlogits", _gradient(above["logits"]), labels=recording.vocabulary)
        steps.append(StepGradients(logits=logits, layers=tuple(layers)))

    gradients = []
    updated = []
    for weight, matrix, bias in recording.used.values():
        d_matrix = _gradient(matrix)
        d_bias = _gradient(bias)
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

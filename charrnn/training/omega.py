"""The regulariser Ω against vanishing and exploding gradients (Pascanu, Mikolov & Bengio 2013,
section 3.3).

Let e_t be the gradient of the loss by the state after character t, and e_t J_t its part that
reaches the state before that character. Ω is the mean over all characters of

    (|e_t J_t| / |e_t| - 1)^2

which is 0 where the error keeps its norm on its way back. As in the paper, only the recurrent
weight that stands in J_t itself counts as variable: e_t, the states and the gates are constants
(the "immediate" derivative). The state of an LSTM is the pair (h, c).

Shapes: N = T * B characters, S state vectors, H hidden, X blocks of the input product.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from charrnn.model.annotations import RecurrentLayer
from charrnn.model.cell_types import Cell, CellState, Extras, Ops, Product
from charrnn.model.layer import TORCH


class _RecordedStep(NamedTuple):
    """A character of a window, as a layer has read it."""

    x: Tensor
    """(B, X * H): its input product."""
    before: Tensor
    """(S, B, H): the state before it."""
    after: CellState
    """S vectors (B, H): the state after it, which keep the gradients of the loss."""

    def errors(self) -> Tensor:
        """Return the gradients (S, B, H) of the loss by the state after the character: 0 until the
        backward pass has come by."""
        errors = []
        for vector in self.after:
            errors.append(torch.zeros_like(vector) if vector.grad is None else vector.grad)
        return torch.stack(errors)


class Omega:
    """Adds the gradient of λ Ω to the recurrent weights of a network.

    A training makes one if `Config.omega` asks for it, for cells whose gradients vanish (Pascanu,
    Mikolov & Bengio 2013).

    While a network trains, a hook of its layers lets them compute their equations character by
    character, so that there is a state after each of them.
    """

    def __init__(self, layers: list[RecurrentLayer], *, factor: float):
        """Start to record what these layers read; `factor` is λ."""
        self._factor = factor
        self._layers: list[tuple[RecurrentLayer, type[Cell], list[_RecordedStep]]] = []
        """Each layer, its cell type, which does not record, and the characters that it has read in
        the present step of the training."""
        for layer in layers:
            steps: list[_RecordedStep] = []
            self._layers.append((layer, layer.cell, steps))
            layer.cell = _recording(layer.cell, steps)
            layer.register_forward_pre_hook(_use_equations, with_kwargs=True)

    def add_gradients(self, num_chars: int) -> None:
        """Add the gradient of λ Ω to every recurrent weight's `grad`, after the backward pass of
        the loss.

        `num_chars` is the number of characters of the whole batch, wherever its rows are read: Ω is
        a mean over them.
        """
        for layer, cell, steps in self._layers:
            # All characters at once: none needs another, as states and errors are constants.
            total = sum_of_omega(
                layer,
                cell=cell,
                x=torch.cat([step.x for step in steps]),
                before=torch.cat([step.before for step in steps], dim=1),
                errors=torch.cat([step.errors() for step in steps], dim=1),
            )
            steps.clear()

            weights = [layer.weight(name) for name in cell.products]
            gradients = torch.autograd.grad(self._factor / num_chars * total, weights)
            for weight, gradient in zip(weights, gradients, strict=True):
                assert weight.grad is not None, "the backward pass of the loss comes first"
                weight.grad += gradient


def _use_equations(
    layer: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a layer, with its equations instead of a faster implementation if it
    trains."""
    if torch.is_grad_enabled():
        return inputs, options | {"ops": TORCH}
    return inputs, options


def _recording(cell: type[Cell], steps: list[_RecordedStep]) -> type[Cell]:
    """Return the cell type, with every step of a training recorded in `steps`."""

    def step(
        ops: Ops,
        x: Tensor,
        product: Product,
        state: CellState,
        extras: Extras,
    ) -> CellState:
        after = cell.step(ops, x=x, product=product, state=state, extras=extras)
        if not torch.is_grad_enabled():  # a validation
            return after

        # Views, so that the gradient that reaches c through the h of the same step is not counted
        # as an error of c.
        vectors = tuple(vector.view_as(vector) for vector in after)
        for vector in vectors:
            vector.retain_grad()
        steps.append(_RecordedStep(x.detach(), torch.stack(state).detach(), after=vectors))
        return vectors

    return type(cell.__name__, (cell,), {"step": staticmethod(step)})


def sum_of_omega(
    layer: RecurrentLayer, cell: type[Cell], *, x: Tensor, before: Tensor, errors: Tensor
) -> Tensor:
    """Compute the sum of (|e J| / |e| - 1)^2 over N characters, to be derived by the recurrent
    weights.

    x (N, X * H) are input products, `before` (S, N, H) the states before them, `errors` (S, N, H)
    the gradients e of the loss by the states after them. Characters with an error of 0 count 0.
    """
    before = before.detach().requires_grad_()

    def product(name: str, h: Tensor) -> Tensor:
        # The value of the product is a constant; its derivative by h is the weight.
        weight = layer.weight(name)
        value = linear(h, weight, layer.bias(name)).detach()
        return value + linear(h - h.detach(), weight)

    after = torch.stack(cell.step(TORCH, x=x, product=product, state=tuple(before), extras={}))
    (passed,) = torch.autograd.grad(after, before, grad_outputs=errors, create_graph=True)

    # In float64, because gradients that have vanished are squared here.
    is_reached = errors.abs().amax(dim=(0, 2)) > 0
    old_norms = torch.linalg.vector_norm(errors[:, is_reached].double(), dim=(0, 2))
    new_norms = torch.linalg.vector_norm(passed[:, is_reached].double(), dim=(0, 2))
    return torch.sum((new_norms / old_norms - 1) ** 2)

"""Find a cell type by its name, and check a cell type of another package by one step.

Shapes: B batch, H hidden, as in `model.cell_types`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from charrnn.errors import UsageError
from charrnn.hooks.manager import find_extension
from charrnn.model.cell_types import CELLS, Cell
from charrnn.model.portable_math import NUMPY, Float32Array

NUM_ROWS, HIDDEN_SIZE = 3, 8
"""B and H of the step. They differ, and H is even, as a unitary cell needs it."""
CLAMPED_VALUE = 0.5
"""The cell value at which a unit is clamped in the step."""
TOLERANCE = 1e-3
"""Allowed rounding error of the clamped value: far more than the error of tanh(atanh(x)) in
float32."""


@cache
def cell_type(name: str) -> type[Cell]:
    """Return the built-in cell type `name`, or the cell type with that name of an installed
    package.

    Importing the package runs its code. Raises UsageError, which names the package, if its object
    is no cell type, or if a step of the cell fails or changes a clamped value.
    """
    if name in CELLS:
        return CELLS[name]

    # Find the cell type of an installed package, or report why there is none.
    plugin = find_extension("cell_types", kind="cell", name=name, built_in=CELLS)
    if plugin is None:
        raise UsageError(f"No installed package provides the cell {name!r}.")

    # The cell type is checked once per process, because the result is cached.
    cell = plugin.load()
    if not (isinstance(cell, type) and issubclass(cell, Cell)):
        raise UsageError(f"The {plugin} is no subclass of charrnn.model.cell_types.Cell.")
    values = plugin.run(_values_after_step, cell)

    # No other check shows this mistake: clamping and ablating would have a wrong effect or none,
    # and findings about the cell would be false.
    if not np.allclose(values[:, 0], CLAMPED_VALUE, atol=TOLERANCE):
        raise UsageError(
            f"The {plugin}: a unit that is clamped at {CLAMPED_VALUE} has another value after a"
            " step. `step` must pass its memory (c if there is one, else h) through `ops.clamp`"
            " once, and return the result as its last state. Leave `value` out."
        )
    return cell


def _values_after_step(cell: type[Cell]) -> Float32Array:
    """Return the values (B, H) of a cell after one step from zeros, in which the first unit is
    clamped. Raises the errors of the cell's code."""
    before = tuple(np.zeros((cell.num_states, NUM_ROWS, HIDDEN_SIZE), np.float32))

    def product(name: str, h: Any) -> Any:
        weight = np.full((cell.products[name] * HIDDEN_SIZE, HIDDEN_SIZE), 0.01, np.float32)
        return h @ cell.effective_weight(weight).T

    def clamp(memory: Any) -> Any:
        # The memory is copied, because functions may not change their arguments.
        memory = memory.copy()
        memory[:, 0] = cell.memory(CLAMPED_VALUE)
        return memory

    extras: dict[str, Any] = {}
    for name, (shape, kind) in cell.extras(HIDDEN_SIZE).items():
        extras[name] = np.full(shape, 0.01, np.float32)
        if kind == "permutation":
            extras[name] = np.arange(shape[0])
    x = np.full((NUM_ROWS, cell.input_blocks * HIDDEN_SIZE), 0.1, np.float32)
    state = cell.step(
        replace(NUMPY, clamp=clamp), x=x, product=product, state=before, extras=extras
    )

    shape = np.asarray(state).shape
    if shape != (cell.num_states, NUM_ROWS, HIDDEN_SIZE):
        raise ValueError(
            f"`step` returns numbers of shape {shape}; it must return a tuple of"
            f" {cell.num_states} arrays (B, H), of shape {NUM_ROWS, HIDDEN_SIZE} here"
        )
    return np.asarray(cell.value(NUMPY, state))

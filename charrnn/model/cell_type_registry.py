"""Find a cell type by its name; one of another package makes a step before it is used.

Shapes: B batch, H hidden, as in `model.cell_types`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from charrnn.errors import UsageError
from charrnn.hooks.manager import LEFT_OUT, find_extension
from charrnn.hooks.specifications import cell_types
from charrnn.model.cell_types import CELLS, Cell
from charrnn.model.portable_math import NUMPY, Float32Array

NUM_ROWS, HIDDEN_SIZE = 3, 8
"""B and H of the step: different, and H even, as the unitary cell needs it."""
CLAMPED_VALUE = 0.5
"""The cell value at which a unit is clamped in the step."""
TOLERANCE = 1e-3
"""Allowed rounding error of that value: far more than that of tanh(atanh(x)) in float32."""


@cache
def cell_type(name: str) -> type[Cell]:
    """Return the built-in cell type `name`, or the one that an installed package provides by that
    name.

    Importing the package runs its code. Raises UsageError that names the package, where what it
    provides is no cell, or one whose step fails or loses a clamped value.
    """
    if name in CELLS:
        return CELLS[name]

    # A cell of an installed package, or else the reasons why there is none.
    plugin = find_extension(
        cell_types,
        kind="cell",
        name=name,
        built_in=CELLS,
    )
    if plugin is None:
        reasons = "".join(f"\n{reason}" for reason in LEFT_OUT)
        raise UsageError(f"No installed package provides the cell {name!r}.{reasons}")

    # Checked once per process: what is returned is kept.
    cell = plugin.load()
    if not (isinstance(cell, type) and issubclass(cell, Cell)):
        raise UsageError(f"The {plugin} is no subclass of charrnn.model.cell_types.Cell.")
    weights = {
        name: np.full((num_blocks * HIDDEN_SIZE, HIDDEN_SIZE), 0.01, np.float32)
        for name, num_blocks in cell.products.items()
    }
    try:
        values = plugin.run(_values_after_step, cell, weights)
    except UsageError as error:
        sizes = [f"B is {NUM_ROWS}", f"H is {HIDDEN_SIZE}"]
        sizes.append(f"x is {NUM_ROWS, cell.input_blocks * HIDDEN_SIZE}")
        for product, weight in weights.items():
            sizes.append(f"product({product!r}, h) is {NUM_ROWS, len(weight)}")
        raise UsageError(
            f"{error.marked}\n{', '.join(sizes)}: do `input_blocks` and `products` agree with"
            " `step`?"
        ) from error

    # A mistake that nothing else would show: clamping and ablating would have no effect, or a wrong
    # one, and what is found of the cell would be false.
    if not np.allclose(values[:, 0], CLAMPED_VALUE, atol=TOLERANCE):
        raise UsageError(
            f"The {plugin}: a unit that is clamped at {CLAMPED_VALUE} has another value after a"
            " step. `step` must pass its memory (c if there is one, else h) through `ops.clamp`"
            " once, and return the result as its last state. Leave `value` out."
        )
    return cell


def _values_after_step(cell: type[Cell], weights: Mapping[str, Float32Array]) -> Float32Array:
    """Return the values (B, H) of a cell after one step from zeros, in which the first unit is
    clamped. Raises whatever the code of the cell raises."""

    def product(name: str, h: Any) -> Any:
        return h @ cell.effective_weight(weights[name]).T

    def clamp(memory: Any) -> Any:
        # A copy, as the functions of a cell may not change their arguments.
        memory = memory.copy()
        memory[:, 0] = cell.memory(CLAMPED_VALUE)
        return memory

    extras: dict[str, Any] = {}
    for name, (shape, kind) in cell.extras(HIDDEN_SIZE).items():
        extras[name] = np.full(shape, 0.01, np.float32)
        if kind == "permutation":
            extras[name] = np.arange(shape[0])
    x = np.full((NUM_ROWS, cell.input_blocks * HIDDEN_SIZE), 0.1, np.float32)
    before = tuple(np.zeros((cell.num_states, NUM_ROWS, HIDDEN_SIZE), np.float32))
    state = cell.step(
        replace(NUMPY, clamp=clamp), x=x, product=product, state=before, extras=extras
    )

    # An array of one state is no tuple of one, and would be taken for B states.
    shape = np.shape(state)
    if not isinstance(state, tuple) or shape != (cell.num_states, NUM_ROWS, HIDDEN_SIZE):
        raise ValueError(
            f"`step` returns a {type(state).__name__} of shape {shape}; it must be a tuple of"
            f" {cell.num_states} arrays (B, H)"
        )
    return np.asarray(cell.value(NUMPY, state))

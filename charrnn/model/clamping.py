"""Clamp a weighted sum of the cell values of a layer, instead of a single cell.

Shapes: B batch, k cells of the sum.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.model.cell_types import CLAMP_LIMIT, Cell
from charrnn.system.arrays import Float64Array

NUM_CELLS = 4
"""Cells of the sum that follows a detector (its direction), unless another number is asked for."""
EXACTNESS = 1e-12
"""Maximum difference between a clamped sum and its value, relative to the sum of the absolute
weights."""


@dataclass(frozen=True, slots=True)
class ClampedSum:
    """A weighted sum of the values of k cells of one layer, and the value at which it is clamped.

    Cell i is moved by a multiple of `moves[i]`, which has the sign of its weight. If the moves are
    variance times weight, this is the smallest change when each cell is measured in its own
    standard deviation. A cell that reaches the end of its range stays there, and the other cells
    move further.
    """

    units: tuple[int, ...]
    weights: tuple[float, ...]
    moves: tuple[float, ...]
    value: float

    def apply(self, cell: type[Cell], memories: NDArray[np.floating]) -> Float64Array:
        """Return the memories (B, k) of the cells, in float64, with which the sum has its value.

        Cells that need not move keep their memory exactly.
        """
        # Convert memories to values, which the sum adds up.
        before = memories.astype(np.float64)
        is_value = cell.shows == "h"
        values = before if is_value else np.tanh(before)

        moved = _move(
            values,
            weights=np.array(self.weights),
            moves=np.array(self.moves),
            target=self.value,
            limit=limit_of(cell),
        )

        # Convert the values of moved cells back. The other cells keep their memory, because the
        # conversion rounds.
        is_moved = moved != values
        if not is_value:
            moved = np.arctanh(np.where(is_moved, moved, 0))
        return np.where(is_moved, moved, before)


class Clampable(Protocol):
    """Weighted sums of cells that can be clamped by one value, such as a direction
    (`charrnn.analyses.directions`)."""

    def clamped_sums(self, value: float, cell: type[Cell]) -> dict[int, ClampedSum]:
        """Return the clamped sum of each layer. Raises UsageError if the cells cannot reach the
        value."""


def limit_of(cell: type[Cell]) -> float:
    """Return the largest value to which a cell is moved: 1, or slightly less if the memory at 1
    would be infinite."""
    return 1.0 if cell.shows == "h" else CLAMP_LIMIT


def _move(
    values: Float64Array,
    weights: Float64Array,
    moves: Float64Array,
    target: float,
    limit: float,
) -> Float64Array:
    """Move values (B, k) along `moves` (k,) until their weighted sum is `target`, and return them.

    As a function of the multiple of `moves`, the sum is piecewise linear and bends only where a
    cell reaches its limit. Newton's steps therefore never pass the target, and each but the last
    lets a cell reach its limit.
    """
    # A cell that is already beyond its limit may stay there.
    high = np.maximum(values, limit)
    low = np.minimum(values, -limit)
    tolerance = EXACTNESS * np.abs(weights).sum()

    for _ in range(len(weights) + 1):
        missing = target - (values * weights).sum(axis=-1)
        if (np.abs(missing) <= tolerance).all():
            break

        # Move only the cells that have not reached their limit.
        is_upwards = np.sign(missing)[:, None] * moves > 0
        steps = np.where(is_upwards, values < high, values > low) * moves

        # Newton's step is the multiple of the moves that closes the gap if no cell reaches a limit.
        gains = (steps * weights).sum(axis=-1)
        shares = np.divide(
            missing,
            gains,
            out=np.zeros_like(missing),
            where=gains > 0,
        )
        values = np.clip(values + shares[:, None] * steps, low, high)
    return values

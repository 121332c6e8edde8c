"""Clamp a weighted sum of the cell values of a layer: a direction over several cells, in place of one cell.

Shapes: B batch, k cells of the sum.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.display import Displayable
from charrnn.errors import UsageError, named
from charrnn.model.cells import CLAMP_LIMIT, Cell

EXACTNESS = 1e-12
"""Largest difference between a clamped sum and its value, relative to the sum of the absolute weights."""
Float64Array = NDArray[np.float64]
LEAST_GAIN = 0.01
"""A direction is shown beside the best cell if its score is higher by at least this much."""
NUM_CELLS = 4
"""Cells of a direction, unless another number is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Direction(Displayable):
    """A weighted sum of cell values that predicts a detector's labels: a linear probe on a few cells, or on all.

    Fitted on the choosing half of a text; scored, like the best cell, on the other half. The output is the sum of
    weight times value over the cells, plus `intercept`. It predicts the label: 1 inside and 0 outside, or a count.
    """

    detector: str
    cells: tuple[tuple[int, int], ...] = field(repr=False)
    """(layer, unit) of each cell, in the order in which they were selected: the best cell first."""
    weights: tuple[float, ...] = field(repr=False)
    means: tuple[float, ...] = field(repr=False)
    """Mean value of each cell on the choosing half."""
    deviations: tuple[float, ...] = field(repr=False)
    """Standard deviation of each cell on the choosing half."""
    intercept: float
    is_yes_no: bool
    score: float
    """AUC, or Spearman's rho for a count, of the output on the scoring half."""
    ci: tuple[float, float]
    """The 95 % interval of the score."""
    cell_score: float
    """The same score of the best cell, `cells[0]`, times its polarity."""
    gain_ci: tuple[float, float]
    """The 95 % interval of the difference between the two scores, from the same resamples."""
    low: float
    """Output that 2 % of the characters of the scoring half stay below."""
    high: float
    """Output that 98 % of them stay below."""
    num_chars: int
    is_all: bool = False
    """Whether it is over all cells of the model."""

    @property
    def name(self) -> str:
        """The name by which options ask for it, such as quote@4."""
        return f"{self.detector}@{'all' if self.is_all else len(self.cells)}"

    @property
    def gain(self) -> float:
        """How much higher its score is than that of the best cell."""
        return self.score - self.cell_score

    @property
    def is_better(self) -> bool:
        """Whether it is significantly better than the best cell, by LEAST_GAIN or more."""
        return self.gain >= LEAST_GAIN and self.gain_ci[0] > 0

    @property
    def shares(self) -> tuple[float, ...]:
        """The weight of each cell per standard deviation, divided by the sum of their absolute values."""
        sizes = [weight * deviation for weight, deviation in zip(self.weights, self.deviations, strict=True)]
        total = sum(map(abs, sizes)) or 1.0
        return tuple(size / total for size in sizes)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers of its cells, ascending."""
        return tuple(sorted({layer for layer, _ in self.cells}))

    def to_json(self) -> dict[str, Any]:
        """Return all fields and the derived ones as one object."""
        derived = {"name": self.name, "gain": self.gain, "is_better": self.is_better, "shares": self.shares}
        return asdict(self) | derived


@dataclass(frozen=True, slots=True)
class ClampedSum:
    """A weighted sum of the values of k cells of one layer, and the value at which it is clamped.

    Cell i is moved by a multiple of `moves[i]`, which has the sign of its weight. With moves of variance times weight,
    that is the smallest change if each cell is measured in its own standard deviations. A cell that reaches the end of
    its range stays there, and the others move further.
    """

    units: tuple[int, ...]
    weights: tuple[float, ...]
    moves: tuple[float, ...]
    value: float

    def apply(self, cell: type[Cell], memories: NDArray[np.floating]) -> Float64Array:
        """Return the memories (B, k) of the cells at which the sum has its value, in float64.

        Cells that need not move keep their memory exactly.
        """
        before = memories.astype(np.float64)
        is_value = cell.shows == "h"
        values = before if is_value else np.tanh(before)
        moved = _move(values, np.array(self.weights), np.array(self.moves), self.value, limit_of(cell))
        is_moved = moved != values
        return np.where(is_moved, moved if is_value else np.arctanh(np.where(is_moved, moved, 0)), before)


def limit_of(cell: type[Cell]) -> float:
    """Return the largest value to which a cell is moved: 1, or just below where the memory there would be infinite."""
    return 1.0 if cell.shows == "h" else CLAMP_LIMIT


def clamped_sums(direction: Direction, value: float, cell: type[Cell]) -> dict[int, ClampedSum]:
    """Return, by layer, the sums whose clamping gives a direction the output `value` at every character.

    A layer is computed before those above it, so each has a sum of its own. They share the distance from the mean
    output in proportion to the variance of their cells in the output, and add up to `value`. Raises UsageError if the
    cells cannot reach it.
    """
    by_layer = {layer: _part(direction, layer) for layer in direction.layers}
    centres = {layer: sum(weight * mean for _, weight, mean, _ in part) for layer, part in by_layer.items()}
    spreads = {layer: sum((weight * spread) ** 2 for _, weight, _, spread in part) for layer, part in by_layer.items()}
    total, centre = sum(spreads.values()), sum(centres.values()) + direction.intercept
    lowest, highest = -np.inf, np.inf
    for layer, part in by_layer.items():
        share = spreads[layer] / total
        if share > 0:
            reach = limit_of(cell) * sum(abs(weight) for _, weight, _, _ in part)
            lowest = max(lowest, centre + (-reach - centres[layer]) / share)
            highest = min(highest, centre + (reach - centres[layer]) / share)
    if not lowest <= value <= highest:
        raise UsageError(
            f"{named('clamps')} {direction.name}={value:g}: with its cells between -1 and 1, this direction reaches "
            f"{lowest:.3g} to {highest:.3g}. Give a value between "
            f"them. Its output is mostly between {direction.low:.3g} (low) and {direction.high:.3g} (high)."
        )
    return {
        layer: _sum_of(part, centres[layer] + (value - centre) * spreads[layer] / total)
        for layer, part in by_layer.items()
    }


def sum_at_means(direction: Direction, layer: int, means: Float64Array) -> ClampedSum:
    """Return the sum of a direction's cells in a layer, clamped at what it is for the mean values (H,) of the units."""
    part = _part(direction, layer)
    return _sum_of(part, float(sum(weight * means[unit] for unit, weight, _, _ in part)))


def _sum_of(part: list[tuple[int, float, float, float]], value: float) -> ClampedSum:
    units, weights, _, spreads = zip(*part, strict=True)
    return ClampedSum(units, weights, tuple(w * spread**2 for w, spread in zip(weights, spreads, strict=True)), value)


def _part(direction: Direction, layer: int) -> list[tuple[int, float, float, float]]:
    """Return unit, weight, mean and standard deviation of each cell of a direction that is in a layer."""
    columns = zip(direction.cells, direction.weights, direction.means, direction.deviations, strict=True)
    return [(unit, weight, mean, spread) for (at, unit), weight, mean, spread in columns if at == layer]


def _move(
    values: Float64Array, weights: Float64Array, moves: Float64Array, target: float, limit: float
) -> Float64Array:
    """Return values (B, k) that are moved along `moves` (k,) until their weighted sum is `target`.

    As a function of the multiple of `moves`, the sum is piecewise linear and bends only where a cell reaches its limit.
    Newton's steps therefore never pass the target, and each but the last lets a cell reach its limit.
    """
    high, low = np.maximum(values, limit), np.minimum(values, -limit)
    tolerance = EXACTNESS * np.abs(weights).sum()
    for _ in range(len(weights) + 1):
        missing = target - (values * weights).sum(axis=-1)
        if (np.abs(missing) <= tolerance).all():
            break
        steps = np.where(np.sign(missing)[:, None] * moves > 0, values < high, values > low) * moves
        gains = (steps * weights).sum(axis=-1)
        shares = np.divide(missing, gains, out=np.zeros_like(missing), where=gains > 0)
        values = np.clip(values + shares[:, None] * steps, low, high)
    return values

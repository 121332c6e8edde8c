"""Directions: fit a linear probe on a few cells, or on all, and score it beside the best cell.

Shapes: N characters, C = L * H cells, k cells of the direction.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.directions import DirectionContribution
from charrnn.cells.records import CellScore
from charrnn.cells.saved import record_from_json
from charrnn.cells.scores import Read, Target
from charrnn.cells.statistics import Moments, measure_score, resample_score
from charrnn.errors import DataError
from charrnn.files import JSON
from charrnn.intervals import percentiles
from charrnn.model.clamping import Direction

PERCENTILES = (2, 98)
"""Percentiles of the output that are its `low` and `high`."""


def fit_direction(
    target: Target,
    best: CellScore,
    size: int,
    num_units: int,
    read: Read,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> Direction:
    """Fit a direction of `size` cells, that of `best` first, on the choosing half, and score it on the other half.

    `num_units` is H. The text is read once; `on_progress` is called with the number of characters read since its last
    call. Raises DataError if no cell's value changes.
    """
    moments, labels = Moments(), target.labels.astype(np.float64)
    for indices, cells in read(0, target.half):
        moments.add(cells, labels[indices, None])
        on_progress(len(indices))
    first = best.layer * num_units + best.unit
    chosen, weights, deviations, intercept = moments.direction(size, first)
    if not chosen:
        raise DataError("No cell's value changes in this text: there is no direction. Give a longer one.")
    outputs = np.empty(len(labels) - target.half)
    values = np.empty(len(outputs), np.float32)
    for indices, cells in read(target.half, len(labels)):
        outputs[indices] = cells[:, chosen].astype(np.float64) @ weights + intercept
        values[indices] = cells[:, first]
        on_progress(len(indices))
    scoring = target.labels[target.half :]
    estimates = resample_score(outputs, scoring, 1)
    of_cell = resample_score(values, scoring, best.polarity)
    cell_score = measure_score(values, scoring, best.polarity)
    sign = 1 if target.is_yes_no else best.polarity
    low, high = np.percentile(outputs, PERCENTILES)
    return Direction(
        detector=target.name,
        cells=tuple(divmod(cell, num_units) for cell in chosen),
        weights=tuple(weights.tolist()),
        means=tuple(moments.means[chosen].tolist()),
        deviations=tuple(deviations.tolist()),
        intercept=intercept,
        is_yes_no=target.is_yes_no,
        score=measure_score(outputs, scoring, 1),
        ci=percentiles(estimates),
        cell_score=sign * cell_score,
        gain_ci=percentiles(estimates - sign * of_cell),
        low=float(low),
        high=float(high),
        num_chars=len(labels),
        is_all=len(chosen) == moments.num_cells,
    )


def outputs_of(direction: Direction, values: "list[NDArray[np.float32]]") -> NDArray[np.float64]:
    """Return the output (N,) of a direction from the values (N,) of each of its cells."""
    outputs = np.full(len(values[0]), direction.intercept)
    for weight, of_cell in zip(direction.weights, values, strict=True):
        outputs += weight * of_cell
    return outputs


def scaled_outputs(direction: Direction, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale outputs (N,) for a picture: -1 at the direction's `low`, 1 at its `high`, and none beyond."""
    spread = max(direction.high - direction.low, np.finfo(np.float64).tiny)
    return np.asarray(np.clip(2 * (outputs - direction.low) / spread - 1, -1, 1))


def direction_from_json(value: JSON, target: Target, num_layers: int, num_units: int) -> Direction | None:
    """Return the direction of a target over cells of a model; None if `value` is anything else."""
    direction = record_from_json(Direction, value)
    if direction is None or direction.detector != target.name or direction.is_yes_no != target.is_yes_no:
        return None
    num_cells = len(set(direction.cells))
    columns = (direction.cells, direction.weights, direction.means, direction.deviations)
    pairs = (*direction.cells, direction.ci, direction.gain_ci)
    if num_cells == 0 or any(len(column) != num_cells for column in columns) or any(len(pair) != 2 for pair in pairs):
        return None
    is_there = all(0 <= layer < num_layers and 0 <= unit < num_units for layer, unit in direction.cells)
    return direction if is_there and min(direction.deviations) > 0 else None


def contribution_from_json(value: JSON, direction: Direction) -> DirectionContribution | None:
    """Return what a direction contributes; None if `value` is anything else."""
    found = record_from_json(DirectionContribution, value)
    if found is None or found.direction != direction or not found.best_cell.cells:
        return None
    names = [effect.detector for effect in found.ablation.effects]
    for one in (found.ablation, found.best_cell, *found.random):
        pairs = (one.ci, *(ci for effect in one.effects for ci in (effect.ci_inside, effect.ci_outside)), *one.cells)
        if [effect.detector for effect in one.effects] != names or any(len(pair) != 2 for pair in pairs):
            return None
    return found

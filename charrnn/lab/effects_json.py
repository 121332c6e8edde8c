"""What drives cells and what they contribute, to JSON and back, for the findings of a run.

The drivers of a cell are a list of numbers, because there are many.

C = L * H cells. What is read is checked, because a run may be untrusted.
"""

import math
from collections.abc import Sequence

from charrnn.cells.records import Ablation
from charrnn.cells.saved import record_from_json
from charrnn.files import JSON
from charrnn.lab.cell_effects_records import CellInputs, Driver

DIGITS = 4
"""Significant digits of an effect that is measured for every cell."""


def rounded(value: float) -> float:
    """Return a number with DIGITS significant digits."""
    return float(f"{value:.{DIGITS}g}")


def ablation_from_json(value: JSON) -> Ablation | None:
    """Return the contribution of a cell; None if `value` is anything else."""
    found = record_from_json(Ablation, value)
    if found is None:
        return None
    pairs = (found.ci, *(ci for effect in found.effects for ci in (effect.ci_inside, effect.ci_outside)))
    return found if all(len(pair) == 2 for pair in pairs) else None


def inputs_to_json(inputs: Sequence[CellInputs]) -> JSON:
    """Return the drivers of all cells, in the order of the cells, without the earlier characters."""
    return [
        [one.num_positions, *([d.gate, d.layer, d.unit, d.weight, d.strength] for d in one.drivers)] for one in inputs
    ]


def inputs_from_json(value: JSON, num_layers: int, num_units: int) -> tuple[CellInputs, ...] | None:
    """Return the drivers of all cells of L layers of H units; None if `value` is anything else."""
    if not isinstance(value, list) or len(value) != num_layers * num_units:
        return None
    found = []
    for column, one in enumerate(value):
        if not isinstance(one, list) or not one or type(one[0]) is not int:
            return None
        drivers = [_driver(driver, num_layers, num_units) for driver in one[1:]]
        known = tuple(driver for driver in drivers if driver is not None)
        if len(known) < len(drivers):
            return None
        layer, unit = divmod(column, num_units)
        found.append(CellInputs(layer=layer, unit=unit, num_positions=one[0], drivers=known))
    return tuple(found)


def _driver(value: JSON, num_layers: int, num_units: int) -> Driver | None:
    if not isinstance(value, list) or [type(one) for one in value] != [str, int, int, float, float]:
        return None
    gate, layer, unit, weight, strength = value
    assert isinstance(gate, str) and isinstance(layer, int) and isinstance(unit, int)
    assert isinstance(weight, float) and isinstance(strength, float)
    if not (0 <= layer < num_layers and 0 <= unit < num_units and math.isfinite(weight) and math.isfinite(strength)):
        return None
    return Driver(gate=gate, layer=layer, unit=unit, weight=weight, strength=strength)

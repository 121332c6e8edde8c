"""Intervene in the equations of a layer: hold or exchange its memories, remove a direction of them,
or record what the layer computes.

Every function takes the functions of the equations (`Ops`) and returns them with one replaced.
Interventions are therefore combined by calling one with the result of another. A memory is what a
cell passes through `ops.clamp`. With zoneout it passes twice in a step.

Shapes: B batch, H hidden, k units.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from charrnn.model.cell_types import Array, Ops
from charrnn.system.lazy import Tensor, torch


def hold(ops: Ops, units: Sequence[int], values: Callable[[Any], Any]) -> Ops:
    """Return the functions, with the memories (B, k) of some units replaced by `values`, a function
    of these memories.

    What the prediction loses with a unit held at its mean is what the unit tells; a sample with a
    unit held at another value shows what it does.
    """
    chosen = list(units)

    def clamp(memory: Any) -> Any:
        memory = ops.clamp(memory)
        # Not in place: the memories may be a view of what the cell still needs.
        if isinstance(memory, np.ndarray):
            changed: Any = memory.copy()
        else:
            changed = memory.clone(memory_format=torch.contiguous_format)
        changed[:, chosen] = values(memory[:, chosen])
        return changed

    return replace(ops, clamp=clamp)


def exchange(ops: Ops, is_exchanged: Tensor, memories: Iterable[Tensor]) -> Ops:
    """Return the functions, with the entries that `is_exchanged` (B, H) marks taken from other
    memories.

    It asks whether the memory of one place of a text makes another place predict as the first does.
    Each time a memory passes, the next one of `memories`, each (B, H), is taken.
    """
    remaining = iter(memories)

    def clamp(memory: Tensor) -> Tensor:
        return torch.where(is_exchanged, next(remaining), ops.clamp(memory))

    return replace(ops, clamp=clamp)


def remove(ops: Ops, directions: Tensor, *, means: Tensor, deviations: Tensor) -> Ops:
    """Return the functions, with a direction removed from the memories (B, H): along it, each row
    gets the mean.

    `directions`, (H,) or one for each row (B, H), are in the standard deviations `deviations` (H,)
    of the memories about their `means` (H,). Of a direction whose length is not 1, the square of
    the length is the share that is removed: nothing of zeros.
    """

    def clamp(memory: Tensor) -> Tensor:
        memory = ops.clamp(memory)
        along = ((memory - means) * (directions / deviations)).sum(-1, keepdim=True)
        return memory - along * (directions * deviations)

    return replace(ops, clamp=clamp)


def record(ops: Ops, name: str, keep: Callable[[Array, Array], object]) -> Ops:
    """Return the functions, of which the one called `name` passes its argument and its result to
    `keep` at every call: gates are read so, which no state contains."""
    function = getattr(ops, name)

    def call(value: Array) -> Array:
        result = function(value)
        keep(value, result)
        return result

    changed: dict[str, Any] = {name: call}
    return replace(ops, **changed)


def record_layers(ops: Ops, name: str, results: Sequence[list[Array]]) -> dict[int, Ops]:
    """Return the functions of each layer, of which the one called `name` adds its results to the
    layer's list in `results`.

    A whole window of gates is kept by it, for statistics; `record` passes each value on at once,
    with what it was computed from.
    """
    recorders = {}
    for layer, of_layer in enumerate(results):
        recorders[layer] = record(ops, name, keep=partial(_append, of_layer))
    return recorders


def _append(results: list[Array], _: Array, result: Array) -> None:
    results.append(result)

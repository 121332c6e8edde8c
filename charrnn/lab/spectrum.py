"""The largest singular value and the spectral radius of recurrent matrices, from checkpoint to checkpoint.

A gradient of a plain rnn that goes back one character is multiplied by diag(tanh') W_hh'. As tanh' <= 1, it vanishes
if the largest singular value of W_hh is below 1; that it is above 1 is necessary for it to explode (Pascanu, Mikolov &
Bengio 2013, section 2.1).

Shapes: H units.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.gates import INPUT_BLOCKS
from charrnn.config import Config, resolved
from charrnn.files import JSON
from charrnn.lab.numbers import DOUBLE, Doubles
from charrnn.lab.spectrum_records import MatrixSpectrum, TrainingSpectrum
from charrnn.model.cells import Unitary
from charrnn.model.registry import cell_type

MAX_NORMS = 1_000
"""Gradient norms of a run at most: more steps are grouped, and the largest norm of each group is kept."""

Place = tuple[int, str, str]
"""Layer, matrix and gate, as in `MatrixSpectrum`."""


def recurrent_matrices(config: Config, tensors: Mapping[str, NDArray[Any]]) -> Iterator[tuple[Place, Doubles]]:
    """Yield every recurrent matrix (H, H) that multiplies the state of a layer, block by block, in float64.

    That of an antisymmetric cell is W - W', that of a unitary one the matrix of its rotations.
    """
    cell, size = cell_type(config.cell), resolved(config.hidden_size)
    letters = INPUT_BLOCKS.get(config.cell, "")
    for layer in range(resolved(config.num_layers)):
        prefix = f"layers.{layer}."
        for name, num_blocks in cell.products.items():
            weight = np.asarray(tensors[f"{prefix}weight_{name}_l0"], np.float64)
            whole = np.asarray(cell.effective_weight(weight))
            for number, block in enumerate(whole.reshape(num_blocks, size, size)):
                gate = "" if num_blocks == 1 else letters[number] if letters else str(number)
                yield (layer, f"W_{name}", gate), block
        if cell is Unitary:
            extras = {
                name: tensors[prefix + name].astype(np.int64 if kind == "permutation" else np.float64)
                for name, (_, kind) in cell.extras(size).items()
            }
            rotated: Doubles = np.concatenate(Unitary.rotate(DOUBLE, np.eye(size), extras), axis=-1)
            yield (layer, "U", ""), rotated.T


def measure_spectrum(
    name: str,
    config: Config,
    checkpoints: Iterable[tuple[int, Mapping[str, NDArray[Any]]]],
    log: Iterable[Mapping[str, JSON]],
    *,
    on_progress: Callable[[int], object] = lambda _: None,
) -> TrainingSpectrum:
    """Measure the recurrent matrices of (step, tensors) in `checkpoints`; the gradient norms are those of a run's log.

    `on_progress` is called with the number of matrices measured since its last call.
    """
    steps: list[int] = []
    found: dict[Place, tuple[list[float], list[float]]] = {}
    for step, tensors in checkpoints:
        steps.append(step)
        for place, matrix in recurrent_matrices(config, tensors):
            singular_values, radii = found.setdefault(place, ([], []))
            singular_values.append(float(np.linalg.norm(matrix, 2)))
            radii.append(float(np.abs(np.linalg.eigvals(matrix)).max()))
            on_progress(1)
    gradient_steps, norms = gradient_norms(log)
    return TrainingSpectrum(
        name=name,
        cell=config.cell,
        clip_norm=config.clip_norm,
        steps=tuple(steps),
        matrices=tuple(
            MatrixSpectrum(
                layer=layer,
                matrix=matrix_name,
                gate=gate,
                largest_singular_values=tuple(singular_values),
                spectral_radii=tuple(radii),
            )
            for (layer, matrix_name, gate), (singular_values, radii) in found.items()
        ),
        gradient_steps=gradient_steps,
        gradient_norms=norms,
    )


def gradient_norms(log: Iterable[Mapping[str, JSON]]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the steps of a run's log and the norms of their gradients, at most `MAX_NORMS` of each."""
    logged = [
        (step, float(norm))
        for record in log
        if record.get("event") == "step"
        and isinstance(step := record.get("step"), int)
        and isinstance(norm := record.get("grad_norm"), int | float)
    ]
    size = max(1, -(-len(logged) // MAX_NORMS))
    largest = [max(logged[first : first + size], key=lambda one: one[1]) for first in range(0, len(logged), size)]
    return tuple(step for step, _ in largest), tuple(norm for _, norm in largest)

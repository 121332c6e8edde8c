"""The largest singular values of the recurrent matrices of a run during its training."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType

from charrnn.analyses.gradients.charts import line_chart, log_segments, points_of, power_ticks
from charrnn.analyses.numbers import DOUBLE, Doubles, block_letters
from charrnn.api import load_steps, open_folder
from charrnn.config.settings import Config, resolved
from charrnn.errors import UsageError, named
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.cell_types import LinearCell, Unitary
from charrnn.model.walk import Architecture
from charrnn.runs.logs import MetricsLog
from charrnn.runs.reader import CHECKPOINTS
from charrnn.system.display import Displayable
from charrnn.system.files import JSON
from charrnn.system.progress import task
from charrnn.views.charts import Line, LineChart, ticks_from_zero

SPECTRUM_TITLE = (
    "Largest singular value of the recurrent matrix, of the blocks of gates the largest"
)
"""Title of the first chart."""
MAX_NORMS = 1_000
"""Gradient norms of a run at most: more steps are grouped, and the largest norm of each group is
kept."""
Place = tuple[int, str, str]
"""Layer, matrix and gate, as in `MatrixSpectrum`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixSpectrum:
    """The largest singular value of one recurrent matrix (H, H) at every checkpoint."""

    layer: int
    matrix: str
    """`W_hh`, `W_mh`, or `U` for the matrix of a unitary cell."""
    gate: str
    """The letter of the gate or candidate whose block of rows it is; "" for a cell type without
    gates."""
    largest_singular_values: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSpectrum(Displayable):
    """The recurrent matrices of a run at its checkpoints, and the norms of its gradients."""

    name: str
    cell: str
    clip_norm: float
    """Norm to which larger gradients are clipped."""
    steps: tuple[int, ...]
    """The steps of the checkpoints."""
    matrices: tuple[MatrixSpectrum, ...]
    gradient_steps: tuple[int, ...] = field(repr=False)
    gradient_norms: tuple[float, ...] = field(repr=False)
    """Norms before clipping; of a long training the largest of each group of steps."""

    def view(self) -> Sequence[RenderableType]:
        """Return the charts of the singular values and of the gradient norms."""
        return [spectrum_chart([self]), norm_chart([self])]


def training_spectrum(
    run: str | Path | None = None, *, checkpoints: Path = CHECKPOINTS
) -> TrainingSpectrum:
    """Measure the recurrent matrices of a run at every checkpoint that is whole, and read its
    gradient norms.

    Without `run`, of the newest one. Raises UsageError for a model file, which has one step,
    CheckpointError if there is no such run.

    >>> charrnn.training_spectrum("shakespeare").matrices[0].largest_singular_values
    """
    # All checkpoints have the settings of the best one.
    folder = open_folder(run, checkpoints)
    config = folder.load_best().description.config()
    if issubclass(cell_type(config.cell), LinearCell):
        raise UsageError(
            f"The cell {config.cell} multiplies its state by gates, not by a matrix: it has no"
            f" spectrum.\n{named('gates')} shows how open the gates are, {named('gradients')} how"
            " far back they reach."
        )
    return measure_spectrum(
        folder.path.name,
        config,
        checkpoints=((model.step, model.tensors) for model in load_steps(folder.path)),
        log=MetricsLog(folder.path / "metrics.jsonl").read(),
    )


def recurrent_matrices(
    config: Config, tensors: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[Place, Doubles]]:
    """Yield every recurrent matrix (H, H) that multiplies the state of a layer, block by block, in
    float64.

    That of an antisymmetric cell is W - W', that of a unitary one the matrix of its rotations.
    """
    # Block by block: each gate has a matrix of its own, which a norm of all would hide.
    cell = cell_type(config.cell)
    size = resolved(config.hidden_size)
    for layer in range(resolved(config.num_layers)):
        for name, num_blocks in cell.products.items():
            weight = np.asarray(tensors[f"layers.{layer}.weight_{name}_l0"], np.float64)
            blocks = np.asarray(cell.effective_weight(weight)).reshape(num_blocks, size, size)
            letters = block_letters(cell, num_blocks)
            for letter, block in zip(letters, blocks, strict=True):
                yield (layer, f"W_{name}", letter), block
        if cell is Unitary:
            extras = Architecture.of(config).extras_of(layer, tensors, np.float64)
            rotated: Doubles = np.concatenate(Unitary.rotate(DOUBLE, np.eye(size), extras), axis=-1)
            yield (layer, "U", ""), rotated.T


def measure_spectrum(
    name: str,
    config: Config,
    *,
    checkpoints: Iterable[tuple[int, Mapping[str, NDArray[Any]]]],
    log: Iterable[Mapping[str, JSON]],
) -> TrainingSpectrum:
    """Measure the recurrent matrices of (step, tensors) in `checkpoints`; `log` is that of the
    run."""
    # By matrix, one number for each checkpoint: the norm by 2 is the largest singular value.
    steps: list[int] = []
    found: dict[Place, list[float]] = {}
    with task("singular values", unit="matrices") as advance:
        for step, tensors in checkpoints:
            steps.append(step)
            for place, matrix in recurrent_matrices(config, tensors):
                found.setdefault(place, []).append(float(np.linalg.norm(matrix, 2)))
                advance()

    # In the order in which the first checkpoint had them.
    matrices = []
    for (layer, of_matrix, gate), values in found.items():
        spectrum = MatrixSpectrum(
            layer=layer, matrix=of_matrix, gate=gate, largest_singular_values=tuple(values)
        )
        matrices.append(spectrum)

    # The log has every step, the checkpoints only some.
    gradient_steps, norms = gradient_norms(log)
    return TrainingSpectrum(
        name=name,
        cell=config.cell,
        clip_norm=config.clip_norm,
        steps=tuple(steps),
        matrices=tuple(matrices),
        gradient_steps=gradient_steps,
        gradient_norms=norms,
    )


def gradient_norms(log: Iterable[Mapping[str, JSON]]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the steps of a run's log and the norms of their gradients, at most MAX_NORMS of
    each."""
    # A log has other events, too, and may end within a line.
    logged = []
    for record in log:
        step = record.get("step")
        norm = record.get("grad_norm")
        # A norm that is not finite is logged as null.
        if (
            record.get("event") == "step"
            and isinstance(step, int)
            and isinstance(norm, int | float)
        ):
            logged.append((float(norm), step))

    # Of each group the largest: a mean would hide the one step that exploded.
    size = max(1, -(-len(logged) // MAX_NORMS))
    steps: list[int] = []
    norms: list[float] = []
    for first in range(0, len(logged), size):
        norm, step = max(logged[first : first + size], key=lambda one: one[0])
        steps.append(step)
        norms.append(norm)
    return tuple(steps), tuple(norms)


def spectrum_chart(spectra: Sequence[TrainingSpectrum]) -> LineChart:
    """Draw the largest singular value of every run's recurrent matrices, layer by layer, against
    the step."""
    # One line for each layer: that of the block which multiplies most.
    lines: list[Line] = []
    for spectrum in spectra:
        by_layer: dict[int, list[tuple[float, ...]]] = {}
        for matrix in spectrum.matrices:
            by_layer.setdefault(matrix.layer, []).append(matrix.largest_singular_values)
        for layer, values in by_layer.items():
            name = spectrum.name
            if len(by_layer) > 1:
                name += f", layer {layer}"
            largest = np.max(values, axis=0).tolist()
            points = list(zip(spectrum.steps, largest, strict=True))
            lines.append(Line(name, [points], len(lines)))

    # From 0, so that 1, where gradients neither vanish nor explode, is seen in its place.
    highest = max((value for _, value in points_of(lines)), default=1.0)
    return line_chart(
        SPECTRUM_TITLE, lines, ticks_from_zero(highest), empty="No checkpoint is whole."
    )


def norm_chart(spectra: Sequence[TrainingSpectrum]) -> LineChart:
    """Draw every run's gradient norms against the step, on a log scale."""
    lines = []
    for number, spectrum in enumerate(spectra):
        norms = zip(spectrum.gradient_steps, spectrum.gradient_norms, strict=True)
        # A norm out of range leaves no gap: steps are many, and their line is drawn through.
        points = list(chain.from_iterable(log_segments(norms)))
        lines.append(Line(f"{spectrum.name}, clipped at {spectrum.clip_norm:g}", [points], number))
    title = "Norm of the gradient of a step, before clipping"
    return line_chart(title, lines, power_ticks(lines), empty="No gradient norm is logged.")

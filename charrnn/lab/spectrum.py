"""`visualize --spectrum`: the largest singular value of recurrent matrices during training.

A gradient of a plain rnn that goes back one character is multiplied by diag(tanh') W_hh'. As tanh' <= 1, it vanishes
if the largest singular value of W_hh is below 1; that it is above 1 is necessary for it to explode (Pascanu, Mikolov &
Bengio 2013, section 2.1).

Shapes: H units.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text

from charrnn.api import load_steps, open_folder
from charrnn.cells.trace import INPUT_BLOCKS
from charrnn.cli.analyses import Analysis, Option, Shown, Subject
from charrnn.config import Config, resolved
from charrnn.display import Displayable
from charrnn.errors import UsageError, named
from charrnn.extensions import PackageFunction
from charrnn.files import JSON
from charrnn.lab.gradients import WITH, log_segments, power_ticks
from charrnn.lab.history import FEW_STEPS, run_folder
from charrnn.lab.numbers import DOUBLE, Doubles
from charrnn.model.cells import LinearCell, Unitary
from charrnn.model.registry import cell_type
from charrnn.model.walk import Architecture
from charrnn.progress import task
from charrnn.runs.logs import MetricsLog
from charrnn.runs.reader import CHECKPOINTS
from charrnn.views.charts import Line, LineChart, Point, Tick, round_step, ticks_from_zero

SPECTRUM_TITLE = "Largest singular value of the recurrent matrix, of the blocks of gates the largest"
"""Title of the first chart."""
MAX_NORMS = 1_000
"""Gradient norms of a run at most: more steps are grouped, and the largest norm of each group is kept."""
Place = tuple[int, str, str]
"""Layer, matrix and gate, as in `MatrixSpectrum`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixSpectrum:
    """The largest singular value of one recurrent matrix (H, H) at every checkpoint."""

    layer: int
    matrix: str
    """`W_hh`, `W_mh`, or `U` for the matrix of a unitary cell."""
    gate: str
    """The letter of the gate or candidate whose block of rows it is; "" for a cell type without gates."""
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


def training_spectrum(run: str | Path | None = None, *, checkpoints: Path = CHECKPOINTS) -> TrainingSpectrum:
    """Measure the recurrent matrices of a run at every checkpoint that is whole, and read its gradient norms.

    `run` and what is raised as for `load_steps`.
    """
    folder = open_folder(run, checkpoints)
    config = folder.load_best().description.config()
    if issubclass(cell_type(config.cell), LinearCell):
        raise UsageError(
            f"The cell {config.cell} multiplies its state by gates, not by a matrix: it has no spectrum.\n"
            f"{named('gates')} shows how open the gates are, {named('gradients')} how far back they reach."
        )
    steps = ((model.step, model.tensors) for model in load_steps(folder.path))
    log = MetricsLog(folder.path / "metrics.jsonl").read()
    return measure_spectrum(folder.path.name, config, steps, log)


def recurrent_matrices(config: Config, tensors: Mapping[str, NDArray[Any]]) -> Iterator[tuple[Place, Doubles]]:
    """Yield every recurrent matrix (H, H) that multiplies the state of a layer, block by block, in float64.

    That of an antisymmetric cell is W - W', that of a unitary one the matrix of its rotations.
    """
    cell, size = cell_type(config.cell), resolved(config.hidden_size)
    letters = INPUT_BLOCKS.get(config.cell, "")
    for layer in range(resolved(config.num_layers)):
        for name, num_blocks in cell.products.items():
            weight = np.asarray(tensors[f"layers.{layer}.weight_{name}_l0"], np.float64)
            whole = np.asarray(cell.effective_weight(weight))
            for number, block in enumerate(whole.reshape(num_blocks, size, size)):
                gate = "" if num_blocks == 1 else letters[number] if letters else str(number)
                yield (layer, f"W_{name}", gate), block
        if cell is Unitary:
            extras = Architecture.of(config).extras_of(layer, tensors, np.float64)
            rotated: Doubles = np.concatenate(Unitary.rotate(DOUBLE, np.eye(size), extras), axis=-1)
            yield (layer, "U", ""), rotated.T


def measure_spectrum(
    name: str,
    config: Config,
    checkpoints: Iterable[tuple[int, Mapping[str, NDArray[Any]]]],
    log: Iterable[Mapping[str, JSON]],
) -> TrainingSpectrum:
    """Measure the recurrent matrices of (step, tensors) in `checkpoints`; `log` is that of the run."""
    steps: list[int] = []
    found: dict[Place, list[float]] = {}
    with task("singular values", unit="matrices") as advance:
        for step, tensors in checkpoints:
            steps.append(step)
            for place, matrix in recurrent_matrices(config, tensors):
                found.setdefault(place, []).append(float(np.linalg.norm(matrix, 2)))
                advance()
    gradient_steps, norms = gradient_norms(log)
    return TrainingSpectrum(
        name=name,
        cell=config.cell,
        clip_norm=config.clip_norm,
        steps=tuple(steps),
        matrices=tuple(
            MatrixSpectrum(layer=layer, matrix=matrix_name, gate=gate, largest_singular_values=tuple(values))
            for (layer, matrix_name, gate), values in found.items()
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


def spectrum_chart(spectra: Sequence[TrainingSpectrum]) -> LineChart:
    """Draw the largest singular value of every run's recurrent matrices, layer by layer, against the step."""
    curves = []
    for spectrum in spectra:
        layers = sorted({matrix.layer for matrix in spectrum.matrices})
        for layer in layers:
            values = [matrix.largest_singular_values for matrix in spectrum.matrices if matrix.layer == layer]
            name = spectrum.name if len(layers) == 1 else f"{spectrum.name}, layer {layer}"
            curves.append((name, list(zip(spectrum.steps, map(max, zip(*values, strict=True)), strict=True))))
    highest = max((value for _, points in curves for _, value in points), default=1.0)
    return _chart(SPECTRUM_TITLE, curves, lambda lines: ticks_from_zero(highest), "No checkpoint is whole.")


def norm_chart(spectra: Sequence[TrainingSpectrum]) -> LineChart:
    """Draw every run's gradient norms against the step, on a log scale."""
    curves = []
    for spectrum in spectra:
        norms = zip(spectrum.gradient_steps, spectrum.gradient_norms, strict=True)
        points = [point for segment in log_segments(norms) for point in segment]
        curves.append((f"{spectrum.name}, clipped at {spectrum.clip_norm:g}", points))
    return _chart("Norm of the gradient of a step, before clipping", curves, power_ticks, "No gradient norm is logged.")


def _chart(
    title: str,
    curves: Sequence[tuple[str, Sequence[Point]]],
    up_ticks: Callable[[Sequence[Line]], Sequence[Tick]],
    empty_notice: str,
) -> LineChart:
    """Draw named curves against the step."""
    last = max([1, *(step for _, points in curves for step, _ in points)])
    lines = [Line(name, [points], number) for number, (name, points) in enumerate(curves)]

    def ticks(most: int) -> list[Tick]:
        return [(tick, f"{tick:,}") for tick in range(0, math.floor(last) + 1, max(1, round(round_step(last, most))))]

    return LineChart(
        title=title,
        lines=lines,
        across=(0, last),
        across_label="step",
        across_ticks=ticks,
        up_ticks=up_ticks(lines),
        empty_notice=empty_notice,
    )


SPECTRUM = Option("--spectrum", "Show the recurrent matrices' largest singular values during training.", kind=bool)
"""Selects the analysis."""


def _measure(subject: Subject) -> list[TrainingSpectrum]:
    return [training_spectrum(run) for run in (run_folder(subject.model), *(subject.value(WITH) or ()))]


def _show(subject: Subject, spectra: Sequence[TrainingSpectrum]) -> Shown:
    """Draw the recurrent matrices of runs at their checkpoints, and the norms of their gradients."""
    pictures: list[RenderableType] = [spectrum_chart(spectra), norm_chart(spectra)]
    if min(len(spectrum.steps) for spectrum in spectra) < FEW_STEPS:
        pictures.append(Text("Few steps are saved: train with --save-every and --keep 100 to see more of them."))
    return Shown(f"Recurrent matrices of {spectra[0].name}", pictures, [spectrum.to_json() for spectrum in spectra])


EXTENSIONS = (
    PackageFunction(name="training_spectrum", function=training_spectrum),
    Analysis(option=SPECTRUM, measure=_measure, show=_show, options=(WITH,), reads_text=False),
)
"""`charrnn.training_spectrum` and `visualize --spectrum`."""

"""Draw what training does to the recurrent matrices, and how large its gradients are."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from charrnn.lab.gradients_view import HIGHEST, LOWEST, decades
from charrnn.lab.spectrum_records import TrainingSpectrum
from charrnn.views.charts import MAX_TICKS, ChartOfRecords, Line, LineChart, Point, round_step
from charrnn.views.tables import plain_table
from charrnn.views.theme import all_visible

SPECTRUM_TITLE = "Largest singular value of the recurrent matrix, of the blocks of gates the largest"
"""Title of the first chart."""
NORM_TITLE = "Norm of the gradient of a step, before clipping"
"""Title of the second chart."""
NO_CHECKPOINT = "No checkpoint is whole."
"""Shown instead of the first chart without a point."""
NO_NORM = "No gradient norm is logged."
"""Shown instead of the second chart without a point."""


@dataclass(frozen=True)
class SpectrumChart(ChartOfRecords):
    """A renderable of the largest singular value of every run's recurrent matrices against the step."""

    spectra: Sequence[TrainingSpectrum]

    def chart(self, *, ascii_only: bool) -> LineChart:
        curves = [curve for spectrum in self.spectra for curve in _largest(spectrum, ascii_only=ascii_only)]
        lines = [Line(name, [points], number) for number, (name, points) in enumerate(curves)]
        values = [value for _, points in curves for _, value in points] or [1.0]
        step = round_step(max(*values, 1e-9), MAX_TICKS - 1)
        ticks = [step * number for number in range(math.ceil(max(values) / step) + 1)]
        return LineChart(
            title=SPECTRUM_TITLE,
            lines=lines,
            across=(0, _last_step(curves)),
            across_label="step",
            across_ticks=lambda most: _step_ticks(_last_step(curves), most),
            up_ticks=[(tick, f"{tick:g}") for tick in ticks],
            empty_notice=NO_CHECKPOINT,
        )


@dataclass(frozen=True)
class NormChart(ChartOfRecords):
    """A renderable of every run's gradient norms against the step, on a log scale."""

    spectra: Sequence[TrainingSpectrum]

    def chart(self, *, ascii_only: bool) -> LineChart:
        curves: list[tuple[str, list[Point]]] = []
        for spectrum in self.spectra:
            pairs = zip(spectrum.gradient_steps, spectrum.gradient_norms, strict=True)
            points: list[Point] = [
                (step, math.log10(norm)) for step, norm in pairs if 10.0**LOWEST <= norm <= 10.0**HIGHEST
            ]
            name = all_visible(spectrum.name, ascii_only=ascii_only)
            curves.append((f"{name}, clipped at {spectrum.clip_norm:g}", points))
        heights = [height for _, points in curves for _, height in points] or [0.0]
        return LineChart(
            title=NORM_TITLE,
            lines=[Line(name, [points], number) for number, (name, points) in enumerate(curves)],
            across=(0, _last_step(curves)),
            across_label="step",
            across_ticks=lambda most: _step_ticks(_last_step(curves), most),
            up_ticks=[(tick, f"1e{tick}") for tick in decades(min(heights), max(heights))],
            empty_notice=NO_NORM,
        )


def _largest(spectrum: TrainingSpectrum, *, ascii_only: bool) -> Iterator[tuple[str, list[Point]]]:
    """Yield for each layer its name and the largest singular value of its matrices by step."""
    layers = sorted({matrix.layer for matrix in spectrum.matrices})
    for layer in layers:
        values = [matrix.largest_singular_values for matrix in spectrum.matrices if matrix.layer == layer]
        name = all_visible(spectrum.name, ascii_only=ascii_only)
        yield (
            name if len(layers) == 1 else f"{name}, layer {layer}",
            [(step, max(at_step)) for step, at_step in zip(spectrum.steps, zip(*values, strict=True), strict=True)],
        )


def _last_step(curves: Sequence[tuple[str, Sequence[Point]]]) -> float:
    return max([1.0, *(step for _, points in curves for step, _ in points)])


def _step_ticks(last: float, most: int) -> Iterator[tuple[float, str]]:
    step = max(1, round(round_step(last, most)))
    for tick in range(0, math.floor(last) + 1, step):
        yield tick, f"{tick:,}"


def spectra_table(spectra: Sequence[TrainingSpectrum]) -> Table:
    """Build the table of recurrent matrices at the first and the last checkpoint of each run."""
    numbers = ("σ first", "σ last", "ρ first", "ρ last")
    table = plain_table("run", "matrix", *numbers, right=numbers)
    for spectrum in spectra:
        for matrix in spectrum.matrices:
            layer = f"{matrix.layer}: " if any(other.layer for other in spectrum.matrices) else ""
            values = matrix.largest_singular_values, matrix.spectral_radii
            table.add_row(
                spectrum.name,
                f"{layer}{matrix.matrix} {matrix.gate}".rstrip(),
                *(f"{series[place]:.3f}" for series in values for place in (0, -1)),
            )
    table.caption = "σ: largest singular value, ρ: largest absolute eigenvalue, at the first and the last checkpoint"
    return table

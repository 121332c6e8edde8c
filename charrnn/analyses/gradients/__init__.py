"""`visualize --gradients` and `--spectrum`: how far gradients reach back, and what multiplies them.

A gradient of a plain rnn that goes back one character is multiplied by diag(tanh') W_hh'. As tanh'
<= 1, it vanishes if the largest singular value of W_hh is below 1; that it is above 1 is necessary
for it to explode (Hochreiter 1991; Pascanu, Mikolov & Bengio 2013, section 2.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from charrnn.analyses.gradients.reach import TITLE, GradientReach, gradient_chart, gradients_with
from charrnn.analyses.gradients.spectrum import (
    TrainingSpectrum,
    norm_chart,
    spectrum_chart,
    training_spectrum,
)
from charrnn.analyses.history import FEW_STEPS, run_folder
from charrnn.cli.analyses import NETWORK, Analysis, Shown, Subject
from charrnn.cli.arguments import load_model
from charrnn.config.options import option


def _with_option() -> Any:
    """Declare further runs that share a chart, for two analyses."""
    return option(
        (),
        "--with RUN",
        "With --gradients or --spectrum: add another run to the charts (repeatable).",
        NETWORK,
    )


@dataclass(frozen=True, kw_only=True)
class GradientsOptions:
    """The options of `visualize --gradients`."""

    gradients: bool = option(
        False, "--gradients", "Show how the gradient decays or grows with distance.", NETWORK
    )
    beside: Sequence[str] = _with_option()


def _measure(subject: Subject[GradientsOptions]) -> tuple[GradientReach, ...]:
    # Beside the run itself, under the same text.
    others = [load_model(name, quiet=subject.options.quiet) for name in subject.own.beside]
    return gradients_with(subject.model, others, subject.content, context=subject.context)


def _show(subject: Subject[GradientsOptions], reaches: Sequence[GradientReach]) -> Shown:
    """Draw how far the gradient of each network reaches back: one run in one chart, several in
    two."""
    # A run and its baseline share a chart; the lines of several would cover each other.
    pictures: list[RenderableType] = [gradient_chart(reaches)]
    trained = [reach for reach in reaches if not reach.is_untrained]
    untrained = [reach for reach in reaches if reach.is_untrained]
    if len(trained) > 1:
        pictures = [
            gradient_chart(trained, f"{TITLE}, trained"),
            gradient_chart(untrained, f"{TITLE}, untrained"),
        ]
    data = [reach.to_json() for reach in reaches]
    return Shown(f"Gradients of {reaches[0].name}", pictures, data)


@dataclass(frozen=True, kw_only=True)
class SpectrumOptions:
    """The options of `visualize --spectrum`."""

    spectrum: bool = option(
        False,
        "--spectrum",
        "Show the recurrent matrices' largest singular values during training.",
        NETWORK,
    )
    beside: Sequence[str] = _with_option()


def _measure_spectra(subject: Subject[SpectrumOptions]) -> list[TrainingSpectrum]:
    # A run by its folder: all of its checkpoints are read, not only the loaded one.
    runs: list[str | Path] = [run_folder(subject.model), *subject.own.beside]
    return [training_spectrum(run) for run in runs]


def _show_spectra(subject: Subject[SpectrumOptions], spectra: Sequence[TrainingSpectrum]) -> Shown:
    """Draw the recurrent matrices of runs at their checkpoints, and the norms of their
    gradients."""
    pictures: list[RenderableType] = [spectrum_chart(spectra), norm_chart(spectra)]
    # By default a run keeps only its newest checkpoints.
    if min(len(spectrum.steps) for spectrum in spectra) < FEW_STEPS:
        advice = "train with --save-every and --keep 100 to see more of them."
        pictures.append(Text(f"Few steps are saved: {advice}"))
    data = [spectrum.to_json() for spectrum in spectra]
    return Shown(f"Recurrent matrices of {spectra[0].name}", pictures, data)


ANALYSES = (
    Analysis(flag="--gradients", options=GradientsOptions, measure=_measure, show=_show),
    Analysis(
        flag="--spectrum",
        options=SpectrumOptions,
        measure=_measure_spectra,
        show=_show_spectra,
        reads_text=lambda own: False,
    ),
)
"""`visualize --gradients` and `--spectrum`."""

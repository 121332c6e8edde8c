"""The modes of `charrnn visualize`: what each of them measures, and the picture that shows it.

Everything is measured by the Python interface (`charrnn.api.Model`, `charrnn.cells.study.Study`).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from charrnn.cli import pictures
from charrnn.cli.arguments import (
    is_cell,
    parse_cell,
    parse_direction,
    parse_patched,
    parse_position,
    to_content,
)
from charrnn.cli.exporting import deliver
from charrnn.cli.pictures import NUM_GUESSES, ColouredCells, FoundCells, Shown
from charrnn.cli.progress import progress
from charrnn.views.export import PICTURE_SUFFIXES

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.cells.directions import DirectionContribution
    from charrnn.cells.records import Ablation, CellFindings, CellHistory, GateReport, GradientReach
    from charrnn.cells.study import Study
    from charrnn.cells.trace import Trace
    from charrnn.detectors.detector import Detector
    from charrnn.lab.cell_effects_records import Patch
    from charrnn.lab.descriptions_records import DescriptionReport
    from charrnn.lab.matching_records import MatchReport
    from charrnn.lab.spectrum_records import TrainingSpectrum
    from charrnn.text.encoded import EncodedText
    from charrnn.views.layout import Layout

Measured = TypeVar("Measured")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one call that decide what a mode measures and shows."""

    cells: tuple[str, ...]
    ablated: str | None
    others: tuple[str, ...]
    """Runs that share the charts of `--gradients` and `--spectrum`, or whose cells `--same` matches."""
    ignores_saved: bool
    """Whether findings saved in the runs are ignored."""
    detectors: "list[Detector]"
    has_chosen_detectors: bool
    patched: tuple[str, ...]
    source: str | None
    """The passage of `--from`: a text, or @ and a position; None for where the cell is highest."""
    target: str | None
    """The same of `--into`; None for where the cell is lowest."""
    num_passages: int
    num_listed: int | None
    """Cells that a table lists at most; None if no number was given."""
    has_guesses: bool
    has_sparkline: bool
    export: Path | None
    layout: "Layout | None"
    """The size and shape of an exported picture, if they were asked for."""
    quiet: bool

    @property
    def patches_typed_passages(self) -> bool:
        """Whether `--patch` needs no other text than those that were typed."""
        passages = (("--from", self.source), ("--into", self.target))
        return all(typed is not None and parse_position(option, typed) is None for option, typed in passages)

    @property
    def suffix(self) -> str:
        """The suffix of the exported file in lower case, "" without an export."""
        return "" if self.export is None else self.export.suffix.lower()


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, the text it is measured on, and the options."""

    model: "Model"
    content: str | bytes
    """The text as it was read; `text` is the same, encoded."""
    context: str | bytes
    text: "EncodedText"
    num_available: int
    """Characters of the whole text, of which `text` is the beginning."""
    options: Options
    whole: "EncodedText | None" = None
    """The longer text, beginning with `text`, that a page of a cell is measured on."""

    @cached_property
    def study(self) -> "Study":
        """The study of the cells over the text, with the findings saved in the run."""
        return self.model.study(self.text, cached=True)

    @cached_property
    def whole_study(self) -> "Study":
        """The same over the whole text that was read, of which `text` may be the beginning."""
        return self.study if self.whole is None else self.model.study(self.whole, cached=True)

    def progress(
        self, total: int, label: str, unit: str = "chars"
    ) -> "AbstractContextManager[Callable[[int], object]]":
        """Show a progress bar, unless the call is quiet."""
        return progress(total, label, quiet=self.options.quiet, unit=unit)

    def trace(self, **options: Any) -> "Trace":
        """Trace the text, with a progress bar."""
        with self.progress(len(self.text), "reading") as advance:
            return self.model.trace(self.text, on_progress=advance, **options)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mode(Generic[Measured]):
    """One kind of picture."""

    measure: Callable[[Subject], Measured]
    show: Callable[[Subject, Measured], Shown]
    allows: frozenset[str] = frozenset()
    """Options that apply to some modes only, and to this one."""
    example: str = ""
    """The option that selects the mode, as it is typed."""
    colours_text: bool = False
    """Whether it shows the first `--chars` characters, not findings of a longer text."""
    reads_more: bool = False
    """Whether it also measures a longer text, as the modes that show no characters do."""
    exports_arrays: bool = False
    """Whether `--export FILE.npz` applies."""
    takes_runs: bool = False
    """Whether it takes several runs."""
    reads_text: bool = True
    """Whether it reads a text; if not, `Subject.text` is empty."""


def _measure_findings(subject: Subject) -> "CellFindings":
    """Find the best cell for each detector. Raises DataError if none of those chosen can be scored."""
    from charrnn.cells.scores import num_read
    from charrnn.errors import DataError

    detectors = subject.options.detectors
    with (
        subject.progress(num_read(len(subject.text), has_baseline=True), "reading") as advance,
        subject.progress(len(detectors), "scoring", unit="detectors") as on_score,
    ):
        findings = subject.study.findings(detectors, on_progress=advance, on_score=on_score)
    if subject.options.has_chosen_detectors and not findings.scores:
        reasons = "; ".join(f"{skipped.detector}: {skipped.reason}" for skipped in findings.skipped)
        raise DataError(
            f"No detector can be scored in this text: {reasons}. Give another --text, or define your own detector "
            r"by a regular expression: --detect '\([^)]*\)'"
        )
    return findings


def _measure_contributions(subject: Subject) -> FoundCells:
    from charrnn.cells.study import CHARS_ABLATED

    findings = _measure_findings(subject)
    num_chars = min(CHARS_ABLATED, len(subject.text) - subject.study.half)
    with subject.progress(2 * num_chars * len(findings.scores), "ablating") as advance:
        findings = subject.study.findings(subject.options.detectors, ablations=True, on_ablation=advance)
    return _find_cells(subject, findings, 0)


def _measure_best_cells(subject: Subject) -> FoundCells:
    """Find the best cells and, for an exported page or .json, measure all cells."""
    findings = _measure_findings(subject)
    found = _find_cells(subject, findings, subject.options.num_passages)
    if subject.options.suffix not in (".html", ".json") or not findings.scores:
        return found
    with (
        subject.progress(2 * len(subject.text), "reading") as advance,
        subject.progress(2 * findings.num_cells, "cells", unit="cells") as advance_cells,
    ):
        atlas = subject.study.atlas(findings, on_progress=advance, on_cells=advance_cells)
    return replace(found, atlas=atlas)


def _find_cells(subject: Subject, findings: "CellFindings", num_passages: int) -> FoundCells:
    """Add the passages, and what the page of an exported .html shows of the scoring half."""
    from charrnn.cells.targets import label_by_name
    from charrnn.views.page import CHARS_ON_PAGE

    study, detectors = subject.study, subject.options.detectors
    passages = study.passages(findings, detectors, num_passages)
    if subject.options.suffix != ".html" or not findings.scores:
        return FoundCells(findings, passages)
    part = slice(study.half, study.half + CHARS_ON_PAGE)
    trace = subject.model.trace(study.text.part(part.start, part.stop), num_guesses=NUM_GUESSES)
    labels = label_by_name(study.text.text, [score.detector for score in findings.scores], detectors)
    return FoundCells(findings, passages, trace, {name: whole[part] for name, whole in labels.items()})


def _show_best_cells(subject: Subject, found: FoundCells) -> Shown:
    return pictures.show_findings(
        subject.model,
        found,
        subject.options.detectors,
        num_available=subject.num_available,
        has_sparkline=subject.options.has_sparkline,
        passages_first=subject.options.suffix in PICTURE_SUFFIXES,
    )


def _show_contributions(subject: Subject, found: FoundCells) -> Shown:
    return pictures.show_findings(
        subject.model,
        found,
        subject.options.detectors,
        num_available=subject.num_available,
        has_contributions=True,
    )


def _measure_cells(subject: Subject) -> ColouredCells:
    from charrnn.cells.study import PAGE_PARTS

    options = subject.options
    cells = list(dict.fromkeys(parse_cell("--cell", cell, subject.model) for cell in options.cells))
    has_guesses = options.has_guesses or options.suffix == ".html"
    trace = subject.trace(num_guesses=NUM_GUESSES) if has_guesses else None
    values = subject.study.values(cells)
    # One study, so that all cells share one reading of the text.
    study = subject.whole_study
    pages = []
    with (
        subject.progress(len(study.text), "reading") as advance,
        subject.progress(len(cells) * (1 + len(PAGE_PARTS)), "measuring", unit="parts") as on_part,
    ):
        for layer, unit in cells:
            parts = []
            for part in study.page_in_parts(layer, unit, advance):
                parts.append(part)
                on_part(1)
            pages.append(parts[-1])
    return ColouredCells(cells, values, pages, trace)


def _show_cells(subject: Subject, cells: ColouredCells) -> Shown:
    options = subject.options
    return pictures.show_cells(
        subject.model,
        subject.text.text,
        cells,
        shows_guesses=options.has_guesses,
        has_sparkline=options.has_sparkline,
    )


def _measure_surprise(subject: Subject) -> "Trace":
    from charrnn.errors import DataError

    trace = subject.trace()
    if len(trace.text) == 1 and subject.text.first == 0:
        raise DataError("The text has 1 character, which nothing predicts; its surprise needs at least 2.")
    return trace


def _measure_gates(subject: Subject) -> "GateReport":
    with subject.progress(len(subject.text), "reading") as advance:
        return subject.model.gates(subject.text, on_progress=advance)


def _measure_gradients(subject: Subject) -> "tuple[GradientReach, ...]":
    from charrnn.api import load

    others = [load(name) for name in subject.options.others]
    with subject.progress(0, "gradients", unit="losses") as advance:
        return subject.model.gradients_with(others, subject.content, context=subject.context, on_progress=advance)


def _folder_of(model: "Model") -> Path:
    """Return the run's folder. Raises UsageError for a model that was loaded from a file, which has no other steps."""
    from charrnn.errors import UsageError

    if model.path is None:
        raise UsageError(f"{model.name} is one step of a run: give the folder of the run, with all its steps.")
    return model.path


def _measure_spectra(subject: Subject) -> "list[TrainingSpectrum]":
    from charrnn.api import training_spectrum

    runs: list[str | Path] = [_folder_of(subject.model), *subject.options.others]
    with subject.progress(0, "singular values", unit="matrices") as advance:
        return [training_spectrum(run, on_progress=advance) for run in runs]


def _measure_ablation(subject: Subject) -> "tuple[Ablation, Ablation] | DirectionContribution":
    """Ablate a cell at its mean and at zero, or a direction at its mean."""
    if not is_cell(subject.options.ablated or ""):
        return _measure_direction_ablation(subject)
    layer, unit = parse_cell("--ablate", subject.options.ablated or "", subject.model)

    def ablate(at: str) -> "Ablation":
        with subject.progress(
            2 * len(subject.text), "clamped at its mean" if at == "mean" else "clamped at 0"
        ) as advance:
            detectors = subject.options.detectors
            return subject.model.ablate(layer, unit, subject.text, detectors=detectors, at=at, on_progress=advance)

    return ablate("mean"), ablate("zero")


def _measure_descriptions(subject: Subject) -> "DescriptionReport":
    from charrnn.lab.descriptions import num_searches

    study = subject.study
    num_cells = study.num_layers * study.num_units
    with (
        subject.progress(2 * len(subject.text), "reading") as advance,
        subject.progress(num_searches(num_cells, has_baseline=True), "searching rules", unit="cells") as on_cells,
    ):
        return study.descriptions(subject.options.detectors, on_progress=advance, on_cells=on_cells)


def _show_descriptions(subject: Subject, report: "DescriptionReport") -> Shown:
    # An exported file lists every cell, a terminal as many as a person reads.
    return pictures.show_descriptions(
        subject.model, report, subject.options.num_listed, lists_all=subject.options.export is not None
    )


def _measure_patch(subject: Subject) -> "Patch":
    options, model = subject.options, subject.model

    def passage(option: str, typed: str | None) -> str | bytes | int | None:
        if typed is None:
            return None
        position = parse_position(option, typed)
        return to_content(typed, model.vocab.kind) if position is None else position

    cells = [parse_patched(cell, model) for cell in options.patched]
    source, target = passage("--from", options.source), passage("--into", options.target)
    reads_all = source is None or target is None
    with subject.progress(len(subject.text) if reads_all else 0, "reading") as advance:
        text = None if options.patches_typed_passages else subject.text
        return model.patch(cells, source=source, target=target, text=text, on_progress=advance)


def _measure_direction_ablation(subject: Subject) -> "DirectionContribution":
    from charrnn.cells.scores import num_read

    options = subject.options
    detector, size = parse_direction("--ablate", options.ablated or "", options.detectors)
    total = num_read(len(subject.text), has_baseline=True) + len(subject.text)
    with subject.progress(total, "fitting the direction") as advance:
        direction = subject.study.direction(detector, size, on_progress=advance)
    with subject.progress(subject.study.num_read_ablating(), "ablating") as advance:
        return subject.study.ablate_direction(direction, [detector, *options.detectors], on_progress=advance)


def _show_ablation(subject: Subject, measured: "tuple[Ablation, Ablation] | DirectionContribution") -> Shown:
    if isinstance(measured, tuple):
        return pictures.show_ablation(subject.model, *measured)
    return pictures.show_direction_ablation(subject.model, measured)


def _measure_history(subject: Subject) -> "tuple[CellHistory, ...]":
    from charrnn.api import load_steps
    from charrnn.cells.study import CHARS_OF_HISTORY

    steps = list(load_steps(_folder_of(subject.model)))
    findings = _measure_findings(subject)
    num_chars = min(CHARS_OF_HISTORY, len(subject.text) - subject.study.half)
    with subject.progress(num_chars * len(steps), "reading with every checkpoint") as advance:
        networks = ((model.step, model.network) for model in steps)
        return subject.study.history(findings, networks, subject.options.detectors, advance)


def _measure_matches(subject: Subject) -> "MatchReport":
    from charrnn.api import match_cells
    from charrnn.cells.scores import num_read
    from charrnn.cli.arguments import load_models

    others = load_models(subject.options.others, quiet=subject.options.quiet)
    if subject.options.ignores_saved:
        for other in others:
            other.findings.ignore_saved()
    models = [subject.model, *others]
    num_chars = len(subject.text) + num_read(len(subject.text), has_baseline=True)
    with subject.progress(num_chars * len(models), "reading") as advance:
        return match_cells(
            models,
            subject.content,
            context=subject.context,
            detectors=subject.options.detectors,
            cached=True,
            on_progress=advance,
        )


def _show_history(subject: Subject, histories: "tuple[CellHistory, ...]") -> Shown:
    from charrnn.cells.study import CHARS_OF_HISTORY

    num_chars = min(CHARS_OF_HISTORY, len(subject.text) - subject.study.half)
    return pictures.show_history(subject.model, histories, num_chars)


def export_arrays(subject: Subject, export: Path) -> None:
    """Write the trace of the text to `export`, and the labels of the detectors."""
    trace = subject.trace(keeps_hidden=True)
    # With --cell no cell is chosen, so no part of the text counts as scored.
    num_chosen_on = len(trace.text) if subject.options.cells else subject.study.half
    arrays = trace.to_arrays(subject.options.detectors, num_chosen_on=num_chosen_on)
    deliver(Shown("", (), None, arrays=arrays), export)


_DETECTORS = frozenset({"--detector", "--detect"})

MODES: dict[str, Mode[Any]] = {
    "": Mode(
        measure=_measure_best_cells,
        show=_show_best_cells,
        allows=_DETECTORS | {"--sparkline"},
        exports_arrays=True,
    ),
    "--find": Mode(
        measure=_measure_contributions,
        show=_show_contributions,
        allows=_DETECTORS,
        example="--find",
        exports_arrays=True,
    ),
    "--describe": Mode(measure=_measure_descriptions, show=_show_descriptions, allows=_DETECTORS, example="--describe"),
    "--cell": Mode(
        measure=_measure_cells,
        show=_show_cells,
        allows=frozenset({"--guesses", "--sparkline"}),
        example="--cell 0:17",
        colours_text=True,
        reads_more=True,
        exports_arrays=True,
    ),
    "--surprise": Mode(
        measure=_measure_surprise,
        show=lambda subject, trace: pictures.show_surprise(
            subject.model, trace, has_sparkline=subject.options.has_sparkline
        ),
        allows=frozenset({"--sparkline"}),
        example="--surprise",
        colours_text=True,
    ),
    "--gates": Mode(
        measure=_measure_gates, show=lambda subject, report: pictures.show_gates(report), example="--gates"
    ),
    "--gradients": Mode(
        measure=_measure_gradients,
        show=lambda subject, reaches: pictures.show_gradients(reaches),
        allows=frozenset({"--with"}),
        example="--gradients",
    ),
    "--spectrum": Mode(
        measure=_measure_spectra,
        show=lambda subject, spectra: pictures.show_spectra(spectra),
        allows=frozenset({"--with"}),
        example="--spectrum",
        reads_text=False,
    ),
    "--ablate": Mode(
        measure=_measure_ablation,
        show=_show_ablation,
        allows=_DETECTORS,
        example="--ablate 0:17",
    ),
    "--patch": Mode(
        measure=_measure_patch,
        show=lambda subject, patch: pictures.show_patch(subject.model, patch),
        allows=frozenset({"--from", "--into"}),
        example="--patch 0:17",
    ),
    "--same": Mode(
        measure=_measure_matches,
        show=lambda subject, report: pictures.show_matches(report),
        allows=_DETECTORS,
        example="--same RUN RUN",
        takes_runs=True,
    ),
    "--history": Mode(measure=_measure_history, show=_show_history, allows=_DETECTORS, example="--history"),
}
"""The modes by the option that selects them; "" is what `charrnn visualize` does without any of them."""


def choose_mode(given: dict[str, bool]) -> str:
    """Return the mode that the given options select.

    `given` says of every option of MODES and of their `allows` whether it was given. Raises UsageError for two modes at
    once and for an option that does not apply to the mode.
    """
    from charrnn.errors import UsageError

    names = [name for name in MODES if name and given[name]]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} are different pictures: give one of them.")
    name = names[0] if names else ""
    for option, is_given in given.items():
        if option in MODES or not is_given or option in MODES[name].allows:
            continue
        if name:
            raise UsageError(f"{option} does not apply to {name}: leave out one of them.")
        examples = [mode.example for mode in MODES.values() if option in mode.allows]
        raise UsageError(f"{option} needs another option: add {' or '.join(examples)}, or leave {option} out.")
    if given["--guesses"] and given["--sparkline"]:
        raise UsageError("--guesses and --sparkline are both drawn below the text: give one of them.")
    return name

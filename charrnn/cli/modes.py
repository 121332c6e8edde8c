"""The analyses of `charrnn visualize` that every model has: what each of them measures, and the picture that shows it.

Everything is measured by the Python interface (`charrnn.api.Model`, `charrnn.cells.analysis.CellAnalysis`).
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli import pictures
from charrnn.cli.analyses import DETECTOR_OPTIONS, WITH, Analysis, Option, Options, Subject
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
from charrnn.extensions import offered
from charrnn.views.export import PICTURE_SUFFIXES

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.cells.directions import DirectionContribution
    from charrnn.cells.records import Ablation, CellFindings, CellHistory, GradientReach
    from charrnn.cells.trace import Trace
    from charrnn.lab.cell_effects_records import Patch
    from charrnn.lab.descriptions_records import DescriptionReport
    from charrnn.lab.matching_records import MatchReport
    from charrnn.lab.spectrum_records import TrainingSpectrum

CELL = Option(
    flag="--cell", help="Show this cell: layer and unit, from 0 (repeatable).", metavar="L:U", repeatable=True
)
FIND = Option(flag="--find", help="Print the ranked tables only, with each cell's contribution.", kind=bool)
DESCRIBE = Option(flag="--describe", help="Describe every cell by a rule in words, with its score.", kind=bool)
GRADIENTS = Option(flag="--gradients", help="Show how the gradient decays or grows with distance.", kind=bool)
SPECTRUM = Option(
    flag="--spectrum", help="Show the recurrent matrices' largest singular values during training.", kind=bool
)
ABLATE = Option(
    flag="--ablate",
    help="Show how much the loss rises when this cell is ablated, or the direction of a detector over 4 cells "
    "(quote), of another number (quote@8) or all (quote@all).",
    metavar="L:U|DETECTOR",
)
PATCH = Option(
    flag="--patch",
    help="Show what changes if this cell has its value from another passage (a layer: L; repeatable).",
    metavar="L:U",
    repeatable=True,
)
FROM = Option(
    flag="--from",
    name="source",
    help="With --patch: the passage the value is from, or @N for the one that ends at character N of the text.",
    metavar="TEXT|@N",
)
INTO = Option(flag="--into", name="target", help="With --patch: the passage whose end is patched.", metavar="TEXT|@N")
HISTORY = Option(flag="--history", help="Show the scores of the best cells at every checkpoint.", kind=bool)
SAME = Option(flag="--same", help="Match the cells of several runs: visualize --same RUN RUN …", kind=bool)
SURPRISE = Option(flag="--surprise", help="Colour each character by its surprise in bits.", kind=bool)


def _reads_passages(options: Options) -> bool:
    """Whether `--patch` needs another text than the passages that were typed."""
    passages = ((option.flag, options.values[option.flag]) for option in (FROM, INTO))
    return any(typed is None or parse_position(flag, typed) is not None for flag, typed in passages)


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
    from charrnn.cells.analysis import CHARS_ABLATED

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
    from charrnn.cells.scores import label_by_name
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
    from charrnn.cells.analysis import PAGE_PARTS

    options = subject.options
    cells = list(dict.fromkeys(parse_cell("--cell", cell, subject.model) for cell in subject.value(CELL)))
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


def _measure_gradients(subject: Subject) -> "tuple[GradientReach, ...]":
    from charrnn.api import load

    others = [load(name) for name in subject.value(WITH) or ()]
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

    runs: list[str | Path] = [_folder_of(subject.model), *(subject.value(WITH) or ())]
    with subject.progress(0, "singular values", unit="matrices") as advance:
        return [training_spectrum(run, on_progress=advance) for run in runs]


def _measure_ablation(subject: Subject) -> "tuple[Ablation, Ablation] | DirectionContribution":
    """Ablate a cell at its mean and at zero, or a direction at its mean."""
    if not is_cell(subject.value(ABLATE) or ""):
        return _measure_direction_ablation(subject)
    layer, unit = parse_cell("--ablate", subject.value(ABLATE) or "", subject.model)

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

    cells = [parse_patched(cell, model) for cell in subject.value(PATCH)]
    source, target = passage("--from", subject.value(FROM)), passage("--into", subject.value(INTO))
    reads_all = source is None or target is None
    with subject.progress(len(subject.text) if reads_all else 0, "reading") as advance:
        text = subject.text if _reads_passages(options) else None
        return model.patch(cells, source=source, target=target, text=text, on_progress=advance)


def _measure_direction_ablation(subject: Subject) -> "DirectionContribution":
    from charrnn.cells.scores import num_read

    options = subject.options
    detector, size = parse_direction("--ablate", subject.value(ABLATE) or "", options.detectors)
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
    from charrnn.cells.analysis import CHARS_OF_HISTORY

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

    others = load_models(subject.options.runs, quiet=subject.options.quiet)
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
    from charrnn.cells.analysis import CHARS_OF_HISTORY

    num_chars = min(CHARS_OF_HISTORY, len(subject.text) - subject.study.half)
    return pictures.show_history(subject.model, histories, num_chars)


def export_arrays(subject: Subject, export: Path) -> None:
    """Write the trace of the text to `export`, and the labels of the detectors."""
    trace = subject.trace(keeps_hidden=True)
    # With --cell no cell is chosen, so no part of the text counts as scored.
    num_chosen_on = len(trace.text) if subject.value(CELL) else subject.study.half
    arrays = trace.to_arrays(subject.options.detectors, num_chosen_on=num_chosen_on)
    deliver(Shown("", (), None, arrays=arrays), export)


CORE_ANALYSES: tuple[Analysis[Any], ...] = (
    Analysis(
        option=None,
        measure=_measure_best_cells,
        show=_show_best_cells,
        takes=DETECTOR_OPTIONS | {"--sparkline"},
        exports_arrays=True,
    ),
    Analysis(
        option=FIND,
        measure=_measure_contributions,
        show=_show_contributions,
        takes=DETECTOR_OPTIONS,
        exports_arrays=True,
    ),
    Analysis(option=DESCRIBE, measure=_measure_descriptions, show=_show_descriptions, takes=DETECTOR_OPTIONS),
    Analysis(
        option=CELL,
        measure=_measure_cells,
        show=_show_cells,
        takes=frozenset({"--guesses", "--sparkline"}),
        example="--cell 0:17",
        colours_text=True,
        reads_more=True,
        exports_arrays=True,
    ),
    Analysis(
        option=SURPRISE,
        measure=_measure_surprise,
        show=lambda subject, trace: pictures.show_surprise(
            subject.model, trace, has_sparkline=subject.options.has_sparkline
        ),
        takes=frozenset({"--sparkline"}),
        colours_text=True,
    ),
    Analysis(
        option=GRADIENTS,
        measure=_measure_gradients,
        show=lambda subject, reaches: pictures.show_gradients(reaches),
        options=(WITH,),
    ),
    Analysis(
        option=SPECTRUM,
        measure=_measure_spectra,
        show=lambda subject, spectra: pictures.show_spectra(spectra),
        options=(WITH,),
        reads_text=False,
    ),
    Analysis(
        option=ABLATE,
        measure=_measure_ablation,
        show=_show_ablation,
        takes=DETECTOR_OPTIONS,
        example="--ablate 0:17",
    ),
    Analysis(
        option=PATCH,
        measure=_measure_patch,
        show=lambda subject, patch: pictures.show_patch(subject.model, patch),
        options=(FROM, INTO),
        example="--patch 0:17",
        reads_text=_reads_passages,
    ),
    Analysis(
        option=SAME,
        measure=_measure_matches,
        show=lambda subject, report: pictures.show_matches(report),
        takes=DETECTOR_OPTIONS,
        example="--same RUN RUN",
        takes_runs=True,
    ),
    Analysis(option=HISTORY, measure=_measure_history, show=_show_history, takes=DETECTOR_OPTIONS),
)
"""The analyses of the core; the first one is what `charrnn visualize` shows without an option."""


@cache
def analyses() -> tuple[Analysis[Any], ...]:
    """Return all analyses: those of the core, then those of rooms and of other packages."""
    return (*CORE_ANALYSES, *offered(Analysis))

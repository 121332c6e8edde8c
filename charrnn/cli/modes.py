"""The analyses of `charrnn visualize` that every model has: what each of them measures, and the picture that shows it.

Everything is measured by the Python interface (`charrnn.api.Model`, `charrnn.cells.analysis.CellAnalysis`).
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli import pictures
from charrnn.cli.analyses import DETECTOR_OPTIONS, Analysis, Option, Subject
from charrnn.cli.arguments import (
    parse_cell,
)
from charrnn.cli.exporting import deliver
from charrnn.cli.pictures import NUM_GUESSES, ColouredCells, FoundCells, Shown
from charrnn.extensions import offered
from charrnn.views.export import PICTURE_SUFFIXES

if TYPE_CHECKING:
    from charrnn.cells.records import CellFindings
    from charrnn.cells.trace import Trace

CELL = Option(
    flag="--cell", help="Show this cell: layer and unit, from 0 (repeatable).", metavar="L:U", repeatable=True
)
FIND = Option(flag="--find", help="Print the ranked tables only, with each cell's contribution.", kind=bool)
SURPRISE = Option(flag="--surprise", help="Colour each character by its surprise in bits.", kind=bool)


def find_best_cells(subject: Subject) -> "CellFindings":
    """Find the best cell for each detector. Raises DataError if none of those chosen can be scored."""
    from charrnn.errors import DataError

    findings = subject.study.findings(subject.options.detectors)
    if subject.options.has_chosen_detectors and not findings.scores:
        reasons = "; ".join(f"{skipped.detector}: {skipped.reason}" for skipped in findings.skipped)
        raise DataError(
            f"No detector can be scored in this text: {reasons}. Give another --text, or define your own detector "
            r"by a regular expression: --detect '\([^)]*\)'"
        )
    return findings


def _measure_contributions(subject: Subject) -> FoundCells:
    find_best_cells(subject)
    findings = subject.study.findings(subject.options.detectors, ablations=True)
    return _find_cells(subject, findings, 0)


def _measure_best_cells(subject: Subject) -> FoundCells:
    """Find the best cells and, for an exported page or .json, measure all cells."""
    findings = find_best_cells(subject)
    found = _find_cells(subject, findings, subject.options.num_passages)
    # The atlas of all cells is a method that a room adds.
    measure_atlas = getattr(subject.study, "atlas", None)
    if subject.options.suffix not in (".html", ".json") or not findings.scores or measure_atlas is None:
        return found
    return replace(found, atlas=measure_atlas(findings))


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
    options = subject.options
    cells = list(dict.fromkeys(parse_cell("--cell", cell, subject.model) for cell in subject.value(CELL)))
    has_guesses = options.has_guesses or options.suffix == ".html"
    trace = subject.trace(num_guesses=NUM_GUESSES) if has_guesses else None
    values = subject.study.values(cells)
    # One study, so that all cells share one reading of the text.
    study = subject.whole_study
    pages = [study.page(layer, unit) for layer, unit in cells]
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
)
"""The analyses of the core; the first one is what `charrnn visualize` shows without an option."""


@cache
def analyses() -> tuple[Analysis[Any], ...]:
    """Return all analyses: those of the core, then those of rooms and of other packages."""
    return (*CORE_ANALYSES, *offered(Analysis))

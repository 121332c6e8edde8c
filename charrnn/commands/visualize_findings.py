"""The best cell for each detector, and passages that show the best of them: `charrnn visualize`
without options, and `--find`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import RenderableType

from charrnn.cells.findings import CellFindings, CellPage, Passage
from charrnn.cells.study import NUM_PASSAGES
from charrnn.commands.visualize_options import Subject
from charrnn.errors import DataError, UsageError
from charrnn.views.cell_page import cells_to_html
from charrnn.views.delivery import PICTURE_SUFFIXES, Shown
from charrnn.views.findings_tables import findings_pictures, passage_pictures
from charrnn.views.theme import all_visible

NUM_CELLS = 64
"""Cells of an exported page, unless another number is asked for."""
MAX_PAGE_BYTES = 5_000_000
"""Size of an exported page, at most."""


@dataclass(frozen=True)
class FoundCells:
    """The best cell for each detector, and passages that show the best of them."""

    findings: CellFindings
    passages: Sequence[Passage] = ()
    pages: Sequence[CellPage] = ()
    """The strongest cells, for an exported page."""


def _find_best_cells(subject: Subject) -> CellFindings:
    """Find the best cell for each detector. Raises DataError if detectors were chosen and none of
    them can be scored."""
    options = subject.options
    findings = subject.study.findings(subject.detectors)

    # Without chosen detectors, no finding is no error: the user asked for no detector by name.
    if (options.detectors or options.detect) and not findings.scores:
        reasons = "; ".join(f"{skipped.detector}: {skipped.reason}" for skipped in findings.skipped)
        raise DataError(
            f"No detector can be scored in this text: {reasons}. Give another --text, or define"
            " your own detector "
            r"by a regular expression: --detect '\([^)]*\)'"
        )
    return findings


def _measure_findings(subject: Subject) -> FoundCells:
    """Find the best cells and, for an exported page, measure the strongest of all cells."""
    findings = _find_best_cells(subject)
    options = subject.options
    study = subject.study

    if options.suffix == ".html" and not options.find:
        num_cells = NUM_CELLS
        if options.top is not None:
            num_cells = options.top
        cells = study.strongest_cells(num_cells, subject.detectors)
        return FoundCells(findings, pages=study.pages(cells, subject.detectors))

    # JSON and --find show no passages, which take time to choose.
    num_passages = NUM_PASSAGES
    if options.top is not None:
        num_passages = options.top
    if options.json or options.suffix == ".json" or options.find:
        num_passages = 0
    return FoundCells(
        findings, study.passages(findings, detectors=subject.detectors, num_passages=num_passages)
    )


def _title_of(subject: Subject, findings: CellFindings) -> str:
    """Say how many cells were scored on how much text."""
    model = subject.model
    of = ""
    if subject.num_available != findings.num_chars:
        of = f" of {subject.num_available:,}"
    by = ""
    if subject.options.text is None and model.card:
        by = " that it wrote itself (sample --seed 1 --length 20000)"
    return (
        f"{all_visible(model.name)}: {findings.num_cells:,} cells over {findings.num_chars:,}{of}"
        f" characters{by}; chosen on the first half, scored on the second"
    )


def show_findings(subject: Subject) -> Shown:
    """Draw the table of the best cells, and the passages."""
    found = _measure_findings(subject)
    findings = found.findings
    model = subject.model
    options = subject.options

    tables = findings_pictures(
        _title_of(subject, findings),
        findings=findings,
        card=model.card_scores,
    )
    looks_for = {detector.name: detector.looks_for for detector in subject.detectors}
    passages = passage_pictures(found.passages, looks_for=looks_for)

    title = f"Cells of {model.name}"
    page: Callable[[], str] | None = None
    if found.pages:
        page = partial(_page_of_cells, subject, title, above=tables, pages=found.pages)
    data = {"run": model.name} | findings.to_json()

    # A picture is for a slide or a paper, and has the tables only if there is nothing else.
    pictures = [*tables, *passages]
    if options.suffix in PICTURE_SUFFIXES and passages:
        pictures = passages
    rows = [score.to_json() for score in findings.scores]
    return Shown(title, pictures=pictures, data=data, page=page, rows=rows)


def _page_of_cells(
    subject: Subject,
    title: str,
    above: Sequence[RenderableType],
    pages: Sequence[CellPage],
) -> str:
    """Return the exported page of cells. Raises UsageError if it is too large."""
    html = cells_to_html(title, above=above, pages=pages)
    size = len(html.encode("utf-8"))
    if size > MAX_PAGE_BYTES:
        raise UsageError(
            f"--export {subject.options.export}: the page of {len(pages):,} cells would have"
            f" {size / 1e6:.1f} MB. Give a --top that is smaller than {len(pages):,}."
        )
    return html

"""The best cell for each detector, and passages that show the best of them: `charrnn visualize`
without options, and `--find`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from charrnn.cells.findings import CellFindings, Passage
from charrnn.cells.study import NUM_PASSAGES
from charrnn.cli.analyses import NoOptions, Own, Subject
from charrnn.errors import DataError
from charrnn.model.cell_type_registry import cell_type
from charrnn.system.lazy import LazyModule
from charrnn.views.delivery import PICTURE_SUFFIXES, Shown
from charrnn.views.findings_tables import findings_pictures, passage_pictures
from charrnn.views.theme import all_visible

if TYPE_CHECKING:
    from charrnn.analyses import atlas as atlases
    from charrnn.analyses.atlas import Atlas
    from charrnn.analyses.atlas_page import HeatMapPage
else:
    # Its plugin may be missing.
    atlases = LazyModule("charrnn.analyses.atlas")


@dataclass(frozen=True)
class FoundCells:
    """The best cell for each detector, and passages that show the best of them."""

    findings: CellFindings
    passages: Sequence[Passage] = ()
    atlas: "Atlas | None" = None
    """All cells, for an exported .json."""
    page: "HeatMapPage | None" = None
    """All cells, as an exported page shows them."""


def find_best_cells(subject: Subject[Own]) -> CellFindings:
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


def measure_findings(subject: Subject[NoOptions]) -> FoundCells:
    """Find the best cells and, for an exported page or .json, measure all cells."""
    findings = find_best_cells(subject)
    options = subject.options
    study = subject.study

    # JSON and --find show no passages, which take time to choose.
    num_passages = NUM_PASSAGES
    if options.top is not None:
        num_passages = options.top
    if options.json or options.find:
        num_passages = 0
    best_cells = FoundCells(
        findings, study.passages(findings, detectors=subject.detectors, num_passages=num_passages)
    )

    if options.find:
        return best_cells
    if options.suffix in (".html", ".json"):
        atlas = atlases.atlas(study, findings)
        best_cells = replace(best_cells, atlas=atlas)
        if options.suffix == ".html":
            page = atlases.page_of(
                atlas,
                subject.model,
                study,
                title=_title_of(subject, findings),
                detectors=subject.detectors,
            )
            best_cells = replace(best_cells, page=page)
    return best_cells


def _title_of(subject: Subject[NoOptions], findings: CellFindings) -> str:
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


def show_findings(subject: Subject[NoOptions], found: FoundCells) -> Shown:
    """Draw the table of the best cells, and the passages."""
    model = subject.model
    options = subject.options
    findings = found.findings

    tables = findings_pictures(
        _title_of(subject, findings),
        findings=findings,
        card=model.card_scores,
    )
    looks_for = {detector.name: detector.looks_for for detector in subject.detectors}
    passages = passage_pictures(found.passages, looks_for=looks_for)

    page: Callable[[], str] | None = None
    if found.page is not None:
        page = found.page.to_html
    data: object = {"run": model.name} | findings.to_json()
    # A page needs no data, which takes as long to build as the page.
    if found.atlas is not None and page is None:
        data = {
            "run": model.name,
            "shows": cell_type(model.config.cell).shows,
        } | found.atlas.to_json()

    # A picture is for a slide or a paper, and has the tables only if there is nothing else.
    pictures = [*tables, *passages]
    if options.suffix in PICTURE_SUFFIXES and passages:
        pictures = passages
    rows = [score.to_json() for score in findings.scores]
    return Shown(f"Cells of {model.name}", pictures=pictures, data=data, page=page, rows=rows)

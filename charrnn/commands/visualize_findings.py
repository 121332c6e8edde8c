"""The best cell for each detector, and passages that show the best of them: `charrnn visualize`
without options, and `--find`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from charrnn.cells.findings import CellFindings, Passage
from charrnn.cells.study import NUM_PASSAGES
from charrnn.cells.target_labels import label_by_name
from charrnn.cells.trace import Trace
from charrnn.cli.analyses import NoOptions, Own, Subject
from charrnn.commands.visualize_cells import NUM_GUESSES, page_of_trace
from charrnn.detectors.detector import Labels
from charrnn.errors import DataError
from charrnn.hooks.manager import has_plugin
from charrnn.model.cell_type_registry import cell_type
from charrnn.system.lazy import LazyModule
from charrnn.trained_model import TrainedModel
from charrnn.views.delivery import PICTURE_SUFFIXES, Shown
from charrnn.views.findings_tables import findings_pictures, passage_pictures, passage_slides
from charrnn.views.html_page import CHARS_ON_PAGE, HeatMapPage, PageRow, to_html_page
from charrnn.views.tables import FINDINGS_COLUMNS, footnotes, record_cell, unscored
from charrnn.views.theme import all_visible

if TYPE_CHECKING:
    from charrnn.plugins.analyses import atlas as atlases
    from charrnn.plugins.analyses.atlas import Atlas
else:
    # Its plugin may be missing.
    atlases = LazyModule("charrnn.plugins.analyses.atlas")

ABOUT_COLUMNS = (
    (
        "score: AUC, the probability that the cell ranks a character inside above one outside, or"
        " for a count Spearman's ρ"
    ),
    (
        "chance: the score that the best of all cells stays below for 95 % of labels that were"
        " shifted along the text"
    ),
    "untrained: the score of the same choice in an untrained baseline; ρ keeps its sign",
    "inner: the AUC over characters five or more after a label changed; a count has none",
)
"""Notes under the table of an exported page."""


@dataclass(frozen=True)
class FoundCells:
    """The best cell for each detector, and passages that show the best of them."""

    findings: CellFindings
    passages: Sequence[Passage] = ()
    trace: Trace | None = None
    """The trace of the beginning of the scoring half, with guesses, for an exported page."""
    labels: Mapping[str, Labels] = field(default_factory=dict)
    """The labels of the same characters, by detector."""
    atlas: "Atlas | None" = None
    """All cells, for an exported page or .json."""


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
    """Find the best cells, and values of them for an exported page or .json.

    A page shows the beginning of the scoring half, and every cell.
    """
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

    # The atlas of all cells needs its room.
    has_atlas = has_plugin("analyses")
    if options.find or not (findings.scores or has_atlas):
        return best_cells

    # A page is interactive: it has the guesses and the labels of every shown character. It shows
    # the scoring half, on which no cell was chosen.
    if options.suffix == ".html":
        chars = slice(study.half, study.half + CHARS_ON_PAGE)
        trace = subject.model.trace(
            study.text.part(chars.start, chars.stop), num_guesses=NUM_GUESSES
        )
        labels = label_by_name(
            study.text.text,
            names=[score.detector for score in findings.scores],
            detectors=subject.detectors,
        )
        best_cells = replace(
            best_cells, trace=trace, labels={name: values[chars] for name, values in labels.items()}
        )
    if options.suffix in (".html", ".json") and has_atlas:
        best_cells = replace(best_cells, atlas=atlases.atlas(study, findings))
    return best_cells


def show_findings(subject: Subject[NoOptions], found: FoundCells) -> Shown:
    """Draw the table of the best cells, the table of the probes if asked for, and the passages."""
    model = subject.model
    options = subject.options
    findings = found.findings

    # The title says how much text was scored.
    of = ""
    if subject.num_available != findings.num_chars:
        of = f" of {subject.num_available:,}"
    by = ""
    if options.text is None and model.card:
        by = " that it wrote itself (sample --seed 1 --length 20000)"
    title = (
        f"{all_visible(model.name)}: {findings.num_cells:,} cells over {findings.num_chars:,}{of}"
        f" characters{by}; chosen on the first half, scored on the second"
    )
    tables = findings_pictures(
        title, findings=findings, has_probes=options.find, card=model.card_scores
    )
    looks_for = {detector.name: detector.looks_for for detector in subject.detectors}
    passages = passage_pictures(found.passages, looks_for=looks_for)

    # The page of an exported .html.
    page: Callable[[], str] | None = None
    if found.trace is not None:
        content = _findings_page(model, found=found, trace=found.trace, title=title)
        page = partial(to_html_page, content)
    data: object = {"run": model.name} | findings.to_json()
    # A page needs no data, which takes as long to build as the page.
    if found.atlas is not None and page is None:
        data = {
            "run": model.name,
            "shows": cell_type(model.config.cell).shows,
        } | found.atlas.to_json()

    # A slide has room for one passage, without the tables.
    pictures = [*tables, *passages]
    if options.suffix in PICTURE_SUFFIXES and found.passages:
        pictures = passage_slides(found.passages)
    rows = [score.to_json() for score in findings.scores]
    return Shown(f"Cells of {model.name}", pictures=pictures, data=data, page=page, rows=rows)


def _findings_page(model: TrainedModel, found: FoundCells, trace: Trace, title: str) -> HeatMapPage:
    """Build the page of the findings over the beginning of the scoring half, with their labels
    underlined."""
    # The rows are the rows of the terminal, each with the cell that a click colours.
    atlas = found.atlas
    rows = []
    for score in found.findings.scores:
        cells = [str(record_cell(score, cell)) for cell in FINDINGS_COLUMNS.values()]
        rows.append(
            PageRow(
                columns=cells,
                cell=(score.layer, score.unit),
                detector=score.detector,
                polarity=score.polarity,
            )
        )
    notes = [title, *ABOUT_COLUMNS, *footnotes(found.findings), *unscored(found.findings.skipped)]

    # With the atlas the page holds the values of every cell, and therefore fewer characters.
    num_cells = len(rows)
    if atlas is not None:
        num_cells = trace.cells[0].size
    page = page_of_trace(
        model,
        trace=trace,
        title=f"Cells of {model.name}",
        columns=list(FINDINGS_COLUMNS),
        rows=rows,
        num_cells=num_cells,
    )

    # Only yes/no labels can be underlined.
    chars = slice(0, len(page.text))
    labels = {name: labels[chars] for name, labels in found.labels.items() if labels.dtype == bool}
    page = replace(page, labels=labels, notes=notes)
    if atlas is not None:
        page = atlas.added_to(page)
    return page

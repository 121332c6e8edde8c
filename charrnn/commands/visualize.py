"""charrnn visualize: the cells of a model, coloured over a text, named and scored.

The analyses that every model has are measured by the Python interface (`charrnn.api.Model`,
`charrnn.cells.study.Study`), each beside the picture that shows it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from charrnn.api import Model
from charrnn.cells.findings import CHARS_SCORED, CellFindings, CellPage, ColouredText, Passage
from charrnn.cells.study import NUM_PASSAGES
from charrnn.cells.target_labels import label_by_name
from charrnn.cells.trace import Trace
from charrnn.cli.analyses import (
    CHARS_SHOWN,
    DETECTOR_OPTIONS,
    Analysis,
    AnyAnalysis,
    NoOptions,
    Own,
    Subject,
    VisualizeOptions,
    analysis_options,
    choose_analysis,
)
from charrnn.cli.arguments import load_model_as, parse_cell, read_passage
from charrnn.cli.other_words import meaning_of
from charrnn.cli.streams import deliver, export_target, print_json, warn
from charrnn.config.options import Option, options_of
from charrnn.detectors.custom import custom_detector
from charrnn.detectors.detector import Detector, Labels
from charrnn.detectors.registry import DETECTORS, get_detectors
from charrnn.errors import DataError, UsageError
from charrnn.hooks import specifications
from charrnn.hooks.manager import has_plugin, offered
from charrnn.model.cell_type_registry import cell_type
from charrnn.runs.reader import is_run
from charrnn.runs.targets import Target
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import task
from charrnn.trained_model import TrainedModel
from charrnn.views.cell_page import page_pictures
from charrnn.views.delivery import PICTURE_SUFFIXES, Shown
from charrnn.views.findings_tables import (
    findings_pictures,
    passage_pictures,
    passage_slides,
    slide_pictures,
)
from charrnn.views.heatmap import (
    ABOUT_GUESSES,
    SURPRISE_LEGEND,
    GuessMap,
    HeatMap,
    end_legend,
    scale_of_text,
    scale_pictures,
    surprise_map,
    whole_words,
)
from charrnn.views.html_page import CHARS_ON_PAGE, HeatMapPage, PageRow, chars_on_page
from charrnn.views.tables import FINDINGS_COLUMNS, footnotes, record_cell, unscored
from charrnn.views.theme import Scale, all_visible

if TYPE_CHECKING:
    from charrnn.plugins.analyses import atlas as atlases
    from charrnn.plugins.analyses.atlas import Atlas
else:
    # Its plugin may be missing.
    atlases = LazyModule("charrnn.plugins.analyses.atlas")

Guesses = list[list[tuple[str, float]]]
"""The most likely next characters after each character; empty if they are not shown."""
NUM_GUESSES = 5
"""Next characters that are shown below each character."""
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
EPILOG = f"Detectors: {', '.join(DETECTORS)}, and those of installed packages."
"""The text below the help."""


def visualize(options: VisualizeOptions) -> None:
    """Show what the cells of a model keep track of.

    Without options: finds, for each detector, the cell that follows it best. Then the best cells
    are coloured over the text: red where the cell is low, blue where it is high. A cell that is low
    inside what it follows is drawn with its sign turned, so that the inside is blue.
    """
    # Errors of the command line appear before a model is loaded.
    analysis = choose_analysis(analyses(), _given_flags(options))
    no_arrays = None if analysis.exports_arrays else f"{analysis.flag} has"
    target = export_target(
        options.export,
        force=options.force,
        read=options.read,
        no_arrays=no_arrays,
    )
    _check_runs(analysis, options.runs)
    own = options.of(analysis.options)
    detectors = _chosen_detectors(options.detectors, options.detect)
    if options.chars is not None and not analysis.colours_text:
        warn(("--chars applies to --cell and --surprise only: it is ignored",), quiet=options.quiet)

    # The arrays belong to the text itself, whatever the analysis.
    subject = _prepare(analysis, options=options, own=own, detectors=detectors)
    if target is not None and options.suffix == ".npz":
        export_arrays(subject, target)
        return

    # Warnings of the cache come after the measurement, below its progress bars.
    cache_warnings: list[str] = []
    subject.model.findings.on_warning = cache_warnings.append
    # This progress appears at once: the first bar of the measurement may come after seconds.
    with task(f"reading {subject.model.name}", unit=""):
        result = analysis.show(subject, analysis.measure(subject))
    warn(tuple(cache_warnings), quiet=options.quiet)
    if options.json:
        print_json(result.data)
    else:
        deliver(result, target)


def added_options() -> Sequence[Option]:
    """Return the options that the analyses of plugins and of other packages declare."""
    return analysis_options(analyses())


def _given_flags(options: VisualizeOptions) -> list[str]:
    """Return the flags that were given, in the order of the help."""
    # `extra` has only the typed options; a field may have its default.
    declared = (*options_of(VisualizeOptions), *added_options())
    return [option.flag for option in declared if option.name in options.extra]


def _check_runs(analysis: AnyAnalysis, runs: Sequence[str]) -> None:
    """Raise UsageError for too few runs or too many."""
    further_runs = runs[1:]
    least = analysis.least_runs
    if least is not None and 1 + len(further_runs) < least:
        raise UsageError(
            f"{analysis.flag} takes two or more runs: charrnn visualize {analysis.flag} RUN RUN"
        )
    if further_runs and least is None:
        for word in further_runs:
            known = meaning_of("visualize", word)
            if known and not is_run(word):
                raise UsageError(f"visualize shows one run. {known}")
        raise UsageError(
            f"visualize shows one run: leave out {', '.join(further_runs)}, or add --same to match"
            " their cells."
        )


def _chosen_detectors(names: Sequence[str], specs: Sequence[str]) -> list[Detector]:
    """Return the detectors that --detector names and --detect defines; all built-in detectors if
    there are none.

    Raises UsageError for an unusable detector, and for two detectors with the same name.
    """
    custom = [_own_detector(spec) for spec in dict.fromkeys(specs)]

    # Scores are listed by name, so two detectors must not have the same name.
    taken = {*DETECTORS, *names}
    for detector in custom:
        if detector.name in taken:
            raise UsageError(
                f"--detect: two detectors are named {detector.name}. Give each a name of its own:"
                " NAME=REGEX."
            )
        taken.add(detector.name)

    # A user who defines a detector asks about this detector, not about all the built-in detectors.
    if custom and not names:
        return custom
    return [*get_detectors(names), *custom]


def _own_detector(spec: str) -> Detector:
    """Return the detector of --detect: a regular expression, NAME=REGEX or FILE.py. Raises
    UsageError."""
    # A path may have a = in it, too.
    named = None
    if not spec.endswith(".py"):
        named = re.fullmatch(r"([^\W\d]\w*)=(.+)", spec, re.DOTALL)
    if named is None:
        return custom_detector(spec)
    return custom_detector(named[2], named[1])


def _prepare(
    analysis: AnyAnalysis,
    options: VisualizeOptions,
    own: Own,
    detectors: list[Detector],
) -> Subject[Own]:
    """Load the model and encode the beginning of the text, with warnings about it.

    An analysis that reads more has the first CHARS_SCORED characters encoded, too.
    """
    # Findings need many characters, a coloured text only as many as a person looks at. The page of
    # a cell is measured on more text than is coloured; an export of arrays has no such page.
    num_chars = CHARS_SCORED
    if analysis.colours_text:
        num_chars = options.chars or CHARS_SHOWN
    num_read = num_chars
    if analysis.reads_more and options.suffix != ".npz":
        num_read = max(num_chars, CHARS_SCORED)

    run = next(iter(options.runs), None)  # None for the newest
    model = load_model_as(Model, run, quiet=options.quiet)

    read, context, num_available = read_passage(
        model, source=options.text, num_chars=num_read, quiet=options.quiet
    )
    warn(model.encoding_warnings(read[:num_chars]), quiet=options.quiet)
    whole = model.encode(read, context=context)

    # The findings of this command are measured anew, and replace the saved findings.
    if options.recompute:
        model.findings.measures_anew = True
    return Subject(
        model=model,
        content=read[:num_chars],
        context=context,
        text=whole.part(0, num_chars),
        num_available=num_available,
        whole=whole,
        options=options,
        own=own,
        detectors=detectors,
    )


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


def _measure_findings(subject: Subject[NoOptions]) -> FoundCells:
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


def _show_findings(subject: Subject[NoOptions], found: FoundCells) -> Shown:
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
    page = None
    if found.trace is not None:
        page = _findings_page(model, found=found, trace=found.trace, title=title)
    data: object = [score.to_json() for score in findings.scores]
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
    return Shown(f"Cells of {model.name}", pictures=pictures, data=data, page=page)


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
    page = _page(
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


def _page(
    model: TrainedModel,
    trace: Trace,
    title: str,
    columns: Sequence[str],
    rows: Sequence[PageRow],
    num_cells: int,
) -> HeatMapPage:
    """Build the page that `--export FILE.html` writes, of the first characters of a trace with
    guesses."""
    # The more cells, the fewer characters: a browser has to load all the values.
    chars = slice(0, chars_on_page(num_cells))
    return HeatMapPage(
        title=title,
        shows=cell_type(model.config.cell).shows,
        text=trace.text[chars],
        cells=trace.cells[chars],
        bits=trace.bits[chars].tolist(),
        guesses=model.guesses(trace, chars),
        columns=columns,
        rows=rows,
        labels={},
    )


@dataclass(frozen=True)
class ColouredCell:
    """A cell, and its values at the N characters of a text."""

    layer: int
    unit: int
    text: ColouredText

    def title(self, model: TrainedModel) -> str:
        """Return the name of the cell in a picture."""
        return f"cell {self.layer}:{self.unit} of {all_visible(model.name)}"


@dataclass(frozen=True)
class CellsOnPage:
    """Cells on an exported page, which has the values of a trace with guesses."""

    indices: Sequence[tuple[int, int]]
    """Layer and unit of each."""
    trace: Trace

    def show(self, subject: Subject[NoOptions]) -> Shown:
        """Draw the page."""
        model = subject.model
        rows = []
        for layer, unit in self.indices:
            polarity = model.polarity(layer, unit)
            rows.append(PageRow(columns=[f"{layer}:{unit}"], cell=(layer, unit), polarity=polarity))
        name = f"Cells of {model.name}"
        if len(rows) == 1:
            name = f"A cell of {model.name}"
        page = _page(
            model, trace=self.trace, title=name, columns=["cell"], rows=rows, num_cells=len(rows)
        )
        return Shown(name, pictures=(), data=None, page=page)


@dataclass(frozen=True)
class CellsOnSlides:
    """Cells in an exported picture: a text in the colours of each, with guesses if asked for."""

    cells: Sequence[ColouredCell]

    def show(self, subject: Subject[NoOptions]) -> Shown:
        """Draw the slides below each other."""
        kind = cell_type(subject.model.config.cell).shows
        slides = []
        for cell in self.cells:
            title = f"{cell.title(subject.model)}, {kind}"
            slides.append((title, scale_of_text(cell.text), _drawn(subject, cell.text)))
        pictures = [*slide_pictures(slides), *end_legend(subject.text.text)]
        return Shown(_names_of(subject, self.cells), pictures=pictures, data=None)


@dataclass(frozen=True)
class CellsInTerminal:
    """Cells in a terminal: a text in the colours of each, and the page of the cell below it."""

    cells: Sequence[ColouredCell]
    pages: Sequence[CellPage]

    def show(self, subject: Subject[NoOptions]) -> Shown:
        """Draw the cells below each other; cells that share a scale follow each other without
        it."""
        kind = cell_type(subject.model.config.cell).shows
        pictures: list[RenderableType] = []
        before: Scale | None = None
        for cell, page in zip(self.cells, self.pages, strict=True):
            if pictures:
                pictures.append(Text())
            pictures.append(Text.assemble((cell.title(subject.model), "bold"), f", {kind}  "))

            scale = scale_of_text(cell.text)
            if scale != before:
                pictures += scale_pictures(scale)
                if cell.text.guesses:
                    pictures.append(Text(ABOUT_GUESSES))
                pictures += end_legend(cell.text.text)
            before = scale

            pictures += [_drawn(subject, cell.text), Text()]
            pictures += page_pictures(page)
        return Shown(_names_of(subject, self.cells), pictures=pictures, data=None)


@dataclass(frozen=True)
class CellsAsJson:
    """Cells as JSON, with the page of each. The first cell is repeated at the top level."""

    cells: Sequence[ColouredCell]
    pages: Sequence[CellPage]

    def show(self, subject: Subject[NoOptions]) -> Shown:
        """Return the values of the cells and their pages."""
        # As in Python, layer and unit are numbers, and not the text that is typed.
        listed = []
        for cell, page in zip(self.cells, self.pages, strict=True):
            index = {"layer": cell.layer, "unit": cell.unit}
            listed.append(index | {"values": [*cell.text.values], "page": page.to_json()})

        first = {name: listed[0][name] for name in ("layer", "unit", "values")}
        data: dict[str, object] = {
            "run": subject.model.name,
            **first,
            "text": subject.text.text,
            "cells": listed,
        }
        guesses = self.cells[0].text.guesses
        if guesses:
            data["guesses"] = guesses
        return Shown(_names_of(subject, self.cells), pictures=(), data=data)


CellsShown = CellsOnPage | CellsOnSlides | CellsInTerminal | CellsAsJson
"""What `--cell` shows, one class for each output."""


def _measure_cells(subject: Subject[NoOptions]) -> CellsShown:
    """Measure the cells of `--cell` as far as the output needs it: the page of a cell takes a
    hundred times as long as its values."""
    options = subject.options
    model = subject.model
    # Each cell once, however often it is named.
    indices = list(
        dict.fromkeys(parse_cell("--cell", text=cell, model=model) for cell in options.cells)
    )
    if options.suffix == ".html":
        trace = model.trace(subject.text, num_guesses=NUM_GUESSES)
        return CellsOnPage(indices, trace)

    guesses: Guesses = []
    if options.guesses:
        guesses = model.guesses(model.trace(subject.text, num_guesses=NUM_GUESSES))
    cells = []
    for index, values in zip(indices, subject.study.values(indices), strict=True):
        coloured = ColouredText(
            text=subject.text.text,
            values=tuple(map(float, values)),
            guesses=tuple(map(tuple, guesses)),
            polarity=model.polarity(*index),
        )
        cells.append(ColouredCell(*index, coloured))
    if options.suffix in PICTURE_SUFFIXES:
        return CellsOnSlides(cells)

    # One study, so that all cells share one reading of the text.
    study = model.study(subject.whole, cached=True)
    pages = [study.page(*index) for index in indices]
    if options.json or options.suffix == ".json":
        return CellsAsJson(cells, pages)
    return CellsInTerminal(cells, pages)


def _show_cells(subject: Subject[NoOptions], shown: CellsShown) -> Shown:
    return shown.show(subject)


def _names_of(subject: Subject[NoOptions], cells: Sequence[ColouredCell]) -> str:
    """Return the title of a file with some cells."""
    names = ", ".join(f"{cell.layer}:{cell.unit}" for cell in cells)
    return f"{subject.model.name}: {names}"


def _drawn(subject: Subject[NoOptions], coloured: ColouredText) -> RenderableType:
    """Return a text in the colours of a cell, with the guesses below each character if there are
    any."""
    scale = scale_of_text(coloured)
    if coloured.guesses:
        return GuessMap(coloured, scale)
    return HeatMap(_whole_words(subject, coloured), scale)


def _whole_words(subject: Subject[Own], coloured: ColouredText) -> ColouredText:
    # A slice is compared, because a single byte of bytes is a number.
    last = subject.context[-1:]
    return whole_words(
        coloured,
        begins_inside_line=bool(last) and last not in ("\n", "\0", b"\n"),
        ends_inside_text=subject.num_available > len(subject.text),
    )


def _measure_surprise(subject: Subject[NoOptions]) -> Trace:
    # The first character of a text without context is predicted by nothing.
    trace = subject.model.trace(subject.text)
    if len(trace.text) == 1 and subject.text.first == 0:
        raise DataError(
            "The text has 1 character, which nothing predicts; its surprise needs at least 2."
        )
    return trace


def _show_surprise(subject: Subject[NoOptions], trace: Trace) -> Shown:
    """Draw a text coloured by its surprise."""
    name, bits = subject.model.name, trace.bits.tolist()
    mean = f", {np.nanmean(trace.bits):.2f} bits per character over {len(bits):,}  "
    caption = Text.assemble((f"surprise of {all_visible(name)}", "bold"), mean)
    coloured = _whole_words(subject, ColouredText(text=trace.text, values=tuple(bits)))
    drawn = surprise_map(coloured.text, bits=coloured.values)
    pictures = [caption, SURPRISE_LEGEND, *end_legend(trace.text), drawn]
    data = {"run": name, "text": trace.text, "bits": bits}
    return Shown(f"Surprise of {name}", pictures=pictures, data=data)


def export_arrays(subject: Subject[Own], target: Target) -> None:
    """Write the trace of the text to a file, and the labels of the detectors."""
    # With the outputs h as well, because users of arrays fit models to them.
    trace = subject.model.trace(subject.text, keeps_hidden=True)
    # With --cell no cell is chosen, so no part of the text counts as scored.
    num_chosen_on = subject.study.half
    if subject.options.cells:  # chosen by the user
        num_chosen_on = len(trace.text)
    arrays = trace.to_arrays(subject.detectors, num_chosen_on=num_chosen_on)
    deliver(Shown("", pictures=(), data=None, arrays=arrays), target)


CORE_ANALYSES: tuple[AnyAnalysis, ...] = (
    Analysis(
        options=NoOptions,
        measure=_measure_findings,
        show=_show_findings,
        takes=DETECTOR_OPTIONS | {"--top"},
        exports_arrays=True,
    ),
    Analysis(
        flag="--find",
        options=NoOptions,
        measure=_measure_findings,
        show=_show_findings,
        takes=DETECTOR_OPTIONS,
        exports_arrays=True,
    ),
    Analysis(
        flag="--cell",
        options=NoOptions,
        measure=_measure_cells,
        show=_show_cells,
        takes=frozenset({"--guesses"}),
        example="--cell 0:17",
        colours_text=True,
        reads_more=True,
        exports_arrays=True,
    ),
    Analysis(
        flag="--surprise",
        options=NoOptions,
        measure=_measure_surprise,
        show=_show_surprise,
        colours_text=True,
    ),
)
"""The analyses of the core; `charrnn visualize` shows the first without any option."""


def analyses() -> tuple[AnyAnalysis, ...]:
    """Return all analyses: first of the core, then of plugins and of other packages."""
    return (*CORE_ANALYSES, *offered(specifications.analyses, Analysis))

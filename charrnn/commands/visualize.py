"""charrnn visualize: the cells of a model, coloured over a text, named and scored.

The command reads the options, the model and the text, which are the `Subject`. A function for each
view, such as `show_findings` and `show_cells`, measures it and draws what it found.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import fill

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from charrnn.analyses.evidence import evidence
from charrnn.analyses.evidence.results import EvidenceCard
from charrnn.analyses.gates import count_gates
from charrnn.analyses.gradients import TITLE, before_and_after, gradient_chart, gradients_of
from charrnn.analyses.why.many_places import why_places
from charrnn.analyses.why.places_record import NUM_ROWS, WhyPlaces
from charrnn.analyses.why.sentences import a_character
from charrnn.analyses.why.target import target_id
from charrnn.cells.known_cells import card_scores, known_polarity, record_found_cells
from charrnn.cells.records import CHARS_SCORED, CellFindings, CellPage, ColouredText
from charrnn.cells.study import NUM_PASSAGES, Study, study_of
from charrnn.cells.trace import guesses_of, trace_of
from charrnn.cli.arguments import (
    MeasuredText,
    WholeText,
    ids_of,
    load_model,
    parse_cell,
    parse_character,
    read_measured_text,
    read_whole_text,
)
from charrnn.cli.command_classes import OTHER
from charrnn.cli.command_options import PART_HELP, TEXT_HELP, ExportingOptions, run_argument
from charrnn.cli.streams import deliver, export_destination
from charrnn.config.options import at_least, option
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import DETECTORS, custom_detector, get_detectors
from charrnn.errors import DataError, UsageError, shortened
from charrnn.model.cell_type_registry import cell_type
from charrnn.runs.destinations import Destination
from charrnn.system.progress import task, tell, warn
from charrnn.text.cleaning import tidied
from charrnn.text.corpus import CorpusPart
from charrnn.text.given_text import unknown_warning
from charrnn.text.vocab import EncodedText
from charrnn.trained_model import MAX_LAG, TrainedModel
from charrnn.views.cell_pages import cells_to_html, page_pictures
from charrnn.views.delivery import PICTURE_SUFFIXES, Shown, describe_formats
from charrnn.views.findings_tables import findings_pictures
from charrnn.views.heatmap import HeatMap, end_legend, scale_of_text, surprise_map, whole_words
from charrnn.views.passages import passage_pictures
from charrnn.views.theme import Scale, all_visible

COLOURS = "Coloured text"
"""Group of the options in the help that change how a text is coloured."""
SINGLE_CELLS = "What a cell does"
"""Group of the option that tests a claim about a single cell."""
NETWORK = "The network"
"""Group of the options that show the gates or the gradients of a network."""
CHARS_SHOWN = 1_200
"""Characters that --cell and --surprise colour, unless another number is asked for."""
NUM_GUESSES = 5
"""Next characters that are shown below each character."""
NUM_CELLS = 64
"""Cells of an exported page, unless another number is asked for."""
MAX_PAGE_BYTES = 5_000_000
"""Size of an exported page, at most."""
BEST = "best"
"""The word for the cell that exceeds the untrained network most, in place of `L:U`."""


@dataclass(frozen=True, kw_only=True)
class VisualizeOptions(ExportingOptions):
    """The options of `charrnn visualize`."""

    # The model, the text, and what is shown.
    run: str | None = run_argument()
    text: str | None = option(None, flags="--text FILE", help=TEXT_HELP)
    export: Path | None = option(
        None,
        flags="--export FILE",
        help=f"Write to FILE: {describe_formats()}; .npz: activations; .pdf: charts.",
        panel=OTHER,
    )
    character: str | None = option(
        None,
        flags="--why CHARACTER|end",
        help="Say why this character comes next, at 100 places: which earlier ones matter.",
    )
    part: str = option("validation", flags="--part PART", help=PART_HELP, panel=OTHER)
    cells: Sequence[str] = option(
        (), flags="--cell L:U", help="Colour the text by this cell: layer and unit (repeatable)."
    )
    surprise: bool = option(
        False,
        flags="--surprise",
        help="Colour each character by its surprise, and list the least predictable sentences.",
    )
    detectors: Sequence[str] = option(
        (),
        flags="--detector NAME",
        help="Look only for cells that follow this, such as quote (list below; repeatable).",
    )
    detect: Sequence[str] = option(
        (),
        flags="--detect REGEX|FILE.py",
        help="A detector of your own: REGEX, 'NAME: REGEX', or FILE.py with label(text).",
    )
    find: bool = option(
        False,
        flags="--find",
        help="Print the table only.",
    )

    # How much is shown, and where it is written. None, not a number, where the default depends on
    # what is shown: a typed number can then be told from a default.
    top: int | None = option(
        None,
        flags="--top N",
        help="How many cells to colour, or sentences or earlier characters to list.",
        allowed=at_least(0),
        shown_default=f"{NUM_PASSAGES} cells, else 10",
    )

    # How a text is coloured.
    chars: int | None = option(
        None,
        flags="--chars N",
        help="Characters to colour with --cell or --surprise.",
        panel=COLOURS,
        shown_default=str(CHARS_SHOWN),
        allowed=at_least(1),
    )
    guesses: bool = option(
        False,
        flags="--guesses",
        help="With --cell: the five most likely next characters below each.",
        panel=COLOURS,
    )

    # What is shown of a cell and of the network by functions of `charrnn.analyses`.
    evidence: str = option(
        "",
        flags=f"--evidence L:U|{BEST}",
        help="Test whether the model uses this cell, or the best one: tests and a verdict.",
        panel=SINGLE_CELLS,
    )
    gates: bool = option(
        False,
        flags="--gates",
        help="Show how often each gate is saturated, per layer.",
        panel=NETWORK,
    )
    gradients: bool = option(
        False,
        flags="--gradients",
        help="Show how the gradient decays or grows with distance.",
        panel=NETWORK,
    )
    beside: Sequence[str] = option(
        (),
        flags="--with RUN",
        help="With --gradients: add another run to the charts (repeatable).",
        panel=NETWORK,
    )

    # Findings are keyed by weights, text and program, so results are right without this option. It
    # is for users who doubt a finding.
    recompute: bool = option(
        False,
        flags="--recompute",
        help="Ignore the findings saved so far and measure again.",
        panel=OTHER,
    )

    @property
    def suffix(self) -> str:
        """The suffix of the exported file in lower case, "" without an export."""
        return "" if self.export is None else self.export.suffix.lower()

    @property
    def colours_text(self) -> bool:
        """Whether the first `--chars` characters are shown, and not findings of a longer text."""
        return bool(self.cells) or self.surprise


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, the text it is measured on, and the options."""

    model: TrainedModel
    read: MeasuredText
    """The text, whose beginning is as long as the page of a cell needs, or longer."""
    text: EncodedText
    """The characters that are shown or scored, at the beginning of `read`."""
    options: VisualizeOptions
    detectors: list[Detector]
    """The chosen detectors."""

    @cached_property
    def study(self) -> Study:
        """The study of the cells over the text, with the findings saved so far."""
        return study_of(self.model, self.text, cached=True)


def epilog() -> str:
    """Return the text below the help: a line for each detector, with what its labels mean."""
    detectors = get_detectors(chosen=None)
    width = max(len(detector.name) for detector in detectors)
    lines = ["Detectors, those of installed packages last:"]
    for detector in detectors:
        line = f"  {detector.name:<{width}}  {detector.looks_for}"
        # A name that is divided could not be copied.
        indent = " " * (width + 4)
        lines.append(fill(line, width=76, subsequent_indent=indent, break_on_hyphens=False))
    # typer would join the lines of a paragraph without this mark.
    return "\b\n" + "\n".join(lines)


def visualize(options: VisualizeOptions) -> None:
    """Show what the cells of a model keep track of.

    \b
    Examples:
      charrnn visualize prose
      charrnn visualize prose --cell 0:97 --text letter.txt
      charrnn visualize prose --surprise --export surprise.html

    Without options: finds, for each detector, the cell that follows it best. Then the best cells
    are coloured over the text: red where the cell is low, blue where it is high. A cell that is low
    inside what it follows is drawn with its sign turned, so that the inside is blue.
    """
    # Errors of the command line appear before a model is loaded.
    shows_network = options.gates or options.gradients
    asks_why = options.character is not None and not options.evidence
    destination = export_destination(
        options,
        has_arrays=not (options.surprise or options.evidence or shows_network or asks_why),
        has_rows=not (options.cells or shows_network),
        has_chart=shows_network or asks_why,
    )
    detectors = _chosen_detectors(options.detectors, options.detect)

    # Why a character comes next is asked at places of the whole text. A card tests one cell there.
    if asks_why:
        deliver(show_why(options), destination, as_json=options.json)
        return

    # The arrays belong to the text itself, whatever is shown of it.
    subject = _prepare(options, detectors)
    if destination is not None and options.suffix == ".npz":
        export_arrays(subject, destination)
        return

    # Everything is measured and drawn before anything is printed, so that an error leaves no half
    # of an output. This progress appears at once: the first bar of the measurement may come after
    # seconds.
    with task(f"reading {subject.model.name}", unit=""):
        shown = _show(subject)
    deliver(shown, destination, as_json=options.json)


def _show(subject: Subject) -> Shown:
    """Measure and draw what the options ask for."""
    options = subject.options
    if options.cells:
        return show_cells(subject)
    if options.surprise:
        return show_surprise(subject)
    if options.evidence:
        return show_evidence(subject)
    if options.gates:
        return show_gates(subject)
    if options.gradients:
        return show_gradients(subject)
    return show_findings(subject)


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
                " --detect 'NAME: REGEX'."
            )
        taken.add(detector.name)

    # A user who defines a detector asks about this detector, not about all the built-in detectors.
    if custom and not names:
        return custom
    return [*get_detectors(names), *custom]


_NAMED = re.compile(r"([^\W\d][\w-]*): (.+)", re.DOTALL)
"""A name and a regular expression, as --detect takes them."""

_NAMED_WITH_EQUALS = re.compile(r"[^\W\d]\w*=.+", re.DOTALL)
"""What looks like a name and an expression, but is an expression."""


def _own_detector(spec: str) -> Detector:
    """Return the detector of --detect: FILE.py, a regular expression, or 'NAME: REGEX'. Raises
    UsageError."""
    # The path of a file may have a colon in it.
    if spec.endswith(".py"):
        return custom_detector(spec)

    name = None
    expression = spec
    if named := _NAMED.fullmatch(spec):
        name, expression = named.groups()
    elif _NAMED_WITH_EQUALS.fullmatch(spec):
        tell(
            f"--detect {shortened(spec)!r} is an expression with = in it. A name is typed before a"
            " colon and a blank: --detect 'NAME: REGEX'."
        )
    # A text is read without what nobody sees, and with each letter and its accents as one
    # character; a model of files as they stand reads them as they are typed.
    return custom_detector(expression, name, spellings=[tidied(expression)])


def _prepare(options: VisualizeOptions, detectors: list[Detector]) -> Subject:
    """Load the model and encode the beginning of the text, with warnings about it."""
    # Findings need many characters, a coloured text only as many as a person looks at. The page of
    # a cell is measured on more text than is coloured.
    num_chars = CHARS_SCORED
    if options.colours_text:
        num_chars = options.chars or CHARS_SHOWN

    model = load_model(options.run)
    read = read_measured_text(
        model, options.text, num_chars=max(num_chars, CHARS_SCORED), part=options.part
    )
    shown = read.encoded.part(0, num_chars)
    warn(*unknown_warning(model.name, shown))

    # The findings of this command are measured anew, and replace the saved findings.
    if options.recompute:
        model.cache.measures_anew = True
    return Subject(
        model=model,
        read=read,
        text=shown,
        options=options,
        detectors=detectors,
    )


def export_arrays(subject: Subject, destination: Destination) -> None:
    """Write the trace of the text to a file, and the labels of the detectors."""
    # With the outputs h as well, because users of arrays fit models to them.
    trace = trace_of(subject.model, subject.text, keeps_hidden=True)
    # With --cell no cell is chosen, so no part of the text counts as scored.
    num_chosen_on = subject.study.half
    if subject.options.cells:  # chosen by the user
        num_chosen_on = len(trace.text)
    arrays = trace.to_arrays(subject.detectors, num_chosen_on=num_chosen_on)
    deliver(Shown("", pictures=(), data=None, arrays=arrays), destination)


def show_cells(subject: Subject) -> Shown:
    """Measure and draw the cells of `--cell`: the text in the colours of each, and its page.

    A picture has no page, which would not fit on it and takes a hundred times as long to measure as
    the values. JSON repeats the first cell at the top level.
    """
    model = subject.model
    text = subject.text.text
    typed = [parse_cell("--cell", text=cell, model=model) for cell in subject.options.cells]
    cells = list(dict.fromkeys(typed))  # each once, however often it is named

    # What all cells share: the guesses below the characters, or what is underlined.
    data: dict[str, object] = {}
    guesses: list[list[tuple[str, float]]] = []
    if subject.options.guesses:
        guesses = guesses_of(trace_of(model, subject.text, num_guesses=NUM_GUESSES), model.vocab)
        data["guesses"] = guesses
    inside: list[bool] = []
    underlined = ""
    if subject.options.detectors or subject.options.detect:
        detector, inside = _underlined(subject)
        underlined = f"where {detector} is on"
        data["labels"] = {detector: inside}

    # The pages are of the whole text, which one study reads for all of them; what is drawn is its
    # beginning.
    study = study_of(model, subject.read.encoded, cached=True)
    pictures: list[RenderableType] = []
    listed: list[dict[str, object]] = []
    before: Scale | None = None
    for (layer, unit), values in zip(cells, subject.study.values(cells), strict=True):
        if pictures:
            pictures.append(Text())
        title = f"cell {layer}:{unit} of {all_visible(model.name)}"
        pictures.append(
            Text.assemble((title, "bold"), f", {cell_type(model.config.cell_type).shows}  ")
        )

        # Cells that share a scale follow each other without it.
        coloured = ColouredText(
            text=text,
            values=tuple(map(float, values)),
            guesses=tuple(map(tuple, guesses)),
            inside=tuple(inside),
            polarity=known_polarity(model.cache, layer, unit),
        )
        picture = HeatMap(_whole_words(subject, coloured), scale_of_text(coloured))
        if picture.scale != before:
            pictures += [*picture.legend(underlined), *end_legend(text)]
            before = picture.scale
        pictures.append(picture)

        # As in Python, layer and unit are numbers, and not the text that is typed.
        entry: dict[str, object] = {"layer": layer, "unit": unit, "values": [*coloured.values]}
        if subject.options.suffix not in PICTURE_SUFFIXES:
            page = study.page(layer, unit)
            pictures += [Text(), *page_pictures(page)]
            entry["page"] = page.to_json()
        listed.append(entry)

    first = {key: listed[0][key] for key in ("layer", "unit", "values")}
    names = ", ".join(f"{layer}:{unit}" for layer, unit in cells)
    return Shown(
        f"{model.name}: {names}",
        pictures=pictures,
        data={"run": model.name, **first, "text": text, "cells": listed, **data},
    )


def _underlined(subject: Subject) -> tuple[str, list[bool]]:
    """Return the name of the one detector that was chosen, and whether it is on at each character.

    Raises UsageError for several detectors and for a count, which cannot be underlined; DataError
    for a detector that does not apply to the text.
    """
    names = [detector.name for detector in subject.detectors]
    if len(names) > 1:
        raise UsageError(f"One detector is underlined, not {', '.join(names)}: name one.")
    (detector,) = subject.detectors
    labels = detector.labels_of(subject.text.text)
    if labels is None:
        raise DataError(f"{names[0]} labels nothing: {detector.absence}.")
    if labels.dtype != bool:
        flag = "--detector" if subject.options.detectors else "--detect"
        raise UsageError(
            f"{names[0]} counts, and only a yes/no detector can be underlined: leave {flag} out."
        )
    return names[0], labels.tolist()


def _whole_words(subject: Subject, coloured: ColouredText) -> ColouredText:
    # Guesses stand below the line ends, too.
    if coloured.guesses:
        return coloured
    # A slice is compared, because a single byte of bytes is a number.
    last = subject.read.context[-1:]
    return whole_words(
        coloured,
        begins_inside_line=bool(last) and last not in ("\n", "\0", b"\n"),
        ends_inside_text=subject.read.num_chars > len(subject.text),
    )


def show_surprise(subject: Subject) -> Shown:
    """Draw the least and the most likely sentences and words of a text, and its beginning coloured
    by its surprise."""
    # Imported here: no other view needs it.
    from charrnn.reports import lines

    model = subject.model
    options = subject.options

    # The lists are of the whole text, which has been read already. A part of the run's text
    # contains its context.
    context = subject.read.context
    if isinstance(subject.read.whole, CorpusPart):
        context = ""
    scored = lines.score_as_read(model, subject.read.whole, context=context)
    # Whether the model has learned this text, above all.
    warn(*scored.notes)
    num = lines.NUM_LISTED if options.top is None else options.top
    lists = [scored.ends_of_list(unit, num=num) for unit in (lines.SENTENCE, lines.WORD)]

    # A reader must not take the beginning for the whole text.
    trace = trace_of(model, subject.text)
    bits = trace.bits.tolist()
    shown_of = f"{len(bits):,} of {subject.read.num_chars:,}"
    mean = f", {np.nanmean(trace.bits):.2f} bits per character over {shown_of} (--chars)  "
    caption = Text.assemble((f"surprise of {all_visible(model.name)}", "bold"), mean)
    coloured = _whole_words(subject, ColouredText(text=trace.text, values=tuple(bits)))
    drawn = surprise_map(coloured)

    # The lists come first: the colours of a long text would push them out of sight.
    pictures: list[RenderableType] = []
    data: dict[str, object] = {"run": model.name, "text": trace.text, "bits": bits}
    rows: list[dict[str, object]] = []
    for ends in lists:
        pictures.append(ends.view([model.name]))
        listed = ends.to_json([model.name])
        data[f"{ends.unit}s"] = listed
        for likely, losses in listed.items():
            rows += [{"unit": ends.unit, "likely": likely, **loss} for loss in losses]
    pictures += [caption, *drawn.legend(), *end_legend(trace.text), drawn]
    return Shown(f"Surprise of {model.name}", pictures=pictures, data=data, rows=rows)


def _find_best_cells(subject: Subject) -> CellFindings:
    """Find the best cell for each detector, and record those that are found for other commands.
    Raises DataError if detectors were chosen and none of them can be scored."""
    options = subject.options
    findings = subject.study.findings(subject.detectors)
    record_found_cells(subject.model.cache, findings.scores)

    # Without chosen detectors, no finding is no error: the user asked for no detector by name.
    if (options.detectors or options.detect) and not findings.scores:
        reasons = "; ".join(f"{skipped.detector}: {skipped.reason}" for skipped in findings.skipped)
        raise DataError(
            f"No detector can be scored in this text: {reasons}. Give another --text, or define"
            " your own detector "
            r"by a regular expression: --detect '\([^)]*\)'"
        )
    return findings


def _title_of(subject: Subject, findings: CellFindings) -> str:
    """Say how many cells were scored on how much text."""
    model = subject.model
    of = ""
    if subject.read.num_chars != findings.num_chars:
        of = f" of {subject.read.num_chars:,}"
    by = ""
    if subject.options.text is None and model.card:
        by = " that it wrote itself (sample --seed 1 --length 20000)"
    return (
        f"{all_visible(model.name)}: {findings.num_cells:,} cells over {findings.num_chars:,}{of}"
        f" characters{by}; chosen on the first half, scored on the second"
    )


def show_findings(subject: Subject) -> Shown:
    """Draw the table of the best cells, and passages that show the best of them; for an exported
    page, the strongest of all cells."""
    options = subject.options
    study = subject.study
    detectors = subject.detectors
    findings = _find_best_cells(subject)
    title = f"Cells of {subject.model.name}"
    tables = findings_pictures(
        _title_of(subject, findings), findings=findings, card=card_scores(subject.model.card)
    )
    pictures = tables
    page = ""

    if options.suffix == ".html" and not options.find:
        num_cells = NUM_CELLS if options.top is None else options.top
        cells = study.strongest_cells(num_cells, detectors)
        if pages := study.pages(cells, detectors):
            page = _page_of_cells(subject, title, above=tables, pages=pages)

    # JSON and --find show no passages, which take time to choose.
    elif not (options.json or options.suffix == ".json" or options.find):
        num_passages = NUM_PASSAGES if options.top is None else options.top
        passages = passage_pictures(
            study.passages(findings, detectors=detectors, num_passages=num_passages),
            looks_for={detector.name: detector.looks_for for detector in detectors},
        )
        # A picture is for a slide or a paper, and has the tables only if there is nothing else.
        if options.suffix in PICTURE_SUFFIXES and passages:
            pictures = passages
        else:
            pictures = [*tables, *passages]

    rows = [score.to_json() for score in findings.scores]
    data = {"run": subject.model.name} | findings.to_json()
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


def show_why(options: VisualizeOptions) -> Shown:
    """Measure and draw why a character comes next, over places of the whole text."""
    model = load_model(options.run)
    if options.recompute:
        model.cache.measures_anew = True
    whole = read_whole_text(model, options.text, part=options.part)
    found = _find_places(model, whole, options)

    num_rows = NUM_ROWS if options.top is None else options.top
    chart = found.chart(num_rows)
    pictures = found.tables(num_rows)
    if options.suffix == ".html":
        pictures.append(chart)
    return Shown(
        f"Why {model.name} writes a character",
        pictures=[*pictures, *found.example_pictures()],
        data={"run": model.name} | found.to_json(),
        rows=found.to_rows(),
        chart=chart,
    )


def _find_places(model: TrainedModel, whole: WholeText, options: VisualizeOptions) -> WhyPlaces:
    """Say why the character of --why comes next, at places of a text."""
    assert options.character is not None, "it was asked for"
    ids, first = ids_of(model, whole)
    # As the characters of the text are read.
    typed = parse_character(options.character, model.vocab.kind)
    target = target_id(model, typed, unknown="nearest")
    for unknown, known in target.replaced.items():
        tell(
            f"{model.name} does not know {a_character(unknown)}: {a_character(known)} stands for it"
        )
    return why_places(
        model,
        ids,
        first=first,
        character=typed,
        unknown="nearest",
        part=options.part if options.text is None else "",
    )


def show_evidence(subject: Subject) -> Shown:
    """Measure and draw the evidence card of a cell, or of the best one."""
    options = subject.options
    names = [*options.detectors, *options.detect]
    if len(names) > 1:
        raise UsageError(f"A card is of one detector, not of {', '.join(names)}: give one.")
    detector = subject.detectors[0] if names else None
    cell: tuple[int | None, int | None] = (None, None)
    if options.evidence != BEST:
        cell = parse_cell("--evidence", text=options.evidence, model=subject.model)

    card = evidence(subject.study, *cell, detector=detector)
    if options.character is not None:
        card = card.with_places(_find_places(subject.model, subject.read.whole, options))
    stronger: list[Text] = []
    if detector is None:
        stronger = _followed_more(subject.study, card)
    tests = card.tests()
    return Shown(
        f"Evidence for cell {card.layer}:{card.unit} of {subject.model.name}",
        pictures=[*card.view(), *stronger],
        data={"run": subject.model.name, **card.to_json()},
        rows=[
            {"part": name, "passed": tests.get(name), "found": line}
            for name, line in card.lines().items()
        ],
    )


def _followed_more(study: Study, card: EvidenceCard) -> list[Text]:
    """Return a line for each detector that the cell of a card follows more strongly than that of
    the card, with the options that test it.

    The card is of what a cell has learned most, beside the untrained network. That need not be what
    the model uses the cell for.
    """
    cell = f"{card.layer}:{card.unit}"
    lines = []
    for score in study.findings().scores:
        is_of_cell = (score.layer, score.unit) == (card.layer, card.unit)
        if is_of_cell and score.is_found and score.strength > card.tracks.strength:
            lines.append(
                Text(
                    f"{cell} follows {score.detector} more strongly:"
                    f" --evidence {cell} --detector {score.detector}"
                )
            )
    if lines:
        lines.insert(0, Text())
    return lines


def show_gates(subject: Subject) -> Shown:
    """Count and draw how often the gates of each layer are saturated."""
    model = subject.model
    report = count_gates(model.network, text=subject.text, name=model.name)
    return Shown(
        f"Gates of {report.name}",
        pictures=report.view(),
        data=report.to_json(),
        chart=report.chart(),
    )


def show_gradients(subject: Subject) -> Shown:
    """Measure and draw how far the gradient of each network reaches back: one run in one chart,
    several in two."""
    # All models read the same text.
    others = [load_model(name) for name in subject.options.beside]
    content = subject.read.beginning[: len(subject.text)]
    reaches = gradients_of(
        (subject.model, *others), content, context=subject.read.context, max_lag=MAX_LAG
    )

    # In a terminal, a run and its baseline share a chart; the lines of several runs would cover
    # each other.
    trained = [reach for reach in reaches if not reach.is_untrained]
    untrained = [reach for reach in reaches if reach.is_untrained]
    pictures: list[RenderableType] = [gradient_chart(reaches)]
    if others:
        pictures = [
            gradient_chart(trained, title=f"{TITLE}, trained"),
            gradient_chart(untrained, title=f"{TITLE}, untrained"),
        ]
    return Shown(
        f"Gradients of {reaches[0].name}",
        pictures=pictures,
        data=[reach.to_json() for reach in reaches],
        chart=before_and_after(untrained, trained),
    )

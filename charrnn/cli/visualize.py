"""charrnn visualize: the cells of a model, coloured over a text, named and scored."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from charrnn.cells.records import CHARS_SCORED
from charrnn.cli.analyses import Analysis, Options, Subject, analysis_options, choose_analysis
from charrnn.cli.arguments import load_model, read_passage
from charrnn.cli.exporting import check_export, deliver
from charrnn.cli.modes import CELL, FIND, NUM_PASSAGES, SURPRISE, analyses, export_arrays
from charrnn.cli.options import OTHER, DebugOption, JsonOption, QuietOption, TextOption
from charrnn.cli.rules import is_given
from charrnn.cli.streams import print_json, warn
from charrnn.detectors.custom import custom_detector
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import DETECTORS, get_detectors
from charrnn.errors import UsageError
from charrnn.options import Option
from charrnn.text.encoded import EncodedText
from charrnn.views.export import PICTURE_SUFFIXES, describe_formats
from charrnn.views.svg import MAX_COLUMNS, MIN_COLUMNS

COLOURS, EXPORTS = "Coloured text", "Exported pictures"
"""Groups of options in the help."""
CHARS_SHOWN = 1_200
"""Characters that --cell and --surprise colour, unless another number is asked for."""
FIRST = (
    CELL,
    Option("--detector", "Score only this one, such as quote (repeatable; all: below).", "NAME", repeatable=True),
    Option("--export", f"Write to FILE instead: {describe_formats()}.", "FILE", kind=Path),
    FIND,
    SURPRISE,
)
"""The options that the help names first, on a screen of 80 by 24."""
OPTIONS = (
    Option(
        "--top",
        f"How many cells to colour ({NUM_PASSAGES} by default), or to list with --describe (20).",
        "N",
        kind=int,
        least=0,
    ),
    Option(
        "--detect",
        "Score a detector of your own: a regular expression, NAME=REGEX to name it, or FILE.py with a function "
        "label(text).",
        "REGEX|FILE.py",
        repeatable=True,
    ),
    Option(
        "--chars",
        "Characters to colour with --cell or --surprise.",
        "N",
        COLOURS,
        kind=int,
        default=CHARS_SHOWN,
        least=1,
    ),
    Option("--guesses", "With --cell: the five most likely next characters below each.", panel=COLOURS, kind=bool),
    Option("--sparkline", "Also draw the values as blocks below each line of text.", panel=COLOURS, kind=bool),
    Option("--columns", "Width of an exported .svg or .png in characters.", "N", EXPORTS, kind=int),
    Option("--recompute", "Ignore the findings saved in the run and measure again.", panel=OTHER, kind=bool),
)
"""The options that no analysis declares."""


def visualize(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="A run folder, its name under checkpoints/, RUN@STEP for one of its checkpoints, or a .zip of charrnn "
            "export. Default: the newest run there or in this folder. --same takes several.",
        ),
    ] = None,
    text: TextOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
    *,
    values: Mapping[str, Any],
) -> None:
    """Show what the cells of a model keep track of.

    Without options: finds, for each detector, the cell that follows it best. Then the best cells are coloured over the
    text: red where the cell is low, blue where it is high.
    """
    export = values["--export"]
    check_export(export, text)
    given = {flag: value == "" or is_given(value) for flag, value in values.items()}
    analysis = choose_analysis(analyses(), given)
    run, others = _split_runs(analysis, runs or [])
    detectors = _chosen_detectors(values["--detector"] or (), values["--detect"] or ())
    options = Options(values=values, runs=tuple(others), detectors=detectors)
    if (columns := values["--columns"]) is not None:
        if options.suffix not in PICTURE_SUFFIXES:
            raise UsageError("--columns applies to exported pictures: add --export FILE.svg or FILE.png.")
        if not MIN_COLUMNS <= columns <= MAX_COLUMNS:
            raise UsageError(f"--columns {columns}: a picture has {MIN_COLUMNS} to {MAX_COLUMNS} columns. Try 80.")
    exports_arrays = options.suffix == ".npz"
    if exports_arrays and not analysis.exports_arrays:
        raise UsageError(f"--export {export}: {analysis.name} has no activations; use .json.")
    num_chars = _num_chars_read(analysis, options, text, values["--chars"])
    subject = _prepare(run, text, options, num_chars, reads_more=analysis.reads_more and not exports_arrays)
    if exports_arrays:
        export_arrays(subject, export)
        return
    found: list[str] = []
    subject.model.findings.on_warning = found.append
    shown = analysis.show(subject, analysis.measure(subject))
    warn(tuple(found), quiet=quiet)
    print_json(shown.data) if json else deliver(replace(shown, columns=columns), export)


def _further_options() -> tuple[Option, ...]:
    options = (*FIRST, *OPTIONS, *analysis_options(analyses()))
    return tuple({option.flag: option for option in options}.values())


visualize.further_options = _further_options  # type: ignore[attr-defined]
visualize.epilog = f"Detectors: {', '.join(DETECTORS)}, and those of installed packages."  # type: ignore[attr-defined]


def _num_chars_read(analysis: Analysis[Any], options: Options, text: str | None, num_coloured: int) -> int:
    """Return how many characters of the text are read. Raises UsageError for a --text that is not read."""
    reads = analysis.reads_text
    if reads(options) if callable(reads) else reads:
        return num_coloured if analysis.colours_text else CHARS_SCORED
    if text is not None:
        given = [option.flag for option in analysis.options if options.values[option.flag]] if callable(reads) else []
        name = f"{analysis.name} with {' and '.join(given)}" if given else analysis.name
        raise UsageError(f"--text does not apply to {name}: leave out one of them.")
    return 0


def _split_runs(analysis: Analysis[Any], runs: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """Return the run, None for the newest, and the other ones. Raises UsageError for too few or too many."""
    if analysis.takes_runs and len(runs) < 2:
        raise UsageError(f"{analysis.name} takes two or more runs: charrnn visualize {analysis.name} RUN RUN")
    if len(runs) > 1 and not analysis.takes_runs:
        raise UsageError(
            f"visualize shows one run: leave out {', '.join(runs[1:])}, or add --same to match their cells."
        )
    return (runs[0] if runs else None), runs[1:]


def _chosen_detectors(names: Sequence[str], specs: Sequence[str]) -> list[Detector]:
    """Return the detectors that --detector names and --detect defines; all built-in ones if there are none.

    Raises UsageError for a detector that is not usable, and for two with one name.
    """
    own = [_own_detector(spec) for spec in dict.fromkeys(specs)]
    taken = {*DETECTORS}
    for detector in own:
        if detector.name in taken:
            raise UsageError(
                f"--detect: two detectors are named {detector.name}. Give each a name of its own: NAME=REGEX."
            )
        taken.add(detector.name)
    return [*(get_detectors(names) if names or not own else ()), *own]


def _own_detector(spec: str) -> Detector:
    """Return the detector of --detect: a regular expression, NAME=REGEX or FILE.py. Raises UsageError."""
    named = None if spec.endswith(".py") else re.fullmatch(r"([^\W\d]\w*)=(.+)", spec, re.DOTALL)
    return custom_detector(spec) if named is None else custom_detector(named[2], named[1])


def _prepare(run: str | None, text: str | None, options: Options, num_chars: int, *, reads_more: bool) -> Subject:
    """Load the model and encode the first `num_chars` characters of the text, with warnings about them.

    No text is read for 0 characters. With `reads_more` the first CHARS_SCORED are encoded, too.
    """
    model = load_model(run, quiet=options.values["--quiet"])
    if num_chars == 0:
        nothing = EncodedText(np.zeros(0, np.uint8), 0, "", model.vocab.kind)
        return Subject(model=model, content="", context="", text=nothing, num_available=0, options=options)
    num_read = max(num_chars, CHARS_SCORED) if reads_more else num_chars
    read, context, num_available = read_passage(model, text, num_read)
    content = read[:num_chars]
    warn(model.encoding_warnings(content), quiet=options.values["--quiet"])
    if options.values["--recompute"]:
        model.findings.ignore_saved()
    whole = model.encode(read, context=context)
    return Subject(
        model=model,
        content=content,
        context=context,
        text=whole.part(0, num_chars),
        whole=whole,
        num_available=num_available,
        options=options,
    )

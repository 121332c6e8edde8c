"""charrnn visualize: the cells of a model, coloured over a text, named and scored."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import load_model, parse_cell, read_text
from charrnn.cli.exporting import check_export, deliver, save_arrays
from charrnn.cli.options import DebugOption, JsonOption, QuietOption, RunArgument, TextOption
from charrnn.cli.pictures import (
    NUM_GUESSES,
    Shown,
    show_ablation,
    show_cells,
    show_findings,
    show_gates,
    show_gradients,
    show_history,
    show_surprise,
)
from charrnn.cli.progress import progress
from charrnn.cli.streams import can_animate, print_json, warn
from charrnn.detectors.registry import DETECTORS, get_detectors
from charrnn.render.export import describe_formats

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.detectors.labels import Labels
    from charrnn.detectors.registry import Detector
    from charrnn.microscope.study import Study
    from charrnn.microscope.trace import Trace
    from charrnn.records.microscope import CellFindings

CHARS_SCORED = 131_072
"""Characters of the held-out text that cells are chosen and scored on."""
CHARS_OF_HISTORY = 16_384
"""Characters of the second half on which every saved step is measured."""
CHARS_SHOWN = 1_200
PICTURES = 3
PATIENCE = 20
"""Seconds that a user's own detector may take to label a text."""


def visualize(
    run: RunArgument = None,
    cell: Annotated[
        list[str] | None,
        typer.Option("--cell", help="Show this cell: layer and unit, from 0 (repeatable).", metavar="L:U"),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            "--detector",
            help=f"Look for this only (repeatable): {', '.join(DETECTORS)}, or a detector of an installed package.",
            metavar="NAME",
        ),
    ] = None,
    find: Annotated[bool, typer.Option("--find", help="Print the ranked table only.")] = False,
    top: Annotated[int, typer.Option("--top", help="How many cells to colour.", metavar="N", min=0)] = PICTURES,
    text: TextOption = None,
    chars: Annotated[
        int, typer.Option("--chars", help="Characters to colour with --cell.", metavar="N", min=1)
    ] = CHARS_SHOWN,
    guesses: Annotated[
        bool, typer.Option("--guesses", help="With --cell: the five likeliest next characters under each.")
    ] = False,
    sparkline: Annotated[
        bool, typer.Option("--sparkline", help="Draw a cell's values as a line of blocks under each line of text, too.")
    ] = False,
    detect: Annotated[
        list[str] | None,
        typer.Option(
            "--detect",
            help="Look for matches of a regular expression, or for what a FILE.py of yours labels (repeatable).",
            metavar="REGEX|FILE.py",
        ),
    ] = None,
    gates: Annotated[bool, typer.Option("--gates", help="How often each gate is saturated, per layer.")] = False,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="How the error signal fades or grows with distance.")
    ] = False,
    beside: Annotated[
        list[str] | None,
        typer.Option("--with", help="With --gradients: another run on the same chart (repeatable).", metavar="RUN"),
    ] = None,
    ablate: Annotated[
        str | None,
        typer.Option("--ablate", help="What silencing this cell costs, inside and outside spans.", metavar="L:U"),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="How the best cells came to be, over the run's saved steps.")
    ] = False,
    surprise: Annotated[
        bool, typer.Option("--surprise", help="Colour by how many bits each character surprised the model.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            help=f"Write to FILE instead: {describe_formats()}.",
            metavar="FILE",
        ),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Measure again what was found before and kept in the run.")
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Show what the cells of a model keep track of.

    Without options: finds, for each detector, the cell that follows it best. The cell is chosen on one half of the
    held-out text and scored on the other, beside the same choice in an untrained twin of the model. Then the best cells
    are coloured over the text: red where the cell is low, blue where it is high.
    """
    from charrnn.api import load
    from charrnn.detectors.custom import custom_detector
    from charrnn.errors import DataError, UsageError

    check_export(export, text)
    if json and export is not None:
        raise UsageError("Give --json or --export, not both.")
    modes = {"--cell": cell, "--surprise": surprise, "--gates": gates, "--gradients": gradients, "--ablate": ablate}
    given = [option for option, value in modes.items() if value]
    if history:
        given.append("--history")
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} are different pictures: give one of them.")
    if given and (find or (given[0] not in ("--ablate", "--history") and (detector or detect))):
        raise UsageError(f"{given[0]} looks for no cell: leave out --find, --detector and --detect.")
    if guesses and not cell:
        raise UsageError("--guesses stand under a text coloured by a cell: add --cell, such as --cell 0:17.")
    if sparkline and (guesses or find or (given and given not in (["--cell"], ["--surprise"]))):
        raise UsageError("--sparkline stands under a coloured text: leave out --guesses, --find and other pictures.")
    if beside and not gradients:
        raise UsageError("--with puts another run on the chart of --gradients: add that, or leave it out.")
    own = [_in_time(custom_detector(spec)) for spec in detect or ()]
    detectors = [*(get_detectors(detector) if detector or not own else ()), *own]
    if can_animate(sys.stderr) and not quiet:
        sys.stderr.write("Looking into the model ...\n")
    model = load_model(run, quiet=quiet)
    content, context = model.held_out_text() if text is None else (read_text(text, model.config, quiet=quiet), None)
    context = content[:0] if context is None else context
    num_available = len(content)
    content = content[: chars if cell or surprise else CHARS_SCORED]
    warn(model.hard_to_read(content), quiet=quiet)
    kind = "" if export is None else export.suffix.lower()
    if kind == ".npz" and given not in ([], ["--cell"]):
        raise UsageError(f"--export {export}: {given[0]} has no activations; use .json.")

    if recompute:
        model.findings.ignore_saved()
    encoded = model.encode(content, context=context)
    study = model.study(encoded, cached=True)

    def read(label: str, **options: Any) -> "Trace":
        with progress(len(encoded), label, quiet=quiet) as advance:
            return model.trace(encoded, on_progress=advance, **options)

    if gates:
        with progress(len(encoded), "reading", quiet=quiet) as advance:
            shown = show_gates(model.gates(encoded, on_progress=advance))
    elif gradients:
        shown = _measure_gradients(model, [load(name) for name in beside or ()], content, context, quiet=quiet)
    elif ablate is not None:
        layer, unit = parse_cell("--ablate", ablate, model)
        ablations = []
        for at in ("mean", "zero"):
            with progress(2 * len(encoded), f"clamped at its {at}", quiet=quiet) as advance:
                ablations.append(model.ablate(layer, unit, encoded, detectors=detectors, at=at, on_progress=advance))
        shown = show_ablation(model, *ablations)
    elif surprise:
        shown = show_surprise(model, read("reading"), has_sparkline=sparkline)
    elif history:
        shown = _measure_history(model, study, detectors, quiet=quiet)
    elif cell or kind == ".npz":
        cells = list(dict.fromkeys(parse_cell("--cell", one, model) for one in cell or ()))
        num_guesses = NUM_GUESSES if guesses or kind == ".html" else 0
        has_trace = num_guesses > 0 or kind == ".npz"
        trace = read("reading", num_guesses=num_guesses, keeps_hidden=kind == ".npz") if has_trace else None
        if export is not None and kind == ".npz" and trace is not None:
            num_chosen_on = len(trace.text) if cells else len(trace.text) // 2
            save_arrays(export, trace, detectors, num_chosen_on=num_chosen_on)
            return
        shown = show_cells(model, study, cells, trace=trace, shows_guesses=guesses, has_sparkline=sparkline)
    else:
        findings = _find(study, detectors, has_ablations=find, quiet=quiet)
        if (detector or detect) and not findings.scores:
            reasons = "; ".join(f"{skipped.detector}: {skipped.reason}" for skipped in findings.skipped)
            raise DataError(f"Nothing to score in this text: {reasons}. Give another --text.")
        shown = show_findings(
            model,
            study,
            findings,
            detectors,
            is_table=find,
            num_pictures=0 if find or json else top,
            has_page=kind == ".html",
            has_sparkline=sparkline,
            num_available=num_available,
        )
    if json:
        print_json(shown.data)
    else:
        deliver(shown, export)


def _in_time(detector: "Detector") -> "Detector":
    """A user's own detector, stopped with a UsageError where it labels for longer than PATIENCE; on Windows it is not.

    A pattern that repeats what repeats, such as (a+)+b, goes back and forth for ever.
    """
    import signal
    from dataclasses import replace

    from charrnn.errors import UsageError

    if not hasattr(signal, "setitimer"):
        return detector

    class TooSlow(BaseException):
        """No Exception, which the user's own code may catch, and `custom_detector` takes for a fault of that code."""

    def give_up(*_: object) -> None:
        raise TooSlow

    def label(text: str) -> "Labels | None":
        before = signal.signal(signal.SIGALRM, give_up)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        try:
            return detector.label(text)
        except TooSlow:
            raise UsageError(
                f"--detect {detector.name}: after {PATIENCE} seconds it is still looking. Make it simpler, and let "
                "nothing repeat that repeats, as in (a+)+, or give a shorter --text."
            ) from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return replace(detector, label=label)


def _find(study: "Study", detectors: "Sequence[Detector]", *, has_ablations: bool, quiet: bool) -> "CellFindings":
    """The best cell for each detector; `has_ablations` adds how much ablating it raises the loss."""
    from charrnn.microscope.study import CHARS_ABLATED
    from charrnn.microscope.survey import num_read

    with progress(num_read(len(study.text), has_twin=True), "reading", quiet=quiet) as advance:
        findings = study.findings(detectors, on_progress=advance)
    if not has_ablations:
        return findings
    num_chars = min(CHARS_ABLATED, len(study.text) - len(study.text) // 2)
    with progress(2 * num_chars * len(findings.scores), "silencing", quiet=quiet) as advance:
        return study.findings(detectors, ablations=True, on_ablation=advance)


def _measure_history(model: "Model", study: "Study", detectors: "Sequence[Detector]", *, quiet: bool) -> Shown:
    """The best cells of a model at each saved step of its run, over the first characters of the second half."""
    from charrnn.api import follow_cells, load_steps

    findings = _find(study, detectors, has_ablations=False, quiet=quiet)
    half = len(study.text) // 2
    later = study.text.part(half, half + CHARS_OF_HISTORY)
    steps = list(load_steps(model.path))
    # The labels of the whole text: those at the beginning of a part may depend on what comes before it.
    labelled = [(detector, detector.label(study.text.text)) for detector in detectors]
    known = [
        detector.with_labels(labels[half : half + len(later)]) for detector, labels in labelled if labels is not None
    ]
    with progress(len(later) * len(steps), "reading with every saved step", quiet=quiet) as advance:
        histories = follow_cells(findings, steps, later, detectors=known, on_progress=advance)
    return show_history(model, histories, len(later))


def _measure_gradients(
    model: "Model", others: "Sequence[Model]", content: str | bytes, context: str | bytes, *, quiet: bool
) -> Shown:
    """The reach of a model, of its untrained twin, and of other models, on the same text."""
    reaches = []
    for one, is_twin in [(model, False), (model, True), *((other, False) for other in others)]:
        name = f"{one.name}, untrained" if is_twin else one.name
        with progress(0, name, quiet=quiet, unit="losses") as advance:
            network = one.untrained_twin() if is_twin else None
            reaches.append(one.gradients(content, context=context, network=network, name=name, on_progress=advance))
    return show_gradients(reaches)

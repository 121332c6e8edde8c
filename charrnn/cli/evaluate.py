"""Print the losses of a text line by line or character by character: evaluate --per-line and --per-char."""

import heapq
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import load_mixture, load_models, parse_mix, read_common_text
from charrnn.cli.exporting import check_export, deliver
from charrnn.cli.flags import with_flags
from charrnn.cli.options import DebugOption, JsonOption, MixModeOption, MixOption, QuietOption, TextOption
from charrnn.cli.pictures import Shown
from charrnn.cli.progress import progress_of_unknown
from charrnn.cli.rules import check_rules
from charrnn.cli.streams import print_json, result_console, warn
from charrnn.evaluation.records import MAX_SCORED
from charrnn.views.export import describe_formats

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.console import RenderableType

    from charrnn.api import Model
    from charrnn.evaluation.lines import ScoredText
    from charrnn.evaluation.records import Evaluation
    from charrnn.lab.mixing import Mixture


NUM_SHOWN = 20
"""Lines that are shown on a terminal."""


def print_lines(
    models: "Sequence[Model]", text: str | bytes | None, *, as_json: bool, quiet: bool, **settings: Any
) -> None:
    """Print the loss of each line as JSON Lines or, on a terminal without --json, the least likely lines as a table."""
    from charrnn.evaluation import comparison
    from charrnn.views.losses import lines_view

    names = comparison.distinct_names(models)
    scored = _score(models, text, quiet=quiet, **settings)
    lines = scored.iter_lines()
    if as_json or not sys.stdout.isatty():
        for line in lines:
            print_json(line.to_json(names))
        return
    num_lines = 0
    # The heap keeps the lines with the largest excess, however many there are; the line number makes its order total.
    heap: list[tuple[float, int, Any]] = []
    for line in lines:
        num_lines += 1
        entry = (line.excess, -line.line, line)
        (heapq.heappush if len(heap) < NUM_SHOWN else heapq.heappushpop)(heap, entry)
    least_likely = [entry[2] for entry in sorted(heap, reverse=True)]
    result_console().print(lines_view(least_likely, num_lines, names))
    if not quiet:
        sys.stderr.write("Add --json for all lines, as JSON Lines.\n")


def print_chars(
    models: "Sequence[Model]", text: str | bytes | None, *, as_json: bool, quiet: bool, **settings: Any
) -> None:
    """Print the loss of each character as JSON Lines, with --json and without."""
    from charrnn.evaluation import comparison

    names = comparison.distinct_names(models)
    for character in _score(models, text, quiet=quiet, **settings).iter_chars():
        print_json(character.to_json(names))


def _score(models: "Sequence[Model]", text: str | bytes | None, *, quiet: bool, **settings: Any) -> "ScoredText":
    """Measure the losses, and print on stderr which segments were scored if that is not all of the text."""
    from charrnn.evaluation import comparison

    with progress_of_unknown("evaluate", quiet=quiet) as (advance, set_total):
        scored = comparison.score_text(models, text, on_progress=advance, on_total=set_total, **settings)
    if (note := scored.note) is not None and not quiet:
        sys.stderr.write(f"{with_flags(note)}\n")
    return scored


def measure_reports(
    models: "Sequence[Model]",
    content: str | bytes | None,
    *,
    part: str,
    precision: str,
    max_chars: int,
    errors: bool,
    long_range: bool,
    quiet: bool,
) -> Shown:
    """Measure the reports that were asked for over the text `content` or, without it, over a part of the runs' own."""
    from charrnn.evaluation import comparison
    from charrnn.lab.error_kinds import errors_pictures
    from charrnn.lab.long_range import long_range_pictures

    pictures: list[RenderableType] = []
    data: dict[str, Any] = {"part": part} if content is None else {}
    settings: dict[str, Any] = {"part": part, "precision": precision, "max_chars": max_chars}
    if errors:
        with progress_of_unknown("errors", quiet=quiet) as (advance, set_total):
            kinds = comparison.error_kinds(models, content, on_progress=advance, on_total=set_total, **settings)
        pictures += errors_pictures(kinds)
        data["errors"] = asdict(kinds)
    if long_range:
        with progress_of_unknown("long range", quiet=quiet) as (advance, set_total):
            reach = comparison.long_range(models, content, on_progress=advance, on_total=set_total, **settings)
        pictures += long_range_pictures(reach)
        data["long_range"] = asdict(reach)
    return Shown(title=models[0].name, pictures=pictures, data=data)


def evaluate(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Run folders, their names under checkpoints/, or .zip files of charrnn export. Default: the newest "
            "run with a validation loss.",
        ),
    ] = None,
    text: TextOption = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--part", help="Which part of the run's text: validation, or test (with --split 80/10/10).", metavar="PART"
        ),
    ] = None,
    precision: Annotated[str, typer.Option("--precision", help="auto, fp32, bf16 or fp16.", metavar="P")] = "auto",
    chars: Annotated[
        int | None,
        typer.Option(
            "--chars",
            help="Score at most N characters by the stateful protocol, in segments spread evenly over the text.",
            metavar="N",
            min=1,
            show_default=f"{MAX_SCORED}",
        ),
    ] = None,
    mix: MixOption = None,
    mix_mode: MixModeOption = None,
    ngrams: Annotated[
        bool,
        typer.Option(
            "--ngrams",
            help="Add rows for n-grams and compressors that have read the same training text, with the difference to "
            "the first run.",
        ),
    ] = False,
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic",
            help="Add rows for dynamic evaluation, which learns from the text it has read, and for a fitted "
            "temperature.",
        ),
    ] = False,
    errors: Annotated[
        bool,
        typer.Option(
            "--errors",
            help="In place of the loss: the characters with a probability below 0.5, by what would have avoided them.",
        ),
    ] = False,
    long_range: Annotated[
        bool,
        typer.Option(
            "--long-range",
            help="In place of the loss: closing brackets and quotes by distance, and the loss with the state reset.",
        ),
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            help=f"Write what is shown to this file: {describe_formats(has_arrays=False)}.",
            metavar="FILE",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            help="Break the loss down by class of character, or by position since the initial state. Repeatable.",
            metavar="position|class",
        ),
    ] = None,
    per_line: Annotated[
        bool,
        typer.Option(
            "--per-line", help="Print the loss of each line as JSON Lines; on a terminal, the least likely lines."
        ),
    ] = False,
    per_char: Annotated[
        bool, typer.Option("--per-char", help="Print the loss of each character as JSON Lines.")
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    # Long because its docstring is the help of the command.
    """Measure how well models predict a text.

    Prints the loss on the validation text, the test text or --text, in nats and bits per character and in bits per
    byte, each with its 95 % interval. Of several runs, each has its difference to the first one.

    Of a text with more than 16,777,216 characters, segments are scored that are spread evenly over it; --chars N sets
    another limit.

    `stateful` carries the state through the whole text; `windowed-256` reads random windows of 256 characters, each
    from a zero state. The two must not be compared with each other.

    --dynamic is another protocol: after every 20 characters it changes the weights by their loss. It scores the first
    131,072 characters, or --chars N.

    --by position shows how much of the context the model uses, --by class where it loses most. --per-line finds the
    lines that the model finds least likely for their length, such as misprints or another author's.

    --errors shows what would have avoided each error, such as a longer memory or more text, and with several runs what
    the others fix. --long-range shows whether brackets and quotes are closed, and how far the memory reaches.

    --mix adds rows for the first run mixed with others: for what it gains, give --mix RUN2 --mix RUN3.

    --ngrams compares the run with n-gram models (modified Kneser-Ney) of its training text, of orders up to 20; --json
    has all of them. Familiar references are xz and PPMd: a text costs what it adds to the compressed training text.
    """
    check_rules(
        "evaluate",
        {
            "--by": by,
            "--ngrams": ngrams,
            "--dynamic": dynamic,
            "--errors": errors,
            "--long-range": long_range,
            "--per-line": per_line,
            "--per-char": per_char,
            "--part": part,
            "--text": text,
            "--json": json,
            "--export": export,
            "--mix": mix,
            "--mix-mode": mix_mode,
        },
    )
    check_export(export, text, no_arrays="an evaluation has")
    parse_mix(mix or ())
    models = load_models(runs or [], quiet=quiet)
    content = None if text is None else read_common_text(text, models, quiet=quiet)
    settings: dict[str, Any] = {"part": part or "validation", "precision": precision, "max_chars": chars or MAX_SCORED}
    if per_line or per_char:
        print_losses = print_lines if per_line else print_chars
        print_losses(models, content, as_json=json, quiet=quiet, **settings)
        return
    if errors or long_range:
        shown = measure_reports(models, content, errors=errors, long_range=long_range, quiet=quiet, **settings)
    else:
        settings["max_chars"] = chars or "auto"
        shown = _measure_losses(
            models,
            content,
            mixtures=(load_mixture(models[0], mix, mix_mode, quiet=quiet),) if mix else (),
            by=by or (),
            ngrams=ngrams,
            dynamic=dynamic,
            json=json,
            quiet=quiet,
            **settings,
        )
    print_json(shown.data) if json else deliver(shown, export)


def _measure_losses(
    models: "Sequence[Model]",
    content: str | bytes | None,
    *,
    mixtures: "Sequence[Mixture]",
    by: "Collection[str]",
    ngrams: bool,
    dynamic: bool,
    json: bool,
    quiet: bool,
    **settings: Any,
) -> Shown:
    """Measure the losses and return what is shown of them; warn about characters that are unknown to the first run."""
    from charrnn.evaluation import comparison
    from charrnn.lab.ngrams import ORDERS
    from charrnn.views.losses import evaluation_view

    orders = ORDERS if ngrams else ()
    settings |= {"by": by, "ngrams": orders, "dynamic": dynamic, "mixtures": mixtures}
    with progress_of_unknown("evaluate", quiet=quiet) as (advance, set_total):
        evaluation = comparison.evaluate_runs(models, content, on_progress=advance, on_total=set_total, **settings)
    if not json:  # which has the number
        _warn_of_unknown(evaluation, quiet=quiet)
    view = evaluation_view(replace(evaluation, notes=tuple(map(with_flags, evaluation.notes))))
    return Shown(evaluation.rows[0].name, [view], evaluation.to_json())


def _warn_of_unknown(evaluation: "Evaluation", *, quiet: bool) -> None:
    from charrnn.errors import counted

    unknown = evaluation.first.num_unknown
    if unknown:
        what = f"{counted(unknown, 'character')} of this text {'is' if unknown == 1 else 'are'} unknown to the model"
        warn((f"{what} and read as one symbol",), quiet=quiet)

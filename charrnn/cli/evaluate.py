"""charrnn evaluate: the loss of models over a text."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.arguments import load_models, read_common_text
from charrnn.cli.evaluation_reports import measure_reports
from charrnn.cli.exporting import check_export, deliver
from charrnn.cli.flags import with_flags
from charrnn.cli.options import DebugOption, JsonOption, QuietOption, TextOption
from charrnn.cli.pictures import Shown
from charrnn.cli.progress import progress
from charrnn.cli.streams import print_json, warn
from charrnn.records.evaluation import MAX_SCORED
from charrnn.render.export import describe_formats

if TYPE_CHECKING:
    from charrnn.records.evaluation import Evaluation


def evaluate(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Run folders, or their names under checkpoints/. Default: the newest run with a validation loss.",
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
        int,
        typer.Option(
            "--chars",
            help="Score at most N characters by the stateful protocol, in segments spread evenly over the text.",
            metavar="N",
            min=1,
        ),
    ] = MAX_SCORED,
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
        typer.Option("--export", help=f"Write what is shown to this file: {describe_formats()}.", metavar="FILE"),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure how well models predict a text.

    Prints the loss on the validation text, the test text or --text, in nats and bits per character and in bits per
    byte, each with its 95 % interval. Of several runs, each has its difference to the first one.

    Of a text with more than 16,777,216 characters, segments are scored that are spread evenly over it; --chars N sets
    another limit.

    `stateful` carries the state through the whole text; `windowed-256` reads random windows of 256 characters, each
    from a zero state. The two must not be compared with each other.

    --dynamic is another protocol: after every 20 characters it changes the weights by their loss. It scores the first
    131,072 characters, or --chars N.

    --ngrams compares the run with n-gram models (modified Kneser-Ney) of its training text, of orders up to 20; --json
    has all of them. xz and PPMd are a familiar reference: a text costs what it adds to the compressed training text.
    """
    from charrnn import api
    from charrnn.errors import UsageError
    from charrnn.evaluation.ngrams import ORDERS
    from charrnn.render.losses import evaluation_view

    if part is not None and text is not None:
        raise UsageError("--part selects a part of the run's own text: give --part or --text, not both.")
    check_export(export, text)
    _check_format(export, json=json)
    if errors or long_range:
        _refuse_rows(ngrams=ngrams, dynamic=dynamic)
    models = load_models(runs or [], quiet=quiet)
    content = None if text is None else read_common_text(text, models, quiet=quiet)
    if errors or long_range:
        shown = measure_reports(
            models,
            content,
            part=part or "validation",
            precision=precision,
            max_chars=chars,
            errors=errors,
            long_range=long_range,
            quiet=quiet,
        )
        print_json(shown.data) if json else deliver(shown, export)
        return
    with progress(0, "evaluate", quiet=quiet) as advance:
        evaluation = api.evaluate_runs(
            models,
            content,
            part=part or "validation",
            precision=precision,
            max_chars=chars,
            ngrams=ORDERS if ngrams else (),
            dynamic=dynamic,
            on_progress=advance,
        )
    if json:
        print_json(evaluation.to_json())
        return
    view = evaluation_view(replace(evaluation, notes=tuple(map(with_flags, evaluation.notes))))
    deliver(Shown(evaluation.rows[0].name, [view], evaluation.to_json()), export)
    _warn_of_unknown(evaluation, quiet=quiet)


def _check_format(export: Path | None, *, json: bool) -> None:
    """Raise UsageError for --export beside --json, or of activations."""
    from charrnn.errors import UsageError

    if json and export is not None:
        raise UsageError("Give --json or --export, not both.")
    if export is not None and export.suffix.lower() == ".npz":
        raise UsageError(f"--export {export}: an evaluation has no activations; use .json.")


def _refuse_rows(*, ngrams: bool, dynamic: bool) -> None:
    """Raise UsageError for options that add rows to the losses, in place of which something else is shown."""
    from charrnn.errors import UsageError

    if ngrams:
        raise UsageError("--errors and --long-range have n-grams of their own: leave --ngrams out.")
    if dynamic:
        raise UsageError("--errors and --long-range measure the static model: leave --dynamic out.")


def _warn_of_unknown(evaluation: "Evaluation", *, quiet: bool) -> None:
    from charrnn.errors import counted

    unknown = evaluation.first.num_unknown
    if unknown:
        what = f"{counted(unknown, 'character')} of this text {'is' if unknown == 1 else 'are'} unknown to the model"
        warn((f"{what} and read as one symbol",), quiet=quiet)

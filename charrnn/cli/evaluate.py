"""charrnn evaluate: the loss of models over a text, as a table, line by line or character by
character."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn.cli.arguments import load_mixture, load_models, parse_mix, read_text
from charrnn.cli.command_options import MIX, JsonOption, QuietOption, TextOption
from charrnn.cli.streams import check_export, deliver, print_json, warn, with_flags
from charrnn.config.options import Option
from charrnn.errors import counted
from charrnn.evaluation.comparison import ExtraRows, Listing, Report, evaluate_runs
from charrnn.evaluation.loss_reports import MAX_SCORED
from charrnn.hooks.manager import offered
from charrnn.hooks.specifications import evaluations
from charrnn.views.delivery import Shown, describe_formats
from charrnn.views.tables import evaluation_view

OPTIONS = (
    Option(
        "--part",
        "Which part of the run's text: validation, or test (with --split 80/10/10).",
        "PART",
    ),
    Option("--precision", "auto, fp32, bf16 or fp16.", "P", default="auto"),
    Option(
        "--chars",
        "Score at most N characters by the stateful protocol, in segments spread evenly over the"
        " text.",
        "N",
        kind=int,
        least=1,
        shown_default=f"{MAX_SCORED}",
        name="max_chars",
    ),
    MIX,
    Option(
        "--export",
        f"Write what is shown to this file: {describe_formats(has_arrays=False)}.",
        "FILE",
        kind=Path,
    ),
    Option(
        "--by",
        "Break the loss down by class of character, or by position since the initial state."
        " Repeatable.",
        "position|class",
        repeatable=True,
        needs="reports",
    ),
)
"""The options of the command itself; rooms add those of listings, rows and reports."""


def evaluate(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help=(
                "Run folders, their names under checkpoints/, or .zip files of charrnn export."
                " Default: the newest "
                "run with a validation loss."
            ),
        ),
    ] = None,
    text: TextOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    *,
    values: Mapping[str, Any],
) -> None:
    # Long because its docstring is the help of the command.
    """Measure how well models predict a text.

    Prints the loss on the validation text, the test text or --text, in nats and bits per character
    and in bits per byte, each with its 95 % interval. Of several runs, each has its difference to
    the first one.

    Of a text with more than 16,777,216 characters, segments are scored that are spread evenly over
    it; --chars N sets another limit.

    `stateful` carries the state through the whole text; `windowed-256` reads random windows of 256
    characters, each from a zero state. The two must not be compared with each other.

    --dynamic is another protocol: after every 20 characters it changes the weights by their loss.
    It scores the first 131,072 characters, or --chars N.

    --by position shows how much of the context the model uses, --by class where it loses most.
    --per-line finds the lines that the model finds least likely for their length, such as misprints
    or another author's.

    --errors shows what would have avoided each error, such as a longer memory or more text.
    --long-range shows how well brackets and quotes are closed, by their distance.

    --mix adds rows for the first run mixed with others: for what it gains, give --mix RUN2 --mix
    RUN3.

    --ngrams compares the run with n-gram models (modified Kneser-Ney) of its training text, of
    orders up to 20; --json has all of them.
    """
    export, mix, precision, num_chars = (
        values[name] for name in ("--export", "--mix", "--precision", "--chars")
    )
    check_export(export, text, no_arrays="an evaluation has")
    parse_mix(mix or ())
    models = load_models(runs or [], quiet=quiet)
    # Read once for all models: as characters, if one of them reads characters.
    reader = next((model for model in models if model.vocab.kind == "char"), models[0])
    content = None if text is None else read_text(text, reader.config)
    settings: dict[str, Any] = {"part": values["--part"] or "validation", "precision": precision}
    limited = settings | {"max_chars": num_chars or MAX_SCORED}
    if listings := [listing for listing in offered(evaluations, Listing) if values[_flag(listing)]]:
        listings[0].show(models, content, as_json=json, quiet=quiet, **limited)
        return
    if reports := [report for report in offered(evaluations, Report) if values[_flag(report)]]:
        results = {report.name: report.measure(models, content, **limited) for report in reports}
        data = {} if content is not None else {"part": settings["part"]}
        data |= {name: asdict(result) for name, result in results.items()}
        shown = Shown(
            models[0].name,
            [picture for result in results.values() for picture in result.view()],
            data,
        )
    else:
        settings |= {
            rows.name: rows.value or values[_flag(rows)]
            for rows in offered(evaluations, ExtraRows)
            if values[_flag(rows)]
        }
        settings["mixtures"] = (load_mixture(models[0], mix, quiet=quiet),) if mix else ()
        evaluation = evaluate_runs(models, content, max_chars=num_chars or "auto", **settings)
        evaluation = replace(evaluation, notes=tuple(map(with_flags, evaluation.notes)))
        if (unknown := evaluation.first.num_unknown) and not json:  # JSON has the number
            what = f"{counted(unknown, 'character')} of this text {'is' if unknown == 1 else 'are'}"
            warn((f"{what} unknown to the model and read as one symbol",), quiet=quiet)
        shown = Shown(evaluation.rows[0].name, [evaluation_view(evaluation)], evaluation.to_json())
    print_json(shown.data) if json else deliver(shown, export)


def _flag(option: Listing | ExtraRows | Report) -> str:
    return f"--{option.name.replace('_', '-')}"


def _further_options() -> list[Option]:
    declared: list[Listing | ExtraRows | Report] = [
        *offered(evaluations, Listing),
        *offered(evaluations, ExtraRows),
        *offered(evaluations, Report),
    ]
    return [
        *OPTIONS,
        *(Option(_flag(option), option.help, kind=bool) for option in declared if option.help),
    ]


evaluate.further_options = _further_options  # type: ignore[attr-defined]

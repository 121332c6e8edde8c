"""charrnn evaluate: the loss of models over a text, as a table, line by line or character by
character."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from charrnn.cli.arguments import load_model, read_text_corpus
from charrnn.cli.command_options import NEWEST_RUN, PART_HELP, TEXT_HELP, ExportingOptions
from charrnn.cli.streams import deliver, export_destination, print_json, result_console, with_flags
from charrnn.config.options import argument, at_least, option
from charrnn.errors import CheckpointError
from charrnn.evaluation.comparison import ORDERS, distinct_names, evaluate_runs
from charrnn.evaluation.loss_reports import MAX_SCORED, Evaluation
from charrnn.runs.logs import MetricsLog
from charrnn.system.progress import task, tell
from charrnn.trained_model import TrainedModel, describe
from charrnn.views.delivery import Shown
from charrnn.views.tables import evaluation_view

if TYPE_CHECKING:
    from charrnn.text.corpus import Corpus

ROWS, REPORTS = "More rows", "In place of the loss"
"""Groups of options in the help."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ExportingOptions):
    """The options of `charrnn evaluate`."""

    runs: Sequence[str] = argument(
        "[RUN]...",
        help="Runs, their names under checkpoints/, or what charrnn export wrote.",
        default=(),
        shown_default=NEWEST_RUN,
    )
    text: str | None = option(None, flags="--text FILE", help=TEXT_HELP)
    part: str = option("validation", flags="--part PART", help=PART_HELP)
    precision: str = option(
        "auto",
        flags="--precision WORD",
        help="fp32, bf16, fp16, or auto: as trained.",
    )
    max_chars: int = option(
        MAX_SCORED,
        flags="--chars N",
        help="Score at most N characters.",
        allowed=at_least(1),
    )
    windowed: bool = option(
        False,
        flags="--windowed",
        help="Add rows for windows of 256 characters.",
        panel=ROWS,
    )
    ngrams: bool = option(
        False,
        flags="--ngrams",
        help="Add rows for n-grams of the training text.",
        panel=ROWS,
    )
    per_line: bool = option(
        False,
        flags="--per-line",
        help="List the least and the most likely lines of the text.",
        panel=REPORTS,
    )


def evaluate(options: EvaluateOptions) -> None:
    """Measure how well models predict a text.

    \b
    Examples:
      charrnn evaluate prose --text letter.txt
      charrnn evaluate prose code --text letter.txt
      charrnn evaluate prose --per-line --text letter.txt

    Prints the loss in nats and bits per character and in bits per byte, each with its 95 %
    interval. Further rows have their difference to the first one. Runs that differ in the seed
    alone have a table of their own, with intervals over the seeds. Losses of the protocols
    `stateful` and `windowed-256` must not be compared with each other.

    --per-line finds misprints, or another author's lines: as JSON Lines, except on a terminal.
    Where a line is a paragraph, sentences are listed.
    """
    # Errors of the command line appear before a model is loaded.
    destination = export_destination(options, has_rows=True)
    models = [load_model(run) for run in options.runs or (None,)]

    # The text is read once for all models: as characters, if any model reads characters.
    reader = next((model for model in models if model.vocab.kind == "char"), models[0])
    corpus = content = None
    if options.text is not None:
        corpus = read_text_corpus(options.text, reader.config)
        content = corpus.content

    # The lines take the place of the losses.
    if options.per_line:
        _list_lines(models, text=corpus, options=options)
        return

    # This appears at once, because the work before the first bar takes seconds.
    with task(f"reading {models[0].name}", unit=""):
        evaluation = evaluate_runs(
            models,
            text=content,
            part=options.part,
            precision=options.precision,
            max_chars=options.max_chars,
            ngrams=ORDERS if options.ngrams else (),
            windowed=options.windowed,
        )
        # Notes name parameters; a user of the command line types flags.
        evaluation = replace(evaluation, notes=tuple(map(with_flags, evaluation.notes)))
    shown = Shown(
        evaluation.rows[0].name,
        pictures=[evaluation_view(evaluation)],
        data=evaluation.to_json(),
        rows=_table_of(evaluation, models),
    )
    deliver(shown, destination, as_json=options.json)


def _table_of(evaluation: Evaluation, models: Sequence[TrainedModel]) -> list[dict[str, Any]]:
    """Return the rows for a spreadsheet: with the number of weights of each run, and the seconds
    that it was trained for until its step, which are None where no log has them."""
    model_of = dict(zip(distinct_names(models), models, strict=True))
    table = []
    for row in evaluation.rows:
        columns = row.to_columns()
        model = model_of.get(row.name)
        if model is not None:
            columns["weights"] = describe(model).num_parameters
            columns["seconds"] = _seconds_of(model)
        table.append(columns)
    return table


def _seconds_of(model: TrainedModel) -> float | None:
    """Return the seconds of training until the step of a model; None if no log has them."""
    # An exported model and an included one have no log.
    if model.path is None:
        return None
    try:
        return MetricsLog(model.path / "metrics.jsonl").seconds_at(model.step) or None
    except CheckpointError:
        return None


def _list_lines(
    models: Sequence[TrainedModel], text: "Corpus | None", options: EvaluateOptions
) -> None:
    """Print the losses as JSON Lines or, on a terminal, tables of the least and the most likely
    lines; of sentences, where a line is a paragraph. The notes go to stderr."""
    from charrnn.reports import lines

    scored = lines.score_text(
        models,
        text,
        part=options.part,
        precision=options.precision,
        max_chars=options.max_chars,
    )
    names = distinct_names(models)
    tell(*scored.notes)

    # A misprint is a small part of a paragraph, which would hide it.
    unit = scored.usual_unit()
    if unit == lines.SENTENCE:
        tell("A line of this text is a paragraph: its sentences are scored.")

    # A program that reads the lines gets each line as soon as it is computed.
    if options.json or not sys.stdout.isatty():
        for line in scored.iter_lines(unit):
            print_json(lines.to_json(line, names))
        return

    result_console().print(scored.ends_of_list(unit).view(names))
    tell("Add --json for all lines, as JSON Lines.")

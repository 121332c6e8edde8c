"""charrnn runs: the runs in checkpoints/ and in this folder as a table, and their learning
curves."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn.cli.command_options import JsonOption, QuietOption
from charrnn.cli.streams import check_export, deliver, print_json, result_console, warn
from charrnn.config.options import Option
from charrnn.errors import CharRNNError, CheckpointError
from charrnn.views.delivery import Shown

MAX_CURVES = 7
"""Learning curves that are drawn, unless more runs are named: as many as there are marks to tell
them apart."""
OPTIONS = (
    Option(
        "--sort",
        "Sort by name, text, model, cell, layers, units, parameters, seed, steps, characters, loss"
        " or minutes, the smallest first. Default: oldest first.",
        "COLUMN",
    ),
    Option("--plot", "Draw the learning curves: the validation losses.", kind=bool),
    Option("--against", "With --plot: steps (default), characters or seconds.", "AXIS"),
    Option("--training", "With --plot: draw the training losses, too.", kind=bool),
    Option(
        "--export", "With --plot: write to FILE.svg, .html, .png, .txt or .json.", "FILE", kind=Path
    ),
)
"""The options of `charrnn runs`."""


def runs(
    run: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help=(
                "Run folders or sweeps, or names under checkpoints/. Default: all runs there and in"
                " this folder."
            ),
        ),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    *,
    values: Mapping[str, Any],
) -> None:
    """List the runs and their losses.

    Prints one line for each run in checkpoints/ or directly in this folder, oldest first: its text,
    its model and the number of its weights, its seed, its steps, its best validation loss and how
    long it was trained.

    With --plot, draws learning curves instead: of the runs that are named, or of the last 7 of the
    list that have a loss; with --sort, of the first 7.
    """
    (_plot if values["--plot"] else _list)(run or (), values, json=json, quiet=quiet)


runs.further_options = lambda: OPTIONS  # type: ignore[attr-defined]


def _list(names: Sequence[str], values: Mapping[str, Any], *, json: bool, quiet: bool) -> None:
    """Print the summaries of the runs as a table or JSON; of several, also if one of them cannot be
    read."""
    from charrnn.runs.overview import run_summaries
    from charrnn.views.tables import runs_view

    try:
        summaries = run_summaries(names, sort=values["--sort"])
    except CheckpointError:
        if readable := [name for name in names if _is_readable(name)]:
            _list(readable, values, json=json, quiet=quiet)
        raise
    warn(
        (*summaries.skipped, *(problem for summary in summaries for problem in summary.warnings)),
        quiet=quiet,
    )
    if json:
        print_json([asdict(summary) for summary in summaries])
    elif summaries:
        result_console().print(runs_view(summaries))
    elif names:
        warn((f"No runs in {', '.join(names)}.",), quiet=quiet)
    else:
        warn(("No runs here or in checkpoints/ yet. Train one: charrnn train",), quiet=quiet)


def _is_readable(name: str) -> bool:
    from charrnn.runs.overview import run_summaries

    try:
        return bool(run_summaries([name]))
    except CharRNNError:
        return False


def _plot(names: Sequence[str], values: Mapping[str, Any], *, json: bool, quiet: bool) -> None:
    """Draw the learning curves of the runs, or write them as JSON or to a file."""
    from charrnn.runs.overview import learning_curves, select_runs
    from charrnn.views.charts import learning_chart

    export, sort, training = values["--export"], values["--sort"], values["--training"]
    check_export(export, None, no_arrays="learning curves have")
    folders, num_listed, problems = select_runs(
        names, most=MAX_CURVES, sort=sort, training=training
    )
    found = learning_curves(
        folders or names, against=values["--against"] or "steps", training=training
    )
    warn(
        (*problems, *found.skipped, *(problem for curve in found for problem in curve.warnings)),
        quiet=quiet,
    )
    if num_listed > len(folders) > 0:
        which = "last" if sort is None else "first"
        warn(
            (f"drawing the {which} {len(found)} of {num_listed:,} runs; name others to draw them",),
            quiet=quiet,
        )
    if json:
        print_json(found.to_json())
        return
    title = f"Learning curves of {', '.join(curve.run for curve in found)}"
    deliver(Shown(title, [learning_chart(found)], found.to_json()), export)

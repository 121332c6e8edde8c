"""charrnn runs: the runs in checkpoints/ and in this folder as a table, and their learning curves."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.options import DebugOption, JsonOption, QuietOption
from charrnn.cli.rules import check_rules
from charrnn.cli.streams import print_csv, print_json, result_console, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CURVES = 7
"""Learning curves that are drawn, unless more runs are named: as many as there are marks to tell them apart."""


def runs(
    run: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Run folders or sweeps, or names under checkpoints/. Default: all runs there and in this folder.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            help="Sort by name, text, model, cell, layers, units, parameters, seed, steps, characters, loss or "
            "minutes, the smallest first. Default: oldest first.",
            metavar="COLUMN",
        ),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values on stdout, all columns.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the learning curves: the validation losses.")] = False,
    against: Annotated[
        str | None,
        typer.Option("--against", help="With --plot: steps (default), characters or seconds.", metavar="AXIS"),
    ] = None,
    training: Annotated[bool, typer.Option("--training", help="With --plot: draw the training losses, too.")] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="With --plot: write to FILE.svg, .html, .png, .txt or .json.", metavar="FILE"),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """List the runs and their losses.

    Prints one line for each run in checkpoints/ or directly in this folder, oldest first: its text, its model and the
    number of its weights, its seed, its steps, its best validation loss and how long it was trained.

    With --plot, draws learning curves instead: of the runs that are named, or of the last 7 of the list that have a
    loss; with --sort, of the first 7.
    """
    given = {"--csv": csv, "--json": json, "--export": export, "--plot": plot, "--against": against}
    check_rules("runs", given | {"--training": training})
    if plot:
        _plot(run or (), sort, against or "steps", export, training=training, json=json, quiet=quiet)
    else:
        _list(run or (), sort, csv=csv, json=json, quiet=quiet)


def _list(names: "Sequence[str]", sort: str | None, *, csv: bool, json: bool, quiet: bool) -> None:
    """Print the summaries of the runs as a table, CSV or JSON."""
    from charrnn.runs.overview import RunSummary, run_summaries

    summaries = run_summaries(names, sort=sort)
    warn((*summaries.skipped, *(problem for summary in summaries for problem in summary.warnings)), quiet=quiet)
    if json:
        print_json([asdict(summary) for summary in summaries])
    elif csv:
        print_csv(
            [field.name for field in fields(RunSummary)], [tuple(asdict(summary).values()) for summary in summaries]
        )
    elif summaries:
        from charrnn.views.tables import RunsTable

        result_console().print(RunsTable(summaries))
    elif names:
        warn((f"No runs in {', '.join(names)}.",), quiet=quiet)
    else:
        warn(("No runs here or in checkpoints/ yet. Train one: charrnn train",), quiet=quiet)


def _plot(
    names: "Sequence[str]",
    sort: str | None,
    against: str,
    export: Path | None,
    *,
    training: bool,
    json: bool,
    quiet: bool,
) -> None:
    """Draw the learning curves of the runs, or write them as JSON or to a file."""
    from charrnn.cli.exporting import check_export, deliver
    from charrnn.cli.pictures import Shown
    from charrnn.runs.overview import learning_curves, select_runs
    from charrnn.views.charts import LearningChart

    check_export(export, None, no_arrays="learning curves have")
    folders, num_listed, problems = select_runs(names, most=MAX_CURVES, sort=sort, training=training)
    found = learning_curves(folders or names, against=against, training=training)
    warn((*problems, *found.skipped, *(problem for curve in found for problem in curve.warnings)), quiet=quiet)
    if num_listed > len(folders) > 0:
        which = "last" if sort is None else "first"
        warn((f"drawing the {which} {len(found)} of {num_listed:,} runs; name others to draw them",), quiet=quiet)
    if json:
        print_json(found.to_json())
        return
    title = f"Learning curves of {', '.join(curve.run for curve in found)}"
    deliver(Shown(title, [LearningChart(found)], found.to_json()), export)

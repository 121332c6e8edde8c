"""charrnn runs: the runs in checkpoints/ and in this folder as a table, and their learning
curves; their check and their deletion."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from charrnn.cli.command_classes import OTHER
from charrnn.cli.command_options import ExportingOptions
from charrnn.cli.streams import deliver, export_destination, print_json, result_console, write_aside
from charrnn.config.options import argument, option
from charrnn.errors import CheckpointError, UsageError, counted, named
from charrnn.system.files import bytes_of_folder
from charrnn.system.progress import warn
from charrnn.views.delivery import Shown, describe_formats

MAX_CURVES = 7
"""Learning curves that are drawn, unless more runs are named: more are hard to tell apart."""

NUM_POINTS = 20
"""Validations that a note proposes for a run that was validated once."""


@dataclass(frozen=True, kw_only=True)
class RunsOptions(ExportingOptions):
    """The options of `charrnn runs`."""

    runs: Sequence[str] = argument(
        "[check|delete] [RUN]...",
        help="Run folders, or names under checkpoints/.",
        default=(),
        shown_default="all there and here",
    )
    sort: str | None = option(
        None,
        flags="--sort COLUMN",
        help="Sort by a column, such as loss, the smallest first.",
        shown_default="date",
    )
    plot: bool = option(
        False, flags="--plot", help="Draw the learning curves: the validation losses."
    )
    export: Path | None = option(
        None,
        flags="--export FILE",
        help=f"Write to FILE: {describe_formats()}; .pdf: charts.",
        panel=OTHER,
    )


def runs(options: RunsOptions) -> None:
    """List, compare, plot, check or delete your models.

    \b
    Examples:
      charrnn runs
      charrnn runs --sort loss --export runs.csv
      charrnn runs check

    Prints one line for each run in checkpoints/ or in this folder, or in a folder there, such as
    sizes/64; of several runs with one text, the best is marked. `charrnn runs delete RUN` asks
    first, and says how much room the run takes. `check` reads all files of all runs, or of those
    that are named, writes nothing, and says which are damaged; then the exit code is 4. A run with
    the name `check` is typed ./check.

    --plot draws the learning curves of the runs that are named, or of the last 7 of the list that
    have a loss; with --sort, of the first 7.
    """
    if options.runs[:1] == ["delete"]:
        _delete(options)
    elif options.runs[:1] == ["check"]:
        _check(options)
    elif options.plot:
        _plot(options)
    else:
        _list(options)


def _list(options: RunsOptions) -> None:
    """Print the summaries of the runs as a table or JSON."""
    from charrnn.runs.included import read_cards
    from charrnn.runs.overview import run_summaries
    from charrnn.runs.reader import NO_RUNS
    from charrnn.views.tables import runs_view

    destination = export_destination(options, has_rows=True)
    summaries = run_summaries(options.runs, sort=options.sort)

    # Warnings go first: a long table would push them out of sight.
    problems = [problem for summary in summaries for problem in summary.warnings]
    warn(*summaries.skipped, *problems)
    rows = [summary.to_json() for summary in summaries]
    if options.json:
        print_json(rows)
    elif destination is not None:
        deliver(Shown("Runs", pictures=[runs_view(summaries)], data=rows, rows=rows), destination)
        return

    # Without runs, a note names the next step, on stderr: stdout stays empty for programs.
    elif summaries:
        result_console().print(runs_view(summaries))
    else:
        warn(NO_RUNS)
    if not options.runs and not options.json:
        listed = [f"{name} ({card['text']})" for name, card in read_cards().items()]
        result_console().print(f"included: {', '.join(listed)}", style="dim")


def _delete(options: RunsOptions) -> None:
    """Ask whether to delete the named runs, and delete them."""
    from charrnn.runs.overview import runs_begun_from
    from charrnn.runs.writer import check_deletable, delete_run, find_deletable

    if len(options.runs) == 1:
        raise UsageError("Name the runs to delete: charrnn runs delete RUN")
    if options.plot or options.sort:
        raise UsageError("charrnn runs delete takes the names of runs alone.")
    # A name that is wrong is an error before the question. A run that is named twice is one.
    named_folders = map(find_deletable, options.runs[1:])
    folders = list({folder.resolve(): folder for folder in named_folders}.values())
    num_bytes = sum(map(bytes_of_folder, folders))
    names = ", ".join(map(str, folders))
    # All or none: one that cannot be deleted is an error before the question, too.
    for folder in folders:
        check_deletable(folder)
    facts = "; ".join([f"{num_bytes / 1e6:,.1f} MB", *runs_begun_from(folders)])
    # The answer may come from a program: echo y | charrnn runs delete RUN.
    write_aside(f"Delete {names} ({facts})? y for yes")
    if sys.stdin is None or sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("Nothing was deleted: the answer was not y.")
    for folder in folders:
        delete_run(folder)
    num_freed = num_bytes - sum(map(bytes_of_folder, folders))
    if options.json:
        print_json({"deleted": list(map(str, folders)), "bytes": num_freed})
    else:
        write_aside(f"Deleted {names}: {num_freed / 1e6:,.1f} MB are free.")
    kept = [str(folder) for folder in folders if folder.exists()]
    if kept:
        warn(f"other files are left in {', '.join(kept)}")


def _check(options: RunsOptions) -> None:
    """Read the named runs or all runs whole, and print what is damaged."""
    from charrnn.runs.checking import check_runs
    from charrnn.runs.reader import NO_RUNS
    from charrnn.views.tables import plain_table

    checked = check_runs(options.runs[1:])
    if options.json:
        print_json([run.to_json() for run in checked])
    elif checked:
        rows = [[run.name, run.summary] for run in checked]
        result_console().print(plain_table("run", "files", rows=rows))
    else:
        warn(NO_RUNS)

    # A text that is gone is no damage: the model still writes.
    for run in checked:
        warn(*run.problems, *run.not_read, *run.notes)
    num_damaged = sum(run.problems != () for run in checked)
    if num_damaged:
        raise CheckpointError(
            f"damaged: {num_damaged:,} of {counted(len(checked), 'run')}\n"
            "restore the files from a copy, or use the steps that are whole"
        )
    num_not_read = sum(run.not_read != () for run in checked)
    if num_not_read:
        raise CheckpointError(
            f"not read: {num_not_read:,} of {counted(len(checked), 'run')}\n"
            "upgrade charrnn, or install the package that the run needs"
        )


def _plot(options: RunsOptions) -> None:
    """Draw the learning curves of the runs, or write them as JSON or to a file."""
    from charrnn.runs.overview import learning_curves
    from charrnn.views.charts import learning_chart

    # The destination is checked before the runs are read, which may take seconds.
    destination = export_destination(options, has_chart=True)
    curves = learning_curves(options.runs, sort=options.sort)

    # Warn about the runs that are left out and the curves that are not drawn.
    num_listed = len(curves)
    if not options.runs and num_listed > MAX_CURVES:
        # The curves are a list, which is shortened in place.
        if options.sort is None:
            del curves[:-MAX_CURVES]
        else:
            del curves[MAX_CURVES:]
    of_curves = [problem for curve in curves for problem in curve.warnings]
    warn(*curves.skipped, *of_curves)
    if num_listed > len(curves):
        end = "last" if options.sort is None else "first"
        warn(f"drawing the {end} {len(curves)} of {num_listed:,} runs; name others to draw them")
    for curve in curves:
        if len(curve.validation.steps) == 1:
            often = max(1, curve.num_steps // NUM_POINTS)
            warn(
                f"{curve.name} was validated once, which is a dot and no curve: train with"
                f" {named('evaluate_every', often)} to validate {NUM_POINTS} times"
            )
    title = f"Learning curves of {', '.join(curve.name for curve in curves)}"
    chart = learning_chart(curves)
    shown = Shown(title, pictures=[chart], data=curves.to_json(), chart=chart)
    deliver(shown, destination, as_json=options.json)

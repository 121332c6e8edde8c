"""charrnn runs: the runs in checkpoints/ and in this folder as a table, and their learning
curves."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from charrnn.cli.command_options import ReplacingOptions
from charrnn.cli.streams import deliver, export_target, print_json, print_path, result_console, warn
from charrnn.config.options import argument, option
from charrnn.errors import CharRNNError, CheckpointError
from charrnn.views.delivery import Shown, describe_formats

MAX_CURVES = 7
"""Learning curves that are drawn, unless more runs are named: there are as many marks to tell them
apart."""


@dataclass(frozen=True, kw_only=True)
class RunsOptions(ReplacingOptions):
    """The options of `charrnn runs`."""

    runs: Sequence[str] = argument(
        "RUN",
        help="Run folders, or names under checkpoints/.",
        default=(),
        shown_default="all runs there and in this folder",
    )
    sort: str | None = option(
        None,
        flags="--sort COLUMN",
        help="Sort by name, text, model, cell, layers, units, parameters, seed, steps,"
        " characters, loss or minutes, the smallest first.",
        shown_default="oldest first",
    )
    plot: bool = option(
        False, flags="--plot", help="Draw the learning curves: the validation losses."
    )
    export: Path | None = option(
        None,
        flags="--export FILE",
        help=f"With --plot: write the curves to FILE: {describe_formats()}.",
    )
    to: str | None = option(
        None,
        flags="--to TARGET",
        help="Write the logs for other programs: tensorboard:DIR or csv:FILE. It may be"
        " repeated while a run is trained, csv with --force.",
        needs="formats",
    )


def runs(options: RunsOptions) -> None:
    """List the runs and their losses.

    Prints one line for each run in checkpoints/ or directly in this folder, oldest first: its text,
    its model and the number of its weights, its seed, its steps, its best validation loss and how
    long it was trained.

    With --plot, draws learning curves instead: of the runs that are named, or of the last 7 of the
    list that have a loss; with --sort, of the first 7.
    """
    # Each form of the command imports what it needs: a table needs no chart.
    if options.to is not None:
        from charrnn.plugins.formats.trackers import export_logs

        print_path(export_logs(options.runs, options.to, force=options.force))
    elif options.plot:
        _plot(options)
    else:
        _list(options)


def _list(options: RunsOptions) -> None:
    """Print the summaries of the runs as a table or JSON. If some of several runs cannot be read,
    the rest are printed before the error."""
    from charrnn.runs.included import read_cards
    from charrnn.runs.overview import run_summaries
    from charrnn.views.tables import runs_view

    # Runs that can be read are listed before the error about a run that cannot; the command then
    # ends with the exit code of that error.
    try:
        summaries = run_summaries(options.runs, sort=options.sort)
    except CheckpointError:
        if readable := [name for name in options.runs if _is_readable(name)]:
            _list(replace(options, runs=readable))
        raise

    # Warnings go first: a long table would push them out of sight.
    problems = [problem for summary in summaries for problem in summary.warnings]
    warn((*summaries.skipped, *problems), quiet=options.quiet)
    if options.json:
        print_json([asdict(summary) for summary in summaries])

    # Without runs, a note names the next step, on stderr: stdout stays empty for programs.
    elif summaries:
        result_console().print(runs_view(summaries))
    elif options.runs:
        warn((f"No runs in {', '.join(options.runs)}.",), quiet=options.quiet)
    else:
        warn(
            ("No runs here or in checkpoints/ yet. Train one: charrnn train",), quiet=options.quiet
        )
    if not options.runs and not options.json:
        listed = [f"{name} ({card['text']})" for name, card in read_cards().items()]
        result_console().print(f"included: {', '.join(listed)}", style="dim")


def _is_readable(name: str) -> bool:
    from charrnn.runs.overview import run_summaries

    try:
        return bool(run_summaries([name]))
    except CharRNNError:
        return False


def _plot(options: RunsOptions) -> None:
    """Draw the learning curves of the runs, or write them as JSON or to a file."""
    from charrnn.runs.learning_curves import learning_curves
    from charrnn.runs.overview import select_runs
    from charrnn.views.charts import learning_chart

    # The target is checked before the runs are read, which may take seconds.
    target = export_target(
        options.export,
        force=options.force,
        read=options.read,
        no_arrays="learning curves have",
    )
    folders, num_listed, problems = select_runs(options.runs, most=MAX_CURVES, sort=options.sort)
    curves = learning_curves(folders or options.runs)

    # Warn about the runs that are left out and the curves that are not drawn.
    of_curves = [problem for curve in curves for problem in curve.warnings]
    warn((*problems, *curves.skipped, *of_curves), quiet=options.quiet)
    if num_listed > len(folders) > 0:
        end = "last" if options.sort is None else "first"
        warn(
            (f"drawing the {end} {len(curves)} of {num_listed:,} runs; name others to draw them",),
            quiet=options.quiet,
        )
    if options.json:
        print_json(curves.to_json())
        return
    title = f"Learning curves of {', '.join(curve.run for curve in curves)}"
    deliver(Shown(title, pictures=[learning_chart(curves)], data=curves.to_json()), target)

"""charrnn sweep: train a grid of runs, and compare them."""

import os
import shlex
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from charrnn.cli.command_options import CommandOptions
from charrnn.cli.progress_bars import print_above_bars, training_bar
from charrnn.cli.root import Invocation
from charrnn.cli.signals import Signals
from charrnn.cli.streams import print_json, printable, result_console, with_flags
from charrnn.cli.train import SettingsOptions, configure, parse_settings
from charrnn.config.options import argument, option, option_group, option_texts
from charrnn.config.settings import Config
from charrnn.errors import Message, UsageError, counted
from charrnn.hooks.manager import find_named
from charrnn.hooks.specifications import lessons
from charrnn.sweeps.plan import Axis, parse_axis
from charrnn.system.lazy import LazyModule

if TYPE_CHECKING:
    from charrnn.sweeps import report as reporting
    from charrnn.sweeps import sweep as sweeping
else:
    reporting = LazyModule("charrnn.sweeps.report")
    sweeping = LazyModule("charrnn.sweeps.sweep")

SWEEP = "Sweep"
"""Group of the options of the sweep itself."""
BAR_FORMAT = "{percentage:3.0f}% {bar} {n_fmt}/{total_fmt} runs [{elapsed}<{remaining}{postfix}]"
"""The progress bar, in the format of tqdm."""


@dataclass(frozen=True, kw_only=True)
class SweptSettings(SettingsOptions):
    """The settings that sweeps are about; --set takes all others."""

    texts: Mapping[str, Sequence[str]] = option_texts(
        Config,
        "cell",
        "depth",
        "num_layers",
        "hidden_size",
        "parameters",
        "embedding_size",
        "minutes",
        "epochs",
        "steps",
        "optimizer",
    )
    """What was typed for each field."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions(CommandOptions):
    """What `charrnn sweep` takes; a setting that is given again adds values."""

    corpus: Sequence[str] = argument(
        "CORPUS",
        "The text, as for train.",
        default=(),
        shown_default="the standard library's own Python source",
    )
    seeds: int = option(3, "--seeds N", "Train each setting with N seeds.", SWEEP)
    jobs: int = option(1, "--jobs N", "Train N runs at a time, which share the cores.", SWEEP)
    out: Path | None = option(
        None,
        "--out DIR",
        "Save the sweep in this folder.",
        SWEEP,
        shown_default="checkpoints/sweep-TEXT",
    )
    settings: SweptSettings = option_group(SweptSettings)


def sweep(context: typer.Context, options: SweepOptions) -> int:
    """Train every combination of settings, and compare the runs.

    Every setting takes several values, separated by commas: --cell lstm,gru --set
    learning_rate=3e-3,6e-3. Each combination and seed is an ordinary run in the sweep's folder:
    `charrnn sample sweep-TEXT/RUN`.

    The table gives the mean validation loss over the seeds, its spread and 95 % interval, best
    first.

    The same command continues a sweep that was stopped or killed. The exit code is 1 if a run
    failed.
    """

    # Several processes of one command would each train all runs.
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError(
            "A sweep starts its own processes: run it without torchrun, or unset WORLD_SIZE."
        )
    invocation: Invocation = context.obj
    config, axes = plan_settings(options)
    events = sweeping.sweep(
        config,
        axes,
        seeds=options.seeds,
        jobs=options.jobs,
        out=options.out,
        should_stop=lambda: invocation.signals.number,
    )

    # The progress on stderr, the table on stdout.
    view = SweepView(invocation.signals, quiet=options.quiet)
    report = view.show(events)
    if options.json:
        print_json(report.to_json())
    # Of a sweep without a finished run there is nothing to tabulate.
    elif any(row.mean is not None for row in report.rows):
        result_console().print(reporting.sweep_view(report))
    view.explain(report)

    if invocation.signals.number:
        return 128 + invocation.signals.number
    return int(any(run.status == "failed" for run in report.runs))


def plan_settings(options: SweepOptions) -> tuple[Config, dict[str, Any]]:
    """Part the settings of a command line into those with one value and the swept ones, with
    several.

    Raises UsageError that names the option or the --set at fault.
    """
    texts: dict[str, str] = {}

    def parse(name: str, added: Sequence[str]) -> Axis:
        # An option and a --set of one field add up, and so does an option that is repeated.
        if name in texts:
            added = (texts[name], *added)
        texts[name] = ",".join(added)
        return parse_axis(name, texts[name])

    # A setting with several values is an axis; each is checked on its own.
    given = parse_settings(options.settings, parse, example="learning_rate=3e-3,6e-3")

    # A swept field, too, replaces what a file or the environment sets: merged by its first value.
    firsts = {}
    axes = {}
    for name, axis in given.items():
        firsts[name] = axis[0]
        if len(axis) > 1:
            axes[name] = axis
    recipe = options.settings.recipe
    if recipe is not None and find_named(lessons, recipe) is not None:
        raise UsageError(
            f"The recipe {recipe} trains several networks by itself:"
            f" charrnn train --recipe {recipe}"
        )
    config, _ = configure(options.corpus, firsts, recipe)

    # What follows from the first value is left open with it.
    open_fields = list(axes)
    if "column" in axes:
        open_fields.append("documents")
    default = Config()
    opened = {name: getattr(default, name) for name in open_fields}
    return replace(config, **opened), axes


class SweepView:
    """Shows the progress of a sweep on stderr: one bar, or off a terminal one line per run."""

    def __init__(self, signals: Signals, *, quiet: bool) -> None:
        self._signals = signals
        signals.is_quiet = quiet
        # None for --quiet, with which nothing is shown.
        self._console: Any = None
        if not quiet:
            self._console = result_console(stderr=True)
        self._bar: Any = None
        self._num_runs = 0
        self._num_ended = 0

    def show(
        self, events: "Generator[sweeping.AnySweepEvent, None, None]"
    ) -> "reporting.SweepReport":
        """Show all events; return the table."""
        try:
            # Closed explicitly, so that a second Ctrl-C ends the runs and unlocks the folder.
            with closing(events):
                for event in events:
                    # From the first event on, a signal stops the runs, not this process.
                    self._signals.defers = True
                    if isinstance(event, sweeping.SweepEndEvent):
                        return event.report
                    if self._console is None:
                        continue
                    # The first event counts the runs, each later one is the end of a run.
                    if isinstance(event, sweeping.SweepStartEvent):
                        self._show_start(event)
                    else:
                        self._show_end(event)
        finally:
            if self._bar is not None:
                self._bar.close()
        raise AssertionError("a sweep ends with its table")

    def _show_start(self, event: "sweeping.SweepStartEvent") -> None:
        self._num_runs = event.num_runs
        said = f"{counted(event.num_runs, 'run')} in {event.folder}"
        if event.num_finished:
            said += f", {event.num_finished} of them finished"
        threads = counted(event.threads, "thread")
        if event.jobs > 1:
            said += f", {event.jobs} at a time on {threads} each"
        else:
            said += f", on {threads}"
        self._print(said)
        self._bar = training_bar(event.num_runs, BAR_FORMAT)

    def _show_end(self, event: "sweeping.RunEndEvent") -> None:
        run = event.run
        self._num_ended += 1
        self._bar.update(1)
        # What an earlier start has finished was said then.
        if not event.is_new and run.status != "failed":
            return
        line = f"{self._num_ended}/{self._num_runs}  {run.name}: "
        if run.nats_per_char is None:
            line += "failed"
        else:
            line += f"{run.nats_per_char:.4f} nats/char"
        style = None
        if run.message:
            line += with_flags(f"; {run.message}")
            style = "yellow"
        self._print(line, style=style)

    def _print(self, text: str, **style: Any) -> None:
        print_above_bars(self._console, printable(text), soft_wrap=True, **style)

    def explain(self, report: "reporting.SweepReport") -> None:
        """Print what limits the table, and the next commands."""
        # With --quiet, the table says what there is to say.
        if self._console is None:
            return
        for note in report.notes:
            self._print(f"note: {with_flags(Message(note))}", style="yellow")

        # What to do next: continue, or look at the best run.
        if self._signals.number:
            num_ended = sum(row.num_finished + row.num_failed for row in report.rows)
            ended = f"{num_ended} of {self._num_runs} runs have ended"
            self._print(f"Stopped: {ended}; everything is saved. The same command continues.")
            return

        # The best run of the best setting, by the name that commands find it by.
        losses = {}
        for run in report.runs:
            if run.nats_per_char is not None and run.values == report.rows[0].values:
                losses[run.name] = run.nats_per_char
        if losses:
            path = Path(report.folder) / min(losses, key=losses.__getitem__)
            if path.parts[:-2] == ("checkpoints",):
                path = path.relative_to("checkpoints")
            self._print(f"Next:\n  charrnn evaluate {shlex.quote(printable(str(path)))}")

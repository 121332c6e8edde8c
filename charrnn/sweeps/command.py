"""charrnn sweep: train a grid of runs, and compare them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from charrnn.cli.command_options import CommandOptions
from charrnn.cli.root import Invocation
from charrnn.cli.streams import print_json, printable, result_console, with_flags
from charrnn.cli.train import SettingsOptions, configure, parse_settings
from charrnn.config.options import argument, option, option_group, option_texts
from charrnn.config.settings import Config
from charrnn.errors import Message, counted
from charrnn.sweeps.plan import Axis, SweepRun, parse_axis
from charrnn.system.lazy import LazyModule
from charrnn.system.signals import Signals

if TYPE_CHECKING:
    from rich.console import Console

    from charrnn.sweeps import report as reporting
    from charrnn.sweeps import sweep as sweeping
    from charrnn.sweeps.report import SweepReport
else:
    reporting = LazyModule("charrnn.sweeps.report")
    sweeping = LazyModule("charrnn.sweeps.sweep")

SWEEP = "Sweep"
"""Title of the group of options of the sweep itself."""


@dataclass(frozen=True, kw_only=True)
class SweptSettings(SettingsOptions):
    """The settings that are mostly swept; --set takes all other settings."""

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
    """The typed values of each field."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions(CommandOptions):
    """The options of `charrnn sweep`. A setting that is given again adds values."""

    corpus: Sequence[str] = argument(
        "CORPUS",
        "The text, as for train.",
        default=(),
        shown_default="the standard library's own Python source",
    )
    seeds: int = option(3, flags="--seeds N", help="Train each setting with N seeds.", panel=SWEEP)
    jobs: int = option(
        1, flags="--jobs N", help="Train N runs at a time, which share the cores.", panel=SWEEP
    )
    out: Path | None = option(
        None,
        flags="--out DIR",
        help="Save the sweep in this folder.",
        panel=SWEEP,
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
    invocation: Invocation = context.obj
    signals = invocation.signals
    signals.is_quiet = options.quiet
    console = result_console(stderr=True)
    console.quiet = options.quiet
    config, axes = plan_settings(options)
    events = sweeping.sweep(
        config,
        axes,
        seeds=options.seeds,
        jobs=options.jobs,
        out=options.out,
        should_stop=lambda: signals.number,
    )

    # The generator is closed explicitly, so that a second Ctrl-C ends the runs and unlocks the
    # folder.
    with closing(events):
        report = show(console, events=events, signals=signals)

    # The progress on stderr, the table on stdout.
    if options.json:
        print_json(report.to_json())
    else:
        result_console().print(reporting.sweep_view(report))
    for note in report.notes:
        console.print(f"note: {with_flags(Message(note))}")
    if signals.number:
        console.print("Stopped; everything is saved. The same command continues.")
        return 128 + signals.number
    return int(any(row.num_failed for row in report.rows))


def plan_settings(options: SweepOptions) -> tuple[Config, dict[str, Any]]:
    """Divide the settings of a command line into settings with one value and swept settings, which
    have several.

    Raises UsageError, which names the wrong option or --set.
    """
    texts: dict[str, list[str]] = {}

    def parse(name: str, added: Sequence[str]) -> Axis:
        # The values of an option, of a repeated option and of a --set of the same field add up.
        texts.setdefault(name, []).extend(added)
        return parse_axis(name, ",".join(texts[name]).split(","))

    # A setting with several values is an axis; each value is checked alone.
    parsed = parse_settings(options.settings, parse, example="learning_rate=3e-3,6e-3")
    axes = {name: axis for name, axis in parsed.items() if len(axis) > 1}

    # A swept field also replaces the value of a file or the environment, so its first value takes
    # part in the merge.
    firsts = {name: axis[0] for name, axis in parsed.items()}
    config, _ = configure(options.corpus, flags=firsts, recipe=options.settings.recipe)
    # The documents are determined by the column, which each run sets.
    if "column" in axes:
        config = replace(config, column=None, documents="none")
    return config, axes


def show(
    console: "Console", events: "Iterator[SweepRun | SweepReport]", signals: Signals
) -> "SweepReport":
    """Print the progress of a sweep, one line per run; return the table at its end."""
    for event in events:
        # After the first table, a signal stops the runs, not this process.
        signals.defers = True
        if not isinstance(event, SweepRun):
            report = event
            num_ended = sum(row.num_finished + row.num_failed for row in report.rows)
            num_runs = counted(len(report.runs), "run")
            console.print(printable(f"{num_ended} of {num_runs} have ended in {report.folder}"))
            continue
        num_ended += 1
        line = f"{num_ended}/{len(report.runs)}  {event.name}: {event.status}"
        if event.nats_per_char is not None:
            line += f", {event.nats_per_char:.4f} nats/char"
        if event.message is not None:
            line += with_flags(f"; {event.message}")
        console.print(printable(line), soft_wrap=True)
    return report

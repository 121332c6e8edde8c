"""Plan a sweep, train its runs, each in its own process, and compare them by statistics over the
seeds.

A plan says which values vary and which runs follow; a file in the folder of the sweep records it. A
sweep is a stream of events, in which nothing is printed. Its table has one row per setting, best
first.
"""

import contextlib
import hashlib
import itertools
import json
import math
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import IO, Any, cast

from rich.console import Group, RenderableType
from rich.text import Text

from charrnn.config import settings as fields
from charrnn.config.settings import (
    FIELD_NAMES,
    Config,
    check_field_name,
    parse_value,
)
from charrnn.distributed.child_process import ChildProcess, killer
from charrnn.errors import CheckpointError, Message, UsageError, check_range, named
from charrnn.model.shapes import num_parameters
from charrnn.runs.reader import CHECKPOINTS, SWEEP, RunReader
from charrnn.runs.writer import lock_folder
from charrnn.statistics.intervals import Estimate, t_quantile
from charrnn.system import files
from charrnn.system.display import Displayable
from charrnn.system.process import ENDING_SIGNALS, num_cores
from charrnn.views.tables import number_text, plain_table
from charrnn.views.theme import short_number

FINISHED, FAILED, STOPPED, WAITING = "finished", "failed", "stopped", "waiting"
"""States of a run of a sweep: trained to its end; ended by an error; saved before its end; not
started."""
FORMAT = 1
"""Number of the format of the file that records a sweep."""
MAX_RUNS = 10_000
"""Runs of a sweep at most."""
MAX_SEEDS = 1000
"""Seeds per setting at most."""
TEXT_FIELDS = (
    *(
        "alphabet",
        "encoding",
        "order",
        "order_seed",
        "min_count",
        "split",
        "documents",
        "column",
        "validation_chars",
    ),
)
"""Fields that change which characters a run is validated on, or how they are counted."""
UNPAIRED_FIELDS = (
    *(*fields.MODEL_FIELDS, *fields.WIDTHS, *fields.BUDGETS, *TEXT_FIELDS),
    *("init_from", "device", "precision", "batch_size", "num_members"),
)
"""Fields of which other values give other initial weights or other batches, so that a seed has
nothing in common."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRun:
    """One run of a sweep: one setting with one seed."""

    name: str
    """Name of its folder in that of the sweep."""
    values: dict[str, Any]
    """The swept fields of the configuration."""
    seed: int
    status: str = WAITING
    """FINISHED, FAILED, STOPPED or WAITING."""
    nats_per_char: float | None = None
    """Lowest validation loss of a finished run: that of its best step, which every command loads.
    """
    best_step: int | None = None
    step: int = 0
    num_steps: int | None = None
    """Steps of its budget; None before it was planned."""
    num_parameters: int | None = None
    text_digest: str | None = None
    """SHA-256 of its text."""
    message: str | None = None
    """Why it failed, or what is unusual about it."""


Axis = tuple[Any, ...]
"""The values of one swept field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """What a sweep varies. `plan_sweep` builds and checks it."""

    config: Config
    """The settings that all runs share; `seed` is the first seed."""
    axes: Mapping[str, Axis]
    """The swept fields in the order of `Config`, which does not depend on that of the command."""
    num_seeds: int

    def settings(self) -> list[dict[str, Any]]:
        """Return the swept values of each setting: all combinations."""
        return [
            dict(zip(self.axes, values, strict=True))
            for values in itertools.product(*self.axes.values())
        ]

    def runs(self) -> list[SweepRun]:
        """Return all runs: every setting with the first seed, then with the next."""
        settings = self.settings()
        return [
            SweepRun(
                name="_".join([*map(_slug, setting.values()), f"seed-{seed}"]),
                values=setting,
                seed=seed,
            )
            for seed in range(self.config.seed, self.config.seed + self.num_seeds)
            for setting in settings
        ]

    def config_of(self, setting: Mapping[str, Any], seed: int) -> Config:
        """Return the configuration of a run. Raises UsageError that names a setting whose values
        exclude each other."""
        try:
            config = replace(self.config, seed=seed, **setting)
            if changed := [
                name for name, value in setting.items() if getattr(config, name) != value
            ]:
                raise UsageError(
                    f"{named(changed[0])} has no effect with the others. Leave it out."
                )
            return config
        except UsageError as error:
            together = ", ".join(f"{name}={format_value(value)}" for name, value in setting.items())
            raise UsageError(f"{together}: {error.marked}") from None

    def notes(self) -> Iterator[str]:
        """Yield what limits the comparison of the settings."""
        if texts := [name for name in self.axes if name in TEXT_FIELDS]:
            changed = ", ".join(map(named, texts))
            yield (
                f"{changed}: the settings are validated on other characters, so their losses do not"
                " compare"
            )
        if not any(
            name in self.axes or getattr(self.config, name) is not None
            for name in ("steps", "epochs")
        ):
            yield (
                "a budget in minutes gives each run as many steps as the machine allows:"
                f" {named('steps')} or {named('epochs')} gives all the same"
            )


def plan_sweep(config: Config, axes: Mapping[str, object], *, num_seeds: int) -> SweepPlan:
    """Check what is to be varied. The values of a field are a list, or text as `parse_axis` takes
    it.

    Raises UsageError for a field that does not exist or cannot be swept, a value out of range,
    values that exclude each other, and numbers out of range.
    """
    parsed = {
        check_field_name(name): parse_axis(check_field_name(name), values)
        for name, values in axes.items()
    }
    for name in parsed:
        if name in ("corpus", "seed"):
            other = (
                "give the text itself"
                if name == "corpus"
                else f"{named('seeds')} says how many there are"
            )
            raise UsageError(f"{named(name)} cannot be swept: {other}.")
    check_range("seeds", num_seeds, 1, MAX_SEEDS)
    if config.seed + num_seeds > 2**32:
        raise UsageError(
            f"{named('seed')} is {config.seed}; the last of {num_seeds} seeds must be below 2^32."
        )
    if "-" in config.corpus:
        raise UsageError(
            "A sweep reads its text in every run, and standard input only once: give a file."
        )
    if (num_runs := math.prod(map(len, parsed.values())) * num_seeds) > MAX_RUNS:
        raise UsageError(
            f"The sweep has {num_runs:,} runs; at most {MAX_RUNS:,}: give fewer values or seeds."
        )
    ordered = {name: parsed[name] for name in FIELD_NAMES if name in parsed}
    plan = SweepPlan(config=config, axes=ordered, num_seeds=num_seeds)
    for setting in plan.settings():
        plan.config_of(setting, config.seed)
    return plan


def parse_axis(name: str, values: object) -> Axis:
    """Parse the values of a swept field: a list of values, or text.

    In a text, commas part the values. Raises UsageError for a value that the field cannot have, an
    empty one, and one given twice.
    """
    given: Sequence[object] = values if isinstance(values, list | tuple) else [values]
    if isinstance(values, str):
        given = values.split(",")
    if not given or any(isinstance(value, str) and not value.strip() for value in given):
        raise UsageError(f"{named(name)} has an empty value: separate values by single commas.")
    parsed: list[Any] = []
    for value in given:
        found = parse_value(name, value)
        # `documents=column` needs a column beside it.
        Config(
            **{
                name: found,
                **({"column": "text"} if (name, found) == ("documents", "column") else {}),
            }
        )
        if found in parsed:
            raise UsageError(
                f"{named(name)} has the value {format_value(found)} twice: leave one out."
            )
        parsed.append(found)
    return tuple(parsed)


def format_value(value: object) -> str:
    """Return a value as text that `parse_axis` reads as that value."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "/".join(map(format_value, value))
    if isinstance(value, float) and float(short := f"{value:.6g}") == value:
        return short
    return str(value)


def setting_arguments(config: Config) -> list[str]:
    """Return the settings of a configuration as arguments of `charrnn train`, without its
    corpus."""
    changed = {name: value for name, value in _changed_settings(config).items() if name != "corpus"}
    return [
        part
        for name, value in changed.items()
        for part in ("--set", f"{name}={format_value(value)}")
    ]


def _slug(value: object) -> str:
    """Return a value as part of a folder's name, with a digest where characters of it are left
    out."""
    text = format_value(value)
    plain = re.sub(r"[^A-Za-z0-9.+-]", "", text).lstrip("-.")[:40]
    return (
        plain
        if plain == text
        else f"{plain}{'-' if plain else ''}{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    )


def record_plan(folder: Path, plan: SweepPlan, threads: int) -> int:
    """Write what the sweep varies, or check that the folder's sweep is this one; return the threads
    of each run.

    Other values of its fields and other seeds are the same sweep, because every run stands for
    itself. Another number of jobs leaves the number of threads as it was. Raises UsageError that
    names the first difference, CheckpointError for a damaged file.
    """
    recorded = _recorded(folder)
    if recorded is not None:
        threads = recorded["threads"]
        if difference := _difference(plan, recorded):
            raise UsageError(
                f"{folder} is a sweep with other settings: {difference}\n"
                f"repeat its settings to continue it, or give {named('out')} another folder"
            )
    entry: dict[str, Any] = {
        "format": FORMAT,
        "axes": {name: _to_json(axis) for name, axis in plan.axes.items()},
        "num_seeds": plan.num_seeds,
        "threads": threads,
        "settings": _changed_settings(plan.config),
    }
    if entry != recorded:
        files.write_atomically(folder / SWEEP, files.json_to_bytes(entry))
    return threads


def read_plan(folder: Path) -> SweepPlan:
    """Read what the sweep in a folder varies. Raises CheckpointError if there is none, or its file
    is damaged."""
    recorded = _recorded(folder)
    if recorded is None:
        raise CheckpointError(f"{folder} is not a sweep: it has no {SWEEP}")
    try:
        config = Config(
            **{name: parse_value(name, value) for name, value in recorded["settings"].items()}
        )
        return plan_sweep(config, recorded["axes"], num_seeds=recorded["num_seeds"])
    except UsageError as error:
        raise CheckpointError(f"{folder / SWEEP} is damaged: {error.marked}") from None


def _recorded(folder: Path) -> dict[str, Any] | None:
    """Return the content of the sweep's file, None if there is none. Raises CheckpointError if it
    is damaged."""
    path = folder / SWEEP
    if not path.exists():
        return None
    content = files.parse_json(path, files.read_capped(path, max_bytes=files.MAX_TEXT_BYTES))
    kinds = {"axes": dict, "num_seeds": int, "threads": int, "settings": dict}
    if not isinstance(content, dict) or not all(
        isinstance(content.get(name), kind) for name, kind in kinds.items()
    ):
        raise CheckpointError(
            f"{path} is damaged: an entry is missing\nmove the folder away to start the sweep again"
        )
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{path} was written by a newer version of charrnn: upgrade it")
    recorded: dict[str, Any] = content
    return recorded


def _changed_settings(config: Config) -> dict[str, Any]:
    """Return the settings that differ from the defaults, as JSON has them."""
    default = asdict(Config())
    return {
        name: _to_json(value) for name, value in asdict(config).items() if value != default[name]
    }


def _difference(plan: SweepPlan, recorded: Mapping[str, Any]) -> str:
    """Name the first setting, but those that both vary, in which the plan is another sweep; "" if
    none is."""
    default = {name: _to_json(value) for name, value in asdict(Config()).items()}
    was = default | recorded["settings"] | recorded["axes"]
    now = (
        default
        | _changed_settings(plan.config)
        | {name: _to_json(axis) for name, axis in plan.axes.items()}
    )
    for name in FIELD_NAMES:
        if was[name] != now[name] and not (name in recorded["axes"] and name in plan.axes):
            before, after = (
                (
                    ",".join(map(format_value, value))
                    if isinstance(value, list)
                    else format_value(value)
                )
                or "not given"
                for value in (was[name], now[name])
            )
            return f"{named(name)} was {before} and is now {after}"
    return ""


def _to_json(value: Any) -> Any:
    return [_to_json(entry) for entry in value] if isinstance(value, tuple | list) else value


WATCH_SECONDS = 0.1
"""Time between two looks at the signals."""
MAX_JOBS = 256
"""Runs at a time at most."""
MAX_MESSAGE_BYTES = 4096
"""Bytes of the end of a process's messages that are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRow:
    """One setting of a sweep: mean, spread and interval over its seeds.

    Everything but `values` is None where too few runs are finished: `mean` needs one, the rest two.
    """

    values: dict[str, Any]
    num_finished: int
    num_failed: int
    num_runs: int
    num_parameters: int | None
    """Weights of the largest of its models."""
    mean: float | None = None
    """Mean validation loss in nats per character."""
    spread: float | None = None
    """Standard deviation over the seeds, with n - 1."""
    low: float | None = None
    """Ends of the 95 % interval of the mean: Student's t over the seeds."""
    high: float | None = None
    difference: float | None = None
    """Mean minus that of the first row; None for the first row."""
    difference_low: float | None = None
    """Ends of the 95 % interval of the difference."""
    difference_high: float | None = None
    is_paired: bool = False
    """Whether the interval of the difference is that of pairs of runs with one seed, else Welch's.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepReport(Displayable):
    """The table of a sweep, and its runs."""

    folder: str
    fields: tuple[str, ...]
    """The swept fields, in the order of the command."""
    num_seeds: int
    rows: tuple[SweepRow, ...]
    """Best first: settings without a failed run by their mean, then the others."""
    runs: tuple[SweepRun, ...]
    notes: tuple[str, ...] = ()
    """What limits the comparison."""

    def to_json(self) -> dict[str, Any]:
        """Return the object that `sweep --json` prints."""
        return {**asdict(self), "notes": [str(Message(note)) for note in self.notes]}

    def view(self) -> Sequence[RenderableType]:
        """Draw the table, below it the meaning of its columns, and the notes."""
        return [sweep_view(self), *(Text(Message(note)) for note in self.notes)]


def report_sweep(plan: SweepPlan, folder: Path, runs: Sequence[SweepRun]) -> SweepReport:
    """Build the table of a sweep from its runs, finished or not."""
    groups: dict[str, list[SweepRun]] = {}
    for run in runs:
        groups.setdefault(repr(run.values), []).append(run)
    rows = sorted(
        ((_row(group), group) for group in groups.values()), key=lambda pair: _order(pair[0])
    )
    compared = [_with_difference(row, group, rows[0][1]) for row, group in rows]
    notes = list(plan.notes())
    if len({run.text_digest for run in runs if run.status == FINISHED}) > 1 and not {*plan.axes} & {
        *TEXT_FIELDS
    }:
        notes.append(
            "the text changed between the runs, so their losses do not compare: start another sweep"
        )
    return SweepReport(
        folder=str(folder),
        fields=tuple(plan.axes),
        num_seeds=plan.num_seeds,
        rows=tuple(compared),
        runs=tuple(runs),
        notes=tuple(notes),
    )


def _row(group: Sequence[SweepRun]) -> SweepRow:
    losses = list(_losses(group).values())
    estimate = mean_interval(losses)
    return SweepRow(
        values=group[0].values,
        num_finished=len(losses),
        num_failed=sum(run.status == FAILED for run in group),
        num_runs=len(group),
        num_parameters=max(
            (run.num_parameters for run in group if run.num_parameters is not None), default=None
        ),
        mean=estimate.mean if losses else None,
        spread=stdev(losses) if len(losses) > 1 else None,
        low=estimate.low,
        high=estimate.high,
    )


def _losses(group: Sequence[SweepRun]) -> dict[int, float]:
    """Return the losses of the finished runs by seed."""
    return {run.seed: run.nats_per_char for run in group if run.nats_per_char is not None}


def _order(row: SweepRow) -> tuple[bool, bool, float]:
    # A mean over the seeds that did not diverge is too good.
    return row.mean is None, row.num_failed > 0, row.mean or 0.0


def _with_difference(
    row: SweepRow, group: Sequence[SweepRun], first: Sequence[SweepRun]
) -> SweepRow:
    """Return a row with its difference to the first one, if both have a finished run and it is
    another row.

    Runs with one seed are compared in pairs where it gives both the same initial weights and
    batches.
    """
    losses, reference = _losses(group), _losses(first)
    if group is first or not losses or not reference:
        return row
    changed = {name for name, value in row.values.items() if value != first[0].values[name]}
    sizes = {run.num_parameters for run in (*group, *first) if run.num_parameters is not None}
    common = sorted(losses.keys() & reference.keys())
    is_paired = not changed & {*UNPAIRED_FIELDS} and len(sizes) == 1 and len(common) > 1
    if is_paired:
        estimate = mean_interval([losses[seed] - reference[seed] for seed in common])
    else:
        estimate = welch_difference([*losses.values()], [*reference.values()])
    low, high = estimate.low, estimate.high
    return replace(
        row, difference=estimate.mean, difference_low=low, difference_high=high, is_paired=is_paired
    )


def mean_interval(values: Sequence[float]) -> Estimate:
    """Estimate the mean of independent values: mean ± t · s / √n, with n - 1 degrees of freedom
    (Student 1908)."""
    num = len(values)
    mean = fmean(values) if num else math.nan
    if num < 2:
        return Estimate(mean=mean)
    half = t_quantile(num - 1) * stdev(values) / math.sqrt(num)
    return Estimate(mean=mean, low=mean - half, high=mean + half)


def welch_difference(values: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Estimate the difference of the means of two independent groups whose variances differ (Welch
    1947)."""
    difference = fmean(values) - fmean(reference)
    if min(len(values), len(reference)) < 2:
        return Estimate(mean=difference)
    squares = [stdev(group) ** 2 / len(group) for group in (values, reference)]
    if not sum(squares):
        return Estimate(mean=difference, low=difference, high=difference)
    freedoms = (len(values) - 1, len(reference) - 1)
    freedom = sum(squares) ** 2 / sum(
        square**2 / own for square, own in zip(squares, freedoms, strict=True)
    )
    half = t_quantile(freedom) * math.sqrt(sum(squares))
    return Estimate(mean=difference, low=difference - half, high=difference + half)


def sweep_view(report: SweepReport) -> RenderableType:
    """Draw the table of a sweep, one row per setting, best first, and below it what its columns
    mean."""
    columns = ["nats", "±", "spread", "to best", "± ", "weights", "runs"]
    columns += ["failed"] * any(row.num_failed for row in report.rows)
    table = plain_table(", ".join(report.fields) or "setting", *columns, right=columns, narrow=True)
    for row in report.rows:
        cells = [
            ", ".join([format_value(row.values[name]) for name in report.fields]) or "all alike",
            *(
                number_text(row.mean, ".4f"),
                _half_width(row.low, row.high),
                number_text(row.spread, ".4f"),
            ),
            *(
                number_text(row.difference, "+.4f"),
                _half_width(row.difference_low, row.difference_high),
            ),
            "" if row.num_parameters is None else short_number(row.num_parameters),
            *(f"{row.num_finished}/{row.num_runs}", str(row.num_failed or "")),
        ]
        table.add_row(*cells[: 1 + len(columns)], style="bold" if row is report.rows[0] else None)
    counts = [row.num_finished for row in report.rows if row.spread is not None]
    fewest, most = min(counts, default=0), max(counts, default=0)
    seeds = (
        "nats: mean over the seeds; spread: their standard deviation; ±: 95 % interval by"
        f" Student's t over {fewest if fewest == most else f'{fewest} to {most}'} seeds (few seeds"
        " make it wide); "
    )
    caption = "Validation loss in nats per character: lower is better. "
    return Group(
        table, Text(f"{caption}{seeds * bool(counts)}to best: difference to the first row.")
    )


def _half_width(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"±{(high - low) / 2:.4f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepStartEvent:
    """The sweep's folder is locked and its runs are known."""

    folder: str
    num_runs: int
    num_finished: int
    """Runs that an earlier start of the sweep has finished."""
    jobs: int
    threads: int
    """Processor threads of each run, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunProgressEvent:
    """A run has taken a step, or has been started (at the step that it continues from)."""

    name: str
    step: int
    num_steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEndEvent:
    """A run has ended; `is_new` is false if an earlier start of the sweep has finished it."""

    run: SweepRun
    is_new: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepEndEvent:
    """All runs have ended, or a stop was requested (`is_complete` is false); everything is
    saved."""

    report: SweepReport
    is_complete: bool


AnySweepEvent = SweepStartEvent | RunProgressEvent | RunEndEvent | SweepEndEvent
"""Any event of a sweep."""


def sweep(
    config: Config,
    axes: Mapping[str, object],
    *,
    seeds: int = 3,
    jobs: int = 1,
    out: str | Path | None = None,
    should_stop: Callable[[], int] = lambda: 0,
) -> Generator[AnySweepEvent, None, None]:
    """Train every setting with every seed in the folder `out`; yield what happens, and at the end
    the table.

    `axes` has the swept fields of the configuration and their values, as lists or as text
    (`parse_axis`); all other settings are those of `config`. Each run is an ordinary run in a
    folder of its own, trained in a process of its own, `jobs` at a time, which share the
    processor's cores.

    What another start of the sweep has finished is not trained again, and what it began is
    continued. `should_stop` is called all the time; if it returns the number of a signal, the runs
    are saved and the sweep ends.

    Errors are raised when the first event is requested: UsageError for settings that cannot be
    swept, or if the folder has a sweep with other settings; RunInUseError if another process runs
    the sweep, or runs that a killed one started.
    """
    plan = plan_sweep(config, axes, num_seeds=seeds)
    check_range("jobs", jobs, 1, MAX_JOBS)
    folder = Path(out) if out is not None else default_folder(config)
    check_folder(folder)
    with contextlib.ExitStack() as stack:
        with files.convert_os_errors("create", folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context(lock_folder(folder))
        threads = record_plan(folder, plan, max(1, num_cores() // jobs))
        sweeping = _Sweeping(folder, plan, jobs, threads, lock.fileno(), should_stop)
        stack.callback(sweeping.close)
        yield from sweeping.events()


def default_folder(config: Config, checkpoints: Path = CHECKPOINTS) -> Path:
    """Return the folder of a sweep without a name: `sweep-` and the name of the text, in
    `checkpoints`."""
    from charrnn.text.corpus import corpus_name

    stems = [Path(source).name.removesuffix(".gz").rsplit(".", 1)[0] for source in config.corpus]
    return checkpoints / f"sweep-{corpus_name(stems or ['python'])}"


def check_folder(folder: Path) -> None:
    """Raise UsageError if a folder exists that is neither empty nor that of a sweep."""
    is_foreign = folder.exists() and not folder.is_dir()
    if folder.is_dir() and not (folder / SWEEP).exists():
        with files.convert_os_errors("read", folder):
            is_foreign = any(entry.name != "lock" for entry in folder.iterdir())
    if is_foreign:
        raise UsageError(
            f"{folder} exists already and is no sweep\ngive {named('out')} another name"
        )


def read_sweep(folder: str | Path) -> SweepReport:
    """Return the table of the sweep in a folder as far as it has come, also while another process
    runs it.

    Raises CheckpointError if there is no sweep, or if its file is damaged.
    """
    plan = read_plan(Path(folder))
    return report_sweep(
        plan, Path(folder), [run_state(Path(folder), plan, run) for run in plan.runs()]
    )


OnEvent = Callable[[dict[str, Any] | None], object]
"""Receives the events of a run as JSON objects, then None."""


class RunProcess(ChildProcess):
    """Trains a run in its own process, so that no failure of it, and no signal that kills it, ends
    the others.

    If this process dies, the other one saves and stops.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        on_event: OnEvent,
        locked: int | None = None,
        *,
        threads: int = 1,
    ) -> None:
        """Start the run in `folder`, or resume what is saved there.

        It chooses its threads as `charrnn train` does where there are only so many `threads`.
        `on_event` is called in another thread with each event as a JSON object, and at the end with
        None.
        """
        if folder.is_dir() and RunReader(folder).checkpoints():
            arguments = ["--resume", "--", str(folder)]
        else:
            arguments = ["--out", str(folder), *setting_arguments(config), "--", *config.corpus]
        # A file, not a pipe: a message after this process has died must not fail.
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        super().__init__(
            ["train", "--json", *arguments],
            run_environment(os.environ) | {"OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.PIPE,
            stderr=self._messages,
            locked=locked,
        )
        self._on_event = on_event
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in cast("IO[bytes]", self.popen.stdout):
            with contextlib.suppress(ValueError):  # The process was killed amid a line.
                self._on_event(json.loads(line))
        self._on_event(None)

    def wait(self) -> tuple[int, str]:
        """Wait for the end of the process; return its exit code (below 0: minus a signal) and its
        last messages."""
        code = self.popen.wait()
        self._reader.join()
        self._messages.seek(max(0, self._messages.seek(0, os.SEEK_END) - MAX_MESSAGE_BYTES))
        return code, self._messages.read().decode("utf-8", "replace")

    def close(self) -> None:
        """Kill the process if it runs, and free its resources. The checkpoints are intact."""
        self.kill()
        self._reader.join()
        cast("IO[bytes]", self.popen.stdout).close()
        self._messages.close()


def run_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a run's process: without settings, which its command line
    contains."""
    settings = {f"CHARRNN_{name.upper()}" for name in FIELD_NAMES}
    return {name: value for name, value in environment.items() if name not in settings}


def error_text(code: int, messages: str) -> str:
    """Return why a process failed: its error message, or the signal that killed it."""
    if code < 0:
        return (
            "killed by"
            f" {killer(code)}{' (is there enough memory?)' if code == -signal.SIGKILL else ''}"
        )
    _, separator, error = messages.rpartition("error: ")
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return " ".join(lines[:3]) if separator and lines else f"exit code {code}"


@dataclass
class _Sweeping:
    """A sweep while it runs."""

    folder: Path
    plan: SweepPlan
    jobs: int
    threads: int
    lock: int
    """Descriptor of the sweep's lock, which its runs inherit: it stays locked until the last of
    them has ended."""
    should_stop: Callable[[], int]
    stop_signal: int = 0
    active: dict[str, RunProcess] = field(default_factory=dict)
    """The processes that train, by the names of their runs."""
    warnings: dict[str, str] = field(default_factory=dict)
    """The last warning of a run's training, by its name."""
    received: queue.Queue[tuple[str, dict[str, Any] | None]] = field(default_factory=queue.Queue)

    def events(self) -> Iterator[AnySweepEvent]:
        """Train all runs, and yield what happens."""
        self.runs = {run.name: run_state(self.folder, self.plan, run) for run in self.plan.runs()}
        ended = [run for run in self.runs.values() if run.status in (FINISHED, FAILED)]
        waiting = deque(run for run in self.runs.values() if run.status not in (FINISHED, FAILED))
        yield SweepStartEvent(
            folder=str(self.folder),
            num_runs=len(self.runs),
            num_finished=sum(run.status == FINISHED for run in ended),
            jobs=self.jobs,
            threads=self.threads,
        )
        for run in ended:
            yield RunEndEvent(run=run, is_new=False)
        self._pass_on_stop()
        while self.active or (waiting and not self.stop_signal):
            while waiting and not self.stop_signal and len(self.active) < self.jobs:
                self._start(waiting.popleft())
                self._pass_on_stop()
            yield from self._next_event()
            self._pass_on_stop()
        report = report_sweep(self.plan, self.folder, [*self.runs.values()])
        yield SweepEndEvent(report=report, is_complete=not self.stop_signal)

    def close(self) -> None:
        """Kill the processes that still run."""
        for process in self.active.values():
            process.close()

    def _pass_on_stop(self) -> None:
        """Send the signal that asks for a stop to the processes, once."""
        if not self.stop_signal and (number := self.should_stop()):
            self.stop_signal = number
            for process in self.active.values():
                process.send(number if number in ENDING_SIGNALS else signal.SIGTERM)

    def _start(self, run: SweepRun) -> None:
        config = self.plan.config_of(run.values, run.seed)

        def receive(event: dict[str, Any] | None) -> None:
            self.received.put((run.name, event))

        self.active[run.name] = RunProcess(
            self.folder / run.name, config, receive, self.lock, threads=self.threads
        )

    def _next_event(self) -> Iterator[AnySweepEvent]:
        """Wait a moment for an event of any run; yield what it means for the sweep."""
        try:
            name, event = self.received.get(timeout=WATCH_SECONDS)
        except queue.Empty:
            return
        if event is None:
            process = self.active.pop(name)
            code, messages = process.wait()
            process.close()
            self.runs[name] = run = self._ended(name, code, messages)
            if run.status != STOPPED:
                yield RunEndEvent(run=run, is_new=True)
        elif event["event"] == "start":
            self.runs[name] = replace(self.runs[name], num_steps=event["num_steps"])
            yield RunProgressEvent(
                name=name, step=event["first_step"], num_steps=event["num_steps"]
            )
        elif event["event"] == "step":
            yield RunProgressEvent(
                name=name, step=event["step"], num_steps=self.runs[name].num_steps or 0
            )
        elif event["event"] == "warning":
            self.warnings[name] = event["message"]

    def _ended(self, name: str, code: int, messages: str) -> SweepRun:
        """Return a run whose process has ended: finished, stopped, or failed."""
        run = run_state(self.folder, self.plan, self.runs[name])
        if run.status == FINISHED:
            return replace(run, message=run.message or self.warnings.get(name))
        if self.stop_signal:
            return replace(run, status=STOPPED)
        return replace(run, status=FAILED, message=error_text(code, messages))


def run_state(folder: Path, plan: SweepPlan, run: SweepRun) -> SweepRun:
    """Return a run as far as it is on disk: finished, failed because no loss was finite, stopped,
    or waiting."""
    reader = RunReader(folder / run.name)
    try:
        if not reader.path.is_dir() or not reader.checkpoints():
            return run
        loaded = reader.load_checkpoint("latest", with_training=False)
        config = reader.read_config()
    except CheckpointError:
        return replace(run, status=STOPPED)  # Resuming repairs it, or says what is wrong.
    best, num_steps = loaded.state.get("best_nats"), config.steps or 0
    run = replace(
        run,
        step=loaded.step,
        num_steps=num_steps,
        num_parameters=num_parameters(config, len(loaded.description.vocab())),
        text_digest=cast("str | None", loaded.state.get("corpus_digest")),
    )
    if loaded.step < num_steps or loaded.state.get("is_validation_due") is True:
        return replace(run, status=STOPPED)
    if not isinstance(best, float) or not math.isfinite(best):
        return replace(run, status=FAILED, message="no validation gave a finite loss")
    asked, message = plan.config_of(run.values, run.seed).learning_rate, None
    if isinstance(asked, float) and config.learning_rate != asked:
        message = f"diverged once and continued with a learning rate of {config.learning_rate:g}"
    best_step = cast("int | None", loaded.state.get("best_step"))
    return replace(run, status=FINISHED, nats_per_char=best, best_step=best_step, message=message)

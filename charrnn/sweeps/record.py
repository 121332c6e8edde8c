"""What a sweep has on disk: the file that says what it varies, and its runs."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from charrnn.config.settings import FIELD_NAMES, Config, parse_value
from charrnn.errors import CheckpointError, UsageError, named
from charrnn.model.shapes import num_parameters
from charrnn.runs.reader import SWEEP, RunReader
from charrnn.sweeps.plan import (
    FAILED,
    FINISHED,
    STOPPED,
    SweepPlan,
    SweepRun,
    changed_settings,
    format_value,
    plan_sweep,
    to_json,
)
from charrnn.system import files

FORMAT = 1
"""Number of the format of the file that records a sweep."""


def record_plan(folder: Path, plan: SweepPlan, threads: int) -> int:
    """Write what the sweep varies, or check that the folder's sweep is this one; return the threads
    of each run.

    Other values of its fields and other seeds are the same sweep, because every run stands for
    itself. Another number of jobs leaves the number of threads as it was. Raises UsageError that
    names the first difference, CheckpointError for a damaged file.
    """
    entry: dict[str, Any] = {
        "format": FORMAT,
        "axes": {name: to_json(axis) for name, axis in plan.axes.items()},
        "num_seeds": plan.num_seeds,
        "threads": threads,
        "settings": changed_settings(plan.config),
    }

    # An earlier start. Its number of threads stays, because sums on another number differ in their
    # last digits: the runs of both starts are to be compared.
    recorded = _recorded(folder)
    if recorded is not None:
        entry["threads"] = recorded["threads"]
        if difference := _difference(entry, recorded):
            raise UsageError(
                f"{folder} is a sweep with other settings: {difference}\n"
                f"repeat its settings to continue it, or give {named('out')} another folder"
            )

    if entry != recorded:
        files.write_atomically(folder / SWEEP, files.json_to_bytes(entry))
    return int(entry["threads"])


def read_plan(folder: Path) -> SweepPlan:
    """Read what the sweep in a folder varies. Raises CheckpointError if there is none, or its file
    is damaged."""
    recorded = _recorded(folder)
    if recorded is None:
        raise CheckpointError(f"{folder} is not a sweep: it has no {SWEEP}")
    # Checked as what a user types: somebody may have edited the file.
    try:
        settings = {}
        for name, value in recorded["settings"].items():
            settings[name] = parse_value(name, value)
        return plan_sweep(Config(**settings), recorded["axes"], num_seeds=recorded["num_seeds"])
    except UsageError as error:
        raise CheckpointError(f"{folder / SWEEP} is damaged: {error.marked}") from None


def _recorded(folder: Path) -> dict[str, Any] | None:
    """Return the content of the sweep's file, None if there is none. Raises CheckpointError if it
    is damaged."""
    path = folder / SWEEP
    if not path.exists():
        return None

    # The types of the entries only: `read_plan` checks their values as those of a command.
    content = files.parse_json(path, files.read_capped(path, max_bytes=files.MAX_TEXT_BYTES))
    kinds = {"axes": dict, "num_seeds": int, "threads": int, "settings": dict}
    entries = content if isinstance(content, dict) else {}
    if not all(isinstance(entries.get(name), kind) for name, kind in kinds.items()):
        raise CheckpointError(
            f"{path} is damaged: an entry is missing\nmove the folder away to start the sweep again"
        )
    if entries.get("format") != FORMAT:
        raise CheckpointError(f"{path} was written by a newer version of charrnn: upgrade it")
    return entries


def _difference(entry: Mapping[str, Any], recorded: Mapping[str, Any]) -> str:
    """Name the first setting, but those that both vary, in which an entry is of another sweep; ""
    if none is."""
    # A field is fixed or swept: both stand in one table, a default where neither names it.
    default = {name: to_json(value) for name, value in asdict(Config()).items()}
    was = default | recorded["settings"] | recorded["axes"]
    now = default | entry["settings"] | entry["axes"]
    for name in FIELD_NAMES:
        is_varied = name in recorded["axes"] and name in entry["axes"]
        if was[name] != now[name] and not is_varied:
            return f"{named(name)} was {_shown(was[name])} and is now {_shown(now[name])}"
    return ""


def _shown(value: Any) -> str:
    """Return a value, or the values of a swept field, for a message."""
    if isinstance(value, list):
        return ",".join(map(format_value, value)) or "not given"
    return format_value(value) or "not given"


def run_state(folder: Path, plan: SweepPlan, run: SweepRun) -> SweepRun:
    """Return a run as far as it is on disk: finished, failed because no loss was finite, stopped,
    or waiting."""
    # What it has saved, if anything.
    reader = RunReader(folder / run.name)
    try:
        if not reader.path.is_dir() or not reader.checkpoints():
            return run
        loaded = reader.load_checkpoint("latest", with_training=False)
        config = reader.read_config()
    except CheckpointError:
        return replace(run, status=STOPPED)  # Resuming repairs it, or says what is wrong.

    # How far it came. It may have taken its last step, and not yet validated it.
    run = replace(
        run,
        num_parameters=num_parameters(config, len(loaded.description.vocab())),
        text_digest=cast("str | None", loaded.state.get("corpus_digest")),
    )
    num_steps = config.steps or 0
    if loaded.step < num_steps or loaded.state.get("is_validation_due") is True:
        return replace(run, status=STOPPED)

    # How well it did: by its best step, which every command loads.
    best = loaded.state.get("best_nats")
    if not isinstance(best, float) or not math.isfinite(best):
        return replace(run, status=FAILED, message="no validation gave a finite loss")

    # A run that diverged has gone on by itself, with other settings than the sweep compares.
    message = None
    asked = plan.config_of(run.values, run.seed).learning_rate
    if isinstance(asked, float) and config.learning_rate != asked:
        message = f"diverged once and continued with a learning rate of {config.learning_rate:g}"
    return replace(run, status=FINISHED, nats_per_char=best, message=message)

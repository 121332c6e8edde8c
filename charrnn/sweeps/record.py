"""What a sweep has on disk: the file that says what it varies, and its runs."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

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
    format_value,
    plan_sweep,
)
from charrnn.system import files

FORMAT = 1
"""Number of the format of the file that records a sweep."""


def record_plan(folder: Path, plan: SweepPlan) -> None:
    """Write what the sweep varies, or check that the folder's sweep is this one.

    Other values of its fields and other seeds are the same sweep, because every run stands for
    itself. Raises UsageError that names the first difference, CheckpointError for a damaged file.
    """
    if (folder / SWEEP).exists():
        recorded = read_plan(folder)
        for name in FIELD_NAMES:
            was = recorded.values_of(name)
            now = plan.values_of(name)
            is_varied = name in recorded.axes and name in plan.axes
            if was != now and not is_varied:
                difference = f"was {_shown(was)} and is now {_shown(now)}"
                raise UsageError(
                    f"{folder} is a sweep with other settings: {named(name)} {difference}\n"
                    f"repeat its settings to continue it, or give {named('out')} another folder"
                )

    entry = asdict(plan) | {"format": FORMAT}
    files.write_atomically(folder / SWEEP, files.json_to_bytes(entry))


def _shown(values: tuple[Any, ...]) -> str:
    return ",".join(map(format_value, values)) or "not given"


def read_plan(folder: Path) -> SweepPlan:
    """Read what the sweep in a folder varies. Raises CheckpointError if there is none, or its file
    is damaged."""
    path = folder / SWEEP
    content: Any = files.parse_json(path, files.read_capped(path, max_bytes=files.MAX_TEXT_BYTES))
    # Checked as what a user types: somebody may have edited the file.
    try:
        if content["format"] != FORMAT:
            raise CheckpointError(f"{path} was written by a newer version of charrnn: upgrade it")
        settings = {name: parse_value(name, it) for name, it in content["config"].items()}
        return plan_sweep(Config(**settings), content["axes"], num_seeds=content["num_seeds"])
    except (UsageError, AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is damaged: {error}\nmove the folder away to start the sweep again"
        ) from None


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
        latest = files.read_capped(reader.path / "latest", max_bytes=files.MAX_TEXT_BYTES)
    except CheckpointError:
        return replace(run, status=STOPPED)  # Resuming repairs it, or says what is wrong.

    # How far it came. It may have taken its last step, and not yet validated it, or saved that and
    # not yet written the files that name it.
    run = replace(run, num_parameters=num_parameters(config, len(loaded.description.vocab())))
    is_named = latest == f"{loaded.name}\n".encode("ascii")
    is_due = loaded.state.get("is_validation_due") is True
    if loaded.step < (config.steps or 0) or is_due or not is_named:
        return replace(run, status=STOPPED)

    # How well it did: by its best step, which every command loads.
    best = loaded.state.get("best_nats")
    if not isinstance(best, float) or not math.isfinite(best):
        return replace(run, status=FAILED, message="no validation gave a finite loss")

    # A run that diverged has gone on by itself, with other settings than the sweep compares.
    message = None
    if plan.config_of(run).learning_rate not in ("auto", config.learning_rate):
        message = f"diverged once and continued with a learning rate of {config.learning_rate}"
    return replace(run, status=FINISHED, nats_per_char=best, message=message)

"""Read and write a sweep on disk: the file that records its plan, and the states of its runs."""

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
    """Write the plan of a sweep into its folder. If the folder has a sweep, check that it is the
    same sweep.

    A sweep stays the same with other values of its swept fields and with other seeds, because its
    runs are independent. Raises UsageError, which names the first difference, CheckpointError for a
    damaged file.
    """
    if (folder / SWEEP).exists():
        recorded = read_plan(folder)
        for name in FIELD_NAMES:
            old = recorded.values_of(name)
            new = plan.values_of(name)
            is_varied = name in recorded.axes and name in plan.axes
            if old != new and not is_varied:
                difference = f"was {_shown(old)} and is now {_shown(new)}"
                raise UsageError(
                    f"{folder} is a sweep with other settings: {named(name)} {difference}\n"
                    f"repeat its settings to continue it, or give {named('out')} another folder"
                )

    entry = asdict(plan) | {"format": FORMAT}
    files.write_atomically(folder / SWEEP, files.json_to_bytes(entry))


def _shown(values: tuple[Any, ...]) -> str:
    return ",".join(map(format_value, values)) or "not given"


def read_plan(folder: Path) -> SweepPlan:
    """Read the plan of the sweep in a folder. Raises CheckpointError if there is no sweep, or if
    its file is damaged."""
    path = folder / SWEEP
    content: Any = files.parse_json(path, files.read_capped(path, max_bytes=files.MAX_TEXT_BYTES))
    # The values are checked like typed values, because the file may have been edited.
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
    """Return a run with its state on disk: finished, failed because no loss was finite, stopped, or
    waiting."""
    # Load the latest checkpoint, if there is one.
    reader = RunReader(folder / run.name)
    try:
        if not reader.path.is_dir() or not reader.checkpoints():
            return run
        checkpoint = reader.load_checkpoint("latest", with_training=False)
        config = reader.read_config()
        latest = files.read_capped(reader.path / "latest", max_bytes=files.MAX_TEXT_BYTES)
    except CheckpointError:
        return replace(run, status=STOPPED)  # Resuming repairs it, or reports the damage.

    # Check whether it is finished. It may have been killed after its last step, before it was
    # validated or before `latest` was written.
    run = replace(run, num_parameters=num_parameters(config, len(checkpoint.description.vocab())))
    is_named = latest == f"{checkpoint.name}\n".encode("ascii")
    is_due = checkpoint.state.get("is_validation_due") is True
    if checkpoint.step < (config.steps or 0) or is_due or not is_named:
        return replace(run, status=STOPPED)

    # The result of a run is the loss of its best step, which every command loads.
    best = checkpoint.state.get("best_nats")
    if not isinstance(best, float) or not math.isfinite(best):
        return replace(run, status=FAILED, message="no validation gave a finite loss")

    # A run that diverged has continued by itself with another learning rate than the sweep
    # compares.
    message = None
    if plan.config_of(run).learning_rate not in ("auto", config.learning_rate):
        message = f"diverged once and continued with a learning rate of {config.learning_rate}"
    return replace(run, status=FINISHED, nats_per_char=best, message=message)

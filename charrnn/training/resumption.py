"""Decide what a resumed run does: which settings may change, its text again, its steps from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import torch

from charrnn.config import BUDGETS, Config, parse_value, resolved
from charrnn.errors import CheckpointError, DataError, UsageError, named
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.reader import RunReader
from charrnn.text.batches import Lanes
from charrnn.text.recorded import recorded_corpus
from charrnn.text.source_reader import OnProgress
from charrnn.training.measuring import choose_precision
from charrnn.training.plan import Text, plan_steps, read_text
from charrnn.training.process_group import ProcessGroup

CHANGEABLE = (*BUDGETS, "device", "precision", "threads", "evaluate_every", "save_every", "keep")
"""Fields that a resumed run may change: how long and where it trains, and what is kept; none that the weights fit."""


def parse_changes(changes: Mapping[str, object]) -> dict[str, Any]:
    """Parse the settings that a resumed run is to change. Raises UsageError for any outside CHANGEABLE."""
    fixed = [name for name in changes if name not in CHANGEABLE]
    if fixed:
        raise UsageError(
            f"{named('resume')} cannot change {', '.join(map(named, fixed))}: the saved weights depend on it. "
            f"It can change {', '.join(map(named, CHANGEABLE))}; for all else start a new run."
        )
    return {name: parse_value(name, value) for name, value in changes.items()}


def changed_config(run: RunReader, loaded: Checkpoint, changes: Mapping[str, Any], num_processes: int = 1) -> Config:
    """Return the run's configuration with `changes`, which `parse_changes` returned.

    The threads are chosen again if another number of processes continues. A new budget replaces one of any kind.

    Raises UsageError for a value out of range.
    """
    # The run's own configuration, if it is whole: it may have been changed since that step was saved.
    try:
        config = run.read_config()
    except CheckpointError:
        config = loaded.description.config()
    changed = {name: value for name, value in changes.items() if name not in BUDGETS}
    if any(changes.get(name) is not None for name in BUDGETS):
        changed |= {name: changes.get(name) for name in BUDGETS}
    is_other_number = loaded.state.get("num_processes", 1) != num_processes
    if (changed.get("minutes") is not None or is_other_number) and "threads" not in changed:
        changed["threads"] = "auto"  # Measured again, with the steps.
    elif config.threads == "auto":  # A run from before threads were recorded: it used all there are.
        changed.setdefault("threads", torch.get_num_threads())
    return replace(config, **changed)


def read_same_text(
    run: Path, config: Config, loaded: Checkpoint, stdin: BinaryIO | None, on_reading: OnProgress | None = None
) -> Text:
    """Read the text that the run was trained on. Raises DataError if it changed, CheckpointError for a damaged run."""
    recorded = recorded_corpus(run.name, config, loaded.state)
    if recorded is None:  # Without a digest, a run from elsewhere could name any file of this disk.
        raise CheckpointError(f"{run.name} does not record the digest of its text.")
    try:
        text = read_text(config, stdin, None, loaded.description.vocab(), recorded, on_reading)
    except DataError as error:
        if "-" not in config.corpus:
            raise
        raise DataError(f"{error.marked}\nPipe the same text into standard input again.") from None
    if resolved(config.num_lanes) * resolved(config.bptt_length) > text.num_train:
        # `choose_sizes` never does that, and such a step could need any memory.
        raise CheckpointError(
            f"{run / 'config.yaml'} is damaged: {config.num_lanes} lanes of {config.bptt_length} "
            f"characters per step are more than the {text.num_train:,} of its text"
        )
    return text


def plan_further(
    name: str,
    config: Config,
    changes: Mapping[str, Any],
    text: Text,
    taken: int,
    device: torch.device,
    start: float,
    group: ProcessGroup,
) -> tuple[Config, Lanes]:
    """Plan the steps of the run `name` beyond the `taken` ones; return the configuration and the lanes.

    A budget in minutes or epochs counts from here, `start`. Raises UsageError for fewer steps than were taken.
    """
    lanes = Lanes(text.ids[: text.num_train], resolved(config.num_lanes))
    # An older run that recorded `auto` continues as `autocast` resolves it; only an explicit `auto` is measured.
    with group.together():
        group.rows(lanes.num_lanes)
        if changes.get("precision") == "auto" and group.is_first:
            config = replace(config, precision=choose_precision(config, lanes, len(text.vocab), device))
    planned = plan_steps(group.share_config(config), text, lanes, device, start, group)
    if config.steps is None:
        planned = replace(planned, steps=taken + (planned.steps or 0))
    elif config.steps < taken:
        raise UsageError(f"{named('steps')} is {config.steps}, but {name} has taken {taken} steps already.")
    return planned, lanes

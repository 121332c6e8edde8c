"""The files `latest` and `best`: one line each with the name of a checkpoint, checked against the checkpoints.

A process can be killed after it saved a checkpoint and before it updated them, and a flipped bit can make them name
another one. So the newest checkpoint is the latest whatever `latest` says, and its state names the best one.
"""

from __future__ import annotations

import os
from pathlib import Path

from charrnn.errors import CheckpointError
from charrnn.files import read_capped
from charrnn.runs.checkpoint import best_checkpoint, checkpoint_step, is_checkpoint_name, read_state
from charrnn.runs.description import NewerFormatError

KINDS = {"latest": "newest", "best": "best"}
"""The pointers, and which checkpoint each must name."""


def list_checkpoints(run: Path) -> list[str]:
    """List the names of the saved checkpoints, ascending. Raises CheckpointError if the folder cannot be read."""
    try:
        with os.scandir(run) as entries:
            names = [e.name for e in entries if is_checkpoint_name(e.name) and e.is_dir(follow_symlinks=False)]
    except OSError as error:
        raise CheckpointError(f"cannot read {run}: {error.strerror or error}") from error
    return sorted(names, key=checkpoint_step)


def read_pointer(run: Path, name: str) -> str | None:
    """Return the checkpoint that the file `latest` or `best` names, None if it is missing or has other content."""
    try:
        text = read_capped(run / name, max_bytes=100).decode("ascii")
    except (CheckpointError, UnicodeDecodeError):
        return None
    return text[:-1] if text.endswith("\n") and is_checkpoint_name(text[:-1]) else None


def expected_checkpoint(run: Path, name: str) -> tuple[str | None, list[str]]:
    """Return the checkpoint that the pointer `name` must name, and what is wrong with the pointer, if anything.

    The checkpoint is None if only the pointer could name it. Raises CheckpointError if the folder cannot be read.
    """
    # Twice, because a training process updates its pointers just after it saved.
    for _ in range(2):
        pointed = read_pointer(run, name)
        right, problem = (list_checkpoints(run)[-1], None) if name == "latest" else best_known(run)
        if pointed == right or (right is None and pointed in list_checkpoints(run)):
            return pointed, []
        if pointed is not None and os.path.islink(run / pointed):
            return pointed, []  # A link is not a checkpoint: reading it fails with an error that names it.
    if problem is None:
        if not os.path.lexists(run / name):
            problem = f"{run / name} is missing"
        elif pointed is None:
            problem = f"{run / name} does not name a checkpoint"
        else:
            problem = f"{run / name} names {pointed}, which is not the {KINDS[name]} checkpoint"
    return right, [problem]


def best_known(run: Path) -> tuple[str | None, str | None]:
    """Return the best checkpoint that the state of the newest one names, None if it names none.

    If the newest checkpoint is damaged, an older one is used, and the damage is returned too. Raises NewerFormatError.
    """
    problem = None
    for name in reversed(list_checkpoints(run)):
        try:
            return best_checkpoint(read_state(run / name)), problem
        except NewerFormatError:
            raise
        except CheckpointError as error:
            problem = problem or str(error)
    return None, problem

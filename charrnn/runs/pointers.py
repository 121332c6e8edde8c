"""`latest` and `best`: one line each with the name of a step, checked against what the steps themselves say.

A process can be killed after it saved a step and before it moved them, and a flipped bit can make them name another
step. So the newest step is the latest whatever `latest` says, and its state knows the best one.
"""

from __future__ import annotations

import os
from pathlib import Path

from charrnn.errors import CheckpointError
from charrnn.files import read_capped
from charrnn.runs.step import NewerFormatError, best_in, is_step_name, read_state, step_number

KINDS = {"latest": "newest", "best": "best"}
"""The pointers, and which step each is to name."""


def list_steps(run: Path) -> list[str]:
    """Names of the committed steps, ascending. Raises CheckpointError when the folder cannot be read."""
    try:
        with os.scandir(run) as entries:
            names = [e.name for e in entries if is_step_name(e.name) and e.is_dir(follow_symlinks=False)]
    except OSError as error:
        raise CheckpointError(f"cannot read {run}: {error.strerror or error}") from error
    return sorted(names, key=step_number)


def read_pointer(run: Path, name: str) -> str | None:
    """The name of the step that `latest` or `best` holds, None when it is missing or holds anything else."""
    try:
        text = read_capped(run / name, max_bytes=100).decode("ascii")
    except (CheckpointError, UnicodeDecodeError):
        return None
    return text[:-1] if text.endswith("\n") and is_step_name(text[:-1]) else None


def wanted_step(run: Path, name: str) -> tuple[str | None, list[str]]:
    """The step that pointer `name` ought to name, and what is wrong with it, if anything is.

    The step is None where only the pointer could have told. Raises CheckpointError when the folder cannot be read.
    """
    # Twice, since a run in training moves its pointers just after it saved.
    for _ in range(2):
        pointed = read_pointer(run, name)
        right, problem = (list_steps(run)[-1], None) if name == "latest" else best_known(run)
        if pointed == right or (right is None and pointed in list_steps(run)):
            return pointed, []
        if pointed is not None and os.path.islink(run / pointed):
            return pointed, []  # No step, and refused by name when it is read.
    if problem is None:
        says = "does not name a step" if pointed is None else f"names {pointed}, which is not the {KINDS[name]} step"
        problem = f"{run / name} {says if os.path.lexists(run / name) else 'is missing'}"
    return right, [problem]


def best_known(run: Path) -> tuple[str | None, str | None]:
    """The best step as the newest step knows it, None if it knows of none.

    If the newest step is damaged an older one is asked, and the damage returned too. Raises NewerFormatError.
    """
    problem = None
    for name in reversed(list_steps(run)):
        try:
            return best_in(read_state(run / name)), problem
        except NewerFormatError:
            raise
        except CheckpointError as error:
            problem = problem or str(error)
    return None, problem

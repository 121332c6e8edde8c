"""A run before its first save: created and removed again if it fails, or left behind by a process that was killed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from charrnn.errors import CheckpointError, RunInUseError
from charrnn.files import convert_os_errors, read_capped, remove_temporaries
from charrnn.process_signals import ending_signals_delayed
from charrnn.runs.description import CONFIG, VOCAB
from charrnn.runs.writer import RunWriter

_FIRST_FILES = (CONFIG, VOCAB, "lock")
"""The files in a run's folder before its first save, besides temporary ones. `lock`, which identifies it, goes last."""


def clear_unsaved(path: Path) -> None:
    """Empty the folder `path` if it belongs to a run that was killed before its first save.

    Raises UsageError, as `RunWriter.create_at` does, if anything else exists there; RunInUseError if that run is
    starting now.
    """
    if _is_unsaved(path):
        with RunWriter(path).lock(), convert_os_errors("clean up", path):
            if _is_unsaved(path):
                _remove_first_files(path)
    if os.path.lexists(path):
        RunWriter.create_at(path)


@contextlib.contextmanager
def new_run(create: Callable[[], RunWriter]) -> Iterator[RunWriter]:
    """Create a run's folder and lock it; if this block fails before anything is saved there, remove the folder.

    Raises what `create` and `RunWriter.lock` raise.
    """
    with contextlib.ExitStack() as stack:
        # A signal after the folder is made and before its removal is arranged would leave it behind.
        with ending_signals_delayed():
            run = create()
            stack.enter_context(_removed_unless_saved(run))
            stack.enter_context(run.lock())
        yield run


@contextlib.contextmanager
def _removed_unless_saved(run: RunWriter) -> Iterator[None]:
    """Remove a new run's folder if this block fails before anything is saved in it."""
    try:
        yield
    except RunInUseError:
        raise  # Another process has taken it over.
    except BaseException:  # an interrupt, too; raised again
        with contextlib.suppress(OSError, CheckpointError):
            if not run.reader.checkpoints():
                _remove_first_files(run.path)
                run.path.rmdir()
        raise


def _remove_first_files(path: Path) -> None:
    """Remove what a run without a save wrote, by name: any other file there is the user's. Raises OSError."""
    remove_temporaries(path)
    for name in _FIRST_FILES:
        (path / name).unlink(missing_ok=True)


def _is_unsaved(path: Path) -> bool:
    try:
        names = {name for name in os.listdir(path) if not name.startswith(".")}
        # The lock contains the number of the process that died; a user's own file `lock` would contain something else.
        owner = read_capped(path / "lock", max_bytes=20)
    except (OSError, CheckpointError):
        return False
    return names <= set(_FIRST_FILES) and (not owner or owner.isdigit())

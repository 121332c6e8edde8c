"""What a run that was killed before its first save leaves behind, and what keeps an interrupt from leaving any."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from charrnn.errors import CheckpointError, RunInUseError
from charrnn.files import explained, read_capped, sweep
from charrnn.runs.description import CONFIG, VOCAB
from charrnn.runs.folder import RunFolder

_BEGUN = (CONFIG, VOCAB, "lock")
"""What stands in a run's folder before its first save, besides what is temporary; the lock, which tells, goes last."""


def make_way(path: Path) -> None:
    """Empty the folder `path` if it is that of a run that was killed before its first save.

    Raises UsageError, as `RunFolder.create_at` does, for anything else that is in the way; RunInUseError when the run
    is one that just begins.
    """
    if _is_unsaved(path):
        with RunFolder(path).lock(), explained("clean up", path):
            if _is_unsaved(path):
                _empty(path)
    if os.path.lexists(path):
        RunFolder.create_at(path)


@contextlib.contextmanager
def begun(create: Callable[[], RunFolder]) -> Iterator[RunFolder]:
    """Create a run's folder and hold its lock; if this block fails before anything is saved there, remove the folder.

    Raises what `create` and `RunFolder.lock` raise.
    """
    with contextlib.ExitStack() as stack:
        # An interrupt between the folder and what is to remove it would leave it.
        with _signals_held_back():
            run = create()
            stack.enter_context(_removed_unless_saved(run))
            stack.enter_context(run.lock())
        yield run


@contextlib.contextmanager
def _removed_unless_saved(run: RunFolder) -> Iterator[None]:
    """Take a new run's folder away again if what is done in here fails before anything is saved."""
    try:
        yield
    except RunInUseError:
        raise  # Then it is not ours.
    except BaseException:
        with contextlib.suppress(OSError, CheckpointError):
            if not run.steps():
                _empty(run.path)
                run.path.rmdir()
        raise


def _empty(path: Path) -> None:
    """Remove what a run that saved nothing wrote, by name: something else there would be somebody's. Raises OSError."""
    sweep(path)
    for name in _BEGUN:
        (path / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let signals that end a process wait until the block has ended. Not by a mask: it would bind this thread only."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers if is_main}
    came: list[int] = []
    try:
        for number, handler in before.items():
            if handler not in (signal.SIG_IGN, None):  # None: set by other than Python
                signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def _is_unsaved(path: Path) -> bool:
    try:
        names = {name for name in os.listdir(path) if not name.startswith(".")}
        # The lock holds the process that died; a file `lock` of somebody else's would hold something else.
        owner = read_capped(path / "lock", max_bytes=20)
    except (OSError, CheckpointError):
        return False
    return names <= set(_BEGUN) and (not owner or owner.isdigit())

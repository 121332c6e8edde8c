"""Locks a run folder for one process with the lock of the operating system."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from charrnn.errors import RunInUseError
from charrnn.file_lock import try_lock, unlock
from charrnn.files import check_regular, convert_os_errors


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock `folder` for this process; the operating system frees it when the process ends, however it ends.

    Raises RunInUseError at once when another process has locked it, CharRNNError when the folder cannot be locked,
    CheckpointError when its lock is a link, through which another file would be emptied.
    """
    with contextlib.ExitStack() as stack:
        with convert_os_errors("lock", folder):
            check_regular(folder / "lock")
            # Opened for appending, which neither empties nor touches the file of a run in use.
            path = folder / "lock"
            file = stack.enter_context(path.open("a+b", buffering=0))
            # A run without a checkpoint may have been removed and created again since: then this lock file is deleted.
            if not try_lock(file) or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.seek(0)
                owner = file.read(20).decode("ascii", "replace")
                raise RunInUseError(
                    f"{folder} is in use by {f'process {owner}' if owner.isdigit() else 'another process'}\n"
                    "wait for it or stop it, or start a new run"
                )
            stack.callback(unlock, file)
            owner = str(os.getpid())
            with convert_os_errors("write", folder / "lock", num_bytes=len(owner)):
                file.truncate(0)
                file.write(owner.encode("ascii"))
        stack.callback(file.truncate, 0)
        yield

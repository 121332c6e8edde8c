"""Locks a run folder for one process with the lock of the operating system, on POSIX and on Windows."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from charrnn.errors import RunInUseError
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
            if not _try_lock(file) or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.seek(0)
                owner = file.read(20).decode("ascii", "replace")
                raise RunInUseError(
                    f"{folder} is in use by {f'process {owner}' if owner.isdigit() else 'another process'}\n"
                    "wait for it or stop it, or start a new run"
                )
            stack.callback(_unlock, file)
            owner = str(os.getpid())
            with convert_os_errors("write", folder / "lock", num_bytes=len(owner)):
                file.truncate(0)
                file.write(owner.encode("ascii"))
        stack.callback(file.truncate, 0)
        yield


if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE = 1 << 20
    """Windows forbids reading a locked byte; one far behind the process id leaves that readable."""

    def _try_lock(file: IO[bytes]) -> bool:
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                return False
            raise
        return True

    def _unlock(file: IO[bytes]) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        # Explicitly, because a forked worker that inherited the descriptor would keep the lock after we close it.
        fcntl.flock(file, fcntl.LOCK_UN)

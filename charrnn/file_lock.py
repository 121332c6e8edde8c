"""Locks open files with the locks of the operating system, which end with the process, on POSIX and on Windows."""

from __future__ import annotations

import errno
import sys
from typing import IO

if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE = 1 << 20
    """Windows forbids reading a locked byte; one far behind the content leaves that readable."""

    def try_lock(file: IO[bytes], *, shared: bool = False) -> bool:
        """Lock a file that is open for writing; return False if another process holds it. Raises OSError.

        A shared lock excludes only exclusive ones. Windows has none; there an open file cannot be removed anyway.
        """
        if shared:
            return True
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                return False
            raise
        return True

    def unlock(file: IO[bytes]) -> None:
        """Free a lock. Raises OSError."""
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(file: IO[bytes], *, shared: bool = False) -> bool:
        """Lock an open file; return False if another process holds it. Raises OSError.

        A shared lock excludes only exclusive ones.
        """
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(file: IO[bytes]) -> None:
        """Free a lock. Raises OSError."""
        # Explicitly, because a forked worker that inherited the descriptor would keep the lock after we close it.
        fcntl.flock(file, fcntl.LOCK_UN)

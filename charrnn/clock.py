"""Measure how long this process has been running."""

import os
import time
from pathlib import Path

_IMPORTED = time.perf_counter()


def _age_at_import() -> float:
    """Return the seconds between the start of the process and the import of this module; 0 except on Linux."""
    try:
        started_ticks = int(Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, uptime - started_ticks / os.sysconf("SC_CLK_TCK"))


_AGE_AT_IMPORT = _age_at_import()


def seconds_since_start() -> float:
    """Return the wall seconds since this process started; on Linux, starting Python and importing count."""
    return _AGE_AT_IMPORT + time.perf_counter() - _IMPORTED

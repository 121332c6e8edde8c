"""The memory of this machine."""

import os


def memory_bytes() -> int | None:
    """Return the size of this machine's memory in bytes, None if the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None

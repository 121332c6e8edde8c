"""This process: its processors, the memory of its machine, and the signals that ask it to end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator


def num_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Return the size of this machine's memory in bytes, None if the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


ENDING_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Ctrl-C, `kill` and a closed terminal; Windows has no SIGHUP."""

SAVE_SIGNALS: tuple[int, ...] = ()
"""Signals that ask training to save and continue. Windows has no SIGUSR1."""
if hasattr(signal, "SIGUSR1"):
    SAVE_SIGNALS = (signal.SIGUSR1,)

PARENT = "CHARRNN_PARENT"
"""Environment variable with the number of the charrnn process that started this one, and that says
what becomes of it."""


def is_orphan() -> bool:
    """Return whether the charrnn process that started this one has ended."""
    parent = str(os.getppid())
    return os.environ.get(PARENT, parent) != parent


def child_environment() -> dict[str, str]:
    """Return the variables of a `python -m charrnn` that this process starts."""
    variables = {PARENT: str(os.getpid())}
    # `python -m` would import modules from the current folder, which the command `charrnn` does
    # not.
    if sys.path and sys.path[0] not in ("", os.getcwd()):
        variables["PYTHONSAFEPATH"] = "1"
    return variables


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


@contextlib.contextmanager
def ending_signals_delayed() -> Iterator[None]:
    """Delay the signals that end a process until the block has ended. No effect outside the main
    thread."""
    # Handlers rather than a signal mask, which would bind this thread only.
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS if is_main}

    received: list[int] = []
    try:
        for number, handler in before.items():
            if handler not in (signal.SIG_IGN, None):  # None: installed by code other than Python's
                signal.signal(number, lambda number, _: received.append(number))
        yield
    finally:
        # As it was, and then what came meanwhile.
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)

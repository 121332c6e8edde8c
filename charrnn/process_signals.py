"""The signals that ask a process to end, and a block that must not be interrupted by them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

ENDING_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, `kill` and a closed terminal; Windows has no SIGHUP."""

SAVE_SIGNALS = tuple(getattr(signal, name) for name in ("SIGUSR1",) if hasattr(signal, name))
"""Signals that ask training to save and continue. Windows has no SIGUSR1."""


@contextlib.contextmanager
def ending_signals_delayed() -> Iterator[None]:
    """Delay the signals that end a process until the block has ended. No effect outside the main thread."""
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
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)

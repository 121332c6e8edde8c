"""Handle signals: end the command (after saving, if it trains), or save and continue."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from charrnn.process_signals import ENDING_SIGNALS

SAVING = tuple(getattr(signal, name) for name in ("SIGUSR1",) if hasattr(signal, name))
"""Signals that request a checkpoint. Windows has none."""

READER_GONE = getattr(signal, "SIGPIPE", 13)
"""The signal that counts as the end of training when the reader of its output has exited; Windows lacks the name."""
RETRY_SECONDS = 1.5
"""Seconds between two attempts to interrupt a command."""
WILL_SAVE = b"\nStopping: finishing the step and saving (press again to exit at once) ...\n"
"""Printed at the first Ctrl-C of a training."""


class Signals:
    """The signal handlers of a command.

    SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt. Once `defers` is set they are recorded in `number`, so that the
    command can save and end, and only a second Ctrl-C raises. SIGUSR1 is recorded as a save request.
    """

    def __init__(self) -> None:
        self.number = 0
        """The signal that requested the end, or 0."""
        self.has_raised = False
        self.defers = False
        self.is_quiet = False
        self._num_requests = 0
        self._is_save_requested = False

    def pop_save_request(self) -> bool:
        """Return whether SIGUSR1 arrived since the last call."""
        is_requested, self._is_save_requested = self._is_save_requested, False
        return is_requested

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Handle signals in this block; one that is ignored (`nohup`, a background job) stays ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = dict.fromkeys(ENDING_SIGNALS, self._end) | dict.fromkeys(SAVING, self._save)
        before = {number: signal.getsignal(number) for number in handlers}
        handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in handled:
            signal.signal(number, handlers[number])
        show_unraisable, sys.unraisablehook = sys.unraisablehook, _skip_interrupts
        try:
            yield
        finally:
            sys.unraisablehook = show_unraisable
            if self.has_raised and hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, 0)
            for number in handled:
                signal.signal(number, before[number])

    def _end(self, number: int, frame: FrameType | None) -> None:
        is_first = not self._num_requests
        # `timeout` sends SIGTERM twice, and a closed terminal SIGHUP: only a second Ctrl-C means to exit at once.
        if not is_first and number != signal.SIGINT:
            return
        self._num_requests += 1
        self.number = number
        if is_first and self.defers:
            if not self.is_quiet:
                # Not through sys.stderr, which this handler may have interrupted. The terminal may be gone.
                with contextlib.suppress(OSError):
                    os.write(2, WILL_SAVE)
            return
        if self._num_requests > 2:
            os._exit(128 + number)  # The exception was lost in a callback that cannot raise.
        self.has_raised = True
        # An exception in a callback that cannot raise is lost: repeat it until the command has ended.
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._raise_again)
            signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS, RETRY_SECONDS)
        raise KeyboardInterrupt

    def _raise_again(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def _save(self, number: int, frame: FrameType | None) -> None:
        self._is_save_requested = True


def _skip_interrupts(unraisable: "sys.UnraisableHookArgs") -> None:
    """Show errors that cannot be caught, except a KeyboardInterrupt that a finalizer drops: it is raised again."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)

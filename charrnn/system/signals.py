"""Signal handlers of a command: end (after saving, if it trains), or save and continue."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from charrnn.system.process import ENDING_SIGNALS, KEYBOARD_SIGNALS, SAVE_SIGNALS

READER_GONE = getattr(signal, "SIGPIPE", 13)
"""Number of SIGPIPE, the signal that ended training if the reader of its output exited. Windows
lacks the name."""
RERAISE_SECONDS = 1.5
"""Seconds until an interrupt is raised again, if the command still runs."""
STOP_NOTICE = (
    b"\nStopping: finishing the step and saving (press Ctrl-C again to exit at once) ...\n"
)
"""Printed when a signal ends training."""


class Signals:
    """Handles the signals of one command.

    A command has one around everything that it does.

    - The first ending signal that arrives (`ENDING_SIGNALS`) raises KeyboardInterrupt. If `defers`
      is set, it only sets `number`, and the command ends by itself.
    - A second Ctrl-C raises KeyboardInterrupt in both cases. A timer raises it again until the
      command has ended, because an exception in a callback may be lost.
    - A third Ctrl-C ends the process at once.
    - SIGUSR1 sets a flag, so that a training saves and continues.
    """

    def __init__(self) -> None:
        self.number = 0
        """The signal that asked the command to end, or 0."""
        self.has_raised = False
        """Whether KeyboardInterrupt was raised, which may arrive as another exception."""
        self.defers = False
        """Whether the first signal only sets `number`."""
        self.is_quiet = False
        """Whether to print no notice."""
        self._num_requests = 0
        self._is_save_asked = False

    def is_stop_asked(self) -> bool:
        """Return whether the command should end: a signal asked for it, or nobody reads its
        output."""
        return self.number != 0

    def pop_save_request(self) -> bool:
        """Return whether SIGUSR1 arrived since the last call."""
        is_asked, self._is_save_asked = self._is_save_asked, False
        return is_asked

    @contextlib.contextmanager
    def handle(self) -> Iterator[None]:
        """Handle signals in this block. A signal that is ignored (`nohup`, a background job) stays
        ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = dict.fromkeys(ENDING_SIGNALS, self._end) | dict.fromkeys(
            SAVE_SIGNALS, self._save
        )
        before = {number: signal.getsignal(number) for number in handlers}
        handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        show_unraisable = sys.unraisablehook
        try:
            for number in handled:
                signal.signal(number, handlers[number])
            sys.unraisablehook = _skip_interrupts
            yield
        finally:
            sys.unraisablehook = show_unraisable
            # Handlers first: a signal between the two would start the timer again.
            for number in handled:
                signal.signal(number, before[number])
            if self.has_raised and hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _end(self, number: int, frame: FrameType | None) -> None:
        is_first = not self._num_requests
        # `timeout` sends SIGTERM twice, a closed terminal SIGHUP, and a limit of processor time
        # SIGXCPU every second: only a user who presses Ctrl-C a second time asks to exit at once.
        if not is_first and number not in KEYBOARD_SIGNALS:
            return
        self._num_requests += 1
        self.number = number
        if is_first and self.defers:
            if not self.is_quiet:
                # Not through sys.stderr, which this signal may have interrupted. The terminal may
                # be gone.
                with contextlib.suppress(OSError):
                    os.write(2, STOP_NOTICE)
            return
        if self._num_requests > 2:
            os._exit(128 + number)  # the exception was lost in a callback that cannot raise
        self.has_raised = True
        # An exception in a callback that cannot raise is lost: raise it again until the command has
        # ended.
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, RERAISE_SECONDS, RERAISE_SECONDS)
        raise KeyboardInterrupt

    def _save(self, number: int, frame: FrameType | None) -> None:
        self._is_save_asked = True


@contextlib.contextmanager
def interrupts_left_to_pager() -> Iterator[None]:
    """Do nothing at Ctrl-C in this block, in which another program has the terminal. It gets the
    signal, too: a pager goes on, as its users expect, and would stay alone in the terminal."""
    # A handler: a program that is started would go on to ignore what is ignored here.
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _skip_interrupts(unraisable: "sys.UnraisableHookArgs") -> None:
    """Print errors that nothing can catch, except a KeyboardInterrupt in a finalizer, which is
    raised again."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)

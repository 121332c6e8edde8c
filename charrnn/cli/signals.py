"""What signals ask of a command: to end (having saved, if it trains), or to save and go on."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from charrnn.process_signals import ENDING_SIGNALS

SAVING = tuple(getattr(signal, name) for name in ("SIGUSR1",) if hasattr(signal, name))
"""Windows has no SIGUSR1."""

READER_GONE = getattr(signal, "SIGPIPE", 13)
"""What training is taken to have ended by when nobody reads on; Windows has the number's meaning, not the name."""
PATIENCE = 1.5
"""Seconds from one try to end a command to the next."""
WILL_SAVE = b"\nStopping: finishing the step and saving (once more to leave at once) ...\n"


class Signals:
    """How a command answers signals.

    SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt; once `defers` is set they are noted in `number`, for the command
    to end in good order, and only a second Ctrl-C raises. SIGUSR1 is noted, for training to save and go on.
    """

    def __init__(self) -> None:
        self.number = 0
        """The signal that asked to end, 0 while none did."""
        self.has_raised = False
        self.defers = False
        self.is_quiet = False
        self._num_asked = 0
        self._is_save_asked = False

    def pop_save_request(self) -> bool:
        """Return whether SIGUSR1 arrived since the last call."""
        is_asked, self._is_save_asked = self._is_save_asked, False
        return is_asked

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Answer signals in this block; one that is ignored (`nohup`, a shell's background job) stays ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        answers = dict.fromkeys(ENDING_SIGNALS, self._end) | dict.fromkeys(SAVING, self._save)
        before = {number: signal.getsignal(number) for number in answers}
        heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in heard:
            signal.signal(number, answers[number])
        show_unraisable, sys.unraisablehook = sys.unraisablehook, _skip_interrupts
        try:
            yield
        finally:
            sys.unraisablehook = show_unraisable
            if self.has_raised and hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, 0)
            for number in heard:
                signal.signal(number, before[number])

    def _end(self, number: int, frame: FrameType | None) -> None:
        is_first = not self._num_asked
        # `timeout` sends SIGTERM twice, and a closed terminal SIGHUP: only a key pressed again means haste.
        if not is_first and number != signal.SIGINT:
            return
        self._num_asked += 1
        self.number = number
        if is_first and self.defers:
            if not self.is_quiet:
                # Not by sys.stderr, amid whose own writing this may be. That terminal may be gone.
                with contextlib.suppress(OSError):
                    os.write(2, WILL_SAVE)
            return
        if self._num_asked > 2:
            os._exit(128 + number)  # the exception was lost on its way, in some callback that cannot raise
        self.has_raised = True
        # What is raised amid a callback that cannot raise is lost: so again, until the command has ended.
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._raise_again)
            signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)
        raise KeyboardInterrupt

    def _raise_again(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def _save(self, number: int, frame: FrameType | None) -> None:
        self._is_save_asked = True


def _skip_interrupts(unraisable: "sys.UnraisableHookArgs") -> None:
    """Show errors that nothing can catch, without the KeyboardInterrupt that a finalizer drops: it is raised again."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)

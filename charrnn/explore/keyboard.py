"""Drop keys that are typed while no program reads them, and restore the modes and the screen of the
terminal, which outlive a command."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

try:
    import termios
except ImportError:  # Windows has no modes that outlive a command
    HAS_MODES = False
else:
    HAS_MODES = True

Modes = list[Any] | None
"""The modes of a terminal as `termios` has them; None without a terminal."""

USUAL_SCREEN = b"\x1b[?1000l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[<u\x1b[?1049l\x1b[?25h"
"""What makes a terminal as it was before Textual used it: without reports of the mouse, the focus
and pastes, with the usual screen and its cursor."""


def keyboard_modes() -> Modes:
    """Return the modes of the terminal that is standard input."""
    if HAS_MODES:
        with contextlib.suppress(termios.error):  # no terminal, or one that is gone
            return termios.tcgetattr(0)
    return None


def restore_keyboard(modes: Modes) -> None:
    """Set the modes of the terminal, and drop the keys that were typed and not read."""
    if modes is not None:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(0, termios.TCSAFLUSH, modes)


def restore_terminal(modes: Modes) -> None:
    """Set the modes of the terminal, and show its usual screen, which Textual has not done."""
    # A terminal that is gone, or whose output is stopped, would let the write wait forever. The
    # shell has the same open terminal, so it is set back.
    if os.isatty(2):
        with contextlib.suppress(OSError):
            os.set_blocking(2, False)
            os.write(2, USUAL_SCREEN)
        with contextlib.suppress(OSError):
            os.set_blocking(2, True)
    restore_keyboard(modes)


@contextlib.contextmanager
def keys_dropped() -> Iterator[None]:
    """Neither show nor read the keys that are typed during the `with` block. Ctrl-C still ends the
    command."""
    modes = keyboard_modes()
    try:
        if modes is not None:
            local_modes = 3  # of the seven entries
            silent = [*modes]
            silent[local_modes] &= ~termios.ECHO
            restore_keyboard(silent)
        yield
    finally:
        restore_keyboard(modes)

"""Drop keys that are typed while no program reads them, and restore the modes of the terminal,
which outlive a command."""

import contextlib
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

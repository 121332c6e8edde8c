"""What is typed while a command that fills the terminal loads is neither shown nor kept."""

import contextlib
import os
import select

import pytest

termios = pytest.importorskip("termios")
from charrnn.explore.keyboard import (  # noqa: E402
    keyboard_modes,
    keys_dropped,
    restore_keyboard,
    restore_terminal,
)


@pytest.fixture
def keyboard():
    """Make standard input a terminal; return the descriptor that a user types to."""
    typed, terminal = os.openpty()
    before = os.dup(0)
    os.dup2(terminal, 0)
    yield typed
    os.dup2(before, 0)
    for descriptor in (before, typed, terminal):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def waiting(descriptor):
    """Return whether something can be read from a descriptor."""
    return bool(select.select([descriptor], [], [], 0)[0])


def type_keys(keyboard):
    """Type a line, and wait until the system hands it over."""
    os.write(keyboard, b"quit\n")
    select.select([0], [], [], 60)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, OSError])
def test_keys_are_dropped_and_the_modes_are_as_before(keyboard, error):
    before = keyboard_modes()
    with contextlib.suppress(KeyboardInterrupt, OSError), keys_dropped():
        type_keys(keyboard)
        if error is not None:
            raise error
    assert keyboard_modes() == before
    assert not waiting(0), "for the shell"
    assert not waiting(keyboard), "echoed"


def test_without_a_terminal_nothing_happens(keyboard):
    modes = keyboard_modes()
    reader, writer = os.pipe()
    os.dup2(reader, 0)
    assert keyboard_modes() is None
    with keys_dropped():
        os.write(writer, b"text")
    restore_keyboard(modes)
    assert waiting(0)
    os.close(reader)
    os.close(writer)


def test_a_terminal_gets_its_usual_screen_back_and_still_blocks(keyboard):
    before = os.dup(2)
    os.dup2(0, 2)
    try:
        restore_terminal(keyboard_modes())
        assert os.get_blocking(2)
    finally:
        os.dup2(before, 2)
        os.close(before)
    assert b"\x1b[?1049l\x1b[?25h" in os.read(keyboard, 1000)

"""What an interface in the terminal needs before it starts."""

import os
import sys
from importlib.util import find_spec

from charrnn.cli.streams import supports_cursor_control
from charrnn.errors import UsageError, install_command


def check_full_screen(command: str, instead: str) -> None:
    """Raise UsageError where a command that fills the terminal cannot run; `instead` says what does the same without.

    That is without textual, with TERM=dumb, and where the keyboard or the screen is no terminal.
    """
    if find_spec("textual") is None:
        raise UsageError(
            f"{command} needs the package textual. In the folder of charrnn's pyproject.toml: {install_command()}"
        )
    if os.environ.get("TERM") == "dumb":
        raise UsageError(f"{command} moves the cursor, which a terminal with TERM=dumb cannot do.\n{instead}")
    if not fills_terminal():
        raise UsageError(f"{command} fills a terminal: standard input, output and error must all be one.\n{instead}")


def fills_terminal() -> bool:
    """Return whether the keyboard and the screen are a terminal; textual draws on stderr."""
    return sys.stdin.isatty() and sys.stdout.isatty() and supports_cursor_control(sys.stderr)

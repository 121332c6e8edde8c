"""Print to the two streams: stdout carries the result and nothing else, stderr everything else."""

import os
import sys
from traceback import format_exception
from typing import TYPE_CHECKING, Any, TextIO

from charrnn.cli.flags import with_flags
from charrnn.views.export import to_json

if TYPE_CHECKING:
    from rich.console import Console

MAX_MESSAGE = 200
"""Characters shown of the message of an unexpected exception, which may quote a whole file."""


def warn(messages: tuple[str, ...], *, quiet: bool) -> None:
    """Print warnings on stderr, one per line, unless `quiet`."""
    for message in messages if not quiet else ():
        sys.stderr.write(f"warning: {printable(with_flags(message))}\n")


def result_console(*, stderr: bool = False) -> "Console":
    """Return a rich console on stdout, or on stderr. NO_COLOR, FORCE_COLOR and the stream decide about colours."""
    from rich.console import Console

    # COLUMNS is 0 on the terminals of some services; None: rich measures the width.
    width = 80 if os.environ.get("COLUMNS", "").strip() == "0" else None
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def print_json(value: Any) -> None:
    """Print one JSON value on one line of stdout; numbers that are not finite become null."""
    sys.stdout.write(to_json(value) + "\n")
    sys.stdout.flush()


def print_path(path: str) -> None:
    """Print a path on one line of stdout: unchanged for programs; on a terminal with control characters escaped."""
    sys.stdout.write((printable(path) if sys.stdout.isatty() else path) + "\n")
    sys.stdout.flush()


def print_error(message: str) -> None:
    """Print at most three lines on stderr, with control characters escaped."""
    # splitlines() also splits at characters that a file name may contain, and would drop the remedy.
    lines = [printable(line) for line in message.split("\n") if line.strip()][:3]
    sys.stderr.write("error: " + "\n       ".join(lines) + "\n")


def describe_unexpected(error: BaseException) -> str:
    """Return two lines about an unexpected exception: its type and its message, cut to `MAX_MESSAGE`; the remedy."""
    message = " ".join(str(error).split())
    if len(message) > MAX_MESSAGE:
        message = message[: MAX_MESSAGE - 1] + "…"
    colon = ": " if message else ""
    return f"unexpected {type(error).__name__}{colon}{message}\nAdd --debug to see where it happened."


def print_traceback(error: BaseException) -> None:
    """Print the traceback of --debug on stderr, with control characters escaped, because errors quote their input."""
    sys.stderr.write(printable("".join(format_exception(error))))


def printable(text: str) -> str:
    """Return `text` with control and bidirectional characters made visible; newlines and tabs stay.

    Of a carriage return and a newline, the line end of Windows, only the newline stays.
    """
    from charrnn.views.theme import visible

    lines = text.replace("\r\n", "\n")
    return "".join(character if character in "\n\t" else visible(character) for character in lines)


def discard_output() -> None:
    """Redirect both streams to the null device after their reader has gone; else Python fails to flush them at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # A closed pipe, or a terminal that was closed.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def supports_cursor_control(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that interprets cursor codes."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def can_animate(stream: TextIO) -> bool:
    """Return whether to draw progress bars on a stream: not under CI, where the terminal is a log."""
    return supports_cursor_control(stream) and os.environ.get("CI", "").lower() in ("", "0", "false")

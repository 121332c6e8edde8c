"""The two streams: stdout carries the result and nothing else, stderr everything else."""

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def warn(messages: tuple[str, ...], *, quiet: bool) -> None:
    """Say what the user should know on stderr, unless told to be quiet."""
    for message in messages if not quiet else ():
        sys.stderr.write(f"warning: {printable(message)}\n")


def result_console() -> "Console":
    """Rich on stdout, coloured as NO_COLOR, FORCE_COLOR and the stream say."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False, width=_width())


def talk_console() -> "Console":
    """Rich on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False, width=_width())


def _width() -> int | None:
    """80 where COLUMNS says that there is none, as terminals of some services do; else for rich to find out."""
    return 80 if os.environ.get("COLUMNS", "").strip() == "0" else None


def print_json(value: Any) -> None:
    """One JSON value on one line of stdout; a number that is not finite becomes null."""
    sys.stdout.write(to_json(value) + "\n")
    sys.stdout.flush()


def to_json(value: Any) -> str:
    """One line of printable ASCII: DEL, the one control character that JSON does not escape, is escaped too."""
    return json.dumps(finite(value), ensure_ascii=True, allow_nan=False).replace("\x7f", "\\u007f")


def print_path(path: str) -> None:
    """A path alone on a line of stdout: as it is, for programs; on a terminal with nothing in it that steers it."""
    sys.stdout.write((printable(path) if sys.stdout.isatty() else path) + "\n")
    sys.stdout.flush()


def finite(value: Any) -> Any:
    """`value` as JSON can spell it: a number that is not finite is null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value


def print_error(message: str) -> None:
    """At most three lines on stderr, with nothing in them that could move the cursor."""
    # Not splitlines(), which also splits at what a name may hold, and the way out would be cut off.
    lines = [printable(line) for line in message.split("\n") if line.strip()][:3]
    sys.stderr.write("\n".join(["error: " + "".join(lines[:1]), *("       " + line for line in lines[1:])]) + "\n")


def print_traceback(error: BaseException) -> None:
    """What --debug shows on stderr, with nothing in it that could move the cursor: errors quote what was read."""
    from traceback import format_exception

    sys.stderr.write(printable("".join(format_exception(error))))


def printable(text: str) -> str:
    """`text` with control and direction-changing characters made visible; newlines and tabs stay."""
    from charrnn.render.visible import visible

    return "".join(character if character in "\n\t" else visible(character) for character in text)


def stop_writing() -> None:
    """Send both streams to nowhere: their reader is gone, and Python would complain when it flushes them at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # a closed pipe, or a terminal that was closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def can_steer(stream: TextIO) -> bool:
    """Whether it is a terminal that understands cursor codes."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def can_animate(stream: TextIO) -> bool:
    """Whether a bar may be drawn there: not under CI either, whose terminal is a log."""
    return can_steer(stream) and os.environ.get("CI", "").lower() in ("", "0", "false")

"""Deliver results: stdout or an exported file carries the result and nothing else, stderr
everything else.

Parameters that messages name are turned into the options of the command line.
"""

import os
import re
import signal
import sys
from codecs import lookup
from functools import cache
from io import TextIOWrapper
from shutil import get_terminal_size
from typing import TYPE_CHECKING
from unicodedata import category

import typer.main

from charrnn.cli.root import app, commands
from charrnn.errors import CharRNNError, UsageError, shortened
from charrnn.runs.destinations import Destination
from charrnn.system.words import prints_words
from charrnn.views.delivery import Shown, find_format, to_json

if TYPE_CHECKING:
    from rich.console import Console

    from charrnn.cli.command_options import ExportingOptions

NO_MEMORY = re.compile("allocat|failed to map|a primitive|start new thread|bad_alloc")
"""Words of libraries where memory ends, in errors of other types than MemoryError."""
MAX_MESSAGE = 200
"""Characters shown of the message of an unexpected exception, which may quote a whole file."""
IN_TEXT = "\n\t\u200c\u200d\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
"""Characters of a model's text that a terminal gets as they are, among them the joiners, which
Persian, Indic scripts and emoji need, and the tones of skin."""
_PARAMETER = re.compile("`([a-z_]+)(?:=(.*?))?`", re.DOTALL)
"""Matches what `errors.named` returns; the groups are the name and the value, if there is one."""
_INSTEAD_OF_PDF = "use .svg, or .html, which a browser prints as a PDF"
"""What to do where a result cannot be written as a PDF."""
TRAIN = "train"
"""The command whose options set the fields of a configuration."""


def choose_terminal() -> None:
    """Declare the terminal dumb, for all libraries that draw, if ACCESSIBLE is set to another value
    than 0."""
    if os.environ.get("ACCESSIBLE", "").strip("0"):
        os.environ["TERM"] = "dumb"


def choose_encoding(stream: TextIOWrapper) -> None:
    """Let a standard stream write UTF-8, unless the user or the terminal wants another encoding.

    Characters that the encoding lacks are escaped: of UTF-8, the bytes of a file name that are no
    UTF-8.
    """
    # A redirected stream has the encoding of the locale, on Windows a legacy code page, which lacks
    # most letters. Python assumes ASCII where no locale is set; no terminal has it.
    asked = os.environ.get("PYTHONIOENCODING")
    if not asked and (not stream.isatty() or lookup(stream.encoding).name == "ascii"):
        stream.reconfigure(encoding="utf-8")
    stream.reconfigure(errors="backslashreplace", newline="\n")


def write_aside(message: str) -> None:
    """Print lines on stderr with control characters escaped, wrapped if that is a terminal; nothing
    once its reader has gone, because the reader of stdout may still be there.

    A note goes through it, whoever wrote its words: a name of a file may contain anything.
    """
    # A name that controls the terminal could replace a question by another one.
    try:
        sys.stderr.write(wrapped(printable(message)) + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        discard_output()


def wrapped(text: str) -> str:
    """Return the lines of a message as a terminal on stderr shows them: broken between words only,
    so that paths, options and commands can be copied. Off a terminal they are returned as they
    are, for programs."""
    if not sys.stderr.isatty():
        return text
    from textwrap import TextWrapper

    lines = []
    for line in text.split("\n"):
        # Further lines begin below the first word of the message.
        message = re.sub("^ *(?:error: |warning: )?", "", line)
        room = TextWrapper(
            max(40, get_terminal_size().columns),
            subsequent_indent=" " * (len(line) - len(message)),
            expand_tabs=False,
            replace_whitespace=False,
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines.append(room.fill(line))
    return "\n".join(lines)


def with_flags(message: str, command: str | None = None) -> str:
    """Return a message with its parameters as options: `temperature` as --temp, `alphabet=byte` as
    --alphabet byte.

    `command` is the name of the command that was started; its options come first. A field of the
    configuration without an option becomes --set field=value, and its bare name where the message
    gives no value. What else stands in backticks is left as it is.
    """
    return _PARAMETER.sub(lambda match: _flag(match, command), message)


def _flag(named: re.Match[str], command: str | None) -> str:
    from charrnn.config.settings import FIELD_NAMES

    name, value = named.groups()

    # Another command may have an option of the same name, which the command that runs lacks: a
    # setting is then given by --set. It takes a value, so that a bare name stays as it is.
    own_option = _options(command or "").get(name) or _options(TRAIN).get(name)
    if own_option is None and name in FIELD_NAMES:
        return name if value is None else f"--set {name}={value}"

    for command_name in dict.fromkeys((command, TRAIN, *commands())):
        options = _options(command_name or "")
        if name in options:
            return options[name] if value is None else f"{options[name]} {value}"
    return named[0]


@cache
def _options(name: str) -> dict[str, str]:
    """Return the options of a command by the names of their parameters, and by their own names: in
    Python the parameter of --detector is called `detector` or `detectors`. Returns {} if there is
    no such command."""
    try:
        command = typer.main.get_command(app).get_command(None, name)  # type: ignore[attr-defined]
    except UsageError:  # The command of a package that fails.
        return {}
    if command is None:
        return {}
    flags = {
        option.name: option.opts[0] for option in command.params if option.opts[0].startswith("--")
    }
    by_own_name = {flag.removeprefix("--").replace("-", "_"): flag for flag in flags.values()}
    return by_own_name | flags


def result_console(*, stderr: bool = False) -> "Console":
    """Return a rich console on stdout, or on stderr. NO_COLOR, FORCE_COLOR and the stream decide
    about colours."""
    from rich.console import Console

    # COLUMNS is 0 on the terminals of some services; None: rich measures the width.
    width = None
    if os.environ.get("COLUMNS", "").strip() == "0":
        width = 80
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def print_json(value: object) -> None:
    """Print a JSON value on one line of stdout; numbers that are not finite become null.

    A command with --json prints by it and by nothing else.
    """
    sys.stdout.write(to_json(value) + "\n")
    sys.stdout.flush()


def print_path(path: str) -> None:
    """Print a path on one line of stdout: unchanged for programs; on a terminal with control
    characters escaped.

    A command whose result is a file prints it last, and a script reads it there.
    """
    if sys.stdout.isatty():
        path = printable(path)
    sys.stdout.write(path + "\n")
    sys.stdout.flush()


def export_destination(
    options: "ExportingOptions",
    *,
    has_arrays: bool = False,
    has_rows: bool = False,
    has_chart: bool = False,
) -> Destination | None:
    """Return where --export writes, None without it.

    `has_arrays` allows a .npz, `has_rows` a .csv and `has_chart` a .pdf. Raises UsageError, before
    anything is computed, for a file that cannot be written or must not be replaced.
    """
    export = options.export
    if export is None:
        return None
    lacks = set()
    if not has_arrays:
        lacks.add(".npz")
    if not has_rows:
        lacks.add(".csv")
    if not has_chart:
        lacks.add(".pdf")
    try:
        mark = find_format(export, lacks=lacks).mark
        destination = Destination(export, mark=mark, force=options.force, read=options.read)
        destination.check()
    except UsageError as error:
        raise UsageError(f"--export {error}") from None
    suffix = export.suffix.lower()
    if suffix == ".npz" and not has_arrays:
        raise UsageError(f"--export {export}: this result has no activations; use .json.")
    if suffix == ".csv" and not has_rows:
        raise UsageError(f"--export {export}: this result is no table; use .json.")
    if suffix == ".pdf" and not has_chart:
        raise UsageError(f"--export {export}: this result is no chart; {_INSTEAD_OF_PDF}.")
    return destination


def deliver(shown: Shown, destination: Destination | None = None, *, as_json: bool = False) -> None:
    """Print the pictures or, `as_json`, the value; or write them in the format of the suffix and
    print the path of the file.

    Raises CharRNNError naming the option if that fails.
    """
    if as_json:
        print_json(shown.data)
        return
    if destination is None:
        console = result_console()
        for picture in shown.pictures:
            console.print(picture)
        return

    # The whole file is made before an old file is replaced.
    data = find_format(destination.path).write(shown)
    try:
        destination.write(data)
    except CharRNNError as error:
        raise CharRNNError(f"--export {destination.path}: {error}. Give another name.") from None
    print_path(str(destination.path))


def print_error(message: str) -> None:
    """Print at most three lines on stderr, with control characters escaped.

    It comes once, at the end of a command that fails; what does not end the command is told by
    `progress.warn`.
    """
    # splitlines() also splits at characters that a file name may contain, and would drop the
    # remedy.
    lines = [line for line in message.split("\n") if line.strip()][:3]
    write_aside("error: " + "\n       ".join(lines))


def describe_unexpected(error: BaseException) -> str:
    """Return two lines about an unexpected exception: its type and its message, cut to
    `MAX_MESSAGE`, or how much memory was lacking; then the remedy.

    It is for faults of the program. What a user can correct is a `CharRNNError`, and has a message
    already.
    """
    message = shortened(" ".join(str(error).split()), most=MAX_MESSAGE)
    # The loader of numba's library mentions memory only in the error before.
    if isinstance(error, MemoryError) or NO_MEMORY.search(f"{message} {error.__context__}"):
        more = ""
        if size := re.search(r"allocate ([\d.]+?)\.? (\w+)", message):
            more = f": {size[1]} {size[2]} more were needed"
        return (
            f"not enough memory{more}\nTake a smaller model or text, close other programs, or raise"
            " the limit (ulimit -v). What was saved is untouched."
        )

    colon = ""
    if message:
        colon = ": "
    return (
        f"unexpected {type(error).__name__}{colon}{message}\nAdd --debug to see where it happened."
    )


def printable(text: str, kept: str = "\n\t") -> str:
    """Return `text` with control and bidirectional characters made visible; the characters in
    `kept` and combining marks stay.

    Whatever comes from a text, a file or a model goes through it before it reaches a terminal;
    `theme.visible` is for pictures, where a newline has a mark of its own.

    Of a carriage return and a newline, the line end of Windows, only the newline stays.
    """
    # Most lines have none, and need no import.
    if text.isascii() and text.isprintable():
        return text
    from charrnn.views.theme import visible

    return "".join(
        c if c in kept or category(c)[0] == "M" else visible(c) for c in text.replace("\r\n", "\n")
    )


def end_interrupted_line(signal_number: int) -> None:
    """End the line in which the terminal shows ^C after Ctrl-C, so that the prompt begins a new
    one."""
    if signal_number == signal.SIGINT and sys.stderr.isatty():
        write_aside("")


def discard_output() -> None:
    """Redirect both streams to the null device after their reader has gone; else Python fails to
    flush them at exit.

    `charrnn ... | head` ends so without a message.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # A closed pipe, or a terminal that was closed.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def supports_cursor_control() -> bool:
    """Return whether stderr is a terminal that interprets cursor codes."""
    return sys.stderr.isatty() and not prints_words()


def can_animate() -> bool:
    """Return whether to draw progress bars on stderr: not under CI, where the terminal is a log.

    It is asked before a bar is drawn; `supports_cursor_control` is asked before the whole screen
    is.
    """
    is_log = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return supports_cursor_control() and not is_log

"""The two streams: stdout carries the result and nothing else, stderr all that is said about it."""

import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from charrnn.api import Model
    from charrnn.config import Config

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table or text.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]
RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="A run folder, or its name under checkpoints/. Default: the newest run that was validated.",
    ),
]

TextOption = Annotated[
    str | None, typer.Option("--text", help="Read this file, or - for stdin, instead.", metavar="FILE")
]


UnknownOption = Annotated[
    str,
    typer.Option("--unknown", help="Characters that the model never saw: error, skip or nearest.", metavar="WORD"),
]


def spelled(text: str, alphabet: str) -> str | bytes:
    """A text from the command line, as the bytes that were typed where the alphabet is of bytes."""
    return os.fsencode(text) if alphabet == "byte" else text


def read_text(source: str, config: "Config", *, quiet: bool = False) -> str | bytes:
    """The text of --text, read as the run's own text was. Raises DataError if it cannot be read or is empty."""
    from charrnn.text.corpus import read_corpus

    announce_wait(source, quiet=quiet)
    corpus = read_corpus([source], alphabet=config.alphabet, encoding=config.encoding, is_for_training=False)
    return corpus.content


def announce_wait(source: str, *, quiet: bool) -> None:
    """Say on stderr that `source` is a named pipe or the keyboard, which may keep the command waiting without end."""
    if quiet:
        return
    if source == "-":
        if sys.stdin is not None and sys.stdin.isatty():
            sys.stderr.write("waiting for text from the keyboard (Ctrl-D ends it)\n")
    elif _is_named_pipe(source):
        sys.stderr.write(f"waiting for text from the named pipe {printable(source)}\n")


def _is_named_pipe(path: str) -> bool:
    try:
        # Not the pipes of `<(command)`, which always have a writer: these are links into /proc.
        return stat.S_ISFIFO(os.stat(path).st_mode) and not os.path.realpath(path).startswith(("/proc/", "/dev/fd/"))
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False


def parse_cell(option: str, text: str, model: "Model") -> tuple[int, int]:
    """The (layer, unit) that `option` names as "layer:unit". Raises UsageError if `model` has no such cell."""
    from charrnn.errors import UsageError

    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text.strip())
    if match is None:
        raise UsageError(f"{option} {text}: write a cell as layer:unit, both from 0, such as 0:17.")
    layer, unit = int(match[1]), int(match[2])
    try:
        model.stepper.check_cell(layer, unit)
    except UsageError as error:
        raise UsageError(f"{option} {text}: {error}") from None
    return layer, unit


def warn(messages: tuple[str, ...], *, quiet: bool) -> None:
    """Say what the user should know on stderr, unless told to be quiet."""
    for message in messages if not quiet else ():
        sys.stderr.write(f"warning: {printable(message)}\n")


def load_model(run: str | None, *, quiet: bool) -> "Model":
    """Load the run that a command names, or the newest, whose name is then written on stderr if that is a terminal.

    Also shows what the user should know of it. Raises CheckpointError as `api.load` does.
    """
    from charrnn.api import load

    model = load(run)
    if run is None and not quiet and sys.stderr.isatty():
        sys.stderr.write(f"Run: {printable(model.name)}\n")
    warn(model.warnings, quiet=quiet)
    return model


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
    from charrnn.render.heat import visible

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


@contextmanager
def progress(
    total: int, label: str, *, quiet: bool = False, unit: str = "chars"
) -> "Iterator[Callable[[int], object]]":
    """A bar on stderr for work that takes more than a second; yields what to call with the amount just done."""
    from tqdm import tqdm

    from charrnn.render.heat import all_visible

    with tqdm(
        total=total,
        desc=all_visible(label),
        unit=unit,
        unit_scale=True,
        leave=False,
        delay=1,
        disable=quiet or not can_animate(sys.stderr),
        dynamic_ncols=True,
    ) as bar:
        yield bar.update


def download_bar(*, quiet: bool) -> "Callable[[int, int], None]":
    """What to call with (bytes so far, bytes in all) during a download; the first call draws the bar."""
    from tqdm import tqdm

    bars: list[tqdm[Any]] = []

    def advance(num_bytes: int, total: int) -> None:
        if not bars:
            is_hidden = quiet or not can_animate(sys.stderr)
            bars.append(tqdm(total=total, desc="download", unit="B", unit_scale=True, leave=False, disable=is_hidden))
        bars[0].update(num_bytes - bars[0].n)
        if num_bytes >= total:
            bars.pop().close()

    return advance

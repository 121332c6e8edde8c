"""From the words of a command line to values: texts, cells and runs."""

import os
import re
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.config import Config
from charrnn.cli.streams import printable, warn


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

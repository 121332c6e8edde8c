"""Errors that a user can correct, and how their messages name parameters.

    CharRNNError              1  an operation failed: a file could not be written, …
    ├── UsageError            2  a parameter or a field of the configuration is out of range
    ├── DataError             3  a text cannot be read, or not by this model
    │   ├── NotHereError      3  a corpus is not on this machine
    │   ├── NoColumnError     3  a table has not the one column that is asked for
    │   └── TextChangedError  3  a text changed while it was read
    ├── CheckpointError       4  a run is missing, damaged or of a newer format
    │   ├── OtherVersionError 4  another version of charrnn saved it
    │   └── FolderOfRunsError 4  a folder with runs in it was named for a run
    ├── NonFiniteError        5  training reached a loss or a gradient that is not finite
    ├── RunInUseError         6  another process is training in the run's folder
    └── OtherProcessError     1  another of the processes that train together failed or ended

The number is the exit code of the command. A message names the value, the allowed range and the
remedy.

A message names a parameter or a field of the configuration by `named("temperature")`, in
backticks, never by an option. The command line shows the option instead, --temp (`cli.streams`).
"""

import copyreg
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def named(name: str, value: object = None) -> str:
    """Return a parameter or a field, alone or with a value, as messages name it: `seed`, `seed=1`.

    A message below `cli` names every parameter by it: Python shows it as it is, the command line as
    an option.
    """
    return f"`{name}`" if value is None else f"`{name}={value}`"


INSTALLERS = {
    "pipx_metadata.json": "pipx runpip charrnn-lab install",
    "uv-receipt.toml": f"uv pip install -p '{sys.prefix}'",
}
"""What installs into the environments of pipx and `uv tool`, whose own pip is not on the path, by a
file in them."""


def install_command() -> str:
    """Return the command that installs the packages of the extra `files`, by what installed
    charrnn: also beside a clone."""
    command = "pip install"
    for name, installer in INSTALLERS.items():
        if Path(sys.prefix, name).exists():
            command = installer
    return f"{command} 'charrnn-lab[files]'"


def counted(num: int, noun: str) -> str:
    """Return a number and its noun, in the singular or the plural: 1 character, 2,000 characters.

    Every number with a noun in a message goes through it.
    """
    if num == 1:
        return f"{num} {noun}"
    return f"{num:,} {noun}s"


def shortened(text: str, most: int = 200) -> str:
    """Return a text for a message, cut to `most` characters.

    A word that a user typed may be a whole text.
    """
    if len(text) <= most:
        return text
    return f"{text[: most - 1]}…"


def listed(words: Iterable[str]) -> str:
    """Return words with commas between them, long ones cut; a sign stands for those after the first
    ten.

    It is for names of which there may be thousands.
    """
    shown = list(map(shortened, words))
    if len(shown) > 10:
        shown[10:] = ["…"]
    return ", ".join(shown)


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: " Did you mean quote?", or "" if none of
    `words` is close.

    Append it wherever a name is unknown and the known ones are few.
    """
    import difflib

    # In lower case, because the case is what is wrong with `QUOTE`. Without dashes, which make all
    # options alike.
    plain = word.lower().lstrip("-")
    names = {one.lstrip("-"): one for one in words}
    # A word that is short for a name, as anna is for anna-karenina; then a slip of the pen.
    near = [name for name in names if len(plain) > 2 and name.startswith(plain)]
    near += difflib.get_close_matches(plain, names, n=1)

    # A word that is written out is near whatever its length: --temperature for --temp.
    near += [name for name in names if len(name) > 2 and plain.startswith(name)]
    if not near:
        return ""
    return f" Did you mean {names[near[0]]}?"


THOUSANDS = re.compile(r"-?[0-9]{1,3}([., '][0-9]{3})+")
"""A number whose thousands are separated, such as 1.000 or 1,000."""


def plain_number(typed: object) -> str:
    """Return the end of a message about a number with separated thousands or a decimal comma: "
    (without separators: 1000)", " (with a decimal point: 0.5)"; "" for anything else.

    It is appended where a number was expected, and tells a user of another country what is wrong.
    """
    if not isinstance(typed, str):
        return ""
    if THOUSANDS.fullmatch(typed):
        return f" (without separators: {re.sub('[^-0-9]', '', typed)})"
    if re.fullmatch(r"-?\d*,\d+", typed):
        return f" (with a decimal point: {typed.replace(',', '.')})"
    return ""


class GivenTextWarning(RuntimeWarning):
    """A warning about a text that a program gave. Commands, which have notes about the texts that
    they read, do not show it.

    A program can make an error of it, or silence it, by `warnings.filterwarnings`.
    """


def warn(message: str, category: type[RuntimeWarning] = RuntimeWarning) -> None:
    """Issue a warning of Python about the line of the program that called charrnn.

    Code that is called by programs alone uses it; what commands call too uses
    `system.progress.warn`, which shows it on stderr.
    """
    frame = sys._getframe()
    level = 1
    # The packages of charrnn call each other: the first line outside of them is the user's.
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)


def _is_ours(module: str) -> bool:
    """Return whether a module belongs to charrnn, or calls one that does for another."""
    return module.partition(".")[0] in ("charrnn", "contextlib", "functools")


class CharRNNError(Exception):
    """Failure of an operation (exit code 1). `message` names the value at fault and the remedy.

    It is the base class of every error that the user of a program can correct:
    `except charrnn.CharRNNError` is enough for a program that shows the message and goes on.
    `UsageError`, `DataError` and `CheckpointError` are for a program that does something else about
    each, and `charrnn.errors` has the rest.
    """

    exit_code = 1

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        """Let other processes make the same error, whatever `__init__` takes."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class UsageError(CharRNNError):
    """A parameter or a field of the configuration has a value that cannot be used (exit code 2).

    What was asked for has to change: the message says what the value may be.
    """

    exit_code = 2


class DataError(CharRNNError):
    """A corpus or a text cannot be read, or not by this model (exit code 3).

    A loop over many files catches it, to leave out those that cannot be read and go on.
    """

    exit_code = 3


class NotHereError(DataError):
    """A corpus is not on this machine. `source` is its name as the user typed it.

    Another name or place may help, unlike with a text that is here and damaged.
    """

    def __init__(self, source: str, message: str):
        super().__init__(message)
        self.source = source


class NoColumnError(DataError):
    """A table or JSON has not the one column that is asked for. `problem` says so, with the columns
    that it has; the message goes on with a remedy.

    Only a training can be given another column: the text that is read by a run has another remedy.
    """

    def __init__(self, problem: str, remedy: str):
        super().__init__(f"{problem}: {remedy}")
        self.problem = problem


class TextChangedError(DataError):
    """A text changed while it was read, so what was read is neither the old text nor the new one.

    Of other unusable files in a folder the rest is read; this one ends the reading, because it
    would be another text at the next one.
    """


class CheckpointError(CharRNNError):
    """A run folder is missing, damaged or of a newer format (exit code 4).

    A program that looks for a run, and trains one if there is none, catches it from `load`.
    """

    exit_code = 4


class OtherVersionError(CheckpointError):
    """Another version of charrnn saved the checkpoint, or one with other packages. It is not
    damaged: falling back to an older checkpoint would lose intact work."""


class FolderOfRunsError(CheckpointError):
    """A folder has runs in it, and was named where a run is expected. `typed` is its name as the
    user typed it, and `names` are those of the runs.

    The command line names a command with all of them, where the command takes several runs.
    """

    def __init__(self, typed: str, *, path: Path, names: Sequence[str]):
        super().__init__(f"{path} is a folder of runs\nname one of them: {listed(names)}")
        self.typed = typed
        self.path = path
        self.names = names


class NonFiniteError(CharRNNError):
    """Training reached a loss or a gradient that is not finite (exit code 5).

    A loop over settings catches it to go on with the next: the run keeps its last checkpoint.
    """

    exit_code = 5


class RunInUseError(CharRNNError):
    """Another process is training in this run folder (exit code 6).

    Reading a run raises it only while the run is just starting: later a run can be read while it is
    trained, but neither resumed nor deleted.
    """

    exit_code = 6


class OtherProcessError(CharRNNError):
    """Another of the processes that train one model together failed or ended; its own message says
    why.

    It is not worth showing beside the message of the process that failed.
    """


def check_length(num_chars: int, least: int, what: str) -> None:
    """Raise DataError for a text of less than `least` characters, which `what` needs."""
    if num_chars < least:
        raise DataError(
            f"The text has {counted(num_chars, 'character')}; {what} needs at least {least:,}. "
            f"Give a longer {named('text')}."
        )

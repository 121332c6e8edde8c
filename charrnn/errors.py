"""Mistakes a person can mend: each carries its message, the way out and the exit code the command ends with."""

from collections.abc import Iterable

MAX_MESSAGE = 200
"""Characters that are shown of the message of an unexpected exception, which may quote a whole file."""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The end of a message about a word that is none of `words`: " Did you mean quote?", or nothing if none is near."""
    import difflib

    # Whatever its case: that is what `QUOTE` has wrong.
    near = difflib.get_close_matches(word.lower(), words, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def describe_unexpected(error: BaseException) -> str:
    """Two lines about an exception that no one foresaw: its type, its message cut to `MAX_MESSAGE`, and the way out."""
    message = " ".join(str(error).split())
    if len(message) > MAX_MESSAGE:
        message = message[: MAX_MESSAGE - 1] + "…"
    colon = ": " if message else ""
    return f"unexpected {type(error).__name__}{colon}{message}\nAdd --debug to see where it happened."


class CharRNNError(Exception):
    """Runtime failure (exit code 1). The message names the value at fault and the next step."""

    exit_code = 1


class UsageError(CharRNNError):
    """An option or a configuration value that cannot be used (exit code 2)."""

    exit_code = 2


class DataError(CharRNNError):
    """A corpus or a text that cannot be read, or not by this model (exit code 3)."""

    exit_code = 3


class NotHereError(DataError):
    """A corpus that leads nowhere on this machine. `source` is its name as it was typed."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__(message)
        self.source = source


class TooLargeError(DataError):
    """A corpus all files of which together are more than this machine's memory can hold."""


class CheckpointError(CharRNNError):
    """A run folder that is missing, damaged or of a newer format (exit code 4)."""

    exit_code = 4


class NonFiniteError(CharRNNError):
    """Training reached a loss or a gradient that is not finite (exit code 5)."""

    exit_code = 5


class RunInUseError(CharRNNError):
    """Another process is training in this run folder (exit code 6)."""

    exit_code = 6

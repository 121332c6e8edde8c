"""Run code that is not part of charrnn, and name its file and line in an error."""

import contextlib
import sys
from collections.abc import Callable
from traceback import walk_tb
from types import FrameType
from typing import Any

from charrnn.errors import UsageError, shortened

MAX_MESSAGE = 500
"""Number of characters that are shown of the message of a foreign error."""


def run_foreign(
    what: str, is_theirs: Callable[[FrameType], bool], function: Callable[..., Any], *arguments: Any
) -> Any:
    """Call a function that is not part of charrnn, and raise its errors as one UsageError.

    Code of others is called by it alone: its faults are then no traceback of charrnn, and its
    `print` spoils no JSON. The message starts with `what` and names the last line in a frame for
    which `is_theirs` holds. What the function prints goes to stderr: stdout is for results.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return function(*arguments)
    except KeyboardInterrupt:  # that of the user
        raise
    # Foreign code may raise anything. It becomes one error, which says whose fault it is.
    except BaseException as error:
        message = shortened(" ".join(str(error).split()), most=MAX_MESSAGE)
        where = ""

        # The place of a syntax error is in no frame: its file was not run.
        if isinstance(error, SyntaxError):
            message = error.msg
            if error.filename:
                where = f" in {error.filename}, line {error.lineno}"

        # The last frame of theirs: the line that failed, or that called a library wrongly.
        for frame, line in walk_tb(error.__traceback__):
            if is_theirs(frame):
                where = f" in {frame.f_code.co_filename}, line {line}"
        raise UsageError(f"{what} failed{where}: {type(error).__name__}: {message}") from error

"""A user's own detector: the matches of a regular expression, or a function in a file of Python."""

import contextlib
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from charrnn.detectors.prose import label_spans
from charrnn.detectors.registry import Detector, Labels
from charrnn.errors import UsageError


def custom_detector(spec: str) -> Detector:
    """The detector of `--detect SPEC`: a file if SPEC ends in .py, else a regular expression.

    The file is run, here and only because it was named; its `label(text)` gives a bool or an int for each character.
    Raises UsageError, here or when it labels, with the file and the line at fault.
    """
    return _from_file(Path(spec)) if spec.endswith(".py") else _from_pattern(spec)


def _from_pattern(spec: str) -> Detector:
    """True inside matches, `^` and `$` at every line.

    A pattern that repeats what repeats, such as (a+)+b, can take for ever on a long text: who calls it may stop it.
    """
    try:
        pattern = re.compile(spec, re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"--detect {spec}: no regular expression: {error}. Write \\ before what is meant as it is."
        ) from None
    if pattern.match(""):
        raise UsageError(f"--detect {spec}: matches nothing at all, so everywhere. Ask for a character: x+, not x*.")

    def label(text: str) -> Labels:
        # A match of no characters is a span of none.
        return label_spans(len(text), (match.span() for match in pattern.finditer(text)))

    return Detector(spec, f"inside what matches {spec}", label)


def _from_file(path: Path) -> Detector:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"--detect {path}: {error.strerror}. Give a file of Python, or a regular expression."
        ) from None
    module = ModuleType(path.stem)
    module.__file__ = str(path)

    def run() -> None:
        exec(compile(source, str(path), "exec"), module.__dict__)

    _guarded(path, run)
    function = getattr(module, "label", None)
    if not callable(function):
        raise UsageError(f"--detect {path}: it has no function label(text).")

    @lru_cache(maxsize=2)  # it may be slow, and one text is labelled to choose, to score and to draw
    def label(text: str) -> Labels:
        return _checked(path, _guarded(path, function, text), text)

    return Detector(path.name, f"label() of {path}", label)


def _guarded(path: Path, function: Callable[..., Any], *arguments: str) -> Any:
    """What the user's code returns; whatever it raises becomes one UsageError with the line of the file.

    What it prints goes to stderr: stdout is for results.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return function(*arguments)
    except (Exception, SystemExit) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        step = error.__traceback__
        while step is not None:
            if step.tb_frame.f_code.co_filename == str(path):
                line = step.tb_lineno
            step = step.tb_next
        where = "" if line is None else f", line {line}"
        what = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UsageError(f"--detect {path}{where}: {type(error).__name__}: {what}") from error


def _checked(path: Path, labels: Any, text: str) -> Labels:
    """The labels as an array (N,) of bool or int64. Raises UsageError for anything else."""
    wanted = f"label() must return a bool or an int for each of the {len(text)} characters"
    if isinstance(labels, str | bytes) or not hasattr(labels, "__len__"):
        raise UsageError(f"--detect {path}: {wanted}, not {type(labels).__name__}.")
    if len(labels) != len(text):
        raise UsageError(f"--detect {path}: {wanted}; it returned {len(labels)}.")
    if not text:
        return np.zeros(0, bool)
    try:
        array = np.asarray(labels)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"--detect {path}: {wanted}: {error}.") from None
    if array.dtype == object and all(isinstance(label, int) for label in labels):
        raise UsageError(f"--detect {path}: {wanted}, of 64 bits at the most.")
    if array.ndim != 1 or array.dtype.kind not in "biu":
        odd = next((label for label in labels if not isinstance(label, int | np.integer | np.bool_)), labels)
        raise UsageError(f"--detect {path}: {wanted}; it returned {odd!r:.60} among them.")
    return array if array.dtype == bool else array.astype(np.int64)

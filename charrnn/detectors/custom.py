"""Make detectors of the user: of a regular expression, of a function in a Python file, or of a
plugin of a package."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np

from charrnn.detectors.detector import Detector, Label, Labels
from charrnn.detectors.prose import label_matches
from charrnn.errors import UsageError
from charrnn.hooks.foreign import run_foreign
from charrnn.hooks.manager import Extension

Run = Callable[..., Any]
"""Calls a function with arguments, and turns an exception of the function into a UsageError."""


def custom_detector(spec: str, name: str | None = None) -> Detector:
    """Return the detector of a Python file if `spec` ends in .py, else of a regular expression.

    Its default name is the name of the file, or the expression. The file is run, because the user
    named it. Its function `label(text)` returns a bool or an int for each character, and always the
    same labels for the same text. The file may import installed packages, but no file beside it.
    Raises UsageError, now or when the detector labels a text, with the wrong file and line.
    """
    detector = _from_file(Path(spec)) if spec.endswith(".py") else _from_pattern(spec)
    if name is not None:
        detector = replace(detector, name=name)
    return detector


def plugin_detector(plugin: Extension) -> Detector:
    """Load a plugin: a Detector, or a function label(text). The first line of the function's
    docstring becomes the description of the detector.

    The name of the detector is the name of the entry point. Raises UsageError, now or when the
    detector labels a text, with the package and the wrong line.
    """
    loaded = plugin.load()
    what = f"The {plugin}"

    # The package offers only a function, or a whole detector.
    if not isinstance(loaded, Detector):
        if not callable(loaded):
            raise UsageError(
                f"{what} is neither a Detector nor a function label(text), but"
                f" {type(loaded).__name__}.\nLeave it out, or install a version of the package in"
                " which it is one."
            )
        description = (loaded.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        loaded = Detector(
            plugin.name, description or f"label() of the package {plugin.package}", label=loaded
        )
    label = _checked(what, run=plugin.run, function=loaded.label)
    return replace(loaded, name=plugin.name, label=label)


def _from_pattern(spec: str) -> Detector:
    """Return a detector that is true inside matches of a regular expression; `^` and `$` match at
    every line.

    A pattern with nested repetition, such as (a+)+b, can take forever on a long text: the user may
    interrupt it.
    """
    try:
        pattern = re.compile(spec, re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"The detector {spec!r} is not a regular expression: {error}. "
            "Write \\ before a character that stands for itself."
        ) from None
    if pattern.match(""):
        raise UsageError(
            f"The detector {spec!r} matches the empty text, so everywhere. Write x+ rather than x*."
        )

    def label(text: str) -> Labels:
        return label_matches(text, matches=pattern.finditer(text))

    return Detector(spec, f"inside matches of {spec}", label=label)


def _from_file(path: Path) -> Detector:
    """Run a Python file of the user, and return the detector of its function `label`. An error of
    the file becomes a UsageError that names the line."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The detector {path} cannot be read: {error.strerror}. Give a Python file."
        ) from None

    # The module is not imported by its name, which another module may have.
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    what = f"The detector {path.name}"

    def is_of_file(frame: FrameType) -> bool:
        return frame.f_code.co_filename == str(path)

    def run(function: Callable[..., Any], *arguments: Any) -> Any:
        return run_foreign(what, is_of_file, function, *arguments)

    # This is the only call of exec in charrnn. Only --detect and `custom_detector` may
    # lead here, never a file of a run or a corpus.
    run(lambda: exec(compile(source, str(path), "exec"), module.__dict__))
    function = getattr(module, "label", None)
    if not callable(function):
        raise UsageError(f"{what} has no function label(text), which it must define.")
    label = _checked(what, run=run, function=function)
    return Detector(path.name, f"label() of {path}", label=label)


def _checked(what: str, run: Run, function: Callable[[str], Any]) -> Label:
    """Return a labelling function that calls `function` by `run` and checks the labels."""

    # The function may be slow, and the same text is labelled to choose a cell, to score the cell
    # and to draw it.
    @lru_cache(maxsize=2)
    def label(text: str) -> Labels | None:
        # The function is called twice to check that it returns the same labels: a cell must be
        # chosen and scored by the same labels.
        first = _as_array(what, run=run, labels=run(function, text), text=text)
        second = _as_array(what, run=run, labels=run(function, text), text=text)
        # None, for a text to which it does not apply, equals itself, too.
        if not np.array_equal(first, second):  # type: ignore[arg-type]
            raise UsageError(
                f"{what} returned other labels when it was called again with the same text. Let it"
                " use no random numbers, or seed them in each call, and keep nothing from one call"
                " to the next."
            )
        return first

    return label


def _as_array(what: str, run: Run, labels: Any, text: str) -> Labels | None:
    """Return the labels as an array (N,) of bool or int64, or None. Raises UsageError for anything
    else."""
    if labels is None:
        return None
    # An empty list has no type.
    if not text:
        return np.zeros(0, bool)

    # The labels may have a class of the user. They are copied, because the function may use the
    # same array in every call.
    array = run(np.asarray, labels)
    if array.shape != (len(text),) or array.dtype.kind not in "biu":
        raise UsageError(
            f"{what} must return a bool or an int for each of the {len(text)} characters; it"
            f" returned {run(repr, labels):.60}."
        )
    is_bool = array.dtype == bool
    return np.array(array, bool if is_bool else np.int64)

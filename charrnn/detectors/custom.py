"""Detectors from outside of charrnn: a regular expression, a function in a Python file, or a plugin
of a package."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from charrnn.detectors.detector import Detector, Label, Labels
from charrnn.detectors.prose import label_spans
from charrnn.errors import UsageError
from charrnn.hooks.manager import Extension, run_foreign

Run = Callable[..., Any]
"""Calls a function with arguments, and turns what it raises into a UsageError."""


def custom_detector(spec: str, name: str | None = None) -> Detector:
    """Return the detector of a file if `spec` ends in .py, else that of a regular expression; by
    default named so.

    The file is run, because it was named; its function `label(text)` returns a bool or an int for
    each character, the same ones for the same text. It may import installed packages, but no file
    beside it. Raises UsageError, here or when it labels, with the file and the line at fault.
    """
    found = _from_file(Path(spec)) if spec.endswith(".py") else _from_pattern(spec)
    if name is not None:
        found = replace(found, name=name)
    return found


def plugin_detector(plugin: Extension) -> Detector:
    """Load a plugin: a Detector, or a function label(text) whose docstring starts with what it
    looks for.

    The name is that of the entry point. Raises UsageError, here or when it labels, with the package
    and the line at fault.
    """
    loaded = plugin.load()
    what = f"The {plugin}"

    # The package may offer a whole detector …
    if isinstance(loaded, Detector):
        label = _checked(what, run=plugin.run, function=loaded.label, may_be_none=True)
        return replace(loaded, name=plugin.name, label=label)

    # … or only its function.
    if not callable(loaded):
        raise UsageError(
            f"{what} is neither a Detector nor a function label(text), but"
            f" {type(loaded).__name__}.\nLeave it out, or install a version of the package in which"
            " it is one."
        )
    description = (loaded.__doc__ or "").strip().partition("\n")[0].rstrip(".")
    return Detector(
        plugin.name,
        description or f"label() of the package {plugin.package}",
        label=_checked(what, run=plugin.run, function=loaded, may_be_none=True),
    )


def _from_pattern(spec: str) -> Detector:
    """True inside matches; `^` and `$` match at every line.

    A pattern with nested repetition, such as (a+)+b, can take forever on a long text: the caller
    may interrupt it.
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
        # An empty match is an empty span.
        return label_spans(len(text), spans=(match.span() for match in pattern.finditer(text)))

    return Detector(spec, f"inside matches of {spec}", label=label)


def _from_file(path: Path) -> Detector:
    what = f"The detector {path.name}"
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The detector {path} cannot be read: {error.strerror}. Give a Python file, or a"
            " regular expression."
        ) from None

    # A module of its own that is not imported by name: the folder may have others of this name.
    module = ModuleType(path.stem)
    module.__file__ = str(path)

    def run(function: Callable[..., Any], *arguments: Any) -> Any:
        return run_foreign(
            what, lambda frame: frame.f_code.co_filename == str(path), function, *arguments
        )

    # The one call of exec in charrnn. Only --detect and `custom_detector` lead here: no file of a
    # run, no corpus may.
    run(lambda: exec(compile(source, str(path), "exec"), module.__dict__))
    function = getattr(module, "label", None)
    if not callable(function):
        raise UsageError(f"{what} has no function label(text), which it must define.")
    return Detector(
        path.name,
        f"label() of {path}",
        label=_checked(what, run=run, function=function, may_be_none=False),
    )


def _checked(what: str, run: Run, function: Callable[[str], Any], *, may_be_none: bool) -> Label:
    """Return a labelling function that calls `function` by `run` and checks what it returns."""

    def label_once(text: str) -> Labels | None:
        labels = run(function, text)
        return (
            None
            if labels is None and may_be_none
            else _as_array(what, run=run, labels=labels, text=text)
        )

    # It may be slow, and the same text is labelled to choose a cell, to score and to draw it.
    @lru_cache(maxsize=2)
    def label(text: str) -> Labels | None:
        # Twice: a cell must not be chosen by other labels than those that score it.
        first = label_once(text)
        second = label_once(text)
        is_same = first is second
        if first is not None and second is not None:
            is_same = np.array_equal(first, second)
        if not is_same:
            raise UsageError(
                f"{what} returned other labels when it was called again with the same text. Let it"
                " use no random numbers, or seed them in each call, and keep nothing from one call"
                " to the next."
            )
        return first

    return label


def _as_array(what: str, run: Run, labels: Any, text: str) -> Labels:
    """Return the labels as an array (N,) of bool or int64. Raises UsageError for anything else."""
    # One label for each character …
    wanted = f"{what} must return a bool or an int for each of the {len(text)} characters"
    if isinstance(labels, str | bytes) or not hasattr(labels, "__len__"):
        raise UsageError(f"{wanted}, not {type(labels).__name__}.")
    if (num_labels := run(len, labels)) != len(text):
        raise UsageError(f"{wanted}; it returned {num_labels}.")
    # An empty list has no type.
    if not text:
        return np.zeros(0, bool)

    # … of which each is a bool or an int that fits.
    try:
        array = np.asarray(labels)
    except Exception as error:  # The labels may be of a class of the same file.
        raise UsageError(f"{wanted}: {error}.") from None
    if array.dtype == object and all(isinstance(label, int) for label in labels):
        raise UsageError(f"{wanted}, of at most 64 bits.")
    if array.ndim != 1 or array.dtype.kind not in "biu":
        # Name the first label that is wrong; all of them, if each by itself is right.
        odd = labels
        for label in labels:
            if not isinstance(label, int | np.integer | np.bool_):
                odd = label
                break
        raise UsageError(f"{wanted}; one of them is {odd!r:.60}.")
    # A copy, because the function may use one array for all calls.
    return array.astype(bool if array.dtype == bool else np.int64)

"""Find detectors by name: the detectors of charrnn, and those of installed packages."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from string import ascii_uppercase
from types import FrameType, ModuleType
from typing import Any

import numpy as np

from charrnn.detectors import notations, prose, source
from charrnn.detectors.detector import Detector, Label, Labels
from charrnn.detectors.prose import label_matches
from charrnn.errors import UsageError, did_you_mean
from charrnn.hooks.foreign import run_foreign
from charrnn.hooks.manager import Extension, find_extension, leave_out, offered_names

Run = Callable[..., Any]
"""Calls a function with arguments, and turns an exception of the function into a UsageError."""


def custom_detector(
    spec: str, name: str | None = None, *, spellings: Sequence[str] = ()
) -> Detector:
    """Return the detector of a Python file if `spec` ends in .py, else of a regular expression.

    It is for what a user types; a program makes a `Detector` of a function.

    Its default name is the name of the file, or the expression. The file is run, because the user
    named it. Its function `label(text)` returns a bool or an int for each character, and always the
    same labels for the same text. The file may import installed packages, but no file beside it.
    `spellings` are expressions whose matches are labelled, too: the same expression with its
    letters and accents written otherwise. Raises UsageError, now or when the detector labels a
    text, with the wrong file and line.
    """
    detector = _from_file(Path(spec)) if spec.endswith(".py") else _from_pattern(spec, spellings)
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


def _from_pattern(spec: str, spellings: Sequence[str]) -> Detector:
    """Return a detector that is true inside matches of a regular expression or of one of its
    `spellings`; `^` and `$` match at every line."""
    # Each expression is compiled by itself: joined by |, flags such as (?i) would not stand at the
    # beginning, and the names and numbers of groups would occur twice.
    patterns = [_compiled(expression) for expression in dict.fromkeys([spec, *spellings])]

    def label(text: str) -> Labels:
        labels = [label_matches(text, matches=pattern.finditer(text)) for pattern in patterns]
        return np.asarray(np.logical_or.reduce(labels))

    return Detector(spec, f"inside matches of {spec}", label=label)


def _compiled(expression: str) -> re.Pattern[str]:
    """Compile the regular expression of a detector. Raises UsageError.

    A pattern with nested repetition, such as (a+)+b, can take forever on a long text: the user may
    interrupt it.
    """
    try:
        pattern = re.compile(expression, re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"The detector {expression!r} is not a regular expression: {error}. "
            "Write \\ before a character that stands for itself."
        ) from None
    if pattern.match(""):
        raise UsageError(
            f"The detector {expression!r} matches the empty text, so everywhere. Write x+ rather"
            " than x*."
        )
    return pattern


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
    """Return a function that labels a text by calling `function` by `run`, and checks the labels:
    it raises UsageError unless they are one bool or int for each character, or None."""

    # The function may be slow, and the same text is labelled to choose a cell, to score the cell
    # and to draw it.
    @lru_cache(maxsize=2)
    def label(text: str) -> Labels | None:
        labels = run(function, text)
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

    return label


_OF_SOURCE: dict[str, Any] = {
    "absence": "this text is not source code",
    "is_of_kind": source.looks_like_source,
}
_OF_MOLECULES: dict[str, Any] = {
    "absence": "this text is not SMILES",
    "is_of_kind": notations.looks_like_smiles,
}
_OF_TUNES: dict[str, Any] = {
    "absence": "this text is not ABC",
    "is_of_kind": notations.looks_like_abc,
}


_BUILT_IN = (
    Detector("quote", "inside double quotation marks", label=prose.label_quotes, output='"”»'),
    Detector(
        "line-position",
        "characters read on this line",
        label=prose.label_line_position,
        output="\n",
    ),
    Detector(
        "line-length", "characters left on this line", label=prose.label_line_length, output="\n"
    ),
    Detector(
        "newline-next",
        "the next character is a newline",
        label=prose.label_newline_next,
        output="\n",
    ),
    Detector(
        "indentation", "spaces this line starts with", label=prose.label_indentation, output=" \t"
    ),
    Detector(
        "word-position", "characters read of this word", label=prose.label_word_position, output=" "
    ),
    Detector(
        "capital",
        "inside a word in capitals",
        label=prose.label_capitals,
        output=ascii_uppercase,
    ),
    Detector("digit", "inside a number", label=prose.label_digits, output="0123456789"),
    Detector("url", "inside a web address", label=prose.label_urls),
    Detector(
        "speaker",
        "inside a speaker's name in a play",
        label=prose.label_speakers,
        absence="this text is not a play",
        is_of_kind=prose.is_play,
    ),
    Detector(
        "latex-math",
        "inside LaTeX mathematics",
        label=source.label_latex_math,
        absence="this text is not LaTeX",
        is_of_kind=source.looks_like_latex,
    ),
    Detector(
        "string",
        "inside a string of source code or JSON",
        label=source.label_strings,
        output="\"'",
        absence="this text is neither source code nor JSON",
        is_of_kind=source.has_strings,
    ),
    Detector(
        "comment", "inside a comment of source code", label=source.label_comments, **_OF_SOURCE
    ),
    Detector(
        "bracket-depth",
        "open brackets of source code, JSON or a molecule",
        label=source.label_bracket_depth,
        output=")]}",
        absence="this text is neither source code nor JSON nor SMILES",
        is_of_kind=lambda text: source.has_strings(text) or notations.looks_like_smiles(text),
    ),
    Detector(
        "if-statement",
        "in the condition or body of an if",
        label=source.label_if_statements,
        **_OF_SOURCE,
    ),
    Detector(
        "open-rings", "open rings of a molecule", label=notations.label_rings, **_OF_MOLECULES
    ),
    Detector(
        "aromatic", "the last atom is aromatic", label=notations.label_aromatic, **_OF_MOLECULES
    ),
    Detector("note", "a note or rest of a tune", label=notations.label_notes, **_OF_TUNES),
    Detector("bar-position", "notes read of this bar", label=notations.label_bar, **_OF_TUNES),
    Detector("key", "sharps of the key, less flats", label=notations.label_key, **_OF_TUNES),
)
DETECTORS = {detector.name: detector for detector in _BUILT_IN}
"""The detectors that come with charrnn, by name."""


def get_detectors(chosen: Sequence[str | Detector] | None) -> list[Detector]:
    """Return the chosen detectors, which are names or detectors, or one name; if none is chosen,
    return all detectors of charrnn, then those of installed packages.

    Every function that takes detectors or their names calls it first. A detector that is chosen by
    its name labels a text of any kind. Raises UsageError for an unknown or ambiguous name, and for
    a chosen detector of a package that cannot be loaded. One that was not chosen is left out then,
    with a warning.

    >>> [detector.name for detector in get_detectors(["quote", "digit"])]
    ['quote', 'digit']
    """
    if not chosen:
        return [*DETECTORS.values(), *_of_packages()]
    # A name is a sequence of letters, which nobody means.
    if isinstance(chosen, str):
        chosen = [chosen]
    # A detector that is named twice is used once.
    return [_find(item) if isinstance(item, str) else item for item in dict.fromkeys(chosen)]


def _of_packages() -> list[Detector]:
    """Return the detectors of installed packages. One that fails is left out with a warning."""
    found = []
    for name in offered_names("detectors"):
        try:
            detector = _find(name)
        except UsageError as error:
            leave_out(str(error))
            continue
        found.append(replace(detector, label=partial(_label_or_leave_out, detector)))
    return found


def _label_or_leave_out(detector: Detector, text: str) -> Labels | None:
    """Label a text by a detector that nobody named."""
    try:
        return detector.label(text)
    except UsageError as error:
        leave_out(str(error))
        return None


def _find(name: str) -> Detector:
    # A package may have a detector of a built-in name, which is refused as ambiguous.
    plugin = find_extension("detectors", kind="detector", name=name, built_in=DETECTORS)
    if plugin is not None:
        return plugin_detector(plugin)
    if name not in DETECTORS:
        # The user may have misspelled the name of a detector of a package.
        names = [*DETECTORS, *offered_names("detectors")]
        hint = did_you_mean(name, names)
        raise UsageError(
            f"There is no detector {name!r}.{hint} The detectors are {', '.join(names)}."
        )
    return replace(DETECTORS[name], is_of_kind=None)

"""The detectors by name: those that come with charrnn, and those that installed packages offer.

This module imports neither NumPy nor the code of any detector, so that the help texts can list them
at no cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from charrnn.detectors.detector import Detector
from charrnn.errors import UsageError, did_you_mean
from charrnn.hooks.manager import find_extension, offered_names
from charrnn.hooks.specifications import detectors


def _function(place: str) -> Callable[[str], Any]:
    """Return the function `module:name` of this package, which is imported when it is first
    called."""
    module, _, name = place.partition(":")

    def function(text: str) -> Any:
        return getattr(import_module(f"charrnn.detectors.{module}"), name)(text)

    return function


def _for_kind(name: str, looks_for: str, label: str, is_of_kind: str, absence: str) -> Detector:
    """Return a detector that labels a text only if a function finds it to be of the right kind,
    unless it is named."""
    label_any, applies = _function(label), _function(is_of_kind)
    return Detector(
        name, looks_for, lambda text: label_any(text) if applies(text) else None, absence, label_any
    )


_PLAY = ("prose:is_play", "this text is not a play")
_LATEX = ("source:looks_like_latex", "this text is not LaTeX")
_SOURCE = ("source:looks_like_source", "this text is not source code")
_NO_FORMAL = "this text is not of that formal language"
_BUILT_IN = (
    Detector("quote", "inside double quotation marks", _function("prose:label_quotes")),
    Detector(
        "line-position", "characters read on this line", _function("prose:label_line_position")
    ),
    Detector("line-length", "characters left on this line", _function("prose:label_line_length")),
    Detector(
        "newline-next", "the next character is a newline", _function("prose:label_newline_next")
    ),
    Detector("indentation", "spaces this line starts with", _function("prose:label_indentation")),
    Detector(
        "word-position", "characters read of this word", _function("prose:label_word_position")
    ),
    Detector("capital", "inside a word in capitals", _function("prose:label_capitals")),
    Detector("digit", "inside a number", _function("prose:label_digits")),
    Detector("url", "inside a web address", _function("prose:label_urls")),
    _for_kind("speaker", "inside a speaker's name in a play", "prose:label_speakers", *_PLAY),
    _for_kind("latex-math", "inside LaTeX mathematics", "source:label_latex_math", *_LATEX),
    _for_kind("string", "inside a string of source code", "source:label_strings", *_SOURCE),
    _for_kind("comment", "inside a comment of source code", "source:label_comments", *_SOURCE),
    _for_kind(
        "bracket-depth", "open brackets of source code", "source:label_bracket_depth", *_SOURCE
    ),
    _for_kind(
        "if-statement", "in the condition or body of an if", "source:label_if_statements", *_SOURCE
    ),
    Detector(
        "a-minus-b", "a's minus b's of this string", _function("formal:label_a_minus_b"), _NO_FORMAL
    ),
    Detector(
        "b-minus-c", "b's minus c's of this string", _function("formal:label_b_minus_c"), _NO_FORMAL
    ),
    Detector(
        "dyck-depth",
        "open brackets of this string",
        _function("formal:label_dyck_depth"),
        _NO_FORMAL,
    ),
    Detector("parity", "after an odd number of ones", _function("formal:label_parity"), _NO_FORMAL),
    Detector(
        "copy-position",
        "characters copied so far",
        _function("formal:label_copy_position"),
        _NO_FORMAL,
    ),
)
DETECTORS = {detector.name: detector for detector in _BUILT_IN}
"""The detectors that come with charrnn, by name."""


def get_detectors(chosen: Sequence[str | Detector] | None) -> list[Detector]:
    """Return the named detectors, and those given as they are; all that come with charrnn if none
    is chosen.

    A detector that is named labels a text of any kind (`Detector.for_any_text`); a formal language
    has to be one. A name may be that of a detector that an installed package offers. Such detectors
    are used only where they are named, so that the same command gives the same table on every
    machine. Raises UsageError for an unknown or ambiguous name, and for a detector of a package
    that cannot be loaded.
    """
    if not chosen:
        return list(DETECTORS.values())
    return [_find(item) if isinstance(item, str) else item for item in dict.fromkeys(chosen)]


def _find(name: str) -> Detector:
    plugin = find_extension(detectors, kind="detector", name=name, built_in=DETECTORS)
    if plugin is not None:
        from charrnn.detectors.custom import plugin_detector

        return plugin_detector(plugin)
    if name not in DETECTORS:
        names = [*DETECTORS, *offered_names(detectors)]
        near = did_you_mean(name, names)
        raise UsageError(
            f"There is no detector {name!r}.{near} The detectors are {', '.join(names)}."
        )
    return DETECTORS[name].for_any_text()

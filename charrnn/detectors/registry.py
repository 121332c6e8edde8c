"""Find detectors by name: the detectors of charrnn, and those of installed packages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from string import ascii_uppercase
from typing import Any

from charrnn.detectors import notations, prose, source
from charrnn.detectors.custom import plugin_detector
from charrnn.detectors.detector import Detector, Labels
from charrnn.errors import UsageError, did_you_mean
from charrnn.hooks.manager import find_extension, leave_out, offered_names

# Prose has brackets and quotation marks, too, but no strings and comments.
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

    A detector that is chosen by its name labels a text of any kind (`Detector.for_any_text`).
    Raises UsageError for an unknown or ambiguous name, and for a chosen detector of a package that
    cannot be loaded. One that was not chosen is left out then, with a warning.

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
    return DETECTORS[name].for_any_text()

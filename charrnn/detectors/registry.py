"""Text to one label per character: what a cell might be keeping track of. No torch, no model.

A label says what holds *after reading* its character: the opening quotation mark is inside, the closing one is not.
An opening mark of several characters (`//`, `if`, `http://`) is inside from its first.
Yes/no labels are bool arrays (N,), counts are int64 arrays (N,).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.latex import label_latex_math
from charrnn.detectors.prose import (
    label_capitals,
    label_digits,
    label_indentation,
    label_line_length,
    label_line_position,
    label_newline_next,
    label_quotes,
    label_speakers,
    label_urls,
    label_word_position,
)
from charrnn.detectors.regions import Region, SourceLabels
from charrnn.detectors.source import looks_like_source, scan_source
from charrnn.errors import UsageError, did_you_mean

Labels = NDArray[Any]
MIN_POSITIVES = 50
"""Fewer characters than this inside, and a yes/no detector is not scored."""
MIN_SPANS = 5
"""Fewer separate spans than this, and it is not scored either."""


@dataclass(frozen=True, slots=True)
class Detector:
    """A named labelling. `label` maps a text of N characters to labels (N,), or to None where it does not apply."""

    name: str
    looks_for: str
    label: Callable[[str], Labels | None]
    absence: str = "this text has nothing of the kind"
    """Why a text without labels has none."""

    def knowing(self, labels: Labels) -> "Detector":
        """The same detector for a part of a text, whose labels are known from the whole: a part may begin inside."""
        return replace(self, label=lambda part: labels)


def _in_source(labels_of: Callable[[SourceLabels], Labels]) -> Callable[[str], Labels | None]:
    return lambda text: labels_of(scan_source(text)) if looks_like_source(text) else None


NO_SOURCE = "this text is not source code"
DETECTORS: dict[str, Detector] = {
    detector.name: detector
    for detector in (
        Detector("quote", "inside double quotation marks", label_quotes),
        Detector("line-position", "characters read on this line", label_line_position),
        Detector("line-length", "characters left on this line", label_line_length),
        Detector("newline-next", "the next character is a newline", label_newline_next),
        Detector("indentation", "spaces this line starts with", label_indentation),
        Detector("word-position", "characters read of this word", label_word_position),
        Detector("capital", "inside a word in capitals", label_capitals),
        Detector("digit", "inside a number", label_digits),
        Detector("url", "inside an address on the web", label_urls),
        Detector("speaker", "inside the name of who speaks in a play", label_speakers, "this text is not a play"),
        Detector("latex-math", "inside mathematics in LaTeX", label_latex_math, "this text is not LaTeX"),
        Detector(
            "string", "inside a string of source code", _in_source(lambda it: it.regions == Region.STRING), NO_SOURCE
        ),
        Detector(
            "comment", "inside a comment of source code", _in_source(lambda it: it.regions == Region.COMMENT), NO_SOURCE
        ),
        Detector("bracket-depth", "open brackets of source code", _in_source(lambda it: it.depths), NO_SOURCE),
        Detector("if-statement", "the condition or body of an if", _in_source(lambda it: it.in_if), NO_SOURCE),
    )
}


def get_detectors(chosen: Sequence[str | Detector] | None) -> list[Detector]:
    """The named detectors and those given as they are; all built-in ones if none is.

    Raises UsageError for a name there is not.
    """
    for name in chosen or ():
        if isinstance(name, str) and name not in DETECTORS:
            near = did_you_mean(name, DETECTORS)
            raise UsageError(f"There is no detector {name!r}. The detectors are {', '.join(DETECTORS)}.{near}")
    return [DETECTORS[one] if isinstance(one, str) else one for one in dict.fromkeys(chosen or DETECTORS)]


def why_not_scored(labels: Labels | None, absence: str = NO_SOURCE) -> str | None:
    """Why these labels (N,) cannot be scored, or None if they can. `absence` is said where there are none."""
    if labels is None:
        return absence
    if labels.dtype != bool:
        return _why_count_not_scored(labels)
    num_inside = int(labels.sum())
    num_spans = int(np.diff(labels.astype(np.int8), prepend=0).clip(0).sum())
    if num_inside == 0:
        return "there are none in this text"
    if num_inside < MIN_POSITIVES or num_spans < MIN_SPANS:
        return f"too little to see: {num_spans} spans, {num_inside} characters inside"
    if len(labels) - num_inside < MIN_POSITIVES:
        return "nearly every character is inside"
    return None


def _why_count_not_scored(counts: Labels) -> str | None:
    num_changes = int(np.count_nonzero(np.diff(counts)))
    if num_changes == 0:
        return "it never changes in this text"
    num_unusual = len(counts) - int(np.unique(counts, return_counts=True)[1].max())
    # A stretch of another value is two changes.
    if num_unusual < MIN_POSITIVES or num_changes < 2 * MIN_SPANS:
        return f"too little to see: it changes {num_changes} times, {num_unusual} characters are not as most are"
    return None

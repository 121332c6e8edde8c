"""Text to one label per character: what a cell might be keeping track of. No torch, no model.

A label says what holds *after reading* its character: the opening quotation mark is inside, the closing one is not.
Yes/no labels are bool arrays (N,), counts are int64 arrays (N,).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError
from charrnn.microscope.source import Region, looks_like_source, scan_source

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


def label_quotes(text: str) -> Labels:
    """True inside double quotation marks, straight or curly. A blank line ends a quotation; apostrophes are not."""
    inside = np.zeros(len(text), bool)
    is_open, begin = False, 0
    for match in re.finditer('["“”]|\n[ \t\r]*\n', text):
        # A mark counts as read with itself; that a line is blank is known only after its newline.
        changed = match.end() - 1
        inside[begin:changed] = is_open
        begin = changed
        is_open = {"“": True, "”": False, "\n": False}.get(text[changed], not is_open)
    inside[begin:] = is_open
    return inside


def _newlines(text: str) -> NDArray[np.int64]:
    return np.array([match.start() for match in re.finditer("\n", text)], np.int64)


def label_line_position(text: str) -> Labels:
    """Characters read on this line so far: 1 after a line's first character, 0 after the newline."""
    newlines, index = _newlines(text), np.arange(len(text))
    line_starts = np.append(0, newlines + 1)[np.searchsorted(newlines, index)]
    positions = np.asarray(index - line_starts + 1)
    positions[newlines] = 0
    return positions


def label_line_length(text: str) -> Labels:
    """Characters left before the next newline: after a newline, the length of the next line."""
    newlines, index = _newlines(text), np.arange(len(text))
    line_ends = np.append(newlines, len(text))[np.searchsorted(newlines, index, side="right")]
    return np.asarray(line_ends - index - 1)


def label_indentation(text: str) -> Labels:
    """Spaces (and tabs, each one) that this line starts with; while reading them, how many so far."""
    depth = np.zeros(len(text), np.int64)
    for match in re.finditer(r"(?m)^([ \t]*)[^\n]*\n?", text):
        width = len(match[1])
        depth[match.start() : match.end()] = width
        depth[match.start() : match.start() + width] = np.arange(1, width + 1)
    return depth


def _in_source(region: Region) -> Callable[[str], Labels | None]:
    def label(text: str) -> Labels | None:
        return scan_source(text).regions == region if looks_like_source(text) else None

    return label


def label_bracket_depth(text: str) -> Labels | None:
    """How many brackets of source code are open; None for a text that is no source code."""
    return scan_source(text).depths if looks_like_source(text) else None


DETECTORS: dict[str, Detector] = {
    detector.name: detector
    for detector in (
        Detector("quote", "inside double quotation marks", label_quotes),
        Detector("line-position", "characters read on this line", label_line_position),
        Detector("line-length", "characters left on this line", label_line_length),
        Detector("indentation", "spaces this line starts with", label_indentation),
        Detector("string", "inside a string of source code", _in_source(Region.STRING)),
        Detector("comment", "inside a comment of source code", _in_source(Region.COMMENT)),
        Detector("bracket-depth", "open brackets of source code", label_bracket_depth),
    )
}


def get_detectors(names: list[str] | None) -> list[Detector]:
    """The named detectors, or all of them. Raises UsageError for a name there is not."""
    for name in names or []:
        if name not in DETECTORS:
            raise UsageError(f"There is no detector {name!r}. The detectors are {', '.join(DETECTORS)}.")
    return [DETECTORS[name] for name in names or DETECTORS]


def why_not_scored(labels: Labels | None) -> str | None:
    """Why these labels (N,) cannot be scored, or None if they can."""
    if labels is None:
        return "this text is not source code"
    if labels.dtype != bool:
        return None if len(labels) > 1 and np.ptp(labels) > 0 else "it never changes in this text"
    num_inside = int(labels.sum())
    num_spans = int(np.diff(labels.astype(np.int8), prepend=0).clip(0).sum())
    if num_inside == 0:
        return "there are none in this text"
    if num_inside < MIN_POSITIVES or num_spans < MIN_SPANS:
        return f"too little to see: {num_spans} spans, {num_inside} characters inside"
    if len(labels) - num_inside < MIN_POSITIVES:
        return "nearly every character is inside"
    return None

"""Detectors, their labels, and a check whether there are enough labels to score a cell.

A label describes the text *after reading* its character: an opening quotation mark is inside a
quotation, a closing mark is not. All characters of a longer opening mark (`//`, `if`, `http://`)
are inside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import counted

Labels = NDArray[Any]
"""Labels (N,) of a text of N characters: bool for a yes/no detector, int64 for a count detector."""
Label = Callable[[str], Labels | None]
"""A function from a text of N characters to its labels (N,), or to None if the detector does not
apply to the text."""
MIN_POSITIVES = 50
"""A yes/no detector is scored if at least this many characters are inside, and as many outside."""
MIN_SPANS = 5
"""A yes/no detector is scored if there are at least this many spans, a count detector if it rises
or falls at least twice as often."""


@dataclass(frozen=True)
class Detector:
    """A named function that labels every character of a text.

    Whoever looks for cells that follow a property of one's own makes one, and gives it to `survey`,
    `study` or `find_cells` among the names of others. `--detect` of a command makes one of a file
    or of a regular expression (`registry`).

    >>> Detector("vowel", "a vowel", lambda text: np.isin([*text], [*"aeiou"]))
    """

    name: str
    """The name by which it is chosen, such as `quote`."""
    looks_for: str
    """The meaning of the labels in a few words."""
    label: Label
    """A function of a text that returns its labels (N,), booleans or counts; None if the detector
    does not apply to it."""
    absence: str = "this text has nothing of the kind"
    """The reason, for messages, why a text has no labels."""
    is_of_kind: Callable[[str], bool] | None = None
    """Whether a text is of the kind to which the detector applies; None for any text. A detector
    that the user names is used for every text."""
    output: str = ""
    """The characters that become likelier or less likely next where the property holds; "" for the
    character whose frequency differs most (`analyses.evidence`)."""

    def labels_of(self, text: str) -> Labels | None:
        """Label a text; return None if the detector does not apply to it.

        An END (U+0000), with which documents end, counts as a blank line. Call it rather than the
        function `label`, which does not know END, and labels also a text of another kind.

        Args:
            text: A text of N characters.

        Returns:
            An array (N,) of booleans or counts, or None.

        Example:
            >>> from charrnn.detectors.registry import DETECTORS
            >>> DETECTORS["digit"].labels_of("in 1905,").tolist()
            [False, False, False, True, True, True, True, False]
        """
        with_blank_lines = text.replace("\0", "\n\n")
        if self.is_of_kind is not None and not self.is_of_kind(with_blank_lines):
            return None
        labels = self.label(with_blank_lines)
        if labels is not None and "\0" in text:
            # Each END became two newlines, and gets the label of the second one.
            codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
            ends = np.flatnonzero(codes == 0)
            labels = np.delete(labels, ends + np.arange(len(ends)))
        return labels


def why_not_scored(labels: Labels) -> str | None:
    """Return the reason why these labels (N,) cannot be scored, or None if they can.

    A detector that never changes, or never returns, has scores that mean nothing.
    """
    # A count must return to its values often, and not only in a few characters. A count that only
    # rises, such as the position in a text of one line, has no value that is in both halves of the
    # text.
    if labels.dtype != bool:
        steps = np.diff(labels)
        directions = np.sign(steps[steps != 0])
        if len(directions) == 0:
            return "it never changes in this text"
        num_unusual = len(labels) - int(np.unique(labels, return_counts=True)[1].max())
        # A segment with another value has a rise and a fall.
        num_turns = 1 + int(np.count_nonzero(np.diff(directions)))
        if num_unusual < MIN_POSITIVES or num_turns < 2 * MIN_SPANS:
            turns = counted(num_turns, "time")
            unusual = counted(num_unusual, "character")
            return f"too few: it rises or falls {turns}, {unusual} with another value than most"
        return None

    # For yes/no labels, one long span proves nothing: a cell may follow the topic by chance.
    num_inside = int(labels.sum())
    num_spans = int(np.diff(labels.astype(np.int8), prepend=0).clip(0).sum())
    if num_inside == 0:
        return "there are none in this text"
    if num_inside < MIN_POSITIVES or num_spans < MIN_SPANS:
        return f"too few: {counted(num_spans, 'span')}, {counted(num_inside, 'character')} inside"
    if len(labels) - num_inside < MIN_POSITIVES:
        return "nearly every character is inside"
    return None

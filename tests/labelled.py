"""Compare labels with a readable table: a mark below each character.

In a text ¶ stands for a newline and → for a tab. Labels: Q inside, . outside, ? either; counts are digits, a = 10.
"""

from charrnn.detectors.detector import Labels
from charrnn.detectors.registry import DETECTORS

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def rows(table: str) -> dict[str, tuple[str, str]]:
    """Read a table with three lines a row: what the row shows, a text, and the mark below each character."""
    lines = table.strip("\n").split("\n")
    return {what: (text, marks) for what, text, marks in zip(lines[::3], lines[1::3], lines[2::3], strict=True)}


def label(name: str, text: str) -> Labels:
    """Return the labels of a detector that applies to the text."""
    labels = DETECTORS[name].label(text)
    assert labels is not None
    return labels


def check(name: str, text: str, expected: str, header: str = "") -> None:
    """Assert the labels of `text` after `header`, which determines the kind of the text."""
    assert len(text) == len(expected), "text and labels differ in length"
    labels = label(name, header + text.replace("¶", "\n").replace("→", "\t"))[len(header) :]
    marks = "".join(".Q"[int(x)] for x in labels) if labels.dtype == bool else "".join(DIGITS[x] for x in labels)
    hidden = "".join("?" if want == "?" else mark for mark, want in zip(marks, expected, strict=True))
    assert hidden == expected, f"\n{text}\n{marks}"

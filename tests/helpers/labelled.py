"""Compare labels with a readable table: a mark below each character.

In a text ¶ stands for a newline, ␍ for a carriage return and → for a tab. Labels: Q inside, .
outside, ? either; counts are digits, a = 10.
"""

from charrnn.detectors.detector import Labels
from charrnn.detectors.registry import DETECTORS

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def rows(table: str) -> dict[str, tuple[str, str]]:
    """Read a table with two lines a row: a text, and the marks below it, after which stands what
    the row shows."""
    lines = table.strip("\n").split("\n")
    pairs = (
        (text, *marks.split("  ", 1)) for text, marks in zip(lines[::2], lines[1::2], strict=True)
    )
    return {what: (text, marks) for text, marks, what in pairs}


def label(name: str, text: str) -> Labels:
    """Return the labels of a detector that applies to the text."""
    labels = DETECTORS[name].labels_of(text)
    assert labels is not None
    return labels


def check_marks(text: str, labels: Labels, expected: str, symbols: str) -> None:
    """Assert that the last labels, each an index of `symbols`, are those of a row."""
    assert len(text) == len(expected), "text and labels differ in length"
    marks = "".join(symbols[int(one)] for one in labels[len(labels) - len(text) :])
    hidden = "".join(
        "?" if want == "?" else mark for mark, want in zip(marks, expected, strict=True)
    )
    assert hidden == expected, f"\n{text}\n{marks}"


def characters(text: str) -> str:
    """Return the text that a row spells."""
    return text.replace("¶", "\n").replace("␍", "\r").replace("→", "\t")


def check(name: str, text: str, expected: str, header: str = "") -> None:
    """Assert the labels of `text` after `header`, which determines the kind of the text."""
    labels = label(name, header + characters(text))
    check_marks(text, labels, expected, ".Q" if labels.dtype == bool else DIGITS)

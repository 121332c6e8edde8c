"""Labels of source code: strings, comments, brackets and if-statements; and whether a text is source code at all.

Yes/no labels are bool arrays (N,), counts are int64 arrays (N,), for a text of N characters.
"""

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.c_source import C_LINE, scan_c
from charrnn.detectors.latex import looks_like_latex
from charrnn.detectors.python_source import PYTHON_LINE, scan_python
from charrnn.detectors.regions import Region, SourceLabels

MIN_SHARE = 0.08
"""A text is source code if at least this share of its lines that are not blank look like code."""

_BRACKET = re.compile(r"[(\[{)\]}]|\n[ \t]*\n")


def label_strings(text: str) -> NDArray[np.bool_] | None:
    """True inside a string. None for a text that is not source code."""
    return label_any_strings(text) if looks_like_source(text) else None


def label_comments(text: str) -> NDArray[np.bool_] | None:
    """True inside a comment. None for a text that is not source code."""
    return label_any_comments(text) if looks_like_source(text) else None


def label_bracket_depth(text: str) -> NDArray[np.int64] | None:
    """The number of open brackets outside strings and comments. None for a text that is not source code."""
    return label_any_brackets(text) if looks_like_source(text) else None


def label_if_statements(text: str) -> NDArray[np.bool_] | None:
    """True in the condition and the body of an if-statement. None for a text that is not source code."""
    return label_any_if_statements(text) if looks_like_source(text) else None


def label_any_strings(text: str) -> NDArray[np.bool_]:
    """True inside a string, whatever kind of text it is."""
    inside: NDArray[np.bool_] = scan_source(text).regions == Region.STRING
    return inside


def label_any_comments(text: str) -> NDArray[np.bool_]:
    """True inside a comment, whatever kind of text it is."""
    inside: NDArray[np.bool_] = scan_source(text).regions == Region.COMMENT
    return inside


def label_any_brackets(text: str) -> NDArray[np.int64]:
    """The number of open brackets, whatever kind of text it is.

    In a text that is not source code there are no strings and comments, and a blank line closes all brackets.
    """
    return scan_source(text).depths if looks_like_source(text) else _prose_depths(text)


def label_any_if_statements(text: str) -> NDArray[np.bool_]:
    """True in the condition and the body of an if-statement, whatever kind of text it is."""
    return scan_source(text).in_if


def _prose_depths(text: str) -> NDArray[np.int64]:
    changes, depth = np.zeros(len(text), np.int64), 0
    for match in _BRACKET.finditer(text):
        mark = match.group()
        after = 0 if mark.isspace() else depth + 1 if mark in "([{" else max(0, depth - 1)
        changes[match.end() - 1] = after - depth
        depth = after
    return changes.cumsum()


def _shares(text: str) -> tuple[float, float]:
    num_lines = max(1, sum(1 for line in text.splitlines() if line.strip()))
    return len(PYTHON_LINE.findall(text)) / num_lines, len(C_LINE.findall(text)) / num_lines


@lru_cache(maxsize=1)
def looks_like_source(text: str) -> bool:
    """Return whether enough lines of the text look like Python or like a language of the C family."""
    # Lines of LaTeX end in braces, too.
    return max(_shares(text)) >= MIN_SHARE and not looks_like_latex(text)


@lru_cache(maxsize=1)
def scan_source(text: str) -> SourceLabels:
    """Label source code: as Python if more lines look like Python than like C, else as C.

    The text may be cut anywhere. Strings and comments reach from the opening mark to just before the last character of
    the closing mark; a comment without a closing mark reaches to the end of its line.
    """
    python_share, c_share = _shares(text)
    labels = scan_python(text) if python_share >= c_share else scan_c(text)
    # The arrays are shared by all calls with this text while it is in the cache.
    for array in (labels.regions, labels.depths, labels.in_if):
        array.flags.writeable = False
    return labels

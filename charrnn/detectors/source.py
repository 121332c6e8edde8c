"""Which language a text is written in, and its strings, comments, brackets and if-statements."""

from functools import lru_cache

from charrnn.detectors.c_source import C_LINE, scan_c
from charrnn.detectors.latex import looks_like_latex
from charrnn.detectors.python_source import PYTHON_LINE, scan_python
from charrnn.detectors.regions import Region, SourceLabels

__all__ = ["Region", "SourceLabels", "looks_like_source", "scan_source"]

MIN_SHARE = 0.08
"""Lines of code that make a text source code, as a share of the lines that are not blank."""


def _shares(text: str) -> tuple[float, float]:
    num_lines = max(1, sum(1 for line in text.splitlines() if line.strip()))
    return len(PYTHON_LINE.findall(text)) / num_lines, len(C_LINE.findall(text)) / num_lines


@lru_cache(maxsize=1)
def looks_like_source(text: str) -> bool:
    """Whether the text reads like Python or like a language of the C family, by the look of its lines."""
    # Lines of LaTeX, too, end in braces.
    return max(_shares(text)) >= MIN_SHARE and not looks_like_latex(text)


@lru_cache(maxsize=1)
def scan_source(text: str) -> SourceLabels:
    """Label source code: Python if more lines look like it, else C-like. A text cut anywhere will do.

    Strings and comments go from the opening mark up to before the last character of the closing one; a comment
    without one goes on to the end of its line.
    """
    python_share, c_share = _shares(text)
    labels = scan_python(text) if python_share >= c_share else scan_c(text)
    # The same arrays are handed out again while the text stays in the cache.
    for array in (labels.regions, labels.depths, labels.in_if):
        array.flags.writeable = False
    return labels

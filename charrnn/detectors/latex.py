"""Labels of LaTeX: mathematics. The text may be cut anywhere."""

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MIN_SHARE = 0.05
"""A text is LaTeX if it has at least this many commands for each line that is not blank."""

_COMMAND = re.compile(
    r"\\(?:begin|end|(?:sub)*section|chapter|paragraph|item|label|[a-z]*ref|[a-z]*cite[a-z]*|emph|text[a-z]+|frac|sqrt|"
    r"sum|int|left|right|math[a-z]+|mbox|quad|cdot|[lc]?dots|leq?|geq?|in|to|infty|alpha|beta|gamma|lambda|"
    r"documentclass|usepackage|newcommand)(?![A-Za-z])"
)
_EQUATION = "equation|align|alignat|gather|multline|eqnarray|flalign|displaymath|math"
_EDGE = re.compile(
    rf"""(?sx)
    \\begin\{{(?P<verbatim>verbatim|lstlisting|comment)\*?\}} .*? (?:\\end\{{(?P=verbatim)\*?\}}|\Z)
    | \\(?P<edge>begin|end)\{{(?P<environment>{_EQUATION})\*?\}}
    | \\[()\[\]]
    | \\[^\n]                   # an escaped dollar, an escaped backslash, any other command
    | %[^\n]*
    | \$\$?
    | \n[ \t\r]*\n              # ends mathematics, so that a missing closing mark does no harm
    """
)
_CLOSERS = {"$": "$", "$$": "$$", r"\(": r"\)", r"\[": r"\]"}


@lru_cache(maxsize=1)
def looks_like_latex(text: str) -> bool:
    """Return whether the text has enough LaTeX commands for its number of lines."""
    num_commands = sum(1 for _ in _COMMAND.finditer(text))
    return num_commands > 0 and num_commands >= MIN_SHARE * sum(1 for line in text.splitlines() if line.strip())


def label_latex_math(text: str) -> NDArray[np.bool_]:
    r"""True inside $…$, $$…$$, \(…\), \[…\] and equations, except at the last character of the closing mark.

    A blank line ends mathematics. `\$`, comments and verbatim text contain no marks.
    """
    inside = np.zeros(len(text), bool)
    closer, begin = "", 0
    for match in _EDGE.finditer(text):
        mark, end = match.group(), match.end()
        if environment := match["environment"]:
            mark = rf"\{match['edge']}{{{environment}}}"
        if not closer:
            is_begin = match["edge"] == "begin"
            closer, begin = rf"\end{{{environment}}}" if is_begin else _CLOSERS.get(mark, ""), match.start()
        elif mark == closer or mark.isspace():
            inside[begin : end - 1] = True
            closer = ""
        elif (closer, mark) == ("$", "$$"):
            # The first dollar closes a formula, the second opens the next.
            inside[begin : end - 2] = True
            begin = end - 1
    if closer:
        inside[begin:] = True
    return inside

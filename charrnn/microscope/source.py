"""Strings, comments and brackets of source code, character by character, also where it does not parse."""

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class Region(IntEnum):
    """What a character of source code belongs to."""

    CODE = 0
    STRING = 1
    COMMENT = 2


@dataclass(frozen=True, slots=True, eq=False)
class SourceLabels:
    """For each of N characters, the Region (N,) and the number of open brackets (N,) after reading it."""

    regions: NDArray[np.int8]
    depths: NDArray[np.int64]


_PYTHON_LINE = re.compile(r"(?m)^[ \t]*(?:def |class |import |from \w+ import |return\b|elif |if .*:$|for .*:$|self\.)")
_C_LINE = re.compile(r"(?m)(?:;|\{|\})[ \t]*(?://.*)?$|^[ \t]*(?:/\*|\*/|\*|#include|#define)")
_MIN_SHARE = 0.08
"""Lines of code that make a text source code, as a share of the lines that are not blank."""

_PYTHON_TOKEN = re.compile(r"#|\"\"\"|'''|\"|'|[()\[\]{}]")
_C_TOKEN = re.compile(r"//|/\*|\"|'|[()\[\]{}]")
_END = {
    '"""': re.compile(r'(?s)(?:[^"\\]|\\.|"(?!""))*(?P<closed>""")?'),
    "'''": re.compile(r"(?s)(?:[^'\\]|\\.|'(?!''))*(?P<closed>''')?"),
    # A one-line string that is not closed ends before its newline.
    '"': re.compile(r'(?:[^"\\\n]|\\(?s:.))*(?P<closed>")?'),
    "'": re.compile(r"(?:[^'\\\n]|\\(?s:.))*(?P<closed>')?"),
    "#": re.compile(r"[^\n]*"),
    "//": re.compile(r"[^\n]*"),
    "/*": re.compile(r"(?s).*?(?:(?P<closed>\*/)|\Z)"),
}
"""What is left of a string or a comment after the mark that opens it."""


def _shares(text: str) -> tuple[float, float]:
    num_lines = max(1, sum(1 for line in text.splitlines() if line.strip()))
    return len(_PYTHON_LINE.findall(text)) / num_lines, len(_C_LINE.findall(text)) / num_lines


@lru_cache(maxsize=1)
def looks_like_source(text: str) -> bool:
    """Whether the text reads like Python or like a language of the C family, by the look of its lines."""
    return max(_shares(text)) >= _MIN_SHARE


@lru_cache(maxsize=1)
def scan_source(text: str) -> SourceLabels:
    """Label source code: strings and comments from the opening mark up to before the closing one.

    A comment without one goes on to the end of its line.

    Python if more lines look like it, else C-like. A scanner rather than a parser, because a text cut out of a
    corpus hardly ever parses.
    """
    python_share, c_share = _shares(text)
    token = _PYTHON_TOKEN if python_share >= c_share else _C_TOKEN
    regions = np.zeros(len(text), np.int8)
    changes = np.zeros(len(text) + 1, np.int64)
    position, depth = 0, 0
    while match := token.search(text, position):
        begin, opener = match.start(), match.group()
        position = match.end()
        if opener in "([{":
            depth += 1
            changes[begin] += 1
        elif opener in ")]}":
            changes[begin] -= depth > 0
            depth -= depth > 0
        else:
            rest = _END[opener].match(text, position)
            assert rest is not None, "every one of these matches the empty string"
            position = rest.end()
            is_comment = opener in ("#", "//", "/*")
            is_closed = rest.groupdict().get("closed") is not None
            regions[begin : position - is_closed] = Region.COMMENT if is_comment else Region.STRING
    labels = SourceLabels(regions, np.cumsum(changes[:-1]))
    # The same arrays are handed out again while the text stays in the cache.
    labels.regions.flags.writeable = labels.depths.flags.writeable = False
    return labels

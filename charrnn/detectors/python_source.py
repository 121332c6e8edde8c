"""Labels of Python source code: strings, comments, brackets and if-statements.

The standard tokenizer is used up to the first statement it cannot read, a scanner for the rest.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from itertools import accumulate, pairwise
from string import ascii_letters
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.regions import Region, RegionsAndDepths, SourceLabels

PYTHON_LINE = re.compile(r"(?m)^[ \t]*(?:def |class |import |from \w+ import |return\b|elif |if .*:$|for .*:$|self\.)")
"""Matches a line that looks like Python."""
NUM_SNIFFED = 20_000
"""Characters from the start of a text that decide whether it starts inside a triple-quoted string."""

_MARK = re.compile(r"#|\"\"\"|'''|\"|'|[()\[\]{}]|(?m:^)(?:def|class|import|from) ")
_REST = {
    '"""': re.compile(r'(?s)(?:[^"\\]|\\.|"(?!""))*(?P<closed>""")?'),
    "'''": re.compile(r"(?s)(?:[^'\\]|\\.|'(?!''))*(?P<closed>''')?"),
    # A one-line string without a closing mark ends before the newline.
    '"': re.compile(r'(?:[^"\\\n]|\\(?s:.))*(?P<closed>")?'),
    "'": re.compile(r"(?:[^'\\\n]|\\(?s:.))*(?P<closed>')?"),
    "#": re.compile(r"[^\r\n]*"),
}
"""Matches the rest of a string or a comment, by the mark that opens it."""
_NEWLINE = re.compile(r"(?P<carries_on>\\\r?)?\n")
_LINE_START = re.compile(r"([ \t\f]*)(?:(?P<blank>[\r\n#]|\Z)|(?P<keyword>(?:el)?if\b))?")
# f-strings are several tokens from Python 3.12 on, t-strings from 3.14 on.
_STRING_STARTS = {getattr(tokenize, name, None) for name in ("FSTRING_START", "TSTRING_START")}
_STRING_ENDS = {getattr(tokenize, name, None) for name in ("FSTRING_END", "TSTRING_END")}


class _Mark(NamedTuple):
    """A string, a comment, or in code a bracket or a keyword that begins a definition without indentation."""

    region: Region
    begin: int
    end: int
    is_closed: bool = False


def scan_python(text: str) -> SourceLabels:
    """Label Python: with the tokenizer up to the first statement it rejects, with a scanner from there on.

    A text cut out of a corpus rarely parses to its end, and may start inside a docstring.
    """
    scanned = RegionsAndDepths(len(text))
    for mark in _marks(text):
        if mark.region != Region.CODE:
            scanned.add_span(mark.region, mark.begin, mark.end, is_closed=mark.is_closed)
        elif text[mark.begin] in "()[]{}":
            scanned.add_bracket(text[mark.begin], mark.begin)
        else:
            # A definition is never inside brackets: those that are open were not closed, or the text was cut.
            scanned.close_all(mark.begin)
    depths = scanned.depths
    return SourceLabels(scanned.regions, depths, _label_if(text, scanned.regions, depths))


def _marks(text: str) -> Iterator[_Mark]:
    begin = 0
    if opener := _open_at_start(text):
        docstring = next(_scan(text, 0, opener))
        yield docstring
        begin = docstring.end
    tokenized, refused = _tokenize(text, begin)
    yield from tokenized
    yield from _scan(text, refused)


def _open_at_start(text: str) -> str:
    """Return the triple quotes of the string that the text starts inside, or "" if it starts in code.

    Of these three assumptions, the one under which most lines that look like code are outside strings.
    """
    head = text[:NUM_SNIFFED]

    def num_code_lines(opener: str) -> int:
        in_string = np.zeros(len(head), bool)
        for mark in _scan(head, 0, opener):
            in_string[mark.begin : mark.end] = mark.region == Region.STRING
        return sum(not in_string[match.start()] for match in PYTHON_LINE.finditer(head))

    return max(["", *(marks for marks in ('"""', "'''") if marks in head)], key=num_code_lines)


def _tokenize(text: str, first: int) -> tuple[list[_Mark], int]:
    """Return the marks of the complete statements from index `first` on, and the index where the tokenizer stopped."""
    line_starts = list(accumulate(map(len, io.StringIO(text[first:])), initial=first))
    marks: list[_Mark] = []
    open_strings: list[int] = []
    num_whole, reached = 0, first
    try:
        for kind, string, (row, column), (end_row, end_column), _ in tokenize.generate_tokens(
            io.StringIO(text[first:]).readline
        ):
            if kind == tokenize.ENDMARKER:
                return marks, len(text)
            begin, end = line_starts[row - 1] + column, line_starts[end_row - 1] + end_column
            # Some versions of Python report characters such as NUL or a lone carriage return at other places.
            if kind == tokenize.ERRORTOKEN or (string.strip() and not text.startswith(string, begin)):
                break
            if kind in _STRING_STARTS:
                open_strings.append(begin + _prefix_length(string))
            elif kind in _STRING_ENDS:
                begin = open_strings.pop()
                if not open_strings:
                    marks.append(_Mark(Region.STRING, begin, end, is_closed=True))
            elif open_strings:
                continue
            elif kind == tokenize.STRING:
                marks.append(_Mark(Region.STRING, begin + _prefix_length(string), end, is_closed=True))
            elif kind == tokenize.COMMENT:
                marks.append(_Mark(Region.COMMENT, begin, end))
            elif kind == tokenize.OP and string in "()[]{}":
                marks.append(_Mark(Region.CODE, begin, end))
            elif kind == tokenize.NEWLINE:
                num_whole, reached = len(marks), min(end, len(text))
    except (tokenize.TokenError, SyntaxError, ValueError, IndexError):
        pass
    # The rejected statement may have begun several lines earlier.
    return marks[:num_whole], reached


def _prefix_length(string: str) -> int:
    return len(string) - len(string.lstrip(ascii_letters))


def _scan(text: str, position: int, opener: str = "") -> Iterator[_Mark]:
    """Yield the marks from `position` on without parsing; `opener` is the mark that is open there, or ""."""
    begin = position
    while True:
        if not opener:
            match = _MARK.search(text, position)
            if match is None:
                return
            opener, begin, position = match.group(), match.start(), match.end()
        if opener in _REST:
            rest = _REST[opener].match(text, position)
            assert rest is not None, "every one of these matches the empty string"
            position = rest.end()
            region = Region.COMMENT if opener == "#" else Region.STRING
            yield _Mark(region, begin, position, is_closed=rest.lastgroup == "closed")
        else:
            yield _Mark(Region.CODE, begin, position)
        opener = ""


def _label_if(text: str, regions: NDArray[np.int8], depths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether each character (N,) is between `if` or `elif` and the end of the last statement of its body.

    `else` branches and conditional expressions do not count.
    """
    inside = np.zeros(len(text), bool)
    ends = [
        match.end() - 1
        for match in _NEWLINE.finditer(text)
        if regions[match.end() - 1] == Region.CODE
        and depths[match.start()] == 0
        # A backslash at the end of a comment does not continue the line.
        and (match["carries_on"] is None or regions[match.start()] == Region.COMMENT)
    ]
    # Start and indentation of the outermost open if-statement. Those inside it add nothing.
    outermost: tuple[int, int] | None = None
    body_end = 0
    for begin, end in pairwise([-1, *ends, len(text)]):
        line = _LINE_START.match(text, begin + 1)
        assert line is not None, "it matches the empty string"
        if line["blank"] is not None:
            continue
        indent = len(line[1].expandtabs())
        if outermost is not None and indent <= outermost[1]:
            inside[outermost[0] : body_end] = True
            outermost = None
        if outermost is None and line["keyword"]:
            outermost = line.start("keyword"), indent
        body_end = end
    if outermost is not None:
        inside[outermost[0] : body_end] = True
    return inside

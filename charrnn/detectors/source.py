"""Recognise source code, and label its strings, comments, brackets and if-statements.

Python and languages of the C family are read by scanners, not by parsers: the text may be cut
anywhere. A lexer of pygments, which rich brings, would replace three regular expressions, and
neither the search for the string or comment in which a cut text begins, nor brackets and
if-statements. It takes 17 times as long as `_scan` (benchmarks/LOG.md, 2026-11-27).

Yes/no labels are bool arrays (N,), counts are int64 arrays (N,), for a text of N characters.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from charrnn.system.arrays import BoolArray, Int64Array


class Region(IntEnum):
    """The kinds of regions in source code."""

    CODE = 0
    STRING = 1
    COMMENT = 2


@dataclass(frozen=True, eq=False)
class SourceLabels:
    """Labels of N characters of source code; each describes the text after reading its
    character."""

    regions: NDArray[np.int8]
    """The Region (N,)."""
    depths: Int64Array
    """The number of open brackets (N,)."""
    in_if: BoolArray
    """Whether the character is in the condition or the body of an if-statement (N,)."""


_REGIONS = {"string": Region.STRING, "comment": Region.COMMENT}
_STRING = r"""
    (?P<mark>"|(?<![0-9])')(?:[^"'\\\n]+|\\.|(?!(?P=mark))["'])*(?P<string_end>(?P=mark))?"""
"""Matches a string on one line; without a closing mark it ends before the newline. An apostrophe
after a digit separates the digits of a number in C++. With DOTALL."""
_OPENING_OF = {")": "(", "]": "[", "}": "{"}


def _scan(tokens: re.Pattern[str], text: str, opener: str) -> tuple[NDArray[np.int8], Int64Array]:
    """Return the regions (N,) and the number of open brackets (N,) of a text that begins inside the
    string or comment that `opener` opens.

    `tokens` matches a string, a comment, or in code a bracket or a keyword that begins a statement;
    its groups that end in `_end` match closing marks. The last character of a closed string or
    comment is outside.
    """
    text = opener + text
    regions = np.zeros(len(text), np.int8)
    changes = np.zeros(len(text), np.int64)
    open_brackets: list[str] = []
    closing_marks = [name for name in tokens.groupindex if name.endswith("_end")]
    for token in tokens.finditer(text):
        begin, end = token.span()
        if token.lastgroup in _REGIONS:
            if any(token[name] for name in closing_marks):
                end -= 1
            regions[begin:end] = _REGIONS[token.lastgroup]
        elif token.lastgroup == "bracket":
            num_before = len(open_brackets)
            if text[begin] in "([{":
                open_brackets.append(text[begin])
            elif text[begin] in _OPENING_OF:
                _close(open_brackets, closing=text[begin])
            else:
                # A statement is never inside brackets: the open brackets were never closed, or the
                # text was cut.
                open_brackets.clear()
            changes[begin] = len(open_brackets) - num_before

    # Remove the labels of the opener, which is not in the text.
    return regions[len(opener) :], np.cumsum(changes)[len(opener) :]


def _close(open_brackets: list[str], closing: str) -> None:
    """Remove the bracket that `closing` closes from the open brackets, with all that were left open
    inside it.

    A bracket that closes none is ignored: the text may be cut. But a brace without a partner closes
    all brackets that are not braces, and no other bracket closes a brace.
    """
    opening = _OPENING_OF[closing]
    for index in reversed(range(len(open_brackets))):
        if open_brackets[index] == opening:
            del open_brackets[index:]
            return
        if open_brackets[index] == "{":
            return
    if closing == "}":
        open_brackets.clear()


C_LINE = re.compile(
    r"(?m)[{}][ \t]*(?://.*)?\r?$"  # a block
    r"|^[^\n=(\[{<>]*[=(\[{<>].*;[ \t]*(?://.*)?\r?$"  # a statement; lines of verse end in ; too
    r"|^[ \t]*(?=[a-z_])(?:[\w:*&]+[ \t]+){0,2}[\w*]+;[ \t]*(?://.*)?\r?$"  # a declaration
    r"|^[ \t]*(?:/\*|\*/|//|#include|#define)|^[ \t]+\*(?=[ \t]|\r?$)"  # a star at the margin is an item of a list  # noqa: E501
)
"""Matches a line that looks like C."""

_TEMPLATE = r"""
    `(?:[^`\\\n$]|\\.|\$(?!\{)
        |\$\{(?:[^`{}\n]|\{[^{}`\n]*\}|`(?:[^`\n$]|\$(?!\{)|\$\{[^{}`\n]*\})*`)*\})*(?P<template_end>`)"""
"""Matches a template of JavaScript on one line, with what stands in its braces, or a raw string of
Go. In braces there may be templates that contain no others."""
_RAW = r"""
    (?:u8|[uUL])?R"(?P<delimiter>[^()\\\s]{0,16})\(.{0,999}?\)(?P=delimiter)(?P<raw_end>")"""
"""Matches a raw string of C++; the search for its end is short, because a text may have many marks
and no end."""
_CHARACTER = r"""
    b?r(?P<hashes>\#{0,9})".{0,999}?"(?P=hashes)(?<=(?P<raw_end>["\#]))
    | (?P<mark>")(?:[^"\\\n]|\\.)*(?P<string_end>")?
    | '(?:[^'\\\n]|\\[^\n]{1,9}?)(?P<character_end>')"""
"""Matches a string, a raw string or a character of Rust, where a lifetime such as 'a has no closing
mark."""
_REGEX = r"""
    (?: (?<=[(,=:\[!&|?;{]) | (?<=[(,=:\[!&|?;{][ ]) | (?<==>) | (?<==>[ ])
        | (?<=\b(?:return|typeof)[ ]) | (?<=\bcase[ ]) | ^[ \t]*(?=/\S) )
    /(?![*/])(?:[^/\\\[\n]|\\[^\n]|\[(?:[^\]\\\n]|\\[^\n])*\])+/"""
"""Matches a regular expression of JavaScript, which stands where no value can be divided."""


def _c_token(string: str) -> re.Pattern[str]:
    """Return the tokens of a language of the C family whose strings match `string`."""
    return re.compile(rf"""(?smx)
    (?P<comment> //[^\r\n]* | /\*.*?(?:(?P<comment_end>\*/)|\Z) )
    | (?P<string> {string} )
    | (?P<directive> \#[ \t]*\w+ )
    | (?P<word> [^\W\d]\w* )
    | (?P<bracket> [()\[\]{{}}] )
    | (?P<semicolon> ; )
    | (?P<regex> {_REGEX} )
    """)


_C_TOKEN = _c_token(f"{_STRING} | {_TEMPLATE} | {_RAW}")
_RUST_TOKEN = _c_token(_CHARACTER)
_RUST_LINE = re.compile(
    r"(?m)^[ \t]*(?:pub(?:\([a-z]+\))? )?(?:(?:async|const|unsafe) )*fn \w+ ?[<(]"
)
"""Matches a line with which a function of Rust begins."""
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def scan_c(text: str) -> SourceLabels:
    """Label a language of the C family.

    An if-statement reaches from `if` to the semicolon or the closing brace that ends it at its own
    bracket depth: its condition and its body, but neither `else` nor `#if`.
    """
    # The first mark of a comment mostly shows whether the text begins in code or in a comment.
    edge = _COMMENT_EDGE.search(text)
    openers = [""]
    if edge is not None and edge.group() == "*/":
        # The text begins in a comment, unless this mark is in a string or a pattern of code.
        openers = ["/*"]
        before = text[: edge.start()].rpartition("\n")[2]
        if before.strip(" \t*"):
            openers.append("")
    tokens = _C_TOKEN
    if len(_RUST_LINE.findall(text)) > text.count("function"):
        tokens = _RUST_TOKEN
    opener = _open_at_start(text, tokens=tokens, code_line=C_LINE, openers=openers)
    regions, depths = _scan(tokens, text, opener=opener)

    # An if-statement ends at the first semicolon or brace that is no deeper than its beginning.
    in_if = np.zeros(len(text), bool)
    # Start and bracket depth of the outermost open if-statement. Nested statements add nothing.
    outermost: tuple[int, int] | None = None
    for token in tokens.finditer(opener + text):
        begin = token.start() - len(opener)
        if outermost is None and token.group() == "if":
            outermost = begin, depths[begin]
            continue
        is_end = token.group() in (";", "}")
        if outermost is not None and is_end and depths[begin] <= outermost[1]:
            in_if[outermost[0] : begin] = True
            outermost = None

    # The text may be cut inside of one.
    if outermost is not None:
        in_if[outermost[0] :] = True
    return SourceLabels(regions=regions, depths=depths, in_if=in_if)


PYTHON_LINE = re.compile(
    r"(?m)^[ \t]*(?:def |class |import |from \w+ import |return\b|elif |(?:if|for) .*:\r?$|self\.)"
)
"""Matches a line that looks like Python."""
NUM_SNIFFED = 20_000
"""Number of characters from the start of a text that decide whether it starts inside a comment or a
triple-quoted string."""

_PYTHON_TOKEN = re.compile(rf"""(?smx)
    (?P<comment> \#[^\r\n]* )
    | (?P<string> (?P<marks>"{{3}}|'{{3}})(?:[^"'\\]+|\\.|(?!(?P=marks))["'])*(?P<marks_end>(?P=marks))? | {_STRING} )
    | (?P<bracket> [()\[\]{{}}] | ^(?:import|from)[ ] | ^[ \t]*(?:async[ ])?(?:def|class|return|raise|while|with|try)\b )
    """)  # noqa: E501
_NEWLINE = re.compile(r"(?P<carries_on>\\\r?)?\n")
_LINE_START = re.compile(r"([ \t\f]*)(?:(?P<blank>[\r\n#]|\Z)|(?P<keyword>(?:el)?if\b))?")


def scan_python(text: str) -> SourceLabels:
    """Label Python by a scanner, the same on every version of Python, and also where the text does
    not parse.

    A text cut out of a corpus rarely parses to its end, and may start inside a docstring.
    """
    openers = [""]
    for marks in ('"""', "'''"):
        if marks in text[:NUM_SNIFFED]:
            openers.append(marks)
    opener = _open_at_start(text, tokens=_PYTHON_TOKEN, code_line=PYTHON_LINE, openers=openers)
    regions, depths = _scan(_PYTHON_TOKEN, text, opener=opener)
    return SourceLabels(
        regions=regions,
        depths=depths,
        in_if=_label_if(text, regions=regions, depths=depths),
    )


def _open_at_start(
    text: str, tokens: re.Pattern[str], code_line: re.Pattern[str], openers: Sequence[str]
) -> str:
    """Return the opener of the string or comment inside which the text starts; "" if it starts in
    code.

    Of all `openers`, it is the first with which most lines that look like code are outside strings
    and comments.
    """
    head = text[:NUM_SNIFFED]

    def num_code_lines(opener: str) -> int:
        regions, _ = _scan(tokens, head, opener=opener)
        count = 0
        for match in code_line.finditer(head):
            begin = match.start()
            line = head[head.rfind("\n", 0, begin) + 1 : begin + 99]
            # A line that starts with a star is always in a comment.
            if regions[begin] == Region.CODE and line.lstrip()[:1] != "*":
                count += 1
        return count

    # A wrong opener swaps code and strings in the whole text.
    return max(openers, key=num_code_lines)


def _label_if(text: str, regions: NDArray[np.int8], depths: Int64Array) -> BoolArray:
    """Return whether each character (N,) is between `if` or `elif` and the end of the last
    statement of its body.

    `else` branches and conditional expressions do not count.
    """
    # A logical line ends at a newline outside strings and brackets without a backslash before it. A
    # backslash at the end of a comment does not continue the line.
    ends = []
    for match in _NEWLINE.finditer(text):
        newline = match.end() - 1
        is_continued = match["carries_on"] and regions[match.start()] != Region.COMMENT
        if regions[newline] == Region.CODE and depths[match.start()] == 0 and not is_continued:
            ends.append(newline)

    # A body ends before the first line that is indented no more than its `if`.
    inside = np.zeros(len(text), bool)
    # Start and indentation of the outermost open if-statement. Nested statements add nothing.
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

    # The text may be cut inside of one.
    if outermost is not None:
        inside[outermost[0] : body_end] = True
    return inside


_JSON_COLON = re.compile(r"""(?<=")[ \t]*:[ \t]*(?=["\[{\d-]|true|false|null)""")
"""Matches the colon between a name and a value of JSON."""
_JSON_LINE = re.compile(
    rf"(?m)^(?=[^\n]*\S)(?:.*{_JSON_COLON.pattern}.*"  # a name and a value
    r'|(?:[\[\]{},: \t\d.eE+-]|"(?:[^"\\\n]|\\.)*"|true|false|null)+)\r?$'  # nothing but JSON
)
"""Matches a line that looks like JSON."""


def scan_json(text: str) -> SourceLabels:
    """Label JSON, which may be cut inside a string of a line of any length."""
    opener = _open_at_start(text, tokens=_C_TOKEN, code_line=_JSON_COLON, openers=("", '"'))
    regions, depths = _scan(_C_TOKEN, text, opener=opener)
    return SourceLabels(regions=regions, depths=depths, in_if=np.zeros(len(text), bool))


MIN_JSON_SHARE = 0.5
"""A text is JSON if at least this share of its non-blank lines look like JSON, and less than
MIN_SHARE look like Python, whose dictionaries look like JSON."""
MIN_SHARE = 0.08
"""A text is source code if at least this share of its lines that are not blank look like code."""

_BRACKET = re.compile(r"[(\[{)\]}]|\n[ \t\r]*\n")


def label_strings(text: str) -> BoolArray:
    """True inside a string."""
    return np.asarray(scan_source(text).regions == Region.STRING)


def label_comments(text: str) -> BoolArray:
    """True inside a comment."""
    return np.asarray(scan_source(text).regions == Region.COMMENT)


def label_bracket_depth(text: str) -> Int64Array:
    """The number of open brackets outside strings and comments.

    In a text that is neither source code nor JSON there are no strings and comments, and a blank
    line closes all brackets.
    """
    if has_strings(text):
        return scan_source(text).depths
    return _prose_depths(text)


def label_if_statements(text: str) -> BoolArray:
    """True in the condition and the body of an if-statement."""
    return scan_source(text).in_if


def _prose_depths(text: str) -> Int64Array:
    # A bracket that is never closed must not count for the rest of a book.
    def depth_after(match: re.Match[str], depth: int) -> int:
        if match.group().isspace():
            return 0
        if match.group() in "([{":
            return depth + 1
        return max(0, depth - 1)

    return values_after(text, tokens=_BRACKET, value_after=depth_after)


def values_after(
    text: str, tokens: re.Pattern[str], value_after: Callable[[re.Match[str], int], int]
) -> Int64Array:
    """Label each character (N,) with the value after the last token before it; 0 before the first
    token. `value_after` computes the value from a token and the value before it.

    Use it for what holds from one token to the next, such as the state of a notation: a loop over
    tokens is faster than one over characters.
    """
    changes = np.zeros(len(text), np.int64)
    value = 0
    for token in tokens.finditer(text):
        after = value_after(token, value)
        changes[token.end() - 1] = after - value
        value = after
    return changes.cumsum()


def count_lines(text: str) -> int:
    """Count the lines that are not blank."""
    return sum(1 for line in text.splitlines() if line.strip())


@lru_cache(maxsize=1)
def _shares(text: str) -> tuple[float, float]:
    """Return the share of the non-blank lines that look like Python, and the share that look like
    C."""
    num_lines = max(1, count_lines(text))
    return len(PYTHON_LINE.findall(text)) / num_lines, len(C_LINE.findall(text)) / num_lines


@lru_cache(maxsize=1)
def looks_like_source(text: str) -> bool:
    """Return whether enough lines of the text look like Python or like a language of the C
    family."""
    # Lines of LaTeX and of JSON end with braces, too.
    is_markup = looks_like_latex(text) or looks_like_json(text)
    return max(_shares(text)) >= MIN_SHARE and not is_markup


@lru_cache(maxsize=1)
def looks_like_json(text: str) -> bool:
    """Return whether enough lines of the text look like JSON, and few like Python."""
    num_json = len(_JSON_LINE.findall(text))
    is_enough = 0 < MIN_JSON_SHARE * count_lines(text) <= num_json
    # A text with quoted values but without brackets is a CSV file.
    has_brackets = '"' in text and re.search(r"[\[\]{}]", text) is not None
    return is_enough and has_brackets and _shares(text)[0] < MIN_SHARE


def has_strings(text: str) -> bool:
    """Return whether the text is source code or JSON.

    JSON has strings and brackets, but neither comments nor statements: `looks_like_source` leaves
    it out.
    """
    return looks_like_source(text) or looks_like_json(text)


@lru_cache(maxsize=1)
def scan_source(text: str) -> SourceLabels:
    """Label JSON or source code: as Python if more lines look like Python than like C, else as C.

    The text may be cut anywhere. Strings and comments reach from the opening mark to just before
    the last character of the closing mark; a comment without a closing mark reaches to the end of
    its line.
    """
    python_share, c_share = _shares(text)
    if looks_like_json(text):
        labels = scan_json(text)
    elif python_share >= c_share:
        labels = scan_python(text)
    else:
        labels = scan_c(text)
    # All calls with the cached text share the arrays.
    for array in (labels.regions, labels.depths, labels.in_if):
        array.flags.writeable = False
    return labels


MIN_COMMANDS = 0.05
"""A text is LaTeX if it has at least this many commands for each line that is not blank."""

_LATEX_COMMAND = re.compile(
    r"\\(?:begin|end|(?:sub)*section|chapter|paragraph|item|label|[a-z]*ref|[a-z]*cite[a-z]*|emph|text[a-z]+|frac|sqrt|"
    r"sum|int|left|right|math[a-z]+|mbox|quad|cdot|[lc]?dots|leq?|geq?|in|to|infty|alpha|beta|gamma|lambda|"
    r"documentclass|usepackage|newcommand)(?![A-Za-z])"
)
_LATEX_EQUATION = "equation|align|alignat|gather|multline|eqnarray|flalign|displaymath|math"
_LATEX_EDGE = re.compile(rf"""(?sx)
    \\begin\{{(?P<verbatim>verbatim|lstlisting|comment)\*?\}} .*? (?:\\end\{{(?P=verbatim)\*?\}}|\Z)
    | \\(?P<edge>begin|end)\{{(?P<environment>{_LATEX_EQUATION})\*?\}}
    | \\verb\*?(?P<bar>[^\w\s*]).*?(?:(?P=bar)|(?=\n))
    | \\[()\[\]]
    | \\[^\n]                   # an escaped dollar, an escaped backslash, any other command
    | %[^\n]*
    | \$\$?
    | \n[ \t\r]*\n              # ends mathematics, so that a missing closing mark does no harm
    """)
_LATEX_CLOSERS = {"$": "$", "$$": "$$", r"\(": r"\)", r"\[": r"\]"}


@lru_cache(maxsize=1)
def looks_like_latex(text: str) -> bool:
    """Return whether the text has enough LaTeX commands for its number of lines."""
    # An empty text has 0 commands, which is enough for 0 lines.
    num_commands = len(_LATEX_COMMAND.findall(text))
    return num_commands > 0 and num_commands >= MIN_COMMANDS * count_lines(text)


def label_latex_math(text: str) -> BoolArray:
    r"""True inside $…$, $$…$$, \(…\), \[…\] and equations, except at the last character of the
    closing mark.

    A blank line ends mathematics. `\$`, comments and verbatim text contain no marks.
    """
    inside = np.zeros(len(text), bool)
    closer = ""
    begin = 0
    for match in _LATEX_EDGE.finditer(text):
        mark, end = match.group(), match.end()
        # The star of `equation*` is ignored.
        if environment := match["environment"]:
            mark = rf"\{match['edge']}{{{environment}}}"

        if not closer:
            # Outside mathematics, a mark that begins nothing leaves `closer` empty.
            begin = match.start()
            if match["edge"] == "begin":
                closer = rf"\end{{{environment}}}"
            else:
                closer = _LATEX_CLOSERS.get(mark, "")
        elif mark == closer or mark.isspace():
            inside[begin : end - 1] = True
            closer = ""
        elif (closer, mark) == ("$", "$$"):
            # The first dollar closes a formula, the second opens the next.
            inside[begin : end - 2] = True
            begin = end - 1

    # The text may be cut inside of one.
    if closer:
        inside[begin:] = True
    return inside

"""Labels of source code in languages of the C family: strings, comments, brackets and if-statements."""

import re

import numpy as np

from charrnn.detectors.regions import Region, RegionsAndDepths, SourceLabels

C_LINE = re.compile(
    r"(?m)[{}][ \t]*(?://.*)?\r?$"  # a block
    r"|^[^\n=(\[{<>]*[=(\[{<>].*;[ \t]*(?://.*)?\r?$"  # a statement; lines of verse end in ; too
    r"|^[ \t]*(?=[a-z_])(?:[\w:*&]+[ \t]+){0,2}[\w*]+;[ \t]*(?://.*)?\r?$"  # a declaration
    r"|^[ \t]*(?:/\*|\*/|\*|//|#include|#define)"
)
"""Matches a line that looks like C."""

_TOKEN = re.compile(
    r"""(?sx)
    (?P<comment> //[^\r\n]* | /\*.*?(?:(?P<comment_end>\*/)|\Z) )
    # A string without a closing mark ends before the newline.
    | (?P<string> "(?:[^"\\\n]|\\.)*(?P<double>")? | '(?:[^'\\\n]|\\.)*(?P<single>')? )
    | (?P<directive> \#[ \t]*\w+ )
    | (?P<word> [^\W\d]\w* )
    | (?P<bracket> [()\[\]{}] )
    | (?P<semicolon> ; )
    """
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def scan_c(text: str) -> SourceLabels:
    """Label a language of the C family.

    An if-statement reaches from `if` to the semicolon or the closing brace that ends it at its own bracket depth: its
    condition and its body, but neither `else` nor `#if`.
    """
    scanned = RegionsAndDepths(len(text))
    in_if = np.zeros(len(text), bool)
    # Start and bracket depth of the outermost open if-statement. Those inside it add nothing.
    outermost: tuple[int, int] | None = None
    begin = _end_of_cut_comment(text)
    scanned.add_span(Region.COMMENT, 0, begin, is_closed=begin > 0)
    for token in _TOKEN.finditer(text, begin):
        kind = token.lastgroup
        begin, end = token.span()
        if kind == "comment":
            scanned.add_span(Region.COMMENT, begin, end, is_closed=token["comment_end"] is not None)
        elif kind == "string":
            scanned.add_span(Region.STRING, begin, end, is_closed=(token["double"] or token["single"]) is not None)
        elif kind == "bracket":
            scanned.add_bracket(token.group(), begin)
        elif kind == "word" and outermost is None and token.group() == "if":
            outermost = begin, scanned.depth
        if outermost is not None and token.group() in (";", "}") and scanned.depth <= outermost[1]:
            in_if[outermost[0] : begin] = True
            outermost = None
    if outermost is not None:
        in_if[outermost[0] :] = True
    return SourceLabels(scanned.regions, scanned.depths, in_if)


def _end_of_cut_comment(text: str) -> int:
    """Return the end of the comment that the text starts in, or 0 if it starts outside a comment."""
    edge = _COMMENT_EDGE.search(text)
    return edge.end() if edge is not None and edge.group() == "*/" else 0

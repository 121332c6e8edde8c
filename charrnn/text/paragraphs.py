"""Join the lines of paragraphs that were wrapped at some width, as in the text files of many
books."""

import re
from collections.abc import Iterable, Iterator, Sequence

from charrnn.text.cleaning import IDEOGRAPHS, joined
from charrnn.text.text_files import Line, split_lines

LEAST_COLUMNS, MOST_COLUMNS = 57, 132
"""Minimum and maximum length of the longest line of a wrapped paragraph: verse has shorter lines,
and a longer line is a paragraph. A character of East Asia takes two columns."""
SLACK_COLUMNS = 8
"""Number of characters by which a line of a wrapped paragraph may be shorter than necessary."""
MOST_LINES = 1_000
"""Maximum number of lines that are treated as one paragraph, so that a text without paragraphs fits
into memory."""
DASHES = ("-", "—", "–")
"""After these characters at the end of a line, the next line is joined without a blank."""
MANY_LINES = 4
"""Lines of verse from which on capitals at their beginnings alone tell it from prose."""

MANY_ITEMS = 3
"""Lines from which on it is no chance if all end with a sentence."""

_WIDE = "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6\U00020000-\U0003fffd"  # noqa: E501
_WIDE_CHARACTER = re.compile(f"[{_WIDE}]")
_NEXT_WORD = re.compile(rf"\s*([{IDEOGRAPHS}]|[^\s{IDEOGRAPHS}]+)")
_ITEM = re.compile(
    r"[-*+•·◦–—][ \t]|(?:\d{1,3}|[A-Za-z]|[ivx]{2,5})[.)][ \t]"
    r"|\((?:\d{1,3}|[a-z]|[ivx]{2,5})\)[ \t]"
)
"""Matches the beginning of an item of a list, which begins a paragraph."""
_ALONE = re.compile(r"[>|]|#{1,6} |.*(?:\.{5}|(?: \.){4}|…{3}|[-=_*~+]{5}|\S(?:\t| {3,})\S)")
"""Matches a line that is never joined: quoted mail, a row of a table with bars, tabs or several
blanks, a heading, a ruled line, or a line of a table of contents, with dots before the number of
its page."""
_SENTENCE_END = re.compile(r".*[.!?;…。！？；{}]['\"”’»«」』)\]]*\s*$")
"""Matches a line that ends with a sentence or a statement."""
_OPENING_MARKS = "\"'“”„‘’«»([¡¿_*"


def join_lines(lines: Iterable[Line], mark: str = "") -> Iterator[Line]:
    """Join the lines of each wrapped paragraph of a file in UTF-8. The lines of a paragraph lose
    their ends; every other line has one, and so has one that equals `mark`, which parts documents.

    A text that was wrapped at 70 columns teaches a model to break its lines there. Letters and
    novels from Project Gutenberg are of this kind. A blank line, an indented line and an item of a
    list begin a paragraph, so that lists, and verse and code with indented lines, stay as they are.
    So does a paragraph that was not wrapped (`is_wrapped`).
    """
    paragraph: list[Line] = []
    for number, content in lines:
        text = content.removesuffix("\n")
        is_alone = text.strip() in ("", mark) or _ALONE.match(text) is not None
        begins = is_alone or text[:1].isspace() or _ITEM.match(text) is not None
        # A paragraph is joined only when its end is known, because all of its lines decide whether
        # it was wrapped.
        if begins or len(paragraph) == MOST_LINES:
            yield from _joined(paragraph)
            paragraph = []
        if is_alone:
            yield Line(number, f"{text}\n")
        else:
            paragraph.append(Line(number, text))
    yield from _joined(paragraph)


def is_wrapped(lines: Sequence[str]) -> bool:
    """Whether an editor has wrapped a paragraph: each line except the last ends where the next word
    would make it too long."""
    # A single line below an indented line is often the next statement of a program or line of a
    # verse.
    if len(lines) < 2 or (len(lines) == 2 and lines[0][:1].isspace()):
        return False
    widths = list(map(_columns, lines))
    width = max(widths)
    if not LEAST_COLUMNS <= width <= MOST_COLUMNS:
        return False
    if _is_verse(lines) or _is_list(lines):
        return False
    for columns, following in zip(widths, lines[1:], strict=False):
        next_word = _NEXT_WORD.match(following)
        assert next_word is not None, "a blank line is a paragraph of its own"
        # An editor would have put the next word into this line.
        if columns + 1 + _columns(next_word[1]) <= width - SLACK_COLUMNS:
            return False
    return True


def _columns(line: str) -> int:
    """Return the number of columns that a line takes in a terminal."""
    num_wide = 0
    if not line.isascii():
        num_wide = len(_WIDE_CHARACTER.findall(line))
    return len(line.rstrip()) + num_wide


def _is_verse(lines: Sequence[str]) -> bool:
    """Whether each line begins with a number, or each line but the first with a capital, as in
    lists and in verse. Of few lines, one must also end in the middle of a sentence with a mark."""
    begins = [line.lstrip(_OPENING_MARKS + " \t")[:1] for line in lines]
    if all(map(str.isdigit, begins)):
        return True
    if not all(begin.isupper() or begin.istitle() for begin in begins[1:]):
        return False
    has_mark = any(line.rstrip().endswith((",", ";", ":")) for line in lines[:-1])
    return has_mark or len(lines) >= MANY_LINES


def _is_list(lines: Sequence[str]) -> bool:
    """Whether each line is an item of its own: without a blank, as addresses are, with the same
    sign at its beginning, or with a sentence."""
    if any(not re.search(r"\s", line.strip()) and line.isascii() for line in lines[:-1]):
        return True
    signs = {line.lstrip()[0] for line in lines}
    if len(signs) == 1 and not signs.pop().isalnum():
        return True
    return len(lines) >= MANY_ITEMS and all(map(_SENTENCE_END.match, lines[:-1]))


def share_wrapped(text: str) -> float:
    """Return the share of the non-blank lines of a text that `join_lines` would join to the next
    line.

    It decides whether a note proposes `join_lines`.
    """
    lines = list(split_lines([Line(number=1, content=text)]))
    num_joined = 0
    for line in join_lines(lines):
        if not line.content.endswith("\n"):
            num_joined += 1
    num_filled = sum(1 for line in lines if line.content.strip())
    return num_joined / max(1, num_filled)


def _joined(paragraph: Sequence[Line]) -> Iterator[Line]:
    """Yield the lines of a paragraph; those of a wrapped one are parts of one line."""
    if is_wrapped([line.content for line in paragraph]):
        yield from joined(paragraph, DASHES)
        return
    for number, content in paragraph:
        yield Line(number, f"{content}\n")

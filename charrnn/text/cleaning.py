"""Leave out of a text what its author did not write: terms, settings and what nobody sees; and join
letters with their accents, and lines."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from charrnn.errors import named
from charrnn.text.text_files import Change, Line, is_blank, split_lines

MOST_TERMS = 600
"""Lines of the terms of Project Gutenberg at most: they have about 400."""
MOST_BEFORE = 100
"""Lines of the head of a book before its small print begins, at most."""
IDEOGRAPHS = "\u2e80-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\U00020000-\U0003fffd"
"""Characters of scripts that have no blanks between words, and their punctuation; not Hangul."""
_TWO_IDEOGRAPHS = re.compile(f"[{IDEOGRAPHS}]{{2}}")
_BOOK_BEGINS = re.compile(
    r"\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG|\*+ ?END\*? ?THE SMALL PRINT"
)
_BOOK_ENDS = re.compile(
    r"\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG"
    r"|End of (?:The |the |this )?Project Gutenberg|Ende dieses Projekte? Gutenberg"
)
_PRINT_BEGINS = re.compile(r"\*+ ?START\*+ ?THE SMALL PRINT")
_COMMENTS = r"(?:[ \t]*(?:#.*)?\n)*"
_REST = r"(?:.*\n){0,300}?"
_SETTINGS = re.compile(
    rf"---[ \t]*\n{_COMMENTS}(?:[^\s:#\[{{-][^:\n]{{0,60}}:(?:[ \t].*)?|\{{\{{.*)\n"
    rf"{_REST}(?:---|\.\.\.)[ \t]*(?:\n|\Z)"
    rf"|\+\+\+[ \t]*\n{_COMMENTS}(?:[^\s=]{{1,60}}\s*=|\[).*\n{_REST}\+\+\+[ \t]*(?:\n|\Z)"
)
"""Matches a head of settings, in YAML or in TOML, by its first line that is no comment."""
_UNSEEN = re.compile(
    "[\u00ad\u200b\u200e\u200f\u2060\ufeff\0-\x08\x0b\x0c\x0e-\x1f](?:(?<=\x1b)\\[[\\d;:?]*[A-Za-z])?"
)
"""Characters that nobody sees, and that separate or direct nothing, and the colours of a terminal;
U+200C and U+200D join letters, and stay."""
_BREAK = re.compile("\f(?<=[^\n\f]\f)(?=\f*[^\n\f])")
"""Matches the end of a page that parts words."""

_KEPT = f"({{num}}); {named('clean', 'false')} keeps them"
_TERMS = "line", f"left out of {{label}}: Project Gutenberg's terms {_KEPT}"
_SETTING_LINES = "line", f"left out of {{label}}: a head of settings {_KEPT}"
_UNSURE = "file", "{label} has marks of Project Gutenberg where little else is: all of it stays"
_UNSEEN_CHANGE = (
    "character",
    f"left out {{num}} of {{label}} that nobody sees; {named('clean', 'false')} keeps {{them}}",
)
_PARTED = (
    "line end",
    f"put {{num}} into {{label}} where a form feed parted words; {named('clean', 'false')} keeps"
    " the form feeds",
)
_RETURNS = (
    "carriage return",
    "{num} within the lines of {label} {have} no picture, and {stay}:"
    " tr '\\r' '\\n' < FILE > text.txt makes {them} line ends",
)
_COMPOSED = (
    "letter",
    "joined {num} of {label} with {their} accents (NFC);"
    f" {named('clean', 'false')} keeps {{them}} as {{they_are}}",
)


def written_lines(text: str, changes: Counter[Change]) -> list[Line]:
    """Return the lines of a text without a head of settings, and without the terms of Project
    Gutenberg before, between and behind books.

    It leaves out whole lines that nobody wanted to learn; `tidied` changes characters within the
    lines that stay.
    """
    number = 1
    if head := _SETTINGS.match(text):
        num_lines = head[0].count("\n")
        changes[_SETTING_LINES] += num_lines
        number += num_lines
        text = text[head.end() :]
    if "project gutenberg" not in text.lower():
        return [Line(number, text)]

    # Less than a tenth that is left is no book.
    lines = list(split_lines([Line(number, text)]))
    left_out = set().union(*_terms(lines))
    if len(left_out) > 0.9 * len(lines):
        changes[_UNSURE] += 1
        return lines
    changes[_TERMS] += len(left_out)
    return [line for index, line in enumerate(lines) if index not in left_out]


def _terms(lines: Sequence[Line]) -> list[range]:
    """Return the indices of the lines of terms: those before a mark that begins a book, and those
    behind the last end."""
    terms = []
    # Where the terms before the next book begin: with the file, the small print or an end.
    first = 0
    is_behind = False
    for index, (_, content) in enumerate(lines):
        if content[:1] not in ("*", "E"):
            continue
        if _BOOK_BEGINS.match(content):
            # What ends the terms before a book may have several lines.
            while index + 1 < len(lines) and not is_blank(lines[index].content):
                index += 1
            if index - first <= MOST_TERMS:
                terms.append(range(first, index + 1))
            first = index + 1
            is_behind = False
        elif is_behind:
            continue
        elif _PRINT_BEGINS.match(content):
            # The head of a book stands before its small print, and may be long where it begins the
            # file. Other texts may stand there, too.
            begins_file = first == 0 and any(
                "project gutenberg" in line.content.lower() for line in lines[:5]
            )
            if index - first > MOST_BEFORE and not begins_file:
                first = index
        elif _BOOK_ENDS.match(content):
            # A sentence about the words that end a book may have them at the start of a line.
            around = [*lines[max(0, index - 1) : index], *lines[index + 1 : index + 2]]
            if content[0] == "*" or any(is_blank(line.content) for line in around):
                first = index
                is_behind = True
    # Another text may stand behind a book.
    if is_behind and len(lines) - first <= MOST_TERMS:
        terms.append(range(first, len(lines)))
    return terms


def tidied(text: str, changes: Counter[Change] | None = None) -> str:
    """Return a text without what nobody sees, and with each letter and its accents in one character
    (NFC). A page or a line that ends between words is a line end. What is left out or changed is
    counted in `changes`.

    Corpora and typed texts go through it alike, so that a model meets in use what it has learned.
    `given_text.as_read` knows whether a run wants it.
    """
    # Before accents are joined: a soft hyphen may stand between a letter and its accent.
    parted, num_breaks = _BREAK.subn("\n", text.replace("\v", "\f"))
    whole, num_unseen = _UNSEEN.subn("", parted)
    apart = whole
    if not apart.isascii():
        whole = unicodedata.normalize("NFC", apart)
    if changes is not None:
        changes[_PARTED] += num_breaks
        changes[_UNSEEN_CHANGE] += num_unseen
        changes[_RETURNS] += whole.count("\r")
        # The order of accents may change, or one letter become another or two.
        if whole != apart:
            changes[_COMPOSED] += max(1, len(apart) - len(whole))
    return whole


def joined(lines: Sequence[Line], dashes: tuple[str, ...] = ()) -> Iterator[Line]:
    """Yield lines without ends as parts of one line, each with its own number. Between two of them
    stands a blank, but nothing between ideographs and behind `dashes`.

    Subtitles and wrapped paragraphs need it, whose lines are parts of sentences.
    """
    for (number, content), (_, following) in pairwise(lines):
        content = content.rstrip()
        if not (content.endswith(dashes) or _TWO_IDEOGRAPHS.match(content[-1:] + following[:1])):
            content += " "
        yield Line(number, content)
    for number, content in lines[-1:]:
        yield Line(number, f"{content}\n")

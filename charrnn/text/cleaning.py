"""Leave out of a text what its author did not write: terms, settings, stamps and what nobody sees;
and join letters with their accents."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from charrnn.errors import named
from charrnn.text.text_files import Change, Line, Tally, is_blank, split_lines

BEGINNING = 65_536
"""Bytes by which the kind of a text is recognised."""
MOST_TERMS = 600
"""Lines of the terms of Project Gutenberg at most: they have about 400."""
MOST_BEFORE = 100
"""Lines of the head of a book before its small print begins, at most."""
MOST_SETTINGS = 300
"""Lines of a head of settings, at most."""
_BOOK_BEGINS = re.compile(
    rb"\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG|\*+ ?END\*? ?THE SMALL PRINT"
)
_BOOK_ENDS = re.compile(
    rb"\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG"
    rb"|End of (?:The |the |this )?Project Gutenberg|Ende dieses Projekte? Gutenberg"
)
_PRINT_BEGINS = re.compile(rb"\*+ ?START\*+ ?THE SMALL PRINT")
_BOOK_IS_NAMED = re.compile(
    rb"\W*(?:The )?Project Gutenberg(?:'s|\xe2\x80\x99s)? (?:E?Book|E?text)", re.IGNORECASE
)
_YAML = re.compile(r"[^\s:#\[{][^:\n]{0,60}:(?:\s.*)?|[ \t#-].*|\{\{.*|")
_TOML = re.compile(r"\[.*\]\s*|[^\s=]{1,60}\s*=.*|[\s#].*|[\])}'\"].*|")
INVISIBLE = "\u00ad\u200b\u200e\u200f\u2060\ufeff"
"""Characters that nobody sees, and that separate or direct nothing; U+200C and U+200D join letters,
and stay."""
_CONTROLS = bytes({*range(0x20)} - {*b"\t\n\r"})
_UNSEEN = re.compile(f"[{INVISIBLE}{re.escape(_CONTROLS.decode())}]")

_KEPT = f"({{num}}); {named('clean', 'false')} keeps them"
TERMS = "line", f"left out of {{label}}: Project Gutenberg's terms {_KEPT}"
"""A change of a text: what stands before and behind a book."""
SETTINGS = "line", f"left out of {{label}}: a head of settings {_KEPT}"
"""A change of a text: what stands between two lines of hyphens."""
STAMPS = "message", f"left out of {{label}}: the dates and times of a chat {_KEPT}"
"""A change of a text: the stamps of its messages."""
UNWRITTEN = (
    "message",
    "left out {num} of {label} that stand for pictures, deleted ones, or what the program says",
)
"""A change of a text: messages without a name or words."""
CUES = "line", f"left out of {{label}}: the numbers and times of subtitles {_KEPT}"
"""A change of a text: lines without words."""
_UNSEEN_CHANGE = (
    "character",
    f"left out {{num}} of {{label}} that nobody sees; {named('clean', 'false')} keeps them",
)
_COMPOSED = (
    "letter",
    "wrote {num} of {label} in the usual form of Unicode, with accents joined (NFC);"
    f" {named('clean', 'false')} keeps them as they are",
)


def without_terms(lines: Sequence[Line], tally: Tally) -> list[Line] | None:
    """Return the lines of books of Project Gutenberg without the terms before and behind each; None
    for a text without these marks, and where less than a tenth would be left."""
    marks = _marks(lines)
    terms = _terms(marks, num_lines=len(lines))
    if marks and marks[-1][0] == "end" and len(lines) - marks[-1][1] > MOST_TERMS:
        tally.changes[_unsure("a text behind a book of Project Gutenberg")] += 1
    if not terms:
        return None

    # The name of the book stands before it if no mark does.
    first_filled = next(index for index, line in enumerate(lines) if not is_blank(line.content))
    if _BOOK_IS_NAMED.match(lines[first_filled].content):
        terms.append(range(first_filled, first_filled + 1))
    left_out = set().union(*terms)
    kept = [line for index, line in enumerate(lines) if index not in left_out]
    if len(kept) < len(lines) / 10:
        tally.changes[_unsure("little but terms of Project Gutenberg")] += 1
        return None
    tally.changes[TERMS] += len(left_out)
    return kept


def _unsure(what: str) -> Change:
    return "file", f"{{label}} has {what}, which is not left out"


def _marks(lines: Sequence[Line]) -> list[tuple[str, int]]:
    """Return the marks between books and terms, each with the index of its line."""
    marks = []
    for index, line in enumerate(lines):
        content = line.content
        if content[:1] not in (b"*", b"E"):
            continue
        if _BOOK_BEGINS.match(content):
            # What ends the terms before a book may have several lines.
            last = index
            while last + 1 < len(lines) and not is_blank(lines[last].content):
                last += 1
            marks.append(("book", last))
        elif _PRINT_BEGINS.match(content):
            marks.append(("print", index))
        # A sentence about the words that end a book may have them at the start of a line.
        elif _BOOK_ENDS.match(content):
            around = [*lines[max(0, index - 1) : index], *lines[index + 1 : index + 2]]
            if content.startswith(b"*") or any(is_blank(other.content) for other in around):
                marks.append(("end", index))
    return marks


def _terms(marks: Sequence[tuple[str, int]], num_lines: int) -> list[range]:
    """Return the lines of terms: before a mark that begins a book, from the end of the last book or
    the beginning of the small print on, and behind the last end."""
    # What stands between two books are the terms of the first one and the head of the second.
    terms = []
    begin = 0
    end: int | None = None
    small_print: int | None = None
    for kind, index in marks:
        if kind == "end" and end is None:
            end = index
        elif kind == "print" and small_print is None:
            small_print = index
        elif kind == "book":
            first = end
            is_head = index - begin <= MOST_TERMS
            if small_print is not None and small_print - begin > MOST_BEFORE:
                is_head = False
            if first is None and is_head:
                first = begin
            elif first is None:
                first = small_print
            if first is not None and index - first <= MOST_TERMS:
                terms.append(range(first, index + 1))
            begin = index + 1
            end = small_print = None
    # The terms behind the last book go to the end of the file.
    if end is not None and num_lines - end <= MOST_TERMS:
        terms.append(range(end, num_lines))
    return terms


def without_settings(lines: Iterable[Line], tally: Tally) -> Iterator[Line]:
    """Yield the lines of a text without its head of settings, in YAML between lines of hyphens or
    in TOML between lines of plus signs."""
    rest = iter(lines)
    head: list[Line] = []
    pattern = _YAML
    for line in rest:
        # Nothing is left out until the end of the head was found.
        text = line.content.decode().rstrip()
        head.append(line)
        if len(head) == 1:
            if text not in ("---", "+++"):
                break
            pattern = _TOML if text == "+++" else _YAML
        elif text in ("---", "...", "+++"):
            # A rule, and not a head, has nothing between.
            if len(head) > 2:
                tally.changes[SETTINGS] += len(head)
                head = []
            break
        elif not pattern.fullmatch(text) or len(head) > MOST_SETTINGS:
            break
    yield from head
    yield from rest


def tidied(text: str, tally: Tally | None = None) -> str:
    """Return a text without what nobody sees, and with each letter and its accents in one character
    (NFC). What is left out or changed is counted in `tally`."""
    # Before accents are joined: a soft hyphen may stand between a letter and its accent.
    whole, num_unseen = _UNSEEN.subn("", text)
    apart = whole
    if not apart.isascii():
        whole = unicodedata.normalize("NFC", apart)
    if tally is not None:
        tally.changes[_UNSEEN_CHANGE] += num_unseen
    if tally is not None and whole != apart:
        # Most letters become one character, and a few become two: the side with fewer characters
        # of its own has one for each letter. Both have none if only the order of accents changes.
        before = Counter(apart)
        after = Counter(whole)
        num_changed = min((before - after).total(), (after - before).total())
        tally.changes[_COMPOSED] += max(1, num_changed)
    return whole


def tidied_lines(lines: Iterable[Line], tally: Tally, *, end: bytes = b"") -> Iterator[Line]:
    """Yield the lines of a text tidied, with what was left out of each. The `end` of a document
    stays."""
    for piece in lines:
        # Most texts have nothing to tidy: then many lines are looked at together.
        if _is_tidy(piece.content.removesuffix(end)):
            yield piece
            continue
        for line in split_lines([piece]):
            content = line.content.removesuffix(end)
            text = content.decode()
            cuts = sorted([*line.cuts, *_unseen_in(text, line.cuts)])
            rest = line.content[len(content) :]
            yield Line(line.number, tidied(text, tally).encode() + rest, cuts)


def _is_tidy(content: bytes) -> bool:
    # Bytes of ASCII need no decoding.
    if content.isascii():
        return not content.translate(None, _PRINTED)
    text = content.decode()
    return not _UNSEEN.search(text) and unicodedata.is_normalized("NFC", text)


_PRINTED = bytes({*range(256)} - {*_CONTROLS})


def _unseen_in(text: str, cuts: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield where characters that nobody sees stand in a line of the file, of which `cuts` are
    left out already."""
    # What was cut before moves what follows.
    for match in _UNSEEN.finditer(text):
        begin = match.start()
        for first, last in cuts:
            if first <= begin:
                begin += last - first
        yield begin, begin + 1

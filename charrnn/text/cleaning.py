"""Leave out of a text what its author did not write, and join letters with their accents."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeAlias

from charrnn.errors import named
from charrnn.text.file_kinds import STAMPED, find_kind
from charrnn.text.text_files import Change, Line, Tally, is_blank

BEGINNING = 65_536
"""Bytes in which the terms before a book of Project Gutenberg end, and by which the kind of a text
is recognised."""
_BOOK_BEGINS = re.compile(
    rb"^(?:\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG|\*+ ?END\*? ?THE SMALL PRINT)",
    re.MULTILINE,
)
_BOOK_ENDS = re.compile(
    rb"^(?:\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG"
    rb"|End of (?:The |the |this )?Project Gutenberg|Ende dieses Projekte? Gutenberg)",
    re.MULTILINE,
)
_SAID = re.compile(rb"\d+\s*\Z|NOTE")
"""Matches what subtitles say if no blank line stands before it."""
_LEFT_OUT = f"left out of {{label}}: %s ({{num}}); {named('clean', 'false')} keeps them"
_STAMPS = f"left out on {{num}} of {{label}}: %s; {named('clean', 'false')} keeps them"
_TERMS = "line", _LEFT_OUT % "Project Gutenberg's terms"
_BEHIND = "line", _LEFT_OUT % "another text behind a book of Project Gutenberg"
MOST_TERMS = 600
"""Lines of the terms between two books of Project Gutenberg at most: they have about 400."""
_COMPOSED = (
    "letter",
    "wrote {num} of {label} in the usual form of Unicode, with accents joined (NFC);"
    f" {named('clean', 'false')} keeps them as they are",
)
Cleaner: TypeAlias = Callable[[Iterable[Line], Tally], Iterator[Line]]
"""A function that yields the lines of a file without what it leaves out, and counts that."""


def cleaner(start: bytes) -> Cleaner | None:
    """Return what leaves the terms before and after a book of Project Gutenberg, or the stamps of a
    chat or of subtitles, out of a file that begins with these bytes; None for any other."""
    if kind := find_kind(STAMPED, start[:BEGINNING]):
        _, what, pattern = kind
        return partial(_without_stamps, pattern=pattern, change=("line", _STAMPS % what))
    # Most texts have not these words, which are found sooner than the pattern.
    if b"roject Gutenberg" not in start and b"PROJECT GUTENBERG" not in start:
        return None
    begins_before = _BOOK_BEGINS.search(start, 0, BEGINNING) is not None
    if begins_before or _BOOK_ENDS.search(start):
        return partial(_without_terms, is_inside=not begins_before)
    return None


def _without_stamps(
    lines: Iterable[Line], tally: Tally, *, pattern: bytes, change: Change
) -> Iterator[Line]:
    is_after_blank = True
    for number, line in lines:
        rest = line
        if is_after_blank or not _SAID.match(line):
            rest = re.sub(pattern, b"", line)
            if tally.cuts is not None:
                tally.cuts[number] = _cuts(line, pattern)
        is_after_blank = is_blank(line)
        tally.changes[change] += rest != line and not is_after_blank
        if rest:
            yield number, rest


def _cuts(line: bytes, pattern: bytes) -> list[tuple[int, int]]:
    """Return where the matches of a pattern begin and end in a line, in characters."""
    spans = [match.span() for match in re.finditer(pattern, line)]
    return [(len(line[:begin].decode()), len(line[:end].decode())) for begin, end in spans]


def _without_terms(lines: Iterable[Line], tally: Tally, *, is_inside: bool) -> Iterator[Line]:
    # A file may have several books, with the terms of the next one after those of the last.
    ends_terms = False
    is_after_blank = True
    num_terms = 0
    for number, line in lines:
        # A sentence about the words that end a book may have them at the start of a line.
        is_end = _BOOK_ENDS.match(line) and (is_after_blank or line.startswith(b"*"))
        is_after_blank = is_blank(line)
        if is_inside and not is_end:
            yield number, line
            num_terms = 0
            continue
        num_terms += 1
        if num_terms > MOST_TERMS:
            tally.changes[_BEHIND] += 1
        else:
            tally.changes[_TERMS] += 1
        # What ends the terms before a book may have several lines.
        is_inside = ends_terms and is_blank(line)
        ends_terms = not is_inside and (ends_terms or _BOOK_BEGINS.match(line) is not None)


def composed(text: bytes, tally: Tally) -> bytes:
    """Return a text in UTF-8 with each letter and its accents in one character (NFC), and count in
    `tally` how many were joined, or replaced by the usual one of two equal characters."""
    # ASCII has no accents.
    if text.isascii():
        return text
    apart = text.decode()
    whole = unicodedata.normalize("NFC", apart)
    if whole != apart:
        # Most letters become one character, and a few become two: the side with fewer characters
        # of its own has one for each letter. Both have none if only the order of accents changes.
        before = Counter(apart)
        after = Counter(whole)
        num_changed = min((before - after).total(), (after - before).total())
        tally.changes[_COMPOSED] += max(1, num_changed)
    return whole.encode()


def composed_blocks(blocks: Iterable[bytes], tally: Tally) -> Iterator[bytes]:
    """Yield the blocks of a text composed."""
    held = b""
    for block in blocks:
        if held:
            cut = _last_alone(held)
            yield composed(held[:cut], tally)
            held = held[cut:]
        held += block
    yield composed(held, tally)


def _last_alone(text: bytes) -> int:
    """Return the index of the last character that is joined with none before it: one of ASCII, or a
    Chinese one. A text in one line, such as a sequence of DNA, may have no blank."""
    for index in range(len(text) - 1, 0, -1):
        if text[index] < 0x80 or 0xE4 <= text[index] <= 0xE9:
            return index
    return 0

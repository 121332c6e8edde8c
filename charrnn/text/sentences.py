"""Divide a text into sentences by sentencex, which knows the marks and abbreviations of many
languages.

sentencex takes a quotation for a part of one sentence, however long a speech it is. So the text is
also divided without its quotation marks, and the ends that only show then are ends within a speech.
"""

import re
from collections.abc import Iterator

LANGUAGES = (
    (re.compile("[\u3040-\u30ff\u4e00-\u9fff]"), "ja"),
    (re.compile("[\u0900-\u097f]"), "hi"),
)
"""The language by the letters of a text; English without them."""
QUOTES = "\"'“”„‟‘’‚‛«»‹›「」『』"
"""Quotation marks of many languages."""
_BLANKED = str.maketrans(dict.fromkeys(QUOTES, " "))
_BEFORE_END = re.compile(rf"(?P<closing>[{QUOTES}]*)(?P<blanks>\s*)(?P<opening>[{QUOTES}]*)\Z")
"""Matches what stands between the last mark of a sentence and the first letter of the next one."""
_LONGEST_GAP = 100
"""Characters between two sentences that are looked at."""


def sentence_ends(text: str | bytes) -> Iterator[int]:
    """Yield the index after each sentence of a text, and after the blanks behind it: characters, or
    bytes of a text of bytes.

    One needs it to score or list the sentences of a text. A speech in quotation marks has the
    sentences that it would have without them; what goes on behind it, such as “he said”, belongs to
    its last one.
    """
    if isinstance(text, str):
        yield from _ends_in(text)
        return

    characters = text.decode("utf-8", "replace")
    # Where a byte is no part of a character, the offsets would differ.
    if characters.encode() != text:
        yield from _ends_in(text.decode("latin-1"))
        return
    begin = 0
    num_bytes = 0
    for end in _ends_in(characters):
        num_bytes += len(characters[begin:end].encode())
        yield num_bytes
        begin = end


def _ends_in(text: str) -> list[int]:
    """Return the index after each sentence, in order."""
    language = _language(text)
    ends = set(_ends_by_sentencex(text, language))
    blanked = text.translate(_BLANKED)
    if blanked != text:
        for end in _ends_by_sentencex(blanked, language):
            ends.update(_end_in_speech(text, end))
    return _without_bare_marks(text, sorted(ends))


def _end_in_speech(text: str, end: int) -> Iterator[int]:
    """Yield the end of a sentence in a text of which sentencex has found the end without quotation
    marks: before the marks that open the next sentence. Nothing, if no sentence ends there."""
    begin = max(0, end - _LONGEST_GAP)
    gap = _BEFORE_END.search(text, begin, end)
    assert gap is not None, "it matches nothing, too"
    closing, blanks, opening = gap.group("closing", "blanks", "opening")
    # A mark without a blank beside it opens nothing, and may be an apostrophe.
    if not blanks and (closing or opening):
        return
    # “Where is he?” she asked.
    if closing and text[end : end + 1].islower():
        return
    yield end - len(opening)


def _without_bare_marks(text: str, ends: list[int]) -> list[int]:
    """Return the ends of sentences without those that leave a piece of marks alone: it belongs to
    the sentence after it if it is quotation marks after a blank, else to the one before it."""
    kept: list[int] = []
    begin = 0
    for end in ends:
        piece = text[begin:end]
        begin = end
        if any(map(str.isalnum, piece)) or not kept:
            kept.append(end)
        elif piece.strip(QUOTES) or not text[kept[-1] - 1].isspace() or end == ends[-1]:
            kept[-1] = end
    return kept


def _ends_by_sentencex(text: str, language: str) -> Iterator[int]:
    """Yield the index after each sentence of a text as sentencex divides it."""
    import sentencex  # type: ignore[import-untyped]

    begin = 0
    for sentence in sentencex.segment(language, text):
        if not sentence.strip():
            continue
        # Some versions leave blanks between sentences out.
        start = text.index(sentence.strip(), begin)
        end = start + len(sentence.strip())
        while end < len(text) and text[end].isspace():
            end += 1
        yield end
        begin = end


def _language(text: str) -> str:
    """Return the language for the rules of sentences by the letters of a text."""
    for letters, language in LANGUAGES:
        if letters.search(text):
            return language
    return "en"

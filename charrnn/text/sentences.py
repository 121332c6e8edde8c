"""Divide a text into sentences by sentencex, which knows the marks and abbreviations of many
languages."""

import re
from collections.abc import Iterator

LANGUAGES = (
    (re.compile("[\u3040-\u30ff\u4e00-\u9fff]"), "ja"),
    (re.compile("[\u0900-\u097f]"), "hi"),
)
"""The language by the letters of a text; English without them."""


def sentence_ends(text: str | bytes) -> Iterator[int]:
    """Yield the index after each sentence of a text, and after the blanks behind it: characters, or
    bytes of a text of bytes."""
    import sentencex  # type: ignore[import-untyped]

    if isinstance(text, bytes):
        characters = text.decode("utf-8", "replace")
        # Where a byte is no part of a character, the offsets would differ.
        if characters.encode() != text:
            characters = text.decode("latin-1")
            text = characters
    else:
        characters = text
    begin = 0
    num_bytes = 0
    for sentence in sentencex.segment(_language(characters), characters):
        if not sentence.strip():
            continue
        # Some versions leave blanks between sentences out.
        start = characters.index(sentence.strip(), begin)
        end = start + len(sentence.strip())
        while end < len(characters) and characters[end].isspace():
            end += 1
        if isinstance(text, bytes):
            num_bytes += len(characters[begin:end].encode())
            yield num_bytes
        else:
            yield end
        begin = end


def _language(text: str) -> str:
    """Return the language for the rules of sentences by the letters of a text."""
    for letters, language in LANGUAGES:
        if letters.search(text):
            return language
    return "en"

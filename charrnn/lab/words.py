"""Words of a text in any script, and the class of each of its characters: space, punctuation, part of a word, …

A text is a range of ids. It is read in blocks, so its length needs no memory. A word is a maximal run of letters,
combining marks, digits and underscores, with single apostrophes inside it: `don't` and `num_lines` are words.

Shapes: N ids of a block, V vocabulary.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from charrnn.evaluation import classes
from charrnn.text.batches import release_pages
from charrnn.text.encoded import decode_each
from charrnn.text.vocab import IdArray, Vocab

BLOCK_CHARS = 1 << 20
"""Characters that are decoded at a time."""
_APOSTROPHES = "'’"
_QUOTES = '"„‚「」『』'
"""Quotation marks that Unicode does not classify as such (categories Pi and Pf)."""


class CharClass(IntEnum):
    """What a character is."""

    OTHER = 0
    """A control or a format character, or one that Unicode does not define."""
    WORD = 1
    """Part of a word. The unknown symbol is one, because what is rare is mostly a letter."""
    SPACE = 2
    NEWLINE = 3
    """A line end, or the END of a document."""
    QUOTE = 4
    """A quotation mark of any kind; apostrophes, too, unless they are inside a word."""
    PUNCTUATION = 5
    """Any other punctuation, and symbols."""
    APOSTROPHE = 6
    """Before it is decided whether it is inside a word; never in a `Block`."""


Classes = NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Characters [begin, begin + N) of a text."""

    begin: int
    text: str = field(repr=False)
    """One character per id, as `text.encoded.decode_each` decodes them."""
    classes: Classes = field(repr=False)
    """(N,): a `CharClass` each; every byte of a character of several bytes has that of the character."""

    def word_bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the begins and the ends (W,) of the words, as offsets in the block. Its ends cut words."""
        is_word = np.zeros(len(self.classes) + 2, np.int8)
        is_word[1:-1] = self.classes == CharClass.WORD
        changes = np.diff(is_word)
        return np.flatnonzero(changes == 1), np.flatnonzero(changes == -1)


_KIND_OF_CLASS = {
    **dict.fromkeys(("lower case", "upper case", "other letters", "combining marks", "digits"), CharClass.WORD),
    **dict.fromkeys(("unknown", "invalid bytes"), CharClass.WORD),
    **dict.fromkeys(("newlines", "ends of documents"), CharClass.NEWLINE),
    **dict.fromkeys(("punctuation", "symbols"), CharClass.PUNCTUATION),
    "spaces": CharClass.SPACE,
    "other characters": CharClass.OTHER,
}
"""What the characters of each class of `classes.CLASSES` are, if they are neither quotation marks nor apostrophes."""


def class_of(character: str) -> CharClass:
    """Return the class of a character; "" stands for the unknown symbol."""
    if character and character in _APOSTROPHES:
        return CharClass.APOSTROPHE
    if character == "_":
        return CharClass.WORD
    if character and (character in _QUOTES or unicodedata.category(character) in ("Pi", "Pf")):
        return CharClass.QUOTE
    return _KIND_OF_CLASS[classes.CLASSES[classes.class_of(character)]]


def read_block(ids: IdArray, vocab: Vocab, begin: int, end: int) -> Block:
    """Decode and classify characters [begin, end) of a text, clipped to it.

    Bytes are decoded as UTF-8. A byte that is part of no character counts as part of a word, as letters of older
    encodings are.
    """
    begin, end = max(0, begin), min(end, len(ids))
    some = ids[begin:end]
    if vocab.kind == "byte":
        return Block(begin, decode_each(vocab, some), _classes_of_bytes(some.astype(np.uint8).tobytes()))
    table = np.array([class_of(character) for character in vocab.characters], np.int8)
    return Block(begin, decode_each(vocab, some), _settled(table[some]))


def _classes_of_bytes(data: bytes) -> Classes:
    """Classify each byte (N,) as the character that it belongs to."""
    points, sizes = classes.decode_bytes(data)
    different, index = np.unique(points, return_inverse=True)
    found = np.array([class_of(chr(point)) for point in different], np.int8)[index]
    return np.repeat(_settled(found), sizes)


def _settled(found: Classes) -> Classes:
    """Replace APOSTROPHE (N,): by WORD between two characters of a word, else by QUOTE."""
    is_apostrophe = found == CharClass.APOSTROPHE
    if not is_apostrophe.any():
        return found
    is_word = found == CharClass.WORD
    is_inside = np.zeros(len(found), bool)
    is_inside[1:-1] = is_apostrophe[1:-1] & is_word[:-2] & is_word[2:]
    return np.where(is_inside, CharClass.WORD, np.where(is_apostrophe, CharClass.QUOTE, found)).astype(np.int8)


def count_words(
    ids: IdArray,
    vocab: Vocab,
    wanted: Mapping[str, int],
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> NDArray[np.int64]:
    """Count how often each wanted word occurs as a word in ids (N,): counts (W,), at the index `wanted[word]`.

    Memory is bounded by the wanted words. `on_progress` is called with the number of characters read since its last
    call.
    """
    counts = np.zeros(len(wanted), np.int64)
    for block in _blocks_of_whole_words(ids, vocab):
        text = block.text
        found = [
            wanted[word]
            for begin, end in zip(*(bounds.tolist() for bounds in block.word_bounds()), strict=True)
            if (word := text[begin:end]) in wanted
        ]
        counts += np.bincount(np.array(found, np.int64), minlength=len(wanted))
        release_pages(ids)
        on_progress(len(text))
    return counts


def _blocks_of_whole_words(ids: IdArray, vocab: Vocab) -> Iterator[Block]:
    """Yield all characters of a text in blocks that cut no word, unless it is as long as half a block."""
    begin = 0
    while begin < len(ids):
        block = read_block(ids, vocab, begin, begin + BLOCK_CHARS)
        size = len(block.text)
        if begin + size < len(ids):
            # The class of an apostrophe depends on what follows it, so a block ends after a space or a newline.
            tail = block.classes[size // 2 :]
            cuts = np.flatnonzero((tail == CharClass.SPACE) | (tail == CharClass.NEWLINE))
            if len(cuts):
                size = size // 2 + int(cuts[-1]) + 1
                block = Block(begin, block.text[:size], block.classes[:size])
        yield block
        begin += size

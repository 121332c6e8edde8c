"""Classes of characters by their Unicode category: letters, digits, spaces, punctuation, …

Shapes: N characters, V vocabulary.
"""

import unicodedata
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from charrnn.text.documents import END
from charrnn.text.vocab import UNKNOWN, IdArray, Vocab

CLASSES = (
    "lower case",
    "upper case",
    "other letters",
    "combining marks",
    "digits",
    "spaces",
    "newlines",
    "punctuation",
    "symbols",
    "other characters",
    "ends of documents",
    "unknown",
    "invalid bytes",
)
"""All classes, in the order in which they are listed. Each character belongs to one. `other letters` are those of
scripts without case; `unknown` is the unknown symbol; `invalid bytes` are those of no character, in bytes that are not
UTF-8."""

_BLOCK = 1 << 20
_LONGEST = 4
"""Bytes of a character in UTF-8, at most."""


def class_of(character: str) -> int:
    """Return the index in `CLASSES` of a character; "" stands for the unknown symbol."""
    return CLASSES.index(_class_name(character))


def _class_name(character: str) -> str:
    if character == UNKNOWN:
        return "unknown"
    if character == END:
        return "ends of documents"
    if character in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029":  # the line boundaries of str.splitlines
        return "newlines"
    category = unicodedata.category(character)
    if category == "Cs":  # the "surrogateescape" of a byte that belongs to no character
        return "invalid bytes"
    if character.isspace():
        return "spaces"
    if category in ("Lu", "Lt"):
        return "upper case"
    if category == "Ll":
        return "lower case"
    groups = {"L": "other letters", "M": "combining marks", "N": "digits", "P": "punctuation", "S": "symbols"}
    return groups.get(category[0], "other characters")


def classes_at(vocab: Vocab, ids: IdArray, positions: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """Yield the class of each character at `positions` (M,), ascending, block by block of up to a million.

    The class of a byte is that of the character that it is a part of, whose other bytes may be at other positions.
    """
    if vocab.kind == "char":
        table = np.array([class_of(character) for character in vocab.characters], np.uint8)
        for begin in range(0, len(positions), _BLOCK):
            yield table[ids[positions[begin : begin + _BLOCK]]]
        return
    for begin in range(0, len(positions), _BLOCK):
        block = positions[begin : begin + _BLOCK]
        # Each run of positions that follow each other is decoded at once.
        for run in np.split(block, np.flatnonzero(np.diff(block) > 1) + 1):
            first, last = max(0, int(run[0]) - _LONGEST), min(len(ids), int(run[-1]) + _LONGEST)
            yield classes_of_bytes(ids[first:last].astype(np.uint8).tobytes())[run - first]


def classes_of_bytes(data: bytes) -> NDArray[np.uint8]:
    """Return the class of each byte (N,) of a text in UTF-8; a character that is cut at the ends is `invalid bytes`."""
    points, sizes = decode_bytes(data)
    distinct, index = np.unique(points, return_inverse=True)
    classes = np.array([class_of(chr(point)) for point in distinct], np.uint8)
    return np.repeat(classes[index], sizes)


def decode_bytes(data: bytes) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Decode bytes (N,) as UTF-8: the code point of each character, and how many bytes it has, N in all.

    A byte that belongs to no character is one by itself: a lone surrogate, as by "surrogateescape".
    """
    text = data.decode("utf-8", "surrogateescape")
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    is_byte = (points >= 0xDC80) & (points <= 0xDCFF)
    sizes = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    return points, np.where(is_byte, 1, sizes)

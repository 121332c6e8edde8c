"""A text as a model reads it: ids of the context and of the text, and one decoded character per id.

Shapes: M characters of context, N characters of text (bytes, for the byte alphabet).
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from charrnn.errors import DataError, UsageError
from charrnn.text.vocab import IdArray, Vocab


@dataclass(frozen=True, slots=True, eq=False)
class EncodedText:
    """A text of N characters and the M characters before it, which the model reads but which are not measured."""

    ids: IdArray = field(repr=False)
    """(M + N,): the ids of the context, then those of the text."""
    first: int
    """M: the index in `ids` at which the text begins."""
    text: str
    """N characters, one per id of the text: U+FFFD for the unknown symbol, chr(i) for byte i."""
    kind: Literal["char", "byte"]
    """The kind of alphabet (`Vocab.kind`)."""

    def __post_init__(self) -> None:
        num_ids = len(self.ids) - self.first
        if self.first < 0 or num_ids != len(self.text):
            raise ValueError(f"{len(self.text)} characters do not decode {num_ids} ids")

    def __len__(self) -> int:
        """Return N."""
        return len(self.text)

    def part(self, begin: int, end: int | None = None) -> "EncodedText":
        """Return characters [begin, end) of the text, with everything before `begin` as context.

        Both are clipped as in a slice; negative values count from the end.
        """
        begin, end, _ = slice(begin, end).indices(len(self.text))
        end = max(begin, end)
        return EncodedText(self.ids[: self.first + end], self.first + begin, self.text[begin:end], self.kind)


def encode_text(vocab: Vocab, text: str | bytes, context: str | bytes = "") -> EncodedText:
    """Encode `text` and the `context` before it.

    Raises DataError for an empty text, UsageError for bytes where the alphabet consists of characters.
    """
    if vocab.kind == "char" and (isinstance(text, bytes) or (context and isinstance(context, bytes))):
        raise UsageError("This model reads characters, and the text is given as bytes: decode it first.")
    ids = vocab.encode(text)
    if len(ids) == 0:
        raise DataError("The text is empty: give at least one character.")
    before = vocab.encode(context) if context else ids[:0]
    return EncodedText(np.concatenate((before, ids)), len(before), decode_each(vocab, ids), vocab.kind)


def decode_each(vocab: Vocab, ids: IdArray) -> str:
    """Decode ids (N,) into N characters, one for each: chr(i) for byte i, also inside a character of several bytes."""
    return "".join(map(chr, ids)) if vocab.kind == "byte" else vocab.decode(ids)


def undo_decode_each(text: str, kind: Literal["char", "byte"]) -> str | bytes:
    """Return the text that `decode_each` has decoded: bytes for the byte alphabet."""
    return text.encode("latin-1") if kind == "byte" else text

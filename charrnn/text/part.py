"""A contiguous part of a corpus that is read in blocks, so that its length needs no memory."""

from dataclasses import dataclass, field

import numpy as np

from charrnn.text.corpus import Corpus
from charrnn.text.vocab import IdArray

CONTEXT_CHARS = 1 << 16
"""Characters of context, at most: far more than any measurement reads before a text."""


@dataclass(frozen=True, slots=True)
class CorpusPart:
    """Characters [begin, end) of a corpus (bytes, for the byte alphabet): N in all, decoded where they are sliced.

    Raises ValueError if the part is not inside the corpus.
    """

    corpus: Corpus = field(repr=False)
    begin: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.begin <= self.end <= len(self.corpus):
            raise ValueError(f"[{self.begin}, {self.end}) is not inside a corpus of length {len(self.corpus)}")

    def __len__(self) -> int:
        """Return N."""
        return self.end - self.begin

    def __getitem__(self, chars: slice) -> str | bytes:
        """Decode some of the characters. Raises ValueError for a step other than 1."""
        begin, end, step = chars.indices(len(self))
        if step != 1:
            raise ValueError(f"a part of a corpus is sliced by steps of 1, not of {step}")
        return self.corpus.text(self.begin + begin, self.begin + max(begin, end))

    @property
    def ids(self) -> IdArray:
        """(begin + N,): the ids of everything before the part, as its context, and of the part."""
        return self.corpus.ids[: self.end]

    @property
    def context(self) -> str | bytes:
        """The last `CONTEXT_CHARS` characters before the part."""
        return self.corpus.text(max(0, self.begin - CONTEXT_CHARS), self.begin)

    @property
    def num_bytes(self) -> int:
        """Bytes of the part in UTF-8."""
        return self.corpus.num_bytes(self.begin, self.end)

    @property
    def num_unknown(self) -> int:
        """Characters of the part that are outside the alphabet."""
        return self.corpus.num_unknown(self.begin, self.end)

    def has_same_ids(self, other: "CorpusPart") -> bool:
        """Return whether two parts have the same ids, read block by block."""
        if len(self) != len(other):
            return False
        blocks = range(0, len(self), CONTEXT_CHARS)
        first, second = self.ids[self.begin :], other.ids[other.begin :]
        return all(np.array_equal(first[i : i + CONTEXT_CHARS], second[i : i + CONTEXT_CHARS]) for i in blocks)

"""Find the passages and documents of a text that occur in another text, by their hashes.

The other text may be large: it is read slice by slice, so that the memory depends only on the first
text. Two different passages have the same hash with a probability of 2^-64; then the first one
wrongly counts as a copy.

Shapes: N characters of a text (bytes, for the byte alphabet), W = N - length + 1 windows of
`length` characters, S segments.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.text.documents import END, END_BYTE
from charrnn.text.vocab import code_points

SLICE_CHARS = 1 << 20
"""Number of characters of a corpus that are decoded at a time."""
BLOCK_CHARS = 1 << 16
"""Number of windows of the corpus that are hashed at a time: few enough for the cache of one
core."""
LONG_COPY = 100
"""Length of a passage that two texts do not share by chance. In the Python standard library, 22 %
of the validation text lie in passages of 30 characters that the training text contains, too, and 2
% in passages of 100 characters, which are licences. In War and Peace it is 0.5 % and none."""
SEGMENT_CHARS = 1000
"""Length of each segment of a text that is searched for long copies."""
MAX_SEGMENTS = 128
"""Maximum number S of segments that are searched. They are spread evenly over the text."""
LEAST_SHARE = 0.05
"""The smallest share of copies that is reported. A smaller share changes the loss little."""

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
"""The inverse of _BASE modulo 2^64."""
_FILTER_BITS = 22
"""Number of leading bits of a hash that index the table of the filter, which has 4 MB."""

Codes = NDArray[np.uint64]


class SlicedText(Protocol):
    """A text that is read slice by slice: str, bytes, or a part of a corpus."""

    def __len__(self) -> int:
        """Return the number of characters."""

    def __getitem__(self, chars: slice, /) -> str | bytes:
        """Return a slice of the characters. All slices are str, or all are bytes."""


def codes_of(content: str | bytes) -> Codes:
    """Return the code points of a text (N,), or its bytes."""
    if isinstance(content, bytes):
        return np.frombuffer(content, np.uint8).astype(np.uint64)
    return code_points(content).astype(np.uint64)


def window_hashes(codes: Codes, length: int) -> Codes:
    """Hash each window of `length` codes: sum of code_k * BASE^k modulo 2^64 (Karp & Rabin 1987).

    BASE is odd and so has an inverse modulo 2^64: the hash of a window is a difference of two
    prefix sums, divided by a power of BASE.
    """
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers_of_base(len(codes)), out=sums[1:])

    # The overflow of 64-bit integers is the modulus.
    hashes = sums[length:] - sums[:-length]
    hashes *= _powers(_INVERSE, len(hashes))
    return hashes


def powers_of_base(num: int) -> Codes:
    """Return the first `num` powers of the base of `window_hashes`, by which it multiplies the
    codes."""
    return _powers(_BASE, num)


@lru_cache(maxsize=4)  # for the blocks of a corpus
def _powers(base: int, num: int) -> Codes:
    powers = np.full(num, base, np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)


def slices_of(corpus: SlicedText, length: int) -> Iterator[tuple[int, str | bytes]]:
    """Yield (offset, text) of overlapping slices of a corpus, so that each window of `length`
    characters lies in exactly one slice."""
    for begin in range(0, len(corpus) - length + 1, SLICE_CHARS):
        yield begin, corpus[begin : begin + SLICE_CHARS + length - 1]


def blocks_of_codes(corpus: SlicedText, length: int) -> Iterator[tuple[int, Codes]]:
    """Yield (start, codes) of blocks of the corpus; each has up to BLOCK_CHARS windows of `length`
    characters."""
    for begin, text in slices_of(corpus, length):
        # The slices are large, because a part of a corpus decodes each of them. The blocks are
        # small, so that they fit into the cache of the core.
        for first in range(0, len(text) - length + 1, BLOCK_CHARS):
            yield begin + first, codes_of(text[first : first + BLOCK_CHARS + length - 1])


def document_hashes(text: SlicedText) -> Iterator[Codes]:
    """Yield the hashes of the documents of a text, slice by slice. Each document ends with END
    (U+0000). The hashes differ between processes."""
    empty: Any = text[:0]
    end: Any = END
    if isinstance(empty, bytes):
        end = END_BYTE
    # Pieces of a document that continues in the next slice are joined only once.
    pieces: list[Any] = []
    for begin in range(0, len(text), SLICE_CHARS):
        slice_of_text: Any = text[begin : begin + SLICE_CHARS]
        first, *following = slice_of_text.split(end)
        pieces.append(first)
        if following:
            yield hash_documents([empty.join(pieces), *following[:-1]])
            pieces = [following[-1]]


def hash_documents(documents: Sequence[str | bytes]) -> Codes:
    """Hash each of D documents (D,)."""
    return np.fromiter(map(hash, documents), np.int64, len(documents)).view(np.uint64)


class KnownHashes:
    """A set of K hashes for fast look-ups: a filter drops most hashes that are not in the set."""

    def __init__(self, hashes: Iterable[Codes]) -> None:
        # Equal hashes are not removed: `np.unique` takes 20 times as long as a sort.
        self.sorted = np.sort(np.concatenate([np.zeros(0, np.uint64), *hashes]))
        self._shift = np.uint64(64 - _FILTER_BITS)
        self._is_possible = np.zeros(1 << _FILTER_BITS, np.bool_)
        self._is_possible[self.sorted >> self._shift] = True

    def find(self, hashes: Codes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the indices of the `hashes` that are known, and the first index of each in
        `sorted`."""
        # The leading bits are looked up first: a binary search takes ten times as long.
        indices = np.flatnonzero(self._is_possible[hashes >> self._shift])
        positions = np.searchsorted(self.sorted, hashes[indices]).clip(max=len(self.sorted) - 1)
        is_known = self.sorted[positions] == hashes[indices]
        return indices[is_known], positions[is_known]


def _are_among(hashes: Codes, blocks: Iterable[Codes]) -> NDArray[np.bool_]:
    """Return for each of the hashes (K,) whether it is in one of the blocks."""
    known_hashes = KnownHashes([hashes])
    is_found = np.zeros(len(hashes), np.bool_)
    for block in blocks:
        _, positions = known_hashes.find(block)
        is_found[positions] = True
    return is_found[known_hashes.find(hashes)[1]]


def trained_share(text: SlicedText, training: SlicedText, config: Config) -> float:
    """Measure the share of a text that the training text contains, too. The text must not be empty.

    For documents, it is the share of documents that are equal to a document of the training text.
    For running text, it is the share of characters that lie in passages of at least `LONG_COPY`
    characters which the training text contains. It is measured in at most `MAX_SEGMENTS` segments
    of `SEGMENT_CHARS` characters, spread evenly over the text.
    """
    if config.end_id is not None:
        document_codes = np.concatenate([np.zeros(0, np.uint64), *document_hashes(text)])
        return float(
            _are_among(document_codes, document_hashes(training)).sum()
            / max(1, len(document_codes))
        )

    # A text that is shorter than a passage contains none.
    size = min(SEGMENT_CHARS, len(text))
    if size < LONG_COPY:
        return 0.0
    num_segments = min(MAX_SEGMENTS, -(-len(text) // size))
    begins = np.linspace(0, len(text) - size, num_segments).astype(np.int64).tolist()
    segments = [window_hashes(codes_of(text[begin : begin + size]), LONG_COPY) for begin in begins]
    blocks = blocks_of_codes(training, LONG_COPY)
    is_copied = _are_among(
        np.concatenate(segments), (window_hashes(codes, LONG_COPY) for _, codes in blocks)
    )

    # A character is copied if it lies in a copied window.
    num_copied = 0
    for is_found in is_copied.reshape(num_segments, -1):
        num_copied += np.count_nonzero(np.convolve(is_found, np.ones(LONG_COPY, np.int64)))
    return num_copied / (num_segments * size)


def trained_notes(share: float | None, config: Config, *, part: str) -> list[str]:
    """Describe the share of a run's validation or test text, `part`, that the training text
    contains, too, if it is at least `LEAST_SHARE`."""
    if share is None or share < LEAST_SHARE:
        return []
    repeated = f"passages of at least {LONG_COPY} characters"
    share_of_part = f"{100 * share:.0f} % of the {part} text lies in {repeated}"
    if config.end_id is not None:
        repeated = "documents"
        share_of_part = f"{100 * share:.0f} % of the documents of the {part} text are ones"
    return [
        f"{share_of_part} that the training text has as well: the loss is lower than that of new"
        f" text. Leave repeated {repeated} out."
    ]

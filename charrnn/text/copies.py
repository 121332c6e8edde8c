"""Find the passages and documents of a text that occur in another text, by their hashes.

The other text, the corpus, may be large: it is read slice by slice, so that the memory depends only
on the first text. What hashes find is compared character by character before it counts.

Shapes: N characters of a text (bytes, for the byte alphabet), W = N - length + 1 windows of
`length` characters, M matches, P pairs of places, S segments.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.errors import named
from charrnn.system.arrays import BoolArray, Int64Array
from charrnn.system.progress import task
from charrnn.text.corpus import CorpusPart
from charrnn.text.documents import END
from charrnn.text.vocab import Vocab, code_points

BLOCK_CHARS = 1 << 16
"""Number of characters, or windows, of the corpus that are read at a time: few enough for the cache
of one core."""
LONG_COPY = 100
"""Length of a passage that two texts do not share by chance. In the Python standard library, 22 %
of the validation text lie in passages of 30 characters that the training text contains, too, and 2
% in passages of 100 characters, which are licences. In War and Peace it is 0.5 % and none."""
SEGMENT_CHARS = 1000
"""Length of each segment of a text that is searched for long copies."""
MAX_SEGMENTS = 128
"""Maximum number S of segments that are searched. They are spread evenly over the text."""
MAX_PAIRS = 1 << 20
"""Pairs of equal windows of a text and a corpus that are followed, at most, unless many different
windows have `LEAST_PAIRS`."""
LEAST_PAIRS = 1000
"""Pairs of each window that are followed in any case."""
LEAST_SHARE = 0.05
"""The smallest share of copies that is reported. A smaller share changes the loss little."""
BASE = 0x9E3779B97F4A7C15
"""The base of the hashes of `window_hashes`."""

INVERSE = pow(BASE, -1, 1 << 64)
"""The inverse of BASE modulo 2^64."""
_FILTER_BITS = 22
"""Number of leading bits of a hash that index the table of the filter, which has 4 MB."""

_NO_CODE = np.uint64((1 << 64) - 1)
"""The code between segments: no character has it."""

Codes = NDArray[np.uint64]
"""Code points, bytes, or hashes."""
Offsets = NDArray[np.int64]
"""Offsets in a text, or lengths of passages."""


SlicedText = str | bytes | CorpusPart
"""A text that is read slice by slice. All slices are str, or all are bytes."""


def codes_of(content: str | bytes) -> Codes:
    """Return the code points of a text (N,), or its bytes, as the hashes need them.

    Call it for the text that `find_matches` looks for; the corpus stays a text, which is read slice
    by slice.
    """
    return code_points(content).astype(np.uint64)


def window_hashes(codes: Codes, length: int) -> Codes:
    """Hash each window of `length` codes (W,) of a text (N,).

    The hash of a passage is the sum of code_k * BASE^k modulo 2^64 (Karp & Rabin 1987). BASE is odd
    and so has an inverse modulo 2^64: the hash is a difference of two prefix sums, divided by a
    power of BASE. The overflow of 64-bit integers is the modulus.
    """
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers_of(BASE, num=len(codes)), out=sums[1:])
    hashes: Codes = sums[length:] - sums[:-length]
    # The powers of the window's place are divided out, so that equal windows have equal hashes.
    hashes *= powers_of(INVERSE, num=len(hashes))
    return hashes


@lru_cache(maxsize=8)  # for a text and the blocks of a corpus
def powers_of(base: int, num: int) -> Codes:
    """Return the first `num` powers of a number, modulo 2^64."""
    powers = np.full(num, base, np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)


def blocks_of_codes(corpus: SlicedText, length: int) -> Iterator[tuple[int, Codes]]:
    """Yield (start, codes) of overlapping blocks of the corpus, so that each window of `length`
    characters lies in exactly one block. Each has up to BLOCK_CHARS windows."""
    for begin in range(0, len(corpus) - length + 1, BLOCK_CHARS):
        yield begin, codes_of(corpus[begin : begin + BLOCK_CHARS + length - 1])


def loose_key(document: str | bytes) -> str:
    """Return a document without case, blanks at its ends and the forms of Unicode.

    Two names are the same to a reader if their keys are equal, but not two molecules: in SMILES,
    small letters are aromatic. Passages of running text are compared as they stand.
    """
    if isinstance(document, bytes):
        document = document.decode("utf-8", "surrogateescape")
    return normalize("NFKC", document).casefold().strip()


def documents_of(text: SlicedText) -> Iterator[str | bytes]:
    """Yield the documents of a text. Each ends with END (U+0000) in the text, which is read slice
    by slice.

    Use it for text that a run has read, however large it is; `documents.end_documents` finds the
    documents of a file and writes the END.
    """
    rest: Any = text[:0]
    end: Any = END
    if isinstance(rest, bytes):
        end = END.encode()
    for first in range(0, len(text), BLOCK_CHARS):
        # The last piece continues in the next slice.
        *documents, rest = (rest + text[first : first + BLOCK_CHARS]).split(end)
        yield from documents


def known_documents(*texts: SlicedText) -> set[str]:
    """Return the `loose_key` of each document of some texts. The keys themselves are kept, so that
    no hash decides.

    A document is known if its `loose_key` is among them. For passages of running text, see
    `KnownPassages`.
    """
    return {loose_key(document) for text in texts for document in documents_of(text)}


class KnownHashes:
    """A set of K hashes for fast look-ups: a filter drops most hashes that are not in the set."""

    def __init__(self, hashes: Iterable[Codes]):
        # Equal hashes are not removed: `np.unique` takes 20 times as long as a sort.
        self.sorted = np.sort(np.concatenate([np.zeros(0, np.uint64), *hashes]))
        self._shift = np.uint64(64 - _FILTER_BITS)
        self._is_possible = np.zeros(1 << _FILTER_BITS, np.bool_)
        self._is_possible[self.sorted >> self._shift] = True

    def find(self, hashes: Codes) -> "FoundHashes":
        """Return which of the `hashes` are known."""
        # The leading bits are looked up first: a binary search takes ten times as long.
        indices = np.flatnonzero(self._is_possible[hashes >> self._shift])
        positions = np.searchsorted(self.sorted, hashes[indices]).clip(max=len(self.sorted) - 1)
        is_known = self.sorted[positions] == hashes[indices]
        return FoundHashes(indices[is_known], positions=positions[is_known])


class FoundHashes(NamedTuple):
    """The known ones among some hashes."""

    indices: Int64Array
    """Their indices among the hashes."""
    positions: Int64Array
    """The first index of each in `KnownHashes.sorted`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownPassages:
    """The passages of some texts that a text must not complete: those of one character more than it
    may copy.

    A sampler calls it before each character, to draw no copy; `find_matches` finds the copies of a
    text that is already there, with their places.

    They are known by the hash of all their characters but the last one, in 8 bytes, and by that
    character, so that none is missed. Other characters have the hash of a passage with a
    probability of 1 in 2^64: one character more is then forbidden.
    """

    num_chars: int
    """Characters in a row that a text may copy."""
    hashes: Codes
    """(M,): the hashes of the beginnings, sorted."""
    last_ids: NDArray[np.int32]
    """(M,): the last character of each passage."""
    codes: Codes
    """The code (V,) of each character."""
    powers: Codes
    """The factors of the characters in a hash."""

    def __call__(self, ids: Sequence[int]) -> BoolArray:
        """Return which characters (V,) would complete a passage after a text of ids."""
        completes = np.zeros(len(self.codes), np.bool_)
        # No character completes a passage after a shorter text.
        if len(ids) >= self.num_chars:
            before = self.codes[list(ids[len(ids) - self.num_chars :])]
            begun = (before * self.powers[:-1]).sum(dtype=np.uint64)
            first = np.searchsorted(self.hashes, begun)
            end = np.searchsorted(self.hashes, begun, side="right")
            completes[self.last_ids[first:end]] = True
        return completes


def read_known_passages(
    texts: Sequence[SlicedText], num_chars: int, *, vocab: Vocab, end_id: int | None
) -> KnownPassages:
    """Read the texts of which at most `num_chars` characters in a row may be copied. `end_id` is
    the END of documents, which never completes a passage.

    It takes seconds for a large text, once for all texts that are drawn.
    """
    # A passage longer than every text forbids nothing, as does a passage of the longest text.
    num_chars = min(num_chars, max(map(len, texts)))
    begun = [np.zeros(0, np.uint64)]
    last = [np.zeros(0, np.int32)]
    for text in texts:
        for _, block in blocks_of_codes(text, length=num_chars + 1):
            hashes = window_hashes(block[:-1], length=num_chars)
            ids = vocab.ids_of(block[num_chars:]).astype(np.int32)
            kept = _first_of_pairs(hashes, ids)
            begun.append(hashes[kept])
            last.append(ids[kept])
    hashes = np.concatenate(begun)
    ids = np.concatenate(last)
    kept = _first_of_pairs(hashes, ids)
    kept = kept[ids[kept] != (-1 if end_id is None else end_id)]

    # The unknown symbol is never drawn, so it may have any code.
    points = [ord(character or END) for character in vocab.characters]
    return KnownPassages(
        num_chars=num_chars,
        hashes=hashes[kept],
        last_ids=ids[kept],
        codes=np.array(points, np.uint64),
        powers=powers_of(BASE, num=num_chars + 1),
    )


def _first_of_pairs(hashes: Codes, ids: NDArray[np.int32]) -> Int64Array:
    """Return the index of the first of all equal pairs of a hash and an id, in the order of the
    hashes."""
    order = np.lexsort((ids, hashes))
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = np.diff(hashes[order]) != 0
    is_new[1:] |= np.diff(ids[order]) != 0
    return order[is_new]


def are_covered(passages: Iterable[Sequence[int]], num_chars: int) -> BoolArray:
    """Return for each of N characters whether it lies in one of the passages, of which each begins
    with its start and its length. Passages may overlap.

    A share of copied text is counted by it, not by adding lengths up.
    """
    is_covered = np.zeros(num_chars, np.bool_)
    for start, length, *_ in passages:
        is_covered[start : start + length] = True
    return is_covered


def find_matches(codes: Codes, corpus: SlicedText, length: int) -> Offsets:
    """Find the longest passages of a text, of at least `length` characters, that occur in a corpus.

    It answers what a text has copied, and from where. `find_repeats` looks in the text itself,
    `trained_share` only counts.

    Return start, length, first place in the corpus, and number of places of each (M, 4), in the
    order of the text. With one more character at either end, a match does not occur in the corpus.
    Matches may overlap, but none contains another. The corpus is read once. Memory depends on the
    text alone.

    Where text and corpus repeat themselves, a window has so many pairs of places that not all can
    be followed (`MAX_PAIRS`): it is followed from its first places in the corpus, and a match may
    be shorter than it could be, or have more places. But each character in a window that the corpus
    contains is part of a match.
    """
    known = KnownHashes([window_hashes(codes, length)])
    return _longest(_equal_runs(codes, known, corpus=corpus, length=length))


def find_repeats(text: str | bytes, length: int) -> Offsets:
    """Find the passages of a text, of at least `length` characters, that occur in it again.

    It finds what an author has written twice in one manuscript, where there is no second text.

    Return start, length, another place, and number of other places of each (M, 4), in the order of
    the text, as `find_matches`. Both places do not overlap.
    """
    # Most windows occur once.
    codes = codes_of(text)
    hashes = np.sort(window_hashes(codes, length))
    known = KnownHashes([hashes[1:][hashes[1:] == hashes[:-1]]])
    runs = _equal_runs(codes, known, corpus=text, length=length)
    distances = runs[:, 0] - runs[:, 2]
    is_apart = distances >= length
    runs = runs[is_apart]

    # Where both places overlap, as in a row of dashes, as much as fits between them is left of the
    # beginning and of the end.
    heads = runs.copy()
    heads[:, 1] = np.minimum(runs[:, 1], distances[is_apart])
    skipped = runs[:, 1] - heads[:, 1]
    tails = heads + skipped[:, np.newaxis] * np.array([1, 0, 1])
    pieces = np.unique(np.concatenate([heads, tails]), axis=0)
    # Each place is a repetition of the other.
    return _longest(np.concatenate([pieces, pieces[:, ::-1]]))


def _equal_runs(codes: Codes, known: KnownHashes, *, corpus: SlicedText, length: int) -> Offsets:
    """Return start, length and place in the corpus (P, 3) of the runs of windows of `length`
    characters with `known` hashes that a text and a corpus share, each as long as it can be."""
    # Equal windows of the text are a group: their places follow each other in `places`.
    windows, groups = known.find(window_hashes(codes, length))
    places = windows[np.argsort(groups, kind="stable")]
    sizes = np.bincount(groups)
    firsts = np.cumsum(sizes) - sizes
    # For each group, the number of places in the corpus that are still followed.
    num_left = LEAST_PAIRS // sizes.clip(min=1)
    num_left = np.maximum(num_left, MAX_PAIRS // max(1, len(codes))).clip(min=1)

    runs = [np.zeros((0, 3), np.int64)]
    with task("comparing", total=len(corpus)) as advance:
        for begin, block in blocks_of_codes(corpus, length=length):
            # The windows of the block that are in the text, group by group.
            indices, groups = known.find(window_hashes(block, length))
            order = np.argsort(groups, kind="stable")
            groups = groups[order]
            ranks = np.arange(len(groups)) - np.searchsorted(groups, groups)
            is_within = ranks < num_left[groups]
            np.subtract.at(num_left, groups, 1)

            # Each is paired with every place of its group in the text.
            groups = groups[is_within]
            num_places = sizes[groups]
            pairs_before = np.cumsum(num_places) - num_places
            begins = np.repeat(firsts[groups] - pairs_before, num_places)
            starts = places[begins + np.arange(len(begins))]
            sources = np.repeat(indices[order][is_within], num_places)

            # Windows are equal character by character, and not by their hashes alone.
            is_equal = np.ones(len(starts), np.bool_)
            for offset in range(length):
                is_equal &= codes[starts + offset] == block[sources + offset]
            pairs = np.stack([starts, np.ones_like(starts), sources + begin], axis=1)
            runs.append(_joined_runs(pairs[is_equal]))
            advance(len(block) - length + 1)
    joined = _joined_runs(np.concatenate(runs))
    # A run of n windows has more characters.
    joined[:, 1] += length - 1
    return joined


def _joined_runs(runs: Offsets) -> Offsets:
    """Join runs (P, 3) of windows that follow each other in both texts."""
    starts, lengths, sources = runs[np.lexsort((runs[:, 0], runs[:, 2] - runs[:, 0]))].T
    follows = (starts[1:] == starts[:-1] + lengths[:-1]) & (
        sources[1:] == sources[:-1] + lengths[:-1]
    )
    firsts = np.flatnonzero(np.append(True, ~follows)[: len(starts)])
    if not len(firsts):
        return runs
    lengths = np.add.reduceat(lengths, firsts)
    return np.stack([starts[firsts], lengths, sources[firsts]], axis=1)


def _longest(runs: Offsets) -> Offsets:
    """Return start, length, first place and number of places (M, 4) of the runs (P, 3) that no
    other contains."""
    # The longest from each start first, and of these the first in the corpus.
    runs = runs[np.lexsort((runs[:, 2], -runs[:, 1], runs[:, 0]))]
    _, firsts, nums = np.unique(runs[:, :2], axis=0, return_index=True, return_counts=True)
    order = np.argsort(firsts)
    matches = np.column_stack([runs[firsts], nums])[order]
    # A match that ends no later than one before it lies within that one.
    stops = matches[:, 0] + matches[:, 1]
    reached = np.maximum.accumulate(np.append(0, stops))[:-1]
    return matches[stops > reached]


def trained_share(text: SlicedText, training: SlicedText, config: Config) -> float:
    """Measure the share of a text that the training text contains, too. The text must not be empty.

    A loss on held-out text that was learned says nothing: this is measured before a loss is
    believed. It reads some segments of a long text; `find_matches` reads all of it, and names the
    places. For documents, it is the share of documents that are equal to a document of the training
    text. For running text, it is the share of characters that lie in passages of at least
    `LONG_COPY` characters which the training text contains. It is measured in at most
    `MAX_SEGMENTS` segments of `SEGMENT_CHARS` characters, spread evenly over the text.
    """
    if config.end_id is not None:
        known = known_documents(training)
        is_learned = [loose_key(document) in known for document in documents_of(text)]
        return sum(is_learned) / max(1, len(is_learned))

    # A text that is shorter than a passage contains none.
    size = min(SEGMENT_CHARS, len(text))
    if size < LONG_COPY:
        return 0.0
    num_segments = min(MAX_SEGMENTS, -(-len(text) // size))
    begins = np.linspace(0, len(text) - size, num_segments).astype(np.int64).tolist()

    # One search for all segments reads the training text once; a code that no text has keeps
    # matches from crossing from one into the next.
    segments = [codes_of(text[begin : begin + size]) for begin in begins]
    joined = np.concatenate([np.append(codes, _NO_CODE) for codes in segments])
    matches = find_matches(joined, training, length=LONG_COPY).tolist()
    return float(are_covered(matches, num_chars=len(joined)).sum()) / (num_segments * size)


def trained_notes(share: float | None, config: Config, *, part: str) -> list[str]:
    """Describe the share of a run's validation or test text, `part`, that the training text
    contains, too, if it is at least `LEAST_SHARE`.

    Whoever shows a held-out loss shows the note with it: such a loss is too low.
    """
    if share is None or share < LEAST_SHARE:
        return []
    what = f"the {part} text, in passages of at least {LONG_COPY} characters,"
    remedy = "Leave repeated passages out."
    if config.end_id is not None:
        what = f"the documents of the {part} text"
        remedy = f"Train with {named('unique_documents', 'true')}, which leaves repeated ones out."
    return [
        f"{100 * share:.0f} % of {what} are in the training text, too: the loss is lower than"
        f" that of new text. {remedy}"
    ]

"""Find the passages and documents of a text that occur in another text, by their hashes.

The other text, the corpus, may be large: it is read slice by slice, so that the memory depends only
on the first text. What hashes find is compared character by character before it counts.

Shapes: N characters of a text (bytes, for the byte alphabet), W = N - length + 1 windows of
`length` characters, M matches, P pairs of places, S segments.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.errors import named
from charrnn.system.arrays import BoolArray, Int64Array
from charrnn.system.progress import task
from charrnn.text.documents import END
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
MAX_PAIRS = 1 << 22
"""Pairs of equal windows of a text and a corpus that are followed, at most, unless many different
windows have `LEAST_PAIRS`."""
LEAST_PAIRS = 1000
"""Pairs of each window that are followed in any case."""
MOST_REPEATS = 64
"""Equal windows of a text with which each of them is compared, on either side."""
LEAST_SHARE = 0.05
"""The smallest share of copies that is reported. A smaller share changes the loss little."""
BASE = 0x9E3779B97F4A7C15
"""The base of the hashes of `HashedText`."""

_INVERSE = pow(BASE, -1, 1 << 64)
"""The inverse of BASE modulo 2^64."""
_FILTER_BITS = 22
"""Number of leading bits of a hash that index the table of the filter, which has 4 MB."""
_SOURCE_BITS = 40
"""Bits of an offset in a corpus."""

_NO_CODE = np.uint64((1 << 64) - 1)
"""The code between segments: no character has it."""

Codes = NDArray[np.uint64]
"""Code points, bytes, or hashes."""
Places = NDArray[np.int64]
"""Offsets in a text, or lengths of passages."""


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


class HashedText:
    """The codes of a text (N,), with sums from which each passage is hashed at once.

    The hash of a passage is the sum of code_k * BASE^k modulo 2^64 (Karp & Rabin 1987). BASE is odd
    and so has an inverse modulo 2^64: the hash is a difference of two prefix sums, divided by a
    power of BASE. The overflow of 64-bit integers is the modulus.
    """

    def __init__(self, codes: Codes) -> None:
        self.codes = codes
        self._sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum(codes * powers_of(BASE, len(codes)), out=self._sums[1:])

    def window_hashes(self, length: int) -> Codes:
        """Hash each window of `length` codes (W,)."""
        hashes = self._sums[length:] - self._sums[:-length]
        # The powers of the window's place are divided out, so that equal windows have equal hashes.
        hashes *= powers_of(_INVERSE, len(hashes))
        return hashes

    def passage_hashes(self, starts: Places, lengths: Places) -> Codes:
        """Hash the passage of each of the `lengths` that begins at each of `starts`."""
        hashes: Codes = self._sums[starts + lengths] - self._sums[starts]
        hashes *= powers_of(_INVERSE, len(self._sums))[starts]
        return hashes

    def common_lengths(self, starts: Places, other: "HashedText", others: Places) -> Places:
        """Return how many codes from each of `starts` equal those of another text from `others`
        on."""
        # Try the most first, because passages of texts that repeat themselves are often equal as
        # far as the texts go. Then find the bits of the other lengths, from the highest one.
        most = np.minimum(len(self.codes) - starts, len(other.codes) - others)
        lengths = np.zeros_like(most)
        step = 1 << int(most.max(initial=0)).bit_length()
        while step:
            rest = np.flatnonzero(lengths < most)
            tried = np.minimum(lengths[rest] + step, most[rest])
            hashes = self.passage_hashes(starts[rest], tried)
            is_equal = hashes == other.passage_hashes(others[rest], tried)
            lengths[rest[is_equal]] = tried[is_equal]
            step //= 2
        return lengths


@lru_cache(maxsize=8)  # for a text and the blocks of a corpus
def powers_of(base: int, num: int) -> Codes:
    """Return the first `num` powers of a number, modulo 2^64."""
    powers = np.full(num, base, np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)


def blocks_of_codes(corpus: SlicedText, length: int) -> Iterator[tuple[int, Codes]]:
    """Yield (start, codes) of overlapping blocks of the corpus, so that each window of `length`
    characters lies in exactly one block. Each has up to BLOCK_CHARS windows."""
    # The slices are large, because a part of a corpus decodes each of them. The blocks are small,
    # so that they fit into the cache of the core.
    for begin in range(0, len(corpus) - length + 1, SLICE_CHARS):
        text = corpus[begin : begin + SLICE_CHARS + length - 1]
        for first in range(0, len(text) - length + 1, BLOCK_CHARS):
            yield begin + first, codes_of(text[first : first + BLOCK_CHARS + length - 1])


def loose_key(document: str | bytes) -> str:
    """Return a document without case, blanks at its ends and the forms of Unicode."""
    if isinstance(document, bytes):
        document = document.decode("utf-8", "surrogateescape")
    return normalize("NFKC", document).casefold().strip()


def documents_of(text: SlicedText) -> Iterator[tuple[int, str | bytes]]:
    """Yield the documents of a text, each after the index at which it begins. Each ends with END
    (U+0000) in the text, which is read slice by slice."""
    rest: Any = text[:0]
    end: Any = END
    if isinstance(rest, bytes):
        end = END.encode()
    begin = 0
    for first in range(0, len(text), SLICE_CHARS):
        # The last piece continues in the next slice.
        *documents, rest = (rest + text[first : first + SLICE_CHARS]).split(end)
        for document in documents:
            yield begin, document
            begin += len(document) + 1


class KnownDocuments:
    """The documents of some texts, compared by `loose_key`. A hash and a place of each are kept; a
    document with a known hash is read at its place, so that no hash decides."""

    def __init__(self, *texts: SlicedText) -> None:
        """Read each text once."""
        self._texts = texts
        rows = (
            (hash(loose_key(document)), number, begin, begin + len(document))
            for number, text in enumerate(texts)
            for begin, document in documents_of(text)
        )
        # Four numbers for each document: a list may have millions of them.
        table = np.fromiter(rows, np.dtype((np.int64, 4)))
        order = np.argsort(table[:, 0], kind="stable")
        self._hashes = table[order, 0]
        self._places = table[order, 1:]

    def __contains__(self, document: str | bytes) -> bool:
        # Several documents may have the same hash, equal ones or not.
        key = loose_key(document)
        first = np.searchsorted(self._hashes, hash(key))
        last = np.searchsorted(self._hashes, hash(key), side="right")
        for number, begin, end in self._places[first:last].tolist():
            if loose_key(self._texts[number][begin:end]) == key:
                return True
        return False


class KnownHashes:
    """A set of K hashes for fast look-ups: a filter drops most hashes that are not in the set."""

    def __init__(self, hashes: Iterable[Codes]) -> None:
        # Equal hashes are not removed: `np.unique` takes 20 times as long as a sort.
        self.sorted = np.sort(np.concatenate([np.zeros(0, np.uint64), *hashes]))
        self._shift = np.uint64(64 - _FILTER_BITS)
        self._is_possible = np.zeros(1 << _FILTER_BITS, np.bool_)
        self._is_possible[self.sorted >> self._shift] = True

    def find(self, hashes: Codes) -> tuple[Int64Array, Int64Array]:
        """Return the indices of the `hashes` that are known, and the first index of each in
        `sorted`."""
        # The leading bits are looked up first: a binary search takes ten times as long.
        indices = np.flatnonzero(self._is_possible[hashes >> self._shift])
        positions = np.searchsorted(self.sorted, hashes[indices]).clip(max=len(self.sorted) - 1)
        is_known = self.sorted[positions] == hashes[indices]
        return indices[is_known], positions[is_known]


def are_covered(passages: Iterable[Sequence[int]], num_chars: int) -> BoolArray:
    """Return for each of N characters whether it lies in one of the passages, of which each begins
    with its start and its length. Passages may overlap."""
    is_covered = np.zeros(num_chars, np.bool_)
    for start, length, *_ in passages:
        is_covered[start : start + length] = True
    return is_covered


def find_matches(codes: Codes, corpus: SlicedText, length: int) -> Places:
    """Find the longest passages of a text, of at least `length` characters, that occur in a corpus.

    Return start, length and first place in the corpus of each (M, 3), in the order of the text.
    With one more character at either end, a match does not occur in the corpus. Matches may
    overlap, but none contains another. The corpus is read once. Memory depends on the text alone.

    Where text and corpus repeat themselves, a window has so many pairs of places that not all can
    be followed (`MAX_PAIRS`): it is followed from its first places in the corpus, and a match may
    be shorter than it could be. But each character in a window that the corpus contains is part of
    a match.
    """
    finder = _Finder(codes, length)
    if length <= len(codes):
        with task("comparing", total=len(corpus)) as advance:
            for begin, block in blocks_of_codes(corpus, length=length):
                finder.read(begin, HashedText(block))
                advance(len(block) - length + 1)
    return _verified(
        finder.matches(), codes, lambda start, end: codes_of(corpus[start:end]), length
    )


def find_repeats(codes: Codes, length: int) -> Places:
    """Find the passages of a text, of at least `length` characters, that occur in it again.

    Return start, length and another place of each (M, 3), in the order of the text: the place with
    which most is equal, and of several the first. Both places do not overlap. The passages may
    overlap, but none contains another.

    A window is compared with the next `MOST_REPEATS` equal ones on either side.
    """
    text = HashedText(codes)
    best = np.zeros(len(codes), np.int64)
    if length > len(codes):
        return _without_contained(best)

    # Equal hashes lie side by side, in the order of the text.
    hashes = text.window_hashes(length)
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    for distance in range(1, MOST_REPEATS + 1):
        is_repeated = hashes[distance:] == hashes[:-distance]
        if not is_repeated.any():
            break
        earlier = order[:-distance][is_repeated]
        later = order[distance:][is_repeated]
        lengths = np.minimum(text.common_lengths(later, text, earlier), later - earlier)
        # Where both places overlap, as in a row of dashes, too little is left.
        is_long = lengths >= length
        for starts, sources in ((earlier, later), (later, earlier)):
            numbers = _as_number(lengths[is_long], sources[is_long])
            np.maximum.at(best, starts[is_long], numbers)
    return _verified(_without_contained(best), codes, lambda start, end: codes[start:end], length)


def _verified(
    matches: Places, codes: Codes, codes_at: Callable[[int, int], Codes], least: int
) -> Places:
    """Return the matches (M, 3) of at least so many characters that are equal, as far as they are
    equal character by character, and not by their hashes alone. `codes_at` returns the codes of the
    other text from an index to another one."""
    for match in matches:
        start, length, place = match.tolist()
        is_equal = codes[start : start + length] == codes_at(place, place + length)
        match[1] = np.logical_and.accumulate(is_equal).sum()
    return matches[matches[:, 1] >= least]


def count_places(passages: Collection[str | bytes], corpus: SlicedText) -> Counter[str | bytes]:
    """Count the places of each passage in a corpus, which is read once; where a passage overlaps
    itself, it counts once."""
    # A place is found by the hash of as many characters as the shortest passage has.
    length = min(map(len, passages))
    by_hash = defaultdict(list)
    for passage in passages:
        [head] = HashedText(codes_of(passage[:length])).window_hashes(length).tolist()
        by_hash[head].append(passage)
    known = KnownHashes([np.array(list(by_hash), np.uint64)])

    num_places: Counter[str | bytes] = Counter()
    ends: Counter[str | bytes] = Counter()
    with task("counting copies", total=len(corpus)) as advance:
        for begin, block in blocks_of_codes(corpus, length=length):
            hashes = HashedText(block).window_hashes(length)
            indices, _ = known.find(hashes)
            for index, found in zip(indices.tolist(), hashes[indices].tolist(), strict=True):
                start = begin + index
                for passage in by_hash[found]:
                    end = start + len(passage)
                    if start >= ends[passage] and corpus[start:end] == passage:
                        num_places[passage] += 1
                        ends[passage] = end
            advance(len(hashes))
    return num_places


class _Finder:
    """Follows the windows of a text that a corpus contains, too, to both sides, as far as text and
    corpus are equal.

    A pair is a place in the text and a place in the corpus where equal windows begin.
    """

    def __init__(self, codes: Codes, length: int) -> None:
        self._length = length
        self._text = HashedText(codes)

        # Equal windows are a group. Its number is the number of windows with smaller hashes: at
        # this index of `_places` its places begin.
        hashes = self._text.window_hashes(length)
        self._known = KnownHashes([hashes])
        groups = self._known.find(hashes)[1]
        self._places = np.argsort(groups, kind="stable")
        self._sizes = np.bincount(groups)

        # For each group, the number of places in the corpus that are still followed.
        most = MAX_PAIRS // max(1, len(hashes))
        self._num_left = np.maximum(most, LEAST_PAIRS // self._sizes.clip(min=1)).clip(min=1)

        # From each place of the text, the longest match and its first place in the corpus: as one
        # number, which is then the largest.
        self._best = np.zeros(len(codes), np.int64)

        # The pairs (2, P) that are equal up to the end of the last block.
        self._open = np.zeros((2, 0), np.int64)

    def read(self, begin: int, block: HashedText) -> None:
        """Read the next block of the corpus, which begins at an offset of the corpus."""
        # The windows of the block that are in the text, group by group.
        indices, groups = self._known.find(block.window_hashes(self._length))
        order = np.argsort(groups, kind="stable")
        indices = indices[order]
        groups = groups[order]
        ranks = np.arange(len(groups)) - np.searchsorted(groups, groups)
        is_within = ranks < self._num_left[groups]
        np.subtract.at(self._num_left, groups, 1)

        starts, sources = self._new_pairs(block, indices[is_within], groups=groups[is_within])

        pairs = np.concatenate([self._open, [starts, begin + sources]], axis=1)
        if pairs.size:
            self._follow(pairs, begin, block=block)

    def _new_pairs(
        self, block: HashedText, indices: Places, groups: Places
    ) -> tuple[Places, Places]:
        """Return the places in the text and in the block of the pairs of these windows of the
        block, without those that follow another pair directly."""
        sizes = self._sizes[groups]
        windows = np.repeat(np.arange(len(groups)), sizes)
        ranks = np.arange(len(windows)) - (np.cumsum(sizes) - sizes)[windows]
        starts = self._places[groups[windows] + ranks]
        sources = indices[windows]

        # If the codes before a pair are equal, its match is that of the pair before it.
        is_inside = (starts > 0) & np.isin(sources - 1, indices)
        is_inside &= self._text.codes[starts - 1] == block.codes[sources - 1]
        return starts[~is_inside], sources[~is_inside]

    def _follow(self, pairs: Places, begin: int, block: HashedText) -> None:
        """Find how far the matches of pairs (2, P) go, up to the end of a block, and keep the
        longest from each place of the text."""
        # Up to this block, the open pairs are equal.
        starts, sources = pairs
        done = (begin - sources).clip(min=0)
        lengths = done + self._text.common_lengths(
            starts + done, block, others=sources + done - begin
        )
        is_open = sources + lengths == begin + len(block.codes)
        is_open &= starts + lengths < len(self._best)
        self._open = pairs[:, is_open]

        # A match is shorter than a window if different windows have the same hash.
        is_match = lengths >= self._length
        numbers = _as_number(lengths[is_match], sources[is_match])
        np.maximum.at(self._best, starts[is_match], numbers)

    def matches(self) -> Places:
        """Return the matches that no other contains: see `find_matches`."""
        return _without_contained(self._best)


def _as_number(lengths: Places, sources: Places) -> Places:
    """Return matches as one number each: the largest is the longest, and of these the first in the
    corpus."""
    return (lengths << _SOURCE_BITS) - sources


def _without_contained(numbers: Places) -> Places:
    """Return start, length and place (M, 3) of the matches that no other contains. `numbers` (N,)
    has the longest from each place of the text as `_as_number` writes it, 0 for none."""
    lengths = -(-numbers >> _SOURCE_BITS)
    sources = (lengths << _SOURCE_BITS) - numbers
    stops = np.arange(len(lengths)) + lengths

    # A match that ends no later than one before it lies within that one.
    reached = np.maximum.accumulate(np.append(0, stops))[:-1]
    starts = np.flatnonzero((lengths > 0) & (stops > reached))
    return np.stack([starts, lengths[starts], sources[starts]], axis=1)


def trained_share(text: SlicedText, training: SlicedText, config: Config) -> float:
    """Measure the share of a text that the training text contains, too. The text must not be empty.

    For documents, it is the share of documents that are equal to a document of the training text.
    For running text, it is the share of characters that lie in passages of at least `LONG_COPY`
    characters which the training text contains. It is measured in at most `MAX_SEGMENTS` segments
    of `SEGMENT_CHARS` characters, spread evenly over the text.
    """
    if config.end_id is not None:
        known = KnownDocuments(training)
        is_learned = [document in known for _, document in documents_of(text)]
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
    return float(are_covered(matches, len(joined)).sum()) / (num_segments * size)


def trained_notes(share: float | None, config: Config, *, part: str) -> list[str]:
    """Describe the share of a run's validation or test text, `part`, that the training text
    contains, too, if it is at least `LEAST_SHARE`."""
    if share is None or share < LEAST_SHARE:
        return []
    repeated = f"{100 * share:.0f} % of the {part} text lies in passages of at least {LONG_COPY}"
    repeated += " characters"
    remedy = "Leave repeated passages out."
    if config.end_id is not None:
        repeated = f"{100 * share:.0f} % of the documents of the {part} text are ones"
        remedy = f"Train with {named('unique_documents', 'true')}, which leaves repeated ones out."
    return [
        f"{repeated} that the training text has as well: the loss is lower than that of new text."
        f" {remedy}"
    ]

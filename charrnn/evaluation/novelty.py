"""How much of a text is copied: every stretch of it that stands, character for character, in another.

The text is small and the corpus may be large, so the text is indexed and the corpus streams past: memory depends on the
text alone. Hashes of the text's windows sift the corpus, in NumPy; what passes is read by the text's suffix automaton,
which is exact and takes linear time whatever repeats. So a collision of hashes costs time and never an error.

Shapes: N characters of a text (bytes, for the byte alphabet), W = N - min_length + 1 windows of min_length characters.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import DataError, UsageError
from charrnn.records.generation import MIN_COPY_LENGTH, Copy, Novelty

MAX_CHARS = 1_000_000
"""The longest text that is compared."""

HELD_OUT_CHARS = 50_000
"""How much of the validation text is compared, too: a share is as steady as its text is long."""

BLOCK_CHARS = 1 << 16
"""Windows of the corpus that are hashed at a time: few enough for their hashes to stay in a core's own cache."""

_SIEVE_BITS = 22
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)

Codes = NDArray[np.uint64]


def longest_comparable(alphabet: str) -> int:
    """The longest sample, in characters (in bytes, for the byte alphabet), that can be compared whatever it holds.

    A byte that is part of no character becomes U+FFFD in the sample, which has three bytes.
    """
    return MAX_CHARS // 3 if alphabet == "byte" else MAX_CHARS


@dataclass(frozen=True, slots=True)
class NoveltyReference:
    """What texts of a model are compared with: its training text, and validation text that nobody copied.

    Both are str, or both bytes for the byte alphabet.
    """

    learned: str | bytes = field(repr=False)
    held_out: str | bytes = field(repr=False)

    def compare(self, text: str | bytes, *, min_length: int = MIN_COPY_LENGTH) -> Novelty:
        """What of `text` is copied from the training text; see `Model.novelty`. Raises UsageError, DataError."""
        if isinstance(self.learned, bytes):
            text = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        elif isinstance(text, str):
            text = text.replace("\r\n", "\n")
        found = find_copies(text, self.learned, min_length=min_length)
        expected = find_copies(self.held_out, self.learned, min_length=min_length).share_copied
        return replace(found, held_out_share=expected)


def find_copies(text: str | bytes, corpus: str | bytes, *, min_length: int = MIN_COPY_LENGTH) -> Novelty:
    """All stretches of `text` with at least `min_length` characters that stand verbatim in `corpus`.

    A copy is maximal: one character more at either end, and it would stand nowhere in the corpus. Copies from different
    places may overlap, never contain one another. Each names the first place in the corpus that has all of it.

    Takes time in proportion to both lengths: some 0.01 µs for a character of the corpus that is like nothing in the
    text, 0.2 µs for one that is. Takes memory in proportion to the text alone, some 0.7 kB for each of its characters.
    Raises UsageError for a `min_length` under 1, DataError for a text longer than `MAX_CHARS`, TypeError unless both
    are str or both bytes.
    """
    if min_length < 1:
        raise UsageError(f"A copy cannot have {min_length} characters; it must be at least 1. Try {MIN_COPY_LENGTH}.")
    if len(text) > MAX_CHARS:
        raise DataError(
            f"The text has {len(text):,} characters; at most {MAX_CHARS:,} are compared. Give a part of it."
        )
    if isinstance(text, str) != isinstance(corpus, str):
        raise TypeError(f"cannot compare {type(text).__name__} with {type(corpus).__name__}")
    spans: list[tuple[int, int, int]] = []
    if min_length <= len(text):
        codes = _codes(text)
        automaton = _SuffixAutomaton(codes, min_length)
        for start, likely in _likely_stretches(corpus, window_hashes(codes, min_length), min_length):
            automaton.read(start, likely)
        spans = automaton.longest_matches()
    return Novelty(text=text, min_length=min_length, copies=_with_lines(spans, corpus))


def window_hashes(codes: Codes, length: int) -> Codes:
    """Hash (W,) of each window of `length` codes (N,): sum of code_j BASE^j modulo 2^64 (Karp & Rabin 1987).

    BASE is odd and so has an inverse: the sums from the beginning, one less another and divided by a power, are those
    of the windows.
    """
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * _powers(_BASE, len(codes)), out=sums[1:])
    hashes = sums[length:] - sums[:-length]
    hashes *= _powers(_INVERSE, len(hashes))
    return hashes


def _powers(base: int, num: int) -> Codes:
    powers = np.full(num, base, np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)


def _codes(content: str | bytes) -> Codes:
    if isinstance(content, bytes):
        return np.frombuffer(content, np.uint8).astype(np.uint64)
    return np.frombuffer(content.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)


def _likely_stretches(corpus: str | bytes, hashes: Codes, length: int) -> Iterator[tuple[int, Codes]]:
    """Yield (start, codes) of what of the corpus may be copied: it holds every window that has one of the `hashes`.

    In order and apart from each other, but for stretches that a border of blocks cuts: these adjoin.
    """
    known = np.unique(hashes)
    shift = np.uint64(64 - _SIEVE_BITS)
    sieve = np.zeros(1 << _SIEVE_BITS, np.bool_)
    sieve[known >> shift] = True
    stop = 0
    for first in range(0, len(corpus) - length + 1, BLOCK_CHARS):
        codes = _codes(corpus[first : first + BLOCK_CHARS + length - 1])
        found = window_hashes(codes, length)
        # A search among the known hashes takes ten times as long as a look at the sieve, so few come to it.
        likely = np.flatnonzero(sieve[found >> shift])
        found = found[likely]
        likely = likely[known[np.searchsorted(known, found).clip(max=len(known) - 1)] == found]
        # Windows that overlap are one stretch, no character of which is read twice: with each window read by itself,
        # a corpus that repeats would be read `length` times over.
        for group in np.split(likely, np.flatnonzero(np.diff(likely) > length) + 1) if len(likely) else ():
            start = max(stop, first + int(group[0]))
            stop = first + int(group[-1]) + length
            yield start, codes[start - first : stop - first]


class _SuffixAutomaton:
    """The smallest automaton of all substrings of a text (Blumer et al. 1985), and where a corpus has them.

    A state stands for the substrings that end at the same places of the text: suffixes of one another, the longest of
    `lengths[state]` characters; its link is the state of the longest suffix that also ends elsewhere. 0 is the root.
    """

    def __init__(self, codes: Codes, min_length: int) -> None:
        self.min_length = min_length
        self.edges: list[dict[int, int]] = [{}]
        self.links = [-1]
        self.lengths = [0]
        self.prefixes: list[int] = []  # the state of each prefix of the text
        for code in codes.tolist():
            self._append(code)
        # What the corpus has of each state: its longest match, where that first ended, and where any first ended.
        self.matched = [0] * len(self.links)
        self.ends = [0] * len(self.links)
        self.first_ends = [0] * len(self.links)
        self._position = self._state = self._length = 0

    def _append(self, code: int) -> None:
        edges, links, lengths = self.edges, self.links, self.lengths
        state = self.prefixes[-1] if self.prefixes else 0
        new = len(links)
        self.prefixes.append(new)
        edges.append({})
        links.append(0)
        lengths.append(lengths[state] + 1)
        while state >= 0 and code not in edges[state]:
            edges[state][code] = new
            state = links[state]
        if state < 0:
            return
        target = edges[state][code]
        if lengths[target] > lengths[state] + 1:
            # Its shorter substrings now end here too, its longer ones do not: they part.
            clone = len(links)
            edges.append(edges[target].copy())
            links.append(links[target])
            lengths.append(lengths[state] + 1)
            links[target] = clone
            while state >= 0 and edges[state].get(code) == target:
                edges[state][code] = clone
                state = links[state]
            target = clone
        links[new] = target

    def read(self, start: int, codes: Codes) -> None:
        """Follow a stretch of the corpus; goes on with the match before it if the stretch adjoins the last one."""
        edges, links, lengths, matched = self.edges, self.links, self.lengths, self.matched
        position, state, length = self._position, self._state, self._length
        if start != position:
            position, state, length = start, 0, 0
        for code in codes.tolist():
            position += 1
            while (following := edges[state].get(code)) is None and state:
                state = links[state]
                length = lengths[state]
            if following is None:
                continue
            state = following
            length += 1
            if length >= self.min_length and length > matched[state]:
                if not matched[state]:
                    self.first_ends[state] = position
                matched[state] = length
                self.ends[state] = position
        self._position, self._state, self._length = position, state, length

    def longest_matches(self) -> list[tuple[int, int, int]]:
        """(start in the text, length, start in the corpus) of all maximal matches, in the order of the text."""
        by_length = sorted(range(1, len(self.links)), key=self.lengths.__getitem__)
        for state in reversed(by_length):  # what a state matched, all suffixes of it matched
            link, first = self.links[state], self.first_ends[state]
            if not first or self.lengths[link] < self.min_length:
                continue
            is_whole = self.matched[link] == self.lengths[link]
            self.ends[link] = min(first, self.ends[link]) if is_whole else first
            self.first_ends[link] = min(first, self.first_ends[link] or first)
            self.matched[link] = self.lengths[link]
        for state in by_length:  # what did not match has the match of its longest suffix that did
            if not self.matched[state]:
                self.matched[state], self.ends[state] = self.matched[self.links[state]], self.ends[self.links[state]]
        lengths = [self.matched[state] for state in self.prefixes]
        return [
            (stop - length, length, self.ends[state] - length)
            for stop, (state, length, following) in enumerate(
                zip(self.prefixes, lengths, [*lengths[1:], 0], strict=True), start=1
            )
            if length and following <= length
        ]


def _with_lines(spans: list[tuple[int, int, int]], corpus: str | bytes) -> tuple[Copy, ...]:
    """The copies with their line numbers, for which the corpus is walked through once."""
    lines: dict[int, int] = {}
    before, line = 0, 1
    for source in sorted({source for _, _, source in spans}):
        newlines = (
            corpus.count("\n", before, source) if isinstance(corpus, str) else corpus.count(b"\n", before, source)
        )
        before, line = source, line + newlines
        lines[source] = line
    return tuple(
        Copy(start=start, length=length, source=source, source_line=lines[source]) for start, length, source in spans
    )

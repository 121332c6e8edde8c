"""The sorted contexts of a text and their followers, which give the counts of n-grams of every
order.

The context of a place in a text is the characters before it, read backwards. The places are sorted
by their contexts. For every n, the places after the same n characters are an interval of the sorted
places, within the interval of n - 1 characters.

Kneser-Ney smoothing needs two counts of such an interval, which two arrays beside the places give:

    raw count c(hw)              how many of its places have the follower w
    continuation count e(hw)     how many of these have a depth of at most n + 1

where the depth of a place is the number of characters, from its follower backwards, that it shares
with the preceding place in the order of these characters. The first place of each n-gram has a
depth below the length of the n-gram, so places with a depth of at most n + 1 are the first places
of the different n-grams that are one character longer.

A context that reaches back to the END of the document before ends with it: the depths stop there,
too. So all places of a context that begins with END are counted, as Kneser-Ney smoothing counts the
beginnings of sentences (Heafield et al. 2013).

For frequent contexts, the probability of each character is computed in advance: they form a tree.
Only the intervals of rarer contexts are searched for and counted.

Shapes: N characters of the text, V vocabulary, M positions, C frequent contexts, K characters of
the longest context.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.system.compiling import CompiledLoop, for_loops
from charrnn.system.progress import task
from charrnn.text.vocab import IdArray

Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]

FREQUENT = 2
"""A context is frequent if it occurs at least this number times V times. Counting so many followers
takes longer than reading V probabilities."""
NO_END = -1
"""In place of the id of END: the text has no documents."""
NO_FOLLOWER = 255
"""The depth of the end of the text, which has no follower."""
RAW = 254
"""The largest depth of places that raw counts include: all places with a follower."""


class SortedContexts(NamedTuple):
    """The places of a text, sorted by their contexts."""

    ids: IdArray
    """(N,): the text."""
    places: NDArray[np.int32]
    """(N + 1,): indices 0 … N, sorted by ids[place - 1], ids[place - 2], …"""
    followers: IdArray
    """(N + 1,): ids[places]; 0 for the end of the text."""
    depths: NDArray[np.uint8]
    """(N + 1,): the depths that the module defines, NO_FOLLOWER for the end of the text."""
    shared: NDArray[np.uint8]
    """(N + 1,): characters that a context shares with the context before it."""


class FrequentContexts(NamedTuple):
    """A tree of contexts: the children of a context are one character longer."""

    children: NDArray[np.int32]
    """(C, V): the index of the context with one more character before it; -1 if it is not
    frequent."""
    intervals: Int64Array
    """(C, 2): the interval [begin, end) of the sorted places of each context."""
    probabilities: Float64Array
    """(C, V): the probability of each character after a context."""


class NgramPredictor(NamedTuple):
    """The n-gram model of one order."""

    contexts: SortedContexts
    frequent: FrequentContexts
    longest: int
    """The order less 1."""
    discounts: Float64Array
    """(K + 1, 4): the discounts of counts of 0, 1, 2, and 3 or more, by the length of the
    context."""
    end_id: int = NO_END
    """The id that ends a document."""

    @property
    def vocab_size(self) -> int:
        """V."""
        return int(self.frequent.probabilities.shape[1])

    def probabilities(self, ids: IdArray, positions: Int64Array) -> Float64Array:
        """Compute the probability (M, V) of each character at positions (M,) of ids (N,), after the
        characters before it; position N is the end of the text. Each row is positive and has the
        sum 1."""
        return self.after(self.histories(ids, positions))

    def histories(self, ids: IdArray, positions: Int64Array) -> Int64Array:
        """Return the characters (M, K) before each of positions (M,) of ids (N,), the oldest first,
        -1 before the text."""
        before = positions[:, None] + np.arange(-self.longest, 0)
        return np.where(before < 0, -1, ids[np.maximum(before, 0)].astype(np.int64))

    def after(self, histories: Int64Array) -> Float64Array:
        """Compute the probability (M, V) of each character after histories (M, K): the characters
        before it, the oldest first, -1 before the text."""
        probabilities = np.empty((len(histories), self.vocab_size))
        histories = np.ascontiguousarray(histories, np.int64)
        _predict.run(self, histories, probabilities)
        return probabilities


class Scratch(NamedTuple):
    """Arrays that the loops of `NgramPredictor` overwrite."""

    counts: Int64Array
    """(V,): the count of each follower of a context; zeros before and after each context."""
    seen: Int64Array
    """(V,): the followers of a context, each once."""
    intervals: Int64Array
    """(K + 1, 2): the interval of sorted places of the context of each length."""


def sort_contexts(
    ids: IdArray, *, vocab_size: int, order: int, end_id: int = NO_END
) -> SortedContexts:
    """Sort the places of ids (N,) by the order - 1 characters before them. `end_id` ends a
    document."""
    # Half of the memory where the alphabet allows it; numba compiles a loop for each type.
    dtype = np.uint16 if vocab_size < 1 << 16 else np.uint32
    chars = np.ascontiguousarray(ids, dtype)

    # Sort keys: each has as many characters as fit into the bits of an integer, read backwards; 0
    # stands for positions before the text.
    num_bits = vocab_size.bit_length()
    chars_per_key = 62 // num_bits
    keys = []
    for begin in range(0, order, chars_per_key):
        key = np.zeros(len(chars), np.int64)
        for back in range(begin, min(begin + chars_per_key, order)):
            key <<= num_bits
            key[back:] |= chars[: len(chars) - back].astype(np.int64) + 1
        keys.append(key)
    keys.reverse()

    # The places after each character are sorted for themselves, so that a task can be cancelled
    # between two sorts. `lexsort` takes the last key first, which must have the last characters.
    ends = np.argsort(chars, kind="stable")
    borders = np.bincount(chars, minlength=vocab_size).cumsum().tolist()
    with task("sorting", total=len(chars)) as advance:
        for begin, end in pairwise((0, *borders)):
            after_char = ends[begin:end]
            ends[begin:end] = after_char[np.lexsort([key[after_char] for key in keys])]
            advance(end - begin)
    shared_ends = np.zeros(len(chars), np.uint8)
    _count_shared.run(chars, ends, order, end_id, shared_ends)

    # The context of a place ends at the character before it; the first place has no context.
    places = np.concatenate(([0], ends + 1)).astype(np.int32)
    depths = np.append(shared_ends, np.uint8(NO_FOLLOWER))[places]
    shared = np.concatenate((np.zeros(1, np.uint8), shared_ends[ends]))
    followers = np.append(chars, dtype(0))[places]
    return SortedContexts(chars, places=places, followers=followers, depths=depths, shared=shared)


def _fill_shared(
    ids: IdArray, ends: Int64Array, most: int, end_id: int, shared: NDArray[np.uint8]
) -> None:
    """Set shared[ends[k]] to the number of characters, at most `most`, that the texts up to ends[k
    - 1] and up to ends[k] share, from their ends backwards to the END of the document before."""
    for rank in range(1, len(ends)):
        previous = ends[rank - 1]
        end = ends[rank]
        longest = min(most, previous + 1, end + 1)
        length = 0
        while length < longest and ids[previous - length] == ids[end - length]:
            length += 1
            # The END of the own document is the first of the shared characters.
            if length > 1 and ids[end - length + 1] == end_id:
                break
        shared[end] = length


def _fill_counts_of_counts(
    contexts: SortedContexts,
    length: int,
    end_id: int,
    counts: Int64Array,
    seen: Int64Array,
    totals: Int64Array,
) -> None:
    """Add the number of n-grams of `length` + 1 characters with a count of k to totals[:, k], k = 1
    … 4: by raw counts and by continuation counts. counts (2, V) are zeros."""
    num_seen = 0
    for row in range(len(contexts.places) + 1):
        # The n-grams of a context are complete where the next context begins.
        is_end = row == len(contexts.places)
        if is_end or contexts.shared[row] < length:
            for index in range(num_seen):
                follower = seen[index]
                for kind in range(2):
                    if counts[kind, follower] < 5:
                        totals[kind, counts[kind, follower]] += 1
                    counts[kind, follower] = 0
            num_seen = 0

        # Skip places with fewer characters before them, or an END that is not the first of these,
        # and the end of the text.
        if is_end or contexts.places[row] < length or contexts.depths[row] == NO_FOLLOWER:
            continue
        if end_id != NO_END and _crosses_end(contexts, contexts.places[row], length, end_id):
            continue
        follower = contexts.followers[row]
        if counts[0, follower] == 0:
            seen[num_seen] = follower
            num_seen += 1
        counts[0, follower] += 1
        if contexts.depths[row] <= length + 1:
            counts[1, follower] += 1


@for_loops
def make_scratch(ngrams: NgramPredictor) -> Scratch:
    """Allocate the scratch arrays of a loop."""
    vocab_size = ngrams.frequent.probabilities.shape[1]
    return Scratch(
        np.zeros(vocab_size, dtype=np.int64),
        np.zeros(vocab_size, dtype=np.int64),
        np.zeros((ngrams.longest + 1, 2), dtype=np.int64),
    )


@for_loops
def _crosses_end(contexts: SortedContexts, place: int, length: int, end_id: int) -> bool:
    """Return whether one of the last length - 1 characters before a place is END."""
    num_ends = 0
    for back in range(1, length):
        if contexts.ids[place - back] == end_id:
            num_ends += 1
    return num_ends > 0


@for_loops
def _first_from(contexts: SortedContexts, low: int, high: int, back: int, least: int) -> int:
    """Return the first of the sorted places [low, high) for which the character `back` positions
    before is at least `least`; positions before the text count as -1."""
    while low < high:
        middle = (low + high) >> 1
        at = contexts.places[middle] - back
        if at < 0 or contexts.ids[at] < least:
            low = middle + 1
        else:
            high = middle
    return low


@for_loops
def _add_followers(
    ngrams: NgramPredictor,
    low: int,
    high: int,
    length: int,
    share: float,
    probabilities: Float64Array,
    scratch: Scratch,
) -> float:
    """Add the probabilities by the counts after a context, times `share`, to probabilities (V,),
    and return the share that remains for the context one character shorter.

    The context has `length` characters and the places [low, high). The longest contexts have raw
    counts, shorter ones continuation counts.
    """
    contexts = ngrams.contexts
    counts = scratch.counts
    seen = scratch.seen
    most_depth = length + 1 if length < ngrams.longest else RAW
    discounts = ngrams.discounts[length]
    num_seen = 0
    total = 0
    for row in range(low, high):
        if contexts.depths[row] <= most_depth:
            follower = contexts.followers[row]
            if counts[follower] == 0:
                seen[num_seen] = follower
                num_seen += 1
            counts[follower] += 1
            total += 1

    # The context occurs only at the end of the text.
    if total == 0:
        return share

    # The discounts of all counts are the remaining share.
    scale = share / total
    discounted = 0.0
    for index in range(num_seen):
        follower = seen[index]
        count = counts[follower]
        discount = discounts[min(count, 3)]
        discounted += discount
        probabilities[follower] += (count - discount) * scale
        counts[follower] = 0
    return discounted * scale


def _count_intervals(shared: NDArray[np.uint8], least: int, longest: int) -> int:
    """Return how many contexts of 1 … `longest` characters have at least `least` places."""
    num_contexts = 0
    for length in range(1, longest + 1):
        size = 0
        for row in range(len(shared)):
            # The row shares fewer characters with the one before it: another context begins.
            if shared[row] < length:
                if size >= least:
                    num_contexts += 1
                size = 0
            size += 1
        if size >= least:
            num_contexts += 1
    return num_contexts


@for_loops
def _fill_row(ngrams: NgramPredictor, index: int, length: int, scratch: Scratch) -> None:
    """Set the probabilities after the frequent context `index`, which has `length` characters. Its
    row has the probabilities after the context that is one character shorter."""
    low, high = ngrams.frequent.intervals[index]
    probabilities = ngrams.frequent.probabilities[index]
    shorter = probabilities.copy()
    probabilities[:] = 0.0
    share = _add_followers(ngrams, low, high, length, 1.0, probabilities, scratch)
    for follower in range(len(probabilities)):
        probabilities[follower] += share * shorter[follower]


def _fill_frequent(ngrams: NgramPredictor, least: int) -> int:
    """Fill in all contexts of up to `longest` characters that occur at least `least` times, and
    return their number. Row 0 is the empty context, which has the probabilities of order 0 before.
    """
    contexts = ngrams.contexts
    frequent = ngrams.frequent
    longest = ngrams.longest
    end_id = ngrams.end_id
    vocab_size = frequent.probabilities.shape[1]
    scratch = make_scratch(ngrams)
    frequent.intervals[0, 1] = len(contexts.places)
    num_contexts = 1
    index = 0
    length = 0
    end_of_length = 1
    while index < num_contexts:
        _fill_row(ngrams, index, length, scratch)

        # The contexts with one more character before are consecutive intervals of the places. All
        # contexts of a length are filled in before the first context of the next length. Nothing
        # stands before END.
        low, high = frequent.intervals[index]
        begin = low
        oldest = contexts.places[low] - length
        if length > 0 and contexts.ids[oldest] == end_id:
            begin = high
        while length < longest and begin < high:
            at = contexts.places[begin] - length - 1
            before = -1
            if at >= 0:
                before = int(contexts.ids[at])
            end = _first_from(contexts, begin, high, length + 1, before + 1)
            if before >= 0 and end - begin >= least:
                frequent.children[index, before] = num_contexts
                frequent.intervals[num_contexts] = begin, end
                for follower in range(vocab_size):
                    frequent.probabilities[num_contexts, follower] = frequent.probabilities[
                        index, follower
                    ]
                num_contexts += 1
            begin = end
        index += 1
        if index == end_of_length:
            end_of_length = num_contexts
            length += 1
    return num_contexts


@for_loops
def predict_next(
    ngrams: NgramPredictor, history: Int64Array, probabilities: Float64Array, scratch: Scratch
) -> None:
    """Set probabilities (V,) to the probability of each character after a history (K,), the oldest
    character first, -1 before the text. What stands before END does not count."""
    contexts = ngrams.contexts
    frequent = ngrams.frequent
    intervals = scratch.intervals
    vocab_size = len(probabilities)

    # The longest frequent context.
    index = 0
    length = 0
    size = len(history)
    most = min(ngrams.longest, size)
    for back in range(1, most):
        if history[size - back] == ngrams.end_id:
            most = back
            break
    while length < most:
        before = history[size - length - 1]
        if before < 0 or frequent.children[index, before] < 0:
            break
        index = frequent.children[index, before]
        length += 1

    # Longer contexts, which are rarer, as far as they occur.
    num_frequent = length
    low, high = frequent.intervals[index]
    while length < most:
        before = history[size - length - 1]
        if before < 0:
            break
        low = _first_from(contexts, low, high, length + 1, before)
        high = _first_from(contexts, low, high, length + 1, before + 1)
        if low == high:
            break
        length += 1
        # A context with more places is in the tree, unless somebody has removed it from a file, to
        # let the loop run long.
        intervals[length, 0] = low
        intervals[length, 1] = min(high, low + FREQUENT * vocab_size)

    # From the longest context on, each leaves a share to the next shorter context.
    probabilities[:] = 0.0
    share = 1.0
    while length > num_frequent:
        low, high = intervals[length]
        share = _add_followers(ngrams, low, high, length, share, probabilities, scratch)
        length -= 1
    for follower in range(vocab_size):
        probabilities[follower] += share * frequent.probabilities[index, follower]


def _fill_probabilities(
    ngrams: NgramPredictor, histories: Int64Array, probabilities: Float64Array
) -> None:
    """Set probabilities (M, V) to the probability of each character after histories (M, K)."""
    scratch = make_scratch(ngrams)
    for row in range(len(histories)):
        predict_next(ngrams, histories[row], probabilities[row], scratch)


_count_shared = CompiledLoop(_fill_shared)
_count_counts = CompiledLoop(_fill_counts_of_counts)
_count_frequent = CompiledLoop(_count_intervals)
_find_frequent = CompiledLoop(_fill_frequent)
_predict = CompiledLoop(_fill_probabilities)


def counts_of_counts(
    contexts: SortedContexts, *, vocab_size: int, longest: int, end_id: int = NO_END
) -> Int64Array:
    """Count the n-grams with a raw count and a continuation count of 1, 2, 3 and 4, within
    documents.

    Returns (K + 1, 2, 5) for contexts of 0 … `longest` characters; index 0 of the last axis is 0.
    """
    totals = np.zeros((longest + 1, 2, 5), np.int64)
    counts = np.zeros((2, vocab_size), np.int64)
    seen = np.zeros(vocab_size, np.int64)
    with task("counting", total=longest + 1, unit="orders") as advance:
        for length in range(longest + 1):
            _count_counts.run(contexts, length, end_id, counts, seen, totals[length])
            advance()
    totals[:, :, 0] = 0
    return totals


def find_frequent(
    contexts: SortedContexts,
    *,
    vocab_size: int,
    longest: int,
    discounts: Float64Array,
    end_id: int = NO_END,
) -> FrequentContexts:
    """Compute the probabilities after each frequent context of up to `longest` characters.

    `discounts` (K + 1, 4) are the discounts of counts of 0, 1, 2, and 3 or more, by the length of
    the context; contexts of `longest` characters have raw counts, shorter contexts continuation
    counts.
    """
    least = FREQUENT * vocab_size
    most = 1 + _count_frequent.run(contexts.shared, least, longest)
    # As many rows as there may be frequent contexts; the rest is cut off.
    frequent = FrequentContexts(
        children=np.full((most, vocab_size), -1, np.int32),
        intervals=np.zeros((most, 2), np.int64),
        probabilities=np.full((most, vocab_size), 1 / vocab_size),
    )
    ngrams = NgramPredictor(
        contexts, frequent=frequent, longest=longest, discounts=discounts, end_id=end_id
    )
    num_contexts = _find_frequent.run(ngrams, least)
    return FrequentContexts(*(array[:num_contexts].copy() for array in frequent))

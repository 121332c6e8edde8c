"""All contexts of a text, sorted, and what follows them: the counts of n-grams of every order.

The context of a place of a text is what precedes it, read backwards. The places are sorted by their
contexts, so that the places that follow the same n characters are neighbours, for every n: an
interval of the sorted places, which lies in the interval of n - 1 characters.

Two arrays beside them answer every question of Kneser-Ney smoothing about such an interval:

    raw count c(hw)              how many of its places have the follower w
    continuation count e(hw)     how many of these have a depth of at most n + 1

where the depth of a place is the number of characters, from its follower backwards, that it shares
with another place which is sorted before it. The first place of each n-gram has a depth below its
length, so that places with a depth of at most n + 1 begin the different n-grams one longer.

Contexts that occur often have a probability for each character ready: they form a tree, and only
the intervals of rarer contexts are searched for and counted.

Shapes: N characters of the text, V vocabulary, M positions, C frequent contexts, K characters of
the longest context.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.system.compiling import CompiledLoop, for_loops

Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]

FREQUENT = 2
"""A context is frequent if it occurs this many times as often as there are characters in the
alphabet. The followers of so many places take longer to count than ready probabilities to read."""
NO_FOLLOWER = 255
"""The depth of the end of the text, which nothing follows."""
RAW = 254
"""Depth up to which places are counted for raw counts: all that have a follower."""


class SortedContexts(NamedTuple):
    """The places of a text, sorted by what precedes them."""

    ids: NDArray[Any]
    """(N,): the text."""
    places: NDArray[np.int32]
    """(N + 1,): indices 0 … N, sorted by ids[place - 1], ids[place - 2], …"""
    followers: NDArray[Any]
    """(N + 1,): ids[places]; 0 for the end of the text."""
    depths: NDArray[np.uint8]
    """(N + 1,): as the module says, NO_FOLLOWER for the end of the text."""
    shared: NDArray[np.uint8]
    """(N + 1,): characters that a context shares with the one before it."""


class FrequentContexts(NamedTuple):
    """A tree of contexts: the children of a context are one character longer."""

    children: NDArray[np.int32]
    """(C, V): the context with one more character before it; -1 where that is not frequent."""
    intervals: Int64Array
    """(C, 2): the first of the sorted places of each context, and the end."""
    probabilities: Float64Array
    """(C, V): of each character after a context."""


def sort_contexts(ids: NDArray[Any], *, vocab_size: int, order: int) -> SortedContexts:
    """Sort the places of ids (N,) by the order - 1 characters before them."""
    # Half of the memory where the alphabet allows it; numba compiles a loop for each of the types.
    dtype = np.uint16 if vocab_size < 1 << 16 else np.uint32
    chars = np.ascontiguousarray(ids, dtype)

    # Keys to sort by: as many characters as fit into the bits of an integer, read backwards. Before
    # the text there is 0.
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

    # `lexsort` sorts by the last key first: the one with the last characters.
    ends = np.lexsort(keys)
    shared_ends = np.zeros(len(chars), np.uint8)
    _count_shared.run(chars, ends, order, shared_ends)

    # The context of a place ends at the character before it; the first place has none.
    places = np.concatenate(([0], ends + 1)).astype(np.int32)
    depths = np.append(shared_ends, np.uint8(NO_FOLLOWER))[places]
    shared = np.concatenate((np.zeros(1, np.uint8), shared_ends[ends]))
    followers = np.append(chars, dtype(0))[places]
    return SortedContexts(chars, places, followers, depths, shared)


def _fill_shared(ids: Any, ends: Any, most: Any, shared: Any) -> None:
    """Set shared[ends[k]] to the number of characters, at most `most`, that the texts which end at
    ends[k - 1] and at ends[k] share, from their ends backwards."""
    for rank in range(1, len(ends)):
        previous = ends[rank - 1]
        end = ends[rank]
        longest = min(most, previous + 1, end + 1)
        length = 0
        while length < longest and ids[previous - length] == ids[end - length]:
            length += 1
        shared[end] = length


def _fill_counts_of_counts(
    contexts: SortedContexts, length: Any, counts: Any, seen: Any, totals: Any
) -> None:
    """Add to totals (2, 5) how many n-grams of `length` + 1 characters have a count of 1, 2, 3 and
    4, at these indices: by raw counts, and by continuation counts. counts (2, V) are zeros."""
    num_seen = 0
    for row in range(len(contexts.places) + 1):
        # The n-grams of a context are complete where another context begins.
        is_end = row == len(contexts.places)
        if is_end or contexts.shared[row] < length:
            for index in range(num_seen):
                follower = seen[index]
                for kind in range(2):
                    if counts[kind, follower] < 5:
                        totals[kind, counts[kind, follower]] += 1
                    counts[kind, follower] = 0
            num_seen = 0

        # A context that would begin before the text is none.
        if is_end or contexts.places[row] < length or contexts.depths[row] == NO_FOLLOWER:
            continue
        follower = contexts.followers[row]
        if counts[0, follower] == 0:
            seen[num_seen] = follower
            num_seen += 1
        counts[0, follower] += 1
        if contexts.depths[row] <= length + 1:
            counts[1, follower] += 1


@for_loops
def _first_from(contexts: Any, low: Any, high: Any, back: Any, least: Any) -> Any:
    """Return the first of the sorted places [low, high) whose character `back` before is at least
    `least`; before the text there is -1."""
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
    contexts: Any,
    low: Any,
    high: Any,
    length: Any,
    longest: Any,
    discounts: Any,
    share: Any,
    probabilities: Any,
    counts: Any,
    seen: Any,
) -> Any:
    """Add what the counts after a context say to probabilities (V,), times `share`, and return the
    share that is left to the context one shorter.

    The context has `length` characters and the places [low, high). One of `longest` characters has
    raw counts, a shorter one continuation counts; discounts (K + 1, 4) are by the length. counts
    (V,) are zeros before and after.
    """
    most_depth = length + 1 if length < longest else RAW
    discounts_here = discounts[length]
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

    # Of a context that only the end of the text has, nothing is known.
    if total == 0:
        return share

    # What the discounts take from the counts is left.
    scale = share / total
    discounted = 0.0
    for index in range(num_seen):
        follower = seen[index]
        count = counts[follower]
        discount = discounts_here[min(count, 3)]
        discounted += discount
        probabilities[follower] += (count - discount) * scale
        counts[follower] = 0
    return discounted * scale


def _fill_frequent(
    contexts: SortedContexts,
    frequent: FrequentContexts,
    least: Any,
    longest: Any,
    discounts: Any,
    counts: Any,
    seen: Any,
) -> Any:
    """Fill in all contexts of up to `longest` characters that occur at least `least` times, and
    return how many they are. Row 0 is the empty context, whose probabilities are those of order 0
    before."""
    vocab_size = len(counts)
    frequent.intervals[0, 1] = len(contexts.places)
    num_contexts = 1
    index = 0
    length = 0
    end_of_length = 1
    while index < num_contexts:
        low, high = frequent.intervals[index]
        own = frequent.probabilities[index]
        shorter = own.copy()
        own[:] = 0.0
        share = _add_followers(
            contexts, low, high, length, longest, discounts, 1.0, own, counts, seen
        )
        for follower in range(vocab_size):
            own[follower] += share * shorter[follower]

        # The places of each context one longer are neighbours. All of a length come before the
        # first one of the next.
        begin = low
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
    contexts: Any,
    frequent: Any,
    longest: Any,
    discounts: Any,
    history: Any,
    probabilities: Any,
    counts: Any,
    seen: Any,
    intervals: Any,
) -> None:
    """Set probabilities (V,) to those of each character after a history (K,), the oldest character
    first, -1 where the text has none.

    counts and seen (V,) and intervals (K + 1, 2) are room to compute in: counts are zeros before
    and after.
    """
    # The longest frequent context.
    index = 0
    length = 0
    size = len(history)
    most = min(longest, size)
    while length < most:
        before = history[size - length - 1]
        if before < 0 or frequent.children[index, before] < 0:
            break
        index = frequent.children[index, before]
        length += 1

    # Rarer ones, as far as they occur.
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
        intervals[length, 0] = low
        intervals[length, 1] = high

    # From the longest context on, each leaves a share to the one that is shorter.
    probabilities[:] = 0.0
    share = 1.0
    while length > num_frequent:
        share = _add_followers(
            contexts,
            intervals[length, 0],
            intervals[length, 1],
            length,
            longest,
            discounts,
            share,
            probabilities,
            counts,
            seen,
        )
        length -= 1
    for follower in range(len(counts)):
        probabilities[follower] += share * frequent.probabilities[index, follower]


def _fill_probabilities(
    contexts: SortedContexts,
    frequent: FrequentContexts,
    longest: Any,
    discounts: Any,
    histories: Any,
    probabilities: Any,
    counts: Any,
    seen: Any,
) -> None:
    """Set probabilities (M, V) to those of each character after histories (M, K)."""
    intervals = np.empty((histories.shape[1] + 1, 2), np.int64)
    for row in range(len(histories)):
        predict_next(
            contexts,
            frequent,
            longest,
            discounts,
            histories[row],
            probabilities[row],
            counts,
            seen,
            intervals,
        )


_count_shared = CompiledLoop(_fill_shared)
_count_counts = CompiledLoop(_fill_counts_of_counts)
_find_frequent = CompiledLoop(_fill_frequent)
_predict = CompiledLoop(_fill_probabilities)


def counts_of_counts(contexts: SortedContexts, *, vocab_size: int, longest: int) -> Int64Array:
    """Count the n-grams with a raw count and a continuation count of 1, 2, 3 and 4.

    Returns (K + 1, 2, 5) for contexts of 0 … `longest` characters; index 0 of the last axis is 0.
    """
    totals = np.zeros((longest + 1, 2, 5), np.int64)
    counts = np.zeros((2, vocab_size), np.int64)
    seen = np.zeros(vocab_size, np.int64)
    for length in range(longest + 1):
        _count_counts.run(contexts, length, counts, seen, totals[length])
    totals[:, :, 0] = 0
    return totals


def find_frequent(
    contexts: SortedContexts, *, vocab_size: int, longest: int, discounts: Float64Array
) -> FrequentContexts:
    """Compute the probabilities after each frequent context of up to `longest` characters.

    `discounts` (K + 1, 4) are those of counts of 0, 1, 2, and 3 or more, by the length of the
    context; contexts of `longest` characters have raw counts, shorter ones continuation counts.
    """
    # No two contexts of a length have a place in common.
    least = FREQUENT * vocab_size
    most = 1 + longest * (len(contexts.places) // least)
    frequent = FrequentContexts(
        np.full((most, vocab_size), -1, np.int32),
        np.zeros((most, 2), np.int64),
        np.full((most, vocab_size), 1 / vocab_size),
    )
    counts = np.zeros(vocab_size, np.int64)
    seen = np.zeros(vocab_size, np.int64)
    num_contexts = _find_frequent.run(contexts, frequent, least, longest, discounts, counts, seen)
    return FrequentContexts(*(array[:num_contexts].copy() for array in frequent))


def predict(
    contexts: SortedContexts,
    frequent: FrequentContexts,
    *,
    longest: int,
    discounts: Float64Array,
    histories: Int64Array,
) -> Float64Array:
    """Compute the probability (M, V) of each character after histories (M, K): the characters
    before it, the oldest first, -1 where the text has none."""
    vocab_size = frequent.probabilities.shape[1]
    probabilities = np.empty((len(histories), vocab_size))
    counts = np.zeros(vocab_size, np.int64)
    seen = np.zeros(vocab_size, np.int64)
    _predict.run(
        contexts,
        frequent,
        longest,
        discounts,
        np.ascontiguousarray(histories, np.int64),
        probabilities,
        counts,
        seen,
    )
    return probabilities

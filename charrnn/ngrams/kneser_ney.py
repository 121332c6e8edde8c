"""n-gram models of characters: interpolated modified Kneser-Ney smoothing (Chen & Goodman 1998,
section 3).

The model of order n predicts a character w from the n - 1 characters h before it:

    p_n(w | h) = (c(hw) - D(c(hw))) / c(h) + b(h) q_(n-1)(w | h')        h' is h without its first character
    q_k(w | h) = (e(hw) - D(e(hw))) / e(h) + b(h) q_(k-1)(w | h')        q_0 = 1 / V

c counts occurrences; e counts the different characters that precede an n-gram (its continuation
count), including the start of the text; c(h) and e(h) are the sums of c(hw) and e(hw) over w. D is
one of three discounts, for counts of 1, of 2 and of 3 or more, and b(h) the sum of the discounts of
all n-grams hw, divided by c(h) or e(h). Where h does not occur, p_n = q_(n-1). Every probability is
positive, and the probabilities of all V characters sum to 1.

All orders share the q_k. In a text of documents, h reaches back to the END of the document before, and
not further, and n-grams that cross an END are not counted. So the order of the documents has no effect.

The n-grams of the training text and of the text that is scored are numbered together, one length
after the other: an n-gram is the number of its context and a character, and the context of a place
is the n-gram, one character shorter, that ends at the place before.

Shapes: N places of both texts, G n-grams of one length, V vocabulary, M positions.
"""  # noqa: E501

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from charrnn.system.arrays import Float64Array, Int64Array
from charrnn.system.progress import task
from charrnn.text.vocab import IdArray

MOST_ORDER = 32
"""The largest order: the characters of a context and the character after it."""
MOST_TRAINING_CHARS = 1 << 23
"""Characters of a training text that are counted, at most; of a longer text, the last."""
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""The discounts where the counts define none between 0 and the count, as in KenLM (Heafield et al.
2013)."""


class Ngrams(NamedTuple):
    """The n-grams of one length, which are numbered."""

    at: Int64Array
    """(N,): the n-gram that ends at each place; -1 where it would reach too far back."""
    contexts: Int64Array
    """(G,): the context of each n-gram, which is all of it but its last character."""

    def interpolate(
        self, counts: Int64Array, *, scored: Int64Array, lower: Float64Array
    ) -> Float64Array:
        """Compute the equation of the module at places `scored` (M,), from the counts (G,) of the
        n-grams and the probabilities `lower` (M,) after contexts one character shorter."""
        num_with_count = np.bincount(np.minimum(counts, 5), minlength=5).tolist()
        discounts = np.array((0, *discounts_of(*num_with_count[1:5])))
        discounted = discounts[np.minimum(counts, 3)]
        totals = np.bincount(self.contexts, counts)
        shares = np.bincount(self.contexts, discounted)

        # Where a context does not occur, the shorter one predicts alone.
        ngrams = self.at[scored]
        is_known = ngrams >= 0
        is_known[is_known] = totals[self.contexts[ngrams[is_known]]] > 0
        ngrams = ngrams[is_known]
        contexts = self.contexts[ngrams]
        rest = shares[contexts] * lower[is_known]
        probabilities: Float64Array = lower.copy()
        probabilities[is_known] = (counts[ngrams] - discounted[ngrams] + rest) / totals[contexts]
        return probabilities


def probabilities_by_order(
    training: IdArray,
    text: IdArray,
    positions: Int64Array,
    *,
    vocab_size: int,
    orders: Sequence[int],
    end_id: int | None = None,
) -> Iterator[tuple[int, Float64Array]]:
    """Yield each of several orders, ascending, with the probability of text[i] after the characters
    before it, for each i of positions (M,), as an array (M,).

    A recurrent network that is no better than an n-gram of the same text has learned little:
    `evaluate_runs` shows both. Of a longer training text, the last MOST_TRAINING_CHARS characters
    are counted. `end_id` ends a document; None without documents.
    """
    # One row of places: the training text, and each run of positions after its longest context.
    longest = max(orders) - 1
    passages = [_counted_part(training, end_id)]
    num_places = num_counted = len(passages[0])
    scored = []
    for run in np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1):
        passage = text[max(0, run[0] - longest) : run[-1] + 1]
        passages.append(passage)
        num_places += len(passage)
        scored.append(np.arange(num_places - len(run), num_places))
    places_scored = np.concatenate(scored)
    ids = np.concatenate(passages).astype(np.int64)
    reaches = np.concatenate([_reaches(passage, end_id) for passage in passages])

    # The n-grams of no characters, before any character is read.
    shorter = Ngrams(np.zeros(num_places, np.int64), contexts=np.zeros(1, np.int64))
    lower = np.full(len(positions), 1 / vocab_size)
    with task("n-grams", total=longest + 1, unit="orders") as advance:
        for length in range(longest + 1):
            # The context of a place is the shorter n-gram that ends at the place before.
            places = np.flatnonzero(reaches >= length)
            keys, numbers = np.unique(
                shorter.at[places - 1] * vocab_size + ids[places], return_inverse=True
            )
            at = np.full(num_places, -1)
            at[places] = numbers
            ngrams = Ngrams(at, contexts=keys // vocab_size)

            # The highest order has raw counts, lower ones have continuation counts.
            if length > 0:
                continuations = _continuations(shorter, longer=ngrams, num_counted=num_counted)
                lower = shorter.interpolate(continuations, scored=places_scored, lower=lower)
            if length + 1 in orders:
                counted = at[:num_counted]
                counts = np.bincount(counted[counted >= 0], minlength=len(keys))
                yield length + 1, ngrams.interpolate(counts, scored=places_scored, lower=lower)
            shorter = ngrams
            advance()


def _counted_part(training: IdArray, end_id: int | None) -> IdArray:
    """Return the characters of a training text that are counted, with an END before the first
    document, as it is before the others."""
    counted = training[-MOST_TRAINING_CHARS:]
    if end_id is None:
        return counted
    if len(counted) < len(training):
        return counted[np.argmax(counted == end_id) :]
    return np.insert(counted, 0, end_id)


def _reaches(ids: IdArray, end_id: int | None) -> Int64Array:
    """Return how many characters (N,) the longest context of each place has: those before it, back
    to an END or to the beginning."""
    places: Int64Array = np.arange(len(ids))
    if end_id is None:
        return places
    last_ends = np.maximum.accumulate(np.where(ids == end_id, places, 0))
    return np.asarray(places - np.insert(last_ends, 0, 0)[:-1])


def _continuations(ngrams: Ngrams, longer: Ngrams, num_counted: int) -> Int64Array:
    """Count the different characters that stand before each n-gram in the first `num_counted`
    places; `longer` are the n-grams with one of these characters."""
    # Each longer n-gram counts once for the n-gram that it ends with.
    at = ngrams.at[:num_counted]
    longer_at = longer.at[:num_counted]
    has_longer = longer_at >= 0
    endings = np.full(len(longer.contexts), -1)
    endings[longer_at[has_longer]] = at[has_longer]

    # At the beginning of the text there is none, and nothing before an END tells documents apart:
    # each of these places counts (Heafield et al. 2013 count the beginnings of sentences so).
    first = at[(at >= 0) & ~has_longer]
    return np.bincount(
        np.concatenate((endings[endings >= 0], first)), minlength=len(ngrams.contexts)
    )


def discounts_of(n1: int, n2: int, n3: int, n4: int) -> tuple[float, float, float]:
    """Compute the discounts of counts of 1, of 2 and of 3 or more (Chen & Goodman 1998, equation
    26).

    n1 … n4 are the numbers of n-grams that occur once … four times. The fallback is returned where
    a discount is not defined, or not positive, or greater than the count.
    """
    if min(n1, n2, n3) == 0:
        return FALLBACK_DISCOUNTS

    share = n1 / (n1 + 2 * n2)
    discounts = (
        1 - 2 * share * n2 / n1,
        2 - 3 * share * n3 / n2,
        3 - 4 * share * n4 / n3,
    )

    # The counts of a small text may not fall as the equation assumes.
    for count, discount in enumerate(discounts, start=1):
        if not 0 < discount <= count:
            return FALLBACK_DISCOUNTS
    return discounts

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

No table of n-grams is kept: `ngrams.contexts` counts them in the sorted places of the training text.

Shapes: N characters of a text, V vocabulary, M positions, K characters of the longest context.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import DataError, check_range, counted, named
from charrnn.ngrams import contexts
from charrnn.ngrams.contexts import NgramPredictor, SortedContexts
from charrnn.system.process import check_settings_of_numba
from charrnn.system.progress import task
from charrnn.text.corpus import CorpusPart
from charrnn.text.vocab import IdArray

MOST_ORDER = 32
"""The largest order: the characters of a context and the character after it."""
POSITIONS_AT_ONCE = 4096
"""Positions for which the probabilities of all characters are in memory at once."""
MOST_TRAINING_CHARS = 1 << 23
"""Characters of a training text that are counted, at most; of a longer text, the last."""
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""The discounts where the counts define none between 0 and the count, as in KenLM (Heafield et al.
2013)."""

Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]


class NgramModel:
    """n-gram models of all orders 1 to `order` of the same text. See the module for the
    equations."""

    def __init__(self, ids: IdArray, vocab_size: int, order: int, end_id: int) -> None:
        """Take the training text (N,), and the id of END or NO_END. Raises UsageError if numba
        would obey a file of the current folder."""
        check_settings_of_numba()
        self.ids = ids
        self.vocab_size = vocab_size
        self.order = order
        self.end_id = end_id

    @classmethod
    def fit(
        cls, ids: IdArray, vocab_size: int, order: int, end_id: int | None = None
    ) -> NgramModel:
        """Return the models of a training text, n = 1 … `order`.

        Of a longer training text, the last 8,388,608 characters are counted. `end_id` ends a
        document; None without documents. Raises UsageError if `order` is not from 1 to 32, or numba
        would obey a file of the current folder, DataError for a text shorter than `order`.
        """
        check_range("order", value=order, high=MOST_ORDER)
        if len(ids) < order:
            raise DataError(
                f"The training text has {counted(len(ids), 'character')}; n-grams of order {order}"
                f" need at least {order}. Give a smaller {named('order')}."
            )
        training = np.array(ids[-MOST_TRAINING_CHARS:])
        end_id = end_or_none(end_id)
        if end_id != contexts.NO_END:
            # Whole documents. The first one begins after an END, as the others do.
            if len(training) < len(ids):
                training = training[np.argmax(training == end_id) + 1 :]
            if training[0] != end_id:
                training = np.concatenate((np.array([end_id], training.dtype), training))
        return cls(training, vocab_size=vocab_size, order=order, end_id=end_id)

    @cached_property
    def contexts(self) -> SortedContexts:
        """The sorted contexts of the training text."""
        return contexts.sort_contexts(
            self.ids, vocab_size=self.vocab_size, order=self.order, end_id=self.end_id
        )

    @cached_property
    def _discounts(self) -> Float64Array:
        """The discounts (K + 1, 2, 4) by the length of the context: of raw and of continuation
        counts of 0, 1, 2, and 3 or more."""
        totals = contexts.counts_of_counts(
            self.contexts,
            vocab_size=self.vocab_size,
            longest=self.order - 1,
            end_id=self.end_id,
        )

        # A count of 0 is not discounted.
        discounts = np.zeros((*totals.shape[:2], 4))
        for index in np.ndindex(*totals.shape[:2]):
            discounts[index][1:] = discounts_of(*totals[index][1:].tolist())
        return discounts

    def predictor(self, order: int | None = None) -> NgramPredictor:
        """Return the model of one order, by default the highest, with its probabilities after
        frequent contexts ready. Raises UsageError if the model does not have that order."""
        if order is None:
            order = self.order
        check_range("order", value=order, high=self.order)
        longest = order - 1

        # The highest order has raw counts, lower ones have continuation counts.
        discounts = self._discounts[:order, 1].copy()
        discounts[longest] = self._discounts[longest, 0]
        frequent = contexts.find_frequent(
            self.contexts,
            vocab_size=self.vocab_size,
            longest=longest,
            discounts=discounts,
            end_id=self.end_id,
        )
        return contexts.NgramPredictor(
            self.contexts, frequent, longest=longest, discounts=discounts, end_id=self.end_id
        )

    def by_order(
        self, ids: IdArray, positions: Int64Array, orders: Collection[int] | None = None
    ) -> Iterator[tuple[int, Float64Array]]:
        """Yield each of several orders, by default all, ascending, with p(ids[i] | the characters
        before it) for each i of positions (M,), as an array (M,).

        Raises UsageError for an order that the model does not have, ValueError for a position
        outside the text (N,).
        """
        # Checked here: a generator would raise only when it is read.
        wanted = sorted(orders or range(1, self.order + 1))
        for order in wanted:
            check_range("order", value=order, high=self.order)
        if len(positions) and not 0 <= int(positions.min()) <= int(positions.max()) < len(ids):
            raise ValueError(f"positions must be in [0, {len(ids)})")
        return self._by_order(ids, positions=positions, orders=wanted)

    def _by_order(
        self, ids: IdArray, positions: Int64Array, orders: Sequence[int]
    ) -> Iterator[tuple[int, Float64Array]]:
        with task("n-grams", total=len(orders), unit="orders") as advance:
            for order in orders:
                predictor = self.predictor(order)
                probabilities = np.empty(len(positions))
                for begin in range(0, len(positions), POSITIONS_AT_ONCE):
                    block = positions[begin : begin + POSITIONS_AT_ONCE]
                    predicted = predictor.probabilities(ids, block)
                    probabilities[begin : begin + len(block)] = predicted[
                        np.arange(len(block)), ids[block]
                    ]
                yield order, probabilities
                advance()


def end_or_none(end_id: int | None) -> int:
    """Return the id of END, NO_END if there is none, for compiled loops."""
    if end_id is None:
        return contexts.NO_END
    return end_id


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


def fit_ngrams(training: CorpusPart, order: int, end_id: int | None) -> NgramModel:
    """Count the n-grams of a training text, n = 1 … `order`; `end_id` ends a document. Raises
    DataError for a text shorter than that, UsageError for an order out of range."""
    return NgramModel.fit(
        training.ids[training.begin :],
        vocab_size=len(training.corpus.vocab),
        order=order,
        end_id=end_id,
    )

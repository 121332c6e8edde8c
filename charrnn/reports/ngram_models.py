"""n-gram models of characters: interpolated modified Kneser-Ney smoothing (Chen & Goodman 1998,
section 3).

The model of order n predicts a character w from the n - 1 characters h before it:

    p_n(w | h) = (c(hw) - D(c(hw))) / c(h) + b(h) q_(n-1)(w | h')        h' is h without its first character
    q_k(w | h) = (e(hw) - D(e(hw))) / e(h) + b(h) q_(k-1)(w | h')        q_0 = 1 / V

c counts occurrences; e counts the different characters that precede an n-gram (its continuation
count), the start of the text among them; c(h) and e(h) are their sums over w. D is one of three
discounts, for counts of 1, of 2 and of 3 or more, and b(h) the discounts of all n-grams hw, divided
by the sum. Where h does not occur, p_n = q_(n-1). Every probability is positive, and those of all V
characters sum to 1.

All orders share the q_k, so one pass over a text scores every order. END is a character like any
other: n-grams that cross the end of a document are counted, which costs a little and leaks nothing.

The places of the training text and of the scored text are sorted together, once, by the characters
that end there. From this, n-grams are numbered and counted length by length: no table of n-grams is
kept.

Shapes: N characters of the training text, S of both texts, V vocabulary, M positions.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.api import Model
from charrnn.errors import DataError, check_range, counted, named
from charrnn.evaluation.comparison import Comparison, Content, ExtraRows, measured_text
from charrnn.evaluation.loss_reports import MAX_SCORED, NGRAM, LossReport
from charrnn.evaluation.losses import CharLosses, MeasuredText, paired_difference, scored_positions
from charrnn.system.progress import task
from charrnn.text.corpus import CorpusPart
from charrnn.text.vocab import IdArray

MOST_ORDER = 32
"""The largest order of a model."""
ORDERS = (*range(1, 13), 20)
"""The orders that are reported unless others are asked for."""
MOST_TRAINING_CHARS = 1 << 23
"""Characters of a training text that are counted: the last ones."""
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""The discounts where the counts define none between 0 and the count, as in KenLM (Heafield et al.
2013)."""

Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]


class NgramModel:
    """n-gram models of all orders 1 to `order` of the same text. See the module for the
    equations."""

    def __init__(self, ids: IdArray, vocab_size: int, order: int) -> None:
        """Take the training text (N,)."""
        self.ids = ids
        self.vocab_size = vocab_size
        self.order = order

    @classmethod
    def fit(cls, ids: IdArray, vocab_size: int, order: int) -> NgramModel:
        """Return the models of `ids` (N,), n = 1 … `order`. Their n-grams are counted when a text
        is scored.

        Of a longer text, the last `MOST_TRAINING_CHARS` characters are counted. Raises UsageError
        for an order out of range, DataError for a text shorter than the order.
        """
        check_range("order", value=order, high=MOST_ORDER)
        if len(ids) < order:
            raise DataError(
                f"The training text has {counted(len(ids), 'character')}; n-grams of order {order}"
                f" need at least {order}. Give a smaller {named('order')}."
            )
        return cls(np.array(ids[-MOST_TRAINING_CHARS:]), vocab_size=vocab_size, order=order)

    def char_nats(self, ids: IdArray, positions: Int64Array) -> NDArray[np.float32]:
        """Compute -ln p(ids[i] | the characters before it) by the highest order, for each i of
        positions (M,)."""
        [(_, probabilities)] = self.by_order(ids, positions=positions, orders=(self.order,))
        return np.asarray(-np.log(probabilities), np.float32)

    def by_order(
        self, ids: IdArray, positions: Int64Array, orders: Collection[int] | None = None
    ) -> Iterator[tuple[int, Float64Array]]:
        """Yield each of some orders, all by default, ascending, with p(ids[i] | …) for each i of
        positions (M,).

        Time and memory are proportional to N and to the part of the text that is read. For order 20
        a million characters take about five seconds and 0.2 GB. Raises UsageError for an order that
        the model does not have, ValueError for a position outside the text.
        """
        # Checked here, not in the generator, which would raise only when it is read.
        chosen = orders
        if chosen is None:
            chosen = range(1, self.order + 1)
        for order in chosen:
            check_range("order", value=order, high=self.order)
        if len(positions) and not 0 <= int(positions.min()) <= int(positions.max()) < len(ids):
            raise ValueError(f"positions must be in [0, {len(ids)})")

        # Only the part of the text that decides is sorted with the training text.
        first = max(0, int(positions.min(initial=len(ids))) - self.order)
        return self._by_order(
            ids[first : positions.max(initial=0) + 1], positions=positions - first, orders=chosen
        )

    def _by_order(
        self, ids: IdArray, positions: Int64Array, orders: Collection[int]
    ) -> Iterator[tuple[int, Float64Array]]:
        # START, the training text, a mark that occurs nowhere else, and the text.
        start = np.array([0])
        mark = np.array([self.vocab_size + 1])
        training = self.ids.astype(np.int64) + 1
        chars = np.concatenate((start, training, mark, ids.astype(np.int64) + 1))
        scored = positions + len(training) + 2

        # q_0, then q_1 … by the continuation counts; p_n by the counts, from q_(n-1).
        most = max(orders)
        ends = _EndsOfNgrams(chars, num_training=len(training), most=most)
        lower = np.full(len(positions), 1 / self.vocab_size)
        with task("n-grams", total=most, unit="orders") as advance:
            for length in range(1, most + 1):
                ends.lengthen()
                if length in orders:
                    yield length, ends.interpolate(ends.counts, places=scored, lower=lower)
                if length < most:
                    lower = ends.interpolate(ends.continuations, places=scored, lower=lower)
                advance()


class _EndsOfNgrams:
    """All places (S,) of two texts, sorted by the characters that end there, read backwards.

    The places of an n-gram are neighbours, whatever its length: those of the n-grams one longer are
    parts of them.
    """

    def __init__(self, chars: Int64Array, *, num_training: int, most: int) -> None:
        """Sort by `most` characters (S,), of which the first is START and the next `num_training`
        are counted."""
        self._chars = chars
        self._last = num_training
        self.length = 0

        # Keys to sort by: as many characters as fit into the bits of an integer, read backwards.
        num_bits = int(chars.max()).bit_length()
        chars_per_key = 62 // num_bits
        keys = []
        for begin in range(0, most, chars_per_key):
            key = np.zeros(len(chars), np.int64)
            for back in range(begin, min(begin + chars_per_key, most)):
                key <<= num_bits
                key[back:] |= chars[: len(chars) - back]
            keys.append(key)
        keys.reverse()

        # `lexsort` sorts by the last key first: that of the last characters.
        self._places = np.lexsort(keys)
        self._numbers = np.zeros(len(chars), np.int64)
        self._begins = self._changes(1)

    def _changes(self, length: int) -> NDArray[np.bool_]:
        """Return where (S,) in the sorted places the first character of an n-gram of a length
        changes; before the text, START repeats."""
        first = np.zeros(len(self._chars), np.int64)
        first[length - 1 :] = self._chars[: len(self._chars) - length + 1]

        first = first[self._places]
        return np.append(True, first[1:] != first[:-1])

    def lengthen(self) -> None:
        """Go on to the n-grams that are one character longer; number them, and count them in the
        training text."""
        self.length += 1

        # The n-grams of the last length are the contexts of these.
        self._contexts = self._numbers
        self._numbers = np.empty_like(self._contexts)
        self._numbers[self._places] = np.cumsum(self._begins) - 1

        # Each n-gram: where it first ends, and how often it ends in the training text.
        begins = np.flatnonzero(self._begins)
        self._first = np.minimum.reduceat(self._places, begins)
        self.counts = np.add.reduceat(self._places <= self._last, begins, dtype=np.int64)

        # Each n-gram one character longer that occurs there is a continuation of one of these.
        self._begins = self._begins | self._changes(self.length + 1)
        longer = np.minimum.reduceat(self._places, np.flatnonzero(self._begins))
        longer = longer[(longer >= self.length) & (longer <= self._last)]
        self.continuations = np.bincount(self._numbers[longer], minlength=len(begins))

    def interpolate(
        self, counts: Int64Array, places: Int64Array, lower: Float64Array
    ) -> Float64Array:
        """Compute p(w | h) of the n-grams hw that end at places (M,), from q(w | h') and the counts
        of all n-grams."""
        # The discounts, by how many n-grams of the training text occur once, twice, …
        is_counted = (self._first >= self.length) & (self._first <= self._last)
        of_each = counts[is_counted]
        num_with = np.bincount(np.minimum(of_each, 5), minlength=6)
        discounts = np.array((0.0, *discounts_of(*num_with[1:5].tolist())))

        # For each context h: the sum of its counts, and what is taken from them.
        before = self._contexts[self._first[is_counted] - 1]
        num_contexts = int(self._contexts.max()) + 1
        totals = np.bincount(before, of_each, num_contexts)
        discounted = np.bincount(before, discounts[np.minimum(of_each, 3)], num_contexts)

        # Where h never occurs, the lower order decides alone.
        contexts = self._contexts[places - 1]
        is_known = totals[contexts] > 0
        contexts = contexts[is_known]
        of_ngrams = counts[self._numbers[places]][is_known]
        kept = of_ngrams - discounts[np.minimum(of_ngrams, 3)]
        probabilities: Float64Array = lower.copy()
        probabilities[is_known] = (kept + discounted[contexts] * lower[is_known]) / totals[contexts]
        return probabilities


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

    # Counts of a small text need not fall as the equation supposes.
    for count, discount in enumerate(discounts, start=1):
        if not 0 < discount <= count:
            return FALLBACK_DISCOUNTS
    return discounts


def ngram_model(model: Model, order: int = max(ORDERS)) -> NgramModel:
    """Count the n-grams of the run's training text, n = 1 … `order`, in the model's alphabet.

    Raises DataError if the training text is missing, changed or shorter than `order`, UsageError
    for an order out of range.

    >>> model.ngram_model(5).order
    """
    return _fit(model.training_text(), order)


def evaluate_ngrams(
    model: Model,
    text: Content,
    *,
    context: str | bytes = "",
    orders: Sequence[int] = ORDERS,
    max_chars: int | None = MAX_SCORED,
) -> tuple[LossReport, ...]:
    """Measure the mean loss of n-gram models over `text`, read after `context`: one report for each
    of `orders`.

    The n-grams are counted in the training text of `model`, in its alphabet (`Model.ngram_model`).
    The characters that are scored are those of `evaluate`. Orders longer than the training text are
    left out. Raises UsageError for an order out of range or a `max_chars` under 1, DataError for a
    text too short, and if the training text is missing or changed.

    >>> for report in charrnn.evaluate_ngrams(model, model.held_out(), orders=(3, 6)):
    ...     print(report.protocol, report.nats_per_char)
    """
    # The characters that the model is scored on, from the corpus of the text.
    measured = measured_text(model, text=text, context=context)
    measured.check_stateful(max_chars)
    training = model.training_text(text if isinstance(text, CorpusPart) else None)
    positions = scored_positions(
        len(measured.ids), first=measured.first_scored, max_chars=max_chars
    )

    usable = usable_orders(orders, training)
    reports = []
    for order, losses in _losses_by_order(
        training, orders=usable, text=measured, positions=positions
    ):
        reports.append(measured.report(losses.blocks, protocol=f"{order}-gram"))
    return tuple(reports)


def usable_orders(orders: Sequence[int], training: CorpusPart) -> list[int]:
    """Return the orders without repetition, ascending, and leave out those longer than the training
    text.

    Raises UsageError for an order out of range, DataError if no order is left.
    """
    for order in orders:
        check_range("order", value=order, high=MOST_ORDER)

    usable = sorted({order for order in orders if order <= len(training)})
    if not usable:
        raise DataError(
            f"The training text has {counted(len(training), 'character')}, too few for n-grams of"
            f" order {min(orders, default=1)}. Leave {named('ngrams')} out."
        )
    return usable


def _fit(training: CorpusPart, order: int) -> NgramModel:
    return NgramModel.fit(
        training.ids[training.begin :], vocab_size=len(training.corpus.vocab), order=order
    )


def _losses_by_order(
    training: CorpusPart, orders: Sequence[int], text: MeasuredText, positions: NDArray[np.int64]
) -> Iterator[tuple[int, CharLosses]]:
    """Yield each order and its losses at positions (M,) of a text."""
    counted_ngrams = _fit(training, orders[-1])
    for order, probabilities in counted_ngrams.by_order(
        text.ids, positions=positions, orders=orders
    ):
        nats = -np.log(probabilities).astype(np.float32)
        yield order, text.charged(CharLosses(positions, nats))


def _prepare(comparison: Comparison, orders: Sequence[int]) -> Callable[[], None]:
    training = comparison.training_text(f"leave {named('ngrams')} out")
    usable = usable_orders(orders, training)

    def add_rows() -> None:
        """Add a row for each order, over the characters of the first row."""
        text = comparison.runs[0].text
        reference = comparison.losses[0]
        for order, losses in _losses_by_order(
            training, orders=usable, text=text, positions=reference.positions
        ):
            comparison.add(
                text.report(losses.blocks, protocol=f"{order}-gram"),
                name=NGRAM,
                difference=paired_difference(losses, reference),
            )

        if len(training) > MOST_TRAINING_CHARS:
            comparison.notes.append(
                f"n-grams are counted in the last {MOST_TRAINING_CHARS:,} characters of the"
                f" training text ({100 * MOST_TRAINING_CHARS / len(training):.2g} %)."
            )

    return add_rows


ROWS = ExtraRows(
    name="ngrams",
    help="Add rows for n-grams of the training text, with the difference to the first run.",
    value=ORDERS,
    prepare=_prepare,
)
"""`evaluate --ngrams`."""

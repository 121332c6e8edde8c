"""n-gram models of characters: interpolated modified Kneser-Ney smoothing (Chen & Goodman 1998, section 3).

The model of order n predicts a character w from the n - 1 characters h before it:

    p_n(w | h) = (c(hw) - D(c(hw))) / c(h) + b(h) q_(n-1)(w | h')        h' is h without its first character
    q_k(w | h) = (e(hw) - D(e(hw))) / e(h) + b(h) q_(k-1)(w | h')        q_0 = 1 / V

c counts occurrences; e counts the different characters that precede an n-gram (its continuation count), the start of
the text among them; c(h) and e(h) are their sums over w. D is one of three discounts, for counts of 1, of 2 and of 3
or more, and b(h) the discounts of all n-grams hw, divided by the sum. Where h does not occur, p_n = q_(n-1). Every
probability is positive, and those of all V characters sum to 1.

All orders share the q_k, so one pass over a text scores every order. END is a character like any other: n-grams that
cross the end of a document are counted, which costs a little and leaks nothing.

The n-grams are found by sorting the positions of the text by the characters that end there, read backwards: those that
end in the same k characters are neighbours, for every k. Tables contain only the n-grams that occur at least twice. All
others are known by the only position where they end: nearly all longer n-grams are.

Shapes: N characters of the training text, V vocabulary, K entries and B repeated n-grams of a table, M positions.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import DataError, UsageError, counted, install_command, named
from charrnn.evaluation.comparison import Comparison, Content, ExtraRows, measured_text
from charrnn.evaluation.losses import CharLosses, paired_difference, scored_positions
from charrnn.evaluation.records import COMPRESSOR, MAX_SCORED, NGRAM, EvaluationRow, LossReport, SkippedRow
from charrnn.extensions import ModelMethod, PackageFunction
from charrnn.progress import Task, task
from charrnn.text.corpus import CorpusPart
from charrnn.text.vocab import IdArray

if TYPE_CHECKING:
    from charrnn.api import Model

MOST_ORDER = 32
"""The largest order of a model."""
ORDERS = (*range(1, 13), 20)
"""The orders that are reported unless others are asked for."""
MOST_TRAINING_CHARS = 1 << 23
"""Characters of a training text that are counted: the last ones. See `NgramModel.fit` for the memory."""
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""The discounts where the counts define none between 0 and the count, as in KenLM (Heafield et al. 2013)."""
POSITIONS_AT_ONCE = 1 << 18
"""Positions that are scored together, which bounds the memory of their temporary arrays."""

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]

_UNSEEN = -(1 << 62)
"""Stands for an n-gram that does not occur. An n-gram with one occurrence is ~position; others are rows of a table."""


@dataclass(frozen=True, slots=True, eq=False)
class _Successors:
    """How often the n-grams hw that continue each repeated context h (B,) occur, or continue."""

    total: Int32Array
    """Sum of the counts."""
    backoff: Float64Array
    """Sum of the discounts, divided by the sum of the counts."""
    discounts: tuple[float, float, float]
    """Those of counts of 1, of 2 and of 3 or more."""

    def interpolate(self, context: Int64Array, count: Float64Array, shorter: Float64Array) -> Float64Array:
        """Compute p(w | h) for contexts that occur, as codes; `count` is that of hw, `shorter` is q(w | h')."""
        is_repeated = context >= 0
        rows = context[is_repeated]
        # Those of a context that occurs once.
        total, backoff = np.ones(len(context)), np.full(len(context), self.discounts[0])
        total[is_repeated], backoff[is_repeated] = self.total[rows], self.backoff[rows]
        discount = np.array((0.0, *self.discounts))[np.minimum(count, 3).astype(np.int64)]
        return np.asarray((count - discount) / total + backoff * shorter)


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The n-grams of one length k."""

    keys: Int64Array
    """(K,) ascending: the row, in the table before, of the n-gram without its first character, times V, plus that
    character. An n-gram is left out if without its first character it occurs only once."""
    codes: Int32Array
    """(K,): the row of a repeated n-gram in this table, or ~position."""
    counts: Int32Array
    """(B,): occurrences."""
    continuations: Int32Array | None
    """(B,): different characters before it; None for the highest order."""
    by_count: _Successors
    """Successors of the contexts of length k - 1, by occurrences."""
    by_continuation: _Successors | None
    """The same by continuation count; None for the highest order."""


class NgramModel:
    """n-gram models of all orders 1 to `order`, trained on the same text. See the module for the equations."""

    def __init__(self, ids: IdArray, vocab_size: int, order: int, tables: Sequence[_Table]) -> None:
        """Hold what `fit` has counted."""
        self.vocab_size = vocab_size
        self.order = order
        self.num_training_chars = len(ids)
        self._ids = ids
        self._tables = tables

    @classmethod
    def fit(cls, ids: IdArray, vocab_size: int, order: int) -> NgramModel:
        """Count the n-grams of `ids` (N,), n = 1 … `order`.

        Of a longer text, the last `MOST_TRAINING_CHARS` characters are counted. Time and memory are proportional to
        their number. For order 20 a million takes about a second and 0.1 GB; 0.3 GB if most of it occurs twice, far
        apart, which is the worst case. Raises UsageError for an order out of range, DataError for a text shorter than
        the order.
        """
        check_order(order)
        if len(ids) < order:
            raise DataError(
                f"The training text has {counted(len(ids), 'character')}; n-grams of order {order} need at least "
                f"{order}. Give a smaller {named('order')}."
            )
        counted_ids = np.array(ids[-MOST_TRAINING_CHARS:])
        return cls(counted_ids, vocab_size, order, _count(counted_ids, vocab_size, order))

    def char_nats(self, ids: IdArray, positions: Int64Array) -> NDArray[np.float32]:
        """Compute -ln p(ids[i] | the characters before it) by the highest order, for each i of positions (M,)."""
        (nats,) = self.char_nats_by_order(ids, positions, (self.order,))
        return np.asarray(nats)

    def char_nats_by_order(
        self, ids: IdArray, positions: Int64Array, orders: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Compute `char_nats` by several orders in one pass: (number of orders, M), by default of all from 1 on.

        Raises as `char_probabilities`.
        """
        chosen = range(1, self.order + 1) if orders is None else orders
        nats = np.empty((len(chosen), len(positions)), np.float32)
        with task("n-grams", len(positions)) as advance:
            for begin in range(0, len(positions), POSITIONS_AT_ONCE):
                some = slice(begin, begin + POSITIONS_AT_ONCE)
                nats[:, some] = -np.log(self.char_probabilities(ids, positions[some], chosen))
                advance(nats[:, some].shape[1])
        return nats

    def char_probabilities(self, ids: IdArray, positions: Int64Array, orders: Sequence[int]) -> Float64Array:
        """Compute p(ids[i] | the characters before it) by each order, for each i of positions (M,): (orders, M).

        Raises UsageError for an order that the model does not have, ValueError for a position outside the text.
        """
        for order in orders:
            check_order(order, most=self.order)
        if len(positions) and not 0 <= int(positions.min()) <= int(positions.max()) < len(ids):
            raise ValueError(f"positions must be in [0, {len(ids)})")
        # The contexts end one character before; -1 is the empty text before the first character.
        ends, where = np.unique(np.concatenate((positions, positions - 1)), return_inverse=True)
        at_char, at_context = where[: len(positions)], where[len(positions) :]
        codes = np.zeros(len(ends), np.int64)
        lower = np.full(len(positions), 1 / self.vocab_size)
        found = np.empty((len(orders), len(positions)))
        for length, table in enumerate(self._tables, start=1):
            longer = self._extend(table, codes, ids, ends, length)
            context, ngram = codes[at_context], longer[at_char]
            # The last characters of the training text may be a context without any successor.
            is_known = (context >= 0) | ((context > _UNSEEN) & (context != ~(self.num_training_chars - 1)))
            context, ngram, shorter = context[is_known], ngram[is_known], lower[is_known]
            if length in orders:
                probs = lower.copy()
                probs[is_known] = table.by_count.interpolate(context, _counts_of(ngram, table.counts), shorter)
                found[[index for index, order in enumerate(orders) if order == length]] = probs
            if table.continuations is not None and table.by_continuation is not None:
                count = _counts_of(ngram, table.continuations)
                lower[is_known] = table.by_continuation.interpolate(context, count, shorter)
            codes = longer
        return found

    def _extend(self, table: _Table, codes: Int64Array, ids: IdArray, ends: Int64Array, length: int) -> Int64Array:
        """Return the codes of the n-grams of `length` that end at `ends`, from those of the n-grams one shorter."""
        longer = np.full(len(codes), _UNSEEN)
        first = ends - (length - 1)
        rows = np.flatnonzero((codes >= 0) & (first >= 0))
        if len(rows) and len(table.keys):
            wanted = codes[rows] * self.vocab_size + ids[first[rows]].astype(np.int64)
            place = np.searchsorted(table.keys, wanted).clip(max=len(table.keys) - 1)
            is_found = table.keys[place] == wanted
            longer[rows[is_found]] = table.codes[place[is_found]]
        rows = np.flatnonzero((codes < 0) & (codes > _UNSEEN) & (first >= 0))
        source = ~codes[rows] - (length - 1)
        is_same = source >= 0
        is_same &= self._ids[source.clip(min=0)] == ids[first[rows]]
        longer[rows[is_same]] = codes[rows[is_same]]
        return longer


def check_order(order: int, *, most: int = MOST_ORDER) -> None:
    """Raise UsageError for an order outside [1, most]."""
    if not 1 <= order <= most:
        raise UsageError(f"{named('order')} is {order}; it must be between 1 and {most}.")


def _counts_of(ngrams: Int64Array, counts: Int32Array) -> Float64Array:
    """Return the counts of n-grams by their codes: 1 for those that occur once, 0 for those that do not occur."""
    found = (ngrams > _UNSEEN).astype(np.float64)
    is_repeated = ngrams >= 0
    found[is_repeated] = counts[ngrams[is_repeated]]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Grouped:
    """The n-grams of one length before those one character longer are known."""

    keys: Int64Array
    codes: Int32Array
    counts: Int32Array
    contexts: Int32Array
    """(B,): the row of each repeated n-gram without its last character, in the table before."""
    num_single: Int64Array
    """Successors that occur once, of each context."""
    total_single: int
    """All n-grams of this length that occur once."""

    def finish(self, continuations: Int32Array | None) -> _Table:
        """Make the table with the continuation counts (B,), if there are any."""
        return _Table(
            self.keys,
            self.codes,
            self.counts,
            continuations,
            by_count=self._successors(self.counts),
            by_continuation=None if continuations is None else self._successors(continuations),
        )

    def _successors(self, counts: Int32Array) -> _Successors:
        """Sum counts and discounts of each context. An n-gram that occurs once also has a continuation count of 1."""
        num_with = np.bincount(np.minimum(counts, 5), minlength=6)
        discounts = discounts_of(self.total_single + int(num_with[1]), *num_with[2:5].tolist())
        table = np.array((0.0, *discounts))
        size = len(self.num_single)
        total = (self.num_single + np.bincount(self.contexts, counts, size)).astype(np.int32)
        discounted = discounts[0] * self.num_single + np.bincount(self.contexts, table[np.minimum(counts, 3)], size)
        return _Successors(total, discounted / total, discounts)


def discounts_of(n1: int, n2: int, n3: int, n4: int) -> tuple[float, float, float]:
    """Compute the discounts of counts of 1, of 2 and of 3 or more (Chen & Goodman 1998, equation 26).

    n1 … n4 are the numbers of n-grams that occur once … four times. The fallback is returned where a discount is not
    defined, or not positive, or greater than the count.
    """
    if min(n1, n2, n3) == 0:
        return FALLBACK_DISCOUNTS
    share = n1 / (n1 + 2 * n2)
    discounts = (1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3)
    is_usable = all(0 < discount <= count for count, discount in enumerate(discounts, start=1))
    return discounts if is_usable else FALLBACK_DISCOUNTS


def _count(ids: IdArray, vocab_size: int, order: int) -> list[_Table]:
    """Build the tables of the n-grams of 1 … `order` characters."""
    num_chars = len(ids)
    # Positions where the repeated n-grams of the last table end, neighbours if they end in the same one; its row in
    # the table; and the row by position, or -1. First that of the empty n-gram.
    positions = _sorted_positions(ids, vocab_size, order)
    rows = np.zeros(num_chars, np.int32)
    row_at = np.zeros(num_chars, np.int32)
    num_successors = np.array([num_chars], np.int64)
    tables: list[_Table] = []
    grouped: _Grouped | None = None
    with task("counting n-grams", order, unit="orders") as advance:
        for length in range(1, order + 1):
            first = positions - (length - 1)
            # -1 is the start of the text: no n-gram, but one more character before the shorter one.
            chars = np.where(first >= 0, ids[first.clip(min=0)].astype(np.int64), -1)
            begins = np.ones(len(positions), np.bool_)
            begins[1:] = (chars[1:] != chars[:-1]) | (rows[1:] != rows[:-1])
            begin = np.flatnonzero(begins)
            sizes = np.diff(begin, append=len(positions))
            if grouped is not None:
                num_before = np.bincount(rows[begin], minlength=len(grouped.counts))
                tables.append(grouped.finish(num_before.astype(np.int32)))
            is_ngram = chars[begin] >= 0
            is_repeated = (sizes >= 2) & is_ngram
            counts = sizes[is_repeated].astype(np.int32)
            codes = np.where(is_repeated, np.cumsum(is_repeated, dtype=np.int32) - 1, ~positions[begin])
            keys = rows[begin].astype(np.int64) * vocab_size + chars[begin]
            contexts = row_at[positions[begin[is_repeated]] - 1] if length > 1 else np.zeros(len(counts), np.int32)
            num_repeated = np.bincount(contexts, counts, len(num_successors)).astype(np.int64)
            grouped = _Grouped(
                keys[is_ngram],
                codes[is_ngram],
                counts,
                contexts,
                num_successors - num_repeated,
                num_chars - length + 1 - int(counts.sum()),
            )
            positions = positions[np.repeat(is_repeated, sizes)]
            rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
            row_at = np.full(num_chars, -1, np.int32)
            row_at[positions] = rows
            num_successors = counts.copy()
            if row_at[-1] >= 0:
                num_successors[row_at[-1]] -= 1  # nothing follows the end of the text
            advance()
    assert grouped is not None
    return [*tables, grouped.finish(None)]


def _sorted_positions(ids: IdArray, vocab_size: int, length: int) -> Int32Array:
    """Sort the positions of ids (N,) by the `length` characters that end there, the last one first.

    By keys of as many characters as fit into 62 bits, then by pairs of the ranks of two keys, each twice as long as
    before (Manber & Myers 1993). Positions with equal characters are in any order.
    """
    num_chars = len(ids)
    num_bits = int(vocab_size).bit_length()  # of id + 1; 0 stands for what is before the text
    width = min(62 // num_bits, length)
    keys = np.zeros(num_chars, np.int64)
    for back in range(width):
        keys <<= num_bits
        keys[back:] |= ids[: num_chars - back].astype(np.int64) + 1
    while True:
        order = np.argsort(keys)
        if width >= length:
            return order.astype(np.int32)
        keys = keys[order]
        ranks = np.empty(num_chars, np.int64)
        ranks[order] = np.cumsum(np.append(True, keys[1:] != keys[:-1]))
        keys = ranks * (num_chars + 1)
        keys[width:] += ranks[:-width]
        width *= 2


MOST_TRAINING_BYTES = 1 << 23
"""Bytes of the training text that a compressor reads: the last ones."""
MOST_TEXT_BYTES = 1 << 22
"""Bytes of the text that are compressed: the first ones."""
PPMD_ORDER = 16
"""Bytes of context, at most, that PPMd uses; more do not help (benchmarks/LOG.md)."""
BLOCK_BYTES = 1 << 16
"""Bytes that are compressed between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Compressor:
    """A general compressor, by the name and option of its command line: a familiar reference for the loss of a model.

    A text costs what it adds to the training text: 8 · (size of both, compressed together, minus the size of the
    training text alone) / bytes of the text. So the compressor, like a model, has read the training text before. Unlike
    a model it keeps learning from the text it compresses: compare it with dynamic evaluation, too.
    """

    name: str
    added_bytes: Callable[[bytes, bytes, Task], int]
    """Returns by how much a text enlarges the compressed training text; the task is told how many bytes are read."""
    package: str | None = None
    """The package that contains it; None for the standard library."""
    training_passes: int = 1
    """How often it reads the training text."""

    @property
    def is_installed(self) -> bool:
        """Whether its package is installed."""
        return self.package is None or find_spec(self.package) is not None

    def bits_per_byte(self, training: bytes, text: bytes) -> float:
        """Compute the bits per byte of `text` after `training`. Raises ValueError for an empty text."""
        if not text:
            raise ValueError("nothing to compress")
        with task(self.name, self.training_passes * len(training) + len(text), unit="B") as advance:
            return 8 * self.added_bytes(training, text, advance) / len(text)


def _xz_size(data: bytes, advance: Task) -> int:
    # The dictionary of the preset, 64 MiB, takes 0.7 GB of memory. One as long as the text finds the same matches.
    dictionary = max(1 << 16, 1 << (len(data) - 1).bit_length())
    preset = 9 | lzma.PRESET_EXTREME
    filters = [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": dictionary}]
    compressor = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=filters)
    return _compressed_size(compressor.compress, data, advance) + len(compressor.flush())


def _compressed_size(compress: Callable[[bytes], bytes], data: bytes, advance: Task) -> int:
    size = 0
    for begin in range(0, len(data), BLOCK_BYTES):
        block = data[begin : begin + BLOCK_BYTES]
        size += len(compress(block))
        advance(len(block))
    return size


def _xz_added(training: bytes, text: bytes, advance: Task) -> int:
    return _xz_size(training + text, advance) - _xz_size(training, advance)


def _ppmd_added(training: bytes, text: bytes, advance: Task) -> int:
    """Compress both in one pass: apart from a few bytes, the output never lags behind the input."""
    import pyppmd

    # Variant H, with memory in which the statistics of both never have to be dropped.
    encoder: Any = pyppmd.Ppmd7Encoder(PPMD_ORDER, max(1 << 24, 32 * (len(training) + len(text))))
    _compressed_size(encoder.encode, training, advance)
    return _compressed_size(encoder.encode, text, advance) + len(encoder.flush())


COMPRESSORS = (
    Compressor("xz -9e", _xz_added, training_passes=2),
    Compressor(f"PPMd -o{PPMD_ORDER}", _ppmd_added, package="pyppmd"),
)
"""The compressors of `evaluate --ngrams`."""
ROWS_BYTES = 1 << 29
"""Memory of the losses of the n-gram orders that are computed together."""


def ngram_model(model: Model, order: int = max(ORDERS)) -> NgramModel:
    """Count the n-grams of the run's training text, n = 1 … `order`, in the model's alphabet.

    Raises as `Model.held_out` and `NgramModel.fit`.
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
    """Measure the mean loss of n-gram models over `text`, read after `context`: one report for each of `orders`.

    The n-grams are counted in the training text of `model`, in its alphabet (`Model.ngram_model`). The characters that
    are scored are those of `evaluate`. Orders longer than the training text are left out. Raises UsageError for an
    order out of range or a `max_chars` under 1, DataError for a text too short, and as `Model.training_text`.
    """
    measured = measured_text(model, text, context)
    measured.check_stateful(max_chars)
    training = model.training_text(text if isinstance(text, CorpusPart) else None)
    positions = scored_positions(len(measured.ids), measured.first_scored, max_chars)
    return tuple(
        measured.report(losses.blocks, protocol=f"{order}-gram")
        for order, losses in _losses_by_order(training, usable_orders(orders, training), measured.ids, positions)
    )


def usable_orders(orders: Sequence[int], training: CorpusPart) -> list[int]:
    """Return the orders without repetition, ascending, and leave out those longer than the training text.

    Raises UsageError for an order out of range, DataError if no order is left.
    """
    for order in orders:
        check_order(order)
    usable = sorted({order for order in orders if order <= len(training)})
    if not usable:
        raise DataError(
            f"The training text has {counted(len(training), 'character')}, too few for n-grams of order "
            f"{min(orders, default=1)}. Leave {named('ngrams')} out."
        )
    return usable


def _fit(training: CorpusPart, order: int) -> NgramModel:
    return NgramModel.fit(training.ids[training.begin :], len(training.corpus.vocab), order)


def _losses_by_order(
    training: CorpusPart, orders: Sequence[int], ids: IdArray, positions: NDArray[np.int64]
) -> Iterator[tuple[int, CharLosses]]:
    """Yield each order and its losses at positions (M,) of a text, from as few passes as memory allows."""
    model = _fit(training, orders[-1])
    at_once = max(1, ROWS_BYTES // (4 * len(positions)))
    for begin in range(0, len(orders), at_once):
        some = orders[begin : begin + at_once]
        rows = model.char_nats_by_order(ids, positions, some)
        yield from ((order, CharLosses(positions, nats)) for order, nats in zip(some, rows, strict=True))


def _prepare(comparison: Comparison, orders: Sequence[int]) -> Callable[[], None]:
    training = comparison.training_text(f" or leave {named('ngrams')} out")
    usable = usable_orders(orders, training)

    def add_rows() -> None:
        _add_ngrams(comparison, training, usable)
        _add_compressors(comparison, training)

    return add_rows


def _add_ngrams(comparison: Comparison, training: CorpusPart, orders: Sequence[int]) -> None:
    """Add a row for each order, over the characters of the first row."""
    text, reference = comparison.runs[0].text, comparison.losses[0]
    for order, losses in _losses_by_order(training, orders, text.ids, reference.positions):
        difference = paired_difference(losses, reference)
        comparison.add(losses.blocks, text, difference, name=NGRAM, protocol=f"{order}-gram")
    if len(training) > MOST_TRAINING_CHARS:
        comparison.notes.append(
            f"n-grams are counted in the last {MOST_TRAINING_CHARS:,} characters of the training text "
            f"({100 * MOST_TRAINING_CHARS / len(training):.2g} %)."
        )


def _add_compressors(comparison: Comparison, training: CorpusPart) -> None:
    """Add a row for each compressor that is installed, and the reason for any other.

    They have no loss for each character, so there is neither an interval nor a difference.
    """
    content, text = comparison.contents[0], comparison.runs[0].text
    before = _as_bytes(training[max(0, len(training) - MOST_TRAINING_BYTES) :])[-MOST_TRAINING_BYTES:]
    data = _as_bytes(content[:MOST_TEXT_BYTES])[:MOST_TEXT_BYTES]
    chars_per_byte = text.num_chars / text.num_bytes
    for compressor in COMPRESSORS:
        if not compressor.is_installed:
            reason = f"it needs the package {compressor.package} ({install_command('compression')})"
            comparison.skipped.append(SkippedRow(protocol=compressor.name, name=COMPRESSOR, reason=reason))
            continue
        bits_per_byte = compressor.bits_per_byte(before, data)
        bpc = bits_per_byte / chars_per_byte
        report = LossReport(
            protocol=compressor.name,
            nats_per_char=bpc * math.log(2),
            bpc=bpc,
            bits_per_byte=bits_per_byte,
            num_chars=round(len(data) * chars_per_byte),
            text_length=text.num_chars,
            precision="",
        )
        comparison.rows.append(EvaluationRow(name=COMPRESSOR, loss=report))
    if len(before) < training.num_bytes or len(data) < text.num_bytes:
        comparison.notes.append(
            f"Compressors read the last {len(before):,} bytes of the training text, then the first {len(data):,} of "
            "this text."
        )
    comparison.notes.append("Compressors keep learning from the text that they compress; n-grams do not.")


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


EXTENSIONS = (
    ModelMethod(name="ngram_model", function=ngram_model),
    PackageFunction(name="evaluate_ngrams", function=evaluate_ngrams),
    ExtraRows(
        name="ngrams",
        help="Add rows for n-grams and compressors that have read the same training text, with the difference to the "
        "first run.",
        value=ORDERS,
        prepare=_prepare,
    ),
)
"""`Model.ngram_model`, `charrnn.evaluate_ngrams` and `evaluate --ngrams`."""

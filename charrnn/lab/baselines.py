"""Measure n-gram models and compressors that have read the training text of a model, for the table of its losses.

Shapes: M scored characters.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import DataError, counted, install_command, named
from charrnn.evaluation.char_losses import CharLosses, scored_positions
from charrnn.evaluation.loss import MeasuredText, report_of
from charrnn.evaluation.loss_table import LossTable
from charrnn.evaluation.records import COMPRESSOR, NGRAM, EvaluationRow, LossReport, SkippedRow
from charrnn.lab.compressors import COMPRESSORS, MOST_TEXT_BYTES, MOST_TRAINING_BYTES, Compressor
from charrnn.lab.ngrams import NgramModel, check_order, num_counted
from charrnn.lab.novelty import SlicedText
from charrnn.text.corpus import CorpusPart

ROWS_BYTES = 1 << 29
"""Memory of the losses of the n-gram orders that are computed together."""

OnProgress = Callable[[int], object]


def _ignore(amount: int) -> None:
    pass


def count_ngrams(training: CorpusPart, order: int, *, on_progress: OnProgress = _ignore) -> NgramModel:
    """Count the n-grams of a training text in its alphabet. Raises as `NgramModel.fit`."""
    ids = training.ids[training.begin :]
    return NgramModel.fit(ids, len(training.corpus.vocab), order, on_progress=on_progress)


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


def report_ngrams(
    model: NgramModel,
    text: MeasuredText,
    orders: Sequence[int],
    *,
    max_chars: int | None,
    on_progress: OnProgress = _ignore,
) -> tuple[LossReport, ...]:
    """Measure the mean losses of several orders over the characters of a text that `char_losses` scores."""
    positions = scored_positions(len(text.ids), text.first_scored, max_chars)
    found = _iter_losses(model, text, positions, orders, on_progress)
    return tuple(report_of(losses, text, protocol=f"{order}-gram") for order, losses in found)


def add_ngrams(
    table: LossTable, training: CorpusPart, orders: Sequence[int], *, on_progress: OnProgress = _ignore
) -> NgramModel:
    """Add a row for each order, over the characters of the first row, and return the model.

    `on_progress` is called with the number of characters counted or scored since its last call. Raises as
    `usable_orders`.
    """
    assert table.reference is not None, "n-grams are compared with a model"
    chosen = usable_orders(orders, training)
    model = count_ngrams(training, chosen[-1], on_progress=on_progress)
    for order, losses in _iter_losses(model, table.text, table.reference.positions, chosen, on_progress):
        table.add(losses, name=NGRAM, protocol=f"{order}-gram")
    if (num_chars := num_counted(len(training))) < len(training):
        share = f"{100 * num_chars / len(training):.2g} %"
        table.notes.append(f"n-grams are counted in the last {num_chars:,} characters of the training text ({share}).")
    return model


def _iter_losses(
    model: NgramModel,
    text: MeasuredText,
    positions: NDArray[np.int64],
    orders: Sequence[int],
    on_progress: OnProgress,
) -> Iterator[tuple[int, CharLosses]]:
    """Yield each order and its losses at positions (M,) of a text, from as few passes as memory allows."""
    at_once = max(1, ROWS_BYTES // (4 * len(positions)))
    for begin in range(0, len(orders), at_once):
        some = orders[begin : begin + at_once]
        rows = model.char_nats_by_order(text.ids, positions, some, on_progress=on_progress)
        yield from ((order, CharLosses(positions, nats)) for order, nats in zip(some, rows, strict=True))


def add_compressors(
    table: LossTable, training: CorpusPart, text: SlicedText, *, on_progress: OnProgress = _ignore
) -> None:
    """Add a row for each compressor that is installed, and the reason for any other.

    They have no loss for each character, so there is neither an interval nor a difference. `on_progress` is called with
    the number of bytes read since its last call.
    """
    before = _as_bytes(training[max(0, len(training) - MOST_TRAINING_BYTES) :])[-MOST_TRAINING_BYTES:]
    data = _as_bytes(text[:MOST_TEXT_BYTES])[:MOST_TEXT_BYTES]
    for compressor in COMPRESSORS:
        if compressor.is_installed:
            table.append(_row(table, compressor, before, data, on_progress))
        else:
            reason = f"it needs the package {compressor.package} ({install_command('compression')})"
            table.skipped.append(SkippedRow(protocol=compressor.name, name=COMPRESSOR, reason=reason))
    if len(before) < training.num_bytes or len(data) < table.text.num_bytes:
        table.notes.append(
            f"Compressors read the last {len(before):,} bytes of the training text, then the first {len(data):,} of "
            "this text."
        )
    table.notes.append("Compressors keep learning from the text that they compress; n-grams do not.")


def _row(
    table: LossTable, compressor: Compressor, before: bytes, data: bytes, on_progress: OnProgress
) -> EvaluationRow:
    bits_per_byte = compressor.bits_per_byte(before, data, on_progress)
    chars_per_byte = table.text.num_chars / table.text.num_bytes
    bpc = bits_per_byte / chars_per_byte
    report = LossReport(
        protocol=compressor.name,
        nats_per_char=bpc * math.log(2),
        bpc=bpc,
        bits_per_byte=bits_per_byte,
        num_chars=round(len(data) * chars_per_byte),
        text_length=table.text.num_chars,
        precision="",
    )
    return EvaluationRow(name=COMPRESSOR, loss=report)


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text

"""The rows of `evaluate` for n-grams of the training text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import DataError, check_range, counted, named
from charrnn.evaluation.comparison import AddedRows, Comparison
from charrnn.evaluation.loss_reports import NGRAM, EvaluationRow, paired_difference
from charrnn.evaluation.measured import MeasuredText
from charrnn.model.losses import CharLosses
from charrnn.ngrams.kneser_ney import MOST_ORDER, MOST_TRAINING_CHARS, fit_ngrams
from charrnn.text.corpus import CorpusPart

ORDERS = (*range(1, 13), 20)
"""The orders that are reported by default."""


def _usable_orders(orders: Sequence[int], training: CorpusPart) -> list[int]:
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


def _losses_by_order(
    training: CorpusPart,
    orders: Sequence[int],
    text: MeasuredText,
    positions: NDArray[np.int64],
    end_id: int | None,
) -> Iterator[tuple[int, CharLosses]]:
    """Yield each order and its losses at positions (M,) of a text."""
    counted_ngrams = fit_ngrams(training, order=orders[-1], end_id=end_id)
    for order, probabilities in counted_ngrams.by_order(
        text.ids, positions=positions, orders=orders
    ):
        nats = -np.log(probabilities).astype(np.float32)
        yield order, text.charged(CharLosses(positions=positions, nats=nats))


def _prepare_ngrams(comparison: Comparison, orders: Sequence[int]) -> Callable[[], None]:
    training = comparison.training_text(f"leave {named('ngrams')} out")
    usable = _usable_orders(orders, training=training)

    def add_rows() -> None:
        """Add a row for each order, over the characters of the first row."""
        text = comparison.runs[0].text
        reference = comparison.runs[0].losses
        for order, losses in _losses_by_order(
            training,
            orders=usable,
            text=text,
            positions=reference.positions,
            end_id=comparison.runs[0].network.end_id,
        ):
            row = EvaluationRow(
                name=NGRAM,
                loss=text.report(losses.scores, protocol=f"{order}-gram"),
                difference=paired_difference(losses, reference),
            )
            comparison.rows.append(row)

        if len(training) > MOST_TRAINING_CHARS:
            comparison.notes.append(
                f"n-grams are counted in the last {MOST_TRAINING_CHARS:,} characters of the"
                f" training text ({100 * MOST_TRAINING_CHARS / len(training):.2g} %)."
            )

    return add_rows


NGRAM_ROWS = AddedRows(
    name="ngrams",
    help="Add rows for n-grams of the training text, with the difference to the first run.",
    value=ORDERS,
    prepare=_prepare_ngrams,
)
"""`evaluate --ngrams`."""

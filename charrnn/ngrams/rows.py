"""The rows of `evaluate` for n-grams of the training text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from charrnn.errors import named
from charrnn.evaluation.comparison import Addition, Comparison
from charrnn.evaluation.loss_reports import NGRAM, EvaluationRow
from charrnn.evaluation.losses import paired_difference
from charrnn.ngrams.kneser_ney import (
    MOST_TRAINING_CHARS,
    ORDERS,
    losses_by_order,
    usable_orders,
)


def _prepare_ngrams(comparison: Comparison, orders: Sequence[int]) -> Callable[[], None]:
    training = comparison.training_text(f"leave {named('ngrams')} out")
    usable = usable_orders(orders, training)

    def add_rows() -> None:
        """Add a row for each order, over the characters of the first row."""
        text = comparison.runs[0].text
        reference = comparison.runs[0].losses
        for order, losses in losses_by_order(
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


NGRAM_ROWS = Addition(
    name="ngrams",
    help="Add rows for n-grams of the training text, with the difference to the first run.",
    value=ORDERS,
    rows=_prepare_ngrams,
)
"""`evaluate --ngrams`."""

"""The rows of `evaluate` for n-grams of the training text."""

from collections.abc import Iterator, Sequence

import numpy as np

from charrnn.config.options import between, check
from charrnn.errors import DataError, counted, named
from charrnn.evaluation.loss_reports import NGRAM, EvaluationRow, block_difference
from charrnn.evaluation.measured import MeasuredRun
from charrnn.model.losses import CharLosses
from charrnn.ngrams.kneser_ney import (
    MOST_ORDER,
    MOST_TRAINING_CHARS,
    probabilities_by_order,
)
from charrnn.text.corpus import CorpusPart

ORDERS = (*range(1, 13), 20)
"""The orders that are reported by default."""


def usable_orders(orders: Sequence[int], training: CorpusPart) -> list[int]:
    """Return the orders without repetition, ascending, and leave out those longer than the training
    text.

    Raises UsageError for an order out of range, DataError if no order is left.
    """
    for order in orders:
        check("order", order, allowed=between(1, MOST_ORDER))

    usable = sorted({order for order in orders if order <= len(training)})
    if not usable:
        raise DataError(
            f"The training text has {counted(len(training), 'character')}, too few for n-grams of"
            f" order {min(orders, default=1)}. Leave {named('ngrams')} out."
        )
    return usable


def ngram_rows(
    training: CorpusPart, *, orders: Sequence[int], run: MeasuredRun
) -> Iterator[EvaluationRow]:
    """Yield the row of each order, ascending, over the characters of a run, with the difference to
    this run."""
    text = run.text
    positions = run.losses.positions
    for order, probabilities in probabilities_by_order(
        training.ids[training.begin :],
        text=text.ids,
        positions=positions,
        vocab_size=len(run.model.vocab),
        orders=orders,
        end_id=run.model.network.end_id,
    ):
        nats = -np.log(probabilities).astype(np.float32)
        losses = text.charged(CharLosses(positions=positions, nats=nats))
        yield EvaluationRow(
            name=NGRAM,
            loss=text.report(losses.scores, protocol=f"{order}-gram"),
            difference=block_difference(losses.blocks, reference=run.losses.blocks),
        )


def notes_of_ngrams(training: CorpusPart) -> Iterator[str]:
    """Yield a note on the share of the training text that is counted, unless it is all of it."""
    if len(training) > MOST_TRAINING_CHARS:
        yield (
            f"n-grams are counted in the last {MOST_TRAINING_CHARS:,} characters of the"
            f" training text ({100 * MOST_TRAINING_CHARS / len(training):.2g} %)."
        )

"""The rows of `evaluate` for networks that predict together with counts, and for n-grams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from charrnn.counts.counted_model import CountedNetwork
from charrnn.counts.counting import with_counts
from charrnn.counts.kneser_ney import (
    MOST_TRAINING_CHARS,
    ORDERS,
    losses_by_order,
    usable_orders,
)
from charrnn.errors import CharRNNError, Message, named
from charrnn.evaluation.comparison import Addition, Comparison
from charrnn.evaluation.loss_reports import NGRAM, WITH_COUNTS, EvaluationRow
from charrnn.evaluation.losses import paired_difference
from charrnn.system.process import check_room_for_numba
from charrnn.system.progress import warn

COUNTS = "counts alone"
"""The name of the row of the counts of a run without its network."""


def _prepare_counts(comparison: Comparison, _: bool) -> Callable[[], None]:
    """Add each run together with its counts to the runs that are measured."""
    measured = []
    for run, model in comparison.models:
        if not model.may_have_counts:
            continue
        try:
            check_room_for_numba()
            together = with_counts(model)
        except CharRNNError as error:
            warn(Message(f"{error.marked} The network is measured alone."))
            continue

        # The row of the run alone has the note on its training text.
        measured.append(
            replace(
                run,
                name=f"{run.name}{WITH_COUNTS}",
                model=None,
                network=together.network,
                trained_share=None,
            )
        )
    comparison.runs += measured
    return lambda: None


COUNT_ROWS = Addition(name="counts", default=True, rows=_prepare_counts)
"""The parameter `counts` of `evaluate_runs`: whether runs are measured with their counts as
well."""


def _prepare_ngrams(comparison: Comparison, orders: Sequence[int]) -> Callable[[], None]:
    training = comparison.training_text(f"leave {named('ngrams')} out")
    usable = usable_orders(orders, training)

    # The counts that take part in a row are n-grams, too.
    for run in comparison.runs:
        if isinstance(run.network, CountedNetwork):
            alone = replace(run, name=COUNTS, step=None, network=run.network.alone)
            comparison.runs.append(alone)
            break

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
    help="Add rows for n-grams of the training text, and for its counts, with the difference to"
    " the first run.",
    value=ORDERS,
    rows=_prepare_ngrams,
)
"""`evaluate --ngrams`."""

"""How far back the predictions of models reach in a text: closing characters by distance, and the loss with resets."""

from collections.abc import Callable, Sequence

import numpy as np

from charrnn.evaluation.char_losses import CharLosses, char_losses
from charrnn.evaluation.loss_table import MeasuredRun
from charrnn.lab.closing import find_pairs, report_closings
from charrnn.lab.error_kinds import check_same_alphabet
from charrnn.lab.long_range_records import CLOSING_ORDERS, LongRangeReport, ModelResets
from charrnn.lab.ngrams import NgramModel
from charrnn.lab.resets import MAX_CHARS, choose_groups, measure_resets
from charrnn.text.vocab import IdArray


def report_long_range(
    runs: Sequence[MeasuredRun],
    training: IdArray,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> LongRangeReport:
    """Measure runs over their common text; `training` are the ids of the training text, for the n-grams.

    n-grams are counted only where something is closed in the scored text. `on_progress` is called with the number of
    characters read by any of the models since its last call. Raises UsageError for runs with different alphabets.
    """
    check_same_alphabet(runs)
    first = runs[0]
    ids = first.text.ids
    losses: list[CharLosses] = []
    resets = []
    for run in runs:
        losses.append(
            char_losses(
                run.network,
                ids,
                first.text.first_scored,
                precision=precision,
                max_chars=max_chars,
                on_progress=on_progress,
            )
        )
        groups = choose_groups(losses[0].positions, min(MAX_CHARS, max_chars or MAX_CHARS))
        measured = measure_resets(run.network, ids, losses[-1], groups, precision=precision, on_progress=on_progress)
        resets.append(ModelResets(run=run.name, losses=measured))
    positions = losses[0].positions
    pairs = find_pairs(ids, first.vocab, positions)
    probabilities = [np.exp(-some.nats[np.searchsorted(positions, pairs.closed)].astype(np.float64)) for some in losses]
    orders = [order for order in CLOSING_ORDERS if order <= len(training)]
    if len(pairs.closed) and orders:
        ngrams = NgramModel.fit(training, len(first.vocab), orders[-1], on_progress=on_progress)
        probabilities += list(ngrams.char_probabilities(ids, pairs.closed, orders))
    return LongRangeReport(
        predictors=(*(run.name for run in runs), *(f"{order}-gram" for order in orders)),
        closings=report_closings(pairs, probabilities),
        resets=tuple(resets),
        num_chars=len(positions),
        num_reset_chars=groups.size,
        text_length=first.text.num_chars,
    )

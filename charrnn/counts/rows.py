"""The rows of `evaluate` for networks that predict together with counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from charrnn.errors import CharRNNError, Message
from charrnn.evaluation.comparison import Comparison, ExtraRows
from charrnn.evaluation.loss_reports import WITH_COUNTS
from charrnn.system.lazy import LazyModule
from charrnn.system.process import check_room_for_numba
from charrnn.system.progress import warn
from charrnn.trained_model import TrainedModel

if TYPE_CHECKING:
    from charrnn.counts import counting
else:
    # The rows of `evaluate` are listed without torch and numba.
    counting = LazyModule("charrnn.counts.counting")


def _prepare(comparison: Comparison, _: bool) -> Callable[[], None]:
    """Add each run together with its counts to the runs that are measured."""
    measured = []
    for model, run in zip(comparison.models, comparison.runs, strict=False):
        if model.config.num_held_back == 0 or model.path is None:
            continue
        assert isinstance(model, TrainedModel), "only a run has a folder"
        try:
            check_room_for_numba()
            together = counting.with_counts(model)
        except CharRNNError as error:
            warn(Message(f"{error.marked} The network is measured alone."))
            continue

        # The row of the run alone has the note on its training text.
        run = replace(run, trained_share=None)
        measured.append(replace(run, name=f"{run.name}{WITH_COUNTS}", network=together.network))
    comparison.runs += measured
    return lambda: None


ROWS = ExtraRows(name="counts", default=True, prepare=_prepare)
"""The parameter `counts` of `evaluate_runs`: whether runs are measured with their counts as
well."""

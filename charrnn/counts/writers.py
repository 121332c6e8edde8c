"""Choose who writes and predicts: the network of a run alone, or together with the counts of its
training text."""

from typing import TYPE_CHECKING

from charrnn.errors import CharRNNError, Message, UsageError, named
from charrnn.system.lazy import LazyModule
from charrnn.system.process import check_room_for_numba
from charrnn.system.progress import warn
from charrnn.trained_model import TrainedModel

if TYPE_CHECKING:
    from charrnn.counts import counting
    from charrnn.counts.counted_model import CountedModel
else:
    # Most models have no counts.
    counting = LazyModule("charrnn.counts.counting")


def choose_writer(model: TrainedModel, counts: bool | None = None) -> "TrainedModel | CountedModel":
    """Return who writes and predicts: the network of a model alone, or together with the counts of
    its training text.

    With None, the counts take part if the model has them, both predict better together, and it
    writes running text. Where they cannot be read, a warning says so, and the network is alone.
    True makes them take part; raises UsageError if there are none, CharRNNError if they cannot be
    read. With False, the network is alone.
    """
    # Counts make the loss of documents lower, but of a network that was trained long enough, fewer
    # documents are valid with them (benchmarks/LOG.md).
    if counts is False or (counts is None and model.config.end_id is not None):
        return model
    # Damaged counts are no reason not to write.
    counted_model = None
    if model.may_have_counts:
        try:
            check_room_for_numba()
            counted_model = counting.with_counts(model)
        except CharRNNError as error:
            # What was asked for is not left out.
            if counts:
                raise
            warn(Message(f"{error.marked} The network writes alone."))

    if counts and counted_model is None:
        raise UsageError(
            f"{model.name} has no counts of its training text that can be used. Leave"
            f" {named('adds_counts')} out."
        )
    if counted_model is None or not (counts or counted_model.counts.is_used):
        return model
    return counted_model

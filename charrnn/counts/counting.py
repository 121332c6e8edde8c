"""Count the text of a run when its network has been trained, and fit how both are mixed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.api import Model, load
from charrnn.counts.confidence import ConfidenceWeights, Predicted
from charrnn.counts.counted_model import CountedModel, Counts, parts_of
from charrnn.counts.counts_file import COUNTS_FILE, read_counts, write_counts
from charrnn.counts.kneser_ney import NgramModel, NgramPredictor
from charrnn.errors import DataError, install_command
from charrnn.evaluation.losses import stateful_nats
from charrnn.model.device import autocast
from charrnn.model.reading import read_in_lanes
from charrnn.system.lazy import inference_mode, torch
from charrnn.system.progress import task
from charrnn.text.vocab import IdArray

if TYPE_CHECKING:
    from charrnn.training.run_text import RunText

ORDER = 16
"""Characters of the n-grams that are counted: a context of 15 characters and the one after it
(benchmarks/LOG.md)."""
COUNTED_CHARS = 1 << 22
"""Characters of a training text that are counted: the last ones (benchmarks/LOG.md)."""


def count_text(run: Path, text: RunText) -> float:
    """Count the training text of a run, fit the weights of its network and the counts, and keep
    them in the run's folder.

    The weights are fitted on the part of the training text that was held back from the network,
    which is not counted either. Returns the validation loss of both together in nats per character,
    as training measures it. Raises CharRNNError if the counts cannot be kept.
    """
    model = load(run)
    learned = text.learned(model.config)
    begin = max(learned.start, learned.stop - COUNTED_CHARS)
    counts = fit_counts(
        model, text.ids, held_back=slice(0, learned.start), counted=slice(begin, learned.stop)
    )
    write_counts(run, counts, digest=text.corpus.digest)

    max_chars = model.config.validation_chars
    assert max_chars != "auto", "the share of the validation text was not chosen"
    return stateful_nats(
        CountedModel(model, counts=counts).network,
        ids=text.ids[: text.num_before_test],
        first=text.num_train,
        precision=model.config.precision,
        max_chars=max_chars,
        escape_nats=text.vocab.escape_nats,
    )


def fit_counts(model: Model, ids: IdArray, *, held_back: slice, counted: slice) -> Counts:
    """Count a part of ids (N,), and fit how the counts are mixed with a network on another part,
    which neither of them has learned."""
    # Between two parts of the work, whoever waits may end it.
    with task("counting", total=1, unit="texts") as advance:
        order = min(ORDER, counted.stop - counted.start)
        predictor = NgramModel.fit(ids[counted], len(model.vocab), order).predictor()
        advance()

    network, by_counts = _predict(model, predictor, np.array(ids[held_back]))
    return Counts(predictor, weights=ConfidenceWeights.fit(network=network, counts=by_counts))


@inference_mode
def _predict(model: Model, predictor: NgramPredictor, ids: IdArray) -> tuple[Predicted, Predicted]:
    """Return what the network alone and the counts alone predict of each character after the first
    of ids (N,)."""
    network = model.network

    def step(inputs: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        with autocast(network.device, model.config.precision):
            logits, after = network(inputs, state)
        return logits, after

    # What is read at a place predicts the character after it.
    nothing = np.zeros(0)
    by_network = [Predicted(nothing, nothing)]
    by_counts = [Predicted(nothing, nothing)]
    reading = read_in_lanes(step, network.initial_state, ids=ids[:-1], first=0)
    with task("mixing", total=len(ids)) as advance:
        for places, logits in reading:
            positions = (places + 1).ravel()
            rows = logits.flatten(0, 1)
            for part in parts_of(len(positions)):
                # The last steps of a lane may lie beyond the end of the text.
                is_text = positions[part] < len(ids)
                scored = positions[part][is_text]
                probabilities = rows[part].double().softmax(-1).cpu().numpy()[is_text]
                by_network.append(Predicted.of(probabilities, ids[scored]))
                probabilities = predictor.probabilities(ids, scored)
                by_counts.append(Predicted.of(probabilities, ids[scored]))
            advance(len(positions))
    return Predicted.joined(by_network), Predicted.joined(by_counts)


def with_counts(model: Model) -> CountedModel:
    """Return the model together with the counts of its training text, which training keeps beside
    the checkpoints.

    Raises DataError for a model that has none and without numba, CheckpointError if they are
    damaged.

    >>> model.with_counts().sample(length=200, seed=1).text
    """
    if model.path is None or not (model.path / COUNTS_FILE).exists():
        raise DataError(f"{model.name} has no counts of its training text.")
    digest = None
    if model.recorded_corpus is not None:
        digest = model.recorded_corpus.digest
    try:
        counts = read_counts(model.path, digest=digest, vocab_size=len(model.vocab))
    except ImportError as error:
        problem = f"The counts of {model.name} need a package: {error} ({install_command()})."
        raise DataError(problem) from error
    return CountedModel(model, counts=counts)

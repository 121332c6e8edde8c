"""Count the text of a run after the training of its network, and fit the powers that mix the
network and the counts."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.counts.counted_model import CountedModel, Counts
from charrnn.counts.counts_file import (
    COUNTS_FILE,
    ORDER,
    OtherModelError,
    read_counts,
    write_counts,
)
from charrnn.counts.kneser_ney import NgramModel
from charrnn.counts.mixing_powers import MixingPowers, Predictions
from charrnn.errors import CharRNNError, CheckpointError, DataError, install_command, named
from charrnn.evaluation.losses import stateful_scores
from charrnn.model.device import autocast
from charrnn.model.reading import read_in_lanes
from charrnn.runs.reader import RunReader
from charrnn.system.compiling import can_compile
from charrnn.system.lazy import inference_mode, torch
from charrnn.system.progress import task
from charrnn.text.vocab import IdArray
from charrnn.trained_model import TrainedModel, load

MOST_SCORES = 1 << 20
"""Scores of characters to which the powers are fitted, at most: they take about 120 MB."""
MOST_CHARS_OF_PYTHON = 50_000
"""Characters that are counted without numba, at most: they take some ten seconds."""


def count_text(run: Path, text: Any, should_stop: Callable[[], bool]) -> float | None:
    """Count the training text of a run, fit the powers of its network and the counts, and write the
    counts and the powers into the run's folder.

    The powers are fitted on the part of the training text that was held back from the network,
    which is not counted either. Returns the validation loss of network and counts together in nats
    per character, as training measures it; None if `should_stop` returned true before this loss was
    measured. Raises CharRNNError if the counts cannot be written.
    """
    model = load(run)
    held_back = slice(0, text.learned(model.config).start)
    counted = text.counted(model.config)
    if not can_compile() and counted.stop - counted.start > MOST_CHARS_OF_PYTHON:
        raise DataError(
            f"More than {MOST_CHARS_OF_PYTHON:,} characters are counted with numba, which is"
            f" missing ({install_command()})."
        )
    counts = fit_counts(model, text.ids, held_back=held_back, counted=counted)
    if should_stop():
        return None
    write_counts(run, counts, digest=str(model.step_digest))

    max_chars = model.config.validation_chars
    assert max_chars != "auto", "the share of the validation text was not chosen"
    scores = stateful_scores(
        CountedModel(model, counts=counts).network,
        ids=text.ids[: text.num_before_test],
        first=text.num_train,
        precision=model.config.precision,
        max_chars=max_chars,
        escape_nats=text.vocab.escape_nats,
        should_stop=should_stop,
    )
    if scores is None:
        return None
    return scores.losses.mean


def fit_counts(model: TrainedModel, ids: IdArray, *, held_back: slice, counted: slice) -> Counts:
    """Count the slice `counted` of ids (N,), and fit the powers that mix the counts with a network
    on the slice `held_back`, which neither the network nor the counts have learned."""
    with task("counting", total=1, unit="texts") as advance:
        order = min(ORDER, counted.stop - counted.start)
        predictor = NgramModel.fit(ids[counted], len(model.vocab), order).predictor()
        advance()

    # MOST_SCORES limits the number of predictions times the size of the alphabet.
    most = 1 + MOST_SCORES // len(model.vocab)
    unseen = np.array(ids[held_back][:most])
    positions = np.arange(1, len(unseen))
    histories = predictor.histories(unseen, positions)
    predictions = Predictions.of(
        _logits(model, unseen), counts=predictor.after(histories), histories=histories
    )
    return Counts(predictor, powers=MixingPowers.fit(predictions, unseen[positions]))


@inference_mode
def _logits(model: TrainedModel, ids: IdArray) -> NDArray[np.float32]:
    """Compute the logits (N - 1, V) of the network alone after each of ids (N,) but the last."""
    network = model.network
    logits = np.empty((len(ids) - 1, len(model.vocab)), np.float32)

    def step(inputs: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        with autocast(network.device, model.config.precision):
            scores, after = network(inputs, state)
        return scores, after

    # The last steps of a lane may lie beyond the end of the text.
    reading = read_in_lanes(step, network.initial_state, ids=ids[:-1], first=0)
    with task("mixing", total=len(ids)) as advance:
        for positions, scores in reading:
            is_text = positions < len(logits)
            logits[positions[is_text]] = scores.float().cpu().numpy()[is_text]
            advance(positions.size)
    return logits


def with_counts(model: TrainedModel) -> CountedModel:
    """Return the model together with the counts of its training text, which training has written
    beside the checkpoints.

    Raises DataError for a model without counts, CheckpointError for damaged counts and for those of
    another model, CharRNNError if there is too little memory.
    """
    if model.path is None:
        raise DataError(f"{model.name} has no counts of its training text.")
    resume = f"charrnn train {named('resume', shlex.quote(str(model.path)))}"
    if not (model.path / COUNTS_FILE).exists():
        raise DataError(f"{model.name} has no counts of its training text. {resume} counts it.")
    try:
        counts = read_counts(model.path, digest=model.step_digest, vocab_size=len(model.vocab))
    except CheckpointError as error:
        best_step = RunReader(model.path).newest_state()[0].get("best_step")
        if isinstance(error, OtherModelError) and model.step != best_step:
            raise OtherModelError(
                f"Step {model.step:,} of {model.name} has no counts: the text is counted for the"
                " best step of a run."
            ) from error
        problem = error.marked.rstrip(".")
        raise CheckpointError(f"{problem}. {resume} counts the text again.") from error
    except MemoryError as error:
        raise CharRNNError(f"There is too little memory for {model.path / COUNTS_FILE}.") from error
    return CountedModel(model, counts=counts)

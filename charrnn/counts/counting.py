"""Count the text of a run after the training of its network, and fit the powers that mix the
network and the counts."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.counts.counted_model import CountedModel, Counts
from charrnn.counts.counts_file import (
    ORDER,
    OtherModelError,
    read_counts,
    write_counts,
)
from charrnn.counts.kneser_ney import NgramModel
from charrnn.counts.mixing_powers import MixingPowers, Predictions
from charrnn.errors import (
    CharRNNError,
    CheckpointError,
    DataError,
    install_command,
    named,
)
from charrnn.evaluation.losses import stateful_scores
from charrnn.model.device import autocast
from charrnn.model.reading import read_parts
from charrnn.runs.checkpoint import COUNTS_FILE
from charrnn.runs.reader import RunReader
from charrnn.system.compiling import can_compile
from charrnn.system.lazy import inference_mode, torch
from charrnn.system.progress import task
from charrnn.text.pieces import with_surroundings, without_pieces
from charrnn.text.vocab import IdArray
from charrnn.trained_model import TrainedModel, load

if TYPE_CHECKING:
    from charrnn.counts.contexts import NgramPredictor

SURROUNDINGS_PART = 400
"""The length of the text that is counted is divided by this number. The result is the number of
characters on each side of a piece that the counts do not have when the powers are fitted: they are
of the same file or chapter, and of a new one the counts know less (benchmarks/LOG.md)."""
MOST_SCORES = 1 << 20
"""Scores of characters to which the powers are fitted, at most: they take about 120 MB."""
MOST_CHARS_OF_PYTHON = 50_000
"""Characters that are counted without numba, at most: they take some ten seconds."""


class CountedLosses(NamedTuple):
    """Validation losses in nats per character, as training measures them."""

    together: float
    """The loss of the network and the counts together."""
    counts: float
    """The loss of the counts alone."""


def count_text(
    run: Path,
    ids: IdArray,
    *,
    counted: slice,
    held_back: tuple[slice, ...],
    network_nats: float,
    should_stop: Callable[[], bool],
) -> CountedLosses | None:
    """Count the training text of a run, fit the powers of its network and the counts, and write the
    counts and the powers into the run's folder.

    `ids` (N,) are the training and the validation text, which follow each other; `counted` is the
    part of the training text that is counted, to its end, and `held_back` are its pieces that the
    network has not learned.

    The powers are fitted on the pieces of the training text that were held back from the network.
    The counts with which they are fitted have neither these pieces nor, in a text without
    documents, what stands next to them; the counts that are written have all. If the validation
    text says that network and counts together are worse than the better of the two alone, the
    latter is recorded as the one that writes. `network_nats` is the validation loss of the network.

    Returns None, and writes nothing, if `should_stop` returned true before the losses were
    measured. Raises CharRNNError if the counts cannot be written.
    """
    model = load(run)
    # Refused before anything is counted, because a long text would take minutes in Python.
    if not can_compile() and counted.stop - counted.start > MOST_CHARS_OF_PYTHON:
        raise DataError(
            f"More than {MOST_CHARS_OF_PYTHON:,} characters are counted with numba, which is"
            f" missing ({install_command()})."
        )
    counts = fit_counts(model, ids[: counted.stop], held_back=held_back, begin=counted.start)
    if should_stop():
        return None
    together = CountedModel(model, counts=counts).network

    # Over the same characters as `network_nats`, which training has measured.
    max_chars = model.config.validation_chars
    assert max_chars != "auto", "the share of the validation text was not chosen"
    nats = []
    for network in (together, together.alone):
        scores = stateful_scores(
            network,
            ids=ids,
            first=counted.stop,
            precision=model.config.precision,
            max_chars=max_chars,
            escape_nats=model.vocab.escape_nats,
            should_stop=should_stop,
        )
        if scores is None:
            return None
        nats.append(scores.losses.mean)
    losses = CountedLosses(*nats)

    # The better of the two writes, where both together are worse.
    if losses.together > min(network_nats, losses.counts):
        is_network = network_nats <= losses.counts
        counts = counts._replace(is_used=not is_network)
        if not is_network:
            counts = counts._replace(powers=MixingPowers.of_counts_alone())
    write_counts(run, counts, digest=str(model.step_digest))
    return losses


def fit_counts(
    model: TrainedModel, ids: IdArray, *, held_back: tuple[slice, ...], begin: int = 0
) -> Counts:
    """Count ids (N,) from `begin` on, and fit the powers that mix the counts with a network on the
    pieces `held_back`, which the network has not learned."""

    def count(counted: IdArray) -> NgramPredictor:
        order = min(ORDER, len(counted))
        predictor = NgramModel.fit(
            counted, len(model.vocab), order=order, end_id=model.config.end_id
        ).predictor()
        advance()
        return predictor

    with task("counting", total=2, unit="texts") as advance:
        # Without the pieces, because counts of a text know it by heart. Their surroundings have the
        # same names and phrases: the text that is predicted later is not so near.
        left_out = held_back
        if model.config.end_id is None:
            num_chars = (len(ids) - begin) // SURROUNDINGS_PART
            left_out = with_surroundings(held_back, num_chars=num_chars)
        predictor = count(without_pieces(ids, left_out, begin=begin))
        positions = _fitted_positions(model, held_back)
        histories = predictor.histories(ids, positions)
        predictions = Predictions.of(
            _logits(model, ids, positions=positions, held_back=held_back),
            counts=predictor.after(histories),
            histories=histories,
            end_id=predictor.end_id,
        )
        powers = MixingPowers.fit(predictions, np.asarray(ids[positions]))

        # What is written counts the pieces, too.
        del predictor, predictions
        return Counts(count(ids[begin:]), powers=powers)


def _fitted_positions(model: TrainedModel, held_back: tuple[slice, ...]) -> NDArray[np.int64]:
    """Return the indices of the characters to which the powers are fitted.

    They are the characters of each piece but the first, because the counts have another character
    in its place; MOST_SCORES limits their number times the size of the alphabet.
    """
    # The logits of all positions are held in memory at once.
    most = max(1, MOST_SCORES // len(model.vocab) // len(held_back))
    positions = []
    for piece in held_back:
        positions.append(np.arange(piece.start + 1, min(piece.start + 1 + most, piece.stop)))
    return np.concatenate(positions)


@inference_mode
def _logits(
    model: TrainedModel, ids: IdArray, *, positions: NDArray[np.int64], held_back: tuple[slice, ...]
) -> NDArray[np.float32]:
    """Compute the logits (M, V) of the network alone for the characters of ids (N,) at ascending
    positions (M,), which are in the pieces `held_back`."""
    network = model.network
    logits = np.empty((len(positions), len(model.vocab)), np.float32)

    def step(inputs: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        with autocast(network.device, model.config.precision):
            scores, after = network(inputs, state)
        return scores, after

    # Each character is predicted at the character before it. A piece is read after the text before
    # it, and the shorter pieces are read beyond their ends.
    begins = np.array([piece.start for piece in held_back])
    num_chars = max(piece.stop - piece.start for piece in held_back)
    reading = read_parts(step, network.initial_state, ids=ids, begins=begins, num_chars=num_chars)
    with task("mixing", total=len(begins) * num_chars) as advance:
        for read, scores in reading:
            predicted = read + 1
            ranks = np.searchsorted(positions, predicted).clip(max=len(positions) - 1)
            is_fitted = positions[ranks] == predicted
            logits[ranks[is_fitted]] = scores.float().cpu().numpy()[is_fitted]
            advance(read.size)
    return logits


def with_counts(model: TrainedModel) -> CountedModel:
    """Return the model together with the counts of its training text, which training has written
    beside the checkpoints, or `charrnn export` beside the weights.

    Raises DataError for a model without counts, CheckpointError for damaged counts and for those of
    another model, CharRNNError if there is too little memory.
    """
    if model.file_with_counts is not None:
        counts = read_counts(
            model.file_with_counts,
            digest=model.step_digest,
            vocab_size=len(model.vocab),
            end_id=model.config.end_id,
        )
        return CountedModel(model, counts=counts)
    if model.path is None:
        raise DataError(f"{model.name} has no counts of its training text.")
    resume = f"charrnn train {named('resume', shlex.quote(str(model.path)))}"
    if not (model.path / COUNTS_FILE).exists():
        raise DataError(f"{model.name} has no counts of its training text. {resume} counts it.")
    try:
        counts = read_counts(
            model.path,
            digest=model.step_digest,
            vocab_size=len(model.vocab),
            end_id=model.config.end_id,
        )
    except CheckpointError as error:
        # Only the best step of a run has counts: counting again would not help another one.
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

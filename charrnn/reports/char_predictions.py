"""How a model, and the n-grams of its training text, predict each character of a text.

Shapes: N characters of the text, M of a block, V vocabulary, K characters of a context.
"""

from typing import NamedTuple

import numpy as np

from charrnn.generation.distribution import log_softmax
from charrnn.generation.sampling import Ids
from charrnn.model.stepper import CharacterModel
from charrnn.ngrams.contexts import NgramPredictor
from charrnn.ngrams.text_model import row_slices
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array
from charrnn.system.progress import task


class CharPredictions(NamedTuple):
    """The predictions of each of N characters. The fields about n-grams are None where the training
    text was not counted."""

    logprobs: Float64Array
    """(N,): ln p of each character by the model."""
    ngram_logprobs: Float64Array | None = None
    """(N,): ln p by the n-grams of the training text."""
    context_lengths: Int64Array | None = None
    """(N,): length of the longest context of the character that stands in the training text."""
    num_places: Int64Array | None = None
    """(N,): how often this context stands there."""


def predict_chars(stepper: CharacterModel, ids: Ids, *, context_ids: Ids) -> Float64Array:
    """Compute ln p of each of ids (N,), N >= 1, which are read after `context_ids`, at least
    one."""
    logprobs = np.empty(len(ids))
    with task("reading", total=len(ids)) as advance:
        logits, state = stepper.read(context_ids)
        for rows in row_slices(len(ids)):
            targets = ids[rows]
            before = []
            for target in targets:
                before.append(logits[0].copy())
                logits, state = stepper.step(np.array([target]), state)
            logprobs[rows] = log_softmax(np.array(before))[np.arange(len(targets)), targets]
            advance(len(targets))
    return logprobs


def with_ngrams(
    logprobs: Float64Array,
    ids: Ids,
    *,
    context_ids: Ids,
    predictor: NgramPredictor,
    escapes: Float32Array,
) -> CharPredictions:
    """Return the predictions of ids (N,) by a model and by the n-grams of its training text, which
    pay `escapes` (N,) for unknown characters."""
    # The n-grams look back over the context, too.
    read = np.concatenate((context_ids, ids)).astype(np.uint32)
    by_ngrams = np.empty(len(ids))
    lengths = np.empty(len(ids), np.int64)
    num_places = np.empty(len(ids), np.int64)
    with task("n-grams", total=len(ids)) as advance:
        for rows in row_slices(len(ids)):
            targets = ids[rows]
            positions = np.arange(len(targets)) + rows.start + len(context_ids)
            histories = predictor.histories(read, positions)
            probabilities = predictor.after(histories)
            by_ngrams[rows] = np.log(probabilities[np.arange(len(targets)), targets])
            lengths[rows], num_places[rows] = predictor.longest_contexts(histories)
            advance(len(targets))
    by_ngrams -= escapes
    return CharPredictions(
        logprobs=logprobs, ngram_logprobs=by_ngrams, context_lengths=lengths, num_places=num_places
    )

"""Counts that grow with the text that is read, for dynamic evaluation: the counts of the training
text and of all characters that were read since (an unbounded cache, Grave, Cisse & Joulin 2017).

Shapes: N characters of a text, T characters of a segment, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.counts.counted_model import Counts
from charrnn.counts.counting import with_counts
from charrnn.counts.kneser_ney import NgramModel
from charrnn.errors import CharRNNError
from charrnn.evaluation.losses import CharLosses
from charrnn.generation.distribution import log_softmax
from charrnn.text.vocab import IdArray
from charrnn.trained_model import TrainedModel

COUNTED_AFTER = 8192
"""Characters after which the whole text is counted again: a second for a million characters."""


class GrowingCounts:
    """The losses of a network together with counts that grow with the text."""

    def __init__(self, counts: Counts, ids: IdArray, first: int) -> None:
        """Begin with the counts of a training text; the characters of ids (N,) from `first` on are
        read and scored."""
        self._counts = counts
        self._ids = ids
        self._first = first
        self._logits: list[NDArray[Any]] = []
        self._nats: list[NDArray[np.float32]] = []
        self._is_right: list[NDArray[np.bool_]] = []

    def add(self, logits: NDArray[np.float32]) -> None:
        """Take the logits (T, V) of the network for the next T characters."""
        self._logits.append(logits)
        # Counting the text again takes a second, so it is done after many characters.
        if sum(map(len, self._logits)) >= COUNTED_AFTER:
            self._count(self._score())

    def losses(self) -> CharLosses:
        """Return the losses of all characters that were added."""
        self._score()
        nats = np.concatenate(self._nats)
        positions = np.arange(self._first, self._first + len(nats))
        return CharLosses(positions, nats, is_right=np.concatenate(self._is_right))

    def _score(self) -> IdArray:
        """Score the characters that are not scored yet, by the counts of the text before them, and
        return their ids."""
        begin = self._first + sum(map(len, self._nats))
        for logits in self._logits:
            positions = np.arange(begin, begin + len(logits))
            histories = self._counts.predictor.histories(self._ids, positions)
            scores = log_softmax(self._counts.mix_many(logits, histories=histories))
            own_scores = scores[np.arange(len(positions)), self._ids[positions]]
            self._nats.append(-own_scores.astype(np.float32))
            self._is_right.append(scores.max(-1) == own_scores)
            begin += len(logits)

        scored = self._ids[begin - sum(map(len, self._logits)) : begin]
        self._logits = []
        return scored

    def _count(self, ids: IdArray) -> None:
        """Count the text that was counted before again, together with ids (M,) after it."""
        predictor = self._counts.predictor
        before = predictor.contexts.ids
        counted = np.concatenate((before, ids.astype(before.dtype)))
        model = NgramModel.fit(
            counted,
            predictor.vocab_size,
            order=predictor.longest + 1,
            end_id=predictor.end_id,
        )
        self._counts = self._counts._replace(predictor=model.predictor())


def growing_counts(model: TrainedModel, ids: NDArray[Any], first: int) -> GrowingCounts | None:
    """Return the counts of a model, to grow with the characters of ids (N,) from `first` on; None
    for a model without counts."""
    try:
        together = with_counts(model)
    except CharRNNError:
        return None
    return GrowingCounts(together.counts, ids=ids, first=first)

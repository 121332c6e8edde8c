"""How a network and the counts of n-grams predict together: by a product of powers.

    p(w) = p_network(w)^a p_counts(w)^b / Z        Z makes the sum over all characters 1

A log-linear interpolation (Klakow 1998, "Log-linear interpolation of language models"). The powers
a and b depend on how sure both are: on the largest probability by the network, in three classes,
and on the largest probability by the counts. They are fitted on text that neither the network nor
the counts have learned. In a run of the same character, such as the blanks before a line of code,
the network predicts alone: it knows how long the run is, a context of a few characters does not.

A sum of weighted probabilities is the usual alternative: with 16 weights it is as good as a product
with one pair of powers (benchmarks/LOG.md). It also draws characters that only one of the two finds
likely; in a product, both must find them likely.

Shapes: M predictions, V vocabulary, K characters of a context.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.model.portable_math import exact_exp, exact_log

BORDERS = (0.4, 0.8)
"""Borders between the classes of the largest probability."""
NUM_SURE = len(BORDERS) + 1
"""Classes of how sure a prediction is."""
RUN = 4
"""Length from which on equal characters in a row are a run."""
NUM_PAIRS = NUM_SURE**2 + 1
"""Pairs of powers; the last pair is for runs."""
ALONE = (1.0, 0.0)
"""The powers in runs: the network predicts alone. What is fitted on a short text that is held back
is worse (benchmarks/LOG.md)."""
COUNTS_ALONE = (0.0, 1.0)
"""The powers with which the counts predict alone."""
PRIOR = 400.0
"""The inverse variance of a normal prior, which draws the powers of a class to the powers that suit
all classes: a class that hardly occurs in the text has the latter."""
START = (0.5, 0.5)
"""The powers before anything is fitted: the geometric mean."""
MAX_ITERATIONS = 30
"""Newton steps at most; about 6 are enough."""
LONGEST_STEP = 0.5
"""The largest change of a power in a Newton step."""
MOST_POWER = 10.0
"""The largest power, even for a network that predicts every character."""
LEAST_CHANGE = 1e-5
"""The fit ends after a step that changes both powers by less."""

Float64Array = NDArray[np.float64]


class Predictions(NamedTuple):
    """The predictions of M characters by a network and by counts, as scores: their exponentials are
    probabilities up to a factor for each prediction."""

    network: Float64Array
    """(M, V): scores, with the largest score of each prediction 0."""
    counts: Float64Array
    """(M, V): logarithms of probabilities."""
    pairs: NDArray[np.int64]
    """(M,): the index of the pair of powers that mixes them."""

    @classmethod
    def of(
        cls,
        logits: NDArray[Any],
        counts: Float64Array,
        histories: NDArray[np.int64],
        end_id: int,
    ) -> Predictions:
        """Take the logits (M, V) of a network and the probabilities (M, V) by counts after
        histories (M, K). `end_id` ends a document, so empty documents are no run.

        Every operation rounds alike on every processor, and is the same in the compiled loop.
        """
        scores = logits.astype(np.float64)
        network = scores - scores.max(axis=-1, keepdims=True)
        # `cumsum` adds in order, as the compiled loop does; `sum` does not. The largest exponential
        # is 1.
        totals = np.cumsum(exact_exp(network), axis=-1)[:, -1]
        pairs = NUM_SURE * _how_sure(1 / totals) + _how_sure(counts.max(axis=-1))
        if histories.shape[1] >= RUN:
            is_run = (histories[:, -RUN:] == histories[:, -1:]).all(axis=1)
            is_run &= histories[:, -1] != end_id
            pairs[is_run] = NUM_PAIRS - 1
        return cls(network, counts=exact_log(counts), pairs=pairs)


class MixingPowers:
    """The powers of a network and of counts."""

    def __init__(self, values: Float64Array) -> None:
        """Take the powers (NUM_PAIRS, 2): of the network, then of the counts."""
        self.values = values

    @classmethod
    def fit(cls, predictions: Predictions, targets: NDArray[np.integer[Any]]) -> MixingPowers:
        """Fit the powers to the predictions and the characters (M,) that followed.

        They maximize the probability of these characters, by Newton's method: its logarithm is
        concave in the powers. No power is negative: what one of the two finds likely would become
        unlikely.
        """
        # One pair of powers is fitted to all predictions first: it is the prior of every other
        # pair.
        scores = np.stack((predictions.network, predictions.counts))
        common = _fitted(scores, targets, start=np.array(START), prior=1.0)
        values = np.tile(ALONE, (NUM_PAIRS, 1))
        for pair in range(NUM_PAIRS - 1):
            is_mixed = predictions.pairs == pair
            values[pair] = _fitted(
                scores[:, is_mixed], targets[is_mixed], start=common, prior=PRIOR
            )
        return cls(values)

    @classmethod
    def of_counts_alone(cls) -> MixingPowers:
        """Return the powers with which the counts predict alone, in runs, too."""
        return cls(np.tile(COUNTS_ALONE, (NUM_PAIRS, 1)))

    def mix(self, predictions: Predictions) -> Float64Array:
        """Return the logits (M, V) of the network and the counts together."""
        powers = self.values[predictions.pairs]
        return powers[:, :1] * predictions.network + powers[:, 1:] * predictions.counts


def _how_sure(largest: Float64Array) -> NDArray[np.int64]:
    """Return the class (M,) of each prediction by its largest probability (M,)."""
    return np.asarray(np.searchsorted(BORDERS, largest, side="right"))


def _fitted(
    scores: Float64Array,
    targets: NDArray[np.integer[Any]],
    *,
    start: Float64Array,
    prior: float,
) -> Float64Array:
    """Fit one pair of powers (2,) in 0 … MOST_POWER to scores (2, M, V) of network and counts, with
    a normal prior of mean `start` and inverse variance `prior`."""
    powers = start.copy()
    change = np.zeros(2)
    target_scores = scores[:, np.arange(len(targets)), targets]
    for _ in range(MAX_ITERATIONS):
        # The probabilities by both together.
        mixed = np.tensordot(powers, scores, axes=1)
        mixed -= mixed.max(axis=-1, keepdims=True, initial=-np.inf)
        probabilities = np.exp(mixed)
        probabilities /= probabilities.sum(axis=-1, keepdims=True)

        # The gradient is the score of the target less the expected score; the second derivatives
        # are the covariances of the scores.
        weighted = probabilities * scores
        expected = weighted.sum(axis=-1)
        gradient = (target_scores - expected).sum(axis=-1) - prior * (powers - start)
        products = np.tensordot(weighted, scores, axes=((1, 2), (1, 2)))
        curvature = products - expected @ expected.T + prior * np.eye(2)

        # A power that would leave its range stays, and the other one takes its step alone.
        is_free = ((powers > 0) | (gradient > 0)) & ((powers < MOST_POWER) | (gradient < 0))
        change[:] = 0
        change[is_free] = np.linalg.solve(curvature[is_free][:, is_free], gradient[is_free])
        largest = np.abs(change).max()
        change *= LONGEST_STEP / max(largest, LONGEST_STEP)
        powers = np.clip(powers + change, 0, MOST_POWER)
        if largest < LEAST_CHANGE:
            break
    return np.asarray(powers)

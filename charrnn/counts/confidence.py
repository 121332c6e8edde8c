"""How a network and the counts of n-grams are mixed: by a weight that depends on how sure both are.

    p(w) = s p_network(w) + (1 - s) p_counts(w)

A linear interpolation (Jelinek & Mercer 1980) whose weight s is one of 16 numbers: it is chosen by
the probability of the character that the network finds most likely, in four classes, and by that of
the character that the counts find most likely. A network that is sure is right more often than one
that is not, and the same holds for counts. The numbers are fitted on text that neither the network
nor the counts have learned.

Shapes: M predictions, V vocabulary, S classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BORDERS = (0.3, 0.55, 0.85)
"""Borders between the classes of a largest probability."""
NUM_CLASSES = len(BORDERS) + 1
"""S: classes of how sure a prediction is."""
PRIOR = 20.0
"""Predictions that a class has beside its own, with the weight of all classes together: a class
that hardly occurs in the text gets that weight."""
LEAST_WEIGHT = 0.01
"""Smallest weight of the network, and of the counts: a character that one of them finds impossible
may still come."""
NUM_ITERATIONS = 40
"""Steps of the expectation-maximization: the fourth decimal of a weight is settled after 20."""

Float64Array = NDArray[np.float64]


class Predicted(NamedTuple):
    """What the weights are fitted to, of M predictions."""

    of_target: Float64Array
    """(M,): the probability of the character that followed."""
    largest: Float64Array
    """(M,): that of the most likely character."""

    @classmethod
    def of(cls, probabilities: Float64Array, targets: NDArray[np.integer[Any]]) -> Predicted:
        """Keep what is needed of probabilities (M, V); targets (M,) are the ids that followed."""
        rows = np.arange(len(targets))
        return cls(of_target=probabilities[rows, targets], largest=probabilities.max(axis=-1))

    @classmethod
    def joined(cls, parts: Sequence[Predicted]) -> Predicted:
        """Put the predictions of some parts of a text together."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


class ConfidenceWeights:
    """The weight of a network beside counts, for each pair of how sure both are."""

    def __init__(self, values: Float64Array) -> None:
        """Take the weights (S, S), by the class of the network and by that of the counts."""
        self.values = values

    @classmethod
    def fit(cls, network: Predicted, counts: Predicted) -> ConfidenceWeights:
        """Fit the weights to what a network and counts predicted of the same M characters.

        The weights maximize the probability of the characters, by expectation-maximization
        (Dempster, Laird & Rubin 1977).
        """
        # One weight for all predictions, then one for each pair of classes that begins as that.
        p_network = network.of_target
        p_counts = counts.of_target
        common = np.full(1, 0.5)
        one_class = np.zeros(len(p_network), np.int64)
        common = _fitted(common, one_class, p_network=p_network, p_counts=p_counts, prior=0.0)
        pairs = NUM_CLASSES * _classes(network.largest) + _classes(counts.largest)
        start = np.repeat(common, NUM_CLASSES**2)
        values = _fitted(start, pairs, p_network=p_network, p_counts=p_counts, prior=PRIOR)
        clipped = np.clip(values, LEAST_WEIGHT, 1 - LEAST_WEIGHT)
        return cls(clipped.reshape(NUM_CLASSES, NUM_CLASSES))

    def mix(self, network: Float64Array, counts: Float64Array) -> Float64Array:
        """Mix the probabilities (M, V) of a network and of counts."""
        classes = (_classes(network.max(axis=-1)), _classes(counts.max(axis=-1)))
        weights = self.values[classes][:, None]
        return weights * network + (1 - weights) * counts


def _classes(largest: Float64Array) -> NDArray[np.int64]:
    """Return the class (M,) of how sure each prediction is, by its largest probability (M,)."""
    return np.asarray(np.searchsorted(BORDERS, largest, side="right"))


def _fitted(
    start: Float64Array,
    classes: NDArray[np.int64],
    p_network: Float64Array,
    p_counts: Float64Array,
    *,
    prior: float,
) -> Float64Array:
    """Fit one weight for each class, from `start` (S,), to the probabilities (M,) that network and
    counts gave to what followed."""
    weights = start
    num_predictions = np.bincount(classes, minlength=len(start)) + prior
    if not num_predictions.all():
        return weights
    for _ in range(NUM_ITERATIONS):
        from_network = weights[classes] * p_network
        share = from_network / (from_network + (1 - weights[classes]) * p_counts)
        sums = np.bincount(classes, weights=share, minlength=len(start))
        weights = (sums + prior * start) / num_predictions
    return weights

"""What a network and the counts of its training text contribute to each character of a text.

Both predict a character w together by a product of powers (`counts.mixing_powers`):

    ln p(w) = a s(w) + b c(w) - ln Z        s, c: the scores by the network and by the counts

Let u be the probabilities of the characters without any context, as the counts know them. How much
likelier w is at its place than an average character, weighted by u, is a sum of two contributions:

    ln p(w) - Σ_v u(v) ln p(v) = a (s(w) - Σ_v u(v) s(v)) + b (c(w) - Σ_v u(v) c(v))

Z is the same for all characters, so it cancels. The share of the counts is the second term divided
by the sum of both, limited to 0 … 1; the rest is the share of the network. A character that is less
likely at its place than an average one has no shares.

Shapes: N characters, V vocabulary, K characters of a context.
"""

from typing import NamedTuple

import numpy as np

from charrnn.counts.counted_model import CountedStepper, Counts, row_slices
from charrnn.generation.distribution import log_softmax
from charrnn.generation.sampling import Ids
from charrnn.model.stepper import CharacterModel
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array
from charrnn.system.progress import task


class Contributions(NamedTuple):
    """The predictions of each of N characters, and what network and counts contribute to them.

    The fields about counts are None for a network alone.
    """

    network: Float64Array | None
    """(N,): ln p of each character by the network alone; None for a mixture."""
    together: Float64Array
    """(N,): ln p by the network and the counts, or by a mixture."""
    counts: Float64Array | None = None
    """(N,): ln p by the counts alone."""
    counts_shares: Float64Array | None = None
    """(N,): the share of the counts, from 0 to 1; nan for a character without shares."""
    context_lengths: Int64Array | None = None
    """(N,): length of the longest context of the character that stands in the counted text."""
    num_places: Int64Array | None = None
    """(N,): how often this context stands in the counted text."""


def measure_contributions(stepper: CharacterModel, ids: Ids, *, context_ids: Ids) -> Contributions:
    """Measure the contributions to each of ids (N,), N >= 1, which are read after `context_ids`, at
    least one."""
    # The network reads the text alone, so that its own predictions are known, too.
    counts = None
    network = stepper
    if isinstance(stepper, CountedStepper):
        counts = stepper.counts
        network = stepper.network

    # The counts look back over the context, too.
    read = np.concatenate((context_ids, ids)).astype(np.uint16)
    blocks = []
    with task("reading", total=len(ids)) as advance:
        logits, state = network.read(context_ids)
        for rows in row_slices(len(ids)):
            targets = ids[rows]
            before = []
            for target in targets:
                before.append(logits[0].copy())
                logits, state = network.step(np.array([target]), state)
            if counts is None:
                by_network = _of_targets(log_softmax(np.array(before)), targets)
                blocks.append(Contributions(network=by_network, together=by_network))
            else:
                positions = np.arange(len(targets)) + rows.start + len(context_ids)
                histories = counts.predictor.histories(read, positions)
                blocks.append(_of_both(counts, np.array(before), targets, histories=histories))
            advance(len(targets))

    # A field is None in all blocks or in none.
    joined = {}
    for name, first in blocks[0]._asdict().items():
        if first is not None:
            joined[name] = np.concatenate([getattr(block, name) for block in blocks])
    return Contributions(**joined)


def _of_both(
    counts: Counts, logits: Float32Array, targets: Ids, *, histories: Int64Array
) -> Contributions:
    """Return the contributions of a network and counts to targets (M,) after histories (M, K)."""
    predictions = counts.predictions(logits, histories)
    powers = counts.powers.values[predictions.pairs]
    without_context = counts.predictor.without_context

    # How far the score of each target is above the average score, by each of the two.
    above_average = []
    for scores in (predictions.network, predictions.counts):
        above_average.append(_of_targets(scores, targets) - scores @ without_context)
    by_network, by_counts = powers.T * above_average
    total = by_network + by_counts
    # Without a gain there is nothing to share.
    shares = np.full(len(targets), np.nan)
    is_likelier = total > 0
    shares[is_likelier] = (by_counts[is_likelier] / total[is_likelier]).clip(0, 1)

    lengths, num_places = counts.predictor.longest_contexts(histories)
    return Contributions(
        network=_of_targets(log_softmax(predictions.network), targets),
        together=_of_targets(log_softmax(counts.powers.mix(predictions)), targets),
        counts=_of_targets(predictions.counts, targets),
        counts_shares=shares,
        context_lengths=lengths,
        num_places=num_places,
    )


def _of_targets(values: Float64Array, targets: Ids) -> Float64Array:
    """Return the value (M,) of each target (M,) in values (M, V)."""
    return np.asarray(values[np.arange(len(targets)), targets], np.float64)

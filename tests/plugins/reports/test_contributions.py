"""The contributions of network and counts, against the probabilities of both."""

import numpy as np
import pytest
import torch
from hand_built import hand_built_tensors, small_config

from charrnn.api import Model
from charrnn.counts.counted_model import CountedModel, Counts
from charrnn.counts.kneser_ney import NgramModel
from charrnn.counts.mixing_powers import NUM_PAIRS, MixingPowers
from charrnn.plugins.reports.contributions import measure_contributions
from charrnn.text.vocab import Vocab

LETTERS = "\n .abcdefgh"
V = len(LETTERS) + 1
LONGEST = 5
"""Characters of the longest context that is counted."""


def text_of(num_chars, seed):
    """Ids (N,) of a text that repeats some words."""
    rng = np.random.default_rng(seed)
    words = [rng.integers(1, V, size) for size in (2, 3, 5, 8)]
    return np.concatenate([words[i] for i in rng.integers(0, 4, num_chars)])[:num_chars]


TRAINING = text_of(3_000, seed=0).astype(np.uint8)
READ = np.concatenate((text_of(150, seed=0), text_of(50, seed=1)))
CONTEXT = np.array([1])


@pytest.fixture(scope="module")
def counted():
    vocab = Vocab("char", ("", *LETTERS))
    config = small_config(steps=1)
    model = Model(config, vocab, hand_built_tensors(config, V), name="counted")
    powers = np.random.default_rng(3).uniform(0.2, 0.9, (NUM_PAIRS, 2))
    counts = Counts(NgramModel.fit(TRAINING, V, LONGEST + 1).predictor(), MixingPowers(powers))
    return CountedModel(model, counts)


@pytest.fixture(scope="module")
def measured(counted):
    stepper = counted.generator.model_for("fp32", {})
    return measure_contributions(stepper, READ, context_ids=CONTEXT)


@pytest.fixture(scope="module")
def predicted(counted):
    """The log-probabilities (N, V) of each character of READ by network, counts and both."""
    read = np.concatenate((CONTEXT, READ))
    with torch.no_grad():
        ids = torch.from_numpy(read[:-1])[:, None]
        network, _ = counted.model.network(ids, counted.model.network.initial_state(1))
        together, _ = counted.network(ids, counted.network.initial_state(1))
    counts = counted.counts.predictor.probabilities(read, np.arange(1, len(read)))
    return (
        network[:, 0].double().log_softmax(-1).numpy(),
        np.log(counts),
        together[:, 0].double().log_softmax(-1).numpy(),
    )


def test_the_probabilities_are_those_of_each_writer(measured, predicted):
    rows = np.arange(len(READ))
    for found, expected in zip(
        (measured.network, measured.counts, measured.together), predicted, strict=True
    ):
        # float32 logits.
        np.testing.assert_allclose(found, expected[rows, READ], atol=1e-5)


def test_both_contributions_are_what_the_context_has_changed(counted, measured, predicted):
    network, counts, together = predicted
    rows = np.arange(len(READ))
    # Without a context: no history before the character.
    unigram = counted.counts.predictor.after(np.full((1, LONGEST), -1))[0]
    total = together[rows, READ] - together @ unigram
    by_counts = total - (network[rows, READ] - network @ unigram) * powers_of_network(
        network, counts, together
    )
    is_likelier = total > 1e-3
    assert is_likelier.sum() > 100
    np.testing.assert_allclose(
        measured.counts_shares[is_likelier],
        (by_counts / total)[is_likelier].clip(0, 1),
        atol=1e-3,
    )
    assert np.isnan(measured.counts_shares[total < -1e-3]).all()


def powers_of_network(network, counts, together):
    """The power (N,) of the network in each prediction, by least squares: ln p is a sum of both and
    a constant."""
    powers = []
    for parts in zip(network, counts, together, strict=True):
        centred = np.stack(parts, axis=1)
        centred -= centred.mean(axis=0)
        powers.append(np.linalg.lstsq(centred[:, :2], centred[:, 2], rcond=None)[0][0])
    return np.array(powers)


def test_the_longest_context_is_the_longest_that_a_search_finds(measured):
    training = TRAINING.tolist()
    read = [*CONTEXT.tolist(), *READ.tolist()]
    for index in range(len(READ)):
        before = read[: index + 1]
        for length in range(min(LONGEST, len(before)), -1, -1):
            context = before[len(before) - length :]
            places = [
                end
                for end in range(length, len(training) + 1)
                if training[end - length : end] == context
            ]
            if places:
                break
        assert measured.context_lengths[index] == length
        assert measured.num_places[index] == len(places)


def test_a_network_alone_has_no_counts(counted):
    stepper = counted.model.generator.model_for("fp32", {})
    measured = measure_contributions(stepper, READ[:5], context_ids=CONTEXT)
    assert measured.counts is measured.counts_shares is measured.num_places is None
    np.testing.assert_array_equal(measured.network, measured.together)

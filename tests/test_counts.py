"""A network and the counts of its text: mixed probabilities, the weights that mix them, and every
way of reading a text, against naive loops."""

from functools import partial

import numpy as np
import pytest
import torch
from hand_built import hand_built_tensors, small_config
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.api import Model
from charrnn.counts import confidence
from charrnn.counts.confidence import (
    LEAST_WEIGHT,
    NUM_CLASSES,
    NUM_ITERATIONS,
    PRIOR,
    ConfidenceWeights,
    Predicted,
)
from charrnn.counts.counted_model import CountedModel, Counts
from charrnn.counts.counting import fit_counts
from charrnn.counts.kneser_ney import NgramModel
from charrnn.generation.sampling import NUM_SEEDS
from charrnn.text.vocab import Vocab

LETTERS = "\n .abcdefgh"
V = len(LETTERS) + 1
CLASSES = ((0.0, 0.3), (0.3, 0.55), (0.55, 0.85), (0.85, 1.0))
"""The range of the largest probability of each class."""


def weights_of(seed):
    """Weights between the limits, drawn at random."""
    values = np.random.default_rng(seed).uniform(LEAST_WEIGHT, 1 - LEAST_WEIGHT, (NUM_CLASSES,) * 2)
    return ConfidenceWeights(values)


def text_of(num_chars, seed=0):
    """Ids (N,) of a text that repeats some words."""
    rng = np.random.default_rng(seed)
    words = [rng.integers(1, V, size) for size in (2, 3, 5, 8)]
    parts = [words[i] for i in rng.integers(0, 4, num_chars)]
    return np.concatenate(parts)[:num_chars].astype(np.uint8)


@pytest.fixture(scope="module")
def counted():
    """An untrained network with counts of a text of 3,000 characters, mixed by random weights."""
    config = small_config(steps=1)
    vocab = Vocab("char", ("", *LETTERS))
    model = Model(config, vocab, hand_built_tensors(config, V), name="counted")
    predictor = NgramModel.fit(text_of(3_000), V, 6).predictor()
    return CountedModel(model, Counts(predictor, weights_of(3)))


def mixed_by_hand(counted, text):
    """The probabilities (N, V) after each character of text (N,), from those of both."""
    with torch.no_grad():
        logits, _ = counted.model.network(
            torch.from_numpy(text.astype(np.int64))[:, None],
            counted.model.network.initial_state(1),
        )
    network = logits[:, 0].double().softmax(-1).numpy()
    counts = counted.counts.predictor.probabilities(text, np.arange(1, len(text) + 1))
    rows = []
    for by_network, by_counts in zip(network, counts, strict=True):
        weight = counted.counts.weights.values[class_of(by_network), class_of(by_counts)]
        rows.append(weight * by_network + (1 - weight) * by_counts)
    return np.array(rows)


def class_of(probabilities):
    largest = max(probabilities)
    return next(i for i, (low, high) in enumerate(CLASSES) if largest < high or high == 1.0)


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**32 - 1), st.floats(0.1, 60))
def test_mixed_probabilities_are_positive_and_sum_to_1(vocab_size, num_chars, seed, scale):
    """Also of texts shorter than the order, and after histories that are cut off."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, vocab_size, num_chars).astype(np.uint8)
    predictor = NgramModel.fit(ids, vocab_size, min(12, num_chars)).predictor()
    counts = Counts(predictor, weights_of(seed))
    histories = rng.integers(0, vocab_size, (5, predictor.longest))
    for row in range(5):
        histories[row, : row * predictor.longest // 4] = -1
    mixed = counts.mixed(scale * rng.standard_normal((5, vocab_size)), histories)
    assert (mixed > 0).all()
    np.testing.assert_allclose(mixed.sum(-1), 1, rtol=0, atol=1e-12)


def drawn_predictions(num_predictions, seed):
    """Predictions of 6 characters by two models, of every class, and what followed: drawn from a
    mixture of both by `weights_of(seed)`."""
    rng = np.random.default_rng(seed)
    both = []
    for _ in range(2):
        largest = rng.uniform(0.2, 1, num_predictions)
        rest = rng.dirichlet(np.ones(5), num_predictions) * (1 - largest)[:, None]
        both.append(rng.permuted(np.column_stack((largest, rest)), axis=1))
    network, counts = both
    mixed = weights_of(seed).mix(network, counts)
    targets = (mixed.cumsum(-1) < rng.random((num_predictions, 1))).sum(-1).clip(max=5)
    return network, counts, targets


def naive_weights(network, counts, targets):
    """The weights by expectation-maximization, prediction by prediction."""
    pairs = [(class_of(a), class_of(b)) for a, b in zip(network, counts, strict=True)]
    terms = [(float(network[i, t]), float(counts[i, t])) for i, t in enumerate(targets)]
    common = 0.5
    for _ in range(NUM_ITERATIONS):
        common = np.mean([common * a / (common * a + (1 - common) * b) for a, b in terms])
    values = np.full((NUM_CLASSES, NUM_CLASSES), common)
    for pair in np.ndindex(values.shape):
        mine = [term for term, other in zip(terms, pairs, strict=True) if other == pair]
        for _ in range(NUM_ITERATIONS):
            weight = values[pair]
            shares = [weight * a / (weight * a + (1 - weight) * b) for a, b in mine]
            values[pair] = (sum(shares) + PRIOR * common) / (len(mine) + PRIOR)
    return values.clip(LEAST_WEIGHT, 1 - LEAST_WEIGHT), common


def fitted(network, counts, targets):
    return ConfidenceWeights.fit(Predicted.of(network, targets), Predicted.of(counts, targets))


@pytest.mark.parametrize("num_predictions", [1, 40, 700])
def test_weights_are_those_of_a_naive_loop(num_predictions):
    drawn = drawn_predictions(num_predictions, seed=num_predictions)
    expected, _ = naive_weights(*drawn)
    # Sums of at most 700 numbers, 80 times, in another order.
    np.testing.assert_allclose(fitted(*drawn).values, expected, rtol=1e-10)


def test_known_weights_are_recovered():
    found = fitted(*drawn_predictions(400_000, seed=1)).values
    # Each class has at least 2,500 predictions, so that the error of a share of 0.5 is about 0.02,
    # twice as much where the two models say nearly the same.
    np.testing.assert_allclose(found, weights_of(1).values, atol=0.1)
    assert np.abs(found - weights_of(1).values).mean() < 0.02


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_a_text_is_as_likely_by_the_weights_of_its_classes_as_by_one_weight(num_predictions, seed):
    network, counts, targets = drawn_predictions(num_predictions, seed)
    _, common = naive_weights(network, counts, targets)
    common = np.clip(common, LEAST_WEIGHT, 1 - LEAST_WEIGHT)
    rows = np.arange(num_predictions)
    by_classes = fitted(network, counts, targets).mix(network, counts)[rows, targets]
    by_one = (common * network + (1 - common) * counts)[rows, targets]
    assert np.log(by_classes).sum() >= np.log(by_one).sum() - 1e-9


def test_a_class_without_predictions_has_the_weight_of_all():
    network, counts, targets = drawn_predictions(5_000, seed=2)
    is_unsure = (network.max(-1) < 0.55) & (counts.max(-1) < 0.55)
    few = [array[is_unsure] for array in (network, counts, targets)]
    _, common = naive_weights(*few)
    found = fitted(*few).values
    np.testing.assert_allclose(found[2:], common, rtol=1e-10)
    np.testing.assert_allclose(found[:, 2:], common, rtol=1e-10)
    assert len(np.unique(found[:2, :2].round(6))) == 4


def test_nothing_to_fit_to_is_half_and_half():
    nothing = Predicted(np.zeros(0), np.zeros(0))
    assert (ConfidenceWeights.fit(nothing, nothing).values == 0.5).all()


def test_weights_are_fitted_to_each_character_that_was_held_back(counted, monkeypatch):
    """In several parts and lanes, the same as in one."""
    text = text_of(20_000, seed=4)
    given_parts = []
    monkeypatch.setattr(
        confidence.ConfidenceWeights,
        "fit",
        lambda network, counts: given_parts.append((network, counts)) or weights_of(0),
    )
    fit_counts(counted.model, text, held_back=slice(0, 3_000), counted=slice(3_000, 20_000))
    [(network, counts)] = given_parts
    assert len(network.of_target) == len(counts.largest) == 2_999
    predictor = NgramModel.fit(text[3_000:], V, 12).predictor()
    expected = predictor.probabilities(text[:3_000], np.arange(1, 3_000))
    assert sorted(counts.largest) == sorted(expected.max(-1))
    assert sorted(counts.of_target) == sorted(expected[np.arange(2_999), text[1:3_000]])


def test_each_way_of_reading_a_text_mixes_by_hand(counted):
    texts = np.column_stack([text_of(40, seed) for seed in (5, 6, 7)])
    expected = np.log([mixed_by_hand(counted, text) for text in texts.T])
    with torch.no_grad():
        ids = torch.from_numpy(texts.astype(np.int64))
        in_torch, last = counted.network(ids, counted.network.initial_state(3))

    stepper = counted.generator.model_for("fp32", {})
    state = stepper.initial_state(3)
    for time, row in enumerate(texts):
        log_probs, state = stepper.step(row, state)
        # The logits of the networks agree to about 1e-5 in float32, and are about 10.
        np.testing.assert_allclose(log_probs, expected[:, time], atol=2e-4)
        np.testing.assert_allclose(in_torch[time], expected[:, time], atol=2e-4)
    assert state.history.tolist() == last.history.tolist() == texts[-5:].T.tolist()


def test_a_text_is_read_at_once_or_in_parts(counted):
    text = text_of(30, seed=8)
    stepper = counted.generator.model_for("int8", {})
    state = stepper.initial_state(1)
    for one in text:
        expected, state = stepper.step(text.dtype.type([one]), state)
    for cut in (1, 3, 29):
        _, before = stepper.read(text[:cut])
        found, after = stepper.read(text[cut:], before)
        # In int8 all sums are exact.
        assert found.tolist() == expected.tolist() and found.shape == (1, V)
        assert after.history.tolist() == state.history.tolist()


def test_a_history_stays_with_its_row(counted):
    stepper = counted.generator.model_for("int8", {})
    texts = np.column_stack([text_of(12, seed) for seed in (5, 6, 7)])
    state = stepper.initial_state(3)
    for row in texts:
        _, state = stepper.step(row, state)
    rows = [2, 0, 0]
    taken = state.map(partial(np.take, indices=rows, axis=-2))
    found, _ = stepper.step(np.array([4, 4, 4]), taken)
    for place, row in enumerate(rows):
        alone, _ = stepper.read(np.append(texts[:, row], 4))
        assert found[place].tolist() == alone[0].tolist()


def test_texts_that_are_drawn_together_are_those_drawn_alone(counted):
    together = counted.samples(5, length=40, seed=9, prime="ab")
    alone = [
        counted.sample(length=40, seed=9 + index * NUM_SEEDS, prime="ab") for index in range(5)
    ]
    assert [one.text for one in together] == [one.text for one in alone]
    assert len({one.text for one in alone}) == 5


def test_a_beam_search_adds_up_mixed_probabilities(counted):
    best, *_ = counted.beam(length=7, width=4, prime="abc")
    text = np.array([counted.vocab.characters.index(one) for one in "abc" + best.text])
    expected = np.log(mixed_by_hand(counted, text))[np.arange(2, 9), text[3:]]
    np.testing.assert_allclose(best.logprobs, expected, atol=2e-4)


def test_the_model_knows_both_and_the_cells_of_its_network(counted):
    assert repr(counted) == "<CountedModel counted>"
    assert counted.origin()["counts"] is True
    stepper = counted.generator.model_for("int8", {})
    assert stepper.changes.endswith(" with counts")
    _, state = stepper.read(np.array([1, 2]))
    _, alone = counted.model.generator.int8_stepper.read(np.array([1, 2]))
    assert state.num_bytes == alone.num_bytes
    assert stepper.values(state).tolist() == (
        counted.model.generator.int8_stepper.values(alone).tolist()
    )

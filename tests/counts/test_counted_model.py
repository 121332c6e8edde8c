"""A network and the counts of its text: the powers that mix both, every way of reading a text, and
the compiled loop, against naive loops.

Tests `counts.compiled_mixing`, `counts.growing` and `counts.mixing_powers`, too.
"""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hand_built import hand_built_tensors, small_config
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.api import Model
from charrnn.counts import contexts, counted_model, growing, mixing_powers
from charrnn.counts.contexts import NO_END
from charrnn.counts.counted_model import CountedModel, CountedStepper, Counts
from charrnn.counts.counting import fit_counts
from charrnn.counts.kneser_ney import NgramModel
from charrnn.counts.mixing_powers import (
    ALONE,
    NUM_PAIRS,
    PRIOR,
    START,
    MixingPowers,
    Predictions,
)
from charrnn.generation import sampling
from charrnn.generation.distribution import log_softmax
from charrnn.generation.sampling import NUM_SEEDS, Engine
from charrnn.text.vocab import Vocab

LETTERS = "\n .abcdefgh"
V = len(LETTERS) + 1
CLASSES = ((0.0, 0.4), (0.4, 0.8), (0.8, 1.0))
"""The range of the largest probability of each class."""


def powers_of(seed):
    """Powers, drawn at random."""
    return MixingPowers(np.random.default_rng(seed).uniform(0.2, 0.9, (NUM_PAIRS, 2)))


def text_of(num_chars, seed=0):
    """Ids (N,) of a text that repeats some words."""
    rng = np.random.default_rng(seed)
    words = [rng.integers(1, V, size) for size in (2, 3, 5, 8)]
    parts = [words[i] for i in rng.integers(0, 4, num_chars)]
    return np.concatenate(parts)[:num_chars].astype(np.uint8)


@pytest.fixture(scope="module")
def counted():
    """An untrained network with counts of a text of 3,000 characters, mixed by random powers."""
    config = small_config(steps=1)
    vocab = Vocab("char", ("", *LETTERS))
    model = Model(config, vocab, hand_built_tensors(config, V), name="counted")
    predictor = NgramModel.fit(text_of(3_000), V, 6).predictor()
    return CountedModel(model, Counts(predictor, powers_of(3)))


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
    for index, (by_network, by_counts) in enumerate(zip(network, counts, strict=True)):
        pair = 3 * class_of(by_network) + class_of(by_counts)
        last = text[max(0, index - 3) : index + 1].tolist()
        if len(last) == 4 and len(set(last)) == 1:
            pair = 9
        power, power_of_counts = counted.counts.powers.values[pair]
        row = by_network**power * by_counts**power_of_counts
        rows.append(row / row.sum())
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
    counts = Counts(predictor, powers_of(seed))
    histories = rng.integers(0, vocab_size, (5, predictor.longest))
    for row in range(5):
        histories[row, : row * predictor.longest // 4] = -1
    mixed = counts.mix(scale * rng.standard_normal((5, vocab_size)), histories)
    probabilities = np.exp(log_softmax(mixed))
    assert (probabilities > 0).all()
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=0, atol=1e-12)


def drawn_predictions(num_predictions, seed):
    """Predictions of 6 characters by two models, of every class, and what followed: drawn from the
    product of their powers by `powers_of(seed)`. A tenth of them follows a run."""
    rng = np.random.default_rng(seed)
    both = []
    for _ in range(2):
        largest = rng.uniform(0.2, 1, num_predictions)
        rest = rng.dirichlet(np.ones(5), num_predictions) * (1 - largest)[:, None]
        both.append(rng.permuted(np.column_stack((largest, rest)), axis=1).clip(1e-6))
    histories = np.tile(np.arange(4), (num_predictions, 1))
    histories[rng.random(num_predictions) < 0.1] = 2
    predictions = Predictions.of(
        np.log(both[0]), counts=both[1], histories=histories, end_id=NO_END
    )
    mixed = np.exp(log_softmax(powers_of(seed).mix(predictions)))
    targets = (mixed.cumsum(-1) < rng.random((num_predictions, 1))).sum(-1).clip(max=5)
    return predictions, targets


def log_likelihood(predictions, targets, values):
    """The logarithm of the probability of what followed, prediction by prediction."""
    total = 0.0
    for row, target in enumerate(targets.tolist()):
        power, power_of_counts = values[predictions.pairs[row]]
        scores = power * predictions.network[row] + power_of_counts * predictions.counts[row]
        total += scores[target] - math.log(sum(math.exp(score) for score in scores))
    return total


def test_each_prediction_has_the_pair_of_its_classes():
    logits = np.log([[0.3, 0.35, 0.35], [0.5, 0.3, 0.2], [0.9, 0.05, 0.05], [0.9, 0.05, 0.05]])
    counts = np.array([[0.85, 0.1, 0.05], [0.2, 0.3, 0.5], [0.34, 0.33, 0.33], [0.34, 0.33, 0.33]])
    histories = np.array([[1, 2, 2, 2], [-1, 2, 2, 1], [0, 1, 0, 1], [2, 2, 2, 2]])
    predictions = Predictions.of(logits, counts=counts, histories=histories, end_id=NO_END)
    assert predictions.pairs.tolist() == [2, 4, 6, 9]
    # A history of fewer characters than a run has none.
    short = Predictions.of(logits, counts=counts, histories=histories[:, :3], end_id=NO_END)
    assert short.pairs.tolist() == [2, 4, 6, 6]
    # Nor do empty documents, of which each has the END alone.
    empty = Predictions.of(logits, counts=counts, histories=histories, end_id=2)
    assert empty.pairs.tolist() == [2, 4, 6, 6]


@pytest.mark.parametrize("num_predictions", [30, 400])
def test_no_other_powers_are_more_likely(num_predictions):
    """The gradient of the likelihood and of the prior, by differences, is 0."""
    predictions, targets = drawn_predictions(num_predictions, seed=num_predictions)
    values = MixingPowers.fit(predictions, targets).values
    common = values_of_one_pair(predictions, targets)

    def objective(values):
        prior = PRIOR * ((values - common) ** 2).sum() / 2
        return log_likelihood(predictions, targets, values) - prior

    assert (values[-1] == ALONE).all()
    for index in np.ndindex(values[:-1].shape):
        change = np.zeros_like(values)
        change[index] = 1e-4
        slope = (objective(values + change) - objective(values - change)) / 2e-4
        # The differences lose half of the 16 digits of a sum of some hundreds.
        assert abs(slope) < 1e-4


def values_of_one_pair(predictions, targets):
    """The powers (NUM_PAIRS, 2) if all predictions outside runs have the same pair."""
    alone = predictions._replace(pairs=np.zeros(len(targets), np.int64))
    # The second pair has no predictions, and the powers of all.
    values = np.tile(MixingPowers.fit(alone, targets).values[1], (NUM_PAIRS, 1))
    values[-1] = ALONE
    return values


def test_no_power_is_negative_and_the_other_one_is_the_best_beside_it():
    """A network that finds likely what does not follow."""
    predictions, targets = drawn_predictions(3_000, seed=2)
    opposite = predictions._replace(network=-predictions.network)
    values = MixingPowers.fit(opposite, targets).values[:-1]
    assert values.min() == 0
    alone = opposite._replace(network=np.zeros_like(opposite.network))
    common = np.array([0, values_of_one_pair(alone, targets)[0, 1]])
    assert (values[:, 0] == 0).all() and values[:, 1].min() > 0
    for pair in range(NUM_PAIRS - 1):
        of_pair = opposite._replace(pairs=np.where(opposite.pairs == pair, 0, 9))
        slopes = []
        for change in (-1e-4, 1e-4):
            powers = np.tile([0, values[pair, 1] + change], (NUM_PAIRS, 1))
            powers[9] = 0
            prior = PRIOR * (powers[0, 1] - common[1]) ** 2 / 2
            slopes.append(log_likelihood(of_pair, targets, powers) - prior)
        assert abs(slopes[1] - slopes[0]) / 2e-4 < 1e-3


def test_known_powers_are_recovered():
    predictions, targets = drawn_predictions(150_000, seed=1)
    found = MixingPowers.fit(predictions, targets).values
    # Each pair has at least 3,000 predictions. Their powers are drawn to those of all by as much as
    # 400 units of information, a tenth of what so many have.
    difference = (found - powers_of(1).values)[:-1]
    np.testing.assert_allclose(difference, 0, atol=0.15)
    assert np.abs(difference).mean() < 0.04


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_a_text_is_as_likely_by_the_powers_of_its_classes_as_by_one_pair(num_predictions, seed):
    predictions, targets = drawn_predictions(num_predictions, seed)
    by_classes = MixingPowers.fit(predictions, targets).values
    by_one = values_of_one_pair(predictions, targets)
    likelihoods = [log_likelihood(predictions, targets, values) for values in (by_classes, by_one)]
    assert likelihoods[0] >= likelihoods[1] - 1e-9


def test_nothing_to_fit_to_is_the_geometric_mean():
    nothing = Predictions.of(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 5), np.int64), NO_END)
    values = MixingPowers.fit(nothing, np.zeros(0, np.int64)).values
    assert (values[:-1] == START).all()
    assert (values[-1] == ALONE).all()


def test_a_network_that_is_always_right_has_a_power_that_ends(monkeypatch):
    monkeypatch.setattr(mixing_powers, "MOST_POWER", 1.25)
    logits = np.tile([5.0, 0.0, 0.0], (2_000, 1))
    counts = np.full((2_000, 3), 1 / 3)
    predictions = Predictions.of(logits, counts, np.tile(np.arange(4), (2_000, 1)), NO_END)
    values = MixingPowers.fit(predictions, np.zeros(2_000, np.int64)).values
    assert values.max() == 1.25


def test_powers_are_fitted_to_each_character_that_was_held_back(counted, monkeypatch):
    """Read in several lanes, of which the last one goes on beyond the end, the same as by hand."""
    text = text_of(20_000, seed=4)
    given_parts = []
    monkeypatch.setattr(
        MixingPowers,
        "fit",
        lambda predictions, targets: given_parts.append((predictions, targets)) or powers_of(0),
    )
    pieces = (slice(0, 5_000), slice(7_000, 7_100), slice(9_000, 13_500))
    fit_counts(counted.model, text, held_back=pieces, begin=6_000)
    [(predictions, targets)] = given_parts
    positions = np.r_[1:5_000, 7_001:7_100, 9_001:13_500]
    assert targets.tolist() == text[positions].tolist()
    # Nor are 14,000 / 400 characters counted on each side of a piece.
    predictor = NgramModel.fit(text[np.r_[6_000:6_965, 7_135:8_965, 13_535:20_000]], V, 16)
    expected = predictor.predictor().probabilities(text, positions)
    np.testing.assert_allclose(np.exp(predictions.counts), expected, rtol=1e-12)
    with torch.inference_mode():
        logits, _ = counted.model.network(
            torch.from_numpy(text[:7_101].astype(np.int64))[:, None],
            counted.model.network.initial_state(1),
        )
    by_hand = logits[positions[:5_098] - 1, 0].double().log_softmax(-1).numpy()
    # float32, in lanes of another number of rows.
    np.testing.assert_allclose(log_softmax(predictions.network[:5_098]), by_hand, atol=1e-4)


def test_each_way_of_reading_a_text_mixes_by_hand(counted, monkeypatch):
    monkeypatch.setattr(counted_model, "ROWS_AT_ONCE", 7)
    texts = np.column_stack([text_of(40, seed) for seed in (5, 6, 7)])
    expected = np.log([mixed_by_hand(counted, text) for text in texts.T])
    with torch.no_grad():
        ids = torch.from_numpy(texts.astype(np.int64))
        in_torch, last = counted.network(ids, counted.network.initial_state(3))

    stepper = counted.generator.model_for("fp32", {})
    state = stepper.initial_state(3)
    for time, row in enumerate(texts):
        logits, state = stepper.step(row, state)
        # The logits of the networks agree to about 1e-5 in float32, and are about 10.
        np.testing.assert_allclose(log_softmax(logits), expected[:, time], atol=2e-4)
        log_probs = in_torch[time].double().log_softmax(-1)
        np.testing.assert_allclose(log_probs, expected[:, time], atol=2e-4)
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
    assert counted.origin()["writer"] == "network and counts"
    stepper = counted.generator.model_for("int8", {})
    assert stepper.changes.endswith(" with counts")
    _, state = stepper.read(np.array([1, 2]))
    _, alone = counted.model.generator.int8_stepper.read(np.array([1, 2]))
    assert state.num_bytes == alone.num_bytes
    assert stepper.values(state).tolist() == (
        counted.model.generator.int8_stepper.values(alone).tolist()
    )


def test_many_predictions_are_mixed_as_each_alone(counted, monkeypatch):
    """Bit for bit: by the compiled loop, and in parts without it."""
    monkeypatch.setattr(counted_model, "ROWS_AT_ONCE", 7)
    rng = np.random.default_rng(4)
    logits = (rng.uniform(0, 9, (60, 1)) * rng.standard_normal((60, V))).astype(np.float32)
    text = text_of(60, seed=12)
    text[20:27] = 5
    histories = counted.counts.predictor.histories(text, np.arange(60))
    expected = counted.counts.mix(logits, histories)
    assert counted.counts.mix_many(logits, histories).tolist() == expected.tolist()
    monkeypatch.setattr(counted_model, "can_compile", lambda: False)
    assert counted.counts.mix_many(logits, histories).tolist() == expected.tolist()


@pytest.mark.parametrize("shaping", [{}, {"temperature": 0.6, "top_k": 4}, {"min_p": 0.1}])
def test_the_compiled_loop_writes_what_numpy_does(counted, shaping, monkeypatch):
    """One text and several, which begin in each other's place."""
    options = {"length": 150, "seed": 3, "prime": "ab", "precision": "int8", **shaping}
    texts = []
    for engine in (Engine.NUMPY, Engine.COMPILED):
        monkeypatch.setattr(sampling, "choose_engine", lambda num_chars, engine=engine: engine)
        monkeypatch.setattr(sampling, "BEFORE_LOADING", 0)
        one = counted.sample(**options)
        several = counted.samples(3, **options, stops=["\n"])
        texts.append((one.text, *(text.text for text in several)))
        logprobs = one.logprobs
    assert texts[0] == texts[1]
    assert len(texts[0][0]) == 150
    # In float64, of which the compiled sum is in another order.
    np.testing.assert_allclose(one.logprobs, logprobs, rtol=1e-9)


ALPHABETS = {
    "characters": ({}, Vocab("char", ("", *LETTERS))),
    "documents": ({"documents": "lines"}, Vocab("char", ("", "\0", *LETTERS[1:]))),
    "bytes": ({"alphabet": "byte"}, Vocab("byte", tuple(map(chr, range(256))))),
}


@pytest.fixture(params=ALPHABETS)
def of_any_alphabet(request):
    """A network with counts of a text of characters, of documents or of bytes."""
    changes, vocab = ALPHABETS[request.param]
    config = small_config(steps=1, **changes)
    model = Model(config, vocab, hand_built_tensors(config, len(vocab)), name=request.param)
    fitted = NgramModel.fit(text_of(3_000), len(vocab), 6, end_id=config.end_id)
    return CountedModel(model, Counts(fitted.predictor(), powers_of(3)))


def test_compiled_code_goes_on_after_any_number_of_characters(of_any_alphabet, monkeypatch):
    pytest.importorskip("numba")
    num_steps = []
    step = CountedStepper.step

    def count_and_step(stepper, ids, state):
        num_steps.append(len(ids))
        return step(stepper, ids, state)

    options = {"length": 25, "seed": 14, "precision": "int8"}
    expected = of_any_alphabet.sample(**options)
    monkeypatch.setattr(CountedStepper, "step", count_and_step)
    monkeypatch.setattr(sampling, "UNCACHED_FROM", 0)
    monkeypatch.setattr(sampling, "COMPILED_FROM", 20)
    for num_first in range(len(expected.text) + 1):
        monkeypatch.setattr(contexts, "MOST_OF_PYTHON", 256 * (num_first % 2))
        monkeypatch.setattr(sampling, "BEFORE_LOADING", num_first)
        sampling._compiled_module.cache_clear()
        num_steps.clear()
        assert of_any_alphabet.sample(**options).text == expected.text
        assert len(num_steps) == num_first


def test_python_and_compiled_code_predict_the_same_texts(of_any_alphabet, monkeypatch):
    """Also of a search that begins with one beam, which Python predicts, and goes on with more."""
    texts = []
    for most in (0, 2 * of_any_alphabet.counts.predictor.vocab_size, 10**9):
        monkeypatch.setattr(contexts, "MOST_OF_PYTHON", most)
        beams = of_any_alphabet.beam(length=12, width=5)
        matching = of_any_alphabet.sample(length=12, seed=1, match="[^a]*")
        several = of_any_alphabet.samples(3, length=12, seed=2)
        texts.append(tuple((text.text, text.logprobs) for text in (*beams, matching, *several)))
    assert len(set(texts)) == 1


def test_counts_grow_with_what_was_read(counted, monkeypatch):
    """Scored by the counts of the training text and of all blocks before: 3 segments of 20 are one
    block of at least 50."""
    monkeypatch.setattr(growing, "COUNTED_AFTER", 50)
    text = text_of(205, seed=11)
    first = 5
    logits = np.random.default_rng(1).standard_normal((200, V)).astype(np.float32)
    growing_counts = growing.GrowingCounts(counted.counts, ids=text, first=first)
    for begin in range(0, 200, 20):
        growing_counts.add(logits[begin : begin + 20])
    losses = growing_counts.losses()
    assert losses.positions.tolist() == list(range(first, 205))

    for begin in (0, 60, 120, 180):
        ids = np.concatenate((text_of(3_000), text[first : first + begin]))
        counts = counted.counts._replace(predictor=NgramModel.fit(ids, V, 6).predictor())
        rows = np.arange(begin, min(200, begin + 60))
        histories = counts.predictor.histories(text, first + rows)
        scores = log_softmax(counts.mix(logits[rows], histories))
        expected = -scores[np.arange(len(rows)), text[first + rows]]
        np.testing.assert_allclose(losses.nats[rows], expected, rtol=1e-6)  # float32
        is_right = scores.argmax(-1) == text[first + rows]
        assert losses.is_right[rows].tolist() == is_right.tolist()

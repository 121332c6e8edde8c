"""n-gram models against a textbook implementation with dictionaries, and their rows in an
evaluation.

Tests the n-grams of `evaluation.comparison`, too.
"""

from collections import Counter, defaultdict

import numpy as np
import pytest
from built_runs import build_chain
from hypothesis import given, settings
from hypothesis import strategies as st
from known_weights import CYCLE, chain_text

import charrnn
from charrnn.errors import DataError, UsageError
from charrnn.evaluation import comparison
from charrnn.evaluation.comparison import ORDERS
from charrnn.evaluation.loss_reports import NGRAM
from charrnn.ngrams import kneser_ney as ngrams
from charrnn.ngrams.kneser_ney import FALLBACK_DISCOUNTS, discounts_of, probabilities_by_order


class Textbook:
    """Interpolated modified Kneser-Ney smoothing, straight from the equations of
    `ngrams.kneser_ney`."""

    def __init__(self, text, vocab_size, order):
        self.text, self.vocab_size, self.order = text, vocab_size, order
        self.counts = {k: self.count(k) for k in range(1, order + 1)}
        self.continuations = {k: self.count_continuations(k) for k in range(1, order)}

    def count(self, length):
        return Counter(tuple(self.text[i : i + length]) for i in range(len(self.text) - length + 1))

    def count_continuations(self, length):
        before = defaultdict(set)
        for i in range(len(self.text) - length + 1):
            before[tuple(self.text[i : i + length])].add(self.text[i - 1] if i else -1)
        return Counter({ngram: len(chars) for ngram, chars in before.items()})

    def interpolated(self, counts, context, char):
        num_with = Counter(counts.values())
        discounts = (0.0, *discounts_of(*(num_with[count] for count in (1, 2, 3, 4))))
        following = [count for ngram, count in counts.items() if ngram[:-1] == context]
        if not following:
            return self.lower(context[1:], char)
        count = counts[(*context, char)]
        discounted = sum(discounts[min(count, 3)] for count in following)
        shorter = self.lower(context[1:], char) if context else 1 / self.vocab_size
        return (count - discounts[min(count, 3)] + discounted * shorter) / sum(following)

    def lower(self, context, char):
        return self.interpolated(self.continuations[len(context) + 1], context, char)

    def probability(self, order, before, char):
        context = tuple(before[max(0, len(before) - order + 1) :])
        if len(context) < order - 1:
            return self.lower(context, char)
        return self.interpolated(self.counts[order], context, char)


def by_each(training, text, positions, *, vocab_size, orders, end_id=None):
    """Return the probabilities (orders, M) at some positions (M,)."""
    found = probabilities_by_order(
        training, text, positions, vocab_size=vocab_size, orders=orders, end_id=end_id
    )
    return np.array([probabilities for _, probabilities in found])


def char_nats(training, text, positions, *, vocab_size, order, end_id=None):
    """Return the losses (M,) at some positions by one order."""
    [found] = by_each(
        training, text, positions, vocab_size=vocab_size, orders=[order], end_id=end_id
    )
    return -np.log(found)


def distribution(training, context, *, vocab_size, order, end_id=None):
    """Return the probability of each character after a context, the beginning of a text."""
    after = []
    for char in range(vocab_size):
        text = np.append(np.asarray(context, np.uint8), np.uint8(char))
        found = by_each(
            training,
            text,
            np.array([len(context)]),
            vocab_size=vocab_size,
            orders=[order],
            end_id=end_id,
        )
        after.append(found[0, 0])
    return np.array(after)


@settings(max_examples=30)
@given(
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(6, 60),
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
)
def test_orders_are_those_of_the_textbook(vocab_size, order, num_chars, seed, repeats):
    """Of a text that repeats itself; the last character of the alphabet occurs in the scored text
    only."""
    rng = np.random.default_rng(seed)
    training = np.tile(rng.integers(0, vocab_size, num_chars), repeats).astype(np.uint8)
    text = np.concatenate(
        (rng.integers(0, vocab_size + 1, 10), training[-8:], training[:8])
    ).astype(np.uint16)
    found = by_each(
        training,
        text,
        np.arange(len(text)),
        vocab_size=vocab_size + 1,
        orders=range(1, order + 1),
    )
    book = Textbook(training.tolist(), vocab_size + 1, order)
    before = text.tolist()
    expected = [
        [book.probability(n, before[:i], before[i]) for i in range(len(text))]
        for n in range(1, order + 1)
    ]
    # Both add at most a few hundred numbers of size 1 in float64.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("vocab_size", [200, 70_000], ids=["bytes", "many characters"])
def test_long_orders_are_those_of_the_textbook(vocab_size):
    rng = np.random.default_rng(1)
    words = [rng.integers(0, vocab_size, size) for size in (3, 9, 14, 25)]
    training = np.concatenate([words[i] for i in rng.integers(0, 4, 40)])
    found = by_each(
        training.astype(np.uint32),
        training,
        np.arange(100, 160),
        vocab_size=vocab_size,
        orders=range(1, 21),
    )
    book = Textbook(training.tolist(), vocab_size, 20)
    for order in (1, 2, 7, 13, 20):
        expected = [
            book.probability(order, training[:i].tolist(), int(training[i]))
            for i in range(100, 160)
        ]
        np.testing.assert_allclose(found[order - 1], expected, rtol=1e-9)


def test_the_smallest_texts_and_alphabets():
    text = np.zeros(4, np.uint8)
    found = by_each(np.zeros(30, np.uint8), text, np.arange(4), vocab_size=1, orders=(1, 2, 5))
    np.testing.assert_allclose(found, 1, rtol=1e-12)
    [probabilities] = by_each(
        np.array([2], np.uint8), np.array([2, 3]), np.arange(2), vocab_size=4, orders=[1]
    )
    # c = 1 in all, D = 0.5: the other half is spread over four characters.
    np.testing.assert_allclose(probabilities, [0.5 + 0.5 / 4, 0.5 / 4])


def test_orders_longer_than_every_document_are_those_of_shorter_ones():
    end, a = 0, 1
    text = np.array([a, a, end] * 5, np.uint8)
    *_, long, longer = by_each(
        text, text, np.arange(3), vocab_size=2, orders=(1, 2, 9, 12), end_id=end
    )
    np.testing.assert_array_equal(long, longer)


def test_only_the_end_of_a_long_text_is_counted(monkeypatch):
    training = np.random.default_rng(4).integers(0, 4, 500).astype(np.uint8)
    positions = np.arange(10, 60)
    last = char_nats(training[300:], training, positions, vocab_size=4, order=3)
    monkeypatch.setattr(ngrams, "MOST_TRAINING_CHARS", 200)
    part = char_nats(training, training, positions, vocab_size=4, order=3)
    np.testing.assert_array_equal(part, last)


def test_of_a_long_text_of_documents_whole_ones_are_counted(monkeypatch):
    documents = documents_in(range(60))
    read = documents_in(range(60), seed=9)
    positions = np.arange(1, len(read))
    begin = len(documents) - 100
    begin += np.argmax(documents[begin:] == 0)
    settings = {"vocab_size": 5, "order": 3, "end_id": 0}
    whole = char_nats(documents[begin + 1 :], read, positions, **settings)
    monkeypatch.setattr(ngrams, "MOST_TRAINING_CHARS", 100)
    part = char_nats(documents, read, positions, **settings)
    np.testing.assert_array_equal(part, whole)


@pytest.mark.parametrize("order", [1, 2, 5, 9])
def test_the_probabilities_of_all_characters_sum_to_one(order):
    """After contexts of the text, and of characters that the text does not have."""
    rng = np.random.default_rng(order)
    training = np.tile(rng.integers(0, 3, 700), 2).astype(np.uint8)
    for context in (training[-9:], training[100:103], rng.integers(0, 4, 9)):
        probabilities = distribution(training, context, vocab_size=4, order=order)
        assert probabilities.min() > 0
        # At most nine levels of a few products and sums in float64.
        assert probabilities.sum() == pytest.approx(1, rel=1e-13)


def test_positions_anywhere_have_the_probabilities_of_the_whole_text():
    rng = np.random.default_rng(7)
    training = np.tile(rng.integers(0, 3, 300), 2).astype(np.uint8)
    settings = {"vocab_size": 3, "order": 5}
    whole = char_nats(training, training, np.arange(600), **settings)
    positions = np.array([3, 4, 5, 9, 100, 101, 2, 0])
    np.testing.assert_array_equal(
        char_nats(training, training, positions, **settings), whole[positions]
    )


def test_discounts_are_those_of_chen_and_goodman_or_the_fallback():
    n1, n2, n3, n4 = 100, 40, 20, 10
    share = n1 / (n1 + 2 * n2)
    expected = (1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3)
    assert discounts_of(n1, n2, n3, n4) == pytest.approx(expected)
    for undefined in ((0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1)):
        assert discounts_of(*undefined) == FALLBACK_DISCOUNTS
    assert discounts_of(100, 40, 20, 500) == FALLBACK_DISCOUNTS  # the third would be negative


@pytest.fixture(scope="module")
def chain_run(tmp_path_factory):
    """Build a run whose model is nearly that of its corpus, a chain: 30,000 characters in
    `chain.txt` beside it."""
    folder = tmp_path_factory.mktemp("runs")
    corpus = folder / "chain.txt"
    corpus.write_bytes(chain_text(30_000).encode())
    return build_chain(folder / "chain", CYCLE, corpus=corpus)


@pytest.fixture(scope="module")
def model(chain_run):
    return charrnn.load(chain_run)


@pytest.fixture(scope="module")
def evaluation(model):
    return comparison.evaluate_runs([model], ngrams=ORDERS)


def rows_of(evaluation, name):
    return [row for row in evaluation.rows if row.name == name]


def test_rows_come_near_the_entropy_of_the_chain(evaluation):
    entropy = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
    assert [row.loss.protocol for row in rows_of(evaluation, NGRAM)] == [
        f"{order}-gram" for order in ORDERS
    ]
    losses = [row.loss.nats_per_char for row in rows_of(evaluation, NGRAM)]
    for row in rows_of(evaluation, NGRAM):
        expected = row.loss.nats_per_char - evaluation.first.nats_per_char
        assert row.difference.mean == pytest.approx(expected, abs=1e-6)  # float32
    assert losses[0] == pytest.approx(np.log(8), abs=0.02)
    # 3,000 scored characters: a standard error of 0.01. Longer orders learn chance from 27,000
    # training characters.
    assert all(abs(loss - entropy) < 0.05 for loss in losses[1:6])


def test_n_grams_of_a_part_are_counted_in_the_training_text_alone(model, evaluation):
    text = chain_text(30_000)
    training, held_out = model.vocab.encode(text[:27_000]), model.vocab.encode(text)
    expected = char_nats(
        training, held_out, np.arange(27_000, 30_000), vocab_size=len(model.vocab), order=5
    )
    row = next(row for row in evaluation.rows if row.loss.protocol == "5-gram")
    assert row.loss.nats_per_char == pytest.approx(expected.mean(dtype=np.float64), rel=1e-6)


def test_orders_longer_than_the_training_text_are_left_out(tmp_path):
    corpus = tmp_path / "short.txt"
    corpus.write_bytes(chain_text(20).encode())
    model = charrnn.load(build_chain(tmp_path / "short-001", CYCLE, corpus=corpus))
    text = chain_text(100)
    found = comparison.evaluate_runs([model], text, ngrams=(1, 18, 20))
    assert [row.loss.protocol for row in rows_of(found, NGRAM)] == ["1-gram", "18-gram"]
    with pytest.raises(DataError, match="too few for n-grams of order 20"):
        comparison.evaluate_runs([model], text, ngrams=(20,))
    for order in (0, 33):
        with pytest.raises(UsageError, match=rf"`order` is {order}; it must be between 1 and 32"):
            comparison.evaluate_runs([model], text, ngrams=(order,))


def documents_in(order, seed=3):
    """Ids of 60 documents of letters (1 … 4), each of which ends with END (0), in an order."""
    rng = np.random.default_rng(seed)
    words = [rng.integers(1, 5, size) for size in rng.integers(1, 7, 12)]
    documents = [
        np.concatenate([*(words[i] for i in rng.integers(0, 12, rng.integers(1, 4))), [0]])
        for _ in range(60)
    ]
    return np.concatenate([documents[index] for index in order]).astype(np.uint8)


ORDERS_OF_DOCUMENTS = (
    np.arange(60),
    np.arange(60)[::-1],
    np.random.default_rng(8).permutation(60),
)


@pytest.mark.parametrize("order", [1, 2, 3, 6, 12])
def test_the_order_of_counted_documents_has_no_effect(order):
    read = documents_in(range(60), seed=9)
    positions = np.arange(1, len(read))
    predicted = [
        char_nats(documents_in(numbers), read, positions, vocab_size=5, order=order, end_id=0)
        for numbers in ORDERS_OF_DOCUMENTS
    ]
    first, *others = predicted
    for found in others:
        # The same sums in another order.
        np.testing.assert_allclose(found, first, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 6, 12])
def test_the_order_of_documents_that_are_read_has_no_effect(order):
    training = documents_in(range(60))
    losses = []
    for numbers in ORDERS_OF_DOCUMENTS:
        read = np.append(np.uint8(0), documents_in(numbers, seed=9))
        positions = np.arange(1, len(read))
        nats = char_nats(training, read, positions, vocab_size=5, order=order, end_id=0)
        losses.append(nats.sum())
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


def test_documents_begin_with_the_counts_of_all_their_beginnings():
    """Three documents begin with 1 and one with 2, so after END 1 has three times the count."""
    ids = np.array([1, 3, 0, 1, 4, 0, 1, 3, 0, 2, 3, 0], np.uint8)
    after_end = distribution(ids, [4, 0], vocab_size=5, order=3, end_id=0)
    before_text = distribution(ids, [0], vocab_size=5, order=3, end_id=0)
    assert after_end.tolist() == before_text.tolist()
    assert after_end.sum() == pytest.approx(1, abs=1e-12)
    # After END the discounts are those of a small text, 0.5, 1 and 1.5. Of single characters,
    # before which 3, 1, 1, 2 and 1 different ones stand, they are 0.6, 0.2 and 3.
    unigrams = (np.array([3, 1, 1, 2, 1]) - np.array([3, 0.6, 0.6, 0.2, 0.6])) / 8 + 5 / 8 / 5
    expected = (np.array([0, 3 - 1.5, 1 - 0.5, 0, 0]) + 2 * unigrams) / 4
    np.testing.assert_allclose(after_end, expected, rtol=1e-12)

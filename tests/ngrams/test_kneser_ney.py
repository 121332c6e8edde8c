"""n-gram models against a textbook implementation with dictionaries, and their rows in an
evaluation.

Tests `ngrams.contexts` and `evaluation.ngram_rows`, too.
"""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from built_runs import build_chain
from hypothesis import given, settings
from hypothesis import strategies as st
from known_weights import CYCLE, chain_text

import charrnn
from charrnn.errors import DataError, UsageError
from charrnn.evaluation import comparison, ngram_rows
from charrnn.evaluation.loss_reports import NGRAM
from charrnn.evaluation.ngram_rows import ORDERS
from charrnn.ngrams import contexts
from charrnn.ngrams import kneser_ney as ngrams
from charrnn.ngrams.kneser_ney import FALLBACK_DISCOUNTS, NgramModel, discounts_of
from charrnn.views.tables import shown_rows


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


def char_nats(model, text, positions):
    """Return the losses (M,) at some positions by the highest order."""
    return -np.log(by_each(model, text, positions, [model.order])[0])


def by_each(model, text, positions, orders):
    """Return the probabilities (orders, M) at some positions (M,)."""
    return np.array([found for _, found in model.by_order(text, positions, orders)])


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
    model = NgramModel.fit(training, vocab_size + 1, order)
    found = by_each(model, text, np.arange(len(text)), range(1, order + 1))
    book = Textbook(training.tolist(), vocab_size + 1, order)
    before = text.tolist()
    expected = [
        [book.probability(n, before[:i], before[i]) for i in range(len(text))]
        for n in range(1, order + 1)
    ]
    # Both add at most a few hundred numbers of size 1 in float64.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=0)
    np.testing.assert_allclose(
        char_nats(model, text, np.arange(len(text))), -np.log(found[-1]), rtol=1e-6
    )  # float32


@pytest.mark.parametrize("vocab_size", [200, 70_000], ids=["bytes", "many characters"])
def test_long_orders_are_those_of_the_textbook(vocab_size):
    rng = np.random.default_rng(1)
    words = [rng.integers(0, vocab_size, size) for size in (3, 9, 14, 25)]
    training = np.concatenate([words[i] for i in rng.integers(0, 4, 40)])
    model = NgramModel.fit(training.astype(np.uint32), vocab_size, 20)
    found = by_each(model, training, np.arange(100, 160), range(1, 21))
    book = Textbook(training.tolist(), vocab_size, 20)
    for order in (1, 2, 7, 13, 20):
        expected = [
            book.probability(order, training[:i].tolist(), int(training[i]))
            for i in range(100, 160)
        ]
        np.testing.assert_allclose(found[order - 1], expected, rtol=1e-9)


def test_the_smallest_texts_and_alphabets():
    model = NgramModel.fit(np.zeros(30, np.uint8), 1, 5)
    text = np.zeros(4, np.uint8)
    np.testing.assert_allclose(by_each(model, text, np.arange(4), (1, 2, 5)), 1, rtol=1e-12)
    assert np.abs(char_nats(model, text, np.arange(4))).max() < 1e-6
    model = NgramModel.fit(np.array([2], np.uint8), 4, 1)
    (probabilities,) = by_each(model, np.array([2, 3], np.uint8), np.arange(2), (1,))
    # c = 1 in all, D = 0.5: the other half is spread over four characters.
    np.testing.assert_allclose(probabilities, [0.5 + 0.5 / 4, 0.5 / 4])


def test_only_the_end_of_a_long_text_is_counted(monkeypatch):
    training = np.random.default_rng(4).integers(0, 4, 500).astype(np.uint8)
    positions = np.arange(10, 60)
    monkeypatch.setattr(ngrams, "MOST_TRAINING_CHARS", 200)
    part = NgramModel.fit(training, 4, 3)
    last = NgramModel.fit(training[300:], 4, 3)
    np.testing.assert_array_equal(
        char_nats(part, training, positions), char_nats(last, training, positions)
    )
    assert len(part.ids) == 200


@pytest.mark.parametrize("order", [1, 2, 5, 9])
def test_the_probabilities_of_all_characters_sum_to_one(order):
    """After contexts that are frequent, rare, and of characters that the text does not have."""
    rng = np.random.default_rng(order)
    training = np.tile(rng.integers(0, 3, 700), 2).astype(np.uint8)
    text = np.concatenate((training[-50:], rng.integers(0, 4, 50))).astype(np.uint8)
    predictor = NgramModel.fit(training, 4, order).predictor()
    probabilities = predictor.probabilities(text, np.arange(len(text)))
    assert probabilities.shape == (100, 4)
    assert probabilities.min() > 0
    # At most nine levels of a few products and sums in float64.
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-13)


def test_frequent_contexts_change_nothing(monkeypatch):
    """Their probabilities are computed by the same steps, once instead of at each position."""
    rng = np.random.default_rng(7)
    training = np.tile(rng.integers(0, 3, 900), 2).astype(np.uint8)
    model = NgramModel.fit(training, 4, 6)
    with_tree = model.predictor().probabilities(training, np.arange(200))
    monkeypatch.setattr(contexts, "FREQUENT", 1)
    # The same products and sums, in another order: a few roundings of 1e-16.
    np.testing.assert_allclose(
        model.predictor().probabilities(training, np.arange(200)), with_tree, rtol=1e-14
    )


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(2, 12), st.integers(0, 2**32 - 1), st.booleans())
def test_python_predicts_the_bits_of_compiled_code(vocab_size, order, seed, has_documents):
    """After contexts of the text and others."""
    rng = np.random.default_rng(seed)
    ids = np.tile(rng.integers(0, vocab_size, 60), 4)
    ids = np.concatenate((ids, rng.integers(0, vocab_size, 60))).astype(np.uint8)
    end_id = 0 if has_documents else None
    predictor = NgramModel.fit(ids, vocab_size, order, end_id=end_id).predictor()
    histories = predictor.histories(ids, rng.integers(0, len(ids), 30))
    histories[10:20] = rng.integers(-1, vocab_size, (10, predictor.longest))
    interpreted = np.empty((30, vocab_size))
    contexts._fill_probabilities(predictor, histories, interpreted)
    assert interpreted.tolist() == predictor.after(histories).tolist()


def test_discounts_are_those_of_chen_and_goodman_or_the_fallback():
    n1, n2, n3, n4 = 100, 40, 20, 10
    share = n1 / (n1 + 2 * n2)
    expected = (1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3)
    assert discounts_of(n1, n2, n3, n4) == pytest.approx(expected)
    for undefined in ((0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1)):
        assert discounts_of(*undefined) == FALLBACK_DISCOUNTS
    assert discounts_of(100, 40, 20, 500) == FALLBACK_DISCOUNTS  # the third would be negative


def test_orders_and_texts_that_cannot_be_used_are_refused():
    text = np.arange(10).astype(np.uint8)
    for order, error, message in (
        (0, UsageError, r"`order` is 0; it must be between 1 and 32"),
        (33, UsageError, r"`order` is 33"),
        (11, DataError, r"has 10 characters; n-grams of order 11 need at least 11"),
    ):
        with pytest.raises(error, match=message):
            NgramModel.fit(text, 10, order)
    model = NgramModel.fit(text, 10, 3)
    with pytest.raises(UsageError, match=r"`order` is 4; it must be between 1 and 3"):
        model.by_order(text, np.arange(3), (4,))
    with pytest.raises(ValueError, match="positions"):
        char_nats(model, text, np.array([10]))


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
    ngrams_of_training = NgramModel.fit(training, len(model.vocab), 5)
    expected = char_nats(ngrams_of_training, held_out, np.arange(27_000, 30_000))
    row = next(row for row in evaluation.rows if row.loss.protocol == "5-gram")
    assert row.loss.nats_per_char == pytest.approx(expected.mean(dtype=np.float64), rel=1e-6)


def test_a_note_names_the_share_that_is_counted(model, monkeypatch):
    for module in (ngrams, ngram_rows):
        monkeypatch.setattr(module, "MOST_TRAINING_CHARS", 2_700)
    found = comparison.evaluate_runs([model], ngrams=(2,))
    assert (
        "n-grams are counted in the last 2,700 characters of the training text (10 %)."
        in found.notes
    )


def test_the_best_order_is_always_drawn(evaluation):
    """Order 4 is none of those that are drawn, unless it is the best."""
    drawn = list(evaluation.rows)
    place = next(index for index, row in enumerate(drawn) if row.loss.protocol == "4-gram")
    drawn[place] = replace(drawn[place], loss=replace(drawn[place].loss, nats_per_char=0.1))
    assert drawn[place] in shown_rows(drawn)
    drawn[place] = replace(drawn[place], loss=replace(drawn[place].loss, nats_per_char=9.0))
    assert drawn[place] not in shown_rows(drawn)


def test_orders_longer_than_the_training_text_are_left_out(tmp_path):
    corpus = tmp_path / "short.txt"
    corpus.write_bytes(chain_text(20).encode())
    model = charrnn.load(build_chain(tmp_path / "short-001", CYCLE, corpus=corpus))
    text = chain_text(100)
    found = comparison.evaluate_runs([model], text, ngrams=(1, 18, 20))
    assert [row.loss.protocol for row in rows_of(found, NGRAM)] == ["1-gram", "18-gram"]
    with pytest.raises(DataError, match="too few for n-grams of order 20"):
        comparison.evaluate_runs([model], text, ngrams=(20,))
    with pytest.raises(UsageError, match=r"`order` is 0"):
        comparison.evaluate_runs([model], text, ngrams=(0,))


def test_a_training_text_that_is_gone_is_one_clear_error(tmp_path, command):
    corpus, text = tmp_path / "gone.txt", tmp_path / "text.txt"
    corpus.write_bytes(chain_text(2_000).encode())
    text.write_bytes(chain_text(2_000, seed=3).encode())
    run = build_chain(tmp_path / "gone-001", CYCLE, corpus=corpus)
    corpus.unlink()
    ran = command("evaluate", run, "--text", text, "--ngrams")
    assert ran.code == 3 and len(ran.err.strip().splitlines()) <= 3
    assert (
        "gone.txt" in ran.err
        and "leave --ngrams out" in ran.err
        and "counted in the training text" in ran.err
    )
    assert command("evaluate", run, "--text", text).code == 0


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
        NgramModel.fit(documents_in(numbers), 5, order, end_id=0)
        .predictor()
        .probabilities(read, positions)
        for numbers in ORDERS_OF_DOCUMENTS
    ]
    first, *others = predicted
    for found in others:
        # The same sums in another order.
        np.testing.assert_allclose(found, first, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 6, 12])
def test_the_order_of_documents_that_are_read_has_no_effect(order):
    model = NgramModel.fit(documents_in(range(60)), 5, order, end_id=0)
    losses = []
    for numbers in ORDERS_OF_DOCUMENTS:
        read = np.append(np.uint8(0), documents_in(numbers, seed=9))
        losses.append(char_nats(model, read, np.arange(1, len(read))).sum(dtype=np.float64))
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


def test_documents_begin_with_the_counts_of_all_their_beginnings():
    """Three documents begin with 1 and one with 2, so after END 1 has three times the count."""
    ids = np.array([1, 3, 0, 1, 4, 0, 1, 3, 0, 2, 3, 0], np.uint8)
    predictor = NgramModel.fit(ids, 5, 3, end_id=0).predictor()
    [after_end] = predictor.after(np.array([[4, 0]]))
    [before_text] = predictor.after(np.array([[-1, 0]]))
    assert after_end.tolist() == before_text.tolist()
    assert after_end.sum() == pytest.approx(1, abs=1e-12)
    # After END the discounts are those of a small text, 0.5, 1 and 1.5. Of single characters,
    # before which 3, 1, 1, 2 and 1 different ones stand, they are 0.6, 0.2 and 3.
    unigrams = (np.array([3, 1, 1, 2, 1]) - np.array([3, 0.6, 0.6, 0.2, 0.6])) / 8 + 5 / 8 / 5
    expected = (np.array([0, 3 - 1.5, 1 - 0.5, 0, 0]) + 2 * unigrams) / 4
    np.testing.assert_allclose(after_end, expected, rtol=1e-12)

"""Kinds of errors: by hand, against a naive loop, and in the report. N characters, M scored
characters."""

import math
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from built_runs import build_chain

import charrnn
from charrnn import api
from charrnn.evaluation.losses import CharLosses
from charrnn.ngrams.kneser_ney import NgramModel
from charrnn.plugins.reports import error_kinds
from charrnn.plugins.reports.error_kinds import KINDS, NO_ERROR
from charrnn.text.vocab import Vocab, decode_each

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789.,;:!?'\"-_()\n\0"
VOCAB = Vocab("char", ("", *sorted(ALPHABET)))


def attribute(text, probability=0.25, *, training="", ngram=0.1, first):
    """Return the kinds of the characters text[first:], whose probabilities are given; "" for no
    error."""
    num_scored = len(text) - first
    losses = np.full(num_scored, -math.log(probability), np.float32)
    ngram_nats = np.full(num_scored, -math.log(ngram), np.float32)
    scored = [CharLosses(np.arange(first, len(text)), losses)]
    (kinds,) = error_kinds.attribute_errors(
        VOCAB.encode(text), VOCAB, scored, ngram_nats, VOCAB.encode(training)
    )
    return [("" if kind == NO_ERROR else KINDS[kind]) for kind in kinds]


@pytest.mark.parametrize(
    "probability, ngram, expected",
    [
        (0.5, 0.1, ""),
        (0.41, 0.1, "boost-0.1"),
        (0.39, 0.1, "boost-0.2"),
        (1e-30, 0.1, "boost-0.5"),
        (0.25, 0.51, "n-gram"),
        (0.25, 0.5, "boost-0.3"),
    ],
)
def test_a_boost_for_what_is_missing_makes_an_error_likely(probability, ngram, expected):
    # The d of a common word that was not in the text before: nothing but an n-gram or a boost
    # explains it.
    assert attribute("word", probability, training="word " * 6, ngram=ngram, first=3) == [expected]


@pytest.mark.parametrize(
    "distance, expected",
    [
        (100, "memory-100"),
        (101, "memory-500"),
        (1000, "memory-1000"),
        (5000, "memory-5000"),
        (5001, "rare-word-0"),
    ],
)
def test_a_word_that_occurred_is_in_the_shortest_memory_that_holds_all_of_it(distance, expected):
    text = "x " + "Mary" + "." * (distance - 4) + "Mary"
    # The first character of a word is never in a memory; what is in no memory is a rare word.
    assert attribute(text, first=len(text) - 4) == ["rare-word-0", expected, expected, expected]


def naive_kind(text, position, probability, ngram, training):
    """Return the kind of one character of a text of ASCII letters, spaces and punctuation."""
    if probability >= 0.5:
        return ""
    if ngram > 0.5:
        return "n-gram"
    document = text.rfind("\0", 0, position) + 1
    for match in re.finditer(r"[A-Za-z]+(?:'[A-Za-z]+)*", text):
        if match.start() <= position < match.end():
            for length in error_kinds.MEMORY_LENGTHS:
                memory = text[max(document, match.start() - length) : match.start()]
                if position > match.start() and match.group() in memory:
                    return f"memory-{length}"
            count = re.findall(r"[A-Za-z]+(?:'[A-Za-z]+)*", training).count(match.group())
            if count <= 5:
                return f"rare-word-{count}"
    before = text[position - 1]
    if before in "\n\0":
        return "after-newline"
    if before == " " or (before in "\"'" and not is_inner_apostrophe(text, position - 1)):
        return "after-space"
    if text[position] in ".,\"'" and not is_inner_apostrophe(text, position):
        return "punctuation"
    return next(
        f"boost-{boost}" for boost in (0.1, 0.2, 0.3, 0.4, 0.5) if probability + boost >= 0.5
    )


def is_inner_apostrophe(text, position):
    return (
        text[position] == "'"
        and re.fullmatch("[A-Za-z]'[A-Za-z]", text[position - 1 : position + 2]) is not None
    )


@pytest.mark.parametrize("block_chars", [7, 1 << 18])
@pytest.mark.parametrize("has_gaps", [False, True])
def test_the_kinds_are_those_of_a_naive_loop(block_chars, has_gaps, monkeypatch):
    monkeypatch.setattr(error_kinds, "BLOCK_CHARS", block_chars)
    generator = np.random.default_rng(5)

    def draw(num):
        pieces = [
            "ab",
            "ba",
            "abba",
            "c",
            "d'a",
            "'",
            '"',
            ".",
            ", ",
            " ",
            " ",
            "\n",
            "\0",
            "Ada",
            "bb",
        ]
        return "".join(generator.choice(pieces, num))

    text, training = draw(400), draw(60)
    positions = np.arange(1, len(text))
    if has_gaps:
        positions = positions[(positions // 50) % 2 == 1]
    probs = generator.choice([0.7, 0.43, 0.33, 0.23, 0.13, 0.03], (2, len(positions)))
    ngram = generator.choice([0.2, 0.9], len(positions), p=[0.8, 0.2])
    losses = [CharLosses(positions, -np.log(some).astype(np.float32)) for some in probs]
    found = error_kinds.attribute_errors(
        VOCAB.encode(text), VOCAB, losses, -np.log(ngram).astype(np.float32), VOCAB.encode(training)
    )
    seen = set()
    for model, kinds in enumerate(found):
        for index, position in enumerate(positions.tolist()):
            expected = naive_kind(text, position, probs[model, index], ngram[index], training)
            kind = "" if kinds[index] == NO_ERROR else KINDS[kinds[index]]
            assert kind == expected, (position, text[position - 10 : position + 5])
            seen.add(kind)
    assert len(seen) >= 15, "a text that has few kinds of errors would test little"


def test_the_totals_add_up_to_all_errors_and_their_loss():
    perfect = error_kinds.summarize_errors(
        "perfect", CharLosses(np.arange(3), np.zeros(3, np.float32)), np.full(3, NO_ERROR)
    )
    assert (perfect.num_errors, perfect.share, {one.share for one in perfect.kinds}) == (
        0,
        0.0,
        {0.0},
    )
    generator = np.random.default_rng(6)
    probs = generator.uniform(0.01, 0.99, 500)
    kinds = np.where(probs < 0.5, generator.integers(0, len(KINDS), 500), NO_ERROR).astype(np.int8)
    report = error_kinds.summarize_errors(
        "model", CharLosses(np.arange(500), -np.log(probs).astype(np.float32)), kinds
    )
    assert [one.kind for one in report.kinds] == list(KINDS)
    assert (
        sum(one.num_errors for one in report.kinds) == report.num_errors == int((probs < 0.5).sum())
    )
    assert math.fsum(one.share for one in report.kinds) == pytest.approx(1)
    # Losses rounded to float32: relative errors of 1e-7.
    assert sum(one.nats for one in report.kinds) == pytest.approx(
        -np.log(probs[probs < 0.5]).sum() / 500, rel=1e-6
    )
    assert report.nats_per_char == pytest.approx(-np.log(probs).mean(), rel=1e-6)


def test_the_best_n_gram_is_that_of_any_order():
    ids = np.random.default_rng(8).integers(0, 4, 300).astype(np.uint8)
    model = NgramModel.fit(ids[:200], 4, 5)
    positions = np.arange(201, 300, 3)
    best = error_kinds.best_ngram_nats(model.by_order(ids, positions), len(positions))
    probabilities = np.array([found for _, found in model.by_order(ids, positions)])
    np.testing.assert_allclose(
        np.exp(-best), [max(some) for some in probabilities.T], rtol=1e-5
    )  # float32 nats
    assert len(np.unique(probabilities.argmax(axis=0))) > 2, (
        "one order that is always the best would test little"
    )


def test_a_run_of_documents_forgets_each_document(tmp_path, monkeypatch):
    model = charrnn.load(build_chain(tmp_path / "names-001", "\0abcde", documents="lines"))
    # After b the model expects c, and gives d less than 0.5. What was in another document is no
    # memory.
    models, text = [model], "abcde\0abde\0abde\0"
    training = SimpleNamespace(
        ids=model.vocab.encode("abcde\0" * 10), begin=0, corpus=SimpleNamespace(vocab=model.vocab)
    )
    monkeypatch.setattr(model, "training_text", lambda part, instead: training)
    report = error_kinds.error_kinds(models, text, precision="fp32")
    (found,) = report.models
    assert (report.num_chars, report.text_length, found.num_errors) == (len(text), len(text), 2)
    assert {one.kind: one.num_errors for one in found.kinds if one.num_errors} == {"rare-word-0": 2}


def vocab_of(text):
    return Vocab("char", ("", *sorted(set(text))))


def words_of(text, vocab):
    return error_kinds.word_pattern(error_kinds.classes_of(vocab)).findall(
        decode_each(vocab, vocab.encode(text))
    )


def test_every_character_has_a_class():
    for characters, expected in (
        ("aéЖ中ि9²_\udcff", "w"),
        ("\n\r\x0b\x0c\x1e\x85\u2028\0", "n"),
        (" \t\u00a0\u3000", "s"),
        ("\"“”«»„「』‘'’", "q"),
        (".,;:!?-—()[]{}<>=+$%&*/\\|~^…、。", "p"),
        ("\x01\u200b\ue000", "o"),
    ):
        assert {error_kinds.class_of(character) for character in characters} == {expected}
    assert error_kinds.class_of("") == "w"


def test_words_are_letters_marks_digits_and_inner_apostrophes_of_any_script():
    text = "It's 'so', I say: don't!\nA num_lines x1 … “Oh”—naïve, नमस्ते Ω; 'tis th' end'"
    words = [
        "It's",
        "so",
        "I",
        "say",
        "don't",
        "A",
        "num_lines",
        "x1",
        "Oh",
        "naïve",
        "नमस्ते",
        "Ω",
        "tis",
        "th",
        "end",
    ]
    assert words_of(text, vocab_of(text)) == words
    # Of bytes, all above 127 are part of words.
    assert words_of("It's a naïve ‘word’, 'so'".encode(), Vocab.of_bytes()) == [
        "It's",
        "a",
        "naÃ¯ve",
        "â\x80\x98wordâ\x80\x99",
        "so",
    ]
    assert words_of("naïve at", vocab_of("nave t")) == ["na\ufffdve", "at"], (
        "with the unknown symbol"
    )


@pytest.mark.parametrize("kind", ["char", "byte"])
@pytest.mark.parametrize("block_chars", [8, 64, 1 << 20])
def test_counts_are_those_of_a_regular_expression(kind, block_chars, monkeypatch):
    monkeypatch.setattr(error_kinds, "DECODED_CHARS", block_chars)
    generator = np.random.default_rng(3)
    # Words of at most three characters and single spaces: no half block of 8 is without a space.
    pieces = ["a", "b", "ab", "ba", "a'b", "é", "bé", "12"]
    text = " ".join(generator.choice(pieces, 400)) + generator.choice([" ", ""])
    vocab = Vocab.of_bytes() if kind == "byte" else vocab_of(text)
    if kind == "byte" and block_chars == 8:
        text = text.replace("é", "c")
    expected = Counter(re.findall(r"\w+(?:'\w+)*", text))
    wanted = {word: index for index, word in enumerate([*expected, "zz"])}
    keys = {
        word.encode().decode("latin-1") if kind == "byte" else word: index
        for word, index in wanted.items()
    }
    counts = error_kinds.count_words(
        vocab.encode(text.encode() if kind == "byte" else text), vocab, keys
    )
    assert counts.tolist() == [expected[word] for word in wanted]


def test_a_model_of_bytes_has_errors_too(byte_run):
    model = api.load(byte_run.path)
    text = "zäb «molü» (語) zab\n" * 20
    assert error_kinds.error_kinds([model], text.encode()).num_chars == len(text.encode()) - 1

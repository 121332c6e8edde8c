"""Continuations end with a word, a line or a sentence and are scored as by a naive loop; what is
read of a text."""

from typing import NamedTuple

import numpy as np
import pytest
from built_runs import build_chain

import charrnn
from charrnn.errors import UsageError
from charrnn.generation import continuations as assistant
from charrnn.generation.continuations import (
    MAX_CHARS,
    Continuation,
    ContinuationOptions,
    continue_text,
    end_of,
)
from charrnn.generation.distribution import log_softmax
from charrnn.text.vocab import Vocab

ASCII = Vocab("char", ("", "\n", *map(chr, range(32, 127)), "é"))


def test_where_it_ends():
    for text, until, end in (
        (" brown fox", "word", 6),
        ("n't go", "word", 3),
        (", and then", "word", 5),
        ("\n    self.", "word", 9),
        ("e\u0301te\u0301 ", "word", 5),
        ("ick brown", "line", None),
        ("\nfox\r\n", "line", 4),
        ("He went.", "sentence", None),
        ('He went." She', "sentence", 9),
        ("He paid 3.14 for it? Yes", "sentence", 20),
        ("... and so. On", "sentence", 11),
        ("Chapter I\n\nIt", "sentence", 9),
        ("two\nlines. X", "sentence", 10),
        ("你好。我", "sentence", 3),
    ):
        assert end_of(text, until) == end
    assert end_of(". Next one. X", "sentence", "d") == 1, (
        "a full stop ends the sentence of the word before"
    )
    assert end_of("\n\nNext one. X", "sentence", "d") == 11, "nothing at all is no continuation"


def naive_logprobs(model, text, continuation):
    """The log-probability of each character, from the initial state, one by one."""
    stepper = model.generator.int8_stepper
    state, scores = stepper.initial_state(1), []
    logits = np.zeros((1, len(model.vocab)), np.float32)
    ids = assistant.read_as_known(model.vocab, text).tolist()
    for place, id in enumerate([*ids, *model.vocab.encode(continuation).tolist()]):
        if place >= len(ids):
            scores.append(float(log_softmax(logits)[0, id]))
        logits, state = stepper.step(np.array([id]), state)
    return scores


class Offer(NamedTuple):
    """A text, and five continuations of it."""

    text: str
    until: str
    found: list[Continuation]


@pytest.fixture(scope="module", params=MAX_CHARS)
def offer(request, model):
    """Five continuations, so warm that the samples differ from the beams, whatever the last digits
    of the model."""
    text = 'The lamp is lit. "We'
    found = model.continuations(text, until=request.param, seed=3, temperature=2.0)
    return Offer(text, request.param, found)


def test_five_different_ones_are_found_by_beam_search_and_samples(offer):
    assert len({one.text for one in offer.found}) == len(offer.found) == 5
    assert offer.found[0].temperature is None
    assert offer.found[-1].temperature is not None
    for one in offer.found:
        assert one.temperature in (None, 2.0)


def test_the_score_is_that_of_a_naive_loop_to_the_last_digit(model, offer):
    # Sums of int8 products are exact.
    for one in offer.found:
        assert list(one.logprobs) == naive_logprobs(model, offer.text, one.text)
        assert one.nats_per_char == pytest.approx(-sum(one.logprobs) / len(one.text))


def test_the_first_words_are_those_of_a_sample(model):
    opening = model.vocab.decode(model.generator.encode_prime(None))
    for one in model.continuations("", seed=3):
        assert list(one.logprobs) == naive_logprobs(model, opening, one.text)


def test_continuations_end_where_they_should(offer):
    for one in offer.found:
        if not one.is_complete:
            assert len(one.text) <= longest(one, offer.until)
            continue
        before = offer.text[-1]
        lengths = [
            end_of(one.text + following, offer.until, before) for following in (" x", "\n", "\n\n")
        ]
        assert len(one.text) in lengths


def longest(one, until):
    """Where a continuation is cut that has not ended."""
    if one.temperature is not None:
        return MAX_CHARS[until]
    return assistant.MAX_BEAM_CHARS


def test_the_same_seed_gives_the_same_ones_and_the_next_five_are_five_others(model):
    def texts(seed, **options):
        return [
            one.text for one in model.continuations("The lamp", until="line", seed=seed, **options)
        ]

    assert texts(1) == texts(1) != texts(2)
    assert texts(1, temperature=0.5) != texts(1)
    assert texts(None) != texts(None)
    for wrong in ({"count": 101}, {"seed": -1}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            model.continuations("The ", **wrong)
    offers = continue_text(model.generator, "The ", ContinuationOptions(until="word", seed=5))
    first, second = offers.take(5), offers.take(5)
    assert first == model.continuations("The ", seed=5)
    assert len({one.text for one in (*first, *second)}) == 10


def test_what_is_too_long_ends_after_a_word(tmp_path):
    # A sample is a word of nine characters over and over. A beam search repeats none.
    model = charrnn.load(build_chain(tmp_path / "run", "abcde fghi"))
    for one in model.continuations("a", until="sentence", temperature=0.1, seed=0):
        assert not one.is_complete
        assert len(one.text) == len(one.logprobs) < longest(one, "sentence")
        assert one.temperature is None or one.text.endswith(" fghiabcde")


def test_a_document_ends_a_continuation(tmp_path):
    documents = charrnn.load(build_chain(tmp_path / "run", "\0ab c", documents="lines"))
    first, *_ = documents.continuations("ab", until="sentence", temperature=0.1, seed=0)
    assert first.is_complete
    assert first.text == " c"


def test_what_word_processors_write_is_read():
    for text, read in (
        ("“Don’t,” she said—‘no’…", "\"Don't,\" she said-'no'..."),
        ("a\u00a0b\u202fc\u2009d", "a b c d"),
        ("soft\u00adhyphen, zero\u200bwidth\ufeff", "softhyphen, zerowidth"),
        ("cafe\u0301 ﬁne œuvre", "cafe fine oeuvre"),
    ):
        assert ASCII.decode(assistant.read_as_known(ASCII, text)) == read
        assert bytes(assistant.read_as_known(Vocab.of_bytes(), text).tolist()) == text.encode(), (
            "every byte is known"
        )


def test_what_has_no_similar_character_is_unknown_or_left_out():
    text = "“a” “b” 語\u00ad\u00ad"
    assert assistant.substitutions(ASCII, text) == {"“": '"', "”": '"', "語": "語", "\u00ad": ""}
    assert assistant.read_as_known(ASCII, text).tolist().count(0) == 1
    assert assistant.substitutions(ASCII, "plain text, é\n") == {}
    assert (
        Vocab("char", ("a", "b")).decode(assistant.read_as_known(Vocab("char", ("a", "b")), "a語b"))
        == "ab"
    )

"""Alphabets: every text is decoded from its ids, all at once or one at a time."""

import json
import math

import numpy as np
import pytest
from hand_built import vocab_of
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.errors import CheckpointError, UsageError
from charrnn.text.vocab import (
    REPLACEMENT,
    UNKNOWN,
    Decoder,
    Vocab,
    encode_given,
    encode_text,
)

ANY_TEXT = st.text(st.characters(), min_size=1, max_size=60)  # lone surrogates included


@given(ANY_TEXT)
@settings(max_examples=30)
def test_a_text_comes_back_from_its_ids(text):
    vocab = vocab_of(text)
    ids = vocab.encode(text)
    assert ids.dtype == np.uint16
    assert ids.shape == (len(text),)
    assert ids.min() >= 1
    assert vocab.decode(ids) == text
    assert vocab.characters == (UNKNOWN, *sorted(set(text)))


@given(st.binary(max_size=60))
def test_byte_by_byte_decoding_equals_decoding_at_once(data):
    vocab = Vocab.of_bytes()
    decoder = Decoder(vocab)
    assert "".join([decoder.feed(id) for id in data] + [decoder.finish()]) == vocab.decode(data)


def test_a_decoder_waits_for_whole_characters_and_starts_anew_after_finish():
    decoder = Decoder(Vocab.of_bytes())
    fed = [(decoder.feed(id), decoder.is_amid_character) for id in "aé".encode()]
    assert fed == [("a", False), ("", True), ("é", False)]
    assert (decoder.feed(0xC3), decoder.finish()) == ("", REPLACEMENT)
    assert (decoder.feed(ord("a")), decoder.finish()) == ("a", "")


def test_unseen_characters_become_the_unknown_id():
    vocab = vocab_of("hello")
    # Below, between and beyond the known code points, and beyond the lookup table.
    assert vocab.encode("\0 hfo~\U0010ffff").tolist() == [0, 0, 2, 0, 4, 0, 0]
    assert vocab.decode([2, 0, 4]) == f"h{REPLACEMENT}o"
    assert vocab.unknown_characters("zebra, zoo, hello z") == ["z", "b", "r", "a", ",", " "]
    assert vocab.escape_nats == math.log(0x10FFFF + 1 - 2048 - len("helo"))
    assert Vocab.of_bytes().unknown_characters("é\0") == []


@pytest.mark.parametrize(
    "num_filler, kept",
    [
        (9_000, "abc"),
        (10_500, "bc"),
        (25_000, "c"),
        (90_000, "c"),
    ],
)
def test_rare_characters_are_dropped_only_from_larger_texts(num_filler, kept):
    assert vocab_of("a" + "bb" + "ccc" + "x" * num_filler).characters == (
        UNKNOWN,
        *kept,
        "x",
    )


def test_the_most_frequent_characters_stay_and_ties_go_to_lower_code_points():
    assert vocab_of("z" * 5 + "dcba" * 2 + "y", max_size=4).characters == (
        UNKNOWN,
        "a",
        "b",
        "z",
    )


@given(ANY_TEXT)
@settings(max_examples=40)
def test_vocab_json_brings_the_alphabet_back(text):
    for vocab in (
        vocab_of(text),
        Vocab.of_bytes(),
        vocab_of(text + "ab", is_exact=True),
    ):
        again = Vocab.from_json(json.loads(json.dumps(vocab.to_json())))
        assert again == vocab
        assert len(again) == len(vocab)
        assert again.encode(text).tolist() == vocab.encode(text).tolist()


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"kind": ["char"], "characters": ["", "a"]},
        {"kind": "char", "characters": "ab"},
        {"kind": "char", "characters": [""]},
        {"kind": "char", "characters": ["", *map(chr, range(0x10000, 0x20000))]},
        {"kind": "char", "characters": ["", "ab"]},
        {"kind": "char", "characters": ["", ["a"]]},
        {"kind": "char", "characters": ["", "a", "b", "a"]},
        {"kind": "byte", "characters": ["b", *map(chr, range(1, 256))]},
    ],
)
def test_a_broken_vocab_json_is_refused_by_name(data):
    with pytest.raises(CheckpointError, match=r"vocab\.json is no alphabet"):
        Vocab.from_json(data)


def test_the_end_of_a_document_is_entry_1_however_rare_it_is():
    text = 20_000 * "abc" + "\0"
    assert vocab_of(text, min_count=3).characters == ("", "\0", "a", "b", "c")
    assert vocab_of(text, max_size=3).characters == ("", "\0", "a")


def test_an_exact_alphabet_is_the_characters_that_occur():
    vocab = vocab_of("hello" * 5_000 + "q", is_exact=True)
    assert vocab.characters == tuple("ehloq"), "however rare"
    assert not vocab.has_unknown_symbol
    assert vocab_of("hello").has_unknown_symbol
    assert vocab.encode("hello").tolist() == [1, 0, 2, 2, 3]
    assert vocab.decode([1, 0, 2]) == "hel"
    assert vocab.num_unknown(vocab.encode("eee")) == 0
    assert vocab_of("hello").num_unknown(np.array([0, 1, 0])) == 2
    assert vocab.unknown_characters("hexe, e!") == ["x", ",", " ", "!"]
    assert vocab.to_json() == {"kind": "char", "characters": ["e", "h", "l", "o", "q"]}


def test_an_exact_alphabet_is_extended_by_every_character():
    vocab = vocab_of("hello", is_exact=True)
    counts = np.bincount([0, 101, 122, 97], weights=[1, 50_000, 1, 50_000]).astype(np.int64)
    assert vocab.extended(counts).characters == ("\0", *"ehlo", "a", "z")
    assert Vocab.of_bytes().extended(counts) == Vocab.of_bytes()
    with pytest.raises(UsageError, match="given as bytes: decode it first"):
        vocab.unknown_characters(b"hello")


VOCAB = vocab_of("abcd")


def ids_of(text):
    return text.ids.tolist()


def test_a_text_stands_behind_its_context_and_unknown_characters_are_decoded_as_such():
    text = encode_text(VOCAB, "cÄa", "ab")
    assert (ids_of(text), text.first, text.text, text.vocab, len(text)) == (
        [1, 2, 3, 0, 1],
        2,
        "c\ufffda",
        VOCAB,
        3,
    )


@pytest.mark.parametrize(
    "begin, end, ids, first, decoded",
    [
        (1, 3, [1, 1, 2, 3], 2, "bc"),
        (2, 99, [1, 1, 2, 3, 4], 3, "cd"),
        (-1, None, [1, 1, 2, 3, 4], 4, "d"),
        (3, 1, [1, 1, 2, 3], 4, ""),
    ],
)
def test_a_part_has_everything_before_it_as_its_context(begin, end, ids, first, decoded):
    part = encode_text(VOCAB, "abcd", "a").part(begin, end)
    assert (ids_of(part), part.first, part.text, part.vocab) == (ids, first, decoded, VOCAB)


def test_a_character_outside_the_alphabet_is_read_as_the_first_of_its_nearest_ones():
    text = encode_given(vocab_of("abcdo'."), "Äb’…語ø", "É")
    assert text.vocab.decode(text.ids[text.first :]) == "ab'.\ufffdo"
    assert text.text == "Äb’…\ufffdø", "what is shown"
    assert text.exact_ids.tolist() == [0, 0, 4, 0, 0, 0, 0]
    assert text.part(1, 2).exact_ids.tolist() == [0, 0, 4]


@pytest.mark.parametrize("vocab", [vocab_of("ab", is_exact=True), Vocab.of_bytes()])
def test_an_alphabet_without_an_unknown_symbol_reads_a_text_as_it_is(vocab):
    assert vocab.with_stand_ins("Äb") == "Äb"


@given(ANY_TEXT)
@settings(max_examples=30)
def test_a_text_with_stand_ins_has_as_many_characters(text):
    vocab = vocab_of("abcdefghijklmnopqrstuvwxyz \"'-.,", min_count=1)
    assert len(vocab.with_stand_ins(text)) == len(text)

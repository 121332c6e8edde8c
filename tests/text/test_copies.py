"""The share of a text that its training text has as well: documents and long passages."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from charrnn.text import copies
from charrnn.text.copies import (
    LONG_COPY,
    find_repeats,
    read_known_passages,
    trained_share,
)
from charrnn.text.vocab import Vocab

LINES = SimpleNamespace(end_id=0)
RUNNING = SimpleNamespace(end_id=None)


def random_text(num_chars, seed=0):
    return "".join(random.Random(seed).choices("abcdefgh \n", k=num_chars))


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("slice_chars", [1, 7, 1 << 20])
def test_equal_documents_are_counted(monkeypatch, slice_chars, as_bytes):
    """The end of one and a longer one are no copies; each of equal ones counts."""
    monkeypatch.setattr(copies, "BLOCK_CHARS", slice_chars)
    training, held_out = "anna\0bob\0carl\0", "bob\0bo\0bob\0anna b\0"
    if as_bytes:
        training, held_out = training.encode(), held_out.encode()
    assert trained_share(held_out, training=training, config=LINES) == 0.5


@pytest.mark.parametrize("block_chars", [pytest.param(1, marks=pytest.mark.slow), 150, 1 << 16])
def test_characters_of_long_passages_are_counted(monkeypatch, block_chars):
    monkeypatch.setattr(copies, "BLOCK_CHARS", block_chars)
    training, new = random_text(1_500), random_text(600, seed=1)
    for num_copied, expected in ((LONG_COPY - 1, 0), (LONG_COPY, LONG_COPY), (250, 250)):
        held_out = new[:300] + training[700 : 700 + num_copied] + "#" + new[300:]
        share = trained_share(held_out, training=training, config=RUNNING)
        assert share * len(held_out) == pytest.approx(expected, abs=4), "and a character by chance"


def test_a_long_text_is_searched_in_segments(monkeypatch):
    monkeypatch.setattr(copies, "MAX_SEGMENTS", 5)
    training = random_text(30_000)
    held_out = training[:15_000] + random_text(15_000, seed=1)
    assert trained_share(held_out, training=training, config=RUNNING) == pytest.approx(0.5, abs=0.1)


def test_a_text_shorter_than_a_passage_has_none():
    assert trained_share("abc", training="abc" * 99, config=RUNNING) == 0
    assert trained_share("a" * LONG_COPY, training="a" * LONG_COPY, config=RUNNING) == 1


def test_the_longest_passage_is_found_whatever_stands_nearer():
    """A window is compared with every equal one: a nearer one may end sooner."""
    sentence = "Seventeen copper kettles were counted by the night watchman before he slept. " * 2
    chorus = "na na na na, hey\n" * 8
    between = [random_text(400, seed=seed) for seed in range(4)]
    text = (
        f"{between[0]}{chorus}{sentence}{between[1]}{sentence[:60]}{between[2]}{sentence}{chorus}"
    )
    repeats = find_repeats(text + between[3], length=30)
    lengths = sorted(repeats[:, 1].tolist())
    assert lengths[-1] >= len(sentence)
    passages = [text[start : start + length] for start, length, *_ in repeats.tolist()]
    assert sum(chorus.strip() in passage for passage in passages) >= 2
    assert sum(sentence.strip() in passage for passage in passages) >= 2


def test_a_passage_is_equal_character_by_character(monkeypatch):
    """Two different passages may have the same hash."""
    monkeypatch.setattr(copies, "powers_of", lambda base, num: np.ones(num, np.uint64))
    text = "abcdefghij" * 3 + "-" + "jihgfedcba" * 3
    for start, length, place, _ in find_repeats(text, length=10).tolist():
        assert text[start : start + length] == text[place : place + length]


@pytest.mark.parametrize(
    ("before", "end_id", "expected"),
    [
        ("ann", 1, "a"),  # a name ends although it is one of the text
        ("ann", None, "\0a"),  # without documents it is a character like all others
        ("bob", 1, ""),
        ("bob", None, "\0"),
        ("bobann", 1, "a"),
        ("nan", 1, ""),
        ("an", 1, ""),
    ],
)
def test_a_passage_is_completed_by_what_follows_in_the_text_but_for_an_end(
    before, end_id, expected
):
    vocab = Vocab("char", ("", "\0", *"abno"))
    passages = read_known_passages(["anna\0bob\0ann\0"], 3, vocab=vocab, end_id=end_id)
    completes = passages([vocab.characters.index(character) for character in before])
    assert "".join(vocab.characters[index] for index in np.flatnonzero(completes)) == expected

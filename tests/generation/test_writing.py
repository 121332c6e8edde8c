"""Text from ids: cut where a stop string appears, and never sooner than that is certain; loops at
its end.

Tests `generation.generated_text`, too.
"""

from collections import deque

import pytest
from hand_built import vocab_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.generation import writing
from charrnn.generation.writing import (
    MIN_CHARS,
    Loop,
    TextInPieces,
    TextStream,
    WrittenText,
    as_wholes,
    find_loop,
    in_chunks,
    in_pieces,
    text_of,
)
from charrnn.text.vocab import Vocab

CHARS = vocab_of("abc\n")
BYTES = Vocab.of_bytes()
TEXTS = st.text(alphabet="abc\n", max_size=30)
STOPS = st.lists(st.text(alphabet="abc\n", min_size=1, max_size=4), max_size=3)


def cut(text, stops):
    """The text as it stands when, growing character by character, it first contains a stop
    string."""
    for length in range(len(text) + 1):
        found = [stop for stop in stops if text[:length].endswith(stop)]
        if found:
            return text[: length - max(map(len, found))]
    return text


def feed(vocab, text, stops):
    """What is released after each id and at the end, and the log-probabilities, which count the
    ids."""
    stream = TextStream(vocab, stops)
    released, logprobs = [], []
    for index, id in enumerate(vocab.encode(text).tolist()):
        if stream.is_done:
            break
        pieces = stream.feed(id, -float(index), 0.0)
        released.append(text_of(pieces))
        logprobs += [piece.logprob for piece in pieces]
    if not stream.is_done:
        pieces = stream.finish()
        released.append(text_of(pieces))
        logprobs += [piece.logprob for piece in pieces]
    return released, logprobs


def test_an_end_is_awaited_only_among_documents():
    assert TextStream(CHARS, []).has_ended is None
    assert TextStream(CHARS, [], end_id=3).has_ended is False


@given(TEXTS, STOPS, st.sampled_from([CHARS, BYTES]))
@settings(max_examples=100)
@example("aab", ["ab"], CHARS)
@example("abac", ["abab", "c"], CHARS)
@example("bca", ["bc", "abc"], BYTES)
def test_a_text_ends_where_a_stop_string_appears(text, stops, vocab):
    released, logprobs = feed(vocab, text, stops)
    expected = cut(text, stops)
    assert "".join(released) == expected
    assert logprobs == [-float(index) for index in range(len(expected))]


@given(TEXTS, STOPS)
@settings(max_examples=100)
def test_only_text_that_may_begin_a_stop_string_is_held_back(text, stops):
    released, _ = feed(CHARS, text, stops)
    for index in range(min(len(text), len(released) - 1)):
        held = text[len("".join(released[: index + 1])) : index + 1]
        assert not held or any(stop.startswith(held) for stop in stops)
        assert not any(
            text[: index + 1].endswith(stop[:n])
            for stop in stops
            for n in range(len(held) + 1, len(stop))
        )


@given(st.binary(max_size=40))
@settings(max_examples=100)
@example("é€🙂".encode()[:-1])
@example(b"\xe2a\xe2\x82")
def test_bytes_are_spelled_as_utf_8_each_with_its_own_log_probability(data):
    stream = TextStream(BYTES, ())
    pieces = [
        piece for index, byte in enumerate(data) for piece in stream.feed(byte, -float(index), 0.0)
    ]
    pieces += stream.finish()
    assert text_of(pieces) == data.decode("utf-8", "replace")
    assert [piece.logprob for piece in pieces] == [-float(index) for index in range(len(data))]


def grow(text, characters, size, vocab):
    """Give the ids of some characters to a text in blocks, until it has ended; yield it after each
    block."""
    ids = vocab.encode(characters).tolist()
    for begin in range(0, len(ids), size):
        part = ids[begin : begin + size]
        text.add(part, [-float(id) for id in part], [0.5] * len(part))
        yield text
        if text.is_done:
            break


@pytest.mark.parametrize("vocab", [CHARS, BYTES])
@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("stops", [(), ("bb",), ("c\na",)])
def test_pieces_chunks_and_whole_texts_say_the_same(vocab, size, stops):
    texts = ["abcabbcac", "cccc\naaaa", "aaaaabbbb"]
    for characters in texts:
        expected = cut(characters, stops)
        text = TextInPieces(TextStream(vocab, stops), seed=0, length=9)
        pieces = list(in_pieces(grow(text, characters, size, vocab), text))
        text = WrittenText(TextStream(vocab, stops), seed=0, length=9)
        chunks = list(in_chunks(grow(text, characters, size, vocab), text))
        text = WrittenText(TextStream(vocab, stops), seed=0, length=9)
        [found] = as_wholes(grow(text, characters, size, vocab), deque([text]))

        assert found.text == text_of(pieces) == "".join(chunks) == expected
        assert found.stop == ("" if expected == characters else stops[0])
        assert found.logprobs == tuple(piece.logprob for piece in pieces)
        assert {piece.value for piece in pieces} <= {0.5}


@pytest.mark.parametrize("kind", [TextInPieces, WrittenText])
def test_nothing_more_is_drawn_when_the_text_has_ended(kind):
    text = kind(TextStream(CHARS, ("bb",)), seed=0, length=20)
    assert len(list(grow(text, 5 * "cabb", 2, CHARS))) == 2


def test_a_text_waits_for_the_texts_before_it():
    first = WrittenText(TextStream(CHARS, ()), seed=0, length=3)
    second = WrittenText(TextStream(CHARS, ()), seed=1, length=3)

    def grown():
        yield from grow(second, "bbb", 3, CHARS)
        yield from grow(first, "aaa", 1, CHARS)

    begun = deque([first, second])
    assert [text.text for text in as_wholes(grown(), begun)] == ["aaa", "bbb"]


def naive_loop(text):
    for after in range(min(writing.MAX_AFTER, len(text) - 1) + 1):
        end = len(text) - after
        for period in range(1, end):
            repeats = 1
            while (
                text[end - period : end]
                == text[end - period * (repeats + 1) : end - period * repeats]
            ):
                repeats += 1
            if repeats >= writing.MIN_REPEATS and period * repeats >= MIN_CHARS:
                return Loop(period, repeats, after)
    return None


@settings(max_examples=100)
@given(
    start=st.text("ab", max_size=20),
    word=st.text("ab", min_size=1, max_size=14),
    repeats=st.integers(1, 40),
    kept=st.integers(0, 14),
    end=st.text("abc", max_size=12),
)
@example(start="", word="a", repeats=29, kept=0, end="")
@example(start="", word="and the man of the ", repeats=5, kept=10, end="")
@example(start="", word="ab" * 20 + "c", repeats=3, kept=0, end="")
@example(start="with that ", word="with that that ", repeats=3, kept=8, end="e ")
def test_a_loop_is_what_trying_every_period_finds(start, word, repeats, kept, end):
    text = start + word * repeats + word[:kept] + end
    assert find_loop(text) == naive_loop(text)
    assert find_loop([ord(character) for character in text]) == find_loop(text)

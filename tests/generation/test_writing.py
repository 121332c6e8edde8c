"""Text from ids: cut where a stop string appears, and never sooner than that is certain; loops at
its end.

Tests `generation.generated_text`, too.
"""

import numpy as np
import pytest
from hand_built import vocab_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.generation import writing
from charrnn.generation.sampling import Block
from charrnn.generation.writing import (
    MIN_CHARS,
    Loop,
    TextStream,
    WrittenText,
    find_loop,
    text_of,
    write_chunks,
    write_text,
    write_whole,
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


def blocks_of(texts, vocab, size):
    ids = np.stack([vocab.encode(text).astype(np.int64) for text in texts])
    cuts = range(0, ids.shape[1], size)
    return [
        Block(part, -part.astype(np.float64), np.full(part.shape, 0.5, np.float32))
        for part in (ids[:, begin : begin + size] for begin in cuts)
    ]


@pytest.mark.parametrize("vocab", [CHARS, BYTES])
@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("stops", [(), ("bb",), ("c\na",)])
def test_chunks_pieces_and_many_texts_at_once_say_the_same(vocab, size, stops):
    texts = ["abcabbcac", "cccc\naaaa", "aaaaabbbb"]
    for text in texts:
        written = WrittenText(TextStream(vocab, stops), seed=0, length=len(text.encode()))
        found = write_whole(iter(blocks_of([text], vocab, size)), written)
        blocks = blocks_of([text], vocab, size)
        expected = cut(text, stops)
        pieces = list(write_text(iter(blocks), TextStream(vocab, stops)))
        assert found.text == text_of(pieces) == expected
        assert found.stop == ("" if expected == text else stops[0])
        assert found.logprobs == tuple(piece.logprob for piece in pieces)
        assert "".join(write_chunks(iter(blocks), TextStream(vocab, stops))) == expected
        assert {piece.value for piece in pieces} <= {0.5}


def test_nothing_more_is_drawn_when_the_text_has_ended():
    drawn = []

    def blocks(*texts):
        drawn.clear()
        for block in blocks_of([text * 5 for text in texts], CHARS, 2):
            drawn.append(block)
            yield block

    def stream():
        return TextStream(CHARS, ("bb",))

    write_whole(blocks("cabb"), WrittenText(stream(), seed=0, length=20))
    assert len(drawn) == 2
    for write in (write_text, write_chunks):
        list(write(blocks("cabb"), stream()))
        assert len(drawn) == 2


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

"""Text from ids: cut where a stop string appears, and never sooner than that is certain.

Tests `generation.generated_text`, too.
"""

import pytest
from hand_built import mask_of, vocab_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.generation.rules import Rules
from charrnn.generation.writing import Ending, WrittenText, text_of
from charrnn.text.vocab import Vocab

CHARS = vocab_of("abc\n")
BYTES = Vocab.of_bytes()
TEXTS = st.text(alphabet="abc\n", max_size=30)
STOPS = st.lists(st.text(alphabet="abc\n", min_size=1, max_size=4), max_size=3)


def empty_text(vocab, *, length, stops=(), end_id=None):
    """A text of which no id is known yet."""
    ending = Ending(
        length=length,
        rules=Rules.of(mask_of((), len(vocab))),
        end_id=end_id,
        stops=[tuple(vocab.encode(stop).tolist()) for stop in stops],
    )
    return WrittenText(vocab, ending)


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
    drawn = empty_text(vocab, stops=stops, length=len(text) + 1)
    released, logprobs = [], []
    ids = vocab.encode(text).tolist()

    def grow():
        for index, id in enumerate(ids):
            if drawn.is_done:
                break
            drawn.add([id], [-float(index)], [0.0])
            yield drawn
        if not drawn.is_done:
            drawn.end()
            yield drawn

    for _ in grow():
        pieces = drawn.take_pieces()
        released.append(text_of(pieces))
        logprobs += [piece.logprob for piece in pieces]
    return released, logprobs


def test_an_end_is_awaited_only_among_documents():
    assert empty_text(CHARS, length=1).result().has_ended is None
    assert empty_text(CHARS, length=1, end_id=3).result().has_ended is False


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
    drawn = empty_text(BYTES, length=len(data))
    pieces = []
    for index, byte in enumerate(data):
        drawn.add([byte], [-float(index)], [0.0])
        pieces += drawn.take_pieces()
    assert text_of(pieces) == data.decode("utf-8", "replace")
    assert [piece.logprob for piece in pieces] == [-float(index) for index in range(len(data))]


def test_the_bytes_of_a_stop_string_have_no_log_probability_in_the_text():
    text = empty_text(BYTES, length=20, stops=["€"])
    for byte in "né€".encode():
        text.add([byte], [-float(byte)], [0.0])
    found = text.result()
    assert (found.text, found.stop) == ("né", "€")
    assert found.logprobs == tuple(-float(byte) for byte in "né".encode())


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
    for characters in ("abcabbcac", "cccc\naaaa", "aaaaabbbb"):
        expected = cut(characters, stops)
        texts = [empty_text(vocab, stops=stops, length=9) for _ in range(3)]
        pieces = []
        for text in grow(texts[0], characters, size, vocab):
            pieces += text.take_pieces()
        chunks = [text.take_text() for text in grow(texts[1], characters, size, vocab)]
        [*_, text] = grow(texts[2], characters, size, vocab)
        found = text.result()

        assert found.text == text_of(pieces) == "".join(chunks) == expected
        assert found.stop == ("" if expected == characters else stops[0])
        assert found.logprobs == tuple(piece.logprob for piece in pieces)
        assert {piece.value for piece in pieces} <= {0.5}


def test_nothing_more_is_drawn_when_the_text_has_ended():
    text = empty_text(CHARS, stops=["bb"], length=20)
    assert len(list(grow(text, 5 * "cabb", 2, CHARS))) == 2


def test_a_document_ends_within_a_block_with_the_log_probability_of_its_end():
    text = empty_text(CHARS, length=20, end_id=3)
    text.add([1, 2, 3, 1], [-1.0, -2.0, -3.0, -4.0], [0.0] * 4)
    found = text.result()
    assert (found.text, found.logprobs) == (CHARS.decode([1, 2]), (-1.0, -2.0, -3.0))
    assert (text.is_done, found.has_ended, found.is_cut) == (True, True, False)

"""A text as a model reads it: what it consists of, its parts, and what it refuses to be."""

import pytest
from hand_built import vocab_of

from charrnn.errors import DataError, UsageError
from charrnn.text.vocab import encode_text

VOCAB = vocab_of("abcd")


def ids_of(text):
    return text.ids.tolist()


def test_a_text_stands_behind_its_context_and_unknown_characters_are_decoded_as_such():
    text = encode_text(VOCAB, "cÄa", "ab")
    assert (ids_of(text), text.first, text.text, text.kind, len(text)) == (
        [1, 2, 3, 0, 1],
        2,
        "c\ufffda",
        "char",
        3,
    )


@pytest.mark.parametrize(
    ("begin", "end", "ids", "first", "decoded"),
    [
        (1, 3, [1, 1, 2, 3], 2, "bc"),
        (2, 99, [1, 1, 2, 3, 4], 3, "cd"),
        (-1, None, [1, 1, 2, 3, 4], 4, "d"),
        (3, 1, [1, 1, 2, 3], 4, ""),
    ],
)
def test_a_part_has_everything_before_it_as_its_context(begin, end, ids, first, decoded):
    part = encode_text(VOCAB, "abcd", "a").part(begin, end)
    assert (ids_of(part), part.first, part.text, part.kind) == (ids, first, decoded, "char")


@pytest.mark.parametrize(("text", "context"), [(b"ab", ""), ("ab", b"ab")])
def test_bytes_are_refused_where_characters_are_read(text, context):
    with pytest.raises(
        UsageError, match=r"^This model reads characters, and the text is given as bytes"
    ):
        encode_text(VOCAB, text, context)
    assert len(encode_text(VOCAB, "ab", b"")) == 2
    with pytest.raises(DataError, match=r"^The text is empty"):
        encode_text(VOCAB, "", "abc")

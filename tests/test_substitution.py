"""What a model reads in place of characters that it does not know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.apps.write.assistant import Substitution, read_as_known
from charrnn.text.vocab import Vocab

ASCII = Vocab("char", ("", "\n", *map(chr, range(32, 127)), "é"))
BYTES = Vocab.of_bytes()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("“Don’t,” she said—‘no’…", "\"Don't,\" she said-'no'..."),
        ("a\u00a0b\u202fc\u2009d", "a b c d"),
        ("soft\u00adhyphen, zero\u200bwidth\ufeff", "softhyphen, zerowidth"),
        ("cafe\u0301 ﬁne œuvre", "cafe fine oeuvre"),
    ],
)
def test_what_word_processors_write_is_read(text: str, read: str) -> None:
    assert ASCII.decode(read_as_known(ASCII, text).ids) == read
    assert bytes(read_as_known(BYTES, text).ids.tolist()) == text.encode(), "every byte is known"


def test_they_are_counted_and_left_out_without_an_unknown_symbol() -> None:
    read = read_as_known(ASCII, "“a” “b” 語\u00ad\u00ad")
    counts = [("“", '"', 2), ("”", '"', 2), ("\u00ad", "", 2), ("語", "語", 1)]
    assert read.substitutions == tuple(Substitution(*count) for count in counts)
    assert read.ids.tolist().count(0) == 1
    assert read_as_known(ASCII, "plain text, é\n").substitutions == ()
    vocab = Vocab("char", ("a", "b"))
    read = read_as_known(vocab, "a語b")
    assert (vocab.decode(read.ids), read.offsets.tolist()) == ("ab", [0, 1, 1, 2])
    assert read.substitutions == (Substitution("語", "", 1),)


@given(st.text(alphabet="ab é’“…\u00ad\r\n\u2028e\u0301語\U0001f642\t\ud800", max_size=30))
@settings(max_examples=300, deadline=None)
def test_every_character_has_its_place(text: str) -> None:
    for vocab in (ASCII, BYTES):
        read = read_as_known(vocab, text)
        assert read.offsets[0] == 0 and read.offsets[-1] == len(read.ids)
        assert (np.diff(read.offsets) >= 0).all() and len(read.offsets) == len(text) + 1
        for place, character in enumerate(text):
            first, last = read.offsets[place : place + 2].tolist()
            if not vocab.unknown_characters(character):
                assert read.ids[first:last].tolist() == vocab.encode(character).tolist()

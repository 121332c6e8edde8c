"""What a model reads in place of characters that it does not know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.apps.write import substitution
from charrnn.apps.write.known_bytes import known_characters
from charrnn.apps.write.substitution import CachedReading, KnownCharacters, ReadText, Substitution, read_as_known
from charrnn.text.vocab import Vocab

ASCII = KnownCharacters(Vocab("char", ("", "\n", *map(chr, range(32, 127)), "é")))
BYTES = KnownCharacters(Vocab.of_bytes(), "\r\n", frozenset({0x0B, 0x0C, *range(0x80, 0x100)} - {0xC3, 0xA9}))


def as_text(known: KnownCharacters, text: str) -> str:
    return known.vocab.decode(read_as_known(known, text).ids)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("“Don’t,” she said—‘no’…", "\"Don't,\" she said-'no'..."),
        ("a\u00a0b\u202fc\u2009d", "a b c d"),
        ("one\r\ntwo\rthree\u2028four\u2029five\x0bsix\x0cseven", "one\ntwo\nthree\nfour\nfive\nsix\nseven"),
        ("soft\u00adhyphen, zero\u200bwidth\ufeff", "softhyphen, zerowidth"),
        ("cafe\u0301 nai\u0308ve", "café naive"),
        ("ﬁne œuvre", "fine oeuvre"),
    ],
)
def test_what_word_processors_write_is_read(text: str, read: str) -> None:
    assert as_text(ASCII, text) == read
    assert as_text(BYTES, text) == read.replace("\n", "\r\n")


def test_what_is_known_is_read_as_it_is() -> None:
    read = read_as_known(ASCII, "plain text, é\n")
    assert (read.substitutions, read.unknown, read.num_substituted) == ((), (), 0)
    assert read.offsets.tolist() == list(range(15))


def test_double_quotes_are_single_ones_where_there_are_no_others() -> None:
    known = KnownCharacters(Vocab("char", ("", "'", "a")))
    assert as_text(known, '“a" ‘a’') == "'a'�'a'"


def test_they_are_counted() -> None:
    read = read_as_known(ASCII, "“a” “b” 語\u00ad\u00ad")
    assert read.substitutions == (
        Substitution("“", '"', 2),
        Substitution("”", '"', 2),
        Substitution("\u00ad", "", 2),
    )
    assert read.unknown == (Substitution("語", "語", 1),)
    assert read.num_substituted == 7
    assert read.ids.tolist().count(0) == 1


def test_without_an_unknown_symbol_they_are_left_out() -> None:
    known = KnownCharacters(Vocab("char", ("a", "b")))
    read = read_as_known(known, "a語b")
    assert (known.vocab.decode(read.ids), read.offsets.tolist()) == ("ab", [0, 1, 1, 2])
    assert read.unknown == (Substitution("語", "", 1),)


def test_bytes_that_nothing_replaces_are_read_as_they_are() -> None:
    read = read_as_known(BYTES, "é語\n")
    assert bytes(read.ids.tolist()) == "é語\r\n".encode()
    assert read.unknown == (Substitution("語", "語", 1),)
    assert read.substitutions == (), "the model's own line end is none"
    assert read.offsets.tolist() == [0, 2, 5, 7]
    read = read_as_known(BYTES, "\ud800a")
    assert read.offsets.tolist() == [0, 3, 4] and bytes(read.ids.tolist()) == b"\xed\xa0\x80a"


@given(st.text(alphabet="ab é’“…\u00ad\r\n\u2028e\u0301語\U0001f642\t", max_size=30), st.sampled_from([ASCII, BYTES]))
@settings(max_examples=300, deadline=None)
def test_every_character_has_its_place(text: str, known: KnownCharacters) -> None:
    read = read_as_known(known, text)
    assert read.offsets[0] == 0 and read.offsets[-1] == len(read.ids)
    assert (np.diff(read.offsets) >= 0).all() and len(read.offsets) == len(text) + 1
    known_ones = [place for place, character in enumerate(text) if character in "ab "]
    for place in known_ones:
        first, last = read.offsets[place : place + 2].tolist()
        assert read.ids[first:last].tolist() == known.vocab.encode(text[place]).tolist()


@given(st.lists(st.text(alphabet="ab é’“\u00ad\r\u2028e\u0301語", max_size=5), max_size=9), st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_a_part_that_was_read_before_is_not_read_again(lines: list[str], place: int) -> None:
    """Whatever changes, the result is that of reading the whole text."""
    text = "\n".join(lines)
    changed = text[:place] + "é\n“" + text[place:]
    for known in (ASCII, BYTES):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(substitution, "PART_LINES", 2)
            reading = CachedReading(known)
            for one in (text, changed, text[:place]):
                read, expected = reading.read(one), read_as_known(known, one)
                assert read.ids.tolist() == expected.ids.tolist()
                assert read.offsets.tolist() == expected.offsets.tolist()
                assert set(read.substitutions) == set(expected.substitutions)
                assert set(read.unknown) == set(expected.unknown)


def test_after_a_change_little_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"“line {number}”\n" for number in range(2_000))
    num_read = 0

    def count(known: KnownCharacters, part: str) -> ReadText:
        nonlocal num_read
        num_read += len(part)
        return read_as_known(known, part)

    monkeypatch.setattr(substitution, "read_as_known", count)
    reading = CachedReading(ASCII)
    reading.read(text)
    assert num_read == len(text)
    reading.read("x" + text + "y")
    assert num_read < 1.3 * len(text)


class Speaker:
    """Stands for a stepper whose model writes a text over and over, and believes in it."""

    def __init__(self, data: bytes, vocab_size: int = 256) -> None:
        self.data, self.vocab_size = data, vocab_size

    def read(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._logits(0), np.zeros(1)

    def step(self, ids: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = int(state[0]) + 1
        return self._logits(place), np.full(1, place)

    def _logits(self, place: int) -> np.ndarray:
        logits = np.zeros((1, self.vocab_size), np.float32)
        logits[0, self.data[place % len(self.data)]] = 20
        return logits


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_a_byte_model_has_learned_is_seen_from_what_it_writes(newline: str) -> None:
    stepper = Speaker(f"An été, said he.{newline}".encode())
    known = known_characters(stepper, Vocab.of_bytes())  # type: ignore[arg-type]
    assert known.newline == newline
    assert known.knows("été") and known.knows("plain ~") and not known.knows("“") and not known.knows("語")


def test_a_model_of_characters_knows_its_alphabet(alphabet_run: Path) -> None:
    import charrnn

    known = charrnn.load(alphabet_run).assistant.known
    assert known.knows("abc\n") and not known.knows("A")

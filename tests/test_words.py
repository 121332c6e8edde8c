"""Words and classes of characters: any script, bytes as characters, and the same words however a text is cut.

Shapes: N characters.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from charrnn.evaluation.breakdown import CLASSES
from charrnn.lab import error_kinds as words_module
from charrnn.lab.error_kinds import class_of, count_words, read_block
from charrnn.text.vocab import Vocab

TEXT = "It's 'so', I say: don't!\nA num_lines x1 … “Oh”—naïve, नमस्ते Ω; 'tis th' end'"
WORDS = ["It's", "so", "I", "say", "don't", "A", "num_lines", "x1", "Oh", "naïve", "नमस्ते", "Ω", "tis", "th", "end"]


def vocab_of(text: str) -> Vocab:
    return Vocab("char", ("", *sorted(set(text))))


def words_of(text: str | bytes, vocab: Vocab) -> list[str]:
    block = read_block(vocab.encode(text), vocab, 0, len(text))
    return [block.text[begin:end] for begin, end in block.words()]


@pytest.mark.parametrize(
    ("characters", "expected"),
    [
        ("aéЖ中ि9²_\udcff", "w"),
        ("", "w"),
        ("\n\r\x0b\x0c\x1e\u2028\0", "n"),
        (" \t\u00a0\u3000", "s"),
        ('"“”«»„「』‘', "q"),
        (".,;:!?-—()[]{}<>=+$%&*/\\|~^…、。", "p"),
        ("'’", "a"),
        ("\x01\u200b\ue000", "o"),
    ],
)
def test_every_character_has_a_class(characters: str, expected: str) -> None:
    for character in characters or ("",):
        assert class_of(character) == expected, repr(character)


def test_every_class_of_the_loss_by_class_is_one_of_these() -> None:
    assert set(words_module._CLASS_OF) == set(CLASSES)


def test_words_are_letters_marks_digits_and_inner_apostrophes_of_any_script() -> None:
    assert words_of(TEXT, vocab_of(TEXT)) == WORDS


def test_bytes_are_words_of_the_characters_they_encode() -> None:
    encoded = TEXT.encode()
    assert [word.encode("latin-1").decode() for word in words_of(encoded, Vocab.of_bytes())] == WORDS


def test_a_block_is_clipped_to_the_text_and_the_unknown_symbol_is_part_of_a_word() -> None:
    assert words_of("naïve at", vocab_of("nave t")) == ["na\ufffdve", "at"]
    block = read_block(Vocab.of_bytes().encode("a”b’c’ ".encode()), Vocab.of_bytes(), 0, 100)
    assert block.classes == "wqqqwwwwwqqqs", "every byte of a quotation mark has its class"
    vocab = vocab_of("abc ")
    block = read_block(vocab.encode("ab c"), vocab, -5, 99)
    assert (block.begin, block.text, len(block.classes)) == (0, "ab c", 4)
    assert read_block(vocab.encode("ab c"), vocab, 1, 3).text == "b "


@pytest.mark.parametrize("kind", ["char", "byte"])
@pytest.mark.parametrize("block_chars", [8, 64, 1 << 20])
def test_counts_are_those_of_a_regular_expression(kind: str, block_chars: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_module, "DECODED_CHARS", block_chars)
    generator = np.random.default_rng(3)
    # Words of at most three characters and single spaces: no half block of 8 is without a space.
    pieces = ["a", "b", "ab", "ba", "a'b", "é", "bé", "12"]
    text = " ".join(generator.choice(pieces, 400)) + generator.choice([" ", ""])
    vocab = Vocab.of_bytes() if kind == "byte" else vocab_of(text)
    if kind == "byte" and block_chars == 8:
        text = text.replace("é", "c")
    expected = Counter(re.findall(r"\w+(?:'\w+)*", text))
    wanted = {word: index for index, word in enumerate([*expected, "zz"])}
    keys = {word.encode().decode("latin-1") if kind == "byte" else word: index for word, index in wanted.items()}
    ids = vocab.encode(text.encode() if kind == "byte" else text)
    counts = count_words(ids, vocab, keys)
    assert counts.tolist() == [expected[word] for word in wanted]

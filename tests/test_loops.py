"""Loops: the smallest period that a text ends in, as looking for every one of them finds it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.evaluation.loops import MIN_CHARS, MIN_REPEATS, Loop, find_loop


def naive_loop(text: str) -> Loop | None:
    for period in range(1, len(text)):
        repeats = 1
        while text[-period:] == text[len(text) - period * (repeats + 1) : len(text) - period * repeats]:
            repeats += 1
        if repeats >= MIN_REPEATS and period * repeats >= MIN_CHARS:
            return Loop(period, repeats)
    return None


@settings(max_examples=300)
@given(
    start=st.text("ab", max_size=20),
    word=st.text("ab", min_size=1, max_size=14),
    repeats=st.integers(1, 40),
    kept=st.integers(0, 14),
    end=st.text("ab", max_size=2),
)
def test_it_finds_what_looking_everywhere_finds(start: str, word: str, repeats: int, kept: int, end: str) -> None:
    text = start + word * repeats + word[:kept] + end
    assert find_loop(text) == naive_loop(text)
    assert find_loop([ord(character) for character in text]) == find_loop(text)


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        ("", None),
        ("a" * 29, None),
        ("a" * 30, Loop(1, 30)),
        ("and the man of the " * 5 + "and the ma", Loop(19, 5)),
        ("and the man of the " * 5 + "end", None),
        (("ab" * 20 + "c") * 3, Loop(41, 3)),
    ],
)
def test_known_texts(text: str, loop: Loop | None) -> None:
    assert find_loop(text) == loop


@pytest.mark.parametrize("second", ["ab", "aab", "a" * 29 + "b"])
def test_texts_that_agree_with_themselves_everywhere(second: str) -> None:
    # Fibonacci's words: full of squares and cubes.
    shorter, text = "a", second
    while len(text) < 600:
        shorter, text = text, text + shorter
    for length in range(len(text)):
        assert find_loop(text[:length]) == naive_loop(text[:length])

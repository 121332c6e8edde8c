"""Loops at the end of a text: those that trying every period finds."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.generation.loops import MAX_AFTER, MIN_CHARS, MIN_REPEATS, Loop, find_loop


def naive_loop(text):
    for after in range(min(MAX_AFTER, len(text) - 1) + 1):
        end = len(text) - after
        for period in range(1, end):
            repeats = 1
            while (
                text[end - period : end]
                == text[end - period * (repeats + 1) : end - period * repeats]
            ):
                repeats += 1
            if repeats >= MIN_REPEATS and period * repeats >= MIN_CHARS:
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

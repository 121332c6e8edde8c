"""Seen n-grams: exactly those characters are forbidden that would complete one for the second time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from charrnn.generation.beam import SeenNgrams

V = 3


def forbidden(text: list[int], n: int) -> list[int]:
    """The characters after a text that would repeat an n-gram, by looking everywhere."""
    ngrams = {tuple(text[place : place + n]) for place in range(len(text) - n + 1)}
    return [char for char in range(V) if (*text[len(text) - n + 1 :], char) in ngrams]


def forbidden_by(seen: SeenNgrams, num_texts: int) -> list[list[int]]:
    logprobs = np.zeros((num_texts, V))
    seen.forbid(logprobs)
    assert set(logprobs.ravel()) <= {0.0, -np.inf}
    return [np.flatnonzero(row).tolist() for row in logprobs]


@given(
    before=st.lists(st.integers(0, V - 1), min_size=1, max_size=12),
    growth=st.lists(st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, V - 1))] * 3), max_size=12),
    n=st.integers(1, 7),
)
def test_what_repeats_is_forbidden(
    before: list[int], growth: list[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]], n: int
) -> None:
    texts = [before] * 3
    seen = SeenNgrams(n, np.array(before, np.uint16), 3)
    assert forbidden_by(seen, 3) == [forbidden(text, n) for text in texts]
    for steps in growth:
        texts = [[*texts[parent], char] for parent, char in steps]
        seen.grow(np.array([parent for parent, _ in steps]), np.array([char for _, char in steps]))
        assert forbidden_by(seen, 3) == [forbidden(text, n) for text in texts]


def test_texts_may_be_dropped_and_multiplied() -> None:
    seen = SeenNgrams(2, np.array([0, 1]), 1)
    seen.grow(np.array([0, 0, 0]), np.array([0, 1, 2]))
    assert forbidden_by(seen, 3) == [[1], [1], []]
    seen.grow(np.array([1]), np.array([2]))
    assert forbidden_by(seen, 1) == [[]]

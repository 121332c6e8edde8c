"""The pieces of a text that are held back: spread over the text, and whole documents."""

import numpy as np
import pytest

from charrnn.text.pieces import (
    held_back_pieces,
    num_in,
    with_surroundings,
    without_pieces,
)


def documents_of(*lengths):
    """Ids of documents of these lengths, END (0) included."""
    return np.concatenate([np.append(np.ones(length - 1, np.uint8), 0) for length in lengths])


def test_ten_pieces_lie_in_the_middle_of_ten_parts():
    pieces = held_back_pieces(np.ones(1_000, np.uint8), 100, None)
    assert pieces == tuple(slice(begin, begin + 10) for begin in range(45, 1_000, 100))


@pytest.mark.parametrize("num_chars", [0, 1, 9, 101, 997, 2_000])
def test_the_pieces_have_the_characters_that_are_asked_for(num_chars):
    ids = np.arange(997)
    pieces = held_back_pieces(ids, num_chars, None)
    assert num_in(pieces) == min(num_chars, 997)
    assert len(without_pieces(ids, pieces, begin=0)) == 997 - num_in(pieces)
    assert without_pieces(ids, pieces, begin=990).tolist() == [
        index for index in range(990, 997) if not any(p.start <= index < p.stop for p in pieces)
    ]


def test_surroundings_stand_on_both_sides_of_a_piece_and_end_with_the_text():
    pieces = (slice(2, 5), slice(20, 30), slice(95, 99))
    wide = with_surroundings(pieces, num_chars=3)
    assert wide == (slice(0, 8), slice(17, 33), slice(92, 102))
    left = without_pieces(np.arange(100), wide, begin=0).tolist()
    assert left == [*range(8, 17), *range(33, 92)]


@pytest.mark.parametrize(
    "lengths, num_chars, expected",
    [
        ([10] * 100, 100, [(start, start + 10) for start in range(50, 1_000, 100)]),
        ([10] * 100, 95, [(start, start + 10) for start in range(50, 1_000, 100)]),
        # Three documents of 60 characters instead of ten.
        ([60] * 20, 100, [(240, 300), (600, 660), (1_020, 1_080)]),
        # The beginning, where even two documents would be more than twice as many characters.
        ([300, 300, 300], 100, [(0, 300)]),
        ([30, 600, 300], 100, [(0, 630)]),
    ],
)
def test_pieces_of_documents_are_whole_documents(lengths, num_chars, expected):
    pieces = held_back_pieces(documents_of(*lengths), num_chars, 0)
    assert [(piece.start, piece.stop) for piece in pieces] == expected


def test_documents_of_any_lengths_are_held_back_as_a_whole_and_once():
    rng = np.random.default_rng(5)
    for _ in range(200):
        ids = documents_of(*rng.integers(1, rng.integers(3, 400), rng.integers(1, 60)))
        pieces = held_back_pieces(ids, int(rng.integers(1, len(ids) + 1)), 0)
        borders = [0, *(np.flatnonzero(ids == 0) + 1).tolist()]
        edges = [edge for piece in pieces for edge in (piece.start, piece.stop)]
        assert edges == sorted(edges) and set(edges) <= set(borders) and edges

"""How far back predictions reach: which characters close what, against a naive loop. N characters,
P pairs."""

import numpy as np
import pytest

from charrnn.reports import long_range
from charrnn.reports.long_range import MAX_DISTANCE, find_pairs, report_closings
from charrnn.text.vocab import Vocab


def pairs_of(text, first=0):
    """Return the pairs that are closed in text[first:]."""
    vocab = Vocab("char", ("", *sorted(set(text))))
    pairs = find_pairs(vocab.encode(text), vocab, np.arange(first, len(text)))
    assert pairs.closings == "".join(text[place] for place in pairs.closed)
    return list(zip(pairs.opened.tolist(), pairs.closed.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(a [b) c]", [(0, 5), (3, 8)]),
        ('"a\n \t\n"b" c', [(6, 8)]),
        ('"a\nb"', [(0, 4)]),
        ("“a” „b“ “c”", [(0, 2), (4, 6), (8, 10)]),
        ("„a” “b", [(0, 2)]),
        ("“a\n\n“b”", [(4, 6)]),
        ("”a“", []),
        ("«a» »b«", [(0, 2), (4, 6)]),
        ("don't 'a'", []),
        ("「a」『b』（c）【d】《e》", [(0, 2), (3, 5), (6, 8), (9, 11), (12, 14)]),
    ],
)
def test_pairs(text, expected):
    assert pairs_of(text) == expected


def test_only_pairs_that_close_at_scored_characters_count():
    text = "(a) (b) (c)"
    vocab = Vocab("char", ("", *sorted(set(text))))
    pairs = find_pairs(vocab.encode(text), vocab, np.array([2, 3, 10]))
    assert (pairs.closed.tolist(), pairs.distances.tolist()) == ([2, 10], [2, 2])
    # Of bytes, only ASCII characters are found.
    text = '(“a”) «b» "ë" „ª“'  # ë is 0xC3 0xAB, whose second byte is « in Latin-1
    vocab = Vocab.of_bytes()
    pairs = find_pairs(vocab.encode(text.encode()), vocab, np.arange(len(text.encode())))
    assert pairs.closings == ')"'


@pytest.mark.parametrize("distance", [MAX_DISTANCE, MAX_DISTANCE + 1])
@pytest.mark.parametrize("first", [0, MAX_DISTANCE + 5])
def test_pairs_too_far_apart_are_left_out(distance, first):
    assert len(pairs_of("." * 10 + "(" + "." * (distance - 1) + ")", first)) == (
        distance <= MAX_DISTANCE
    )


@pytest.mark.parametrize(
    ("history", "expected"), [('a" b\n\n"c"', 1), ('a", "c"', 1), ('a"-"c"', 0)]
)
def test_after_a_cut_ambiguous_quotation_marks_are_ignored(history, expected):
    # Too far back to know whether the mark opens or closes: a blank line or a mark after a space
    # tells.
    text = '"' + "." * (2 * MAX_DISTANCE) + history
    assert len(pairs_of(text, first=len(text) - 8)) == expected


@pytest.mark.parametrize("block_chars", [1, 7, 1 << 18])
def test_pairs_do_not_depend_on_the_blocks(block_chars, monkeypatch):
    text = "".join(
        np.random.default_rng(4).choice([*"()[]{}ab \n", '"', "“", "”", "\n\n", "\0"], 900)
    )
    expected = naive_pairs(text)
    monkeypatch.setattr(long_range, "BLOCK_CHARS", block_chars)
    found = pairs_of(text)
    assert len(found) > 30 and found == expected


def naive_pairs(text):
    """Find the pairs of `()[]{}`, `"` and `“”` with one list of open characters."""
    opened = []
    found = []
    for place, character in enumerate(text):
        if character == "\0":
            opened = []
        elif character == "\n" and text[:place].rstrip(" \t\r").endswith("\n"):
            opened = [one for one in opened if one[0] not in '"“']
        opener = {")": "(", "]": "[", "}": "{", '"': '"', "”": "“"}.get(character)
        matching = [one for one in opened if one[0] == opener]
        if matching:
            opened.remove(matching[-1])
            found.append((matching[-1][1], place))
        elif character in '([{"“':
            opened.append((character, place))
    return found


def test_probabilities_are_averaged_by_character_and_distance():
    text = "(a) (bcd) [e] " + "(" + "." * 9 + ")"
    vocab = Vocab("char", ("", *sorted(set(text))))
    pairs = find_pairs(vocab.encode(text), vocab, np.arange(len(text)))
    assert pairs.distances.tolist() == [2, 4, 2, 10]
    model, ngram = np.array([0.5, 0.25, 0.75, 0.125]), np.array([0.0, 1.0, 0.5, 0.25])
    round_ones, square_ones = report_closings(pairs, [model, ngram])
    assert (
        round_ones.closing,
        round_ones.num_pairs,
        square_ones.closing,
        square_ones.num_pairs,
    ) == (")", 3, "]", 1)
    assert [(one.low, one.high, one.num_pairs) for one in round_ones.bins] == [
        (1, 3, 1),
        (4, 7, 1),
        (8, 15, 1),
    ]
    assert [[one.mean for one in some.probabilities] for some in round_ones.bins] == [
        [0.5, 0],
        [0.25, 1],
        [0.125, 0.25],
    ]
    assert round_ones.probabilities[0].mean == pytest.approx(0.875 / 3)
    assert round_ones.probabilities[0].low is None, "three pairs have no interval"

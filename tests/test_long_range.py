"""How far back predictions reach: which characters close what, and the loss with resets, against naive loops.

Shapes: N characters, P pairs, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from charrnn.config import Config
from charrnn.evaluation.losses import CharLosses, char_losses
from charrnn.lab import long_range
from charrnn.lab.long_range import (
    DISTANCES,
    MAX_DISTANCE,
    MIN_GROUPS,
    choose_groups,
    estimate_mean,
    find_pairs,
    measure_resets,
    report_closings,
)
from charrnn.model.network import CharRNN
from charrnn.text.vocab import Vocab

V = 6


def pairs_of(text: str, first: int = 0) -> list[tuple[int, int]]:
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
def test_pairs(text: str, expected: list[tuple[int, int]]) -> None:
    assert pairs_of(text) == expected


def test_only_pairs_that_close_at_scored_characters_count() -> None:
    text = "(a) (b) (c)"
    assert pairs_of(text, first=3) == [(4, 6), (8, 10)]
    vocab = Vocab("char", ("", *sorted(set(text))))
    pairs = find_pairs(vocab.encode(text), vocab, np.array([2, 3, 10]))
    assert pairs.closed.tolist() == [2, 10]
    assert pairs.distances.tolist() == [2, 2]


def test_of_bytes_only_ascii_characters_are_found() -> None:
    text = '(“a”) «b» "ë" „ª“'.encode()  # ë is 0xC3 0xAB, whose second byte is « in Latin-1
    vocab = Vocab.of_bytes()
    pairs = find_pairs(vocab.encode(text), vocab, np.arange(len(text)))
    assert pairs.closings == ')"'


@pytest.mark.parametrize("distance", [MAX_DISTANCE, MAX_DISTANCE + 1])
@pytest.mark.parametrize("first", [0, MAX_DISTANCE + 5])
def test_pairs_too_far_apart_are_left_out(distance: int, first: int) -> None:
    text = "." * 10 + "(" + "." * (distance - 1) + ")"
    assert len(pairs_of(text, first)) == (distance <= MAX_DISTANCE)


@pytest.mark.parametrize(
    # Too far back to know whether the mark opens or closes: a blank line or a mark after a space tells.
    ("history", "expected"),
    [('a" b\n\n"c"', 1), ('a", "c"', 1), ('a"-"c"', 0)],
)
def test_after_a_cut_ambiguous_quotation_marks_are_ignored(history: str, expected: int) -> None:
    text = '"' + "." * (2 * MAX_DISTANCE) + history
    assert len(pairs_of(text, first=len(text) - 8)) == expected


@pytest.mark.parametrize("block_chars", [1, 7, 1 << 18])
def test_pairs_do_not_depend_on_the_blocks(block_chars: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(4)
    text = "".join(generator.choice([*"()[]{}ab \n", '"', "“", "”", "\n\n", "\0"], 900))
    expected = naive_pairs(text)
    monkeypatch.setattr(long_range, "BLOCK_CHARS", block_chars)
    found = pairs_of(text)
    assert len(found) > 30
    assert found == expected


def naive_pairs(text: str) -> list[tuple[int, int]]:
    """Find the pairs of `()[]{}`, `"` and `“”` with one list of open characters."""
    opened: list[tuple[str, int]] = []
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


def test_probabilities_are_averaged_by_character_and_distance() -> None:
    text = "(a) (bcd) [e] " + "(" + "." * 9 + ")"
    vocab = Vocab("char", ("", *sorted(set(text))))
    pairs = find_pairs(vocab.encode(text), vocab, np.arange(len(text)))
    assert pairs.distances.tolist() == [2, 4, 2, 10]
    model, ngram = np.array([0.5, 0.25, 0.75, 0.125]), np.array([0.0, 1.0, 0.5, 0.25])
    round_ones, square_ones = report_closings(pairs, [model, ngram])
    assert (round_ones.closing, round_ones.num_pairs, square_ones.closing, square_ones.num_pairs) == (")", 3, "]", 1)
    assert [(one.low, one.high, one.num_pairs) for one in round_ones.bins] == [(1, 3, 1), (4, 7, 1), (8, 15, 1)]
    assert [[one.mean for one in some.probabilities] for some in round_ones.bins] == [
        [0.5, 0],
        [0.25, 1],
        [0.125, 0.25],
    ]
    assert round_ones.probabilities[0].mean == pytest.approx(0.875 / 3)
    assert round_ones.probabilities[0].low is None, "three pairs have no interval"


def test_every_distance_has_its_bin() -> None:
    distances = [*DISTANCES, *(low - 1 for low in DISTANCES[1:]), MAX_DISTANCE]
    pairs = long_range.Pairs(")" * len(distances), np.zeros(len(distances), np.int64), np.array(distances))
    (report,) = report_closings(pairs, [np.ones(len(distances))])
    assert sum(one.num_pairs for one in report.bins) == len(distances)
    assert [one.low for one in report.bins] == list(DISTANCES)
    assert report.bins[-1].high == MAX_DISTANCE
    assert all(one.num_pairs == sum(one.low <= place <= one.high for place in distances) for one in report.bins)


def test_a_text_without_closing_characters_has_no_report() -> None:
    vocab = Vocab("char", ("", "a"))
    pairs = find_pairs(vocab.encode("aaa"), vocab, np.arange(3))
    assert report_closings(pairs, [np.zeros(0)]) == ()


def test_the_interval_of_a_mean_contains_it() -> None:
    values = np.random.default_rng(2).uniform(size=250)
    estimate = estimate_mean(values)
    assert estimate.low is not None and estimate.high is not None
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low < estimate.mean < estimate.high
    # The standard error is 0.29 / sqrt(250) = 0.018.
    assert 0.04 < estimate.high - estimate.low < 0.12


def make_network() -> CharRNN:
    config = Config(cell="lstm", num_layers=1, hidden_size=8, embedding_size=4, initial_state="learned")
    network = CharRNN(config, V).double()
    with torch.no_grad():
        assert network.learned_state is not None
        network.learned_state.fill_(0.7)  # a reset goes there, which zeros would not show
        network.output.weight.mul_(4)
    return network


def make_ids(num_chars: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, V, num_chars).astype(np.uint16)


@torch.no_grad()
def naive_reset_nats(network: CharRNN, ids: np.ndarray, start: int, length: int, interval: int) -> list[float]:
    """Read the characters one by one from `start - 1` on; reset the state before every `interval` of them."""
    losses = []
    for place in range(start, start + length):
        if (place - start) % interval == 0:
            state = network.initial_state(1)
        logits, state = network(torch.tensor([[int(ids[place - 1])]]), state)
        losses.append(-logits[0, 0].log_softmax(-1)[int(ids[place])].item())
    return losses


@pytest.mark.parametrize("at_once", [1, 64])
def test_the_report_compares_the_same_characters(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_range, "_CHARS_AT_ONCE", at_once)
    network, ids = make_network(), make_ids(400)
    losses = char_losses(network, ids, precision="fp32")
    groups = choose_groups(losses.positions)
    assert groups.shape == (24, 16)
    rows = measure_resets(network, ids, losses, groups, precision="fp32")
    assert [row.interval for row in rows] == [2, 4, 8, 16, None]
    kept = losses.nats[groups].mean(dtype=np.float64)
    for row in rows[:-1]:
        assert row.interval is not None
        naive = [naive_reset_nats(network, ids, int(group[0]) + 1, 16, row.interval) for group in groups]
        assert row.nats_per_char == pytest.approx(np.mean(naive), abs=1e-6)
        assert row.rise.mean == pytest.approx(np.mean(naive) - kept, abs=1e-6)
        assert row.nats_per_reset == pytest.approx(row.interval * row.rise.mean)
    assert rows[-1].nats_per_char == pytest.approx(kept)
    assert (rows[-1].rise.mean, rows[-1].rise.low) == (0.0, 0.0)
    apart = CharLosses(np.array([3, 5, 9]), np.ones(3, np.float32))
    assert measure_resets(network, ids, apart, choose_groups(apart.positions)) == (), "no two characters in a row"


@pytest.mark.parametrize(
    ("num_chars", "length"),
    [(16 * 1024, 1024), (16 * 1024 - 1, 512), (16 * 64, 64), (33, 2), (32, 2), (5, 2), (2, 2)],
)
def test_the_groups_are_as_long_as_sixteen_of_them_allow(num_chars: int, length: int) -> None:
    groups = choose_groups(np.arange(1, num_chars + 1))
    assert groups.shape == (num_chars // length, length)
    assert groups.shape[0] >= MIN_GROUPS or length == 2
    assert (np.diff(groups.ravel()) == 1).all(), "without a limit, no characters are between the groups"


def test_groups_are_consecutive_characters_spread_evenly() -> None:
    positions = np.concatenate([np.arange(begin, begin + 100) for begin in range(1, 4000, 130)])
    scored = positions[choose_groups(positions, max_chars=640)]
    assert scored.shape == (10, 64) and (np.diff(scored, axis=1) == 1).all()
    assert scored[0, 0] == 1 and scored[-1, 0] > 3500 and len(np.unique(scored)) == scored.size

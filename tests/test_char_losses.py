"""The loss of every character equals a loop over the characters, and its mean is the stateful loss.

Shapes: N characters, M scored characters.
"""

import numpy as np
import pytest
from test_loss import V, make_ids, make_network, naive_nats

from charrnn.evaluation.losses import (
    CharLosses,
    char_losses,
    consecutive_ranges,
    num_scored_chars,
    scored_positions,
    stateful_block_sums,
    stateful_nats,
)
from charrnn.intervals import BlockSums
from charrnn.model.reading import SEGMENT_LENGTH, WARM_UP, segments_of

# float64 networks whose logits are rounded to float32: relative errors of some 1e-7 of values below 20.
NEAR = 1e-5


@pytest.mark.parametrize("first", [1, 30, 99])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_losses_of_a_short_text_are_those_of_a_loop(cell: str, first: int) -> None:
    network, ids = make_network(cell), make_ids(100)
    losses = char_losses(network, ids, first, precision="fp32")
    assert losses.positions.tolist() == list(range(first, 100))
    np.testing.assert_allclose(losses.nats, naive_nats(network, ids, first), rtol=0, atol=NEAR)


@pytest.mark.parametrize("max_chars", [None, 3 * 4 * WARM_UP - 30, 700])
def test_the_losses_of_a_long_text_stand_at_their_positions(max_chars: int | None) -> None:
    network, first = make_network(), 40
    ids = make_ids(first + 3 * 4 * WARM_UP + 101)  # three lanes with padding, or segments
    losses = char_losses(network, ids, first, precision="fp32", max_chars=max_chars)
    naive = naive_nats(network, ids, first)
    np.testing.assert_allclose(losses.nats, naive[losses.positions - first], rtol=0, atol=NEAR)
    assert len(losses) == num_scored_chars(len(naive), max_chars)
    mean = stateful_nats(network, ids, first, precision="fp32", max_chars=max_chars)
    assert losses.mean == pytest.approx(mean, abs=1e-12), "the same float32 losses, summed in float64"


@pytest.mark.parametrize(
    ("num_ids", "first", "max_chars"),
    [
        (10, 1, None),
        (10, 3, 7),
        (10, 3, 6),
        (50_000, 7, 3 * 4 * WARM_UP),
        (10**6, 1, 5 * SEGMENT_LENGTH + 3),
        (9, 8, 1),
    ],
)
def test_the_scored_positions_are_segments_spread_over_the_text(
    num_ids: int, first: int, max_chars: int | None
) -> None:
    positions = scored_positions(num_ids, first, max_chars)
    num_chars = num_ids - first
    if max_chars is None or max_chars >= num_chars:
        assert positions.tolist() == list(range(first, num_ids))
        return
    num_segments, length = segments_of(max_chars)
    expected = [
        first + number * num_chars // num_segments + index for number in range(num_segments) for index in range(length)
    ]
    assert positions.tolist() == expected
    assert len(positions) <= max_chars and positions[-1] < num_ids
    assert (np.diff(positions) > 0).all(), "no character is scored twice"


@pytest.mark.parametrize("max_chars", [None, 1_999])
def test_the_sums_by_block_are_those_of_the_losses(max_chars: int | None) -> None:
    """The number of characters is no multiple of that of the blocks: both divide the rest in the same way."""
    network, ids = make_network(), make_ids(3_017)
    losses = char_losses(network, ids, 5, precision="fp32", max_chars=max_chars)
    assert len(losses) % 19 and len(losses) % 20
    blocks, expected = stateful_block_sums(network, ids, 5, precision="fp32", max_chars=max_chars), losses.nats
    assert blocks.counts.tolist() == BlockSums.of(expected).counts.tolist()
    np.testing.assert_allclose(blocks.sums, BlockSums.of(expected).sums, rtol=1e-9)


def test_consecutive_positions_are_one_range() -> None:
    assert list(consecutive_ranges(np.array([3, 4, 5, 9, 11, 12]), 2)) == [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert list(consecutive_ranges(np.array([3, 4, 5, 9, 11, 12]))) == [(0, 3), (3, 4), (4, 6)]
    assert list(consecutive_ranges(np.array([7]))) == [(0, 1)]


def test_positions_and_losses_must_agree() -> None:
    with pytest.raises(ValueError, match="one shape"):
        CharLosses(np.arange(3), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="first is 5, the text has 5 characters"):
        char_losses(make_network(), make_ids(5), 5)
    with pytest.raises(ValueError, match="first is 0, the text has 5 characters"):
        scored_positions(5, 0)


def test_a_vocabulary_of_equal_probabilities_loses_its_logarithm_everywhere() -> None:
    network = make_network()
    network.output.weight.data.zero_()
    losses = char_losses(network, make_ids(600), precision="fp32")
    np.testing.assert_allclose(losses.nats, np.log(V), rtol=1e-6)

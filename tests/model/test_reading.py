"""Reading in lanes: every character once, as in one go. N characters, T time, B lanes, V
vocabulary."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.config.settings import Config
from charrnn.model.network import CharRNN
from charrnn.model.reading import (
    INTERVAL,
    MAX_LANES,
    WARM_UP,
    WINDOW,
    Segments,
    find_states,
    read_segments,
)

V = 5
LANE = 4 * WARM_UP
"""Characters that a lane is worth: a text of k times as many is read in k lanes."""


def make_network(forget_bias):
    config = Config(
        cell_type="lstm",
        num_layers=1,
        hidden_size=8,
        embedding_size=4,
        dropout=0.0,
        forget_bias=forget_bias,
        seed=0,
    )
    return CharRNN(config, V).double()


def make_ids(num_chars):
    return np.random.default_rng(1).integers(0, V, num_chars).astype(np.uint16)


@torch.no_grad()
def read_in_one_go(network, ids):
    """Logits (N, V)."""
    logits, _ = network(torch.from_numpy(ids.astype(np.int64))[:, None], network.initial_state(1))
    return np.asarray(logits[:, 0])


@torch.no_grad()
def gather(network, ids, first, known=None):
    """Logits (N, V) as `read_segments` has them, NaN before `first`; and B."""
    gathered = np.full((len(ids), V), np.nan)
    batch_size = 0
    segments = Segments.of(len(ids), first)
    for positions, logits in read_segments(
        network, network.initial_state, ids, segments, known=known
    ):
        batch_size = positions.shape[1]
        is_text = positions < len(ids)
        gathered[positions[is_text]] = logits.numpy()[is_text]
    return gathered, batch_size


@pytest.mark.parametrize(
    "num_chars, first, batch_size",
    [
        (4 * LANE + 37, 0, 4),  # lane 0 has no text before it, the others all they ask for
        (4 * LANE + 137, 100, 4),  # lane 0 has less text before it than it would read
        (4 * LANE + 600, WARM_UP, 4),
        (4 * LANE + 801, 800, 4),  # lane 0 has more text before it than it reads
        (1500, 700, 1),  # and so has a lane that is alone
    ],
)
def test_lanes_see_what_one_pass_sees_up_to_what_is_forgotten(num_chars, first, batch_size):
    network = make_network(forget_bias=2.0)
    ids = make_ids(num_chars)
    logits, seen_lanes = gather(network, ids, first)
    assert seen_lanes == batch_size and np.isnan(logits[:first]).all()
    # This network still remembers 4e-11 of a logit after 512 characters, 7e-7 after 256 and 0.5 or
    # more after none: 1e-9 stands between, so half a warm-up, or one that begins a character late,
    # is noticed.
    np.testing.assert_allclose(
        logits[first:], read_in_one_go(network, ids)[first:], rtol=0, atol=1e-9
    )


def count_since_zero(ids, state):
    """A network whose one cell counts the characters that it has read: ((ids, counts (T, B)),
    state)."""
    counts = state[0, 0, :, 0] + torch.arange(1, len(ids) + 1)[:, None]
    return (ids, counts), counts[-1].reshape(1, 1, -1, 1)


SIZES = st.integers(0, 9 * LANE).flatmap(lambda num: st.tuples(st.just(num), st.integers(0, num)))


@given(SIZES)
@example((MAX_LANES * LANE * 2 + 5, 3))
@example((0, 0))
@settings(max_examples=30)
def test_every_character_is_read_once_with_all_the_context_it_can_have(sizes):
    num_chars, first = sizes
    ids = np.arange(num_chars).astype(np.uint16)
    times_read = np.zeros(num_chars, int)
    for positions, (inputs, counts) in read_segments(
        count_since_zero,
        lambda batch_size: torch.zeros(1, 1, batch_size, 1, dtype=torch.int64),
        ids,
        Segments.of(num_chars, first),
    ):
        assert positions.shape == tuple(inputs.shape) and 1 <= positions.shape[1] <= MAX_LANES
        assert len(positions) <= WINDOW
        is_text = positions < num_chars
        np.add.at(times_read, positions[is_text], 1)
        assert np.array_equal(inputs.numpy()[is_text], ids[positions[is_text]])
        # Nobody reads less than a warm-up before a character, unless the text begins there; nobody
        # reads padding first.
        assert (counts.numpy() - 1 >= np.minimum(positions, WARM_UP))[is_text].all()
        assert (counts.numpy() - 1 <= positions)[is_text].all()
    assert (times_read[:first] == 0).all() and (times_read[first:] == 1).all()


@pytest.mark.parametrize("first", [*(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1)), 700])
@pytest.mark.parametrize(
    "num_chars",
    [
        *(LANE + over for over in (-1, 0, 1, 513)),  # one lane
        *(2 * LANE + over for over in (-1, 0, 1, WARM_UP - 1, WARM_UP, WARM_UP + 1)),
        *(3 * LANE + over for over in (-1, 0, 1)),
        5 * LANE + 37,
    ],
)
def test_with_known_states_every_character_is_read_as_in_a_single_pass(num_chars, first):
    # This network still remembers a third of what it read 512 characters before. With small
    # recurrent weights it is not chaotic, whatever its draw: of 150 draws, four with weights twice
    # as large enlarge a rounding error to 0.005 and more, and with these none exceeds 1e-6.
    network, ids = make_network(forget_bias=6.0), make_ids(num_chars)
    with torch.no_grad():
        network.layers[0].weight_hh_l0.mul_(0.5)
    expected = read_in_one_go(network, ids)
    known = find_states(network, network.initial_state, ids, advance=lambda num: None)
    logits, _ = gather(network, ids, first, known=known)
    # The states may differ by SAME_STATE, which the output layer multiplies by its weights.
    np.testing.assert_allclose(logits[first:], expected[first:], rtol=0, atol=1e-4)
    assert np.isnan(logits[:first]).all()


def test_the_states_of_a_network_that_forgets_nothing_are_those_of_a_single_pass():
    # The reader of the first lane has to go on to the end.
    num_chars = 3 * LANE + 5
    known = find_states(
        count_since_zero,
        lambda batch_size: torch.zeros(1, 1, batch_size, 1, dtype=torch.int64),
        np.zeros(num_chars, np.uint16),
        advance=lambda num: None,
    )
    assert known.flatten().tolist() == [*range(0, num_chars, INTERVAL)]


def test_the_text_is_not_read_again_where_the_network_has_forgotten():
    network, ids = make_network(forget_bias=2.0), make_ids(4 * LANE)
    num_read = []

    def step(inputs, state):
        num_read.append(inputs.numel())
        return network(inputs, state)

    find_states(step, network.initial_state, ids, advance=lambda num: None)
    # Three of the four readers read an interval of the next lane, and find that they may stop.
    assert sum(num_read) == len(ids) - INTERVAL + 3 * INTERVAL


@pytest.mark.parametrize(
    "num_chars, first, max_chars",
    [
        (
            4 * LANE,
            100,
            2 * LANE + 7,
        ),  # the first segment has less text before it than it would read
        (6 * LANE, WARM_UP, 3 * LANE),
        (2 * LANE, 600, 900),  # one segment
        (2 * LANE, 600, 2 * LANE - 600),  # all of it
    ],
)
def test_segments_see_what_one_pass_sees_and_are_spread_evenly(num_chars, first, max_chars):
    network, ids = make_network(forget_bias=2.0), make_ids(num_chars)
    read = []
    expected = read_in_one_go(network, ids)
    segments = Segments.of(num_chars, first, max_chars)
    with torch.no_grad():
        for positions, logits in read_segments(network, network.initial_state, ids, segments):
            np.testing.assert_allclose(logits.numpy(), expected[positions], rtol=0, atol=1e-9)
            read.append(positions)
    starts = read[0][0]
    assert len(starts) == max(1, max_chars // LANE) and starts[0] == first
    assert np.ptp(np.diff([*starts, num_chars])) <= 1, (
        "each begins as far from the next as all others"
    )
    positions = np.concatenate(read).ravel()
    assert len(np.unique(positions)) == len(positions) == segments.num_chars <= max_chars

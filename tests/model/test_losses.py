"""The loss of every character and the mean of each protocol. N characters, M scored characters, V
vocabulary.

Tests `evaluation.loss_reports`, too.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from effects_networks import make_ids
from naive_losses import make_network, naive_scores

import charrnn
from charrnn.evaluation.comparison import MeasuredRun
from charrnn.model import losses as loss_module
from charrnn.model.losses import (
    WINDOWED_LENGTH,
    char_losses,
    stateful_scores,
)
from charrnn.model.reading import SEGMENT_LENGTH, WARM_UP, Segments, num_segments_of
from charrnn.statistics.intervals import BlockSums
from charrnn.system.progress import Progress, using

NEAR = 1e-5
"""float64 networks whose logits are rounded to float32: relative errors of some 1e-7 of values
below 20."""


def windowed_nats(network, ids):
    return loss_module.windowed_scores(network, ids, precision="fp32").losses.mean


def stateful_nats(network, ids, first=1, **options):
    return stateful_scores(network, ids, first, **options).losses.mean


@pytest.mark.parametrize("cell, first", [("lstm", 1), ("gru", 30), ("rnn", 99)])
def test_the_losses_of_a_short_text_are_those_of_a_loop(cell, first):
    network, ids = make_network(cell), make_ids(100)
    losses = char_losses(network, ids, first, precision="fp32")
    expected, is_right = naive_scores(network, ids, first)
    scores = stateful_scores(network, ids, first, precision="fp32")
    assert losses.positions.tolist() == list(range(first, 100))
    np.testing.assert_allclose(losses.nats, expected, rtol=0, atol=NEAR)
    assert scores.means == pytest.approx((expected.mean(), is_right.mean()), abs=NEAR / 10)
    assert losses.is_right.tolist() == is_right.tolist()


@pytest.mark.parametrize("first", [1, WARM_UP + 300])
@pytest.mark.parametrize("max_chars", [None, 3 * 4 * WARM_UP - 30, 700])
def test_the_losses_of_a_long_text_stand_at_their_positions(max_chars, first):
    network = make_network()
    ids = make_ids(
        first + 3 * 4 * WARM_UP + 101
    )  # three rows of unequal length with padding, or segments
    with torch.no_grad():
        logits, _ = network(
            torch.from_numpy(ids[:-1].astype(np.int64))[:, None], network.initial_state(1)
        )
    naive = -logits[:, 0].log_softmax(-1).numpy()[np.arange(len(ids) - 1), ids[1:]]
    losses = char_losses(network, ids, first, precision="fp32", max_chars=max_chars)
    np.testing.assert_allclose(losses.nats, naive[losses.positions - 1], rtol=0, atol=NEAR)
    assert (
        len(losses) == Segments.of(len(ids), first, max_chars).num_chars <= (max_chars or len(ids))
    )
    read = []
    with using(Progress(read.append)):
        mean = stateful_nats(network, ids, first, precision="fp32", max_chars=max_chars)
    assert losses.blocks.mean == pytest.approx(mean, abs=1e-12), (
        "the same float32 losses, summed in float64"
    )
    assert read[-1].done == read[-1].total == len(losses)


@pytest.mark.parametrize(
    "num_ids, first, max_chars",
    [
        (10, 1, None),
        (10, 3, 7),
        (10, 3, 6),
        (50_000, 7, 12 * WARM_UP),
        (10**6, 1, 5 * SEGMENT_LENGTH + 3),
        (9, 8, 1),
    ],
)
def test_scored_positions_are_segments_spread_over_the_text(num_ids, first, max_chars):
    segments = Segments.of(num_ids, first, max_chars)
    positions = segments.positions
    assert segments.ranks(positions).tolist() == list(range(segments.num_chars))
    num_chars = num_ids - first
    if max_chars is None or max_chars >= num_chars:
        assert positions.tolist() == list(range(first, num_ids))
        return
    num_segments = num_segments_of(max_chars)
    length = max_chars // num_segments
    starts = [first + number * num_chars // num_segments for number in range(num_segments)]
    assert positions.tolist() == [start + index for start in starts for index in range(length)]
    assert len(positions) <= max_chars and positions[-1] < num_ids
    assert (np.diff(positions) > 0).all(), "no character is scored twice"


@pytest.mark.parametrize("max_chars", [None, 1_999])
def test_the_sums_by_block_are_those_of_the_losses(max_chars):
    """The number of characters is no multiple of that of the blocks: both divide the rest in the
    same way."""
    network, ids = make_network(), make_ids(3_017)
    losses = char_losses(network, ids, 5, precision="fp32", max_chars=max_chars)
    assert len(losses) % 19 and len(losses) % 20
    blocks, expected = (
        stateful_scores(network, ids, 5, precision="fp32", max_chars=max_chars).losses,
        losses.nats,
    )
    assert blocks.counts.tolist() == BlockSums.of(expected).counts.tolist()
    np.testing.assert_allclose(blocks.sums, BlockSums.of(expected).sums, rtol=1e-9)


def test_a_stop_after_the_last_character_does_not_lose_the_scores():
    network, ids = make_network(), make_ids(WARM_UP + 2 * SEGMENT_LENGTH)
    asked = []

    def stop_at(number):
        asked.clear()

        def should_stop():
            asked.append(None)
            return len(asked) == number

        return stateful_scores(network, ids, precision="fp32", should_stop=should_stop)

    whole = stop_at(0)
    num_asked = len(asked)
    assert num_asked > 1
    assert stop_at(num_asked - 1) is None
    assert stop_at(num_asked).means == whole.means


@pytest.mark.slow
def test_lanes_change_the_losses_of_an_included_model_by_less_than_the_page_says(monkeypatch):
    model = charrnn.load("prose")
    ids = model.vocab.encode(Path("docs/use/evaluation.md").read_text(encoding="utf-8"))
    read_at_once = char_losses(model.network, ids, precision="fp32").nats
    monkeypatch.setattr("charrnn.model.reading.MAX_LANES", 1)
    changes = char_losses(model.network, ids, precision="fp32").nats - read_at_once
    assert 0 < np.abs(changes).max() < 0.2
    assert abs(changes.mean()) < 1e-4


def test_the_windowed_loss_equals_windows_read_one_by_one(monkeypatch):
    monkeypatch.setattr(loss_module, "NUM_WINDOWS", 64)
    network, ids = make_network("gru"), make_ids(700)
    np.random.seed(1)  # noqa: NPY002  # the global generator must not matter
    starts = np.random.default_rng(0).integers(0, len(ids) - WINDOWED_LENGTH, size=64)
    assert len(set(starts.tolist())) > 50, "windows that all begin alike would test little"
    losses = []
    for start in starts:
        window = torch.from_numpy(ids[start : start + WINDOWED_LENGTH + 1].astype(np.int64))
        with torch.no_grad():
            logits, _ = network(window[:-1, None], network.initial_state(1))
        losses.append(torch.nn.functional.cross_entropy(logits[:, 0], window[1:]).item())
    assert windowed_nats(network, ids) == pytest.approx(np.mean(losses), abs=NEAR / 10)


def test_the_only_window_of_the_shortest_text_is_the_text_from_its_start():
    network, ids = make_network(), make_ids(WINDOWED_LENGTH + 1)
    scores = loss_module.windowed_scores(network, ids, precision="fp32")
    assert scores.losses.mean == pytest.approx(
        stateful_nats(network, ids, precision="fp32"), abs=NEAR / 10
    )
    assert scores.losses.num_values > len(ids), "each window counts"


def test_first_guesses_in_windows_are_those_of_windows_read_one_by_one():
    network, ids = make_network(), make_ids(WINDOWED_LENGTH + 1)
    _, expected = naive_scores(network, ids, 1)
    scores = loss_module.windowed_scores(network, ids, precision="fp32")
    assert scores.means.first_guess == pytest.approx(expected.mean(), rel=1e-12)


def test_an_unknown_character_is_never_guessed_right():
    network, ids = make_network(), make_ids(400)
    with torch.no_grad():
        network.output.bias[0] += 2  # the network guesses often that a character is unknown
    _, guessed = naive_scores(network, ids, 1)
    scores = stateful_scores(network, ids, precision="fp32", escape_nats=2.0)
    expected = guessed & (ids[1:] != 0)
    assert 0 < scores.right.sums.sum() == expected.sum() < guessed.sum()
    vocab = SimpleNamespace(escapes=lambda ids: 2.0 * (ids == 0))
    run = SimpleNamespace(model=SimpleNamespace(vocab=vocab), exact_ids=ids)
    charged = MeasuredRun.charged(run, char_losses(network, ids, precision="fp32"))
    assert charged.is_right.tolist() == expected.tolist()

"""Beam search: the best of all texts when it may keep them all, and honest scores when it may not.

Shapes: V vocabulary, T characters of a text.
"""

import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from charrnn.config import Config
from charrnn.errors import UsageError
from charrnn.generation.beam import MAX_WIDTH, beam_search
from charrnn.generation.distribution import Shaping
from charrnn.generation.sampling import read_prime, sample_ids
from charrnn.model.network import CharRNN
from charrnn.model.stepper import Stepper

CELLS = ("lstm", "gru", "rnn")
V, T = 4, 4
PRIME = np.array([1, 3, 0])
SEEDS = range(4)

# Log-probabilities of float32 logits up to some 10, on both sides: each is right to some 1e-6.
NEAR: dict[str, Any] = {"rtol": 0.0, "atol": 1e-5}


@cache
def make_network(cell: str, seed: int) -> CharRNN:
    """A random network with strong opinions, so that the likeliest text is not found by being greedy."""
    network = CharRNN(Config(cell=cell, num_layers=2, hidden_size=8, embedding_size=4, dropout=0.0, seed=seed), V)
    with torch.no_grad():
        network.embedding.weight.mul_(3)
        network.output.weight.mul_(4)
    return network


@cache
def make_stepper(cell: str, seed: int) -> Stepper:
    network = make_network(cell, seed)
    config = Config(cell=cell, num_layers=2, hidden_size=8, embedding_size=4, dropout=0.0)
    return Stepper(config, {name: value.numpy() for name, value in network.state_dict().items()})


@torch.no_grad()
def score(cell: str, seed: int, texts: list[tuple[int, ...]]) -> NDArray[np.float32]:
    """Log-probability of every character of texts after PRIME, (texts, T), from the network in torch."""
    network = make_network(cell, seed)
    ids = torch.tensor([(*PRIME.tolist(), *text) for text in texts]).T  # (time, texts)
    logits, _ = network(ids[:-1], network.initial_state(len(texts)))
    logprobs = logits.log_softmax(-1).gather(-1, ids[1:, :, None])[..., 0]
    return np.asarray(logprobs[len(PRIME) - 1 :].T)


@cache
def brute_force(cell: str, seed: int, alphabet: tuple[int, ...] = tuple(range(V))) -> dict[tuple[int, ...], float]:
    """Every text of T characters of that alphabet and its log-probability."""
    texts = list(itertools.product(alphabet, repeat=T))
    return dict(zip(texts, score(cell, seed, texts).sum(axis=1, dtype=np.float64).tolist(), strict=True))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("width", [V ** (T - 1), V**T, 1000])
def test_a_beam_that_drops_nothing_finds_the_global_optimum(cell: str, seed: int, width: int) -> None:
    expected = brute_force(cell, seed)
    beams = beam_search(make_stepper(cell, seed), PRIME, width=width, length=T)
    assert len(beams) == min(width, V**T) and len({beam.ids for beam in beams}) == len(beams)
    ranked = sorted(expected.items(), key=lambda item: -item[1])
    assert ranked[0][1] - ranked[1][1] > 1e-4, "two texts so near would be told apart by rounding"
    assert beams[0].ids == ranked[0][0]
    np.testing.assert_allclose([beam.logprob for beam in beams], [value for _, value in ranked[: len(beams)]], **NEAR)
    if len(beams) == V**T:
        # Log-probabilities right to 1e-5 give probabilities right to 1e-5 of themselves.
        assert sum(np.exp(beam.logprob) for beam in beams) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("width", [1, 2, 3, 7])
@pytest.mark.parametrize("cell", CELLS)
def test_a_score_is_the_network_s_own_log_probability_of_each_character(cell: str, width: int) -> None:
    beams = beam_search(make_stepper(cell, 0), PRIME, width=width, length=12)
    assert len(beams) == width
    for beam, expected in zip(beams, score(cell, 0, [beam.ids for beam in beams]), strict=True):
        assert len(beam.ids) == len(beam.logprobs) == 12
        np.testing.assert_allclose(beam.logprobs, expected, **NEAR)
        assert beam.logprob == pytest.approx(sum(beam.logprobs), abs=1e-12)
    scores = [beam.logprob for beam in beams]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_beam_of_one_is_greedy(cell: str, seed: int) -> None:
    stepper = make_stepper(cell, seed)
    (beam,) = beam_search(stepper, PRIME, width=1, length=20)
    blocks = list(sample_ids(stepper, read_prime(stepper, PRIME), [Shaping(temperature=0)], [(0, 0)], length=20))
    greedy = [(int(block.ids[0, 0]), float(block.logprobs[0, 0])) for block in blocks]
    assert list(zip(beam.ids, beam.logprobs, strict=True)) == greedy


def test_a_narrower_beam_never_scores_better_than_the_optimum_and_can_miss_it() -> None:
    num_missed = 0
    for cell, seed, width in itertools.product(CELLS, SEEDS, (1, 2, 5, 20)):
        expected = brute_force(cell, seed)
        optimum = max(expected.values())
        beams = beam_search(make_stepper(cell, seed), PRIME, width=width, length=T)
        assert len(beams) == width and len({beam.ids for beam in beams}) == width
        assert all(beam.logprob <= optimum + 1e-5 for beam in beams)  # 1e-5: rounding, as in NEAR
        assert all(beam.logprob == pytest.approx(expected[beam.ids], abs=1e-5) for beam in beams)
        num_missed += beams[0].logprob < optimum - 1e-3
    assert num_missed > 0, "had greed always been enough, these networks would test nothing"


@pytest.mark.parametrize("banned", [(0,), (2, 3), (0, 1, 3)])
@pytest.mark.parametrize("cell", CELLS)
def test_banned_ids_are_absent_and_the_others_keep_their_scores(cell: str, banned: tuple[int, ...]) -> None:
    others = tuple(id for id in range(V) if id not in banned)
    expected = brute_force(cell, 1, others)
    beams = beam_search(make_stepper(cell, 1), PRIME, width=V**T, length=T, banned=banned)
    assert {beam.ids for beam in beams} == expected.keys()
    assert beams[0].ids == max(expected, key=lambda text: expected[text])
    for beam in beams:
        # Not renormalised over what is permitted: still the model's own.
        assert beam.logprob == pytest.approx(expected[beam.ids], abs=1e-5)


def test_what_was_read_before_counts() -> None:
    stepper = make_stepper("lstm", 0)
    first, second = (beam_search(stepper, np.array(prime), width=3, length=T) for prime in ([0, 1], [1, 0]))
    assert [beam.logprob for beam in first] != [beam.logprob for beam in second]


@pytest.mark.parametrize("width", [0, -1, MAX_WIDTH + 1])
def test_a_width_out_of_range_is_refused(width: int) -> None:
    with pytest.raises(UsageError, match=f"^--beam is {width}; it must be between 1 and 4096"):
        beam_search(make_stepper("rnn", 0), PRIME, width=width, length=T)


@pytest.mark.parametrize("length", [0, -1])
def test_a_text_of_no_characters_is_refused(length: int) -> None:
    with pytest.raises(UsageError, match=f"^--length is {length};"):
        beam_search(make_stepper("rnn", 0), PRIME, width=1, length=length)


def test_the_widest_beam_is_allowed() -> None:
    assert len(beam_search(make_stepper("rnn", 0), PRIME, width=MAX_WIDTH, length=1)) == V

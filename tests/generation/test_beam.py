"""Beam search: the best of all texts when it may keep them all, and honest scores. V vocabulary, T
characters."""

import itertools
from functools import cache

import numpy as np
import pytest
from effects_networks import tensors_of
from hand_built import draw_texts, mask_of
from hypothesis import given
from hypothesis import strategies as st
from strong_networks import PRIME, T, V, config_of, make_network, make_stepper

from charrnn.generation.beam import Beam, BeamSearch, repeating
from charrnn.generation.rules import Rules
from charrnn.generation.sample_options import SearchOptions
from charrnn.generation.writing import Ending
from charrnn.model.stepper import Stepper

SEEDS = range(4)

# Log-probabilities of float32 logits up to some 10, on both sides: each is right to some 1e-6.
NEAR = {"rtol": 0.0, "atol": 1e-5}


class CountingStepper:
    """A stepper that counts its steps."""

    def __init__(self, stepper):
        self.read = stepper.read
        self.vocab_size = stepper.vocab_size
        self._step = stepper.step
        self.num_steps = 0

    def step(self, ids, state):
        self.num_steps += 1
        return self._step(ids, state)


def find(stepper, prime=PRIME, **options):
    """Return all beams of a search, and check that they are ranked and different."""
    stops = options.pop("stops", ())
    never_first = options.pop("never_first", ())
    rules = Rules.of(mask_of(options.pop("banned", ()), stepper.vocab_size))
    search = BeamSearch(
        stepper=stepper,
        prime=prime,
        options=SearchOptions(**options),
        ending=Ending(length=options["length"], rules=rules, stops=stops),
        never_first=never_first,
    )
    beams = search.run()
    totals = [beam.total for beam in beams]
    assert totals == sorted(totals, reverse=True)
    assert len({beam.ids for beam in beams}) == len(totals) <= options["width"]
    return beams


@cache
def next_logprobs(cell, seed, text):
    """Log-probability of every character after PRIME and a text, read from the start."""
    logits, _ = make_stepper(cell, seed).read(np.array([*PRIME, *text]))
    return tuple((logits[0] - np.logaddexp.reduce(logits[0].astype(np.float64))).tolist())


def logprob(cell, seed, text):
    return sum(next_logprobs(cell, seed, text[:place])[char] for place, char in enumerate(text))


def ends_in(text, stops):
    """The length of the longest stop string that a text ends in."""
    return max((len(stop) for stop in stops if text[-len(stop) :] == stop), default=0)


@pytest.mark.parametrize("width", [V ** (T - 1), V**T, 1000])
@pytest.mark.parametrize("cell, seed", [("lstm", 0), ("gru", 1), ("rnn", 2), ("lstm", 3)])
@pytest.mark.parametrize("banned", [(), (2, 3), (0, 1, 3)])
def test_a_beam_that_drops_nothing_finds_the_global_optimum(cell, seed, banned, width):
    # Log-probabilities are not renormalised over what is permitted: they are still the model's own.
    every = itertools.product([id for id in range(V) if id not in banned], repeat=T)
    texts = {text: logprob(cell, seed, text) for text in every}
    ranked = sorted(texts, key=lambda text: -texts[text])[:width]
    beams = find(make_stepper(cell, seed), width=width, length=T, banned=banned)
    assert beams[0].ids == ranked[0]
    expected = [texts[text] for text in ranked]
    np.testing.assert_allclose([beam.total for beam in beams], expected, **NEAR)


@pytest.mark.parametrize("width", [1, 7])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_log_probabilities_are_the_model_s_own(cell, width):
    beams = find(make_stepper(cell, 0), width=width, length=12)
    assert len(beams) == width
    for beam in beams:
        expected = [
            next_logprobs(cell, 0, beam.ids[:place])[char] for place, char in enumerate(beam.ids)
        ]
        assert len(expected) == 12
        np.testing.assert_allclose(beam.logprobs, expected, **NEAR)
        assert beam.total == pytest.approx(sum(beam.logprobs), abs=1e-12)


@pytest.mark.parametrize("cell, seed", [("lstm", 0), ("gru", 1), ("rnn", 2)])
def test_a_beam_of_one_is_greedy(cell, seed):
    stepper = make_stepper(cell, seed)
    (beam,) = find(stepper, width=1, length=20)
    [greedy] = draw_texts(stepper, PRIME, [0], temperature=0, length=20)
    assert (list(beam.ids), list(beam.logprobs)) == (greedy.ids, greedy.logprobs)


def naive_search(cell, seed, width, length, stops=()):
    """After every step: the live texts, and the totals of those that have ended. All are kept that
    a search could drop because they cannot win."""
    ended = {}
    live = [()]
    for _ in range(length):
        longer = [(*text, char) for text in live for char in range(V)]
        totals = {text: logprob(cell, seed, text) for text in longer}
        chosen = sorted(totals, key=lambda text: -totals[text])[:width]
        live = [text for text in chosen if not ends_in(text, stops)]
        ended |= {text: totals[text] for text in chosen if ends_in(text, stops)}
        yield live, ended


@pytest.mark.parametrize("stops", [((1,),), ((3, 3),), ((2, 1), (1,)), ((0, 1), (1, 0, 1), (3,))])
@pytest.mark.parametrize("width", [1, 3, 12])
@pytest.mark.parametrize("seed", SEEDS)
def test_leaving_out_what_cannot_win_changes_nothing(width, stops, seed):
    *_, (live, totals) = naive_search("rnn", seed, width, 12, stops)
    totals |= {text: logprob("rnn", seed, text) for text in live}
    expected = sorted(totals, key=lambda text: -totals[text])[:width]
    beams = find(make_stepper("rnn", seed), width=width, length=12, stops=stops)
    assert [beam.ids for beam in beams] == expected


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("width", [1, 4])
def test_a_search_ends_when_no_live_beam_can_be_returned(width, seed):
    # Without `no_repeat` a narrow beam may go round in circles that no stop string is part of.
    options = {"width": width, "stops": ((0,), (2, 1)), "no_repeat": 6}
    stepper = CountingStepper(make_stepper("lstm", seed))
    beams = find(stepper, length=2000, **options)
    num_steps = stepper.num_steps
    assert all(ends_in(beam.ids, options["stops"]) for beam in beams)
    assert num_steps < 500
    assert find(stepper, length=num_steps + 1, **options) == beams
    # The last step was needed: before it, a text that goes on was among the best.
    if num_steps > 0:
        shorter = find(stepper, length=num_steps, **options)
        assert not all(ends_in(beam.ids, options["stops"]) for beam in shorter)


def test_a_search_ends_at_once_where_every_text_stops():
    stepper = CountingStepper(make_stepper("lstm", 0))
    find(stepper, width=4, length=50, stops=tuple((char,) for char in range(V)))
    assert stepper.num_steps == 0


def test_what_is_never_first_may_be_second():
    texts = {
        beam.ids for beam in find(make_stepper("lstm", 0), width=V**2, length=2, never_first=[1])
    }
    assert texts == {text for text in itertools.product(range(V), repeat=2) if text[0] != 1}


@pytest.mark.parametrize(
    "prime, options", [(PRIME, {"banned": range(V)}), (np.arange(V), {"no_repeat": 1})]
)
def test_a_search_with_nothing_to_choose_from_finds_the_empty_text(prime, options):
    beams = find(make_stepper("lstm", 0), prime, width=3, length=5, **options)
    assert beams == [Beam((), (), 0.0)]


@pytest.mark.parametrize("width", [5, V**3])
def test_beams_without_a_finite_score_are_dropped_and_the_others_go_on(width):
    tensors = {name: value.copy() for name, value in tensors_of(make_network("lstm", 0)).items()}
    tensors["embedding.weight"][2] = np.nan  # whoever writes a 2 has only NaN to go on with
    every = {text for text in itertools.product(range(V), repeat=3) if 2 not in text[:-1]}
    beams = find(Stepper(config_of("lstm"), tensors), width=width, length=3)
    assert {beam.ids for beam in beams} <= every
    assert len(beams) == min(width, len(every))


@given(st.lists(st.integers(0, V - 1), max_size=40), st.integers(1, 7))
def test_what_repeats_is_forbidden(text, n):
    ngrams = {tuple(text[place : place + n]) for place in range(len(text) - n + 1)}
    repeats = {char for char in range(V) if (*text[len(text) - n + 1 :], char) in ngrams}
    assert set(repeating(np.array(text, np.int64), n).tolist()) == repeats

"""Beam search: the best of all texts when it may keep them all, and honest scores. V vocabulary, T
characters."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from effects_networks import tensors_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.errors import UsageError
from charrnn.generation.beam import Beam, BeamSearch, SeenNgrams
from charrnn.generation.sample_options import SearchOptions, Shaping
from charrnn.generation.sampling import prime_model, sample_ids
from charrnn.model.network import CharRNN
from charrnn.model.stepper import Stepper

V, T = 4, 4
Text = tuple[int, ...]
PRIME = np.array([1, 3, 0])
SEEDS = range(4)
NUM_DRAWS = 250

# Log-probabilities of float32 logits up to some 10, on both sides: each is right to some 1e-6.
NEAR: dict[str, Any] = {"rtol": 0.0, "atol": 1e-5}


def config_of(cell: str, seed: int = 0) -> Config:
    return Config(cell=cell, num_layers=2, hidden_size=8, embedding_size=4, dropout=0.0, seed=seed)


@cache
def make_network(cell: str, seed: int) -> CharRNN:
    """A random network with strong opinions, so that the likeliest text is not found by being
    greedy."""
    network = CharRNN(config_of(cell, seed), V)
    with torch.no_grad():
        network.embedding.weight.mul_(3)
        network.output.weight.mul_(4)
    return network


@cache
def make_stepper(cell: str, seed: int) -> Stepper:
    return Stepper(config_of(cell), tensors_of(make_network(cell, seed)))


class CountingStepper:
    """A stepper that counts its steps."""

    def __init__(self, stepper: Stepper) -> None:
        self.read, self._step, self.num_steps = stepper.read, stepper.step, 0

    def step(
        self, ids: NDArray[Any], state: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.num_steps += 1
        return self._step(ids, state)


def find(stepper: Any, prime: NDArray[Any] = PRIME, **options: Any) -> list[Beam]:
    """Return all beams of a search, which are different, ranked, and led by the text that it
    streamed."""
    ids = {name: options.pop(name) for name in ("stops", "banned") if name in options}
    width = options["width"]
    search = BeamSearch(stepper, prime, SearchOptions(**options), **ids)
    pieces = list(search)
    assert all(pieces) and tuple(itertools.chain(*pieces)) == search.beams[0].ids
    scores = [beam.score for beam in search.beams]
    assert (
        scores == sorted(scores, reverse=True)
        and len({beam.ids for beam in search.beams}) == len(scores) <= width
    )
    return search.beams


@cache
def next_logprobs(cell: str, seed: int, text: Text) -> tuple[float, ...]:
    """Log-probability of every character after PRIME and a text, read from the start."""
    logits, _ = make_stepper(cell, seed).read(np.array([*PRIME, *text]))
    return tuple((logits[0] - np.logaddexp.reduce(logits[0].astype(np.float64))).tolist())


def logprob(cell: str, seed: int, text: Text) -> float:
    return sum(next_logprobs(cell, seed, text[:place])[char] for place, char in enumerate(text))


def ends_in(text: Text, stops: tuple[Text, ...]) -> int:
    """The length of the longest stop string that a text ends in."""
    return max((len(stop) for stop in stops if text[-len(stop) :] == stop), default=0)


@pytest.mark.parametrize(("cell", "seed"), [("lstm", 0), ("gru", 1), ("rnn", 2), ("lstm", 3)])
@pytest.mark.parametrize("banned", [(), (2, 3), (0, 1, 3)])
def test_a_beam_that_drops_nothing_finds_the_global_optimum(
    cell: str, seed: int, banned: Text
) -> None:
    # Log-probabilities are not renormalised over what is permitted: they are still the model's own.
    every = itertools.product([id for id in range(V) if id not in banned], repeat=T)
    texts = {text: logprob(cell, seed, text) for text in every}
    ranked = sorted(texts.items(), key=lambda item: -item[1])
    for width in (V ** (T - 1), V**T, 1000):
        beams = find(make_stepper(cell, seed), PRIME, width=width, length=T, banned=banned)
        assert beams[0].ids == ranked[0][0]
        np.testing.assert_allclose(
            [beam.logprob for beam in beams], [value for _, value in ranked[:width]], **NEAR
        )


@pytest.mark.parametrize(
    "mode", [{"mode": "plain"}, {"mode": "diverse", "diversity": 1.5}, {"mode": "stochastic"}]
)
@pytest.mark.parametrize("width", [1, 7])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_log_probabilities_are_the_model_s_own(cell: str, width: int, mode: dict[str, Any]) -> None:
    beams = find(make_stepper(cell, 0), PRIME, width=width, length=12, **mode)
    assert len(beams) == width or mode["mode"] == "diverse"  # whose groups may find the same text
    for beam in beams:
        assert len(beam.ids) == len(beam.logprobs) == 12
        expected = [
            next_logprobs(cell, 0, beam.ids[:place])[char] for place, char in enumerate(beam.ids)
        ]
        np.testing.assert_allclose(beam.logprobs, expected, **NEAR)
        assert beam.logprob == pytest.approx(sum(beam.logprobs), abs=1e-12)
        assert (beam.score == pytest.approx(beam.logprob, abs=1e-12)) == (
            mode["mode"] != "stochastic"
        )


@pytest.mark.parametrize(("cell", "seed"), [("lstm", 0), ("gru", 1), ("rnn", 2)])
def test_a_beam_of_one_is_greedy(cell: str, seed: int) -> None:
    stepper = make_stepper(cell, seed)
    (beam,) = find(stepper, PRIME, width=1, length=20)
    blocks = list(
        sample_ids(stepper, prime_model(stepper, PRIME), [Shaping(temperature=0)], [0], length=20)
    )
    greedy = [(int(block.ids[0, 0]), float(block.logprobs[0, 0])) for block in blocks]
    assert list(zip(beam.ids, beam.logprobs, strict=True)) == greedy


def naive_search(
    cell: str, seed: int, groups: int, size: int, penalty: float, length: int
) -> Iterator[list[Text]]:
    """Vijayakumar 2016's algorithm 1 with its Hamming diversity, one text at a time: all live texts
    at every step."""
    beams: list[list[Text]] = [[()] for _ in range(groups)]
    for _ in range(length):
        taken: Counter[int] = Counter()
        for group, texts in enumerate(beams):
            longer = [(*text, char) for text in texts for char in range(V)]
            augmented = {
                text: logprob(cell, seed, text) - penalty * taken[text[-1]] for text in longer
            }
            beams[group] = sorted(augmented, key=lambda text: -augmented[text])[:size]
            taken.update(text[-1] for text in beams[group])
        yield list(itertools.chain(*beams))


@pytest.mark.parametrize("penalty", [0.5, 50.0])
@pytest.mark.parametrize(("groups", "size"), [(5, 1), (3, 2), (1, 4)])
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_diverse_groups_are_those_of_the_naive_algorithm(
    seed: int, groups: int, size: int, penalty: float
) -> None:
    options: dict[str, Any] = {"mode": "diverse", "groups": groups, "diversity": penalty}
    beams = find(make_stepper("gru", seed), width=groups * size, length=8, **options)
    *_, last = naive_search("gru", seed, groups, size, penalty, 8)
    expected = sorted(set(last), key=lambda text: -logprob("gru", seed, text))
    assert [beam.ids for beam in beams] == expected
    np.testing.assert_allclose(
        [beam.score for beam in beams], [logprob("gru", seed, t) for t in expected], **NEAR
    )
    if (groups, size, penalty) == (5, 1, 0.5):
        assert find(make_stepper("gru", seed), width=5, length=8, mode="diverse") == beams, (
            "unless told otherwise"
        )


@pytest.mark.parametrize("alpha", [0.0, 0.6, 8.0])
@pytest.mark.parametrize("stops", [((1,),), ((3, 3),), ((2, 1), (1,)), ((0, 1), (1, 0, 1), (3,))])
@pytest.mark.parametrize("width", [1, 3, 12])
def test_leaving_out_what_cannot_win_changes_nothing(
    width: int, stops: tuple[Text, ...], alpha: float
) -> None:
    for seed in SEEDS:
        scores: dict[Text, float] = {}
        live: list[Text] = [()]
        for num_chars in range(1, 13):
            totals = {
                (*text, char): logprob("rnn", seed, (*text, char))
                for text in live
                for char in range(V)
            }
            chosen = sorted(totals, key=lambda text: -totals[text])[:width]
            live = [text for text in chosen if not ends_in(text, stops)]
            ended = set(chosen) - set(live) if num_chars < 12 else chosen
            scores |= {text: totals[text] / ((5 + num_chars) / 6) ** alpha for text in ended}
        expected = sorted(scores, key=lambda text: -scores[text])[:width]
        for options in ({}, {"mode": "diverse", "groups": 1}):
            shared: dict[str, Any] = {"stops": stops, "length_penalty": alpha, **options}
            beams = find(make_stepper("rnn", seed), width=width, length=12, **shared)
            assert [beam.ids for beam in beams] == expected
            assert [beam.stop_length for beam in beams] == [
                ends_in(text, stops) for text in expected
            ]
        np.testing.assert_allclose(
            [beam.score for beam in beams], [scores[text] for text in expected], **NEAR
        )


@pytest.mark.parametrize("mode", ["plain", "diverse", "stochastic"])
def test_a_search_ends_when_no_live_beam_can_be_returned(mode: str) -> None:
    for seed, width in itertools.product(SEEDS, (1, 4)):
        short, long = (
            CountingStepper(make_stepper("lstm", seed)),
            CountingStepper(make_stepper("lstm", seed)),
        )
        # Without `no_repeat` a narrow beam may go round in circles that no stop string is part of.
        options: dict[str, Any] = {
            "width": width,
            "mode": mode,
            "stops": ((0,), (2, 1)),
            "no_repeat": 6,
        }
        beams = find(long, length=2000, **options)
        assert all(beam.stop_length for beam in beams) and long.num_steps < 500
        assert find(short, length=long.num_steps + 1, **options) == beams
        # The last step was needed: before it, a text that goes on was among the best.
        if long.num_steps:
            assert not all(
                beam.stop_length for beam in find(short, length=long.num_steps, **options)
            )
    stepper = CountingStepper(make_stepper("lstm", 0))
    find(stepper, width=4, length=50, mode=mode, stops=tuple((char,) for char in range(V)))
    assert stepper.num_steps == 0, "every text stops at once"


def writable_probs(
    alphabet: Text, stops: tuple[Text, ...], length: int, text: Text = ()
) -> dict[Text, float]:
    """Every text of that alphabet and its probability, made to sum to 1 over what may be written at
    each place."""
    if len(text) == length or ends_in(text, stops):
        return {text: 1.0}
    logprobs = np.array(next_logprobs("lstm", 3, text))[list(alphabet)]
    return {
        longer: float(np.exp(share)) * chance
        for char, share in zip(alphabet, logprobs - np.logaddexp.reduce(logprobs), strict=True)
        for longer, chance in writable_probs(alphabet, stops, length, (*text, char)).items()
    }


def inclusion_odds(probs: dict[Text, float], number: int) -> dict[Text, float]:
    """The odds that each text is among so many drawn one after another without replacement."""
    odds = dict.fromkeys(probs, 0.0)
    for order in itertools.permutations(probs, number):
        left, chance = 1.0, 1.0
        for text in order:
            chance, left = chance * probs[text] / left, left - probs[text]
        for text in order:
            odds[text] += chance
    return odds


@pytest.mark.parametrize(
    ("banned", "stops"), [((), ()), ((1,), ()), ((), ((0,), (1,))), ((0,), ((2, 1),))]
)
def test_stochastic_beams_are_drawn_without_replacement(
    banned: Text, stops: tuple[Text, ...]
) -> None:
    probs = writable_probs(tuple(char for char in range(V) if char not in banned), stops, 2)
    assert sum(probs.values()) == pytest.approx(1)
    stepper = make_stepper("lstm", 3)
    drawn, first = Counter[Text](), Counter[Text]()
    for seed in range(NUM_DRAWS):
        beams = find(
            stepper, width=3, length=2, mode="stochastic", banned=banned, stops=stops, seed=seed
        )
        drawn.update(beam.ids for beam in beams)
        first[beams[0].ids] += 1
    assert drawn.keys() <= probs.keys()
    # Counts are sums of independent draws: 5 sigma and 5 more are exceeded less than once in a
    # million times.
    for counts, odds in ((drawn, inclusion_odds(probs, 3)), (first, probs)):
        for text, chance in odds.items():
            sigma = math.sqrt(NUM_DRAWS * chance * (1 - chance))
            assert abs(counts[text] - NUM_DRAWS * chance) <= 5 * sigma + 5, (
                text,
                counts[text],
                chance,
            )


@pytest.mark.parametrize("mode", ["plain", "diverse", "stochastic"])
def test_a_search_with_nothing_to_choose_from_finds_the_empty_text(mode: str) -> None:
    stepper = make_stepper("lstm", 0)
    (nothing,) = find(stepper, width=3, length=5, mode=mode, banned=tuple(range(V)))
    assert (nothing.ids, nothing.logprobs, nothing.logprob) == ((), (), 0)
    assert [
        beam.ids for beam in find(stepper, np.arange(V), width=3, length=5, mode=mode, no_repeat=1)
    ] == [()]


@pytest.mark.parametrize("mode", ["plain", "diverse", "stochastic"])
def test_beams_without_a_finite_score_are_dropped_and_the_others_go_on(mode: str) -> None:
    tensors = {name: value.copy() for name, value in tensors_of(make_network("lstm", 0)).items()}
    tensors["embedding.weight"][2] = np.nan  # whoever writes a 2 has only NaN to go on with
    broken = Stepper(config_of("lstm"), tensors)
    every = {text for text in itertools.product(range(V), repeat=3) if 2 not in text[:-1]}
    for width in (5, V**3):
        beams = find(
            broken, width=width, length=3, mode=mode, groups=1 if mode == "diverse" else None
        )
        assert {beam.ids for beam in beams} <= every and len(beams) == min(width, len(every))


@pytest.mark.parametrize(("groups", "size"), [(1, 1), (1, 2), (1, 5), (2, 2)])
def test_what_all_beams_agree_on_is_yielded_at_once(groups: int, size: int) -> None:
    num_early = 0
    for seed in SEEDS:
        stepper = CountingStepper(make_stepper("rnn", seed))
        options = SearchOptions(
            width=groups * size, length=15, mode="diverse", groups=groups, diversity=0.01
        )
        found, num_yielded = [(0, 0)], 0
        for ids in BeamSearch(stepper, PRIME, options):  # type: ignore[arg-type]
            num_yielded += len(ids)
            found.append((stepper.num_steps + 1, num_yielded))
        expected = [(0, 0)]
        for step, texts in enumerate(naive_search("rnn", seed, groups, size, 0.01, 15), start=1):
            agreed = len(
                list(
                    itertools.takewhile(
                        lambda chars: len(set(chars)) == 1, zip(*texts, strict=True)
                    )
                )
            )
            if agreed > expected[-1][1]:
                expected.append((step, agreed))
        if expected[-1][1] < 15:
            expected.append((15, 15))  # the best text's own end
        assert found == expected
        num_early += len(found) - 2
    assert num_early > 5


def test_an_option_out_of_range_is_refused() -> None:
    for wrong, message in (
        ({"length": 0}, "`length` is 0; it must be at least 1 in a beam search"),
        (
            {"diversity": 0.5, "mode": "stochastic"},
            "`diversity` is 0.5, but the search is stochastic",
        ),
        (
            {"mode": "diverse", "groups": 4},
            "`groups` is 4; it must divide `width=6`: one of 1, 2, 3, 6",
        ),
        ({"mode": "diverse", "diversity": math.nan}, "`diversity` is nan;"),
        ({"length_penalty": math.nan, "stops": ("a",)}, "`length_penalty` is nan;"),
        (
            {"length_penalty": 0.6, "stops": ("a",), "mode": "stochastic"},
            "`length_penalty` is 0.6, but a stochastic",
        ),
    ):
        with pytest.raises(UsageError) as refused:
            SearchOptions(**{"width": 6, "length": 5, **wrong})
        assert str(refused.value).startswith(message)
    with pytest.raises(
        UsageError,
        match=r"^`length_penalty` is 0\.6, but without `stops` all texts are equally long",
    ):
        find(make_stepper("rnn", 0), width=2, length=3, length_penalty=0.6)


@given(
    st.lists(st.integers(0, V - 1), min_size=1, max_size=12),
    st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, V - 1)), min_size=3, max_size=3),
        max_size=12,
    ),
    st.integers(1, 7),
)
def test_what_repeats_is_forbidden(
    before: list[int], growth: list[list[tuple[int, int]]], n: int
) -> None:
    texts, seen = [before] * 3, SeenNgrams(n, np.array(before, np.uint16), 3)
    for steps in [[], *growth]:
        if steps:
            texts = [[*texts[parent], char] for parent, char in steps]
            seen.grow(
                np.array([parent for parent, _ in steps]), np.array([char for _, char in steps])
            )
        logprobs = np.zeros((3, V))
        seen.forbid(logprobs)
        for text, row in zip(texts, logprobs, strict=True):
            ngrams = {tuple(text[place : place + n]) for place in range(len(text) - n + 1)}
            repeats = [(*text[len(text) - n + 1 :], char) in ngrams for char in range(V)]
            assert row.tolist() == np.where(repeats, -np.inf, 0.0).tolist()

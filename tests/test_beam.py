"""Beam search: the best of all texts when it may keep them all, and honest scores when it may not.

Shapes: V vocabulary, T characters of a text.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from charrnn.config import Config
from charrnn.errors import UsageError
from charrnn.generation.beam import Beam, BeamSearch, SeenNgrams
from charrnn.generation.options import MAX_WIDTH, SearchOptions, Shaping
from charrnn.generation.sampling import prime_model, sample_ids
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


class CountingStepper:
    """A stepper that counts its steps."""

    def __init__(self, stepper: Stepper) -> None:
        self.read, self._step, self.num_steps = stepper.read, stepper.step, 0

    def step(self, ids: NDArray[Any], state: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.num_steps += 1
        return self._step(ids, state)


def find(stepper: Any, prime: NDArray[Any] = PRIME, **options: Any) -> list[Beam]:
    """All beams of a search, once it is seen that they are different, ranked, and led by the text that it streamed."""
    ids = {name: options.pop(name) for name in ("stops", "banned") if name in options}
    width = options["width"]
    search = BeamSearch(stepper, prime, SearchOptions(**options), **ids)
    pieces = list(search)
    assert all(pieces) and tuple(itertools.chain(*pieces)) == search.beams[0].ids
    scores = [beam.score for beam in search.beams]
    assert scores == sorted(scores, reverse=True)
    assert len({beam.ids for beam in search.beams}) == len(scores) <= width
    return search.beams


@cache
def next_logprobs(cell: str, seed: int, text: tuple[int, ...]) -> tuple[float, ...]:
    """Log-probability of every character after PRIME and a text, read from the start."""
    logits, _ = make_stepper(cell, seed).read(np.array([*PRIME, *text]))
    return tuple((logits[0] - np.logaddexp.reduce(logits[0].astype(np.float64))).tolist())


def logprob(cell: str, seed: int, text: tuple[int, ...]) -> float:
    return sum(next_logprobs(cell, seed, text[:place])[char] for place, char in enumerate(text))


def ends_in(text: tuple[int, ...], stops: tuple[tuple[int, ...], ...]) -> int:
    """The length of the longest stop string that a text ends in."""
    return max(
        (len(stop) for stop in stops if text[len(text) - len(stop) :] == stop and len(stop) <= len(text)), default=0
    )


def whole_texts(
    stops: tuple[tuple[int, ...], ...], text: tuple[int, ...] = (), alphabet: tuple[int, ...] = tuple(range(V))
) -> Iterator[tuple[int, ...]]:
    """Every text of T characters, or fewer if it ends in a stop string."""
    if len(text) == T or ends_in(text, stops):
        yield text
    else:
        for char in alphabet:
            yield from whole_texts(stops, (*text, char), alphabet)


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
    beams = find(make_stepper(cell, seed), PRIME, width=width, length=T)
    assert len(beams) == min(width, V**T) and len({beam.ids for beam in beams}) == len(beams)
    ranked = sorted(expected.items(), key=lambda item: -item[1])
    assert ranked[0][1] - ranked[1][1] > 1e-4, "two texts so near would be told apart by rounding"
    assert beams[0].ids == ranked[0][0]
    np.testing.assert_allclose([beam.logprob for beam in beams], [value for _, value in ranked[: len(beams)]], **NEAR)
    if len(beams) == V**T:
        # Log-probabilities right to 1e-5 give probabilities right to 1e-5 of themselves.
        assert sum(np.exp(beam.logprob) for beam in beams) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("mode", [{"mode": "plain"}, {"mode": "diverse", "diversity": 1.5}, {"mode": "stochastic"}])
@pytest.mark.parametrize("width", [1, 2, 3, 7])
@pytest.mark.parametrize("cell", CELLS)
def test_log_probabilities_are_the_network_s_own(cell: str, width: int, mode: dict[str, Any]) -> None:
    beams = find(make_stepper(cell, 0), PRIME, width=width, length=12, **mode)
    assert len(beams) == width or mode["mode"] == "diverse"  # whose groups may find the same text
    for beam, expected in zip(beams, score(cell, 0, [beam.ids for beam in beams]), strict=True):
        assert len(beam.ids) == len(beam.logprobs) == 12
        np.testing.assert_allclose(beam.logprobs, expected, **NEAR)
        assert beam.logprob == pytest.approx(sum(beam.logprobs), abs=1e-12)
        assert (beam.score == pytest.approx(beam.logprob, abs=1e-12)) == (mode["mode"] != "stochastic")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_beam_of_one_is_greedy(cell: str, seed: int) -> None:
    stepper = make_stepper(cell, seed)
    (beam,) = find(stepper, PRIME, width=1, length=20)
    blocks = list(sample_ids(stepper, prime_model(stepper, PRIME), [Shaping(temperature=0)], [(0, 0)], length=20))
    greedy = [(int(block.ids[0, 0]), float(block.logprobs[0, 0])) for block in blocks]
    assert list(zip(beam.ids, beam.logprobs, strict=True)) == greedy


def test_a_narrower_beam_never_scores_better_than_the_optimum_and_can_miss_it() -> None:
    num_missed = 0
    for cell, seed, width in itertools.product(CELLS, SEEDS, (1, 2, 5, 20)):
        expected = brute_force(cell, seed)
        optimum = max(expected.values())
        beams = find(make_stepper(cell, seed), PRIME, width=width, length=T)
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
    beams = find(make_stepper(cell, 1), PRIME, width=V**T, length=T, banned=banned)
    assert {beam.ids for beam in beams} == expected.keys()
    assert beams[0].ids == max(expected, key=lambda text: expected[text])
    for beam in beams:
        # Not renormalised over what is permitted: still the model's own.
        assert beam.logprob == pytest.approx(expected[beam.ids], abs=1e-5)


def test_of_equal_texts_the_first_are_found() -> None:
    config = Config(cell="rnn", num_layers=1, hidden_size=2, embedding_size=2, dropout=0.0)
    shapes = {name: value.shape for name, value in CharRNN(config, V).state_dict().items()}
    stepper = Stepper(config, {name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    every = list(itertools.product(range(V), repeat=3))
    for width in (1, 2, 3, 5, 16, 50, 64):
        assert [beam.ids for beam in find(stepper, width=width, length=3)] == every[:width]


def naive_search(
    cell: str, seed: int, groups: int, size: int, penalty: float, length: int
) -> Iterator[list[tuple[int, ...]]]:
    """Vijayakumar 2016's algorithm 1 with its Hamming diversity, one text at a time: all live texts at every step."""
    beams: list[list[tuple[int, ...]]] = [[()] for _ in range(groups)]
    for _ in range(length):
        taken: Counter[int] = Counter()
        for group, texts in enumerate(beams):
            augmented = {
                (*text, char): logprob(cell, seed, (*text, char)) - penalty * taken[char]
                for text in texts
                for char in range(V)
            }
            beams[group] = sorted(augmented, key=lambda text: -augmented[text])[:size]
            taken.update(text[-1] for text in beams[group])
        yield list(itertools.chain(*beams))


@pytest.mark.parametrize("penalty", [0.2, 1.5, 50.0])
@pytest.mark.parametrize(("groups", "size"), [(2, 1), (5, 1), (2, 3), (3, 2), (1, 4)])
@pytest.mark.parametrize("seed", SEEDS)
def test_diverse_groups_are_those_of_the_naive_algorithm(seed: int, groups: int, size: int, penalty: float) -> None:
    options: dict[str, Any] = {"mode": "diverse", "groups": groups, "diversity": penalty}
    beams = find(make_stepper("gru", seed), width=groups * size, length=8, **options)
    *_, last = naive_search("gru", seed, groups, size, penalty, 8)
    expected = sorted(set(last), key=lambda text: -logprob("gru", seed, text))
    assert [beam.ids for beam in beams] == expected
    np.testing.assert_allclose([beam.score for beam in beams], [logprob("gru", seed, t) for t in expected], **NEAR)


def test_a_diverse_search_has_a_group_for_each_beam_and_half_a_nat_unless_told() -> None:
    stepper = make_stepper("gru", 2)
    told = find(stepper, width=4, length=8, mode="diverse", groups=4, diversity=0.5)
    assert find(stepper, width=4, length=8, mode="diverse") == told
    assert told != find(stepper, width=4, length=8)


STOPS = [((1,),), ((3, 3),), ((0, 2),), ((2, 1), (1,)), ((0, 1), (1, 0, 1), (3,)), ((1, 1, 1, 1, 1),)]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 4.0])
@pytest.mark.parametrize("stops", STOPS)
@pytest.mark.parametrize("width", [V ** (T - 1), 2 * V**T])
def test_stopped_texts_rank_as_in_the_enumeration_of_all(
    width: int, stops: tuple[tuple[int, ...], ...], alpha: float
) -> None:
    for cell, seed in (("lstm", 0), ("gru", 1)):
        expected = {text: logprob(cell, seed, text) / ((5 + len(text)) / 6) ** alpha for text in whole_texts(stops)}
        ranked = sorted(expected, key=lambda text: -expected[text])[:width]
        stepper = make_stepper(cell, seed)
        for mode in ("plain", "diverse"):
            options: dict[str, Any] = {"mode": mode, "groups": 1 if mode == "diverse" else None}
            beams = find(stepper, width=width, length=T, stops=stops, length_penalty=alpha, **options)
            assert [beam.ids for beam in beams] == ranked
            np.testing.assert_allclose([beam.score for beam in beams], [expected[text] for text in ranked], **NEAR)
            assert [beam.stop_length for beam in beams] == [ends_in(text, stops) for text in ranked]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0, 8.0])
@pytest.mark.parametrize("stops", STOPS[:-1])
@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_leaving_out_what_cannot_win_changes_nothing(
    width: int, stops: tuple[tuple[int, ...], ...], alpha: float
) -> None:
    for seed in SEEDS:
        scores: dict[tuple[int, ...], float] = {}
        live: list[tuple[int, ...]] = [()]
        for num_chars in range(1, 13):
            totals = {(*text, char): logprob("rnn", seed, (*text, char)) for text in live for char in range(V)}
            chosen = sorted(totals, key=lambda text: -totals[text])[:width]
            live = [text for text in chosen if not ends_in(text, stops)]
            ended = set(chosen) - set(live) if num_chars < 12 else chosen
            scores |= {text: totals[text] / ((5 + num_chars) / 6) ** alpha for text in ended}
        expected = sorted(scores, key=lambda text: -scores[text])[:width]
        beams = find(make_stepper("rnn", seed), width=width, length=12, stops=stops, length_penalty=alpha)
        assert [beam.ids for beam in beams] == expected
        np.testing.assert_allclose([beam.score for beam in beams], [scores[text] for text in expected], **NEAR)


@pytest.mark.parametrize("mode", ["plain", "diverse", "stochastic"])
def test_a_search_ends_when_no_live_beam_can_be_returned(mode: str) -> None:
    for seed, width in itertools.product(SEEDS, (1, 4)):
        short, long = CountingStepper(make_stepper("lstm", seed)), CountingStepper(make_stepper("lstm", seed))
        # Without `no_repeat` a narrow beam may go round in circles that no stop string is part of.
        options: dict[str, Any] = {"width": width, "mode": mode, "stops": ((0,), (2, 1)), "no_repeat": 6}
        beams = find(long, length=2000, **options)
        assert all(beam.stop_length for beam in beams)
        assert long.num_steps < 500
        assert find(short, length=long.num_steps + 1, **options) == beams
        # The last step was needed: before it, a text that goes on was among the best.
        if long.num_steps:
            assert not all(beam.stop_length for beam in find(short, length=long.num_steps, **options))
    stepper = CountingStepper(make_stepper("lstm", 0))
    find(stepper, width=4, length=50, mode=mode, stops=tuple((char,) for char in range(V)))
    assert stepper.num_steps == 0, "every text stops at once"


def writable_probs(
    cell: str, seed: int, alphabet: tuple[int, ...], stops: tuple[tuple[int, ...], ...]
) -> dict[tuple[int, ...], float]:
    """Every text of that alphabet and its probability, made to sum to 1 over what may be written at each place."""
    probs = {}
    for text in whole_texts(stops, (), alphabet):
        places = [np.array(next_logprobs(cell, seed, text[:place])) for place in range(len(text))]
        probs[text] = math.exp(
            sum(lp[char] - np.logaddexp.reduce(lp[list(alphabet)]) for lp, char in zip(places, text, strict=True))
        )
    assert sum(probs.values()) == pytest.approx(1)
    return probs


def inclusion_odds(probs: dict[tuple[int, ...], float], number: int) -> dict[tuple[int, ...], float]:
    """The odds that each text is among so many drawn one after another without replacement."""
    odds = dict.fromkeys(probs, 0.0)
    for order in itertools.permutations(probs, number):
        left, chance = 1.0, 1.0
        for text in order:
            chance, left = chance * probs[text] / left, left - probs[text]
        for text in order:
            odds[text] += chance
    return odds


NUM_DRAWS = 1500


@pytest.mark.parametrize(
    ("banned", "stops"),
    [((), ()), ((1,), ()), ((), ((0,), (1,))), ((0,), ((2, 1),))],
    ids=["all", "banned", "stops", "both"],
)
def test_stochastic_beams_are_drawn_without_replacement(
    monkeypatch: pytest.MonkeyPatch, banned: tuple[int, ...], stops: tuple[tuple[int, ...], ...]
) -> None:
    monkeypatch.setitem(globals(), "T", 2)
    probs = writable_probs("lstm", 3, tuple(char for char in range(V) if char not in banned), stops)
    stepper = make_stepper("lstm", 3)
    drawn, first = Counter[tuple[int, ...]](), Counter[tuple[int, ...]]()
    for seed in range(NUM_DRAWS):
        beams = find(stepper, width=3, length=2, mode="stochastic", banned=banned, stops=stops, seed=seed)
        drawn.update(beam.ids for beam in beams)
        first[beams[0].ids] += 1
    assert drawn.keys() <= probs.keys()
    # Counts are sums of independent draws: 5 sigma and 5 more are exceeded less than once in a million times.
    for counts, odds in ((drawn, inclusion_odds(probs, 3)), (first, probs)):
        for text, chance in odds.items():
            sigma = math.sqrt(NUM_DRAWS * chance * (1 - chance))
            assert abs(counts[text] - NUM_DRAWS * chance) <= 5 * sigma + 5, (text, counts[text], chance)


def gumbel_gap(noise: list[float]) -> float:
    """The Kolmogorov-Smirnov distance of noise from Gumbel noise, times sqrt(n): above 2.5 once in 130,000 times."""
    expected = np.exp(-np.exp(-np.sort(noise)))
    middles = (np.arange(len(noise)) + 0.5) / len(noise)
    return float(np.abs(expected - middles).max() * math.sqrt(len(noise)))


@pytest.mark.parametrize("banned", [(), (0,), (1, 2)])
def test_stochastic_scores_are_log_probabilities_and_independent_gumbel_noise(banned: tuple[int, ...]) -> None:
    alphabet = tuple(char for char in range(V) if char not in banned)
    probs = writable_probs("gru", 0, alphabet, ())
    noise, best = [], []
    for seed in range(200 if banned else 60):
        options: dict[str, Any] = {"length": T, "mode": "stochastic", "banned": banned, "seed": seed}
        beams = find(make_stepper("gru", 0), width=V**T, **options)
        assert {beam.ids for beam in beams} == probs.keys()
        noise += [beam.score - math.log(probs[beam.ids]) for beam in beams]
        best.append(beams[0].score)
    assert gumbel_gap(noise) < 2.5
    assert gumbel_gap(best) < 2.5, "the maximum of Gumbel noise and log-probabilities that sum to 1 is such noise, too"


def test_a_seed_draws_the_same_beams_again() -> None:
    one, again, other = (
        find(make_stepper("lstm", 0), width=5, length=10, mode="stochastic", seed=seed) for seed in (1, 1, 2)
    )
    assert one == again and one != other
    (single,) = find(make_stepper("lstm", 0), width=1, length=10, mode="stochastic", seed=1)
    assert len(single.ids) == 10


def repeats_ngram(text: tuple[int, ...], n: int) -> bool:
    """Whether a text repeats an n-gram with one of its own characters."""
    whole = (*PRIME.tolist(), *text)
    ngrams = [whole[place : place + n] for place in range(len(whole) - n + 1)]
    return any(ngrams.index(ngram) < place for place, ngram in enumerate(ngrams) if place + n > len(PRIME))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("seed", SEEDS)
def test_no_repeat_forbids_as_the_enumeration_does(seed: int, n: int) -> None:
    expected = {text: value for text, value in brute_force("gru", seed).items() if not repeats_ngram(text, n)}
    beams = find(make_stepper("gru", seed), width=V**T, length=T, no_repeat=n)
    if n == 1:
        assert not expected and [beam.ids for beam in beams] == [(2,)], "PRIME leaves one character, and then none"
    else:
        assert [beam.ids for beam in beams] == sorted(expected, key=lambda text: -expected[text])
        assert all(beam.logprob == pytest.approx(expected[beam.ids], abs=1e-5) for beam in beams)
    assert n > 3 or len(expected) < V**T, "had nothing been forbidden, this would test nothing"


def test_of_beams_with_nothing_left_to_write_those_that_stopped_remain() -> None:
    stopped = find(make_stepper("rnn", 0), width=V**T, length=100, no_repeat=2, stops=((3, 3),))
    assert all(beam.ids[-2:] == (3, 3) and beam.stop_length == 2 for beam in stopped)
    assert len({len(beam.ids) for beam in stopped}) > 1


@pytest.mark.parametrize("mode", ["plain", "diverse", "stochastic"])
def test_a_search_with_nothing_to_choose_from_finds_the_empty_text(mode: str) -> None:
    stepper = make_stepper("lstm", 0)
    (nothing,) = find(stepper, width=3, length=5, mode=mode, banned=tuple(range(V)))
    assert (nothing.ids, nothing.logprobs, nothing.logprob) == ((), (), 0)
    assert [beam.ids for beam in find(stepper, np.arange(V), width=3, length=5, mode=mode, no_repeat=1)] == [()]
    tensors = {name: value.numpy().copy() for name, value in make_network("lstm", 0).state_dict().items()}
    tensors["output.bias"][2] = np.nan
    broken = Stepper(Config(cell="lstm", num_layers=2, hidden_size=8, embedding_size=4, dropout=0.0), tensors)
    assert [beam.ids for beam in find(broken, width=3, length=5, mode=mode)] == [()]


@pytest.mark.parametrize("mode", ["plain", "diverse", "stochastic"])
def test_beams_without_a_finite_score_are_dropped_and_the_others_go_on(mode: str) -> None:
    tensors = {name: value.numpy().copy() for name, value in make_network("lstm", 0).state_dict().items()}
    tensors["embedding.weight"][2] = np.nan  # whoever writes a 2 has only NaN to go on with
    broken = Stepper(Config(cell="lstm", num_layers=2, hidden_size=8, embedding_size=4, dropout=0.0), tensors)
    every = {text for text in itertools.product(range(V), repeat=3) if 2 not in text[:-1]}
    for width in (5, V**3):
        beams = find(broken, width=width, length=3, mode=mode, groups=1 if mode == "diverse" else None)
        assert {beam.ids for beam in beams} <= every
        assert len(beams) == min(width, len(every))


@pytest.mark.parametrize(("groups", "size"), [(1, 1), (1, 2), (1, 5), (2, 2)])
def test_what_all_beams_agree_on_is_yielded_at_once(groups: int, size: int) -> None:
    num_early = 0
    for seed in SEEDS:
        stepper = CountingStepper(make_stepper("rnn", seed))
        options = SearchOptions(width=groups * size, length=15, mode="diverse", groups=groups, diversity=0.01)
        found, num_yielded = [(0, 0)], 0
        for ids in BeamSearch(stepper, PRIME, options):  # type: ignore[arg-type]
            num_yielded += len(ids)
            found.append((stepper.num_steps + 1, num_yielded))
        expected = [(0, 0)]
        for step, texts in enumerate(naive_search("rnn", seed, groups, size, 0.01, 15), start=1):
            agreed = len(list(itertools.takewhile(lambda chars: len(set(chars)) == 1, zip(*texts, strict=True))))
            if agreed > expected[-1][1]:
                expected.append((step, agreed))
        if expected[-1][1] < 15:
            expected.append((15, 15))  # the best text's own end
        assert found == expected
        num_early += len(found) - 2
    assert num_early > 5


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"width": 0}, "`width` is 0; it must be between 1 and 4096"),
    ({"width": -1}, "`width` is -1; it must be between 1 and 4096"),
    ({"width": MAX_WIDTH + 1}, "`width` is 4097; it must be between 1 and 4096"),
    ({"length": 0}, "`length` is 0; beam search needs at least 1"),
    ({"length": -1}, "`length` is -1;"),
    ({"mode": "greedy"}, "`mode` is 'greedy'; it must be plain, diverse or stochastic"),
    ({"groups": 2}, "`groups` is 2, but the search is plain. Add `mode=diverse`"),
    ({"diversity": 0.5, "mode": "stochastic"}, "`diversity` is 0.5, but the search is stochastic"),
    ({"mode": "diverse", "groups": 4}, "`groups` is 4; it must divide `width=6`: one of 1, 2, 3, 6"),
    ({"mode": "diverse", "groups": 0}, "`groups` is 0; it must divide `width=6`"),
    ({"mode": "diverse", "groups": -2}, "`groups` is -2; it must divide `width=6`"),
    ({"mode": "diverse", "diversity": 0.0}, "`diversity` is 0.0; it must be more than 0"),
    ({"mode": "diverse", "diversity": math.inf}, "`diversity` is inf; it must be more than 0, and finite"),
    ({"mode": "diverse", "diversity": math.nan}, "`diversity` is nan;"),
    ({"length_penalty": -0.1, "stops": ("a",)}, "`length_penalty` is -0.1; it must be between 0 and 10"),
    ({"length_penalty": 11.0, "stops": ("a",)}, "`length_penalty` is 11.0; it must be between 0 and 10"),
    ({"length_penalty": math.nan, "stops": ("a",)}, "`length_penalty` is nan;"),
    ({"length_penalty": 0.6, "stops": ("a",), "mode": "stochastic"}, "`length_penalty` is 0.6, but a stochastic"),
    ({"no_repeat": 0}, "`no_repeat` is 0; it must be at least 1"),
    ({"stops": ("a", "")}, "`stops` has an empty string; it must be at least 1 character"),
    ({"seed": -1}, "`seed` is -1; it must be 0 or more"),
]


@pytest.mark.parametrize(("wrong", "message"), MISTAKES)
def test_an_option_out_of_range_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        SearchOptions(**{"width": 6, "length": 5, **wrong})
    assert str(refused.value).startswith(message)


def test_a_length_penalty_needs_stop_strings() -> None:
    with pytest.raises(UsageError, match=r"^`length_penalty` is 0\.6, but without `stops` all texts are equally long"):
        find(make_stepper("rnn", 0), width=2, length=3, length_penalty=0.6)


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

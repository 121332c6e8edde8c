"""Sampling: the seed decides the text, the probabilities how often. V vocabulary, N characters."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hand_built import draw_texts, mask_of, vocab_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.config.settings import Config
from charrnn.generation.distribution import CharWeights, char_weights
from charrnn.generation.generator import start_ids, undrawable_ids
from charrnn.generation.rules import Rules
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.sampling import (
    draw,
    random_numbers_of,
    seed_of_text,
)
from charrnn.generation.writing import Ending, WrittenText
from charrnn.model.cell_types import CELLS as EQUATIONS
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import REPLACEMENT, Vocab

H = 6
CELLS = ("lstm", "gru", "rnn")


def config_of(cell):
    return Config(cell_type=cell, num_layers=1, hidden_size=H, embedding_size=H, dropout=0.0)


def random_tensors(cell, vocab_size):
    """Weights of a one-layer model that minds what it has read."""
    generator = np.random.default_rng(0)
    rows = EQUATIONS[cell].input_blocks * H
    shapes = {
        "embedding.weight": (vocab_size, H),
        "layers.0.weight_ih_l0": (rows, H),
        "layers.0.weight_hh_l0": (rows, H),
        "layers.0.bias_ih_l0": (rows,),
        "layers.0.bias_hh_l0": (rows,),
        "output.weight": (vocab_size, H),
        "output.bias": (vocab_size,),
    }
    return {
        name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }


def forgetful_stepper(probs):
    """A model that gives every character the same probabilities (V,), whatever it has read."""
    tensors = random_tensors("rnn", len(probs))
    tensors["output.weight"][:] = 0
    tensors["output.bias"] = np.log(np.array(probs, np.float32))
    return Stepper(config_of("rnn"), tensors)


def copying_stepper(followers):
    """A model of bytes that writes followers[i] after byte i, with all but all of the
    probability."""
    tensors = {name: np.zeros_like(value) for name, value in random_tensors("rnn", 256).items()}
    tensors["layers.0.weight_ih_l0"] = np.eye(H, dtype=np.float32)
    for unit, (char, follower) in enumerate(followers.items()):
        tensors["embedding.weight"][char, unit] = 10
        tensors["output.weight"][follower, unit] = 50
    return Stepper(config_of("rnn"), tensors)


def drawn(stepper, prime, *, seed, length, **options):
    """(id, log-probability) of the characters of one text."""
    [text] = draw_texts(stepper, prime, [seed], length=length, **options)
    return list(zip(text.ids, text.logprobs, strict=True))


def pieces_of(stepper, vocab, *, length, **options):
    """The text of one stream, piece by piece."""
    [text] = draw_texts(stepper, start_ids(vocab), [0], length=length, **options)
    rules = Rules.of(mask_of((), len(vocab)))
    written = WrittenText(vocab, Ending(length=length, rules=rules))
    pieces = []
    for id in text.ids:
        written.add([id], [0.0], [0.0])
        pieces += written.take_pieces()
    return pieces


def test_the_seed_decides_the_text():
    stepper = Stepper(config_of("lstm"), random_tensors("lstm", 20))
    first = drawn(stepper, [3, 4], temperature=1.3, seed=7, length=80)
    assert drawn(stepper, [3, 4], temperature=1.3, seed=7, length=80) == first
    assert drawn(stepper, [3, 4], temperature=1.3, seed=7, length=30) == first[:30]
    for prime, seed in (([3, 4], 8), ([3], 7)):
        assert drawn(stepper, prime, temperature=1.3, seed=seed, length=80) != first


def test_the_texts_of_one_seed_have_independent_random_numbers():
    numbers = [random_numbers_of(seed_of_text(5, index)).random(4).tolist() for index in range(3)]
    assert numbers[0] == np.random.Generator(np.random.PCG64(5)).random(4).tolist()
    assert len({number for row in numbers for number in row}) == 12
    third = np.random.SeedSequence(5, spawn_key=(2,))
    assert numbers[2] == np.random.Generator(np.random.PCG64(third)).random(4).tolist()


def test_a_text_can_be_drawn_by_its_own_seed():
    assert seed_of_text(5, 3) == 5 + 3 * 2**32
    assert seed_of_text(seed_of_text(5, 1), 2) == seed_of_text(5, 3)


@pytest.mark.parametrize("cell", CELLS)
def test_the_log_probability_is_the_model_s_own_before_any_shaping(cell):
    stepper = Stepper(config_of(cell), random_tensors(cell, 20))
    ids = [3, 4]
    shaping = {"temperature": 0.7, "top_k": 6}
    for char, logprob in drawn(stepper, ids, seed=1, length=40, banned=(0,), **shaping):
        logits = stepper.read(np.array(ids))[0][0].tolist()
        # The same float32 logits, then float64 sums of 20 terms: some 1e-15.
        assert logprob == pytest.approx(
            logits[char] - math.log(math.fsum(map(math.exp, logits))), rel=0, abs=1e-12
        )
        # It is what was read that is sampled.
        weights = char_weights(
            np.array(logits), SampleOptions(**shaping), banned=mask_of([0], len(logits))
        )
        assert weights.probs[char] > 0
        ids.append(char)


def test_a_rule_that_forbids_nothing_changes_neither_the_text_nor_the_values_of_its_cell():
    stepper = Stepper(config_of("lstm"), random_tensors("lstm", 20))
    texts = []
    nothing = np.zeros(20, np.bool_)
    for forbid in (None, lambda ids: nothing):
        rules = Rules.of(nothing, forbid=forbid)
        texts += draw_texts(stepper, [3, 4], [7], length=9, rules=rules, cell=(0, 1))
    assert texts[0].ids == texts[1].ids
    assert texts[0].values == texts[1].values and len(set(texts[0].values)) > 1


def chi_square(counts, expected):
    return float(((counts - expected) ** 2 / expected).sum())


def critical_value(num_free):
    """What chi-square exceeds once in a million: Wilson & Hilferty 1931, within 2 % for 3 to 15
    degrees of freedom."""
    z = NormalDist().inv_cdf(1 - 1e-6)
    return num_free * (1 - 2 / (9 * num_free) + z * math.sqrt(2 / (9 * num_free))) ** 3


NUM_DRAWS = 5_000


@pytest.mark.slow
def test_sampled_characters_follow_the_shaped_probabilities_one_independent_of_the_next():
    stepper = forgetful_stepper([0.1, 0.4, 0.05, 0.3, 0.15])
    # Leaves 0.1, 0.05, 0.3 and 0.15, squared.
    shaping = {"temperature": 0.5, "top_k": 4}
    found = drawn(stepper, [0], seed=2, length=NUM_DRAWS, banned=(1,), **shaping)
    ids = [char for char, _ in found]
    weights = np.array([0.1, 0.0, 0.05, 0.3, 0.15]) ** 2
    probs = weights / weights.sum()
    possible = probs > 0
    counts = np.bincount(ids, minlength=5)
    assert counts[1] == 0
    assert chi_square(counts[possible], NUM_DRAWS * probs[possible]) < critical_value(3)
    # The test has power: probabilities that are off by a fifth of a part would not pass.
    off = probs * np.array([1.0, 0.0, 1.0, 0.8, 1.0])
    assert chi_square(counts[possible], NUM_DRAWS * off[possible] / off.sum()) > critical_value(3)
    pairs = np.zeros((5, 5))
    # Pairs that do not overlap: those that do would depend on each other, and chi-square counts
    # independent ones.
    np.add.at(pairs, (ids[::2], ids[1::2]), 1)
    expected = NUM_DRAWS / 2 * probs[possible][:, None] * probs[possible]
    assert chi_square(pairs[np.ix_(possible, possible)], expected) < critical_value(15)


JUST_UNDER_ONE = math.nextafter(1.0, 0.0)
WEIGHTS = st.lists(
    st.sampled_from([0.0, 0.0, 1e-300, 1e-17, 0.1, 1 / 3, 0.7]), min_size=1, max_size=12
)


@given(
    WEIGHTS.filter(any),
    st.sampled_from([0.0, 5e-324, 0.5, JUST_UNDER_ONE]) | st.floats(0, JUST_UNDER_ONE),
)
@settings(max_examples=100)
@example([0.1] * 10 + [0.0], JUST_UNDER_ONE)
@example([0.0, 1.0], 0.0)
@example([0.7, 1e-17, 0.0], JUST_UNDER_ONE)
def test_the_impossible_is_never_drawn_even_at_the_edges(weights, uniform):
    probs = np.array(weights) / sum(weights)
    assert probs[draw(CharWeights(probs, float(np.cumsum(probs)[-1])), uniform)] > 0


@pytest.mark.parametrize("temperature", [0.0, 1.0, 100.0])
def test_the_unknown_symbol_is_never_written(temperature):
    vocab = vocab_of("abc\n")
    stepper = forgetful_stepper([0.9, 0.025, 0.025, 0.025, 0.025])
    banned = (*undrawable_ids(vocab), 2)
    found = pieces_of(stepper, vocab, temperature=temperature, length=300, banned=banned)
    pieces = [piece.text for piece in found]
    assert len(pieces) == 300
    # Nor is "a", which was banned beside it; the others are equally likely, and greed takes the
    # first.
    assert set(pieces) == ({"\n"} if temperature == 0 else {"\n", "b", "c"})


def test_a_character_of_several_bytes_comes_when_it_is_complete():
    vocab = Vocab.of_bytes()
    first, second, third = "€".encode()
    stepper = copying_stepper({10: first, first: second, second: third, third: first})
    written = [
        [piece.text for piece in pieces_of(stepper, vocab, length=length)] for length in range(6)
    ]
    euro = ["", "", "€"]
    begun = [[REPLACEMENT], ["", REPLACEMENT]]  # the last piece carries what was left unfinished
    assert written == [[], *begun, euro, *([*euro, *pieces] for pieces in begun)]

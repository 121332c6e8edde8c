"""The compiled loop: the bits of the NumPy one, the numbers of the network, and how often it draws what."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TrainedRun, clean_environment
from numpy.typing import NDArray

import charrnn
from charrnn.config import CELLS, Config
from charrnn.errors import UsageError
from charrnn.generation import sampling
from charrnn.generation.distribution import Shaping, next_char_probs
from charrnn.generation.sampling import Block, Reading, read_prime, sample_ids
from charrnn.model.network import CharRNN
from charrnn.model.stepper import Stepper
from charrnn.model.weights import Matrix

compiled = pytest.importorskip("charrnn.generation.compiled", reason="numba is not installed")

V, E, H = 17, 6, 21
BASE = Config(cell="lstm", num_layers=3, hidden_size=H, embedding_size=E, dropout=0.0)
Ids = NDArray[np.int64]


def make_network(config: Config) -> CharRNN:
    """A network whose further weights and biases are not zero."""
    network = CharRNN(config, V)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.normal_(std=0.3, generator=generator)
        for name, parameter in network.named_parameters():
            if name.endswith("modrelu_bias"):
                # Where nothing is ever forgotten, every rounding adds up.
                parameter.abs_().mul_(-1)
    return network


def make_stepper(config: Config, precision: str) -> Stepper:
    return Stepper(config, {n: value.numpy() for n, value in make_network(config).state_dict().items()}, precision)


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Take the compiled loop, or NumPy's, however short the text."""

    def take(is_compiled: bool) -> None:
        monkeypatch.setattr(sampling, "COMPILED_FROM", 0 if is_compiled else sys.maxsize)
        monkeypatch.setattr(sampling, "UNCACHED_FROM", 0)

    return take


SHAPINGS = [
    Shaping(banned=(0,)),
    Shaping(temperature=0, banned=(0,)),
    Shaping(temperature=0.7, top_k=5, banned=(0,)),
    Shaping(temperature=1.3, top_p=0.8, banned=(0,)),
    Shaping(temperature=1.1, top_k=9, top_p=0.9, min_p=0.05, banned=(0,)),
    Shaping(temperature=1e-6, banned=(0,)),
    Shaping(temperature=1e6, min_p=0.5, banned=(0,)),
]
VARIANTS: dict[str, dict[str, Any]] = {
    "stacked": {},
    "residual": {"depth": "residual", "sum_outputs": True},
    "highway": {"depth": "highway", "zoneout": 0.2, "initial_state": "learned"},
}


def draw_all(stepper: Stepper, streams: range = range(len(SHAPINGS)), length: int = 150) -> Block:
    """Every kind of shaping, a held cell, a shown cell and short lines, at once."""
    reading = read_prime(stepper, np.array([1, 2, 3]))
    shapings, seeds = [SHAPINGS[stream] for stream in streams], [(0, stream) for stream in streams]
    blocks = sample_ids(stepper, reading, shapings, seeds, length=length, max_line=20, newline=4, cell=(1, 2))
    return Block(*(np.concatenate(parts, axis=1) for parts in zip(*blocks, strict=True)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("cell", compiled.KINDS)
def test_in_eight_bits_it_computes_the_very_bits_of_numpy(
    cell: str, variant: str, choose: Callable[[bool], None]
) -> None:
    stepper = make_stepper(replace(BASE, cell=cell, **VARIANTS[variant]), "int8")
    stepper.hold(1, 3, 0.7)
    choose(False)
    expected = draw_all(stepper)
    choose(True)
    found = draw_all(stepper)
    assert np.array_equal(found.ids, expected.ids)
    assert np.array_equal(found.values, expected.values), "bit for bit, though 150 steps have passed"
    # Sums of 17 exponentials in float64, in another order.
    np.testing.assert_allclose(found.logprobs, expected.logprobs, rtol=0, atol=1e-13)
    assert len({tuple(row) for row in found.ids.tolist()}) > 1
    assert found.values.std() > 0.001


@pytest.mark.parametrize("cell", compiled.KINDS)
def test_in_float32_it_computes_the_numbers_of_numpy(cell: str, choose: Callable[[bool], None]) -> None:
    stepper = make_stepper(replace(BASE, cell=cell), "fp32")
    choose(False)
    expected = draw_all(stepper)
    choose(True)
    found = draw_all(stepper)
    # Sums in another order, and a tanh that is off by 4e-7.
    assert np.array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.logprobs, expected.logprobs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-5)


def test_a_stream_is_the_same_whatever_is_drawn_beside_it(choose: Callable[[bool], None]) -> None:
    stepper = make_stepper(BASE, "int8")
    choose(True)
    together = draw_all(stepper)
    for stream in range(len(SHAPINGS)):
        alone = draw_all(stepper, range(stream, stream + 1))
        assert np.array_equal(alone.ids[0], together.ids[stream])
        assert np.array_equal(alone.values[0], together.values[stream])


@pytest.mark.parametrize("cell", CELLS)
def test_10_000_characters_on_it_and_numpy_still_agree_with_the_network(cell: str) -> None:
    config = replace(BASE, cell=cell, num_layers=2, hidden_size=16)
    network = make_network(config)
    stepper = Stepper(config, {name: value.numpy() for name, value in network.state_dict().items()})
    ids = np.random.default_rng(2).integers(0, V, 10_000)
    with torch.no_grad():
        expected = network(torch.from_numpy(ids)[:, None], network.initial_state(1))[0][:, 0].numpy()
    state = stepper.initial_state(1)
    for index, char in enumerate(ids):
        logits, state = stepper.step(np.array([char]), state)
        assert np.abs(logits - expected[index]).max() < 1e-5
    if not compiled.can_compile(stepper):
        assert cell == "unitary", "the only cell that NumPy steps alone"
        return
    weights, state, logits = compiled.pack(stepper), stepper.initial_state(1), np.zeros((1, V), np.float32)
    scratch = compiled.make_scratch(weights, 1)
    for begin in range(0, len(ids), 50):
        compiled.read(weights, ids[begin : begin + 50], state, logits, scratch)
        assert np.abs(logits - expected[begin + 49]).max() < 1e-5


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_long_prime_is_read_as_character_by_character(precision: str, choose: Callable[[bool], None]) -> None:
    stepper = make_stepper(BASE, precision)
    prime = np.random.default_rng(3).integers(0, V, 300).astype(np.uint16)
    choose(True)
    found = read_prime(stepper, prime)
    expected = Reading(*stepper.read(prime))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=0 if precision == "int8" else 1e-5)


@pytest.mark.parametrize("changes", [{"depth": "dilated"}, {"depth": "grid"}, {"cell": "unitary", "hidden_size": 20}])
def test_what_is_not_compiled_is_written_by_numpy(changes: dict[str, Any], choose: Callable[[bool], None]) -> None:
    stepper = make_stepper(replace(BASE, **changes), "int8")
    choose(True)
    assert sampling.compiled_loop(stepper, 10**9) is None
    assert draw_all(stepper, length=30).ids.shape == (len(SHAPINGS), 30)


NUM_DRAWS = 100_000
Z = NormalDist().inv_cdf(1 - 1e-6)


@pytest.mark.parametrize(
    "shaping",
    [
        Shaping(),
        Shaping(temperature=0.7),
        Shaping(temperature=1.7),
        Shaping(temperature=1.5, top_k=5),
        Shaping(temperature=1.5, top_p=0.9),
        Shaping(temperature=2.0, min_p=0.02),
    ],
    ids=str,
)
def test_100_000_draws_are_as_frequent_as_predict_says(
    shaping: Shaping, lstm: TrainedRun, choose: Callable[[bool], None]
) -> None:
    """A right sampler fails here once in a million times (chi-square's limit after Wilson & Hilferty 1931)."""
    model = charrnn.load(lstm.path)
    predicted = {found.character: found.probability for found in model.predict('zib "', top=10**6)}
    ids = [int(model.vocab.encode(character)[0]) for character in predicted]
    probs = np.array(list(predicted.values())) ** (1 / (shaping.temperature or 1))
    probs /= probs.sum()  # likeliest first, as `predict` has them
    kept = np.arange(len(probs)) < (shaping.top_k or len(probs))
    kept &= np.cumsum(probs) - probs < (shaping.top_p or 2)
    kept &= probs >= (shaping.min_p or 0) * probs[0]
    probs = np.where(kept, probs, 0) / probs[kept].sum()
    choose(True)
    stepper = model.stepper
    reading = read_prime(stepper, model.vocab.encode('zib "'))
    shaping = replace(shaping, banned=(0,))
    (block,) = sample_ids(stepper, reading, [shaping] * NUM_DRAWS, [(7, i) for i in range(NUM_DRAWS)], length=1)
    counts = np.bincount(block.ids[:, 0], minlength=len(model.vocab))[ids]
    assert counts[~kept].sum() == 0
    # Rare characters are counted as one: chi-square wants some draws of each.
    is_common = NUM_DRAWS * probs >= 10
    observed = np.append(counts[is_common], counts[~is_common].sum())
    expected = NUM_DRAWS * np.append(probs[is_common], probs[~is_common].sum())
    # What little is left for the rare ones goes to the likeliest where it is too little to count.
    if expected[-1] < 10:
        observed[0], expected[0] = observed[0] + observed[-1], expected[0] + expected[-1]
        observed, expected = observed[:-1], expected[:-1]
    assert len(expected) > 1
    free = len(expected) - 1
    limit = free * (1 - 2 / (9 * free) + Z * math.sqrt(2 / (9 * free))) ** 3
    assert ((observed - expected) ** 2 / expected).sum() < max(limit, 24.0)
    # The test has power: probabilities a twentieth of the way to equal ones would not pass.
    off = 0.95 * expected + 0.05 * NUM_DRAWS / len(expected)
    assert ((observed - off) ** 2 / off).sum() > max(limit, 24.0)


def test_the_compiled_draw_shapes_as_numpy_does() -> None:
    generator = np.random.default_rng(4)
    for index in range(400):
        size = int(generator.integers(2, 12))
        # Whole numbers, so that ties are common.
        scores = generator.integers(-3, 4, size).astype(np.float64)
        banned = tuple(np.flatnonzero(generator.random(size - 1) < 0.2).tolist())
        shaping = Shaping(
            temperature=float(generator.choice([0.0, 0.3, 1.0, 5.0])),
            top_k=int(generator.integers(1, size + 3)) if index % 2 else None,
            top_p=float(generator.uniform(0.05, 1)) if index % 3 else None,
            min_p=float(generator.uniform(0, 1)) if index % 5 == 0 else None,
            banned=banned,
        )
        probs = next_char_probs(scores[None], shaping)[0]
        drawing = compiled.Drawing(**sampling._limits([shaping], size), max_line=0, newline=-1)
        uniforms = (np.arange(500) + 0.5) / 500
        drawn = [compiled._draw(scores, drawing, 0, uniform, np.empty(size)) for uniform in uniforms]
        counts = np.bincount(drawn, minlength=size)
        # 500 evenly spaced numbers hit an interval of length p either floor(500 p) or one more times.
        assert np.abs(counts - 500 * probs).max() <= 1 + 1e-6, (scores, shaping)


def test_of_equals_at_the_border_of_top_p_the_same_are_kept() -> None:
    for size in range(2, 25):
        scores = np.zeros(size)
        for twentieths in range(1, 21):
            # The fewest of `size` equal ones that reach so many twentieths.
            num_kept = -(-twentieths * size // 20)
            if twentieths * size % 20 == 0 and float(size) * (twentieths / 20) != num_kept:
                continue  # p itself is rounded to the other side
            shaping = Shaping(top_p=twentieths / 20)
            drawing = compiled.Drawing(**sampling._limits([shaping], size), max_line=0, newline=-1)
            drawn = {compiled._draw(scores, drawing, 0, (i + 0.5) / 50, np.empty(size)) for i in range(50)}
            assert drawn == set(range(num_kept)), (size, twentieths)
            assert np.flatnonzero(next_char_probs(scores[None], shaping)[0]).tolist() == list(range(num_kept))


def test_code_of_another_loop_or_an_older_version_does_not_count_as_cached(tmp_path: Path) -> None:
    read, write = (
        SimpleNamespace(__name__=name, stats=SimpleNamespace(cache_path=str(tmp_path))) for name in ("read", "write")
    )
    assert not compiled.is_cached(write)
    left = tmp_path / "compiled.write-491.py311.1.nbc"
    left.touch()
    changed = Path(compiled.__file__).stat().st_mtime
    os.utime(left, (changed + 10, changed + 10))
    assert compiled.is_cached(write) and not compiled.is_cached(read)
    os.utime(left, (changed - 10, changed - 10))
    assert not compiled.is_cached(write)


@pytest.fixture
def long_text(lstm: TrainedRun) -> list[str]:
    return ["-m", "charrnn", "sample", str(lstm.path), "--length", "2500", "--count", "2"]


def test_without_numba_the_same_bytes_come_more_slowly(long_text: list[str]) -> None:
    hidden = (
        "import sys; sys.modules['numba'] = None; sys.argv[0] = 'charrnn'; from charrnn.__main__ import main; main()"
    )
    commands = ([sys.executable, *long_text], [sys.executable, "-c", hidden, *long_text[2:]])
    ran = [subprocess.run(command, capture_output=True, env=clean_environment(), check=False) for command in commands]
    assert [done.returncode for done in ran] == [0, 0], ran[1].stderr
    assert ran[0].stdout == ran[1].stdout and len(ran[0].stdout) > 5000


@pytest.mark.parametrize(("is_cached", "num_chars", "said"), [(False, 0, 1), (False, -1, 0), (True, 0, 0)])
@pytest.mark.parametrize("loop", ["read", "write"])
def test_it_is_said_that_a_loop_is_compiled_only_if_it_is(
    loop: str, is_cached: bool, num_chars: int, said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(compiled, "is_cached", lambda _: is_cached)
    stepper, num_chars = make_stepper(BASE, "int8"), sampling.UNCACHED_FROM + num_chars
    found = sampling.compiled_loop(stepper, num_chars, loop, lambda: calls.append(1))
    assert len(calls) == said and (found is None) == (not is_cached and not said)


def test_who_draws_is_told_of_compiling_after_options_were_checked(
    lstm: TrainedRun, choose: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    choose(True)
    monkeypatch.setattr(compiled, "is_cached", lambda _: False)
    model = charrnn.load(lstm.path)
    with pytest.raises(UsageError, match="--count is 5000"):
        model.samples(5000, on_compile=lambda: calls.append(1))
    assert not calls
    model.sample(length=3, on_compile=lambda: calls.append(1))
    assert len(calls) == 2, "the loop that reads and the one that writes"


@pytest.mark.parametrize("size", [1e-45, 1e-30, 2.0**-60, 1.0, 1e30])
def test_inputs_of_every_size_are_multiplied_as_by_numpy(size: float) -> None:
    generator = np.random.default_rng(5)
    matrix = Matrix(generator.standard_normal((6, 21)), is_int8=True)
    bias, x = np.zeros(6, np.float32), (np.float32(size) * generator.random((5, 21), np.float32)).astype(np.float32)
    parts = (np.ascontiguousarray(matrix.values.T), matrix.scale, bias, np.array(matrix.bits))
    out = np.empty((5, 6), np.float32)
    compiled._products(compiled.Stack(*(part[None] for part in parts)), 0, x, np.zeros((4, 21), np.float32), out)
    assert np.array_equal(out, matrix.product(x))

"""The compiled loop: the bits of the NumPy one, the numbers of the network, and how often it draws what."""

import ast
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, TrainedRun, clean_environment
from hand_built import TEXTS, text_hash
from numpy.typing import NDArray

import charrnn
from charrnn.config import Config
from charrnn.errors import UsageError
from charrnn.generation import sampling
from charrnn.generation.distribution import char_weights, next_char_probs
from charrnn.generation.options import Shaping
from charrnn.generation.sampling import Block, PrimedState, prime_model, sample_ids
from charrnn.model.network import CharRNN
from charrnn.model.portable_math import Matrix, exact_exp
from charrnn.model.stepper import Stepper

compiled = pytest.importorskip("charrnn.scale.compiled", reason="numba is not installed")
from charrnn.scale.dot_products import Memory, pack_matrix, padded  # noqa: E402

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
    reading = prime_model(stepper, np.array([1, 2, 3]))
    shapings, seeds = [SHAPINGS[stream] for stream in streams], [(0, stream) for stream in streams]
    blocks = sample_ids(stepper, reading, shapings, seeds, length=length, max_line=20, newline=4, cell=(1, 2))
    return Block(*(np.concatenate(parts, axis=1) for parts in zip(*blocks, strict=True)))


# Each cell with one variant, and each variant with the LSTM: they meet in the products and in the state only.
PAIRS = [(cell, [*VARIANTS][index % 3]) for index, cell in enumerate(compiled.KINDS)]


@pytest.mark.parametrize(("cell", "variant"), [*PAIRS, ("lstm", "residual"), ("lstm", "highway")])
def test_in_eight_bits_it_computes_the_very_bits_of_numpy(
    cell: str, variant: str, choose: Callable[[bool], None]
) -> None:
    stepper = make_stepper(replace(BASE, cell=cell, **VARIANTS[variant]), "int8")
    stepper.clamp(1, 3, 0.7)
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


@pytest.mark.parametrize("cell", sorted(set(TEXTS) - {"unitary"}))
def test_a_seed_writes_the_same_text_as_ever(cell: str, choose: Callable[[bool], None]) -> None:
    choose(True)
    assert text_hash(cell) == TEXTS[cell]


def test_a_stream_is_the_same_whatever_is_drawn_beside_it(choose: Callable[[bool], None]) -> None:
    stepper = make_stepper(BASE, "int8")
    choose(True)
    together = draw_all(stepper)
    for stream in range(len(SHAPINGS)):
        alone = draw_all(stepper, range(stream, stream + 1))
        assert np.array_equal(alone.ids[0], together.ids[stream])
        assert np.array_equal(alone.values[0], together.values[stream])


@pytest.mark.parametrize("cell", ["lstm", "gru", "antisymmetric", "unitary"])
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
    assert compiled.can_compile(stepper) == (cell in compiled.KINDS)
    if not compiled.can_compile(stepper):
        return
    weights, state, logits = compiled.pack(stepper), stepper.initial_state(1), np.zeros((1, V), np.float32)
    scratch = compiled.make_scratch(weights, 1)
    for begin in range(0, len(ids), 50):
        compiled.LOOPS["read"](weights, ids[begin : begin + 50], state, logits, scratch)
        assert np.abs(logits - expected[begin + 49]).max() < 1e-5


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_long_prime_is_read_as_character_by_character(precision: str, choose: Callable[[bool], None]) -> None:
    stepper = make_stepper(BASE, precision)
    prime = np.random.default_rng(3).integers(0, V, 300).astype(np.uint16)
    choose(True)
    found = prime_model(stepper, prime)
    expected = PrimedState(*stepper.read(prime))
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
        pytest.param(Shaping(), marks=pytest.mark.thorough),
        pytest.param(Shaping(temperature=0.7), marks=pytest.mark.thorough),
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
    reading = prime_model(stepper, model.vocab.encode('zib "'))
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


def test_the_compiled_draw_is_that_of_numpy_bit_for_bit() -> None:
    generator = np.random.default_rng(5)
    for index in range(300):
        size = int(generator.integers(2, 40))
        logits = generator.uniform(-9, 9, size).astype(np.float32)
        shaping = Shaping(
            temperature=float(generator.choice([1e-3, 0.3, 0.8, 1.0, 5.0])),
            top_k=int(generator.integers(1, size + 3)) if index % 2 else None,
            top_p=float(generator.uniform(0.05, 1)) if index % 3 else None,
            min_p=float(generator.uniform(0, 0.1)) if index % 5 == 0 else None,
            banned=tuple(np.flatnonzero(generator.random(size - 1) < 0.2).tolist()),
        )
        drawing = compiled.Drawing(**sampling._limits([shaping], size), max_line=0, newline=-1)
        weights, total = char_weights(logits, shaping)
        probs, borders = np.empty(size), np.cumsum(weights) / total
        for uniform in (0.0, generator.random(), *borders[borders < 1]):
            drawn = compiled._draw(logits.astype(np.float64), drawing, 0, uniform, probs)
            assert drawn == sampling.draw(weights, total, uniform), (logits, shaping, uniform)
        assert np.array_equal(probs, weights)
        assert np.allclose(weights / total, next_char_probs(logits[None], shaping)[0], rtol=1e-13, atol=1e-300)


@pytest.fixture
def long_text(lstm: TrainedRun) -> list[str]:
    return ["-m", "charrnn", "sample", str(lstm.path), "--seed", "0", "--length", "2500", "--count", "2"]


def test_without_numba_the_same_bytes_come_more_slowly(long_text: list[str]) -> None:
    hidden = (
        "import sys; sys.modules['numba'] = None; sys.argv[0] = 'charrnn'; from charrnn.__main__ import main; main()"
    )
    commands = ([sys.executable, *long_text], [sys.executable, "-c", hidden, *long_text[2:]])
    ran = [subprocess.run(command, capture_output=True, env=clean_environment(), check=False) for command in commands]
    assert [done.returncode for done in ran] == [0, 0], ran[1].stderr
    assert ran[0].stdout == ran[1].stdout and len(ran[0].stdout) > 5000


class Loop:
    """A loop that is, or is not, on disk, and what was done with it."""

    def __init__(self, *, is_kept: bool, problem: str = "", error: Exception | None = None) -> None:
        self.is_kept, self.problem, self.error, self.num_compiled = is_kept, problem, error, 0

    def find(self, arguments: object, warn: object) -> bool:
        return self.is_kept

    def cannot_keep(self) -> str:
        return self.problem

    def compile(self, arguments: object, warn: Callable[[str], object]) -> None:
        if self.error:
            raise self.error
        self.num_compiled += 1
        if self.problem:
            warn(self.problem)


@pytest.mark.parametrize(("is_kept", "num_chars", "compiles"), [(False, 0, 1), (False, -1, 0), (True, 0, 0)])
@pytest.mark.parametrize("name", ["read", "write"])
def test_a_loop_is_compiled_after_saying_so_and_only_for_a_long_text(
    name: str, is_kept: bool, num_chars: int, compiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    loop = Loop(is_kept=is_kept)
    monkeypatch.setitem(compiled.LOOPS, name, loop)
    stepper, num_chars = make_stepper(BASE, "int8"), sampling.UNCACHED_FROM + num_chars
    found = sampling.compiled_loop(stepper, num_chars, name, lambda: calls.append(loop.num_compiled))
    assert calls == [0] * compiles and loop.num_compiled == compiles
    assert (found is None) == (not is_kept and not compiles)


def test_what_cannot_be_compiled_is_written_by_numpy_after_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setitem(compiled.LOOPS, "write", Loop(is_kept=False, error=ValueError("LLVM says no\nand why")))
    stepper = make_stepper(BASE, "int8")
    assert sampling.compiled_loop(stepper, sampling.UNCACHED_FROM, on_warning=warnings.append) is None
    assert len(warnings) == 1 and "ValueError: LLVM says no)" in warnings[0] and "NumPy generates" in warnings[0]
    assert "\n" not in warnings[0]


def test_what_cannot_be_kept_is_compiled_after_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    loop = Loop(is_kept=False, problem="Compiled code cannot be kept in /x (No space left on device).")
    monkeypatch.setitem(compiled.LOOPS, "write", loop)
    stepper = make_stepper(BASE, "int8")
    assert sampling.compiled_loop(stepper, sampling.UNCACHED_FROM, on_warning=warnings.append) is compiled
    assert loop.num_compiled == 1 and len(warnings) == 1
    assert "/x (No space" in warnings[0] and "Set NUMBA_CACHE_DIR" in warnings[0]


def test_compiling_is_announced_after_options_were_checked(
    lstm: TrainedRun, choose: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    choose(True)
    for name, loop in compiled.LOOPS.items():
        monkeypatch.setattr(loop, "find", lambda *_: False)
        monkeypatch.setattr(loop, "compile", lambda *_, name=name: calls.append(f"{name} is compiled"))
    model = charrnn.load(lstm.path)
    with pytest.raises(UsageError, match="`count` is 5000"):
        model.samples(5000, on_compile=lambda: calls.append("said"))
    assert not calls
    model.sample(length=3, on_compile=lambda: calls.append("said"))
    assert calls == ["said", "read is compiled", "said", "write is compiled"]


@pytest.mark.parametrize("ends_early", [False, True])
def test_documents_compile_nothing_before_it_pays(ends_early: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(sampling, "UNCACHED_FROM", 40)
    monkeypatch.setattr(sampling, "compiled_loop", lambda stepper, num_chars, *_: asked.append(num_chars))
    stepper = make_stepper(BASE, "int8")
    reading = sampling.PrimedState(np.zeros((1, stepper.vocab_size), np.float32), stepper.initial_state(1))
    blocks = sampling.sample_ids(
        stepper, reading, [Shaping()] * 4, [(0, n) for n in range(4)], length=60, ends_early=ends_early
    )
    num_drawn = sum(next(blocks).ids.shape[1] for _ in range(10))
    assert num_drawn == 10 and asked == ([39] if ends_early else [240])
    assert sum(block.ids.shape[1] for block in blocks) == 50
    assert asked == ([39, 200] if ends_early else [240])


def test_every_call_has_the_types_that_were_compiled(choose: Callable[[bool], None]) -> None:
    choose(True)
    for precision in ("int8", "fp32"):
        draw_all(make_stepper(BASE, precision), length=5)
    for loop in compiled.LOOPS.values():
        assert len(loop._dispatcher.signatures) == 1, "another one is compiled in silence, and never kept"


@pytest.fixture
def kept_code(process: Callable[..., Any]) -> Path:
    """The compiled loop that writes, as this checkout keeps it.

    A new process looks for it: this one may have loaded it before another test had it removed.
    """
    done = process(
        "-c", "from charrnn.scale import compiled as c; c.LOOPS['write'].load(c.arguments_of('write'), print)"
    )
    assert (done.returncode, done.stdout) == (0, b"")
    return Path(compiled.LOOPS["write"].path(compiled.arguments_of("write")))


LONG = ("--length", "2500", "--seed", "3")


def numpy_text(long_run: str, process: Callable[..., Any]) -> bytes:
    return bytes(process("-m", "charrnn", "sample", long_run, *LONG, NUMBA_CACHE_DIR="/nowhere").stdout)


@pytest.mark.parametrize("kind", ["whole", "empty", "truncated", "flipped"])
def test_a_long_text_comes_whatever_became_of_the_kept_code(
    kind: str, kept_code: Path, lstm: TrainedRun, process: Callable[..., Any], tmp_path: Path
) -> None:
    data = kept_code.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 64]) + data[middle + 1 :]
    copied = tmp_path / "charrnn" / kept_code.name
    copied.parent.mkdir()
    copied.write_bytes({"whole": data, "empty": b"", "truncated": data[:middle], "flipped": flipped}[kind])
    command = ("-m", "charrnn", "sample", str(lstm.path), *LONG)
    ran = process(*command, NUMBA_CACHE_DIR=str(tmp_path))
    errors = ran.stderr.decode().splitlines()
    assert ran.returncode == 0 and ran.stdout == numpy_text(str(lstm.path), process) and len(ran.stdout) >= 2500
    if kind == "whole":
        assert errors == [] and copied.read_bytes() == data
    else:
        assert len(errors) == 1 and errors[0].startswith(f"warning: {copied} is damaged; it is removed")


@pytest.mark.parametrize("options", [["-O"], ["-OO"]], ids="".join)
def test_kept_code_serves_a_python_that_optimizes(
    options: list[str], kept_code: Path, process: Callable[..., Any], tmp_path: Path
) -> None:
    code = (
        "from charrnn.scale import compiled;"
        "print(compiled.prepare('write', may_compile=False, on_compile=None, on_warning=None) is not None)"
    )
    assert process(*options, "-c", code).stdout == b"True\n"


def test_without_a_compiler_a_long_text_comes_after_one_warning(lstm: TrainedRun, process: Callable[..., Any]) -> None:
    ran = process("-m", "charrnn", "sample", str(lstm.path), *LONG, NUMBA_DISABLE_JIT="1")
    assert ran.returncode == 0 and ran.stdout == numpy_text(str(lstm.path), process)
    assert [line[:35] for line in ran.stderr.decode().splitlines()] == ["warning: NUMBA_DISABLE_JIT is set, "]


def test_where_code_cannot_be_kept_a_very_long_text_comes_after_one_warning(
    lstm: TrainedRun, process: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code = "import charrnn.generation.sampling as s; s.UNCACHED_FROM = 2500; from charrnn.__main__ import main; main()"
    arguments = ("sample", str(lstm.path), *LONG)
    ran = process("-c", code, *arguments, NUMBA_CACHE_DIR=str(tmp_path / "file"))
    errors = ran.stderr.decode().splitlines()
    assert ran.returncode == 0 and ran.stdout == numpy_text(str(lstm.path), process)
    assert len(errors) == 2 and f"{tmp_path / 'file' / 'charrnn'} (Not a directory)" in errors[0]
    assert "Set NUMBA_CACHE_DIR" in errors[0] and errors[1].startswith("compiling the sampling loop")


def test_a_long_text_begins_before_numba_is_imported(choose: Callable[[bool], None]) -> None:
    code = """
import sys
import numpy as np
from charrnn.generation import sampling
from charrnn.generation.options import Shaping
from test_sampling import H, config_of, random_tensors
from charrnn.model.stepper import Stepper
stepper = Stepper(config_of("lstm"), random_tensors("lstm", 20), "int8")
reading = sampling.prime_model(stepper, np.array([1]))
blocks = sampling.sample_ids(stepper, reading, [Shaping()], [(1, 0)], length=10**6)
first = next(blocks)
print(first.ids.size, "numba" in sys.modules)
"""
    path = os.pathsep.join(map(str, (REPOSITORY, Path(__file__).parent)))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean_environment(PYTHONPATH=path), check=True
    )
    assert done.stdout == "1 False\n"


@pytest.mark.parametrize("length", [1, 16, 17, 60])
def test_numpy_begins_what_the_compiled_loop_goes_on_with(
    length: int, choose: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stepper = make_stepper(BASE, "int8")
    choose(True)
    expected = draw_all(stepper, range(3), length)
    sampling._compiled_module.cache_clear()
    monkeypatch.setattr(sampling, "BEFORE_LOADING", 50)
    found = draw_all(stepper, range(3), length)
    assert np.array_equal(found.ids, expected.ids) and np.array_equal(found.values, expected.values)


@pytest.mark.parametrize("is_integer", [True, False])
@pytest.mark.parametrize("size", [1e-45, 1e-30, 2.0**-60, 1.0, 1e30])
def test_inputs_of_every_size_are_multiplied_as_by_numpy(size: float, is_integer: bool) -> None:
    generator = np.random.default_rng(5)
    matrix = Matrix(generator.standard_normal((6, 21)), is_int8=True)
    bias, x = np.zeros(6, np.float32), (np.float32(size) * generator.random((5, 21), np.float32)).astype(np.float32)
    values, start = pack_matrix(matrix) if is_integer else (matrix.values.T.astype(np.float32), np.zeros(0))
    out = np.empty((5, 6), np.float32)
    scratch = [np.zeros(4096, np.uint8) for _ in compiled.Places._fields]
    parts = [values, start, matrix.scale, bias, x, out, *scratch]
    memory = Memory([part.nbytes for part in parts])
    memory.fill(parts)
    fields = np.array([matrix.bits, 6, *memory.addresses[:4]])
    places = compiled.Places(*memory.addresses[6:])._replace(sum_stride=4 * padded(6, compiled.ROWS))
    multiply = compiled._integer_products if is_integer else compiled._float_products
    multiply(fields, places, 5, 21, memory.addresses[4], memory.addresses[5])
    begin = memory.addresses[5] - memory.addresses[0]
    found = memory.bytes[begin : begin + out.nbytes].view(np.float32).reshape(5, 6)
    assert np.array_equal(found, matrix.product(x))


def test_exp_is_that_of_numpy_bit_for_bit() -> None:
    xs = -np.random.default_rng(0).exponential(30, 2000)
    assert np.array_equal([compiled._exp(x) for x in xs], exact_exp(xs))


def test_every_constant_that_the_loops_use_stands_in_a_file_of_their_key() -> None:
    functions = [
        node
        for node in ast.walk(ast.parse(Path(compiled.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (node.decorator_list or node.name in compiled.LOOPS)
    ]
    constants = {
        node.id
        for function in functions
        for line in function.body
        for node in ast.walk(line)
        if isinstance(node, ast.Name) and node.id.isupper() and hasattr(compiled, node.id)
    }
    assert {"P0", "STEP", "EXP_LIMIT", "MOST_BITS", "ROWS"} <= constants and len(constants) > 40
    assigned = {
        name.id
        for source in compiled.SOURCES
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    }
    assert constants <= assigned

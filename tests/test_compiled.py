"""The compiled loop: the bits of the NumPy one, the numbers of the network, and how often it draws what."""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, Ran, TrainedRun
from hand_built import TEXTS, text_hash

from charrnn.config import Config
from charrnn.generation import sampling
from charrnn.generation.distribution import char_weights, next_char_probs
from charrnn.generation.options import Shaping
from charrnn.generation.sampling import Block, prime_model, sample_ids
from charrnn.model.network import CharRNN
from charrnn.model.portable_math import Matrix, exact_exp
from charrnn.model.stepper import Stepper

compiled = pytest.importorskip("charrnn.scale.compiled", reason="numba is not installed")
from charrnn.scale.dot_products import Memory, pack_matrix, padded  # noqa: E402

V, E, H = 17, 6, 21
BASE = Config(cell="lstm", num_layers=3, hidden_size=H, embedding_size=E, dropout=0.0)


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
def test_it_computes_the_numbers_of_numpy_and_in_eight_bits_their_very_bits(
    cell: str, variant: str, choose: Callable[[bool], None]
) -> None:
    # In int8 only the log-probabilities differ: sums of 17 exponentials in float64, in another order. In float32 all
    # sums are in another order, and tanh is off by 4e-7.
    for precision, atol, logprob_atol in (("int8", 0.0, 1e-13), ("fp32", 1e-5, 1e-5)):
        stepper = make_stepper(replace(BASE, cell=cell, **VARIANTS[variant]), precision)
        stepper.clamp(1, 3, 0.7)
        choose(False)
        expected = draw_all(stepper)
        choose(True)
        found = draw_all(stepper)
        assert np.array_equal(found.ids, expected.ids)
        np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=atol)
        np.testing.assert_allclose(found.logprobs, expected.logprobs, rtol=0, atol=logprob_atol)
        assert len({tuple(row) for row in found.ids.tolist()}) > 1 and found.values.std() > 0.001


@pytest.mark.parametrize("cell", sorted(set(TEXTS) - {"unitary"}))
def test_a_seed_writes_the_same_text_as_ever(cell: str, choose: Callable[[bool], None]) -> None:
    choose(True)
    assert text_hash(cell) == TEXTS[cell]


def test_a_stream_is_the_same_whatever_is_drawn_beside_it(choose: Callable[[bool], None]) -> None:
    stepper = make_stepper(BASE, "int8")
    choose(True)
    together = draw_all(stepper, length=60)
    for stream in range(len(SHAPINGS)):
        alone = draw_all(stepper, range(stream, stream + 1), 60)
        assert np.array_equal(alone.ids[0], together.ids[stream])
        assert np.array_equal(alone.values[0], together.values[stream])
    for loop in compiled.LOOPS.values():
        assert len(loop._dispatcher.signatures) <= 1, "another one is compiled in silence, and never kept"


@pytest.mark.parametrize(("precision", "atol"), [("int8", 0), ("fp32", 1e-5)])
def test_a_long_prime_is_read_as_character_by_character(
    precision: str, atol: float, choose: Callable[[bool], None]
) -> None:
    stepper = make_stepper(BASE, precision)
    prime = np.random.default_rng(3).integers(0, V, 300).astype(np.uint16)
    choose(True)
    for one, other in zip(prime_model(stepper, prime), stepper.read(prime), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


@pytest.mark.parametrize("changes", [{"depth": "dilated"}, {"depth": "grid"}, {"cell": "unitary", "hidden_size": 20}])
def test_what_is_not_compiled_is_written_by_numpy(changes: dict[str, Any], choose: Callable[[bool], None]) -> None:
    stepper = make_stepper(replace(BASE, **changes), "int8")
    choose(True)
    assert sampling.compiled_loop(stepper, 10**9) is None
    assert draw_all(stepper, length=30).ids.shape == (len(SHAPINGS), 30)


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


@pytest.mark.parametrize(
    ("loop", "num_compiled", "parts"),
    [
        (Loop(is_kept=False, error=ValueError("LLVM says no\nand why")), 0, ("LLVM says no)", "NumPy generates")),
        (
            Loop(is_kept=False, problem="Code cannot be kept in /x (No space)."),
            1,
            ("/x (No space", "Set NUMBA_CACHE_DIR"),
        ),
    ],
)
def test_what_cannot_be_compiled_or_kept_is_one_warning(
    loop: Loop, num_compiled: int, parts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setitem(compiled.LOOPS, "write", loop)
    found = sampling.compiled_loop(make_stepper(BASE, "int8"), sampling.UNCACHED_FROM, on_warning=warnings.append)
    assert (found is compiled) == bool(num_compiled) and loop.num_compiled == num_compiled
    (warning,) = warnings
    assert all(part in warning for part in parts) and "\n" not in warning


def long_text(command: Callable[..., Ran], run: TrainedRun) -> Ran:
    return command("sample", run.path, "--length", 2500, "--seed", 3)


@pytest.mark.parametrize("is_missing", [True, False])
def test_without_numba_or_its_compiler_the_same_text_comes(
    is_missing: bool, lstm: TrainedRun, command: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "COMPILED_FROM", sys.maxsize)
        text = long_text(command, lstm).out
    sampling._compiled_module.cache_clear()
    if is_missing:
        monkeypatch.setitem(sys.modules, "numba", None)
        monkeypatch.delitem(sys.modules, "charrnn.scale.compiled")
        monkeypatch.delattr("charrnn.scale.compiled")
    else:
        monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    ran = long_text(command, lstm)
    sampling._compiled_module.cache_clear()
    assert (ran.code, ran.out) == (0, text)
    assert [line[:35] for line in ran.err.splitlines()] == ["warning: NUMBA_DISABLE_JIT is set, "] * (not is_missing)


def test_a_python_that_optimizes_finds_the_kept_code_and_a_long_text_begins_before_numba_is_imported(
    process: Callable[..., Any],
) -> None:
    compiled.LOOPS["write"].load(compiled.arguments_of("write"), print)
    code = """
import sys
import numpy as np
from charrnn.generation import sampling
from charrnn.generation.options import Shaping
from hand_built import hand_built_stepper
stepper = hand_built_stepper("lstm")
reading = sampling.prime_model(stepper, np.array([1]))
blocks = sampling.sample_ids(stepper, reading, [Shaping()], [(1, 0)], length=10**6)
first = next(blocks)
print(first.ids.size, "numba" in sys.modules)
from charrnn.scale import compiled
print([loop.path(compiled.arguments_of(name)).name for name, loop in compiled.LOOPS.items()])
"""
    path = os.pathsep.join(map(str, (REPOSITORY, Path(__file__).parent)))
    # Sets of texts come in another order there.
    done = process("-OO", "-c", code, PYTHONPATH=path, PYTHONHASHSEED="1")
    names = [loop.path(compiled.arguments_of(name)).name for name, loop in compiled.LOOPS.items()]
    assert done.stdout.decode().splitlines() == ["1 False", str(names)], done.stderr


@pytest.mark.parametrize("length", [1, 17, 60])
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
@pytest.mark.parametrize("size", [1e-45, 1.0, 1e30])
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
    functions = [found for found in vars(compiled).values() if hasattr(found, "py_func")]
    # The equations of the loops that are made by a function.
    functions += [cell.cell_contents for found in functions for cell in found.py_func.__closure__ or ()]
    codes = [getattr(found, "py_func", found).__code__ for found in (*functions, compiled.read, compiled.write)]
    names = {name for code in codes for name in code.co_names if name.isupper() and hasattr(compiled, name)}
    assert {"P0", "STEP", "EXP_LIMIT", "MOST_BITS", "ROWS"} <= names and len(names) > 40
    text = "".join(source.read_text(encoding="utf-8") for source in compiled.SOURCES)
    assert not [name for name in names if not re.search(rf"(?m)^([A-Z0-9_]+, )*{name}(, [A-Z0-9_]+)* = ", text)]

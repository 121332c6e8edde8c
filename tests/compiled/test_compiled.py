"""The compiled loop: the bits of the NumPy one, the numbers of the network, and how often it draws
what.

Tests `compiled`, `compiled.network` and `compiled.sampling`, too.
"""

import os
import re
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from effects_networks import tensors_of
from environment import HELPERS
from hand_built import TEXTS, draw_texts, text_hash

from charrnn.api import Model
from charrnn.config.settings import Config
from charrnn.generation import generator, sampling
from charrnn.generation.distribution import char_weights
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.sampling import seed_of_text
from charrnn.model.network import CharRNN
from charrnn.model.stepper import Stepper
from charrnn.system.compiling import FUNCTIONS, CompiledLoop, load_numba
from charrnn.text.vocab import Vocab

compiled = pytest.importorskip("charrnn.compiled.sampling", reason="numba is not installed")

V, E, H = 17, 6, 21
BASE = Config(cell_type="lstm", num_layers=3, hidden_size=H, embedding_size=E, dropout=0.0)


def make_tensors(config):
    """Weights of which the biases are not zero."""
    network = CharRNN(config, V)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1 or len(parameter) == 53:
                parameter.normal_(std=0.3, generator=generator)
    return tensors_of(network)


def make_stepper(config=BASE, precision="int8"):
    """A stepper whose biases are not zero."""
    return Stepper(config, make_tensors(config), precision)


@pytest.fixture
def choose(monkeypatch):
    """Take the compiled loop, or NumPy's, however short the text."""

    def take(is_compiled):
        monkeypatch.setattr(sampling, "COMPILED_FROM", 0 if is_compiled else sys.maxsize)
        monkeypatch.setattr(sampling, "UNCACHED_FROM", 0)

    return take


SHAPINGS = [
    {},
    {"temperature": 0},
    {"temperature": 0.7, "top_k": 5},
    {"temperature": 1.3, "top_p": 0.8},
    {"temperature": 1.1, "top_k": 9, "top_p": 0.9, "min_p": 0.05},
    {"temperature": 1e-6},
    {"temperature": 1e6, "min_p": 0.5},
]
SEEDS = range(3)
PRIME = np.arange(1, 60) % V


def draw_all(stepper, shapings=SHAPINGS, seeds=SEEDS, length=60):
    """Some texts with each shaping."""
    return [
        text
        for shaping in shapings
        for text in draw_texts(stepper, PRIME, seeds, length=length, banned=(0,), **shaping)
    ]


def ids_of(texts):
    return [text.ids for text in texts]


@pytest.mark.parametrize(
    "changes",
    [
        {"cell_type": "lstm", "depth": "residual"},
        {"cell_type": "gru", "depth": "residual"},
        {"cell_type": "rnn"},
    ],
)
def test_it_computes_the_bits_of_numpy(changes, choose):
    stepper = make_stepper(replace(BASE, initial_state="learned", **changes))
    choose(False)
    expected = draw_all(stepper)
    choose(True)
    assert sampling.compiled_loop(stepper, "write", 10**6) is compiled
    found = draw_all(stepper)
    assert ids_of(found) == ids_of(expected)
    # Sums of 17 exponentials in float64, in another order.
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, rtol=0, atol=1e-13)
    assert len({tuple(text.ids) for text in found}) > len(SHAPINGS)


@pytest.mark.parametrize("factor", [1e-25, 1e-35, 1e-39])
def test_weights_too_small_for_int8_are_compiled_as_well(choose, factor):
    tensors = {name: factor * weight for name, weight in make_tensors(BASE).items()}
    stepper = Stepper(BASE, tensors, "int8")
    assert compiled.network.can_compile(stepper)

    choose(False)
    expected = draw_all(stepper, length=20)
    choose(True)
    assert ids_of(draw_all(stepper, length=20)) == ids_of(expected)


@pytest.mark.parametrize("stops", [(), ("ab",)])
def test_documents_are_the_same_in_any_row(stops, choose, monkeypatch):
    config = replace(BASE, documents="lines")
    vocab = Vocab("char", ("", "\0", *"abcdefghijklmno"))
    model = Model(config, vocab, make_tensors(config), name="tiny")
    options = {"seed": 3, "length": 40, "temperature": 1.5, "stops": stops}
    choose(False)
    expected = [model.sample(**options | {"seed": seed_of_text(3, i)}).text for i in range(30)]

    monkeypatch.setattr(generator, "MAX_ROWS", 7)
    for is_compiled in (False, True):
        choose(is_compiled)
        together = model.samples(30, **options)
        assert [text.text for text in together] == expected
        assert {text.has_ended for text in together} == {True, False}
        assert len({len(text.logprobs) for text in together}) > 5


def test_every_compiled_function_has_a_name_of_its_own():
    """Code of two processes is linked by names: with the same name, one loop called a function of
    the other."""
    parts = {part.__name__ for part in (compiled, compiled.network, compiled.functions)}
    functions = [found for found in FUNCTIONS if found.__module__ in parts]
    equations = [found for found in functions if "<lambda>" in found.__qualname__]
    names = {function.__qualname__ for function in functions}
    assert len(equations) == 8 and len(names) == len(functions)


@pytest.mark.parametrize("cell", compiled.network.KINDS)
def test_a_seed_writes_the_same_text_as_ever(cell, choose):
    choose(True)
    assert text_hash(cell) == TEXTS[cell]


def test_a_stream_is_the_same_whatever_is_drawn_beside_it(choose):
    stepper = make_stepper()
    choose(True)
    together = draw_all(stepper, [{}], range(7))
    for seed, text in enumerate(together):
        [alone] = draw_all(stepper, [{}], [seed])
        assert alone.ids == text.ids
    for loop in compiled.LOOPS.values():
        assert len(loop._dispatcher.signatures) <= 1, (
            "another one is compiled in silence, and never kept"
        )


def test_what_is_not_compiled_is_written_by_numpy():
    others = (
        {"depth": "grid"},
        {"cell_type": "peephole"},
        {"zoneout": 0.1},
        {"sum_outputs": True},
        {"hidden_size": 4},
    )
    for changes, precision in (*((other, "int8") for other in others), ({}, "fp32")):
        stepper = make_stepper(replace(BASE, **changes), precision)
        assert sampling.compiled_loop(stepper, "write", 10**6) is None, changes


def test_the_compiled_draw_knows_every_option_of_the_distribution():
    options = {field.name for field in fields(SampleOptions)}
    used = options.intersection(char_weights.__code__.co_names)
    assert used == {*compiled.ShapingNumbers._fields} - {"is_banned"}


@pytest.mark.slow
def test_the_compiled_draw_is_that_of_numpy_bit_for_bit():
    compiled_draw = CompiledLoop(compiled._draw)
    generator = np.random.default_rng(5)
    for index in range(300):
        size = int(generator.integers(2, 40))
        logits = generator.uniform(-9, 9, size).astype(np.float32)
        shaping = {
            "temperature": float(generator.choice([1e-3, 0.3, 0.8, 1.0, 5.0])),
            "top_k": int(generator.integers(1, size + 3)) if index % 2 else None,
            "top_p": float(generator.uniform(0.05, 1)) if index % 3 else None,
            "min_p": float(generator.uniform(0, 0.1)) if index % 5 == 0 else None,
        }
        options = SampleOptions(**shaping)
        banned = np.append(generator.random(size - 1) < 0.2, False)
        numbers = compiled.shaping_numbers(options, banned)
        weights = char_weights(logits, options, banned=banned)
        compiled_weights = np.empty(size)
        borders = np.cumsum(weights.values) / weights.total
        for uniform in (0.0, generator.random(), *borders[borders < 1]):
            scores = logits.astype(np.float64)
            drawn = compiled_draw(scores, banned, numbers, uniform, compiled_weights)
            assert drawn == sampling.draw(weights, uniform), (logits, shaping, uniform)
        assert np.array_equal(compiled_weights, weights.values)


def long_text(command, run):
    return command("sample --length 120 --seed 3", run.path)


@pytest.mark.parametrize("is_missing", [True, False])
def test_without_numba_or_its_compiler_the_same_text_comes(is_missing, lstm, command, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "COMPILED_FROM", sys.maxsize)
        text = long_text(command, lstm).out
    monkeypatch.setattr(sampling, "COMPILED_FROM", 50)
    sampling._compiled_module.cache_clear()
    load_numba.cache_clear()
    if is_missing:
        monkeypatch.setitem(sys.modules, "numba", None)
    else:
        monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    ran = long_text(command, lstm)
    sampling._compiled_module.cache_clear()
    load_numba.cache_clear()
    assert (ran.code, ran.out) == (0, text)
    assert ran.err == ""


def test_another_process_finds_the_kept_code_and_a_long_text_begins_before_numba_is_imported(
    process,
):
    write, arguments = compiled.LOOPS["write"], compiled.arguments_of("write")
    if not write.load(arguments):
        write.compile(arguments)
    code = """
import sys
import numpy as np
from charrnn.generation import sampling
from charrnn.generation.rules import Rules
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.writing import Ending
from hand_built import DrawnIds, hand_built_stepper
stepper = hand_built_stepper("lstm")
rules = Rules.of(np.zeros(stepper.vocab_size, np.bool_))
text = DrawnIds(1, length=10**6)
primed = sampling.prime_model(stepper, np.array([1]))
ending = Ending(length=10**6, rules=rules)
rows = sampling.Rows(
    primed, texts=[text], ending=ending, options=SampleOptions(), num_chars=10**6
)
rows.draw()
print(len(text.ids), "numba" in sys.modules)
from charrnn.compiled import sampling as compiled
print(compiled.LOOPS["write"].load(compiled.arguments_of("write")))
"""
    path = os.pathsep.join(map(str, (REPOSITORY, HELPERS)))
    # Sets of texts come in another order there.
    done = process("-c", code, PYTHONPATH=path, PYTHONHASHSEED="1")
    assert done.stdout.decode().splitlines() == ["1 False", "True"], done.stderr


@pytest.mark.parametrize("length", [1, 17, 60])
def test_numpy_begins_what_the_compiled_loop_goes_on_with(length, choose, monkeypatch):
    stepper = make_stepper()
    choose(True)
    expected = draw_all(stepper, SHAPINGS[:1], length=length)
    sampling._compiled_module.cache_clear()
    monkeypatch.setattr(sampling, "BEFORE_LOADING", 50)
    found = draw_all(stepper, SHAPINGS[:1], length=length)
    assert ids_of(found) == ids_of(expected)


def test_every_constant_that_the_loops_use_stands_in_a_file_of_their_key():
    known = {name: value for part in compiled.PARTS for name, value in vars(part).items()}
    parts = [part.__name__ for part in compiled.PARTS]
    functions = [found for found in FUNCTIONS if found.__module__ in parts]
    names = {
        name
        for function in (*functions, compiled.read, compiled.write)
        for name in function.__code__.co_names
        if name.isupper() and name in known
    }
    assert {"P0", "EXP_LIMIT", "ROWS"} <= names and len(names) > 40
    text = "".join(source.read_text(encoding="utf-8") for source in compiled.SOURCES)
    assert not [
        name
        for name in names
        if not re.search(rf"(?m)^([A-Z0-9_]+, )*{name}(, [A-Z0-9_]+)* = ", text)
    ]

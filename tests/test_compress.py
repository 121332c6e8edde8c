"""Compressed files: any bytes come back, from one machine to another; and the integers that a text
is coded by."""

import gzip
import io
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import TrainedRun
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import random_network

import charrnn
from charrnn.api import Model
from charrnn.config.settings import Config
from charrnn.errors import CheckpointError, UsageError
from charrnn.formats.crnn import container, rows
from charrnn.formats.crnn.command import coder_of, compress_text
from charrnn.formats.crnn.container import (
    VERSION,
    cut_rows,
    digest_of,
    pack_model,
    read_header,
    unpack_model,
)
from charrnn.formats.crnn.rows import SYMBOL_BITS, RangeDecoder, RangeEncoder, frequencies
from charrnn.generation import sampling
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.cell_types import CELLS
from charrnn.model.depths import DEPTHS
from charrnn.model.network import CharRNN
from charrnn.model.portable_math import Matrix, exact_exp
from charrnn.model.shapes import weight_shapes
from charrnn.model.stepper import Stepper
from charrnn.system import progress
from charrnn.text.vocab import UNKNOWN, Vocab

GOLDEN = Path(__file__).parent / "golden"
CHARS = "\n abdeä語🙂"
ALPHABETS = {
    "char": Vocab("char", (UNKNOWN, *CHARS)),
    "exact": Vocab("char", (*CHARS, "\udc80", "\ud800")),
    "byte": Vocab.of_bytes(),
    "documents": Vocab("char", (UNKNOWN, "\0", *CHARS)),
}


def make_model(
    alphabet: str = "char", cell: str = "lstm", depth: str = "stacked", **changes: Any
) -> Model:
    """Return a model with random weights."""
    vocab = ALPHABETS[alphabet]
    settings: dict[str, Any] = {
        "hidden_size": 6,
        "num_layers": 2,
        "embedding_size": 4,
        "dropout": 0.0,
        **changes,
    }
    network = random_network(cell, depth, len(vocab), **settings)
    settings |= {"alphabet": "byte" if alphabet == "byte" else "char"}
    config = Config(
        cell=cell, depth=depth, **settings, documents="lines" if alphabet == "documents" else "none"
    )
    return Model(
        config,
        vocab,
        {name: value.numpy() for name, value in network.state_dict().items()},
        name="tiny",
    )


MODELS = {alphabet: make_model(alphabet) for alphabet in ALPHABETS}
TEXT = "abba dä 語🙂 bed\r\nβ".encode() * 3 + b"\xff\x80\xe8\xaa\0"


@settings(max_examples=15)
@given(
    data=st.binary(max_size=60) | st.text(CHARS + "\0βz\r", max_size=40).map(str.encode),
    order=st.integers(0, 6),
)
@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_any_bytes_come_back(alphabet: str, data: bytes, order: int) -> None:
    model = MODELS[alphabet]
    compressed = model.compress(data, order=order)
    assert model.decompress(compressed) == data
    assert len(compressed) <= len(data) + 60


@pytest.mark.parametrize(
    ("cell", "depth"),
    [
        (cell, [*DEPTHS][index % len(DEPTHS)])
        for index, cell in enumerate(CELLS)
        if cell != "unitary"
    ]
    + [("gru", depth) for depth in DEPTHS],
)
def test_every_cell_and_depth_whose_numbers_are_equal_everywhere(cell: str, depth: str) -> None:
    model = make_model(cell=cell, depth=depth, initial_state="learned")
    assert model.decompress(model.compress(TEXT)) == TEXT


def test_bytes_without_any_order_hardly_take_more_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 2_500)
    noise = random.Random(1).randbytes(50_000)
    assert len(MODELS["char"].compress(noise)) < 1.01 * len(noise)
    assert len(MODELS["byte"].compress(noise[:500])) == 560


@pytest.mark.parametrize(
    "order, cell, alphabet", [(0, "lstm", "char"), (4, "gru", "documents"), (1, "rnn", "byte")]
)
def test_compiled_code_has_the_same_bytes(
    monkeypatch: Any, order: int, cell: str, alphabet: str
) -> None:
    compiled = pytest.importorskip("charrnn.compiled.coding", reason="numba is not installed")
    model = make_model(alphabet, cell, hidden_size=21)
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 300)
    monkeypatch.setattr(rows, "STEPS_AT_ONCE", 50)
    texts = [
        TEXT * 12 + random.Random(2).randbytes(400) + "語\0ba".encode() * 30,
        b"ab" * 25 + b"a",
    ]
    expected = [model.compress(text, order=order) for text in texts]
    monkeypatch.setattr(sampling, "COMPILED_FROM", 0)
    monkeypatch.setattr(sampling, "UNCACHED_FROM", 0)
    assert sampling.compiled_loop(model.generator.int8_stepper, 1, "code") is compiled
    assert [model.compress(text, order=order) for text in texts] == expected
    assert [model.decompress(one) for one in expected] == texts, (
        "also where one character is left after STEPS_AT_ONCE"
    )


def test_compiling_pays_for_several_files_together_and_numpy_tells_how_far_it_is(
    monkeypatch: Any,
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        rows, "compiled_loop", lambda stepper, num_chars, loop: asked.append(num_chars)
    )
    coder, done = coder_of(MODELS["char"])[0], list[int]()
    coder.advance = progress.Task("coding", report=lambda task: done.append(task.done))
    for text in (TEXT, TEXT[:10]):
        coder.encode([text])
    assert asked == [rows.NUMPY_COST * len(TEXT), rows.NUMPY_COST * (len(TEXT) + 10)]
    assert done == sorted(done) and len({*done}) > 40 and done[-1] == len(TEXT) + 10


@given(
    st.lists(
        st.floats(-90, 90, width=32) | st.sampled_from([np.inf, -np.inf, np.nan]),
        min_size=1,
        max_size=9,
    )
)
def test_frequencies_are_those_of_the_formula(values: list[float]) -> None:
    logits = np.array([values], np.float32)
    (found,) = frequencies(logits)
    assert found.sum() == 2**SYMBOL_BITS and found.min() >= 1
    if np.isfinite(logits).all():
        scores = [float(value) for value in logits[0]]
        weights = [float(exact_exp(np.array([score - max(scores)]))[0]) for score in scores]
        total = 0.0
        for weight in weights:
            total += weight
        scale = (2**SYMBOL_BITS - len(scores)) / total
        expected = [1 + int(weight * scale) for weight in weights]
        expected[scores.index(max(scores))] += 2**SYMBOL_BITS - sum(expected)
        assert found.tolist() == expected


def encoded(parts: list[list[int]], symbols: list[int]) -> bytes:
    coder = RangeEncoder()
    for frequency, symbol in zip(parts, symbols, strict=True):
        coder.code(np.cumsum(frequency), symbol)
    return coder.finish()


def test_a_carry_goes_through_all_bytes_before_it() -> None:
    coder = RangeEncoder(b"\x01" + b"\xff" * 300, low=rows.MASK)
    coder.code((1, 2), 1)
    assert coder.finish().startswith(b"\x02" + bytes(300) + b"\x80")


def test_a_row_that_compiled_code_left_half_coded_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whose carry would leave zeros at its end, which are removed."""
    coder, loop = coder_of(MODELS["char"])[0], SimpleNamespace(NUM_BYTES=0, LOW=1)
    fields = np.array([[4, rows.MASK]], np.uint64)

    def write(loop: Any, sizes: Any, symbols: Any, room: Any, ends: Any, decodes: bool) -> Any:
        room[0, :4], ends[0] = (1, 2, 255, 255), 4
        return fields

    monkeypatch.setattr(coder, "_compiled_loop", lambda sizes: loop)
    monkeypatch.setattr(coder, "_code_compiled", write)
    assert coder.encode([b"abba"]) == [None]


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 400), vocab_size=st.integers(2, 40))
def test_it_is_as_short_as_another_range_coder(seed: int, size: int, vocab_size: int) -> None:
    constriction = pytest.importorskip("constriction", reason="constriction is not installed")
    random = np.random.default_rng(seed)
    parts = frequencies(random.normal(scale=3, size=(size, vocab_size)).astype(np.float32))
    symbols = [int(random.choice(vocab_size, p=one / one.sum())) for one in parts]
    other = constriction.stream.queue.RangeEncoder()
    for one, symbol in zip(parts, symbols, strict=True):
        distribution = constriction.stream.model.Categorical(one / 2**SYMBOL_BITS, perfect=False)
        other.encode(symbol, distribution)
    theirs = 4 * len(other.get_compressed())
    data = encoded(parts.tolist(), symbols)
    assert len(data) <= 1.001 * theirs + 8 and theirs <= 1.001 * len(data) + 8
    decoder = RangeDecoder(data)
    assert [decoder.code(np.cumsum(one)) for one in parts] == symbols


def test_rows_are_cut_between_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 5)
    text = "aä語🙂" * 40
    found = cut_rows(text.encode())
    assert len(found) == 64 and "".join(row.decode() for row in found) == text
    assert b"".join(cut_rows(b"\x80" * 99)) == b"\x80" * 99 and cut_rows(b"") == [b""]


def test_several_segments_are_read_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 4)
    monkeypatch.setattr(container, "MAX_ROWS", 3)
    monkeypatch.setattr(container, "ROW_BYTES", 16)
    monkeypatch.setattr(container, "PIECE", 5)
    model = MODELS["char"]
    reports: list[tuple[int, int]] = []
    with progress.using(
        progress.CallbackProgress(lambda task: reports.append((task.done, task.total)))
    ):
        compressed = model.compress(TEXT)
        assert reports[-1][0] == len(TEXT)
        assert model.decompress(compressed) == TEXT
    assert reports[-1] == (len(TEXT), len(TEXT))


def test_cells_of_which_equal_numbers_are_not_proved_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UsageError, match="unitary: its rotations"):
        make_model(cell="unitary").compress(b"a")
    model = make_model(cell="rnn")
    monkeypatch.setattr(cell_type("rnn"), "__module__", "elsewhere")
    with pytest.raises(UsageError, match="another package"):
        model.compress(b"a")
    model = make_model()
    model.tensors["output.weight"] *= np.float32(1e17)
    with pytest.raises(CheckpointError, match="tiny has weights beyond"):
        model.compress(b"a")


def test_the_digest_is_of_all_that_decides_the_bytes_and_of_nothing_else() -> None:
    def digest(config: Config, vocab: Vocab, tensors: dict[str, Any]) -> bytes:
        return digest_of(config, vocab, Stepper(config, tensors, "int8"))

    model = make_model(initial_state="learned")
    config, vocab, tensors = model.config, model.vocab, model.tensors
    first = digest(config, vocab, tensors)
    found = {first}
    for name, values in tensors.items():
        for scale in (1.01, None):
            changed = values * np.float32(scale) if scale else values.copy()
            changed.flat[0] += 0.5 * (scale is None)
            found.add(digest(config, vocab, {**tensors, name: changed}))
    first_ones, last_ones = vocab.characters[:1], vocab.characters[:0:-1]
    others = [
        Vocab("char", chars) for chars in ((*vocab.characters[:-1], "x"), first_ones + last_ones)
    ]
    found |= {digest(config, other, tensors) for other in others}
    changes: list[Any] = [
        {"zoneout": 0.1},
        {"sum_outputs": True},
        {"depth": "residual"},
        {"documents": "lines"},
    ]
    found |= {digest(replace(config, **change), vocab, tensors) for change in changes}
    assert len(found) == 1 + 2 * len(tensors) + len(others) + len(changes)
    assert (
        digest(
            replace(config, seed=9, corpus=("b",), learning_rate=0.5, dropout=0.3), vocab, tensors
        )
        == first
    )


@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-110, 100))
def test_restored_weights_are_rounded_to_the_same_integers_and_scales(
    seed: int, exponent: int
) -> None:
    weights = np.random.default_rng(seed).normal(size=(20, 3)).astype(np.float32) * np.float32(
        2.0**exponent
    )
    matrix = Matrix(weights, is_int8=True)
    again = Matrix(matrix.values.astype(np.float32) * matrix.scale[:, None], is_int8=True)
    assert np.array_equal(matrix.values, again.values) and np.array_equal(matrix.scale, again.scale)


@pytest.mark.parametrize("cell", ["gru", "antisymmetric", "peephole"])
def test_a_file_may_include_its_model(gru: TrainedRun, cell: str) -> None:
    trained = charrnn.load(gru.path)
    config = replace(trained.config, cell=cell, initial_state="learned")
    tensors = {
        name: value.numpy()
        for name, value in CharRNN(config, len(trained.vocab)).state_dict().items()
    }
    model = Model(config, trained.vocab, tensors, name="m")
    compressed = compress_text(model, b"tarn molu", with_model=True)
    header = read_header(io.BytesIO(compressed), "a.crnn")
    restored = unpack_model(header.model, "a.crnn")
    assert restored.decompress(compressed) == b"tarn molu" and restored.config.corpus == ()
    size = sum(value.nbytes for value in model.tensors.values())
    assert len(header.model) < size and (cell == "antisymmetric" or len(header.model) < 0.75 * size)
    damaged = [header.model[:end] for end in range(0, len(header.model), 501)]
    damaged += [
        header.model[:at] + b"\xaa\x55" + header.model[at + 2 :]
        for at in range(0, len(header.model), 501)
    ]
    for packed in damaged:
        with pytest.raises(CheckpointError, match=r"a\.crnn"):
            container.check_model(
                header, coder_of(unpack_model(packed, "a.crnn"))[1], "a.crnn", "it"
            )


def test_a_model_that_unpacks_to_far_more_is_refused(
    gru: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = charrnn.load(gru.path)
    packed = pack_model(model.config, model.vocab, model.tensors, model.generator.int8_stepper)
    monkeypatch.setattr("charrnn.formats.crnn.container.MAX_UNPACKED", 0)
    assert unpack_model(packed, "a.crnn").vocab == model.vocab
    vast = replace(model.config, hidden_size=300)
    zeros = {
        name: np.zeros(shape, np.float32)
        for name, shape in weight_shapes(vast, len(model.vocab)).items()
    }
    packed = pack_model(vast, model.vocab, zeros, Stepper(vast, zeros, "int8"))
    assert unpack_model(packed, "a.crnn").config.hidden_size == 300, (
        "what is nearly all zero is not compressed"
    )
    with pytest.raises(CheckpointError, match="unpacks to more"):
        unpack_model(gzip.compress(gzip.decompress(packed)), "a.crnn")


def test_a_file_of_every_version_opens() -> None:
    model = charrnn.load(GOLDEN / "format-2" / "gru-char")
    for version, order in enumerate((0, 4), 1):
        data, text = (
            (GOLDEN / f"compressed-{version}{suffix}").read_bytes() for suffix in (".crnn", ".txt")
        )
        assert model.decompress(data) == text
        assert order == 0 or len(data) < 0.8 * len(model.compress(text))
        assert model.compress(text, order=order) == data and data[7] == version <= VERSION

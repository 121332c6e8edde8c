"""Compressed files: any bytes come back, from one machine to another; and the integers that a text
is coded by."""

import gzip
import io
import random
import re
from dataclasses import replace
from itertools import cycle
from types import SimpleNamespace

import numpy as np
import pytest
from environment import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import random_network

import charrnn
from charrnn.api import Model
from charrnn.config.settings import Config
from charrnn.errors import CheckpointError, UsageError
from charrnn.formats.crnn import container, rows
from charrnn.formats.crnn.command import coder_of
from charrnn.formats.crnn.container import cut_rows, digest_of, pack_model, unpack_model
from charrnn.formats.crnn.rows import (
    SYMBOL_BITS,
    RangeDecoder,
    RangeEncoder,
    RowCoder,
    RowCoding,
    frequencies,
)
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

CHARS = "\n abdeä語🙂"
ALPHABETS = {
    "char": Vocab("char", (UNKNOWN, *CHARS)),
    "exact": Vocab("char", (*CHARS, "\udc80", "\ud800")),
    "byte": Vocab.of_bytes(),
    "documents": Vocab("char", (UNKNOWN, "\0", *CHARS)),
    "paragraphs": Vocab("char", (UNKNOWN, "\0", *CHARS)),
    "files of a line": Vocab("char", (UNKNOWN, "\0", *CHARS[1:])),
    "lines of bytes": Vocab.of_bytes(),
}
DOCUMENTS = {
    "documents": "lines",
    "paragraphs": "blank-lines",
    "files of a line": "files",
    "lines of bytes": "lines",
}
"""What the documents of a model are, if it has some."""


def make_model(alphabet="char", cell="lstm", depth="stacked", **changes):
    """Return a model with random weights."""
    vocab = ALPHABETS[alphabet]
    settings = {
        "hidden_size": 6,
        "num_layers": 2,
        "embedding_size": 4,
        "dropout": 0.0,
        **changes,
    }
    network = random_network(cell, depth, len(vocab), **settings)
    documents = DOCUMENTS.get(alphabet, "none")
    config = Config(cell=cell, depth=depth, alphabet=vocab.kind, documents=documents, **settings)
    tensors = {name: value.numpy() for name, value in network.state_dict().items()}
    return Model(config, vocab, tensors, name="tiny")


MODELS = {alphabet: make_model(alphabet) for alphabet in ALPHABETS}
TEXT = "abba dä 語🙂 bed\r\nβ".encode() * 3 + b"\xff\x80\xe8\xaa\0"


@settings(max_examples=15)
@given(
    data=st.binary(max_size=60) | st.text(CHARS + "\0βz\r", max_size=40).map(str.encode),
)
@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_any_bytes_come_back(alphabet, data):
    model = MODELS[alphabet]
    compressed = model.compress(data)
    assert model.decompress(compressed) == data
    assert len(compressed) <= len(data) + 60


@pytest.mark.parametrize(
    ("alphabet", "text"),
    [
        ("documents", b"ab\nba\n"),
        ("paragraphs", b"a\nb\n\nba\n\n"),
        ("files of a line", b"ab\nba\n"),
        ("lines of bytes", b"ab\nba\n"),
        ("char", b"ab\nba\n"),
    ],
)
def test_nothing_between_documents_is_escaped(alphabet, text):
    coder, _ = coder_of(MODELS[alphabet])
    symbols = coder.to_symbols(text)
    assert (symbols >= 0).all()
    assert np.count_nonzero(symbols == coder.stepper.end_id) == 2 * (alphabet in DOCUMENTS)


PORTABLE_CELLS = [cell for cell in CELLS if cell not in container.NOT_PORTABLE]
DEPTH_OF_CELL = dict(zip(PORTABLE_CELLS, cycle(DEPTHS), strict=False))


@pytest.mark.parametrize(
    ("cell", "depth"), sorted({*DEPTH_OF_CELL.items(), *(("gru", depth) for depth in DEPTHS)})
)
def test_every_cell_and_depth_whose_numbers_are_equal_everywhere(cell, depth):
    model = make_model(cell=cell, depth=depth, initial_state="learned")
    assert model.decompress(model.compress(TEXT)) == TEXT


def test_bytes_without_any_order_hardly_take_more_space(monkeypatch):
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 2_500)
    noise = random.Random(1).randbytes(50_000)
    assert len(MODELS["char"].compress(noise)) < 1.01 * len(noise)
    assert len(MODELS["byte"].compress(noise[:500])) == 560


@pytest.mark.parametrize(
    "cell, alphabet", [("lstm", "char"), ("gru", "documents"), ("rnn", "byte")]
)
def test_compiled_code_has_the_same_bytes(monkeypatch, cell, alphabet):
    compiled = pytest.importorskip("charrnn.compiled.coding", reason="numba is not installed")
    model = make_model(alphabet, cell, hidden_size=21)
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 300)
    monkeypatch.setattr(rows, "STEPS_AT_ONCE", 50)
    texts = [
        TEXT * 12 + random.Random(2).randbytes(400) + "語\0ba".encode() * 30,
        b"ab" * 25 + b"a",
    ]
    expected = [model.compress(text) for text in texts]
    monkeypatch.setattr(sampling, "COMPILED_FROM", 0)
    monkeypatch.setattr(sampling, "UNCACHED_FROM", 0)
    assert (
        sampling.compiled_loop(model.generator.int8_stepper, sampling.Engine.COMPILED, "code")
        is compiled
    )
    assert [model.compress(text) for text in texts] == expected
    assert [model.decompress(one) for one in expected] == texts, (
        "also where one character is left after STEPS_AT_ONCE"
    )


def test_compiling_pays_for_several_files_together(monkeypatch):
    asked = []

    def choose_engine(num_chars):
        asked.append(num_chars)
        return sampling.Engine.NUMPY

    monkeypatch.setattr(rows, "choose_engine", choose_engine)
    coder, _ = coder_of(MODELS["char"])
    for text in (TEXT, TEXT[:10]):
        coder.encode([text])
    assert asked == [rows.NUMPY_COST * len(TEXT), rows.NUMPY_COST * (len(TEXT) + 10)]


def test_numpy_reports_its_progress_after_each_character():
    coder, _ = coder_of(MODELS["char"])
    done = []
    coder.advance = progress.Task("coding", report=lambda task: done.append(task.done))
    coder.encode([TEXT])
    assert done == sorted(done)
    assert len({*done}) > 30
    assert done[-1] == len(TEXT)


@given(
    st.lists(
        st.floats(-90, 90, width=32) | st.sampled_from([np.inf, -np.inf, np.nan]),
        min_size=1,
        max_size=9,
    )
)
def test_frequencies_are_those_of_the_formula(values):
    logits = np.array([values], np.float32)
    (found,) = frequencies(logits)
    assert found.sum() == 2**SYMBOL_BITS
    assert found.min() >= 1
    if not np.isfinite(logits).all():
        return
    scores = [float(value) for value in logits[0]]
    weights = [float(exact_exp(np.array([score - max(scores)]))[0]) for score in scores]
    total = 0.0
    for weight in weights:
        total += weight
    scale = (2**SYMBOL_BITS - len(scores)) / total
    expected = [1 + int(weight * scale) for weight in weights]
    expected[scores.index(max(scores))] += 2**SYMBOL_BITS - sum(expected)
    assert found.tolist() == expected


def encoded(parts, symbols):
    coder = RangeEncoder()
    for frequency, symbol in zip(parts, symbols, strict=True):
        coder.code(np.cumsum(frequency), symbol)
    return coder.finish()


def test_a_carry_goes_through_all_bytes_before_it():
    coder = RangeEncoder(b"\x01" + b"\xff" * 300, low=rows.MASK)
    coder.code((1, 2), 1)
    assert coder.finish().startswith(b"\x02" + bytes(300) + b"\x80")


def test_a_row_that_compiled_code_left_half_coded_is_not_taken(monkeypatch):
    """Whose carry would leave zeros at its end, which are removed."""
    coder, _ = coder_of(MODELS["char"])

    def write(loop, sizes, *, data, **arrays):
        data[0, :4] = 1, 2, 255, 255
        return np.array([[4, rows.MASK]], np.uint64)

    loop = SimpleNamespace(NUM_BYTES=0, LOW=1)
    monkeypatch.setattr(coder, "_compiled_loop", lambda sizes: loop)
    monkeypatch.setattr(coder, "_code_compiled", write)
    assert coder.encode([b"abba"]) == [b"abba"]


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 400), vocab_size=st.integers(2, 40))
def test_it_is_as_short_as_another_range_coder(seed, size, vocab_size):
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
    assert len(data) == pytest.approx(theirs, rel=0.001, abs=8)
    decoder = RangeDecoder(data)
    assert [decoder.code(np.cumsum(one)) for one in parts] == symbols


def test_rows_are_cut_between_characters(monkeypatch):
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 5)
    text = "aä語🙂" * 40
    found = cut_rows(text.encode())
    assert len(found) == 64
    assert "".join(row.decode() for row in found) == text
    assert b"".join(cut_rows(b"\x80" * 99)) == b"\x80" * 99
    assert cut_rows(b"") == [b""]


def test_several_segments_are_read_one_after_the_other(monkeypatch):
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 4)
    monkeypatch.setattr(container, "MAX_ROWS", 3)
    monkeypatch.setattr(container, "ROW_BYTES", 16)
    monkeypatch.setattr(container, "PIECE", 5)
    model = MODELS["char"]
    reports = []

    def report(task):
        reports.append((task.done, task.total))

    with progress.using(progress.CallbackProgress(report)):
        compressed = model.compress(TEXT)
        assert reports[-1] == (len(TEXT), 0)
        assert model.decompress(compressed) == TEXT
    assert reports[-1] == (len(TEXT), len(TEXT))


def test_a_cell_of_which_equal_numbers_are_not_proved_is_refused():
    with pytest.raises(UsageError, match="unitary: its rotations"):
        make_model(cell="unitary").compress(b"a")


def test_a_cell_of_another_package_is_refused(monkeypatch):
    model = make_model(cell="rnn")
    monkeypatch.setattr(cell_type("rnn"), "__module__", "elsewhere")
    with pytest.raises(UsageError, match="another package"):
        model.compress(b"a")


def digest(config, vocab, tensors):
    return digest_of(config, vocab, Stepper(config, tensors, "int8"))


def test_the_digest_is_of_every_weight():
    model = make_model(initial_state="learned")
    found = {digest(model.config, model.vocab, model.tensors)}
    for name, values in model.tensors.items():
        added = values.copy()
        added.flat[0] += 0.5
        for changed in (values * np.float32(1.01), added):
            found.add(digest(model.config, model.vocab, {**model.tensors, name: changed}))
    assert len(found) == 1 + 2 * len(model.tensors)


def test_the_digest_is_of_the_alphabet_and_of_the_settings_that_decide_the_bytes():
    model = make_model()
    characters = model.vocab.characters
    found = {digest(model.config, model.vocab, model.tensors)}
    for changed in ((*characters[:-1], "x"), (characters[0], *characters[:0:-1])):
        found.add(digest(model.config, Vocab("char", changed), model.tensors))
    changes = [
        {"zoneout": 0.1},
        {"sum_outputs": True},
        {"depth": "residual"},
        {"documents": "lines"},
    ]
    for change in changes:
        found.add(digest(replace(model.config, **change), model.vocab, model.tensors))
    assert len(found) == 1 + 2 + len(changes)


def test_the_digest_is_of_no_other_setting():
    model = make_model()
    other = replace(model.config, seed=9, corpus=("b",), learning_rate=0.5, dropout=0.3)
    assert digest(other, model.vocab, model.tensors) == digest(
        model.config, model.vocab, model.tensors
    )


@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-110, 100))
def test_restored_weights_are_rounded_to_the_same_integers_and_scales(seed, exponent):
    weights = np.random.default_rng(seed).normal(size=(20, 3)).astype(np.float32)
    matrix = Matrix(weights * np.float32(2.0**exponent), is_int8=True)
    again = Matrix(matrix.values.astype(np.float32) * matrix.scale[:, None], is_int8=True)
    assert np.array_equal(matrix.values, again.values)
    assert np.array_equal(matrix.scale, again.scale)


CELLS_WITH_MODEL = ["gru", "antisymmetric", "peephole"]


def untrained(gru, cell):
    """Return a model of the alphabet of a trained one."""
    trained = charrnn.load(gru.path)
    config = replace(trained.config, cell=cell, initial_state="learned")
    network = CharRNN(config, len(trained.vocab))
    tensors = {name: value.numpy() for name, value in network.state_dict().items()}
    return Model(config, trained.vocab, tensors, name="m")


@pytest.mark.parametrize("cell", CELLS_WITH_MODEL)
def test_a_file_may_include_its_model(gru, cell):
    model = untrained(gru, cell)
    compressed = model.compress(b"tarn molu", with_model=True)
    header = container.read_header(io.BytesIO(compressed), "a.crnn")
    restored = unpack_model(header.model, "a.crnn")
    assert restored.decompress(compressed) == b"tarn molu"
    assert restored.config.corpus == ()
    size = sum(value.nbytes for value in model.tensors.values())
    # Weights from which others are computed are in float32.
    assert len(header.model) < size * (1 if cell == "antisymmetric" else 0.75)


@pytest.mark.parametrize("cell", CELLS_WITH_MODEL)
def test_a_damaged_model_in_a_file_is_refused(gru, cell):
    model = untrained(gru, cell)
    packed = pack_model(model)
    header = container.Header(coder_of(model)[1], packed)
    for place in range(0, len(packed), 501):
        for damaged in (packed[:place], packed[:place] + b"\xaa\x55" + packed[place + 2 :]):
            with pytest.raises(CheckpointError, match=r"a\.crnn"):
                restored = unpack_model(damaged, "a.crnn")
                container.check_model(header, coder_of(restored)[1], file="a.crnn", run="it")


def test_a_model_that_unpacks_to_far_more_is_refused(gru, monkeypatch):
    model = charrnn.load(gru.path)
    monkeypatch.setattr(container, "MAX_UNPACKED", 0)
    assert unpack_model(pack_model(model), "a.crnn").vocab == model.vocab
    vast = replace(model.config, hidden_size=300)
    zeros = {
        name: np.zeros(shape, np.float32)
        for name, shape in weight_shapes(vast, len(model.vocab)).items()
    }
    packed = pack_model(Model(vast, model.vocab, zeros, name="vast"))
    assert unpack_model(packed, "a.crnn").config.hidden_size == 300, (
        "what is nearly all zero is not compressed"
    )
    with pytest.raises(CheckpointError, match="unpacks to more"):
        unpack_model(gzip.compress(gzip.decompress(packed)), "a.crnn")


FORMATS_PAGE = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")


class CoderOfPage(RowCoder):
    """Codes by the logits of the examples of docs/formats.md, whatever comes before."""

    FREQUENCIES = frequencies(np.array([[0, 1, 2, -1]], np.float32))[0]

    def __init__(self): ...

    def encode(self, rows):
        (row,) = rows
        symbols = ["abcd".find(chr(byte)) if byte < 0x80 else -1 - byte for byte in row]
        encoder = RangeEncoder()
        widths = np.ones(4, np.int64)
        coding = RowCoding(encoder, symbols, size=len(row), widths=widths)
        while coding.num_left:
            coding.code_char(np.cumsum(self.FREQUENCIES))
        return [encoder.finish()]


def test_the_frequencies_of_the_page_on_formats_are_those_of_the_code():
    for frequency in CoderOfPage.FREQUENCIES.tolist():
        assert str(frequency) in FORMATS_PAGE


def test_the_file_of_the_page_on_formats_is_that_of_the_code():
    [example] = re.findall(r"```\n((?:[0-9a-f]{2}\s)+)```", FORMATS_PAGE)
    header = container.Header(bytes(range(32)), b"")
    parts = container.compress(CoderOfPage(), header, io.BytesIO(bytes.fromhex("6362e961")))
    assert b"".join(parts) == bytes.fromhex(example)

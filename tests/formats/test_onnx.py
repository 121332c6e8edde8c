"""A model in an .onnx file: every cell and depth computes what the network computes, and a wrong
file is refused.

Tests `formats.export`, too.
"""

import json
import math
import os
import re
import string
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from fake_packages import install_names
from hand_built import V, hand_built_tensors
from random_networks import in_numpy, random_state

import charrnn
from charrnn.api import Model
from charrnn.config.architectures import CELL_DESCRIPTIONS as NAMES
from charrnn.config.settings import Config
from charrnn.errors import CharRNNError, UsageError
from charrnn.hooks import manager
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.depths import DEPTHS
from charrnn.model.network import load_network
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import Vocab

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")

from charrnn.formats.onnx import check_onnx, onnx_to_bytes  # noqa: E402

VOCAB = Vocab("char", ("", *string.ascii_letters[: V - 1]))
EVERYTHING = {"zoneout": 0.1, "sum_outputs": True, "initial_state": "learned"}
EVERYTHING |= {"embedding_size": "one-hot", "documents": "lines"}
"""Every setting that changes what a network computes."""


def config_of(cell, depth, **settings):
    sizes = {"num_layers": 3, "hidden_size": 16, "embedding_size": 7}
    return Config(**{"cell": cell, "depth": depth, "dropout": 0.0, **sizes, **settings})


def tensors_of(config):
    """Weights that are half as large as a trained model's: these networks forget their rounding
    errors."""
    return {
        name: value if name.endswith("permutation") else value / 2
        for name, value in hand_built_tensors(config).items()
    }


def onnx_of(config, tensors):
    return onnx_to_bytes(Model(config, VOCAB, tensors, name="hand-built", step=7, val_nats=1.25))


def session_of(content):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


# Each cell plain with one depth and with every setting with another: they meet only in the products
# and in the queues.
WRITTEN = [depth for depth in DEPTHS if depth not in ("dilated", "attention")]
ALL = [*NAMES]
CASES = [(cell, WRITTEN[index % 4], {}) for index, cell in enumerate(ALL)]
CASES += [(cell, WRITTEN[(index + 3) % 4], EVERYTHING) for index, cell in enumerate(ALL)]


@pytest.mark.parametrize("cell, depth, settings", CASES, ids=str)
def test_every_cell_and_depth_computes_what_the_network_does(cell, depth, settings):
    config = config_of(cell, depth, **settings)
    tensors = tensors_of(config)
    network = load_network(
        config, V, {name: torch.from_numpy(value) for name, value in tensors.items()}
    )
    generator = np.random.default_rng(3)
    ids = generator.integers(0, V, (2, 24))
    if settings:
        ids[0, 9], ids[1, 0] = config.end_id, config.end_id
        assert config.end_id is not None
    start = random_state(network, 2)
    state = in_numpy(start).vectors
    with torch.no_grad():
        expected, last = network(torch.from_numpy(ids.T.copy()), start)
    session = session_of(onnx_of(config, tensors))
    logits, new_state = session.run(None, {"ids": ids, "state": state})
    # Sums of 16 float32 terms, 24 times: about 1e-6 of the largest value. relu is the one without a
    # bound.
    for found, wanted in (
        (logits, expected.numpy().transpose(1, 0, 2)),
        (new_state, in_numpy(last).vectors),
    ):
        np.testing.assert_allclose(
            found, wanted, rtol=0, atol=1e-4 * max(1.0, np.abs(wanted).max())
        )
    # In two calls, the state carries everything.
    first, middle = session.run(None, {"ids": ids[:, :5], "state": state})
    second, end = session.run(None, {"ids": ids[:, 5:], "state": middle})
    np.testing.assert_array_equal(np.concatenate((first, second), axis=1), logits)
    np.testing.assert_array_equal(end, new_state)


def run_alone(process, content, ids, folder):
    """Read ids from zeros in a process of its own, which a graph may end; print the shapes of the
    results."""
    path = folder / "model.onnx"
    path.write_bytes(content)
    return process(
        "-c",
        f"""
import numpy, onnxruntime
session = onnxruntime.InferenceSession({str(path)!r})
layers, states, _, units = session.get_inputs()[1].shape
ids = numpy.array({ids.tolist()}, numpy.int64).reshape({ids.shape})
state = numpy.zeros((layers, states, len(ids), units), numpy.float32)
print([array.shape for array in session.run(None, {{"ids": ids, "state": state}})])
""",
    )


@pytest.mark.parametrize("shape", [(2, 0), (0, 0)])
def test_no_characters_are_an_error_that_the_program_can_handle(shape, process, tmp_path):
    ran = run_alone(process, onnx_of(LSTM, TENSORS), np.zeros(shape, np.int64), tmp_path)
    assert ran.returncode == 1
    assert b"over_one_or_more_characters" in ran.stderr


def test_no_texts_give_no_logits(process, tmp_path):
    ran = run_alone(process, onnx_of(LSTM, TENSORS), np.zeros((0, 5), np.int64), tmp_path)
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stdout.decode().startswith(f"[(0, 5, {V}),")


@pytest.mark.parametrize("id", [-V - 1, -1, V])
@pytest.mark.parametrize("embedding_size", [7, "one-hot"])
def test_an_id_outside_of_the_alphabet_is_an_error_that_names_the_range(id, embedding_size):
    config = config_of("gru", "stacked", embedding_size=embedding_size)
    session = session_of(onnx_of(config, tensors_of(config)))
    given = {"ids": np.array([[0, id]]), "state": np.zeros((3, 1, 1, 16), np.float32)}
    with pytest.raises(Exception, match=f"ids_from_0_to_{V - 1}"):
        session.run(None, given)


LEAKY = """
from charrnn.model.cell_types import Cell

class Leaky(Cell):
    @staticmethod
    def extras(hidden_size):
        return {"rate": ((hidden_size,), "zeros")}

    @staticmethod
    def step(ops, x, product, state, extras):
        (h,) = state
        return (ops.clamp(h + (0.5 * ops.tanh(0.5 * extras["rate"]) + 0.5) * (ops.tanh(x + product("hh", h)) - h)),)

class Squared(Leaky):
    @staticmethod
    def step(ops, x, product, state, extras):
        return (ops.clamp(ops.tanh(x + product("hh", state[0])) ** 2),)
"""


@pytest.fixture
def foreign_cells(tmp_path, monkeypatch):
    """Install a package with the two cells."""
    places = {"leaky": "leaky_cell:Leaky", "squared": "leaky_cell:Squared"}
    install_names(tmp_path, "leaky-cell", "cell_types", places, leaky_cell=LEAKY)
    monkeypatch.syspath_prepend(str(tmp_path))
    cell_type.cache_clear()
    yield
    monkeypatch.undo()
    manager.forget()
    cell_type.cache_clear()
    sys.modules.pop("leaky_cell", None)


@pytest.mark.usefixtures("foreign_cells")
def test_a_cell_of_another_package_is_written_too():
    config = config_of("leaky", "residual")
    tensors = tensors_of(config)
    assert check_onnx(onnx_of(config, tensors), Stepper(config, tensors), IDS) is not None


@pytest.mark.usefixtures("foreign_cells")
def test_a_cell_that_computes_what_onnx_has_not_is_refused():
    config = config_of("squared", "residual")
    with pytest.raises(
        UsageError, match=r"The cell squared computes what cannot be written.*\n.*\.zip"
    ):
        onnx_of(config, tensors_of(config))


def changed(content, name):
    """Return the file with one weight of the tensor `name` changed by 1 %."""
    model = onnx.load_from_string(content)
    (tensor,) = [one for one in model.graph.initializer if one.name == name]
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[3] += 0.01 * np.abs(values).max()
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
    return bytes(model.SerializeToString())


LSTM = config_of("lstm", "residual")
TENSORS = tensors_of(LSTM)
IDS = np.random.default_rng(0).integers(0, V, 60)


@pytest.mark.parametrize("name", ["output.bias", "layers.2.weight_hh_l0"])
def test_the_check_finds_a_wrong_weight(name):
    content = changed(onnx_of(LSTM, TENSORS), name)
    with pytest.raises(CharRNNError, match="onnxruntime computes something else than the model"):
        check_onnx(content, Stepper(LSTM, TENSORS), IDS)


def test_the_check_measures_the_largest_difference():
    found = check_onnx(onnx_of(LSTM, TENSORS), Stepper(LSTM, TENSORS), IDS)
    assert found.num_chars == 60
    assert 0 < found.max_difference < 1e-4


def test_a_model_gives_the_same_valid_file_each_time():
    content = onnx_of(LSTM, TENSORS)
    onnx.checker.check_model(content, full_check=True)
    assert content == onnx_of(LSTM, TENSORS)


def test_a_model_that_is_too_large_for_the_format_is_refused(monkeypatch):
    monkeypatch.setattr("charrnn.formats.onnx.MAX_BYTES", 10_000)
    with pytest.raises(UsageError, match=r"10,000.*Export a \.zip"):
        onnx_of(LSTM, TENSORS)


@pytest.mark.parametrize("depth", ["dilated", "attention"])
def test_a_depth_that_cannot_be_written_is_refused(depth):
    config = config_of("lstm", depth)
    with pytest.raises(UsageError, match=f"depth {depth} cannot be written"):
        onnx_of(config, tensors_of(config))


def test_the_metadata_says_all_that_a_reader_needs(command, lstm, corpus_file, tmp_path):
    model = charrnn.load(lstm.path)
    said = command("export", lstm.path, tmp_path / "given.onnx").err
    (difference,) = re.findall(r"onnxruntime read 1,000 characters; .* is (\S+) \(logits\)", said)
    assert float(difference) < 1e-3
    content = (tmp_path / "given.onnx").read_bytes()
    metadata = session_of(content).get_modelmeta().custom_metadata_map
    assert Vocab.from_json(json.loads(metadata.pop("alphabet"))) == model.vocab
    nats = model.val_nats or 0.0
    numbers = {"layers": "1", "units": "32", "step": str(model.step), "val_nats": repr(nats)}
    named = {"charrnn": charrnn.__version__, "name": "given", "cell": "lstm", "depth": "stacked"}
    assert metadata == named | numbers | {"val_bpc": repr(nats / math.log(2))}
    for path in (corpus_file.parent, lstm.path.parent, corpus_file.name):
        assert str(path).encode() not in content
    tensors = tensors_of(config := config_of("rnn", "stacked", **EVERYTHING))
    metadata = session_of(onnx_of(config, tensors)).get_modelmeta().custom_metadata_map
    assert metadata["end_id"] == str(config.end_id)
    np.testing.assert_array_equal(
        np.array(json.loads(metadata["initial_state"]), np.float32), tensors["learned_state"]
    )


def test_a_file_that_computes_something_else_is_not_written(command, alphabet_run, monkeypatch):
    monkeypatch.setattr("charrnn.formats.onnx.TOLERANCE", -1.0)
    command("export", alphabet_run, "a.onnx").assert_refused(1, "Nothing was written")
    assert not Path("a.onnx").exists()


def test_without_onnx_there_is_no_file(command, alphabet_run, monkeypatch):
    monkeypatch.setattr("charrnn.errors.find_spec", lambda name: None)
    refused = command("export", alphabet_run, "a.onnx")
    refused.assert_refused(2, "a.onnx: a .onnx needs the package onnx.")
    assert refused.err.endswith("pip install 'charrnn-lab[onnx]'\n")
    assert not Path("a.onnx").exists()


def test_in_an_environment_of_pipx_its_pip_is_named(command, alphabet_run, monkeypatch, tmp_path):
    monkeypatch.setattr("charrnn.errors.find_spec", lambda name: None)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    tmp_path.joinpath("pipx_metadata.json").touch()
    refused = command("export", alphabet_run, "a.onnx")
    assert refused.err.endswith(": pipx runpip charrnn-lab install 'charrnn-lab[onnx]'\n")


def test_without_onnxruntime_the_file_is_not_checked(command, alphabet_run, monkeypatch):
    monkeypatch.setattr("charrnn.formats.onnx.find_spec", lambda name: None)
    written = command("export", alphabet_run, "a.onnx", "--json")
    assert written.code == 0
    assert json.loads(written.out)["bytes"] == Path("a.onnx").stat().st_size
    warning = "the file was not checked, because onnxruntime is not installed"
    assert written.err == f"warning: {warning}\n"


@pytest.mark.docs
def test_the_example_of_the_documentation_needs_onnxruntime_and_numpy_alone(
    alphabet_run, byte_run, tmp_path, process
):
    # Only the alphabet run's text is known: every letter follows the one before, nearly always at
    # temperature 0.8.
    page = (REPOSITORY / "docs" / "use" / "export.md").read_text("utf-8")
    programs = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (code,) = [program for program in programs if "onnxruntime" in program]
    code += "import sys; assert not {'torch', 'charrnn'} & set(sys.modules)"
    charrnn.load(alphabet_run).export(tmp_path / "model.onnx")
    ran = process("-c", code)
    assert ran.returncode == 0, ran.stderr.decode()
    text = ran.stdout.decode()
    assert len(text) == 302
    follows = dict(zip("\n" + string.ascii_lowercase, string.ascii_lowercase + "\n", strict=True))
    assert sum(follows[before] == after for before, after in pairwise(text[:-1])) > 240
    charrnn.load(byte_run.path).export(tmp_path / "model.onnx", force=True)
    ran = process("-c", code)
    assert ran.returncode == 0, ran.stderr.decode()


def test_onnxruntime_is_imported_without_its_telemetry(tmp_path, monkeypatch):
    """Its uploader starts on import: the variable must be there before."""
    code = 'import os\nraise RuntimeError(os.environ.get("ORT_DISABLE_TELEMETRY"))\n'
    (tmp_path / "onnxruntime.py").write_text(code, encoding="utf-8")
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match=r"^1$"):
        check_onnx(b"", stepper=None, ids=np.zeros(1))

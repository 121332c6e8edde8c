"""Models that torch.nn trained become runs that compute the same."""

import json
import pickle
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import as_json
from safetensors.torch import save_file
from torch import nn

import charrnn

CHARACTERS = "\n abcdefghi"
V, E, H = len(CHARACTERS), 5, 7
ITOS = {str(index): character for index, character in enumerate(CHARACTERS)}


def save(kind, file="m.safetensors", vocab=CHARACTERS, e=E, **options):
    """Save a model as it is usually written, one of one-hot vectors if E is V; `options` may
    replace tensors."""
    changes = {name: options.pop(name) for name in list(options) if "." in name}
    network = getattr(nn, kind)
    model = nn.ModuleDict()
    if e != V:
        model["emb"] = nn.Embedding(V, e)
    model["rnn"] = network(e, H, **options)
    model["head"] = nn.Linear(H, V, bias=options.get("bias", True))
    given = {**model.state_dict(), **changes}
    weights = {name: one for name, one in given.items() if one is not None}
    if file.endswith(".pt"):
        torch.save({"model": {name: nn.Parameter(one) for name, one in weights.items()}}, file)
    else:
        save_file(weights, file)
    Path("v.json").write_text(
        json.dumps(list(vocab) if isinstance(vocab, str) else vocab), encoding="utf-8"
    )
    return model


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "kind, file, vocab, options, flags",
    [
        ("LSTM", "m.safetensors", {"itos": ITOS, "stoi": {}}, {"num_layers": 2}, ()),
        ("GRU", "m.pt", {"stoi": {v: int(k) for k, v in ITOS.items()}}, {"e": H}, ()),
        ("RNN", "m.safetensors", {"chars": CHARACTERS}, {"e": V, "bias": False}, ()),
        ("RNN", "m.pt", CHARACTERS, {"nonlinearity": "relu"}, ("--cell", "irnn")),
    ],
)
def test_a_run_computes_what_torch_does(command, kind, file, vocab, options, flags):
    theirs, ids = save(kind, file, vocab, **options), torch.randint(V, (400, 1))
    Path("t.txt").write_text(
        "".join(CHARACTERS[index] for index in ids[:, 0].tolist()), encoding="utf-8"
    )
    ran = command("import", file, "--vocab", "v.json", "--text", "t.txt", *flags)
    assert (ran.code, ran.out) == (
        0,
        "checkpoints/m-001\n",
    ) and "head.weight -> output.weight" in ran.err
    network = charrnn.load("checkpoints/m-001").network
    with torch.inference_mode():
        vectors = theirs["emb"](ids) if "emb" in theirs else nn.functional.one_hot(ids, V).float()
        expected = theirs["head"](theirs["rnn"](vectors)[0])
        found, _ = network(ids, network.initial_state(1))
    torch.testing.assert_close(
        found, expected, atol=1e-5, rtol=1e-5
    )  # float32, sums of at most 11 products
    nats = nn.functional.cross_entropy(expected[:-1, 0], ids[1:, 0]).item()
    assert float(ran.err.split("t.txt: ")[1].split()[0]) == pytest.approx(nats, abs=2e-4)
    for line in (
        "sample --length 9",
        "export m-001 m.zip",
        "sample m.zip --length 9",
        "visualize m-001 --text t.txt --top 3",
    ):
        assert command(*line.split()).code == 0
    again = command("import", file, "--vocab", "v.json", "--out", "checkpoints/m-001")
    assert "exists already" in again.err and "--resume" not in again.err
    assert file in Path("checkpoints/m-001/README.txt").read_text()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(weights, inputs, h, c):
    """One step of mlx.nn.LSTM, as its documentation defines it."""
    i, f, g, o = np.split(weights["Wx"] @ inputs + weights["Wh"] @ h + weights["bias"], 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(weights, inputs, h, c):
    """One step of mlx.nn.GRU."""
    x_r, x_z, x_n = np.split(weights["Wx"] @ inputs + weights["b"], 3)
    h_r, h_z, h_n = np.split(weights["Wh"] @ h, 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + r * (h_n + weights["bhn"]))
    return (1 - z) * n + z * h, c


def rnn(weights, inputs, h, c):
    """One step of mlx.nn.RNN."""
    return np.tanh(weights["Wxh"] @ inputs + weights["Whh"] @ h + weights["bias"]), c


MLX = [
    (lstm, {"Wx": (4 * H, E), "Wh": (4 * H, H), "bias": (4 * H,)}),
    (gru, {"Wx": (3 * H, E), "Wh": (3 * H, H), "b": (3 * H,), "bhn": (H,)}),
    (rnn, {"Wxh": (H, E), "Whh": (H, H), "bias": (H,)}),
]


@pytest.mark.parametrize("step, shapes", MLX)
def test_a_model_of_mlx_computes_what_its_equations_do(command, step, shapes):
    outer = {"emb.weight": (V, E), "out.weight": (V, H), "out.bias": (V,)}
    layers = {f"layers.{n}.{name}": shape for n in (0, 1) for name, shape in shapes.items()}
    for name in layers:
        if name in ("layers.1.Wx", "layers.1.Wxh"):
            layers[name] = (layers[name][0], H)
    tensors = {name: torch.randn(*shape) for name, shape in {**outer, **layers}.items()}
    save_file(tensors, "m.safetensors")
    Path("v.json").write_text(json.dumps(CHARACTERS), "utf-8")
    ran = command("import", "m.safetensors", "--vocab", "v.json")
    assert f"layers.1.{list(shapes)[1]} -> layers.1.weight_hh_l0" in ran.err

    arrays = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    states = np.zeros((2, 2, H))
    for id in (3, 1, 4, 1, 5):
        vector = arrays["emb.weight"][id]
        for layer in (0, 1):
            weights = {name: arrays[f"layers.{layer}.{name}"] for name in shapes}
            states[layer] = step(weights, vector, *states[layer])
            vector = states[layer, 0]
    expected = arrays["out.weight"] @ vector + arrays["out.bias"]
    network = charrnn.load("m-001").network
    with torch.inference_mode():
        found, _ = network(torch.tensor([[3], [1], [4], [1], [5]]), network.initial_state(1))
    # float32, sums of at most 14 products of a few units each.
    np.testing.assert_allclose(found[-1, 0].numpy(), expected, atol=1e-4)


def test_entries_that_are_no_weights_are_left_out_and_named(command):
    weights = save("LSTM", "whole.pt").state_dict()
    counter = {"norm.num_batches_tracked": torch.tensor(7)}
    torch.save({**weights, **counter, "epoch": 3}, "m.pt")
    ran = command("import", "m.pt", "--vocab", "v.json")
    line = "left out, because no weights: norm.num_batches_tracked, epoch"
    assert ran.code == 0
    assert line in ran.err.splitlines()
    assert line in Path("checkpoints/m-001/README.txt").read_text("utf-8")


@pytest.fixture
def reversed_import(command):
    """Import a network that is sure of the next of three characters, with the alphabet reversed."""
    follows = torch.zeros(3, H)
    follows[1, 0] = follows[2, 1] = follows[0, 2] = 9
    weights = {
        "rnn.weight_ih_l0": 9 * torch.eye(H, 3),
        "rnn.weight_hh_l0": torch.zeros(H, H),
        "head.weight": follows,
    }
    save_file(weights, "m.safetensors")
    Path("v.json").write_text(json.dumps(["c", "b", "a"]), "utf-8")
    Path("val.txt").write_text("abc" * 200, "utf-8")
    return command("import", "m.safetensors", "--vocab", "v.json", "--text", "val.txt")


def test_a_loss_above_chance_says_what_may_be_wrong(command, reversed_import):
    doubt = "9.00 nats per character, and equal probabilities for all characters have ln 3 = 1.10."
    assert doubt in reversed_import.err
    assert "the alphabet or the gates may be in another order" in reversed_import.err
    [*_, note] = as_json(command("evaluate", "m-001", "--text", "val.txt", "--json"))["notes"]
    assert doubt in note
    assert "--cell" in note


def test_a_model_behind_links_is_read(command):
    save("GRU")
    for name in ("m.safetensors", "v.json"):  # as a cache of downloads keeps them
        blob = Path("blobs", name)
        blob.parent.mkdir(exist_ok=True)
        Path(name).rename(blob)
        Path(name).symlink_to(blob)
    assert command("import", "m.safetensors", "--vocab", "v.json").out == "checkpoints/m-001\n"


WEIGHTS = {"rnn.weight_hh_l0": torch.ones(1, 1)}
WRONG = [
    (lambda: save("LSTM", bidirectional=True), "_l0_reverse belongs to a bidirectional"),
    (
        lambda: save("LSTM", proj_size=3, **{"head.weight": torch.ones(V, 3)}),
        "rnn.weight_hr_l0 belongs to a projection",
    ),
    (
        lambda: save("GRU", e=H, **{"emb.weight": None}),
        "rnn.weight_ih_l0 has shape (21, 7); wanted: (21, 11)",
    ),
    (lambda: save("GRU", vocab="abc"), "emb.weight has shape (11, 5)"),
    (lambda: save("GRU", **{"norm.weight": torch.ones(H)}), "has an unexpected norm.weight"),
    (
        lambda: save("GRU", **{"head.weight": None, "my.matrix": torch.ones(V, H)}),
        "has an unexpected my.matrix",
    ),
    (lambda: save("GRU", **{"out.weight": torch.ones(V, H)}), "has an unexpected out.weight"),
    (
        lambda: save("GRU", **{"head.weight": None, "head.bias": None}),
        "rename the embedding to embedding.weight (one-hot vectors have none) and the output",
    ),
    (
        lambda: save("GRU", **{"head.bias": torch.full((V,), torch.inf)}),
        "head.bias of torch.float32 has values",
    ),
    (
        lambda: save("GRU", **{"head.bias": torch.full((V,), 1e300, dtype=torch.float64)}),
        "not finite floats of 32 bits",
    ),
    (lambda: save("GRU", **{"rnn.weight_hh_l0": None}), "has no matrix weight_hh beside it"),
    (lambda: save("GRU", vocab={"stoi": {"a": 0, "b": 2}}), "no character has the id 1"),
    (
        lambda: (save("GRU"), Path("v.json").write_text("Anna saw a lamp.", "utf-8")),
        "v.json is not JSON (Expecting value: line 1 column 1 (char 0)): give the alphabet",
    ),
    (lambda: save("GRU", vocab=["<pad>", "<unk>", "a"]), "entry 1, '<unk>', is no character"),
    (
        lambda: torch.save({"model": save("GRU", "n.pt").state_dict(), "ema": WEIGHTS}, "m.pt"),
        "m.pt has several models: model, ema",
    ),
    (lambda: (save("GRU", "n.pt"), Path("m.onnx").write_text("no tensors")), "of another kind"),
    (lambda: torch.save(save("GRU", "n.pt"), "m.pt"), "nothing is unpickled"),
    (
        lambda: (save("GRU", "n.pt"), torch.save({"a": torch.ones(2, 2).to_sparse()}, "m.pt")),
        "than dense tensors",
    ),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_what_cannot_be_imported_is_named_and_nothing_is_written(command, case):
    prepare, message = WRONG[case]
    prepare()
    ran = command("import", *map(str, Path().glob("m.*")), "--vocab", "v.json")
    ran.assert_refused(4, message)
    assert not Path("checkpoints").exists()


def save_as(file, **parts):
    """Save the weights of an LSTM as `net`, beside other parts of a checkpoint."""
    torch.save({"net": save("LSTM", "whole.pt").state_dict(), **parts}, file)


@pytest.mark.parametrize("file", ["m.ckpt", "m.net", "m.bin"])
def test_weights_are_found_in_a_checkpoint_of_any_name(command, file):
    save_as(file, epoch=3, optimizer={"state": {}, "lr": 0.1}, tokens=tuple(CHARACTERS))
    ran = command("import", file, "--vocab", "v.json")
    assert (ran.code, ran.out) == (0, "checkpoints/m-001\n")


def test_a_symbol_as_entry_0_is_never_generated(command):
    save("LSTM", vocab=["<pad>", *CHARACTERS[1:]])
    command("import", "m.safetensors", "--vocab", "v.json")
    assert charrnn.load("checkpoints/m-001").vocab.has_unknown_symbol


def test_a_pickled_vocabulary_is_turned_into_json_by_the_line_that_is_printed(command, process):
    save("LSTM")
    Path("meta.pkl").write_bytes(
        pickle.dumps({"vocab_size": V, "itos": dict(enumerate(CHARACTERS))})
    )
    ran = command("import", "m.safetensors", "--vocab", "meta.pkl")
    assert ran.code == 4
    assert "meta.pkl is a pickle, which is not read" in ran.err
    python, *arguments = shlex.split(ran.err.splitlines()[-1])
    assert (python, process(*arguments).returncode) == ("python", 0)
    assert command("import", "m.safetensors", "--vocab", "meta.json").code == 0


@pytest.fixture
def imported(command):
    """Import a model with a text, and return what was printed on stderr."""
    save("LSTM")
    Path("val.txt").write_text(CHARACTERS * 200, "utf-8")
    ran = command("import", "m.safetensors", "--vocab", "v.json", "--text", "val.txt")
    assert ran.code == 0
    return ran.err


def test_the_text_of_an_import_is_the_validation_text_of_the_run(command, imported):
    found = as_json(command("evaluate", "m-001", "--json"))
    nats, _, after = imported.partition("loss on val.txt: ")[2].partition(" nats")
    assert f"{found['nats_per_char']:.4f}" == nats
    assert f"({found['num_chars']:,} characters)" in after
    assert [run["best_nats"] for run in as_json(command("runs", "--json"))] == [
        pytest.approx(found["nats_per_char"], abs=1e-6)
    ]
    assert found["precision"] == "fp32"
    # Neither its steps nor its seed are known.
    row = command("runs").out.partition("m-001")[2].splitlines()[0]
    assert row.count(" – ") == 2, row


def test_the_commands_that_come_next_run_as_they_are_printed(command, imported):
    lines = imported.partition("Next:\n")[2].splitlines()
    assert [command(*shlex.split(line)[1:]).code for line in lines] == [0, 0, 0]


@pytest.mark.parametrize(
    "line, message",
    [
        ("evaluate m-001 --ngrams", "imported without its training text: leave --ngrams out"),
        ("sample m-001 --trace", "imported without its training text"),
        ("train --resume m-001", "Train a new run with --init-from"),
    ],
)
def test_what_needs_the_training_of_an_imported_model_is_refused(command, imported, line, message):
    ran = command(*line.split())
    assert ran.code in (2, 3)
    assert message in ran.err


def test_an_imported_model_learns_by_dynamic_evaluation(command, imported):
    ran = command("evaluate", "m-001", "--dynamic", "--chars", 200)
    assert (ran.code, "dynamic" in ran.out) == (0, True)


def test_tensors_that_are_larger_than_their_file_are_refused(command):
    save("LSTM", "m.pt", **{"rnn.weight_hh_l0": torch.zeros(1).expand(100_000, 100_000)})
    refused = command("import", "m.pt", "--vocab", "v.json", "--out", "r")
    refused.assert_refused(4, "its tensors have 40,000,0", "it repeats values", ".contiguous()")


def test_a_compressed_file_is_refused_before_it_is_unpacked(command):
    save("LSTM", "m.pt")
    with zipfile.ZipFile("m.pt") as stored, zipfile.ZipFile("z.pt", "w", 8) as packed:
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    refused = command("import", "z.pt", "--vocab", "v.json", "--out", "r")
    refused.assert_refused(4, "its files are compressed, as torch")

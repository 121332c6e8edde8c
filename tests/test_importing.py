"""Models that torch.nn trained become runs that compute the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fixture_types import Command
from safetensors.torch import save_file
from torch import Tensor, nn

import charrnn

CHARACTERS = "\n abcdefghi"
V, E, H = len(CHARACTERS), 5, 7
ITOS = {str(index): character for index, character in enumerate(CHARACTERS)}


def save(
    kind: str, file: str = "m.safetensors", vocab: object = CHARACTERS, e: int = E, **options: Any
) -> nn.ModuleDict:
    """Save a model as it is usually written, one of one-hot vectors if E is V; `options` may
    replace tensors."""
    changes = {name: options.pop(name) for name in list(options) if "." in name}
    network: type[nn.RNNBase] = getattr(nn, kind)
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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("kind", "file", "vocab", "options", "flags"),
    [
        ("LSTM", "m.safetensors", {"itos": ITOS, "stoi": {}}, {"num_layers": 2}, ()),
        ("GRU", "m.pt", {"stoi": {v: int(k) for k, v in ITOS.items()}}, {"e": H}, ()),
        ("RNN", "m.safetensors", {"chars": CHARACTERS}, {"e": V, "bias": False}, ()),
        ("RNN", "m.pt", CHARACTERS, {"nonlinearity": "relu"}, ("--cell", "irnn")),
    ],
)
def test_a_run_computes_what_torch_does(
    command: Command,
    kind: str,
    file: str,
    vocab: object,
    options: dict[str, Any],
    flags: tuple[str, ...],
) -> None:
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
        vectors: Tensor = (
            theirs["emb"](ids) if "emb" in theirs else nn.functional.one_hot(ids, V).float()
        )
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
    assert (
        "imported from m" in command("runs").out
        and file in Path("checkpoints/m-001/README.txt").read_text()
    )


def test_a_model_behind_links_is_read(command: Command) -> None:
    save("GRU")
    for name in ("m.safetensors", "v.json"):  # as a cache of downloads keeps them
        blob = Path("blobs", name)
        blob.parent.mkdir(exist_ok=True)
        Path(name).rename(blob)
        Path(name).symlink_to(blob)
    assert command("import", "m.safetensors", "--vocab", "v.json").out == "checkpoints/m-001\n"


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: save("LSTM", bidirectional=True), "_l0_reverse belongs to a bidirectional"),
    (
        lambda: save("LSTM", proj_size=3, **{"head.weight": torch.ones(V, 3)}),
        "rnn.weight_hr_l0 belongs to a projection",
    ),
    (
        lambda: save("GRU", e=H, **{"emb.weight": None}),
        "no embedding: head.weight would be both (tied weights)",
    ),
    (lambda: save("GRU", vocab="abc"), "emb.weight has shape (11, 5)"),
    (lambda: save("GRU", **{"norm.weight": torch.ones(H)}), "norm.weight has shape (7,)"),
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
    (lambda: torch.save(save("GRU", "n.pt"), "m.pt"), "nothing is unpickled"),
    (
        lambda: (save("GRU", "n.pt"), torch.save({"a": torch.ones(2, 2).to_sparse()}, "m.pt")),
        "than dense tensors",
    ),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_what_cannot_be_imported_is_named_and_nothing_is_written(
    command: Command, case: int
) -> None:
    prepare, message = WRONG[case]
    prepare()
    ran = command("import", *map(str, Path().glob("m.*")), "--vocab", "v.json")
    assert (ran.code, ran.out) == (4, "") and message in ran.err and len(ran.err.splitlines()) <= 3
    assert not Path("checkpoints").exists()

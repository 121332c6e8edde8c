"""Build texts and runs from formulas, without charrnn: the same bytes in every version. H units, V
characters."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save

sys.path.append(str(Path(__file__).parents[1] / "helpers"))
import known_weights as known
from synthetic import make_corpus

CELLS = ("lstm", "gru", "rnn", "irnn", "peephole", "coupled", "mlstm", "antisymmetric", "unitary")
DEPTHS = ("residual", "highway", "dilated", "grid")
BLOCKS = {
    "lstm": {"ih": 4, "hh": 4},
    "gru": {"ih": 3, "hh": 3},
    "peephole": {"ih": 4, "hh": 4},
    "unitary": {"ih": 1},
}
BLOCKS |= {
    "coupled": {"ih": 3, "hh": 3},
    "mlstm": {"ih": 5, "mh": 1, "hh": 4},
    "antisymmetric": {"ih": 2, "hh": 1},
}
"""The number of H-wide blocks of each product of a cell type; one each for the others."""


def build(folder: Path) -> None:
    """Write all texts and runs into `folder`."""
    _write_texts(folder)
    runs = folder / "checkpoints"
    chain = {"corpus": ["chain.txt"], "documents": "none"}
    _save_run(runs / "loop", "\nabcd", known.chain_weights("\nabcd"), {})
    _save_run(
        runs / "chain",
        known.CYCLE,
        known.chain_weights(known.CYCLE),
        chain,
        losses=(1.5, 1.25, 1.0),
    )
    poems = {"corpus": ["poems.txt"], "documents": "lines"}
    _save_run(runs / "poems", "abcdefg", known.chain_weights("abcdefg"), poems)
    quotes = {"corpus": ["quotes.txt"]}
    _save_run(
        runs / "quoting",
        known.QUOTING_CHARACTERS,
        known.quoting_weights(),
        quotes,
        losses=(1.75, 1.5, 1.625),
    )
    characters = "".join(sorted({*(folder / "words.txt").read_text(encoding="utf-8")}))
    for cell, depth in [
        *((cell, "stacked") for cell in CELLS),
        *(("lstm", depth) for depth in DEPTHS),
    ]:
        settings = {"corpus": ["words.txt"], "cell": cell, "depth": depth, "num_layers": 2}
        weights = _drawn(_shapes(cell, depth, 2, 24, 13, len(characters) + 1))
        _save_run(
            runs / (cell if depth == "stacked" else depth),
            characters,
            weights,
            settings,
            hidden=24,
            embedding=13,
        )
    # The order of the list of runs: by name.
    for index, run in enumerate(sorted(runs.iterdir())):
        for path in [*run.rglob("*"), run]:
            os.utime(path, (1_700_000_000 + 60 * index,) * 2)


def _write_texts(folder: Path) -> None:
    chain = known.chain_text(12_000)
    texts = {
        "synthetic.txt": make_corpus(num_chars=100, seed=12).text[:240],
        "words.txt": make_corpus(num_chars=12_000, seed=6).text,
        "chain.txt": chain,
        "part.txt": chain[:300],
        "poems.txt": "\n".join(line for line in chain.split("\n") if line) + "\n",
        "quotes.txt": known.quoting_text(21_000),
        "short.txt": "abcdefg\nabdefg\nab",
        "odd.txt": "abcdéfg\n語\U0001f642abc\n" * 40,
        "empty.txt": "",
        "one.txt": "a",
        "binary.dat": "abc\0def" * 20,
        "tag.yaml": "steps: !!python/object/apply:os.mkdir [made]\n",
        "poems.csv": "title,poem\n"
        + "".join(f'{n},"{"abcdefg"[: n % 7 + 1]}\nfga"\n' for n in range(60)),
        "mine.py": "def label(text):\n    return [character == 'a' for character in text]\n",
        "small.yaml": "hidden_size: 10\nlearning_rate: 0.01\n",
    }
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
    for name in ("folder", "folder.svg", "folder.zip"):
        (folder / name).mkdir()
    (folder / "latin.txt").write_bytes(
        "Grün, grün, grün sind alle meine Kleider.\n".encode("latin-1") * 40
    )


def _shapes(
    cell: str, depth: str, num_layers: int, size: int, embedding_size: int, num_chars: int
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of a model by name."""
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (num_chars, embedding_size)}
    shapes |= {"output.weight": (num_chars, size), "output.bias": (num_chars,)}
    if depth == "grid":
        shapes |= {"bottom.weight": (2 * size, embedding_size), "bottom.bias": (2 * size,)}
    for layer in range(num_layers):
        for product, blocks in BLOCKS.get(cell, {"ih": 1, "hh": 1}).items():
            columns = embedding_size if product == "ih" and layer == 0 and depth != "grid" else size
            shapes[f"layers.{layer}.weight_{product}_l0"] = (blocks * size, columns)
            shapes[f"layers.{layer}.bias_{product}_l0"] = (blocks * size,)
        if cell == "peephole":
            shapes |= {f"layers.{layer}.weight_c{gate}": (size,) for gate in "ifo"}
        if cell == "unitary":
            vectors = ("angle_1", "angle_2", "angle_3", "modrelu_bias", "permutation")
            shapes |= {f"layers.{layer}.{name}": (size // 2,) for name in vectors}
            shapes |= {f"layers.{layer}.reflection_{index}": (2, size // 2) for index in (1, 2)}
        if depth == "highway" and layer:
            shapes |= {
                f"highways.{layer - 1}.weight": (size, size),
                f"highways.{layer - 1}.bias": (size,),
            }
        if depth == "grid":
            for product in ("ih", "hh"):
                shapes[f"grids.{layer}.weight_{product}_l0"] = (4 * size, size)
                shapes[f"grids.{layer}.bias_{product}_l0"] = (4 * size,)
    return shapes


def _drawn(shapes: dict[str, tuple[int, ...]]) -> known.Weights:
    """Draw each weight by a generator of its own, which its name seeds."""
    weights = {}
    for name, shape in sorted(shapes.items()):
        draw = np.random.default_rng(
            int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        )
        weights[name] = known.draw_weight(name, shape, draw)
    return weights


def _save_run(
    run: Path,
    characters: str,
    weights: known.Weights,
    settings: dict[str, Any],
    *,
    hidden: int | None = None,
    embedding: int | None = None,
    losses: tuple[float, ...] = (),
) -> None:
    """Write a run of format 2 with one checkpoint, as charrnn 9710634 writes it."""
    sizes = {
        "num_layers": 1,
        "hidden_size": hidden or weights["output.weight"].shape[1],
        "embedding_size": embedding or weights["embedding.weight"].shape[1],
    }
    fixed = {
        "dropout": 0.0,
        "input_dropout": 0.0,
        "batch_size": 1,
        "bptt_length": 16,
        "steps": 30,
        "learning_rate": 0.1,
    }
    machine = {"weight_decay": 0.1, "device": "cpu", "precision": "fp32", "threads": 1}
    recipe = {"order": "sorted", "num_members": 1, "weight_drop": 0.0}
    recipe["optimizer"] = "adamw"
    times = {"evaluate_every": 10, "validation_chars": None, "save_every": 10}
    config = {
        "corpus": [],
        "alphabet": "char",
        "cell": "rnn",
        **sizes,
        **fixed,
        **machine,
        **recipe,
        **times,
        **settings,
    }
    body = yaml.safe_dump(config, sort_keys=False).encode()
    digest = hashlib.sha256(body).hexdigest()
    seal = f"# SHA-256 of what follows: {digest}. Read it, but change settings by the options of "
    vocab = json.dumps({"kind": "char", "characters": ["", *sorted(characters)]})
    state: dict[str, Any] = {"step": 30, "best_nats": min(losses, default=1.0), "best_step": 30}
    if (corpus := config["corpus"]) and settings.get("documents", "none") == "none":
        text = (run.parents[1] / corpus[0]).read_bytes()
        state["corpus_digest"] = hashlib.sha256(text).hexdigest()
    described = {
        "config.yaml": f"{seal}charrnn train --resume.\n".encode() + body,
        "vocab.json": vocab.encode(),
    }
    files = {
        "model.safetensors": save(weights),
        "training.safetensors": save({"count": np.array(1)}),
        "training.json": json.dumps(state).encode(),
        **described,
    }
    listed = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in files.items()
    }
    manifest = json.dumps({"format": 2, "step": 30, "files": listed}, indent=2)
    checkpoint = run / "step-00000030"
    checkpoint.mkdir(parents=True)
    for name, data in files.items():
        (checkpoint / name).write_bytes(data)
    (checkpoint / "manifest.json").write_bytes(_sealed(manifest))
    for name, data in described.items():
        (run / name).write_bytes(data)
    (run / "latest").write_bytes(b"step-00000030\n")
    (run / "best").write_bytes(b"step-00000030\n")
    if losses:
        (run / "metrics.jsonl").write_text("".join(_metrics(losses)), encoding="utf-8")


def _sealed(manifest: str) -> bytes:
    """Append the manifest's own SHA-256 as its last entry."""
    body = manifest.removesuffix("\n}").encode()
    return body + f',\n  "sha256": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


def _metrics(losses: tuple[float, ...]) -> list[str]:
    """Return the lines of a log with a validation every ten steps."""
    events: list[dict[str, Any]] = []
    for index, loss in enumerate(losses):
        step = {"step": 10 * (index + 1), "seconds": 60.0 * (index + 1)}
        is_best = loss == min(losses[: index + 1])
        measured = {
            "train_nats": loss + 0.125,
            "grad_norm": 0.5,
            "learning_rate": 0.1,
            "chars_per_second": 1000.0,
        }
        validated = {
            "val_nats": loss,
            "val_bpc": loss / 0.6931471805599453,
            "num_chars": 1200,
            "is_best": is_best,
        }
        events += [
            {"event": "step", **step, **measured},
            {"event": "evaluation", **step, **validated},
        ]
    return [json.dumps(event) + "\n" for event in events]

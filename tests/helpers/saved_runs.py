"""Build run folders with checkpoints."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.runs.checkpoint import RunDescription, checkpoint_to_bytes, seal_manifest
from charrnn.runs.writer import RunWriter
from charrnn.system.files import json_to_bytes
from charrnn.text.vocab import Vocab

FILES = (
    "model.safetensors",
    "training.safetensors",
    "training.json",
    "config.yaml",
    "vocab.json",
    "manifest.json",
)
CLOCKS = ("seconds", "chars_per_second")
SMALLEST: dict[str, Any] = {
    "num_layers": 1,
    "dropout": 0.0,
    "input_dropout": 0.0,
    "batch_size": 1,
    "bptt_length": 2,
}
SMALLEST |= {"learning_rate": 0.1, "weight_decay": 0.1, "validation_chars": None}
SMALLEST |= {"decay_shape": "cosine", "decay_share": 1.0}
SMALLEST |= {"num_members": 1, "weight_drop": 0.0, "threads": 1}
CONFIG = Config(
    cell_type="lstm",
    hidden_size=2,
    embedding_size=3,
    steps=900,
    warmup_steps=0,
    evaluate_every=9,
    save_every=9,
    **SMALLEST,
)
VOCAB = Vocab("char", ("", "a"))


def tensors(value: float) -> dict[str, NDArray[Any]]:
    return {
        "weight": np.full((2, 3), value, dtype=np.float32),
        "generator": np.arange(5, dtype=np.uint8),
        "count": np.array(7, dtype=np.int64),
    }


def description_of(run: RunWriter) -> RunDescription:
    return RunDescription.of(run.path, CONFIG, VOCAB)


def save(run: RunWriter, step: int, value: float | None = None, **state: Any) -> str:
    """Save a checkpoint whose weights are its step number, point `latest` to it and return its
    name."""
    weights = tensors(step if value is None else value)
    state = {"step": step, "cursor": [1, 2], **state}
    payloads = checkpoint_to_bytes(
        step=step, model=weights, training=weights, state=state, description=description_of(run)
    )
    name = run.save_checkpoint(step, payloads).name
    (run.path / "latest").write_text(f"{name}\n")
    return name


def commit(run: RunWriter, step: int, *, best_step: int, keep: int = 1) -> None:
    """Commit such a checkpoint as training does."""
    weights, state = tensors(step), {"step": step, "best_nats": 1.5, "best_step": best_step}
    run.commit(
        step=step,
        model=weights,
        training=weights,
        state=state,
        description=description_of(run),
        keep=keep,
    )


def make_run(path: Path) -> RunWriter:
    run = RunWriter.create_at(path)
    run.write_description(description_of(run))
    return run


def rewrite_manifest(run: RunWriter, step_name: str, **changes: object) -> None:
    """Change entries of a manifest, and make its own SHA-256 valid again."""
    path = run.path / step_name / "manifest.json"
    manifest = json.loads(path.read_text()) | changes
    manifest.pop("sha256", None)
    path.write_bytes(seal_manifest(json_to_bytes(manifest)))


def forge(run: RunWriter, step_name: str, name: str, data: bytes) -> None:
    """Replace a file of a checkpoint and list its new size and digest, so that only its content is
    wrong."""
    (run.path / step_name / name).write_bytes(data)
    files = json.loads((run.path / step_name / "manifest.json").read_text())["files"]
    files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    rewrite_manifest(run, step_name, files=files)


def metrics_of(run: Path) -> list[dict[str, Any]]:
    """Return the records of metrics.jsonl without the fields that depend on a clock; every line
    must be complete."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name not in CLOCKS} for line in lines]


def hidden(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]

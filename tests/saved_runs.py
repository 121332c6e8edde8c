"""Run folders with something saved in them, for the tests that need one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.runs.folder import RunFolder

FILES = ("model.safetensors", "training.safetensors", "training.json", "manifest.json")


def tensors(value: float) -> dict[str, NDArray[Any]]:
    return {
        "weight": np.full((2, 3), value, dtype=np.float32),
        "generator": np.arange(5, dtype=np.uint8),
        "count": np.array(7, dtype=np.int64),
    }


def save(run: RunFolder, step: int, value: float | None = None) -> str:
    """Save a step whose weights are its number, move `latest` there and return its name."""
    weights = tensors(step if value is None else value)
    name = run.save_step(step, weights, weights, {"step": step, "cursor": [1, 2]}).name
    run.point("latest", name)
    return name


def make_run(path: Path) -> RunFolder:
    run = RunFolder.create_at(path)
    run.write_text("config.yaml", "cell: lstm\n")
    run.write_text("vocab.json", '{"kind": "char", "characters": ["", "a"]}')
    return run


def rewrite_manifest(run: RunFolder, step_name: str, **changes: object) -> None:
    path = run.path / step_name / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def hidden(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]

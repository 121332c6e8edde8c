"""One saved step: tensors and state to bytes, and back only when every file matches the manifest's SHA-256.

Tensors cross as numpy arrays and are stored as safetensors; nothing is ever pickled.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from charrnn.errors import CheckpointError
from charrnn.files import JSON, MAX_TEXT_BYTES, json_to_bytes, parse_json, read_capped
from charrnn.model.shapes import most_bytes
from charrnn.runs.description import CONFIG, VOCAB, Description

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors: TypeAlias = "Mapping[str, NDArray[Any]]"

FORMAT_VERSION = 2

_MODEL, _TRAINING, _STATE = "model.safetensors", "training.safetensors", "training.json"
_MANIFEST = "manifest.json"
_FILES = {1: {_MODEL, _TRAINING, _STATE}, 2: {_MODEL, _TRAINING, _STATE, CONFIG, VOCAB}}
"""What a step of each format consists of, besides the manifest."""
_SEAL = re.compile(rb',\n  "sha256": "([0-9a-f]{64})"\n}\n')
"""How a manifest ends from format 2 on, and has to in every later one: with the SHA-256 of all before this."""
_STEP_NAME = re.compile(r"step-([0-9]{8}|[1-9][0-9]{8,})")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedStep:
    """One saved step, every file of which matched its manifest."""

    name: str
    step: int
    """Optimizer steps taken when it was saved."""
    model: Tensors
    training: Tensors
    """Weights before averaging, optimizer moments and recurrent state; empty if not requested."""
    state: Mapping[str, JSON]
    """The content of training.json: step, cursor, best loss and step, digest of the corpus."""
    description: Description
    """Configuration and alphabet as they were when it was saved."""
    digest: str
    """SHA-256 of the weights, the configuration and the alphabet."""
    warnings: tuple[str, ...] = ()
    """What was found damaged, and what was taken in its place, one sentence each."""


class NewerFormatError(CheckpointError):
    """Kept apart from damage: falling back to an older step would silently lose work that is intact."""


def name_of_step(step: int) -> str:
    """Eight digits, so that file browsers list steps in order; more when it takes more."""
    return f"step-{step:08d}"


def step_number(name: str) -> int:
    return int(name.removeprefix("step-"))


def is_step_name(text: str) -> bool:
    return _STEP_NAME.fullmatch(text) is not None


def best_in(state: Mapping[str, JSON]) -> str | None:
    """The step that had validated best when this state was saved; None if none was validated."""
    nats, step = state.get("best_nats"), state.get("best_step")
    if isinstance(nats, float) and math.isfinite(nats) and isinstance(step, int) and step >= 0:
        return name_of_step(step)
    return None


def step_to_bytes(
    step: int, model: Tensors, training: Tensors, state: Mapping[str, JSON], description: Description
) -> dict[str, bytes]:
    """The files of a step by name, in the order in which they are to be written."""
    payloads = {
        _MODEL: _tensors_to_bytes(model),
        _TRAINING: _tensors_to_bytes(training),
        _STATE: json_to_bytes(dict(state)),
        **description.files(),
    }
    manifest: dict[str, JSON] = {
        "format": FORMAT_VERSION,
        "step": step,
        "files": {name: {"sha256": _sha256(data), "size": len(data)} for name, data in payloads.items()},
    }
    # The manifest comes last: where there is one, the files it lists are on disk.
    payloads[_MANIFEST] = seal_manifest(json_to_bytes(manifest))
    return payloads


def seal_manifest(data: bytes) -> bytes:
    """A manifest with its own SHA-256 as its last entry. `data` is a JSON object as `json_to_bytes` spells it."""
    body = data.removesuffix(b"\n}\n")
    return body + f',\n  "sha256": "{_sha256(body)}"\n}}\n'.encode("ascii")


def is_manifest_of(folder: Path, payloads: Mapping[str, bytes]) -> bool:
    """Whether a step folder that was verified holds these very files. Raises CheckpointError as `read_step` does."""
    return read_capped(folder / _MANIFEST, max_bytes=MAX_TEXT_BYTES) == payloads[_MANIFEST]


def read_step(folder: Path, *, with_training: bool) -> LoadedStep:
    """Read each file of a step once, so that the bytes checked are the bytes used.

    Raises CheckpointError naming the file that is damaged or larger than its configuration tells, NewerFormatError for
    a step of a newer charrnn.
    """
    expected = _read_manifest(folder)
    if CONFIG in expected:
        config_yaml, vocab_json = (_read_checked(folder / name, expected) for name in (CONFIG, VOCAB))
        description = Description(folder, config_yaml, vocab_json)
    else:
        # Format 1 had these two once for all steps, in the run's folder.
        description = Description.read(folder.parent)
    # A stranger's manifest may claim any size: what is larger than the model can be is not read.
    max_bytes = most_bytes(description.config(), len(description.vocab()))
    for name, (size, _) in expected.items():
        if size > max_bytes:
            raise CheckpointError(f"{folder / name} is damaged: it is larger than {CONFIG} tells")
    model = _tensors_from_bytes(folder / _MODEL, _read_checked(folder / _MODEL, expected))
    parts = (expected[_MODEL][1], _sha256(description.config_yaml), _sha256(description.vocab_json))
    training_bytes = _read_checked(folder / _TRAINING, expected)
    training = _tensors_from_bytes(folder / _TRAINING, training_bytes) if with_training else {}
    state = _read_state(folder, expected)
    return LoadedStep(
        name=folder.name,
        step=step_number(folder.name),
        model=model,
        training=training,
        state=state,
        description=description,
        digest=_sha256(" ".join(parts).encode("ascii")),
    )


def read_state(folder: Path) -> Mapping[str, JSON]:
    """The state of a step alone, without its tensors. Raises as `read_step` does."""
    return _read_state(folder, _read_manifest(folder))


def describes_itself(folder: Path) -> bool:
    """Whether a step has a configuration and an alphabet of its own (format 2). Raises as `read_step` does."""
    return CONFIG in _read_manifest(folder)


def _read_state(folder: Path, expected: Mapping[str, tuple[int, str]]) -> Mapping[str, JSON]:
    state = parse_json(folder / _STATE, _read_checked(folder / _STATE, expected))
    if not isinstance(state, dict):
        raise CheckpointError(f"{folder / _STATE} is damaged: not a JSON object")
    return state


def _read_manifest(folder: Path) -> Mapping[str, tuple[int, str]]:
    """Size in bytes and SHA-256 by file name. Raises CheckpointError when the manifest is damaged or newer."""
    path = folder / _MANIFEST
    if folder.is_symlink():
        raise CheckpointError(f"{folder} is a link, not a folder")
    data = read_capped(path, max_bytes=MAX_TEXT_BYTES)
    manifest = parse_json(path, data)
    if not isinstance(manifest, dict):
        raise CheckpointError(f"{path} is damaged: not a JSON object")
    version, files = manifest.get("format"), manifest.get("files")
    # Before anything it says is believed: a flipped digit in the format is damage, not a newer charrnn.
    if version != 1 and not _is_sealed(data):
        raise CheckpointError(f"{path} is damaged: its last entry is not the SHA-256 of those before")
    if type(version) is int and version > FORMAT_VERSION:
        raise NewerFormatError(f"{folder} was made by a newer charrnn (format {version}); upgrade")
    if type(version) is not int or version not in _FILES or manifest.get("step") != step_number(folder.name):
        raise CheckpointError(f"{path} is damaged: its format or its step is wrong")
    # Names are compared with the ones we write, so no path out of the folder is ever followed.
    if not isinstance(files, dict) or files.keys() != _FILES[version]:
        raise CheckpointError(f"{path} is damaged: it lists other files than a step has")
    sizes = [entry.get("size") if isinstance(entry, dict) else None for entry in files.values()]
    if not all(type(size) is int and 0 <= size < 1 << 60 for size in sizes):
        raise CheckpointError(f"{path} is damaged: the size of a file is missing")
    return {name: (entry["size"], entry.get("sha256")) for name, entry in files.items()}


def _is_sealed(manifest: bytes) -> bool:
    seal = _SEAL.search(manifest)
    return (
        seal is not None
        and seal.end() == len(manifest)
        and seal[1] == _sha256(manifest[: seal.start()]).encode("ascii")
    )


def _read_checked(path: Path, expected: Mapping[str, tuple[int, str]]) -> bytes:
    size, sha256 = expected[path.name]
    # What holds tensors is as large as the model, what a person may read never is.
    data = read_capped(path, max_bytes=size if path.suffix == ".safetensors" else min(size, MAX_TEXT_BYTES))
    if len(data) != size:
        raise CheckpointError(f"{path} is damaged: {len(data):,} bytes, expected {size:,}")
    if _sha256(data) != sha256:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the manifest's")
    return data


def _tensors_to_bytes(tensors: Tensors) -> bytes:
    import numpy as np
    import safetensors.numpy

    # safetensors copies memory as it lies, so a transposed view would be stored scrambled.
    return safetensors.numpy.save({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()})


def _tensors_from_bytes(path: Path, data: bytes) -> Tensors:
    import numpy as np
    import safetensors
    import safetensors.numpy

    try:
        tensors = safetensors.numpy.load(data)
    # A header can be well formed and still name a type (KeyError) or a shape (ValueError) that numpy has not.
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    for name, tensor in tensors.items():
        # In float32, for a wider float can be finite here and infinite there.
        if tensor.dtype.kind == "f" and not (tensor.dtype == np.float32 and np.isfinite(tensor).all()):
            raise CheckpointError(f"{path} is damaged: {name} holds what is no finite float32")
    return tensors


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

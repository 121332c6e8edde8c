"""Convert checkpoints to bytes and back; loading checks every file against the manifest.

Tensors are NumPy arrays in memory and safetensors on disk; nothing is pickled. `manifest.json`
lists the other files with their SHA-256, and ends with its own SHA-256.

The configuration and the alphabet, `config.yaml` and `vocab.json`, are in the run's folder, in
every checkpoint and in a model file. The first line of `config.yaml`, the seal, has the SHA-256 of
the other lines. It protects the copy in the run's folder, which no manifest lists and which may be
newer than the copies in the checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from charrnn.config.settings import AUTO_FIELDS, MAX_STEPS, Config
from charrnn.config.settings_file import SEAL_START, from_yaml, to_yaml
from charrnn.errors import CheckpointError, DataError, OtherVersionError, UsageError, counted
from charrnn.model.portable_math import from_rows
from charrnn.model.shapes import MAX_HEADER_BYTES, most_bytes, weight_bytes
from charrnn.system.files import (
    JSON,
    MAX_TEXT_BYTES,
    encode_text,
    json_to_bytes,
    parse_json,
    read_capped,
    remove_files,
)
from charrnn.system.process import memory_bytes
from charrnn.text.vocab import Vocab

Tensors = Mapping[str, NDArray[Any]]
"""Arrays by name."""

CONFIG, VOCAB = "config.yaml", "vocab.json"
"""File names in a run, in a checkpoint and in a model file."""

_SEAL = (
    f"{SEAL_START}{{}}. Read it, but change settings by the options of charrnn train --resume.\n"
)

_REMOVED_FIELDS = re.compile(r"^((held_back|capture): \S+|ngram_rows: (0|auto))\n", re.MULTILINE)
"""Settings of older runs that change nothing in what their networks predict."""


@dataclass(frozen=True)
class RunDescription:
    """The content of `config.yaml` and `vocab.json`, and their folder for error messages.

    With both and the weights a model can be built: a run has them in its folder, and every
    checkpoint has copies.
    """

    folder: Path
    config_yaml: bytes
    vocab_json: bytes

    @classmethod
    def of(cls, folder: Path, config: Config, vocab: Vocab) -> RunDescription:
        """Serialize a configuration, with its seal, and an alphabet."""
        # The alphabet is written in ASCII, so that tools that convert line ends or encodings do not
        # change the digest.
        vocab_json = json.dumps(vocab.to_json(), ensure_ascii=True).encode("ascii")
        return cls(folder, config_yaml=seal(encode_text(to_yaml(config))), vocab_json=vocab_json)

    def files(self) -> dict[str, bytes]:
        """Return the content by file name."""
        return {CONFIG: self.config_yaml, VOCAB: self.vocab_json}

    def config(self) -> Config:
        """Parse the configuration. Raises CheckpointError if it is damaged, OtherVersionError if a
        newer charrnn wrote it."""
        return parse_config(self.folder / CONFIG, self.config_yaml)

    def vocab(self) -> Vocab:
        """Parse the alphabet. Raises CheckpointError if it is damaged."""
        return _parse_alphabet(self.folder / VOCAB, self.vocab_json)


def read_config(path: Path) -> Config:
    """Read the configuration of a run from the file at `path`, which needs a valid seal.

    It is for the folder of a run, whose configuration may be newer than that of any checkpoint.
    Inside a checkpoint, `VerifiedFiles.description` reads it, and its manifest is the seal.

    Raises CheckpointError if it is missing, too large or has no valid seal, and the errors of
    `parse_config`.
    """
    # The seal is checked first: otherwise an edited value would be used, or reported as damage.
    data = read_capped(path)

    # The whole line is compared, not only the digest, so that its words cannot be edited either.
    if data != seal(data.partition(b"\n")[2]):
        raise CheckpointError(
            f"{path} is damaged or was edited: its SHA-256 is not the one on its first line "
            "(change settings when you resume the run)"
        )
    return parse_config(path, data)


def parse_config(path: Path, data: bytes) -> Config:
    """Parse the content of the configuration at `path`.

    Raises CheckpointError if it is damaged or a field is still `auto`, OtherVersionError for a
    field or a value, such as a cell type of a package, that this program does not have.
    """
    # The two errors have two remedies: another program, and another copy.
    text = _REMOVED_FIELDS.sub("", data.decode("utf-8", "replace"))
    try:
        config = from_yaml(text, origin=str(path))
    except UsageError as error:
        raise OtherVersionError(
            f"{error}\nUpgrade charrnn, or install the package that this run needs."
        ) from error
    except DataError as error:
        raise CheckpointError(str(error)) from error

    # Training chooses a value for every field at `auto` and records it.
    missing = [name for name in ("cell_type", *AUTO_FIELDS) if getattr(config, name) == "auto"]
    if config.steps is None:
        missing.append("steps")
    if missing:
        raise CheckpointError(f"{path} is damaged: no value for {', '.join(missing)}")
    return config


def read_alphabet(path: Path) -> Vocab:
    """Read an alphabet. Raises CheckpointError if the file is missing, too large or damaged.

    A list of runs needs only the size of the alphabet, and reads no checkpoint for it.
    """
    return _parse_alphabet(path, read_capped(path))


def _parse_alphabet(path: Path, data: bytes) -> Vocab:
    return Vocab.from_json(parse_json(path, data), str(path))


def seal(body: bytes) -> bytes:
    """Return YAML below a comment with its SHA-256, by which `read_config` notices that it was
    damaged or edited."""
    return _SEAL.format(_sha256(body)).encode("ascii") + body


FORMAT_VERSION = 2
"""The format of checkpoints."""

SCALE = ".scale"
"""The name of an int8 tensor with this suffix is the name of the tensor with the scales of its
rows."""
MODEL, MANIFEST = "model.safetensors", "manifest.json"
"""File names in a checkpoint and in a model file."""
_TRAINING, _STATE = "training.safetensors", "training.json"
_NAME = re.compile(r"step-([0-9]{8}|[1-9][0-9]{8,})")
_FILES = (MODEL, _TRAINING, _STATE, CONFIG, VOCAB, MANIFEST)
"""The files of a checkpoint, in the order in which they are removed: as long as the manifest is
there, the folder is recognised."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint as it was loaded; every file matched its manifest.

    `RunReader` and `ModelFile` return it. Its `warnings` and `instead_of` say if it is not the
    checkpoint that was asked for: a command shows the first, and gives away nothing with the
    second.
    """

    step: int
    """Number of optimizer steps before the save."""
    model: Tensors
    training: Tensors
    """The weights without averaging, the optimizer's moments and the recurrent state; empty if they
    were not requested.

    There is no state of a random generator: each step seeds its own with the number of the step."""
    state: Mapping[str, JSON]
    """The content of training.json, such as `step`, `cursor` and `best_nats`: what
    `TrainingSession` needs to go on, which writes it."""
    description: RunDescription
    """Configuration and alphabet at the time of saving."""
    digest: str
    """SHA-256 of the weights, the configuration and the alphabet."""
    words: bytes | None = None
    """The file of the words that the model has read; a model file may have one."""
    warnings: tuple[str, ...] = ()
    """The damaged files and the checkpoint that is used instead, one sentence for each file."""
    instead_of: str | None = None
    """The problem of the requested checkpoint, if this one is loaded instead of it."""

    @property
    def name(self) -> str:
        """The name of its folder."""
        return checkpoint_name(self.step)


def checkpoint_name(step: int) -> str:
    """Return the folder name of the checkpoint at `step`: at least eight digits, so that names sort
    by step."""
    return f"step-{step:08d}"


def checkpoint_step(name: str) -> int:
    """Return the step of a checkpoint with this folder name."""
    return int(name.removeprefix("step-"))


def is_checkpoint_name(text: str) -> bool:
    """Whether `text` is a name that `checkpoint_name` returns.

    It asks the name alone; `is_checkpoint` looks into the folder, and must be asked before
    something is removed.
    """
    return _NAME.fullmatch(text) is not None


def is_checkpoint(folder: Path) -> bool:
    """Whether charrnn saved a checkpoint in this folder, whole or damaged: its manifest lists the
    files of one. The name alone says nothing: other programs have folders of such names."""
    # Not Path.is_symlink, which raises in a folder that may be listed but not entered.
    if os.path.islink(folder):
        return False
    try:
        manifest = parse_json(folder / MANIFEST, read_capped(folder / MANIFEST))
    except CheckpointError:
        return False
    files = manifest.get("files") if isinstance(manifest, dict) else None
    return isinstance(files, dict) and {MANIFEST, *files} == set(_FILES)


def remove_checkpoint(folder: Path) -> None:
    """Remove the files of a checkpoint, and the folder unless other files are in it. Raises
    OSError."""
    remove_files(folder, names=_FILES)


def base_state(initial: Checkpoint) -> dict[str, JSON]:
    """Return what tells the checkpoint from whose weights a run started: a name may later belong to
    another run.

    `trained_model.load_base` compares it with what the name means later.
    """
    return {"digest": initial.digest, "corpus_digest": initial.state.get("corpus_digest")}


def best_checkpoint(state: Mapping[str, JSON]) -> str | None:
    """Return the name of the best checkpoint when this state was saved; None if no checkpoint was
    validated before.

    A state is small: it is read to choose a run or a step before any weights are.
    """
    nats = state.get("best_nats")
    step = state.get("best_step")
    if not isinstance(nats, float) or not math.isfinite(nats):
        return None
    if not isinstance(step, int) or not 0 <= step <= MAX_STEPS:
        return None
    return checkpoint_name(step)


def checkpoint_to_bytes(
    *,
    step: int,
    model: Tensors,
    training: Tensors,
    state: Mapping[str, JSON],
    description: RunDescription,
) -> dict[str, bytes]:
    """Return the files of a checkpoint by name, in the order in which they must be written.

    `RunWriter.save_checkpoint` writes them. They are made before, so that a full disk is found out
    with the size at hand.
    """
    files = {
        MODEL: tensors_to_bytes(model),
        _TRAINING: tensors_to_bytes(training),
        _STATE: json_to_bytes(dict(state)),
        **description.files(),
    }
    # The manifest is written last: if it exists, the files that it lists are on disk.
    manifest: dict[str, JSON] = {
        "format": FORMAT_VERSION,
        "step": step,
        "files": list_files(files),
    }
    return files | {MANIFEST: seal_manifest(json_to_bytes(manifest))}


def list_files(files: Mapping[str, bytes]) -> dict[str, JSON]:
    """Return the entry `files` of a manifest: the size and the SHA-256 of each file, by name.

    `VerifiedFiles` compares files with it when they are read.
    """
    return {name: {"sha256": _sha256(data), "size": len(data)} for name, data in files.items()}


def seal_manifest(data: bytes) -> bytes:
    """Append the SHA-256 of a manifest to it as its last entry. `data` is a JSON object in the
    format of `json_to_bytes`."""
    body = data.removesuffix(b"\n}\n")
    return body + f',\n  "sha256": "{_sha256(body)}"\n}}\n'.encode("ascii")


@dataclass(frozen=True)
class VerifiedFiles:
    """The files that a manifest lists. Each file is read once, so that the bytes that are checked
    are the bytes that are used.

    Everything that comes from another machine goes through it: whoever reads a file by itself reads
    what the manifest does not vouch for.
    """

    path: Path
    """The folder of the checkpoint, or the model file."""
    listed: Mapping[str, tuple[int, str]]
    """Size in bytes and SHA-256 by file name."""
    read_file: Callable[[str, int], bytes]
    """Called with a file name and the largest size that the file may have; returns the bytes."""

    @classmethod
    def of(
        cls,
        path: Path,
        files: object,
        *,
        names: Collection[str],
        read_file: Callable[[str, int], bytes],
    ) -> VerifiedFiles:
        """Check that the entry `files` of a manifest lists files of these `names`. Raises
        CheckpointError."""
        manifest = path / MANIFEST

        # The names must be exactly the expected ones, so no path out of the folder is followed.
        if not isinstance(files, dict) or files.keys() != names:
            raise CheckpointError(f"{manifest} is damaged: it lists other files than it must")

        listed = {}
        for name, entry in files.items():
            size = entry.get("size") if isinstance(entry, dict) else None
            if type(size) is not int or not 0 <= size < 1 << 60:
                raise CheckpointError(f"{manifest} is damaged: the size of a file is missing")
            listed[name] = size, entry.get("sha256")
        return cls(path, listed=listed, read_file=read_file)

    def read(self, name: str) -> bytes:
        """Read a file. Raises CheckpointError unless its size and SHA-256 are those in the
        manifest."""
        # `model` limits tensor files to the size of the model, and text files have a fixed limit: a
        # forged manifest cannot make this process read without end.
        size, sha256 = self.listed[name]
        max_bytes = size if name.endswith(".safetensors") else MAX_TEXT_BYTES
        data = self.read_file(name, max_bytes)

        # The size is checked first: it tells the user more about a truncated file.
        if len(data) != size:
            raise CheckpointError(
                f"{self.path / name} is damaged: {counted(len(data), 'byte')}, expected {size:,}"
            )
        if _sha256(data) != sha256:
            raise CheckpointError(
                f"{self.path / name} is damaged: its SHA-256 is not the one in the manifest"
            )
        return data

    def description(self) -> RunDescription:
        """Read the configuration and the alphabet. Raises CheckpointError if a file is damaged."""
        return RunDescription(self.path, config_yaml=self.read(CONFIG), vocab_json=self.read(VOCAB))

    def model(self, description: RunDescription) -> IdentifiedWeights:
        """Read the weights of the described model.

        Raises CheckpointError naming the file that is damaged or larger than the configuration
        allows.
        """
        # The manifest of a downloaded run may claim any size: no file is read that is larger than
        # the model can be.
        config = description.config()
        vocab_size = len(description.vocab())
        needed = weight_bytes(config, vocab_size)
        limits = dict.fromkeys(self.listed, most_bytes(config, vocab_size))
        limits[MODEL] = min(limits[MODEL], needed + 2 * MAX_HEADER_BYTES)
        for name, (size, _) in self.listed.items():
            if size > limits[name]:
                raise CheckpointError(
                    f"{self.path / name} is damaged: it is larger than {CONFIG} allows"
                )

        # The file and the arrays that are made of it are in memory together. The operating system
        # kills a process that takes more, without a message.
        memory = memory_bytes()
        if memory is not None and 2 * needed > memory:
            raise CheckpointError(
                f"{self.path} needs {2 * needed / 1e9:,.1f} GB of memory, and this process may"
                f" have {memory / 1e9:,.1f} GB\n"
                "raise its limit (ulimit -v, or that of the container), or use a larger machine"
            )

        tensors = tensors_from_bytes(self.path / MODEL, self.read(MODEL))

        digest = digest_of(self.listed[MODEL][1], files=description.files())
        return IdentifiedWeights(tensors, digest=digest)


class IdentifiedWeights(NamedTuple):
    """The weights of a model."""

    tensors: Tensors
    """The weights by name."""
    digest: str
    """What identifies the model: the same for copies of it, whatever their path and step."""


def digest_of(weights_sha256: str, files: Mapping[str, bytes]) -> str:
    """Return the digest that identifies the model with these weights, configuration and
    alphabet."""
    # The digest does not depend on the step and the path, so that copies of a model have the same
    # digest.
    digests = [weights_sha256, _sha256(files[CONFIG]), _sha256(files[VOCAB])]
    return _sha256(" ".join(digests).encode("ascii"))


def read_checkpoint(folder: Path, *, with_training: bool) -> Checkpoint:
    """Load a checkpoint, and verify every file of it.

    `RunReader.load_checkpoint` calls it, and goes on with another checkpoint if it fails. Raises
    CheckpointError naming the file that is damaged or larger than its configuration allows,
    OtherVersionError for a checkpoint of a newer charrnn.
    """
    # The description is read before the weights, because it limits their size.
    files = _open(folder)
    description = files.description()
    model, digest = files.model(description)

    # The file is read even if it is not needed, so that every command reports damage.
    training_bytes = files.read(_TRAINING)
    training: Tensors = {}
    if with_training:
        training = tensors_from_bytes(folder / _TRAINING, training_bytes)

    return Checkpoint(
        step=checkpoint_step(folder.name),
        model=model,
        training=training,
        state=_state_of(files),
        description=description,
        digest=digest,
    )


def read_state(folder: Path) -> Mapping[str, JSON]:
    """Read `training.json` of a checkpoint. Raises CheckpointError naming a damaged file,
    OtherVersionError.

    It says which step is the best, how far the training is and which text was read, without reading
    weights.
    """
    return _state_of(_open(folder))


def _state_of(files: VerifiedFiles) -> Mapping[str, JSON]:
    state = parse_json(files.path / _STATE, files.read(_STATE))
    if not isinstance(state, dict):
        raise CheckpointError(f"{files.path / _STATE} is damaged: not a JSON object")
    return state


def _open(folder: Path) -> VerifiedFiles:
    """Read the manifest of a checkpoint. Raises CheckpointError if it is damaged, OtherVersionError
    if it is newer."""
    if os.path.islink(folder):
        raise CheckpointError(
            f"{folder} is a link to {os.path.realpath(folder)}, and links are not followed\n"
            "put a copy of that folder in the place of the link"
        )

    # The seal is checked before any entry is used: a flipped digit in the format is damage, not a
    # newer charrnn.
    path = folder / MANIFEST
    data = read_capped(path)
    manifest: Any = parse_json(path, data)
    body = data.rpartition(b',\n  "sha256": "')[0]
    if data != seal_manifest(body + b"\n}\n"):
        raise CheckpointError(
            f"{path} is damaged: its last entry is not the SHA-256 of those before"
        )

    version = manifest.get("format")
    if type(version) is int and version > FORMAT_VERSION:
        raise OtherVersionError(f"{folder} was made by a newer charrnn (format {version}); upgrade")
    if version != FORMAT_VERSION or manifest.get("step") != checkpoint_step(folder.name):
        raise CheckpointError(f"{path} is damaged: its format or its step is wrong")

    def read_file(name: str, max_bytes: int) -> bytes:
        return read_capped(folder / name, max_bytes=max_bytes)

    return VerifiedFiles.of(
        folder,
        manifest.get("files"),
        names={MODEL, _TRAINING, _STATE, CONFIG, VOCAB},
        read_file=read_file,
    )


def tensors_to_bytes(tensors: Tensors) -> bytes:
    """Encode arrays in the format of safetensors.

    An exported model needs it; a checkpoint is made whole by `checkpoint_to_bytes`.
    """
    _check_allocation(2 * sum(tensor.nbytes for tensor in tensors.values()))
    # safetensors copies memory and ignores strides, so a transposed view would be stored scrambled.
    return safetensors.numpy.save(
        {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    )


def tensors_from_bytes(path: Path, data: bytes) -> Tensors:
    """Decode the content of the safetensors file at `path`; weights in int8 become float32.

    Raises CheckpointError unless it is intact and finite.
    """
    _check_allocation(2 * len(data))
    try:
        tensors = safetensors.numpy.load(data)
        # On big-endian machines safetensors swaps the bytes when it saves, but not when it loads.
        if sys.byteorder == "big":
            tensors = {name: tensor.byteswap() for name, tensor in tensors.items()}

        # Matrices in int8, as `Matrix` rounds them, are stored beside the scales of their rows,
        # which takes a quarter of the size. They are returned as float32.
        for name in [name for name in tensors if name.endswith(SCALE)]:
            scale = tensors.pop(name)
            weight = name.removesuffix(SCALE)
            tensors[weight] = _from_int8(weight, values=tensors[weight], scale=scale)
    # A well-formed header can name a type (KeyError) or a shape (ValueError) that NumPy does not
    # have.
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error

    for name, tensor in tensors.items():
        if tensor.dtype.kind != "f":
            continue

        # Only float32 is accepted: a finite float64 can become infinite when it is converted.
        if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
            raise CheckpointError(
                f"{path} is damaged: {name} has a value that is not a finite float32"
            )
    return tensors


def _from_int8(name: str, *, values: NDArray[Any], scale: NDArray[Any]) -> NDArray[np.float32]:
    """Return a matrix in float32. Raises ValueError unless each row has one scale."""
    # Of another shape, few values and few scales would be multiplied to a matrix that is as large
    # as the product of their numbers.
    has_types = values.dtype == np.int8 and scale.dtype == np.float32
    if not has_types or values.ndim != 2 or scale.shape != values.shape[:1]:
        raise ValueError(f"{name} is no matrix of int8 with a scale in float32 for each row")
    return from_rows(values, scale)


def _check_allocation(num_bytes: int) -> None:
    """Raise MemoryError if that many bytes cannot be allocated.

    If safetensors cannot allocate them, it aborts the process, or waits for ever for the lock that
    it holds while it prints its stack.
    """
    np.empty(num_bytes, np.uint8)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

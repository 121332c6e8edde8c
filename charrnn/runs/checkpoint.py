"""A checkpoint: what is saved after a step, to bytes and back. Loading checks every file against
the manifest.

Tensors are NumPy arrays in memory and safetensors on disk; nothing is pickled.

The configuration and the alphabet, `config.yaml` and `vocab.json`, are in the run's folder and,
from format 2 on, in every checkpoint, whose manifest lists them. The run's own `config.yaml` may be
newer than any checkpoint, so its first line, the seal, has the SHA-256 of the rest.

A model file is a model in one .zip file, to be given away: weights, alphabet, configuration and a
note. It contains no optimizer, no path of this machine and no text. `manifest.json` lists the other
files with their SHA-256; they are at the top level, and every unzip program unpacks them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from charrnn.config.architectures import CELL_GROUP, CELLS
from charrnn.config.settings import AUTO_FIELDS, MAX_STEPS, Config
from charrnn.config.settings_file import from_yaml, to_yaml
from charrnn.errors import CheckpointError, DataError, UnknownFieldError, UsageError, counted
from charrnn.hooks.extensions import plugin_names
from charrnn.model.shapes import MAX_HEADER_BYTES, check_shapes, most_bytes, weight_bytes
from charrnn.system.files import (
    JSON,
    MAX_TEXT_BYTES,
    check_regular,
    encode_text,
    json_to_bytes,
    parse_json,
    read_capped,
)
from charrnn.system.process import memory_bytes
from charrnn.text.vocab import Vocab

OLD_DEFAULTS = {
    "muon_scale": 0.0,
    "order": "sorted",
    "validation_chars": None,
    "ngram_rows": 0,
    "num_members": 1,
    "weight_drop": 0.0,
}
"""Values of fields that older runs lack, where the default differs from what those runs did."""

MAY_BE_AUTO = ("threads", "num_members", "weight_drop")
"""Fields that need no value: threads, which older runs have not recorded, and what only training
uses."""
CONFIG, VOCAB = "config.yaml", "vocab.json"
"""File names in a run and in a checkpoint."""

_SEAL = (
    "# SHA-256 of what follows: {}. Read it, but change settings by the options of charrnn train"
    " --resume.\n"
)

_ORIGIN = "it"
"""What the errors of the configuration call it, after its path."""


class NewerFormatError(CheckpointError):
    """A checkpoint of a newer charrnn. It is not damage: falling back to an older checkpoint would
    lose intact work."""


class MissingCellError(CheckpointError):
    """The cell of a run comes from a package that is not installed. The run is not damaged."""


@dataclass(frozen=True, slots=True)
class Description:
    """The content of both files, and their folder for error messages."""

    folder: Path
    config_yaml: bytes
    vocab_json: bytes

    @classmethod
    def of(cls, folder: Path, config: Config, vocab: Vocab) -> Description:
        """Serialize a configuration, with its seal, and an alphabet."""
        return cls(
            folder,
            seal(to_yaml(config)),
            json.dumps(vocab.to_json(), ensure_ascii=True).encode("ascii"),
        )

    @classmethod
    def read(cls, folder: Path) -> Description:
        """Read both files of a folder. Raises CheckpointError if one is missing, too large or has a
        wrong seal."""
        config_yaml, vocab_json = (
            read_capped(folder / name, max_bytes=MAX_TEXT_BYTES) for name in (CONFIG, VOCAB)
        )
        check_seal(folder / CONFIG, config_yaml, is_needed=False)
        return cls(folder, config_yaml, vocab_json)

    def files(self) -> dict[str, bytes]:
        """Return the content by file name."""
        return {CONFIG: self.config_yaml, VOCAB: self.vocab_json}

    def config(self) -> Config:
        """Parse the configuration. Raises CheckpointError if it is damaged or a field is still
        `auto`."""
        return parse_config(self.folder / CONFIG, self.config_yaml)

    def vocab(self) -> Vocab:
        """Parse the alphabet. Raises CheckpointError if it is damaged."""
        path = self.folder / VOCAB
        return Vocab.from_json(parse_json(path, self.vocab_json), str(path))


def parse_config(path: Path, data: bytes) -> Config:
    """Parse the content of the file at `path`.

    Raises CheckpointError if it is damaged or a field is still `auto`, MissingCellError if only the
    cell is unknown, NewerFormatError for a field that this version does not have.
    """
    try:
        # Development versions named the table of n-grams so. Models with it differ: the name is
        # refused as unknown.
        config = from_yaml(
            data.decode("utf-8").replace("trigram_rows: 0\n", ""), _ORIGIN, OLD_DEFAULTS
        )
    except UnknownFieldError as error:
        raise NewerFormatError(
            f"{path} was written by a newer version of charrnn, or was edited: {_reason(error)}\n"
            "Upgrade charrnn to use it."
        ) from error
    except (UnicodeDecodeError, DataError, UsageError) as error:
        if isinstance(error, UsageError):
            _check_cell(data.decode("utf-8"))
        raise CheckpointError(f"{path} is damaged: {_reason(error)}") from error
    without_value = [
        name for name in AUTO_FIELDS if getattr(config, name) == "auto" and name not in MAY_BE_AUTO
    ]
    if without_value or config.cell == "auto" or config.steps is None:
        raise CheckpointError(
            f"{path} is damaged: no value for {', '.join(without_value) or 'the cell or the steps'}"
        )
    return config


def _reason(error: Exception) -> str:
    return str(error).removeprefix(f"{_ORIGIN}: ")


def _check_cell(config_yaml: str) -> None:
    line = re.search(r"^cell: ([^\s'\"]+)$", config_yaml, re.MULTILINE)
    if line is not None and line[1] not in ("auto", *CELLS, *plugin_names(CELL_GROUP)):
        raise MissingCellError(
            f"The cell {line[1][:60]} of this run is not part of charrnn, and no installed package"
            " offers it.\nInstall the package that does."
        )


def seal(text: str) -> bytes:
    """Return YAML `text` below a comment with its SHA-256."""
    body = encode_text(text)
    return _sealing(body) + body


def check_seal(path: Path, data: bytes, *, is_needed: bool) -> None:
    """Raise CheckpointError unless the content of the file at `path` matches its seal.

    A file without a seal passes unless one `is_needed`: runs of format 1 have none.
    """
    head, newline, body = data.partition(b"\n")
    has_seal = is_needed or head.startswith(_SEAL.partition(":")[0].encode("ascii"))
    if has_seal and head + newline != _sealing(body):
        raise CheckpointError(
            f"{path} is damaged or was edited: its SHA-256 is not the one on its first line "
            "(change settings when you resume the run)"
        )


def _sealing(body: bytes) -> bytes:
    return _SEAL.format(hashlib.sha256(body).hexdigest()).encode("ascii")


Tensors: TypeAlias = Mapping[str, NDArray[Any]]
"""Arrays by name."""

FORMAT_VERSION = 2
"""The format of the checkpoints that this version writes; older ones can be read."""

MODEL, MANIFEST = "model.safetensors", "manifest.json"
"""File names in a checkpoint and in a model file."""
_TRAINING, _STATE = "training.safetensors", "training.json"
_FILES = {1: {MODEL, _TRAINING, _STATE}, 2: {MODEL, _TRAINING, _STATE, CONFIG, VOCAB}}
"""The files of a checkpoint in each format, besides the manifest."""
_MANIFEST_SEAL = re.compile(rb',\n  "sha256": "([0-9a-f]{64})"\n}\n')
"""The end of a manifest of format 2 and of every later format: the SHA-256 of the bytes before it.
"""
_NAME = re.compile(r"step-([0-9]{8}|[1-9][0-9]{8,})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A checkpoint as it was loaded; every file matched its manifest."""

    name: str
    step: int
    """Optimizer steps taken when it was saved."""
    model: Tensors
    training: Tensors
    """The weights without averaging, the optimizer's moments and the recurrent state; empty if not
    requested.

    Random numbers need no state: each step draws from its own number."""
    state: Mapping[str, JSON]
    """The content of training.json: `step`, `cursor`, `best_nats`, `best_step`, `corpus_digest`,
    `corpus_locations`, `num_processes` and `is_validation_due`; the last three may be missing."""
    description: Description
    """Configuration and alphabet at the time of saving."""
    digest: str
    """SHA-256 of the weights, the configuration and the alphabet."""
    warnings: tuple[str, ...] = ()
    """What was found damaged and what is used instead, one sentence each."""
    instead_of: str | None = None
    """What is wrong with the checkpoint that was asked for, if this is another one."""


def checkpoint_name(step: int) -> str:
    """Return the folder name of the checkpoint at `step`: at least eight digits, so that names sort
    by step."""
    return f"step-{step:08d}"


def checkpoint_step(name: str) -> int:
    """Return the step of a checkpoint with this folder name."""
    return int(name.removeprefix("step-"))


def is_checkpoint_name(text: str) -> bool:
    """Whether `text` is a name that `checkpoint_name` returns."""
    return _NAME.fullmatch(text) is not None


def best_checkpoint(state: Mapping[str, JSON]) -> str | None:
    """Return the name of the best checkpoint at the time this state was saved; None if none was
    validated."""
    nats, step = state.get("best_nats"), state.get("best_step")
    if (
        isinstance(nats, float)
        and math.isfinite(nats)
        and isinstance(step, int)
        and 0 <= step <= MAX_STEPS
    ):
        return checkpoint_name(step)
    return None


def checkpoint_to_bytes(
    step: int,
    model: Tensors,
    training: Tensors,
    state: Mapping[str, JSON],
    description: Description,
) -> dict[str, bytes]:
    """Return the files of a checkpoint by name, in the order in which they must be written."""
    payloads = {
        MODEL: tensors_to_bytes(model),
        _TRAINING: tensors_to_bytes(training),
        _STATE: json_to_bytes(dict(state)),
        **description.files(),
    }
    manifest: dict[str, JSON] = {
        "format": FORMAT_VERSION,
        "step": step,
        "files": list_files(payloads),
    }
    # The manifest comes last: if it exists, the files it lists are on disk.
    payloads[MANIFEST] = seal_manifest(json_to_bytes(manifest))
    return payloads


def list_files(files: Mapping[str, bytes]) -> dict[str, JSON]:
    """Return what a manifest lists of these files: size and SHA-256 by name."""
    return {name: {"sha256": _sha256(data), "size": len(data)} for name, data in files.items()}


def seal_manifest(data: bytes) -> bytes:
    """Append a manifest's own SHA-256 as its last entry. `data` is a JSON object as `json_to_bytes`
    formats it."""
    body = data.removesuffix(b"\n}\n")
    return body + f',\n  "sha256": "{_sha256(body)}"\n}}\n'.encode("ascii")


@dataclass(frozen=True, slots=True)
class VerifiedFiles:
    """The files that a manifest lists. Each is read once, so that the bytes that are checked are
    the bytes used."""

    place: Path
    """The folder of the checkpoint, or the model file."""
    listed: Mapping[str, tuple[int, str]]
    """Size in bytes and SHA-256 by file name."""
    read_file: Callable[[str, int], bytes]
    """Reads the file of a name, of which no more than that many bytes are expected."""

    @classmethod
    def of(
        cls,
        place: Path,
        files: object,
        names: Collection[str],
        read_file: Callable[[str, int], bytes],
    ) -> VerifiedFiles:
        """Check that the entry `files` of a manifest lists files of these `names`. Raises
        CheckpointError."""
        # Names are compared with the known ones, so no path out of the folder is ever followed.
        if not isinstance(files, dict) or files.keys() != names:
            raise CheckpointError(
                f"{place / MANIFEST} is damaged: it lists other files than it must"
            )
        sizes = [entry.get("size") if isinstance(entry, dict) else None for entry in files.values()]
        if not all(type(size) is int and 0 <= size < 1 << 60 for size in sizes):
            raise CheckpointError(f"{place / MANIFEST} is damaged: the size of a file is missing")
        return cls(
            place,
            {name: (entry["size"], entry.get("sha256")) for name, entry in files.items()},
            read_file,
        )

    def read(self, name: str) -> bytes:
        """Read a file. Raises CheckpointError unless it is the one that the manifest lists."""
        size, sha256 = self.listed[name]
        # Tensor files are as large as the model, text files have a fixed limit.
        data = self.read_file(
            name, size if name.endswith(".safetensors") else min(size, MAX_TEXT_BYTES)
        )
        if len(data) != size:
            raise CheckpointError(
                f"{self.place / name} is damaged: {counted(len(data), 'byte')}, expected {size:,}"
            )
        if _sha256(data) != sha256:
            raise CheckpointError(
                f"{self.place / name} is damaged: its SHA-256 is not the one in the manifest"
            )
        return data

    def description(self) -> Description:
        """Read the configuration and the alphabet. Raises as `read`."""
        return Description(self.place, self.read(CONFIG), self.read(VOCAB))

    def model(self, description: Description) -> tuple[Tensors, str]:
        """Read the weights of the model of a description; return them and the digest that
        identifies the model.

        Raises CheckpointError naming the file that is damaged or larger than the configuration
        allows.
        """
        # The manifest of a downloaded run may claim any size: what the model cannot have is not
        # read.
        shape = description.config(), len(description.vocab())
        max_bytes, needed, memory = most_bytes(*shape), weight_bytes(*shape), memory_bytes()
        for name, (size, _) in self.listed.items():
            if size > max_bytes or (name == MODEL and size > needed + 2 * MAX_HEADER_BYTES):
                raise CheckpointError(
                    f"{self.place / name} is damaged: it is larger than {CONFIG} allows"
                )
        if memory is not None and 2 * needed > memory:
            raise CheckpointError(
                f"{self.place} needs {2 * needed / 1e9:,.0f} GB, more memory than this machine has"
            )
        tensors = tensors_from_bytes(self.place / MODEL, self.read(MODEL))
        parts = (
            self.listed[MODEL][1],
            _sha256(description.config_yaml),
            _sha256(description.vocab_json),
        )
        return tensors, _sha256(" ".join(parts).encode("ascii"))


def read_checkpoint(folder: Path, *, with_training: bool) -> Checkpoint:
    """Load a checkpoint, and verify every file of it.

    Raises CheckpointError naming the file that is damaged or larger than its configuration allows,
    NewerFormatError for a checkpoint of a newer charrnn.
    """
    files = _open(folder)
    # Format 1 has the configuration and the alphabet only once, in the run's folder.
    description = files.description() if CONFIG in files.listed else Description.read(folder.parent)
    model, digest = files.model(description)
    training_bytes = files.read(_TRAINING)
    training = tensors_from_bytes(folder / _TRAINING, training_bytes) if with_training else {}
    return Checkpoint(
        name=folder.name,
        step=checkpoint_step(folder.name),
        model=model,
        training=training,
        state=_state_of(files),
        description=description,
        digest=digest,
    )


def read_state(folder: Path) -> Mapping[str, JSON]:
    """Read `training.json` of a checkpoint. Raises as `read_checkpoint` does."""
    return _state_of(_open(folder))


def _state_of(files: VerifiedFiles) -> Mapping[str, JSON]:
    state = parse_json(files.place / _STATE, files.read(_STATE))
    if not isinstance(state, dict):
        raise CheckpointError(f"{files.place / _STATE} is damaged: not a JSON object")
    return state


def _open(folder: Path) -> VerifiedFiles:
    """Read the manifest of a checkpoint. Raises CheckpointError if it is damaged, NewerFormatError
    if it is newer."""
    path = folder / MANIFEST
    if folder.is_symlink():
        raise CheckpointError(f"{folder} is a link, not a folder")
    data = read_capped(path, max_bytes=MAX_TEXT_BYTES)
    manifest = parse_json(path, data)
    if not isinstance(manifest, dict):
        raise CheckpointError(f"{path} is damaged: not a JSON object")
    version = manifest.get("format")
    # Checked before any entry is used: a flipped digit in the format is damage, not a newer
    # charrnn.
    if version != 1:
        seal = _MANIFEST_SEAL.search(data)
        if (
            not seal
            or seal.end() != len(data)
            or seal[1] != _sha256(data[: seal.start()]).encode("ascii")
        ):
            raise CheckpointError(
                f"{path} is damaged: its last entry is not the SHA-256 of those before"
            )
    if type(version) is int and version > FORMAT_VERSION:
        raise NewerFormatError(f"{folder} was made by a newer charrnn (format {version}); upgrade")
    if (
        type(version) is not int
        or version not in _FILES
        or manifest.get("step") != checkpoint_step(folder.name)
    ):
        raise CheckpointError(f"{path} is damaged: its format or its step is wrong")

    def read_file(name: str, max_bytes: int) -> bytes:
        return read_capped(folder / name, max_bytes=max_bytes)

    return VerifiedFiles.of(folder, manifest.get("files"), _FILES[version], read_file)


def tensors_to_bytes(tensors: Tensors) -> bytes:
    """Encode arrays in the format of safetensors."""
    # safetensors copies memory and ignores strides, so a transposed view would be stored scrambled.
    return safetensors.numpy.save(
        {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    )


def tensors_from_bytes(path: Path, data: bytes) -> Tensors:
    """Decode the content of the safetensors file at `path`. Raises CheckpointError unless it is
    intact and finite."""
    try:
        tensors = safetensors.numpy.load(data)
    # A well-formed header can name a type (KeyError) or a shape (ValueError) that NumPy does not
    # have.
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    for name, tensor in tensors.items():
        # Only float32: a float64 can be finite and become infinite when it is converted.
        if tensor.dtype.kind == "f" and not (
            tensor.dtype == np.float32 and np.isfinite(tensor).all()
        ):
            raise CheckpointError(
                f"{path} is damaged: {name} has a value that is not a finite float32"
            )
    return tensors


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


MODEL_FILE_SUFFIX = ".zip"
"""Suffix of a model file."""
MODEL_FILE_VERSION = 1
"""Format of the model files that this version reads; `charrnn export` writes them."""
NOTE = "README.txt"
"""Name of the note in a model file."""

_MODEL_FILES = (CONFIG, VOCAB, MODEL)
_LOSS_LIMIT = 1e39  # above the difference of any two float32 logits
MAX_UNPACKED, MAX_RATIO = 1 << 26, 100
"""A file that unpacks to more than MAX_UNPACKED bytes may grow by this factor at most. Weights
hardly grow, those of M networks, at most 64, M times."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file, to be read like a run with one checkpoint."""

    path: Path

    @property
    def name(self) -> str:
        """The name of the file without its suffix."""
        return self.path.stem

    def load_best(self) -> Checkpoint:
        """Read and verify the file. The state has the entries of `training.json` that a reader of a
        run uses.

        Raises CheckpointError if it is missing, damaged or larger than its configuration allows,
        NewerFormatError if a newer charrnn wrote it.
        """
        path = self.path
        try:
            check_regular(path)
            with zipfile.ZipFile(path) as archive:
                return _read_model_file(path, archive)
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
        # Whatever zipfile raises for a file that is none, is cut off, encrypted or compressed in
        # another way.
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ) as error:
            raise CheckpointError(
                f"{path} is damaged, or charrnn export did not write it: {error}"
            ) from error

    def load_step(self, step: int) -> Checkpoint:
        """Raise CheckpointError: the file has one checkpoint, which `load_best` reads."""
        raise CheckpointError(
            f"{self.name} is a file with one checkpoint, not a run\nleave the step out"
        )


def is_model_file(run: str | Path) -> bool:
    """Whether `run` names an existing file with the suffix of a model file."""
    try:
        path = Path(run)
        return path.suffix.lower() == MODEL_FILE_SUFFIX and path.is_file()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False


def _read_model_file(path: Path, archive: zipfile.ZipFile) -> Checkpoint:
    def read_file(name: str, max_bytes: int) -> bytes:
        with archive.open(name) as file:
            return file.read(max_bytes + 1)  # No more is unpacked than is expected.

    for entry in archive.infolist():
        is_bomb = entry.file_size > max(MAX_UNPACKED, MAX_RATIO * entry.compress_size)
        if is_bomb or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CheckpointError(
                f"{path} is damaged: charrnn export does not compress {entry.filename} like that"
            )
    names = archive.namelist()
    if MANIFEST not in names:
        raise CheckpointError(f"{path} is not a model of charrnn export: it has no {MANIFEST}")
    manifest = parse_json(path / MANIFEST, read_file(MANIFEST, MAX_TEXT_BYTES))
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if type(version) is int and version > MODEL_FILE_VERSION:
        raise NewerFormatError(f"{path} was made by a newer charrnn (format {version}); upgrade")
    has_these = sorted(names) == sorted({NOTE, MANIFEST, *_MODEL_FILES})
    if not isinstance(manifest, dict) or version != MODEL_FILE_VERSION or not has_these:
        raise CheckpointError(
            f"{path} is damaged: its format or its files are not those of charrnn export"
        )
    step, val_nats, corpus_digest = _check_figures(path, manifest)
    files = VerifiedFiles.of(path, manifest.get("files"), set(_MODEL_FILES), read_file)
    description = files.description()
    model, digest = files.model(description)
    check_shapes(description.config(), model, path)
    state: dict[str, JSON] = {"step": step, "corpus_digest": corpus_digest}
    if val_nats is not None:
        state |= {"best_nats": val_nats, "best_step": step}
    return Checkpoint(
        name=checkpoint_name(step),
        step=step,
        model=model,
        training={},
        state=state,
        description=description,
        digest=digest,
    )


def _check_figures(
    path: Path, manifest: Mapping[str, object]
) -> tuple[int, float | None, str | None]:
    """Return the step, the loss and the digest of the text. Raises CheckpointError for what
    training cannot give."""
    step, val_nats, digest = (manifest.get(name) for name in ("step", "val_nats", "corpus_digest"))
    is_step = type(step) is int and 0 <= step <= MAX_STEPS
    is_loss = val_nats is None or (
        isinstance(val_nats, float) and 0 <= val_nats < _LOSS_LIMIT
    )  # nan is not, either
    if not is_step or not is_loss:
        raise CheckpointError(
            f"{path} is damaged: its step or its validation loss is none that training gives"
        )
    if not (digest is None or (isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest))):
        raise CheckpointError(f"{path} is damaged: the digest of its text is not a SHA-256")
    return cast(int, step), cast("float | None", val_nats), digest

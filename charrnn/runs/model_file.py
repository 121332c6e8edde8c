"""Read a model file: a model in one .zip that can be given to other people.

It contains the weights, the alphabet, the configuration and a note, but no optimizer state, no path
of the author's machine and no text. `manifest.json` lists the other files with their SHA-256. All
files are at the top level of the .zip, and every unzip program can extract them.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from charrnn.config.settings import MAX_STEPS
from charrnn.errors import CheckpointError
from charrnn.model.shapes import check_shapes
from charrnn.runs.checkpoint import MANIFEST, MODEL, Checkpoint, VerifiedFiles, checkpoint_name
from charrnn.runs.config_files import CONFIG, VOCAB, NewerFormatError
from charrnn.system.files import (
    JSON,
    MAX_TEXT_BYTES,
    check_no_placeholder,
    check_regular,
    convert_os_errors,
    parse_json,
)

MODEL_FILE_SUFFIX = ".zip"
"""Suffix of a model file."""
MODEL_FILE_VERSION = 1
"""Format of the model files that this version reads; `charrnn export` writes them."""
NOTE = "README.txt"
"""Name of the note in a model file."""

_LISTED = {CONFIG, VOCAB, MODEL}
_LOSS_LIMIT = 1e39  # above the difference of any two float32 logits
MAX_UNPACKED, MAX_RATIO = 1 << 26, 100
"""A file in the .zip that unpacks to more than MAX_UNPACKED bytes may be at most MAX_RATIO times as
large as its compressed form. Weights of one network hardly compress; the weights of an ensemble of
M networks, at most 64, may compress by a factor of M."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file, which can be read like a run with one checkpoint."""

    path: Path

    @property
    def name(self) -> str:
        """The name of the file without its suffix."""
        return self.path.stem

    def load_best(self) -> Checkpoint:
        """Read and verify the file. The `state` of the result has those entries of `training.json`
        that readers of a run use.

        Raises CheckpointError if it is missing, damaged or larger than its configuration allows,
        NewerFormatError if a newer charrnn wrote it.
        """
        path = self.path
        try:
            with convert_os_errors("read", path=path, kind=CheckpointError):
                check_regular(path)
                check_no_placeholder(path)
                with zipfile.ZipFile(path) as archive:
                    return _read_archive(path, archive)
        # zipfile raises these errors if the file is not a .zip, is truncated or encrypted, or is
        # compressed by an unknown method.
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
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


def _read_archive(path: Path, archive: zipfile.ZipFile) -> Checkpoint:
    # The sizes are checked before anything is unpacked: a .zip bomb of a few kilobytes could fill
    # the memory.
    for entry in archive.infolist():
        is_bomb = entry.file_size > max(MAX_UNPACKED, MAX_RATIO * entry.compress_size)
        if is_bomb or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CheckpointError(
                f"{path} is damaged: charrnn export does not compress {entry.filename} like that"
            )

    def read_file(name: str, max_bytes: int) -> bytes:
        with archive.open(name) as file:
            return file.read(max_bytes + 1)  # One byte too many already shows the damage.

    # Check that it is a model file at all.
    names = archive.namelist()
    if MANIFEST not in names:
        raise CheckpointError(f"{path} is not a model of charrnn export: it has no {MANIFEST}")
    manifest = parse_json(path / MANIFEST, read_file(MANIFEST, MAX_TEXT_BYTES))

    # Check its format, and the names of its files.
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if type(version) is int and version > MODEL_FILE_VERSION:
        raise NewerFormatError(f"{path} was made by a newer charrnn (format {version}); upgrade")
    # Lists are compared, not sets, because a .zip can contain two files of the same name.
    has_all_files = sorted(names) == sorted({NOTE, MANIFEST, *_LISTED})
    if not isinstance(manifest, dict) or version != MODEL_FILE_VERSION or not has_all_files:
        raise CheckpointError(
            f"{path} is damaged: its format or its files are not those of charrnn export"
        )

    # Read the model like the model of a checkpoint.
    state = _state_of(path, manifest)
    files = VerifiedFiles.of(path, manifest.get("files"), names=_LISTED, read_file=read_file)
    description = files.description()
    model, digest = files.model(description)
    check_shapes(description.config(), tensors=model, path=path)
    step = manifest["step"]
    return Checkpoint(
        name=checkpoint_name(step),
        step=step,
        model=model,
        training={},
        state=state,
        description=description,
        digest=digest,
    )


def _state_of(path: Path, manifest: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the state of the checkpoint that the manifest of a model file records.

    Raises CheckpointError for a step, a loss or a digest that training cannot produce.
    """
    step = manifest.get("step")
    nats = manifest.get("val_nats")
    is_step = type(step) is int and 0 <= step <= MAX_STEPS
    is_loss = isinstance(nats, float) and 0 <= nats < _LOSS_LIMIT  # False for nan
    if not is_step or not (is_loss or nats is None):
        raise CheckpointError(
            f"{path} is damaged: its step or its validation loss is none that training gives"
        )

    digest = manifest.get("corpus_digest")
    is_digest = isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest)
    if not (is_digest or digest is None):
        raise CheckpointError(f"{path} is damaged: the digest of its text is not a SHA-256")

    state: dict[str, JSON] = {"step": step, "corpus_digest": digest}
    if nats is not None:
        state |= {"best_nats": nats, "best_step": step}
    return state

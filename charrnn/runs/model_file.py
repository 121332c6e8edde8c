"""A model in one .zip file, to be given away: weights, alphabet, configuration and a note.

It contains no optimizer, no path of this machine and no text. `manifest.json` lists the other files with their
SHA-256; they are at the top level, and every unzip program unpacks them.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from charrnn.config import MAX_STEPS
from charrnn.errors import CheckpointError
from charrnn.files import JSON, MAX_TEXT_BYTES, check_regular, parse_json
from charrnn.model.shapes import check_shapes
from charrnn.runs.checkpoint import (
    CONFIG,
    MANIFEST,
    MODEL,
    VOCAB,
    Checkpoint,
    NewerFormatError,
    VerifiedFiles,
    checkpoint_name,
)

SUFFIX = ".zip"
"""Suffix of a file that contains a model."""
FORMAT_VERSION = 1
"""Format of the files that this version reads; `charrnn export` writes them."""
NOTE = "README.txt"
"""Name of the note in the file."""

_FILES = (CONFIG, VOCAB, MODEL)
_LOSS_LIMIT = 1e39  # above the difference of any two float32 logits
_MAX_UNPACKED = 1 << 26
_MAX_RATIO = 20
"""A file that unpacks to more than _MAX_UNPACKED bytes may grow by this factor at most; weights hardly grow."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file, to be read like a run with one checkpoint."""

    path: Path

    @property
    def name(self) -> str:
        """The name of the file without its suffix."""
        return self.path.stem

    def load_best(self) -> Checkpoint:
        """Read and verify the file. The state has the entries of `training.json` that a reader of a run uses.

        Raises CheckpointError if it is missing, damaged or larger than its configuration allows, NewerFormatError if a
        newer charrnn wrote it.
        """
        path = self.path
        try:
            check_regular(path)
            with zipfile.ZipFile(path) as archive:
                return _read(path, archive)
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
        # Whatever zipfile raises for a file that is none, is cut off, encrypted or compressed in another way.
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged, or charrnn export did not write it: {error}") from error

    def load_step(self, step: int) -> Checkpoint:
        """Raise CheckpointError: the file has one checkpoint, which `load_best` reads."""
        raise CheckpointError(f"{self.name} is a file with one checkpoint, not a run\nleave the step out")


def is_model_file(run: str | Path) -> bool:
    """Whether `run` names an existing file with the suffix of a model file."""
    try:
        path = Path(run)
        return path.suffix.lower() == SUFFIX and path.is_file()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False


def _read(path: Path, archive: zipfile.ZipFile) -> Checkpoint:
    def read_file(name: str, max_bytes: int) -> bytes:
        with archive.open(name) as file:
            return file.read(max_bytes + 1)  # No more is unpacked than is expected.

    for entry in archive.infolist():
        is_bomb = entry.file_size > max(_MAX_UNPACKED, _MAX_RATIO * entry.compress_size)
        if is_bomb or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CheckpointError(f"{path} is damaged: charrnn export does not compress {entry.filename} like that")
    names = archive.namelist()
    if MANIFEST not in names:
        raise CheckpointError(f"{path} is not a model of charrnn export: it has no {MANIFEST}")
    manifest = parse_json(path / MANIFEST, read_file(MANIFEST, MAX_TEXT_BYTES))
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise NewerFormatError(f"{path} was made by a newer charrnn (format {version}); upgrade")
    has_these = sorted(names) == sorted({NOTE, MANIFEST, *_FILES})
    if not isinstance(manifest, dict) or version != FORMAT_VERSION or not has_these:
        raise CheckpointError(f"{path} is damaged: its format or its files are not those of charrnn export")
    step, val_nats, corpus_digest = _check_figures(path, manifest)
    files = VerifiedFiles.of(path, manifest.get("files"), set(_FILES), read_file)
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


def _check_figures(path: Path, manifest: Mapping[str, object]) -> tuple[int, float | None, str | None]:
    """Return the step, the loss and the digest of the text. Raises CheckpointError for what training cannot give."""
    step, val_nats, digest = (manifest.get(name) for name in ("step", "val_nats", "corpus_digest"))
    is_step = type(step) is int and 0 <= step <= MAX_STEPS
    is_loss = val_nats is None or (isinstance(val_nats, float) and 0 <= val_nats < _LOSS_LIMIT)  # nan is not, either
    if not is_step or not is_loss:
        raise CheckpointError(f"{path} is damaged: its step or its validation loss is none that training gives")
    if not (digest is None or (isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest))):
        raise CheckpointError(f"{path} is damaged: the digest of its text is not a SHA-256")
    return cast(int, step), cast("float | None", val_nats), digest

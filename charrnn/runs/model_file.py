"""Read a model file: a trained model that can be given to other people, in a folder, or in the same
folder as a .zip.

`manifest.json` has the step, the losses and what the card says, and lists the configuration, the
alphabet and the weights with their SHA-256. `words`, if it is there, is the list of the words that
the model has read (`text.word_list`), and the manifest has its SHA-256 under that name. The other
files are for people: README.md is the card, index.html a page that runs the model. They may be
missing, and files may be added.
"""

import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charrnn.config.settings import MAX_STEPS
from charrnn.errors import CheckpointError, OtherVersionError
from charrnn.hooks.manager import offered
from charrnn.model.shapes import check_shapes
from charrnn.runs.checkpoint import (
    CONFIG,
    MANIFEST,
    MODEL,
    VOCAB,
    Checkpoint,
    VerifiedFiles,
    is_checkpoint,
)
from charrnn.system.files import (
    JSON,
    MAX_TEXT_BYTES,
    check_no_pointer,
    check_regular,
    convert_os_errors,
    parse_json,
    read_capped,
)

MODEL_FILE_SUFFIX = ".zip"
"""Suffix of a model file that is no folder."""
MODEL_FILE_VERSION = 2
"""Format of the model files that `charrnn export` writes; this version reads format 1, too."""
CARD, PAGE = "README.md", "index.html"
"""Names of the files for people."""
WORDS = "words"
"""Name of the file with the words that the model has read, and of its entry in the manifest."""
OPTIONAL = (WORDS, PAGE)
"""Names of the files that not every model has."""
FILES = (CONFIG, VOCAB, MODEL, *OPTIONAL, CARD, MANIFEST)
"""Names of all files, in the order in which those of a new model replace those of an earlier
one."""
NEW = ".charrnn-new"
"""The folder inside a model file with the files of a new model until they have replaced those of an
earlier one: a file that is in it counts."""
_DATE = (1980, 1, 1, 0, 0, 0)  # A fixed date, so that the same model gives the same bytes.

_LISTED = {CONFIG, VOCAB, MODEL}
_LOSS_LIMIT = 1e39  # above the difference of any two float32 logits
BLOCK_BYTES = 1 << 18
"""Number of bytes of a .zip that are read at once: more than a list of a thousand files has."""


@dataclass(frozen=True)
class ModelFile:
    """A model file, which can be read like a run with one checkpoint.

    `reader.find` returns it where a name is that of an exported or an included model. It has the
    methods by which a `RunReader` is read, so that both are loaded alike; to train, delete or list,
    one needs a `RunReader`.
    """

    path: Path
    """The folder, the .zip, or a file of another format."""

    @property
    def name(self) -> str:
        """The name of the folder, or of the file without its suffix."""
        if self.path.is_dir():
            return self.path.resolve().name
        return self.path.stem

    def load_best(self) -> Checkpoint:
        """Read and verify the file. The `state` of the result has those entries of `training.json`
        that readers of a run use.

        Raises CheckpointError if it is missing, damaged or larger than its configuration allows,
        OtherVersionError if a newer charrnn wrote it.
        """
        manifest = self.read_manifest()
        state = _state_of(self.path, manifest=manifest)
        files = VerifiedFiles.of(
            self.path, manifest.get("files"), names=_LISTED, read_file=self.read_file
        )
        description = files.description()
        model, digest = files.model(description)
        check_shapes(description.config(), tensors=model, path=self.path)
        return Checkpoint(
            step=manifest["step"],
            model=model,
            training={},
            state=state,
            description=description,
            digest=digest,
            words=self._read_words(manifest),
        )

    def _read_words(self, manifest: Mapping[str, Any]) -> bytes | None:
        """Read the file of words; None if the manifest has none. Raises CheckpointError unless its
        size and SHA-256 are those in the manifest."""
        # Not among the `files`, of which an older charrnn knows each.
        if WORDS not in manifest:
            return None
        files = VerifiedFiles.of(
            self.path, {WORDS: manifest[WORDS]}, names={WORDS}, read_file=self.read_file
        )
        return files.read(WORDS)

    def load_step(self, step: int) -> Checkpoint:
        """Raise CheckpointError: the file has one checkpoint, which `load_best` reads."""
        raise CheckpointError(
            f"{self.path} is an exported model, which is one step of a run\nleave the step out"
        )

    def read_manifest(self) -> Mapping[str, Any]:
        """Read the manifest. Raises the errors of `load_best`."""
        content = self.read_file(MANIFEST, max_bytes=MAX_TEXT_BYTES)
        parsed = parse_json(self.path / MANIFEST, content)
        manifest: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
        version = manifest.get("format")
        if type(version) is not int or version < 1:
            raise CheckpointError(
                f"{self.path} is damaged: its format is not one of charrnn export"
            )
        if version > MODEL_FILE_VERSION:
            raise OtherVersionError(
                f"{self.path} was made by a newer charrnn (format {version}); upgrade"
            )
        return manifest

    def read_file(self, name: str, max_bytes: int) -> bytes:
        """Read a file of the model; one byte more than `max_bytes` shows that it is too long.

        Raises CheckpointError if it is missing or cannot be read.
        """
        if self.path.is_dir():
            # There while the folder is written, or if that process was killed.
            source = self.path / name
            new = new_files(self.path)
            if new is not None and os.path.lexists(new / name):
                source = new / name
            return read_capped(source, max_bytes=max_bytes)
        if self.path.suffix.lower() == MODEL_FILE_SUFFIX:
            return _unpack(self.path, name, max_bytes=max_bytes)

        # The code of another package has the files of such a folder at once.
        content = _readers()[self.path.suffix.lower()](self.path).get(name)
        if content is None:
            raise CheckpointError(f"{self.path} contains no model: it has no {name}")
        return content[: max_bytes + 1]


class _File(io.FileIO):
    """A .zip of which little is read at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes. Raises BadZipFile if they are more than BLOCK_BYTES."""
        # zipfile reads the list of all files in one piece: half a million of empty files, which
        # take little space, would take ten seconds.
        if size is not None and size > BLOCK_BYTES:
            raise zipfile.BadZipFile("its list of files is too long")
        return super().read(size) or b""


def _unpack(path: Path, name: str, *, max_bytes: int) -> bytes:
    """Read a file of the model in a .zip; no more of it is unpacked than `max_bytes` and one.

    Raises CheckpointError if there is no such file, or if the .zip is damaged.
    """
    try:
        with convert_os_errors("read", path=path, kind=CheckpointError):
            check_regular(path)
            check_no_pointer(path)
            with _File(path) as file, zipfile.ZipFile(file) as archive:
                # Other programs, such as `zip -r`, pack the folder itself.
                entries = [entry for entry in archive.namelist() if Path(entry).name == name]
                if not entries:
                    raise CheckpointError(
                        f"{path} is damaged, or no model of charrnn export: it has no {name}"
                    )
                content = bytearray()
                with archive.open(min(entries, key=len)) as packed:
                    while len(content) <= max_bytes and (block := packed.read(BLOCK_BYTES)):
                        content += block
                return bytes(content)
    # zipfile raises these errors if the file is not a .zip, is truncated or encrypted, or is
    # compressed by an unknown method.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged, or charrnn export did not write it: {error}"
        ) from error


def new_files(folder: Path) -> Path | None:
    """Return the folder with the files of a new model inside a model file (`NEW`), None if there is
    none. A link is none: it could lead to any folder of the user's machine.

    A process that was killed between two renamings leaves the files there: they are the model then.
    """
    new = folder / NEW
    if new.is_dir() and not new.is_symlink():
        return new
    return None


def is_model_file(run: str | Path) -> bool:
    """Whether `run` names an existing .zip or file of another format that is read, or a folder with
    the manifest of a model file.

    It is asked before a folder is taken for a run, whose files it has as well.
    """
    try:
        path = Path(run)
        if path.is_dir():
            # A checkpoint has a manifest, too.
            folders = filter(None, (path, new_files(path)))
            has_manifest = any(os.path.isfile(folder / MANIFEST) for folder in folders)
            return has_manifest and not is_checkpoint(path)
        if not path.is_file():
            return False
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False
    suffix = path.suffix.lower()
    return suffix == MODEL_FILE_SUFFIX or suffix in _readers()


def _readers() -> dict[str, Callable[[Path], Mapping[str, bytes]]]:
    """Return the functions of packages that read a file of another format, by suffix."""
    return {each.suffix: each.read for _, each in offered("formats") if each.read}


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the .zip of a model file with these files. The same files give the same bytes.

    A folder has the same files, unpacked.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _state_of(path: Path, manifest: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the state of the checkpoint that the manifest of a model file records.

    Raises CheckpointError for a step, a loss or a digest that training cannot produce.
    """
    step = manifest.get("step")
    nats = manifest.get("val_nats")
    digest = manifest.get("corpus_digest")
    is_step = type(step) is int and 0 <= step <= MAX_STEPS
    is_loss = nats is None or (isinstance(nats, float) and 0 <= nats < _LOSS_LIMIT)  # no nan
    is_digest = digest is None or re.fullmatch(r"[0-9a-f]{64}", str(digest))
    if not (is_step and is_loss and is_digest):
        raise CheckpointError(
            f"{path} is damaged: its step, its validation loss or the digest of its text is none"
            " that training gives"
        )

    state: dict[str, JSON] = {"step": step, "corpus_digest": digest}
    if nats is not None:
        state |= {"best_nats": nats, "best_step": step}
    return state

"""The configuration and the alphabet of a run, `config.yaml` and `vocab.json`, to bytes and back.

Both files are in the run's folder, in every checkpoint and in a model file. The first line of
`config.yaml`, the seal, has the SHA-256 of the other lines. It protects the copy in the run's
folder, which no manifest lists and which may be newer than the copies in the checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from charrnn.config.settings import AUTO_FIELDS, Config
from charrnn.config.settings_file import SEAL_START, from_yaml, to_yaml
from charrnn.errors import CheckpointError, DataError, UsageError
from charrnn.system.files import MAX_TEXT_BYTES, encode_text, parse_json, read_capped
from charrnn.text.vocab import Vocab

CONFIG, VOCAB = "config.yaml", "vocab.json"
"""File names in a run, in a checkpoint and in a model file."""

_SEAL = (
    f"{SEAL_START}{{}}. Read it, but change settings by the options of charrnn train --resume.\n"
)

_REMOVED_FIELDS = re.compile(r"^((held_back|capture): \S+|ngram_rows: (0|auto))\n", re.MULTILINE)
"""Settings of older runs that change nothing in what their networks predict."""


class OtherVersionError(CheckpointError):
    """Another version of charrnn saved the checkpoint, or one with other packages. It is not
    damaged: falling back to an older checkpoint would lose intact work."""


@dataclass(frozen=True, slots=True)
class RunDescription:
    """The content of both files, and their folder for error messages."""

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

    Raises CheckpointError if it is missing, too large or has no valid seal, and the errors of
    `parse_config`.
    """
    # The seal is checked first: otherwise an edited value would be used, or reported as damage.
    data = read_capped(path, max_bytes=MAX_TEXT_BYTES)

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
        config = from_yaml(text, str(path))
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
    """Read an alphabet. Raises CheckpointError if the file is missing, too large or damaged."""
    return _parse_alphabet(path, read_capped(path, max_bytes=MAX_TEXT_BYTES))


def _parse_alphabet(path: Path, data: bytes) -> Vocab:
    return Vocab.from_json(parse_json(path, data), str(path))


def seal(body: bytes) -> bytes:
    """Return YAML below a comment with its SHA-256."""
    return _SEAL.format(hashlib.sha256(body).hexdigest()).encode("ascii") + body

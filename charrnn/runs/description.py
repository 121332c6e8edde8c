"""The configuration and the alphabet of a model: the files `config.yaml` and `vocab.json`.

Both are in the run's folder and, from format 2 on, in every checkpoint, whose manifest lists them. The run's own
`config.yaml` may be newer than any checkpoint, so its first line, the seal, has the SHA-256 of the rest.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from charrnn.architectures import CELL_GROUP, CELLS
from charrnn.config import AUTO_FIELDS, Config
from charrnn.errors import CheckpointError, DataError, UnknownFieldError, UsageError
from charrnn.extensions import plugin_names
from charrnn.files import MAX_TEXT_BYTES, encode_text, parse_json, read_capped
from charrnn.settings import from_yaml, to_yaml
from charrnn.text.vocab import Vocab

OLD_DEFAULTS = {"muon_scale": 0.0, "order": "sorted", "validation_chars": None, "trigram_rows": 0}
"""Values of fields that older runs lack, where the default differs from what those runs did."""

CONFIG, VOCAB = "config.yaml", "vocab.json"
"""File names in a run and in a checkpoint."""

_SEAL = "# SHA-256 of what follows: {}. Read it, but change settings by the options of charrnn train --resume.\n"

_ORIGIN = "it"
"""What the errors of the configuration call it, after its path."""


class NewerFormatError(CheckpointError):
    """A checkpoint of a newer charrnn. It is not damage: falling back to an older checkpoint would lose intact work."""


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
        return cls(folder, seal(to_yaml(config)), json.dumps(vocab.to_json(), ensure_ascii=True).encode("ascii"))

    @classmethod
    def read(cls, folder: Path) -> Description:
        """Read both files of a folder. Raises CheckpointError if one is missing, too large or has a wrong seal."""
        config_yaml, vocab_json = (read_capped(folder / name, max_bytes=MAX_TEXT_BYTES) for name in (CONFIG, VOCAB))
        check_seal(folder / CONFIG, config_yaml, is_needed=False)
        return cls(folder, config_yaml, vocab_json)

    def files(self) -> dict[str, bytes]:
        """Return the content by file name."""
        return {CONFIG: self.config_yaml, VOCAB: self.vocab_json}

    def config(self) -> Config:
        """Parse the configuration. Raises CheckpointError if it is damaged or a field is still `auto`."""
        return parse_config(self.folder / CONFIG, self.config_yaml)

    def vocab(self) -> Vocab:
        """Parse the alphabet. Raises CheckpointError if it is damaged."""
        path = self.folder / VOCAB
        return Vocab.from_json(parse_json(path, self.vocab_json), str(path))


def parse_config(path: Path, data: bytes) -> Config:
    """Parse the content of the file at `path`.

    Raises CheckpointError if it is damaged or a field is still `auto`, MissingCellError if only the cell is unknown,
    NewerFormatError for a field that this version does not have.
    """
    try:
        config = from_yaml(data.decode("utf-8"), _ORIGIN, OLD_DEFAULTS)
    except UnknownFieldError as error:
        raise NewerFormatError(
            f"{path} was written by a newer version of charrnn, or was edited: {_reason(error)}\n"
            "Upgrade charrnn to use it."
        ) from error
    except (UnicodeDecodeError, DataError, UsageError) as error:
        if isinstance(error, UsageError):
            _check_cell(data.decode("utf-8"))
        raise CheckpointError(f"{path} is damaged: {_reason(error)}") from error
    without_value = [name for name in AUTO_FIELDS if getattr(config, name) == "auto" and name != "threads"]
    if without_value or config.cell == "auto" or config.steps is None:
        raise CheckpointError(f"{path} is damaged: no value for {', '.join(without_value) or 'the cell or the steps'}")
    return config


def _reason(error: Exception) -> str:
    return str(error).removeprefix(f"{_ORIGIN}: ")


def _check_cell(config_yaml: str) -> None:
    line = re.search(r"^cell: ([^\s'\"]+)$", config_yaml, re.MULTILINE)
    if line is not None and line[1] not in ("auto", *CELLS, *plugin_names(CELL_GROUP)):
        raise MissingCellError(
            f"The cell {line[1][:60]} of this run is not part of charrnn, and no installed package offers it.\n"
            "Install the package that does."
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

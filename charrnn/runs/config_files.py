"""The configuration and the alphabet of a run, `config.yaml` and `vocab.json`, to bytes and back.

Both files are in the run's folder, in every checkpoint and in a model file. The first line of
`config.yaml`, the seal, has the SHA-256 of the other lines. It protects the copy in the run's
folder, which no manifest lists and which may be newer than the copies in the checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from charrnn.config.architectures import CELL_DESCRIPTIONS
from charrnn.config.settings import AUTO_FIELDS, Config
from charrnn.config.settings_file import SEAL_START, from_yaml, to_yaml
from charrnn.errors import CheckpointError, DataError, UnknownFieldError, UsageError
from charrnn.hooks.manager import offered_names
from charrnn.system.files import MAX_TEXT_BYTES, encode_text, parse_json, read_capped
from charrnn.text.vocab import Vocab

CONFIG, VOCAB = "config.yaml", "vocab.json"
"""File names in a run, in a checkpoint and in a model file."""

_SEAL = (
    f"{SEAL_START}{{}}. Read it, but change settings by the options of charrnn train --resume.\n"
)

_TABLE_ROWS = re.compile(r"^ngram_rows: (\S+)\n", re.MULTILINE)
"""A setting of older runs: the rows of a table of n-grams, 0 for none."""
_REMOVED_FIELDS = re.compile(r"^(held_back|capture): \S+\n", re.MULTILINE)
"""Settings of older runs that change nothing in what their networks predict."""
_ORIGIN = "it"
"""The name of the configuration in errors that begin with its path."""


class NewerFormatError(CheckpointError):
    """A newer charrnn saved the checkpoint. It is not damaged: falling back to an older checkpoint
    would lose intact work."""


class MissingPartError(CheckpointError):
    """A run needs something that this program does not have: a cell type of a package that is not
    installed, or a table of n-grams. The run is not damaged."""


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
        return cls(folder, config_yaml=seal(to_yaml(config)), vocab_json=vocab_json)

    def files(self) -> dict[str, bytes]:
        """Return the content by file name."""
        return {CONFIG: self.config_yaml, VOCAB: self.vocab_json}

    def config(self) -> Config:
        """Parse the configuration. Raises CheckpointError if it is damaged, NewerFormatError if a
        newer charrnn wrote it."""
        return parse_config(self.folder / CONFIG, self.config_yaml)

    def vocab(self) -> Vocab:
        """Parse the alphabet. Raises CheckpointError if it is damaged."""
        return _parse_alphabet(self.folder / VOCAB, self.vocab_json)


def read_config(path: Path) -> Config:
    """Read the configuration of a run from the file at `path`, which needs a valid seal.

    Raises CheckpointError if it is missing or too large, and the errors of `check_seal` and
    `parse_config`.
    """
    # The seal is checked first: otherwise an edited value would be used, or reported as damage.
    data = read_capped(path, max_bytes=MAX_TEXT_BYTES)
    check_seal(path, data)
    return parse_config(path, data)


def parse_config(path: Path, data: bytes) -> Config:
    """Parse the content of the configuration at `path`.

    Raises CheckpointError if it is damaged or a field is still `auto`, MissingPartError if only the
    cell type is unknown or the network has a table of n-grams, NewerFormatError for a field that
    this version does not have.
    """
    # The three errors have three remedies: upgrade, install a package, use another copy.
    try:
        text = data.decode("utf-8")
        _check_table(path, text)
        config = from_yaml(_REMOVED_FIELDS.sub("", _TABLE_ROWS.sub("", text)), _ORIGIN)
    except UnknownFieldError as error:
        raise NewerFormatError(
            f"{path} was written by a newer version of charrnn, or was edited: {_reason(error)}\n"
            "Upgrade charrnn to use it."
        ) from error
    except UsageError as error:
        _check_cell(data.decode("utf-8"))
        raise CheckpointError(f"{path} is damaged: {_reason(error)}") from error
    except (UnicodeDecodeError, DataError) as error:
        raise CheckpointError(f"{path} is damaged: {_reason(error)}") from error

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


def _reason(error: Exception) -> str:
    return str(error).removeprefix(f"{_ORIGIN}: ")


def _check_cell(config_yaml: str) -> None:
    # The cell type is searched in the YAML text, because the parser has refused the value.
    line = re.search(r"^cell_type: ([^\s'\"]+)$", config_yaml, re.MULTILINE)
    known = ("auto", *CELL_DESCRIPTIONS, *offered_names("cell_types"))
    if line is not None and line[1] not in known:
        raise MissingPartError(
            f"The cell {line[1][:60]} of this run is not part of charrnn, and no installed package"
            " offers it.\nInstall the package that does."
        )


def _check_table(path: Path, config_yaml: str) -> None:
    rows = _TABLE_ROWS.search(config_yaml)
    if rows is not None and rows[1] not in ("0", "auto"):
        raise MissingPartError(
            f"The network of {path.parent} has a table of n-grams (ngram_rows {rows[1][:20]}),"
            " which charrnn no longer has.\nTrain it again."
        )


def seal(text: str) -> bytes:
    """Return YAML `text` below a comment with its SHA-256."""
    body = encode_text(text)
    return seal_line(body) + body


def seal_line(body: bytes) -> bytes:
    """Return the first line of a file whose other lines are `body`."""
    return _SEAL.format(hashlib.sha256(body).hexdigest()).encode("ascii")


def check_seal(path: Path, data: bytes) -> None:
    """Raise CheckpointError unless the content of the file at `path` matches its seal."""
    if not _is_sealed(data):
        check_line_ends(path, data, is_whole=_is_sealed)
        raise CheckpointError(
            f"{path} is damaged or was edited: its SHA-256 is not the one on its first line "
            "(change settings when you resume the run)"
        )


def _is_sealed(data: bytes) -> bool:
    # The whole line is compared, not only the digest, so that its words cannot be edited either.
    first_line, newline, body = data.partition(b"\n")
    return first_line + newline == seal_line(body)


def check_line_ends(path: Path, data: bytes, *, is_whole: Callable[[bytes], bool]) -> None:
    """Raise CheckpointError if a text file is only not whole because its line ends are CRLF."""
    if is_whole(data.replace(b"\r\n", b"\n")):
        raise CheckpointError(
            f"{path} is damaged: its line ends are CRLF, as core.autocrlf of git makes them\nwrite"
            " `* -text` into a file .gitattributes beside it, and check it out again"
        )

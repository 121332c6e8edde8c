"""Files that survive: written whole or not at all, synced before they count, read only when plain and of sane size."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

from charrnn.errors import CharRNNError, CheckpointError

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

MAX_TEXT_BYTES = 16 * 1024 * 1024
"""More than any configuration, alphabet or manifest needs, and little enough to read whole."""

_LEFTOVER = re.compile(r"\..+\.(tmp|old)-[0-9]+")
"""What a file or a folder is called until it counts, and once it counts no more: its name and a process."""


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, whole or not at all. Raises CharRNNError when it cannot be written."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    with explained("write", path, num_bytes=len(data)):
        try:
            temporary.unlink(missing_ok=True)
            write_synced(temporary, data)
            os.replace(temporary, path)
            fsync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file that a power cut cannot take back. Raises OSError, as does `fsync_folder`."""
    # Only a new one: what is there already may be a link that came with the folder.
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def fsync_folder(path: Path) -> None:
    """Make the names in a folder as lasting as the files that bear them."""
    if sys.platform == "win32":
        return  # Windows opens no folders, and journals renames itself.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot sync a folder; a run there is still better than none.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder, and the ones above it, that a power cut cannot take back, or none. Raises OSError."""
    path.mkdir(parents=True)
    try:
        fsync_folder(path.parent)
    except OSError:
        path.rmdir()
        raise


def sweep(folder: Path) -> None:
    """Remove what processes that were killed left half written or half removed in a folder. Raises OSError."""
    for leftover in list(folder.iterdir()):
        if _LEFTOVER.fullmatch(leftover.name):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def encode_text(text: str) -> bytes:
    """UTF-8 for any text at all."""
    # Lone surrogates come from file names that are not UTF-8; an escape in a text is better than a lost run.
    return text.encode("utf-8", "backslashreplace")


def read_capped(path: Path, *, max_bytes: int) -> bytes:
    """The bytes of a file. Raises CheckpointError when it is missing, a link, no plain file or too large."""
    try:
        check_is_plain(path)
        status = path.lstat()
        if status.st_size > max_bytes:
            raise CheckpointError(f"{path} is damaged: {status.st_size:,} bytes, expected at most {max_bytes:,}")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


def check_is_plain(path: Path) -> None:
    """Raise CheckpointError for a link, which could lead anywhere on the reader's disk, and for a pipe or a device."""
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise CheckpointError(f"{path} is not a plain file")


def parse_json(path: Path, data: bytes) -> object:
    """The value of the JSON that stands in the file at `path`. Raises CheckpointError when it is none."""
    try:
        return cast(object, json.loads(data, object_pairs_hook=_without_repeats))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: not JSON ({error})") from error


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # JSON leaves open which of two values counts, so that one reader checks the first and another uses the second.
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a key is given twice")
    return entries


def json_to_bytes(value: JSON) -> bytes:
    """JSON as a person can read it, one entry a line."""
    return (json.dumps(value, indent=2) + "\n").encode("ascii")


@contextlib.contextmanager
def explained(action: str, path: Path, *, num_bytes: int | None = None) -> Iterator[None]:
    """Turn an OSError into a CharRNNError that says what could not be done, where, why and for want of how much."""
    try:
        yield
    except OSError as error:
        needed = "" if num_bytes is None else f" ({num_bytes:,} bytes needed)"
        raise CharRNNError(f"cannot {action} {path}: {error.strerror or error}{needed}") from error

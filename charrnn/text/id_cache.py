"""Ids of large texts on disk: mapped into memory, committed atomically, verified before use, removed by age.

    ids/
      KEY.ids               one text in one alphabet: an entry
      sources-KEY.json      the digest and the characters of files that were read, by their paths, sizes and times
      lock-00 … lock-3f     locked while the same files are read

docs/formats.md describes the files.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CharRNNError, CheckpointError, counted
from charrnn.files import JSON, read_capped, replacing, try_lock, write_synced
from charrnn.progress import task
from charrnn.text.id_builder import UNKNOWN_TYPE
from charrnn.text.vocab import IdArray, Vocab

CACHE_VARIABLE = "CHARRNN_CACHE"
"""Environment variable with the folder of the cache."""

CACHE_SIZE_VARIABLE = "CHARRNN_CACHE_GB"
"""Environment variable with the size limit of the cache, in GB."""

MAX_CACHE_GB = 50.0
"""Default size limit of the cache: the entries that were not used for longest are removed beyond it."""

MAX_RECORDS = 1000
"""Records of sources that are kept."""

MAX_RECORD_BYTES = 64 * 1024 * 1024
"""Limit for a record: the counts of every character of Unicode fit."""

HEADER_BYTES = 4096
"""Length of the header of an entry: a page, so that the ids begin at one."""

_FORMAT = 2
_CHECK_BYTES = 16 * 1024 * 1024
_OWN_NAME = re.compile(r"[0-9a-f]{32}\.ids|\.[0-9a-f]{32}\.ids\.tmp-\d+")
_OLD_NAME = re.compile("[0-9a-f]{32}")
_NUM_LOCKS = 64
_POLL_SECONDS = 0.1
_LEFTOVER_SECONDS = 24 * 3600


Mapped = tuple[IdArray, NDArray[np.void]]
"""Ids that are mapped from a file, and the unknown characters of the text (`UNKNOWN_TYPE`)."""


def cache_folder() -> Path:
    """Return the folder of the cache: $CHARRNN_CACHE, else charrnn/ids in the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(os.path.abspath(Path(chosen).expanduser()))
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with contextlib.suppress(RuntimeError):  # there is no home folder
        return Path(user).expanduser() / "charrnn" / "ids"
    raise CharRNNError(f"there is no home folder for the ids of large texts: set {CACHE_VARIABLE} to a folder")


def max_cache_bytes() -> int:
    """Return the size limit of the cache. Raises CharRNNError if $CHARRNN_CACHE_GB is not a positive number."""
    text = os.environ.get(CACHE_SIZE_VARIABLE) or str(MAX_CACHE_GB)
    with contextlib.suppress(ValueError, OverflowError):
        if (size := int(float(text) * 1e9)) > 0:
            return size
    raise CharRNNError(
        f"{CACHE_SIZE_VARIABLE} is {text!r}; it must be a number of GB above 0, such as {MAX_CACHE_GB:g}"
    )


class IdCache:
    """The cache in `cache_folder()`, which is made when something is written to it."""

    def __init__(self) -> None:
        self.folder = cache_folder()

    @contextlib.contextmanager
    def reading(self, signature: str) -> Iterator[None]:
        """Wait until no other process reads the files of `signature`, then exclude them: one of them is enough.

        If the folder cannot be written to, there is no cache that could be shared.
        """
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                self._make()
                path = self.folder / f"lock-{int(signature[:8], 16) % _NUM_LOCKS:02x}"
                file = stack.enter_context(path.open("ab"))
                while not try_lock(file):
                    time.sleep(_POLL_SECONDS)
            yield

    def record(self, signature: str) -> dict[str, Any] | None:
        """Return what `write_record` has written for `signature`; None if there is nothing or it is damaged."""
        path = self._record_path(signature)
        try:
            record = _unsealed(read_capped(path, max_bytes=MAX_RECORD_BYTES))
        except CheckpointError:
            return None
        if record is None or record.get("signature") != signature:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return record

    def write_record(self, signature: str, record: dict[str, JSON]) -> None:
        """Record what was read from the files of `signature`. An error is no failure: they are read again then."""
        with contextlib.suppress(OSError):
            self._make()
            with replacing(self._record_path(signature)) as temporary:
                write_synced(temporary, _sealed({**record, "signature": signature}))
            for old in sorted(self.folder.glob("sources-*.json"), key=_used)[:-MAX_RECORDS]:
                old.unlink()

    def open(self, digest: str, vocab: Vocab) -> Mapped | None:
        """Map the ids of a text, after verifying all of them; None if there are none. Damaged ones are removed."""
        path = self.folder / _entry_name(digest, vocab)
        if not os.path.lexists(path):
            return None
        found = _open_entry(path, vocab)
        if found is None:
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        return found

    def scratch(self) -> BinaryIO:
        """Open a file without a name for a text that is being read; it is gone when it is closed. Raises OSError."""
        self._make()
        return tempfile.TemporaryFile(dir=self.folder)

    def write(self, blocks: Iterable[Mapped], num_ids: int, vocab: Vocab, digest: str) -> Mapped:
        """Write an entry, block by block, for a text of this digest; return it mapped. Raises OSError.

        Nothing appears under its name before it is complete.
        """
        self._make()
        self._remove_excess(num_ids * vocab.id_type.itemsize)
        path = self.folder / _entry_name(digest, vocab)
        id_type = vocab.id_type.newbyteorder("<")
        content = hashlib.sha256()
        with (
            replacing(path) as temporary,
            temporary.open("xb") as file,
            self.scratch() as unknown,
            task("encoding", num_ids) as advance,
        ):
            temporary.chmod(0o600)  # Also in a folder that others can read.
            file.write(bytes(HEADER_BYTES))
            for ids, missing in blocks:
                data = ids.astype(id_type, copy=False).tobytes()
                content.update(data)
                file.write(data)
                unknown.write(missing.tobytes())
                advance(len(ids))
            unknown.seek(0)
            while data := unknown.read(_CHECK_BYTES):
                content.update(data)
                file.write(data)
            file.seek(0)
            about: dict[str, JSON] = {
                "format": _FORMAT,
                "name": path.name,
                "num_ids": num_ids,
                "sha256": content.hexdigest(),
            }
            file.write(_sealed(about))
            file.flush()
            os.fsync(file.fileno())
        found = _open_entry(path, vocab, is_checked=False)
        if found is None:
            raise OSError(f"{path.name} was changed while it was written")
        return found

    def _make(self) -> None:
        # Only for its user: the files contain the texts.
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _record_path(self, signature: str) -> Path:
        return self.folder / f"sources-{signature[:32]}.json"

    def _remove_excess(self, num_bytes: int) -> None:
        """Remove entries, oldest use first, until the cache and `num_bytes` keep the size limit.

        One that a process maps remains readable there, and its space is free when the process ends; on Windows it
        cannot be removed. What a killed process left is removed after a day, and entries of the first format at once.
        Nothing else is: the folder may be one that also has other things, such as the top folder of a disk.
        """
        for path in self.folder.glob("*/entry.json"):
            if _OLD_NAME.fullmatch(path.parent.name) and not path.parent.is_symlink():
                shutil.rmtree(path.parent, ignore_errors=True)
        own = [path for path in self.folder.iterdir() if _OWN_NAME.fullmatch(path.name)]
        ages = {path: time.time() - _used(path) for path in own}
        entries = sorted((path for path in own if path.suffix == ".ids"), key=_used)
        removed = [path for path in own if path not in entries and ages[path] > _LEFTOVER_SECONDS]
        excess = num_bytes - max_cache_bytes() + sum(map(_num_bytes, entries))
        for path in entries:
            if excess > 0:
                excess -= _num_bytes(path)
                removed.append(path)
        for path in removed:
            with contextlib.suppress(OSError):
                path.unlink()


def write_error(folder: Path, num_bytes: int, error: OSError) -> CharRNNError:
    """Return the error for ids of about `num_bytes` bytes that cannot be written to the cache in `folder`."""
    return CharRNNError(
        f"cannot write {folder}: {error.strerror or error} ({counted(num_bytes, 'byte')} needed)\n"
        f"free some space, or set {CACHE_VARIABLE} to a folder on another disk"
    )


def _open_entry(path: Path, vocab: Vocab, *, is_checked: bool = True) -> Mapped | None:
    """Map an entry after verifying it; None if it is damaged, of another text or of another format.

    Checked are the header, the size, the SHA-256 of all that follows, and that every id is in the alphabet; the last
    two only if `is_checked`, since this process may just have written them.
    """
    id_type = vocab.id_type.newbyteorder("<")
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # A link could lead to any other file.
            return None
        with path.open("rb") as file:
            header = _unsealed(file.read(HEADER_BYTES).rstrip(b"\0"))
            if header is None or (header["format"], header["name"]) != (_FORMAT, path.name):
                return None
            num_ids = int(header["num_ids"])
            end = HEADER_BYTES + num_ids * id_type.itemsize
            num_unknown, rest = divmod(os.fstat(file.fileno()).st_size - end, UNKNOWN_TYPE.itemsize)
            if num_unknown < 0 or rest:
                return None
            if is_checked and _digest(file, end, id_type, len(vocab)) != header["sha256"]:
                return None
            ids: Any = np.memmap(file, id_type, "r", HEADER_BYTES, (num_ids,))
            unknown: Any = np.empty(0, UNKNOWN_TYPE)
            if num_unknown:  # Nothing cannot be mapped.
                unknown = np.memmap(file, UNKNOWN_TYPE, "r", end, (num_unknown,))
        with contextlib.suppress(OSError):  # A cache that is read-only removes nothing by age.
            os.utime(path)
    except (OSError, KeyError, TypeError, ValueError):
        if not is_checked:
            raise
        return None
    return ids, unknown


def _digest(file: BinaryIO, end: int, id_type: np.dtype[Any], num_ids: int) -> str | None:
    """Compute the SHA-256 of what follows the header; None if an id before `end` is not below `num_ids`."""
    # Not mapped: that would count as this process's memory.
    content, at = hashlib.sha256(), HEADER_BYTES
    file.seek(at)
    while data := file.read(min(_CHECK_BYTES, end - at) if at < end else _CHECK_BYTES):
        if at < end and int(np.frombuffer(data, id_type).max()) >= num_ids:
            return None
        content.update(data)
        at += len(data)
    return content.hexdigest()


def _sealed(value: dict[str, JSON]) -> bytes:
    """Return JSON after a line with its SHA-256."""
    data = json.dumps(value).encode("ascii")
    return hashlib.sha256(data).hexdigest().encode("ascii") + b"\n" + data


def _unsealed(sealed: bytes) -> dict[str, Any] | None:
    """Return what was sealed; None if it is damaged."""
    digest, _, data = sealed.partition(b"\n")
    if hashlib.sha256(data).hexdigest().encode("ascii") != digest:
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _entry_name(digest: str, vocab: Vocab) -> str:
    key = json.dumps([_FORMAT, digest, vocab.to_json()]).encode("ascii")
    return hashlib.sha256(key).hexdigest()[:32] + ".ids"


def _used(path: Path) -> float:
    """Return when an entry or a record was used last, in seconds since the epoch; 0 if it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _num_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0

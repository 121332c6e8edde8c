"""Ids of large texts on disk: mapped into memory, committed atomically, verified before use, removed by age.

    ids/
      KEY/                  one text in one alphabet: an entry
        ids.bin             the ids, uint8 or uint16, little-endian
        unknown.bin         the characters that the alphabet does not have (`UNKNOWN_TYPE`)
        entry.json          what they are, with their SHA-256
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
import time
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CharRNNError, CheckpointError, counted
from charrnn.files import JSON, fsync_folder, json_to_bytes, read_capped, replacing, try_lock, write_synced
from charrnn.progress import task
from charrnn.text.id_builder import UNKNOWN_TYPE, IdBuilder
from charrnn.text.vocab import IdArray, Vocab

CACHE_VARIABLE = "CHARRNN_CACHE"
"""Environment variable with the folder of the cache."""

CACHE_SIZE_VARIABLE = "CHARRNN_CACHE_GB"
"""Environment variable with the size limit of the cache, in GB."""

MAX_CACHE_GB = 50.0
"""Default size limit of the cache: the entries that were not used for longest are removed beyond it."""

MAX_RECORDS = 1000
"""Records of sources that are kept."""

CHECK_BYTES = 16 * 1024 * 1024
"""Bytes of ids that one SHA-256 in `entry.json` covers: blocks are verified in parallel."""

MAX_RECORD_BYTES = 64 * 1024 * 1024
"""Limit for a record and for `entry.json`: the counts of every character of Unicode fit."""

_FORMAT = 1
_ENTRY_NAME = re.compile("[0-9a-f]{32}")
_LEFTOVER_NAME = re.compile(r"\.(new\.tmp-\d+|(?P<old>[0-9a-f]{32}\.old-\d+))")
_NUM_LOCKS = 64
_POLL_SECONDS = 0.1
_MAX_THREADS = 8


Mapped = tuple[IdArray, NDArray[np.void]]
"""Ids that are mapped from a file, and the unknown characters of the text (`UNKNOWN_TYPE`); the entry is in use as long
as the ids are."""


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
                stack.enter_context(_locked(self.folder / f"lock-{int(signature[:8], 16) % _NUM_LOCKS:02x}"))
            yield

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """Exclude other processes from beginning, committing and clearing away entries. Raises OSError."""
        return _locked(self.folder / "lock-new")

    def record(self, signature: str) -> dict[str, Any] | None:
        """Return what `write_record` has written for `signature`; None if there is nothing or it is damaged."""
        path = self._record_path(signature)
        record = _unsealed(path)
        if record is None or record.get("signature") != signature:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return record

    def write_record(self, signature: str, record: dict[str, JSON]) -> None:
        """Record what was read from the files of `signature`. An error is no failure: they are read again then."""
        with contextlib.suppress(OSError, CharRNNError):
            self._make()
            path = self._record_path(signature)
            with replacing(path) as temporary:
                write_synced(temporary, _sealed({**record, "signature": signature}))
            records = sorted(self.folder.glob("sources-*.json"), key=_used)
            for old in records[:-MAX_RECORDS]:
                old.unlink()

    def open(self, digest: str, vocab: Vocab) -> Mapped | None:
        """Map the ids of a text, after verifying all of them; None if there are none. Damaged ones are removed."""
        path = self.folder / _entry_name(digest, vocab)
        if not os.path.lexists(path):
            return None
        found = _open_entry(path, vocab)
        if found is None:
            _remove(path)
        return found

    def begin(self, num_bytes: int) -> "NewEntry":
        """Start an entry of about `num_bytes` bytes; removes what killed processes left. Raises CharRNNError."""
        try:
            self._make()
            with self.exclusive():
                self._remove_leftovers()
                paths = (self.folder / f".new.tmp-{os.getpid()}{number:03}" for number in count())
                path = next(path for path in paths if not path.exists())
                path.mkdir(mode=0o700)
                return NewEntry(self, path, num_bytes)
        except OSError as error:
            raise write_error(self.folder, num_bytes, error) from error

    def remove_excess(self, num_bytes: int, spare: Path) -> None:
        """Remove entries that nothing uses, oldest use first, until the cache and `num_bytes` keep the size limit."""
        entries = sorted((path for path in self.folder.glob("*") if _is_entry(path)), key=_used)
        sizes = {path: sum(_num_bytes(file) for file in path.iterdir()) for path in entries}
        excess = sum(sizes.values()) + num_bytes - max_cache_bytes()
        for path, size in sizes.items():
            if excess <= 0:
                return
            if path != spare and not _is_in_use(path):
                _remove(path)
                excess -= size

    def _make(self) -> None:
        # Only for its user: the files contain the texts.
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _record_path(self, signature: str) -> Path:
        return self.folder / f"sources-{signature[:32]}.json"

    def _remove_leftovers(self) -> None:
        """Remove entries that processes began which do not exist any more."""
        for path in self.folder.glob(".*"):
            # Nothing else: the folder may be one that also has other things, such as the top folder of a disk.
            found = _LEFTOVER_NAME.fullmatch(path.name)
            if found is None or path.is_symlink() or not path.is_dir():
                continue
            if found["old"] or not _is_in_use(path, "ids.bin"):
                shutil.rmtree(path, ignore_errors=True)


def write_error(folder: Path, num_bytes: int, error: OSError) -> CharRNNError:
    """Return the error for ids of about `num_bytes` bytes that cannot be written to the cache in `folder`."""
    return CharRNNError(
        f"cannot write {folder}: {error.strerror or error} ({counted(num_bytes, 'byte')} needed)\n"
        f"free some space, or set {CACHE_VARIABLE} to a folder on another disk"
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        while not try_lock(file):
            time.sleep(_POLL_SECONDS)
        yield


class NewEntry:
    """An entry that is being written in a hidden folder; `commit` makes it one of the cache."""

    def __init__(self, cache: IdCache, path: Path, num_bytes: int) -> None:
        """Create and lock the file of ids in the folder `path`. `num_bytes` is named if the disk is full."""
        self._cache, self.path, self._num_bytes = cache, path, num_bytes
        self.file: BinaryIO = (path / "ids.bin").open("x+b")
        try_lock(self.file)

    def commit(self, blocks: Iterable[Mapped], builder: IdBuilder, vocab: Vocab, digest: str) -> Mapped:
        """Write the ids and everything else; return the committed entry, mapped.

        `blocks` are those of `builder` in the alphabet `vocab`, arranged if they are documents; `digest` is that of the
        text. Raises CharRNNError if the entry cannot be written; nothing is committed then.
        """
        path = self._cache.folder / _entry_name(digest, vocab)
        try:
            entry = self._write(blocks, builder, vocab, digest)
            self._cache.remove_excess(builder.num_ids * vocab.id_type.itemsize, path)
            with self._cache.exclusive():
                self.file.close()  # Windows renames no folder with an open file.
                if os.path.lexists(path):
                    _remove(path)
                os.rename(self.path, path)
            fsync_folder(path.parent)
            found = _open_entry(path, vocab, entry)
        except OSError as error:
            raise write_error(self._cache.folder, max(self._num_bytes, builder.num_bytes), error) from error
        if found is None:
            raise CharRNNError(f"{path} was changed or removed while it was written: start again")
        return found

    def _write(self, blocks: Iterable[Mapped], builder: IdBuilder, vocab: Vocab, digest: str) -> dict[str, JSON]:
        """Write and sync the files of the entry; return the content of `entry.json`. Raises OSError."""
        id_type = vocab.id_type.newbyteorder("<")
        # The file with the provisional ids is overwritten, so that the disk need not have space for both.
        written = self.path / ("ids.bin" if builder.fits_in_place(vocab) else "wider.bin")
        ids_path, unknown_path = self.path / "ids.bin", self.path / "unknown.bin"
        with (
            written.open("r+b" if written == ids_path else "xb") as ids_file,
            unknown_path.open("xb") as unknown_file,
            task("encoding", builder.num_ids) as advance,
        ):
            for ids, unknown in blocks:
                ids_file.write(ids.astype(id_type, copy=False).tobytes())
                unknown_file.write(unknown.tobytes())
                advance(len(ids))
            ids_file.truncate()
            for file in (ids_file, unknown_file):
                file.flush()
                os.fsync(file.fileno())
        if written != ids_path:
            os.replace(written, ids_path)
        entry: dict[str, JSON] = {
            **_about(digest, vocab),
            "num_ids": ids_path.stat().st_size // id_type.itemsize,
            "num_unknown": unknown_path.stat().st_size // UNKNOWN_TYPE.itemsize,
            "ids_sha256": _sha256s(ids_path, id_type, len(vocab)),
            "unknown_sha256": _sha256s(unknown_path),
        }
        write_synced(self.path / "entry.json", _sealed(entry))
        fsync_folder(self.path)
        return entry

    def discard(self) -> None:
        """Remove what was written, unless it was committed."""
        with contextlib.suppress(OSError):  # of a full disk
            self.file.close()
        shutil.rmtree(self.path, ignore_errors=True)


def _about(digest: str, vocab: Vocab) -> dict[str, JSON]:
    """Return what `entry.json` says of a text of this digest in the alphabet `vocab`."""
    alphabet = _key(vocab.to_json())
    return {"format": _FORMAT, "corpus_digest": digest, "alphabet_digest": alphabet, "type": vocab.id_type.name}


def _open_entry(path: Path, vocab: Vocab, written: dict[str, JSON] | None = None) -> Mapped | None:
    """Map an entry after verifying it; None if it is damaged, of another text or of another format.

    Checked are the form and the SHA-256 of `entry.json`, the text and the alphabet that it names, the sizes of both
    files, the SHA-256 of all of their content, and that every id is in the alphabet. The content is not checked if this
    process has just `written` it; then an OSError is raised.
    """
    entry: dict[str, Any] | None = written or _unsealed(path / "entry.json")
    if entry is None or path.is_symlink():
        return None
    arrays: list[Any] = []
    with contextlib.ExitStack() as stack:
        try:
            about = _about(entry["corpus_digest"], vocab)
            if path.name != _entry_name(entry["corpus_digest"], vocab) or not about.items() <= entry.items():
                return None
            # Locked until the ids are no longer mapped, so that the entry is not removed meanwhile.
            lock = stack.enter_context((path / "entry.json").open("rb"))
            if not try_lock(lock, shared=True):
                return None
            id_type = vocab.id_type.newbyteorder("<")
            for name, dtype, limit in (("ids", id_type, len(vocab)), ("unknown", UNKNOWN_TYPE, None)):
                file, num = path / f"{name}.bin", int(entry[f"num_{name}"])
                status = file.lstat()  # A link could lead to any other file.
                if not stat.S_ISREG(status.st_mode) or status.st_size != num * dtype.itemsize:
                    return None
                if not written and _sha256s(file, dtype, limit) != entry[f"{name}_sha256"]:
                    return None
                # An empty file cannot be mapped.
                arrays.append(np.memmap(file, dtype, "r", shape=(num,)) if num or limit else np.empty(0, dtype))
            with contextlib.suppress(OSError):  # A cache that is read-only removes nothing by age.
                os.utime(path / "entry.json")
        except (OSError, KeyError, TypeError, ValueError):
            if written:
                raise
            return None
        stack.pop_all()
    ids, unknown = arrays
    weakref.finalize(ids._mmap, lock.close)
    return ids, unknown


def _sha256s(path: Path, id_type: np.dtype[Any] = UNKNOWN_TYPE, num_ids: int | None = None) -> list[str]:
    """Compute the SHA-256 of every `CHECK_BYTES` bytes of a file, on all cores.

    Raises ValueError unless all its ids are below `num_ids`, if that is given.
    """

    def check(start: int) -> str:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            # Not mapped: that would count as this process's memory.
            data = file.read(CHECK_BYTES)
        if num_ids is not None and int(np.frombuffer(data, id_type).max()) >= num_ids:
            raise ValueError(f"{path} has an id that is not in the alphabet")
        return hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(check, range(0, path.stat().st_size, CHECK_BYTES)))


def _sealed(value: dict[str, JSON]) -> bytes:
    """Return JSON after a line with its SHA-256."""
    data = json_to_bytes(value)
    return hashlib.sha256(data).hexdigest().encode("ascii") + b"\n" + data


def _unsealed(path: Path) -> dict[str, Any] | None:
    """Return what `_sealed` wrote to a file; None if it is missing, damaged or no regular file."""
    try:
        digest, _, data = read_capped(path, max_bytes=MAX_RECORD_BYTES).partition(b"\n")
        if hashlib.sha256(data).hexdigest().encode("ascii") != digest:
            return None
        value = json.loads(data)
    except (CheckpointError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _key(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode("ascii")).hexdigest()[:32]


def _entry_name(digest: str, vocab: Vocab) -> str:
    return _key([_FORMAT, digest, vocab.to_json()])


def _is_entry(path: Path) -> bool:
    return bool(_ENTRY_NAME.fullmatch(path.name)) and not path.is_symlink() and (path / "entry.json").is_file()


def _is_in_use(path: Path, name: str = "entry.json") -> bool:
    """Whether a process maps an entry or, with the name `ids.bin`, writes it."""
    try:
        with (path / name).open("r+b") as file:
            return not try_lock(file)
    except OSError:
        return False


def _remove(path: Path) -> None:
    """Remove an entry, or what stands in its place, at once for every other process. Errors are ignored."""
    hidden = path.with_name(f".{path.name}.old-{os.getpid()}")
    with contextlib.suppress(OSError):
        os.rename(path, hidden)
        if hidden.is_dir() and not hidden.is_symlink():
            shutil.rmtree(hidden, ignore_errors=True)
        else:
            hidden.unlink()


def _used(path: Path) -> float:
    """Return when an entry or a record was used last, in seconds since the epoch; 0 if it is gone."""
    try:
        return (path / "entry.json" if path.is_dir() else path).stat().st_mtime
    except OSError:
        return 0.0


def _num_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0

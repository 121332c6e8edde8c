"""Write files atomically and synced, read them with a size limit, and lock open files; errors name
the path."""

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeAlias

from charrnn.errors import CharRNNError, CheckpointError, counted

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
"""A value that JSON can represent."""

MAX_LINE_BYTES = 1 << 16
"""The longest line of a log that is read as a whole: a record has some hundred bytes."""
MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Maximum size of a configuration, an alphabet or a manifest: more than any of them needs, and
small enough to read at once."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""The first bytes of the pointer that Git LFS puts in the place of a large file."""
_BEFORE_HOME = re.compile(r"(?:@|[\w-]+[=:])?(?=~)")


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data` atomically. Raises CharRNNError when it cannot be
    written; then it stays as it was.

    It is for files that are replaced: a log, a text, a result. `write_synced` is for new files of a
    checkpoint, which is renamed as a whole.
    """
    # A hidden file in the same folder, because a rename is atomic only within a file system.
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    with convert_os_errors("write", path=path, num_bytes=len(data)):
        try:
            temporary.unlink(missing_ok=True)
            write_synced(temporary, data)
            with contextlib.suppress(OSError):  # There may be no file yet.
                shutil.copymode(path, temporary)
            os.replace(temporary, path)
            fsync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def with_home(name: str) -> str:
    """Return a typed name with the folder of the user in place of ~ at its beginning, also after @
    or after "NAME=" and "NAME:".

    The shell does so only at the beginning of a word, and not in `--out=~/x`.
    """
    # The shell leaves ~ as it is in --out=~/run, in quotes and in a file: a folder of that name
    # would be made, which nobody dares to remove.
    prefix = _BEFORE_HOME.match(name)
    if prefix is None:
        return name
    return prefix[0] + os.path.expanduser(name[prefix.end() :])


def behind_links(path: Path) -> Path:
    """Return the target of the link `path`, or `path` itself if it is no link. The file need not
    exist.

    Whoever replaces a file replaces what a link leads to, and not the link.
    """
    # `resolve` is not used, because in Python 3.10 to 3.12 it fails for circular links.
    return Path(os.path.realpath(path))


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and sync it, so that it survives a power failure. Raises OSError,
    FileExistsError included."""
    # The file must be new: an existing name may be a link to another file, which came with a
    # downloaded run. Its content must be on the disk before the file is renamed: otherwise the
    # renamed file could be empty after a power failure.
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def fsync_folder(path: Path) -> None:
    """Sync a folder, so that creations and renames in it survive a power failure. Raises OSError.

    `write_synced` makes the content of a file safe, and this its name.
    """
    if sys.platform == "win32":
        return  # Windows cannot open folders, and journals renames itself.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot sync a folder. A run that is not safe after a
        # power failure is still better than none.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Create a folder and its parents and sync them; if that fails, the folder is removed again.
    Raises OSError.

    `mkdir` leaves folders behind when it fails in the middle, and a new folder may be gone after a
    power failure.
    """
    if not path.parent.exists():
        with contextlib.suppress(FileExistsError):  # Another process may create it.
            make_folder(path.parent)

    path.mkdir()
    try:
        fsync_folder(path.parent)
    except OSError:
        path.rmdir()
        raise


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove the files of these names from a folder, and the folder unless others are in it. Raises
    OSError.

    It is used in place of `shutil.rmtree`: what somebody else has put into the folder stays, also a
    folder of such a name.
    """
    for name in names:
        path = folder / name
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
    if not os.listdir(folder):
        folder.rmdir()


def bytes_of_folder(folder: Path) -> int:
    """Return the size of all files in a folder and its folders. What cannot be read counts as
    empty."""
    num_bytes = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            num_bytes += path.lstat().st_size
    return num_bytes


def forms_of(name: str) -> list[str]:
    """Return the name of a file as it is typed and, if they differ, in the forms of Unicode in
    which file systems may have it: é is one character or two (NFC, NFD).

    A Mac may write a name in another form than a keyboard types it.
    """
    import unicodedata

    names = [name]
    for form in ("NFC", "NFD"):
        if unicodedata.normalize(form, name) not in names:
            names.append(unicodedata.normalize(form, name))
    return names


def encode_text(text: str) -> bytes:
    """Encode any text as UTF-8, lone surrogates as backslash escapes.

    Use it for files and manifests, which must be written whatever a text contains;
    `text.vocab.encode_text` makes ids.
    """
    # Lone surrogates come from file names that are not UTF-8; an escape in a text is better than a
    # failed run.
    return text.encode("utf-8", "backslashreplace")


def read_capped(path: Path, *, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Read a file. Raises CheckpointError if it is missing, a link, not a regular file, too large
    or a pointer of Git LFS.

    Everything that may come from somebody else is read by it: a file of gigabytes or a link to a
    device ends in an error.
    """
    with convert_os_errors("read", path=path, kind=CheckpointError):
        _check_readable(path, max_bytes)
        return path.read_bytes()


def capped_lines(path: Path, *, max_bytes: int) -> Iterator[bytes]:
    """Yield the lines of a file, with their ends, of which one is in memory. Of a line of more than
    MAX_LINE_BYTES the beginning is yielded. Raises the errors of `read_capped`.

    A log may have a gigabyte, and is read by whoever lists a run of somebody else.
    """
    with convert_os_errors("read", path=path, kind=CheckpointError):
        _check_readable(path, max_bytes)
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                rest = line
                while rest and not rest.endswith(b"\n"):
                    rest = file.readline(MAX_LINE_BYTES)
                # The end of a line tells that it is whole.
                if rest and rest is not line:
                    line += b"\n"
                yield line


def _check_readable(path: Path, max_bytes: int) -> None:
    """Raise the errors of `read_capped`."""
    check_regular(path)
    # The size is checked first, because the content could fill the memory.
    size = path.lstat().st_size
    if size > max_bytes:
        raise CheckpointError(
            f"{path} is damaged: {counted(size, 'byte')}, expected at most {max_bytes:,}"
        )
    check_no_pointer(path)


def check_no_pointer(path: Path) -> None:
    """Raise CheckpointError if a file is a pointer of Git LFS, OSError if it cannot be read.

    A clone without Git LFS has a line of text in place of a model, which would only be called
    damaged.
    """
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise CheckpointError(
                f"{path} is a Git LFS pointer, not the file itself: fetch that with git lfs pull"
            )


def check_regular(path: Path) -> None:
    """Raise CheckpointError if `path` exists and is not a regular file."""
    # A link could point to any file of the user's machine, and a pipe may never end.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise CheckpointError(f"{path} is not a regular file")


def parse_json(path: Path, data: bytes) -> object:
    """Parse the content `data` of the JSON file at `path`. Raises CheckpointError naming the file
    if it is invalid or gives a key twice.

    It is stricter than `json.loads`, in which the last of two equal keys wins.
    """
    try:
        return json.loads(data, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: not JSON ({error})") from error


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # JSON does not define which of two values of a key counts: one parser could check the first,
    # and another parser could use the second.
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a key is given twice")
    return entries


def json_to_bytes(value: JSON) -> bytes:
    """Serialize to indented ASCII JSON, one entry a line.

    Use it for files that people may open and compare; `views.delivery.to_json` writes a result on
    one line.
    """
    return (json.dumps(value, indent=2) + "\n").encode("ascii")


@contextlib.contextmanager
def convert_os_errors(
    action: str,
    path: Path,
    *,
    num_bytes: int | None = None,
    kind: type[CharRNNError] = CharRNNError,
) -> Iterator[None]:
    """Convert an OSError into a CharRNNError, or into `kind`, which names the action, the path, the
    reason and, if the disk is full, the size.

    Put it around everything that touches files for a user: an error of Python names neither what
    was tried nor how much room it takes.
    """
    try:
        yield
    except OSError as error:
        problem = f"cannot {action} {path}: {error.strerror or error}"
        # If the disk is full, the message says how much space is needed.
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if is_full and num_bytes is not None:
            problem += f" ({counted(num_bytes, 'byte')} needed)"
        raise kind(problem) from error


NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""The errors of a file system, mostly of a network, or of a Python that has no locks."""


def try_lock(file: IO[bytes]) -> bool | None:
    """Lock an open file until it is unlocked or the process ends; return False if another process
    holds the lock, None if the file system or this Python has no locks. Windows lets nobody else
    read the file then. Raises OSError.

    `runs.writer.lock_folder` is what locks a run: it also works where this returns None.
    """
    from filelock import lock_descriptor  # here, so that reading a run starts sooner

    try:
        return lock_descriptor(file.fileno(), blocking=False)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None


def unlock(file: IO[bytes]) -> None:
    """Free a lock. Raises OSError."""
    from filelock import unlock_descriptor

    # Closing the file is not enough: a forked worker that has inherited the descriptor would keep
    # the lock.
    unlock_descriptor(file.fileno())

"""A disk that fails, or a process that dies, at one chosen operation on the files below a folder.

Opening, listing, renaming and removing are seen by an audit hook, which no way of asking for them
passes by; writing and syncing, of which Python tells no hook, are wrapped. Nothing is really
synced: that would take minutes.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_EVENTS = {
    "open": "open",
    "os.mkdir": "mkdir",
    "os.rename": "rename",
    "os.remove": "unlink",
    "os.rmdir": "rmdir",
}
_EVENTS |= {"os.scandir": "list", "os.listdir": "list"}


class Killed(BaseException):
    """The process is gone. Every later operation raises this too, so that nothing cleans up."""


@dataclass
class FaultyDisk:
    """What was asked of the disk, in order; the operation of number `at` (from 1) raises what
    `fault` makes."""

    root: Path
    at: int | None = None
    fault: Callable[[], BaseException] = Killed
    seen: list[tuple[str, str]] = field(default_factory=list)
    """Each operation and the path it is on, relative to `root`; of a rename, the new name."""
    unsynced: set[int] = field(default_factory=set)
    """Inodes of files that were written and not synced since."""
    is_dead: bool = False

    def touch(self, operation: str, path: object) -> None:
        """Note an operation about to be made, and fail if its turn has come."""
        if self.is_dead:
            raise Killed
        if not isinstance(path, str | bytes | os.PathLike):
            return
        place = Path(os.fsdecode(path))
        if self.root.name in place.parts[:1]:
            place = self.root.parent / place
        if place.is_absolute() and not place.is_relative_to(self.root):
            return
        # A relative name is of a folder held open, which only `shutil.rmtree` does.
        self.seen.append(
            (operation, str(place.relative_to(self.root)) if place.is_absolute() else place.name)
        )
        if len(self.seen) == self.at:
            error = self.fault()
            self.is_dead = isinstance(error, Killed)
            raise error

    def cut_power(self) -> None:
        """Take back what was never synced."""
        for path in self.root.rglob("*"):
            if path.is_file() and path.stat().st_ino in self.unsynced:
                path.write_bytes(b"")


_active: list[FaultyDisk] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _active and event in _EVENTS:
        disk = _active[-1]
        # What the disk itself does, or pytest, is below another folder or not while a disk is
        # active.
        path = None
        if event == "os.rename":
            path = arguments[1]
        elif arguments:
            path = arguments[0]
        disk.touch(_EVENTS[event], path)


class _File:
    """A file that counts its writes; one that fails has written the first half."""

    def __init__(self, file: Any, disk: FaultyDisk, path: str) -> None:
        self._file = file
        self._disk = disk
        self._path = path

    def write(self, data: bytes) -> int:
        self._disk.unsynced.add(os.fstat(self._file.fileno()).st_ino)
        try:
            self._disk.touch("write", self._path)
        except BaseException:
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            raise
        return int(self._file.write(data))

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def faulty_disk(
    root: Path, at: int | None = None, fault: Callable[[], BaseException] = Killed
) -> Iterator[FaultyDisk]:
    """Watch all that is done below `root` in here; without `at` nothing fails."""
    if not _hook_is_in:
        sys.addaudithook(_hook)
        _hook_is_in.append(True)
    disk = FaultyDisk(root, at, fault)
    real_open = io.open

    def open_(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        opened = real_open(file, mode, *rest, **options)
        is_ours = isinstance(file, str | os.PathLike) and Path(file).absolute().is_relative_to(root)
        return (
            _File(opened, disk, os.fspath(file)) if is_ours and mode not in ("r", "rb") else opened
        )

    def fsync(descriptor: int) -> None:
        disk.touch("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        disk.unsynced.discard(os.fstat(descriptor).st_ino)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", open_)
        if sys.version_info < (3, 11):  # whose pathlib has kept the function
            patch.setattr("pathlib._NormalAccessor.open", staticmethod(open_))
        patch.setattr(os, "fsync", fsync)
        _active.append(disk)
        try:
            yield disk
        finally:
            _active.pop()


_hook_is_in: list[bool] = []

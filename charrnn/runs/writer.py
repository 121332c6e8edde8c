"""A run folder as training writes it: created once, locked while training, saved to in commits.

A commit writes to the disk, in this order:

1. the files of the checkpoint, into a temporary folder, the manifest last;
2. the name: the folder is renamed to `step-NNNNNNNN`. From here on the checkpoint counts. One that
   is there already is set aside before, and put back if a kill comes between the two;
3. `best` and `latest`, for people and other programs;
4. the removal of checkpoints that are no longer kept.

Each waits until the one before is on disk (fsync). Wherever that is interrupted, the newest
complete checkpoint is the latest one, and its state names the best one. A run that fails before its
first save is removed again.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from charrnn.errors import CharRNNError, CheckpointError, RunInUseError, UsageError, counted, named
from charrnn.runs.checkpoint import (
    MANIFEST,
    Checkpoint,
    Tensors,
    best_checkpoint,
    checkpoint_name,
    checkpoint_step,
    checkpoint_to_bytes,
    read_checkpoint,
)
from charrnn.runs.description import CONFIG, VOCAB, NewerFormatError, RunDescription
from charrnn.runs.reader import MAX_OWNER_BYTES, RunReader, check_not_in_use
from charrnn.system import files
from charrnn.system.process import (
    ending_signals_delayed,
    is_running,
    named_process,
    process_identity,
)


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[IO[bytes]]:
    """Lock `folder` for this process; the operating system frees it when the process ends, however
    it ends.

    Yield the file, whose lock a process that inherits it keeps. The file contains the identity of
    this process. Where the file system has no locks, or locks that exclude nobody, that is what
    keeps a second process away (`RunWriter.check_in_place`).

    Raises RunInUseError at once when another process has locked it, CharRNNError when the folder
    cannot be locked, CheckpointError when its lock is a link, through which another file would be
    emptied.
    """
    with contextlib.ExitStack() as stack:
        with files.convert_os_errors("lock", path=folder):
            path = folder / "lock"
            files.check_regular(path)
            # Opened for appending, which neither empties nor touches the file of a run in use.
            file = stack.enter_context(path.open("a+b", buffering=0))
            _take_lock(file, folder=folder, stack=stack)

            # For the message of the next process: which one to wait for.
            own = process_identity(os.getpid()).encode("ascii")
            with files.convert_os_errors("write", path=path, num_bytes=len(own)):
                file.truncate(0)
                file.write(own)

        def clear() -> None:
            if _owner(file) == own.decode("ascii"):
                file.truncate(0)

        stack.callback(clear)
        yield file


def _take_lock(file: IO[bytes], *, folder: Path, stack: contextlib.ExitStack) -> None:
    """Lock an open lock file until `stack` is closed. Raises RunInUseError, or OSError."""
    is_locked: bool | None = None
    try:
        is_locked = files.try_lock(file)
    except OSError as error:
        if error.errno not in files.NO_LOCKS:
            raise
    if is_locked:
        stack.callback(files.unlock, file)

    # Read only now: whoever held the lock has cleared the file.
    owner = _owner(file)
    is_in_use = is_locked is False or is_running(owner)
    remedy = "wait for it or stop it, or start a new run"
    if is_locked is None and is_in_use is None and owner:  # of another host
        is_in_use = True
        remedy += f"\nif it has ended, remove {folder / 'lock'}"

    # A run without a checkpoint may have been removed and created again since: then this lock is
    # deleted.
    try:
        is_removed = not os.path.samestat(os.fstat(file.fileno()), (folder / "lock").stat())
    except FileNotFoundError:  # not yet created again
        is_removed = True
    if is_in_use or is_removed:
        raise RunInUseError(f"{folder} is in use by {named_process(owner)}\n{remedy}")


def _owner(file: IO[bytes]) -> str:
    """Return the identity of the process that a lock file names, "" if it names none."""
    file.seek(0)
    return file.read(MAX_OWNER_BYTES).decode("ascii", "replace")


class RunWriter(RunReader):
    """The folder of one run, for writing. Every method of this class but the constructors needs
    `lock_folder`."""

    __slots__ = ()

    @classmethod
    def create(cls, parent: Path, name: str) -> RunWriter:
        """Make `parent/name-NNN` with the number after the highest in use; safe against
        simultaneous starts.

        Raises CharRNNError when the folder cannot be made.
        """
        with files.convert_os_errors("create a run folder in", path=parent):
            if not parent.is_dir():
                with contextlib.suppress(FileExistsError):  # Another start may make it.
                    files.make_folder(parent)

            # After the highest number, not the first free one: a gap is a run that was removed, and
            # whose name may still stand in somebody's notes.
            pattern = re.compile(re.escape(name) + r"-([0-9]{3,})")
            number = 0
            for entry in parent.iterdir():
                match = pattern.fullmatch(entry.name)
                if match is not None:
                    number = max(number, int(match[1]))

            # Another start may take the number first: making the folder is what decides.
            while True:
                number += 1
                path = parent / f"{name}-{number:03d}"
                with contextlib.suppress(FileExistsError):
                    files.make_folder(path)
                    return cls(path)

    @classmethod
    def create_at(cls, path: Path, *, can_resume: bool = True) -> RunWriter:
        """Make exactly `path`, or take it over when it is an empty folder.

        Raises RunInUseError when another process trains there, UsageError when it exists and is not
        an empty folder, CharRNNError when it cannot be made.
        """
        with files.convert_os_errors("create", path=path):
            try:
                files.make_folder(path)
            except FileExistsError:
                if not path.is_dir() or any(path.iterdir()):
                    check_not_in_use(path)
                    is_run = (path / CONFIG).exists()
                    problem = f"{path} exists already"
                    remedy = f"give {named('out')} another name"
                    if not is_run:
                        problem += " and is no run"
                    elif can_resume:
                        remedy = f"continue it with {named('resume', path)}, or {remedy}"
                    raise UsageError(f"{problem}\n{remedy}") from None
        return cls(path)

    def write_description(self, description: RunDescription) -> None:
        """Write the run's own `config.yaml` and `vocab.json`. Raises CharRNNError when one cannot
        be written."""
        for name, data in description.files().items():
            files.write_atomically(self.path / name, data)

    def commit(
        self,
        *,
        step: int,
        model: Tensors,
        training: Tensors,
        state: Mapping[str, files.JSON],
        description: RunDescription,
        keep: int,
    ) -> None:
        """Save a checkpoint, update the pointers and prune. Raises as these three do."""
        payloads = checkpoint_to_bytes(
            step=step, model=model, training=training, state=state, description=description
        )
        path = self.save_checkpoint(step, payloads)
        # The checkpoint counts now; what follows can fail, or be done again by the next process.
        self.write_pointers(path.name, state)
        self.prune(keep, path.name, best_checkpoint(state))

    def check_in_place(self) -> None:
        """Raise CharRNNError if another process moved or removed the run: what is saved would not
        be a whole run. Raise RunInUseError if another process has taken the run over."""
        if not all((self.path / name).exists() for name in ("lock", CONFIG, VOCAB)):
            raise CharRNNError(
                f"{self.path} was moved or removed while it trained, or files of it were\n"
                f"put it back and continue with {named('resume')}, or train again"
            )

        # On some network folders two processes get the lock.
        path = self.path / "lock"
        with files.convert_os_errors("read", path=path), path.open("rb") as file:
            owner = _owner(file)
        if owner != process_identity(os.getpid()):
            raise RunInUseError(
                f"{self.path} was taken over by {named_process(owner)}, so this process saves"
                " nothing more\n"
                "the folder has no working locks: train a run in one process at a time"
            )

    def restore_replaced(self) -> None:
        """Bring back a checkpoint that a process set aside, and was killed before it had replaced
        it."""
        for aside in self.path.glob(".step-*.old-*"):
            with contextlib.suppress(OSError):  # The new one is there.
                os.rename(aside, self.path / aside.name[1:].partition(".")[0])

    def continue_from(self, loaded: Checkpoint) -> None:
        """Make the checkpoint from which training continues the newest one, and repair the
        pointers.

        Later checkpoints are damaged, or one of them would have been loaded: they are kept under
        another name. Raises CharRNNError if the folder cannot be changed.
        """
        with files.convert_os_errors("clean up", path=self.path):
            files.remove_temporaries(self.path)

        # Not removed: somebody may still repair them.
        for name in self.checkpoints():
            if checkpoint_step(name) > loaded.step:
                aside = self.path / f"damaged-{name}"
                with files.convert_os_errors("set aside", path=self.path / name):
                    shutil.rmtree(aside, ignore_errors=True)
                    os.rename(self.path / name, aside)

        self.write_pointers(loaded.name, loaded.state)

    def write_pointers(self, latest: str, state: Mapping[str, files.JSON]) -> None:
        """Write the names of the newest checkpoint and of the best one, by its state, to `latest`
        and `best`.

        There is no `best` while that checkpoint does not exist.
        """
        best = best_checkpoint(state)
        pointer = self.path / "best"
        if best is not None and (self.path / best).is_dir():
            files.write_atomically(pointer, f"{best}\n".encode("ascii"))
        else:
            with files.convert_os_errors("remove", path=pointer):
                pointer.unlink(missing_ok=True)

        # Last: where it names the newest checkpoint, both are written.
        files.write_atomically(self.path / "latest", f"{latest}\n".encode("ascii"))

    def save_checkpoint(self, step: int, payloads: Mapping[str, bytes]) -> Path:
        """Save a checkpoint and return its folder; the pointers stay as they are. `payloads` are
        those of `checkpoint_to_bytes`.

        An existing checkpoint of that step is kept if it is intact and identical. Otherwise, as
        after a change of the schedule, it is replaced. On any failure nothing saved before is
        changed. Raises CharRNNError naming the folder, the reason and the bytes needed.
        """
        final = self.path / checkpoint_name(step)
        temporary = self.path / f".{final.name}.tmp-{os.getpid()}"
        try:
            files.remove_temporaries(self.path)
            if self._is_saved(final, payloads):
                return final

            # The files, the manifest last: `checkpoint_to_bytes` has them in that order.
            temporary.mkdir()
            for name, data in payloads.items():
                files.write_synced(temporary / name, data)
            files.fsync_folder(temporary)

            # The name makes it count. Only now: a folder of that name is always a whole checkpoint.
            if os.path.lexists(final):
                self._replace(final, temporary)
            else:
                os.rename(temporary, final)
            files.fsync_folder(self.path)
        except OSError as error:
            needed = sum(map(len, payloads.values()))
            raise CharRNNError(
                f"cannot save {final}: {error.strerror or error} ({counted(needed, 'byte')}"
                " needed)\nwhat was saved before is untouched"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return final

    def prune(self, keep: int, *needed: str | None) -> None:
        """Remove the oldest checkpoints so that `keep` remain besides the newest one and those
        `needed`.

        Raises CharRNNError when one cannot be removed.
        """
        removable = [name for name in self.checkpoints()[:-1] if name not in needed]
        for name in removable[: max(len(removable) - keep, 0)]:
            with files.convert_os_errors("remove", path=self.path / name):
                # Renamed first: a crash in between leaves a temporary folder, never a damaged
                # checkpoint.
                shutil.rmtree(_set_aside(self.path / name, "tmp"))

    def _is_saved(self, folder: Path, payloads: Mapping[str, bytes]) -> bool:
        """Whether an intact checkpoint with these bytes exists. Raises NewerFormatError for one of
        a newer charrnn."""
        try:
            read_checkpoint(folder, with_training=True)
            saved = files.read_capped(folder / MANIFEST, max_bytes=files.MAX_TEXT_BYTES)
        except NewerFormatError:
            raise
        except CheckpointError:
            return False  # Missing, as it should be, or damaged.
        return saved == payloads[MANIFEST]

    def _replace(self, final: Path, temporary: Path) -> None:
        """Replace a checkpoint by `temporary`; on failure it is restored. Raises OSError."""
        # Two renames, since no folder can be renamed to one that is not empty. A process that is
        # killed between them leaves it to `restore_replaced`.
        replaced = _set_aside(final, "old")
        try:
            os.rename(temporary, final)
        except OSError:
            os.rename(replaced, final)
            raise
        shutil.rmtree(replaced)


def _set_aside(folder: Path, kind: str) -> Path:
    """Rename a checkpoint to a name that counts as temporary, and return its new path. Raises
    OSError."""
    aside = folder.with_name(f".{folder.name}.{kind}-{os.getpid()}")
    os.rename(folder, aside)
    return aside


_FIRST_FILES = (CONFIG, VOCAB, "lock")
"""The files in a run's folder before its first save, besides temporary ones. `lock`, which
identifies it, goes last."""


def clear_unsaved(path: Path) -> None:
    """Empty the folder `path` if it belongs to a run that was killed before its first save.

    Raises UsageError if anything else exists there; RunInUseError
    if that run is starting now.
    """
    if _is_unsaved(path):
        with lock_folder(path), files.convert_os_errors("clean up", path=path):
            # Looked at again under the lock: that run may have saved since.
            if _is_unsaved(path):
                _remove_first_files(path)
    if os.path.lexists(path):
        RunWriter.create_at(path)


@contextlib.contextmanager
def new_run(create: Callable[[], RunWriter]) -> Iterator[RunWriter]:
    """Create a run's folder and lock it; if this block fails before anything is saved there, remove
    the folder.

    Raises what `create` and `lock_folder` raise.
    """
    with contextlib.ExitStack() as stack:

        def remove_unless_saved(kind: type[BaseException] | None, *_: object) -> None:
            if kind is None or issubclass(kind, RunInUseError):
                return  # Another process has taken it over.
            with contextlib.suppress(OSError, CheckpointError):
                if not run.checkpoints():
                    _remove_first_files(run.path)
                    run.path.rmdir()

        # A signal after the folder is made and before its removal is arranged would leave it
        # behind.
        with ending_signals_delayed():
            run = create()
            stack.push(remove_unless_saved)
            stack.enter_context(lock_folder(run.path))
        yield run


def _remove_first_files(path: Path) -> None:
    """Remove what a run without a save wrote, by name: any other file there is the user's. Raises
    OSError."""
    files.remove_temporaries(path)
    for name in _FIRST_FILES:
        (path / name).unlink(missing_ok=True)


def _is_unsaved(path: Path) -> bool:
    try:
        names = {name for name in os.listdir(path) if not name.startswith(".")}
        # The lock contains the number of the process that died; a user's own file `lock` would
        # contain something else.
        owner = files.read_capped(path / "lock", max_bytes=MAX_OWNER_BYTES)
    except (OSError, CheckpointError):
        return False
    is_identity = re.fullmatch(rb"([0-9]+( \S+ \w+)?)?", owner) is not None
    return is_identity and names <= set(_FIRST_FILES)

"""Write a run folder: create it once, lock it while training, save checkpoints in commits.

A commit has four stages, in this order:

1. The files of the checkpoint are written into a temporary folder, the manifest last.
2. The temporary folder is renamed to `step-NNNNNNNN`. From here on the checkpoint counts. An
   existing checkpoint of that step is renamed before, and restored if the process is killed between
   the two renames.
3. The files `best` and `latest` are written, for people and other programs.
4. Checkpoints that are no longer kept are removed.

Each stage begins when the stage before is on disk (fsync). After an interruption at any point, the
newest complete checkpoint is the latest one, and its state names the best one. The folder of a run
that fails before its first save is removed again.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO

from charrnn.config.settings_file import SEAL_START
from charrnn.errors import CharRNNError, CheckpointError, RunInUseError, UsageError, counted, named
from charrnn.runs.checkpoint import (
    CONFIG,
    VOCAB,
    Checkpoint,
    RunDescription,
    Tensors,
    best_checkpoint,
    checkpoint_name,
    checkpoint_step,
    checkpoint_to_bytes,
    is_checkpoint,
    is_checkpoint_name,
    remove_checkpoint,
)
from charrnn.runs.destinations import check_outside_runs
from charrnn.runs.logs import MetricsLog, SampleLog
from charrnn.runs.reader import (
    CHECKPOINTS,
    IN_USE_REMEDY,
    MAX_OWNER_BYTES,
    RunReader,
    check_not_in_use,
    choose_run,
    find,
    find_run,
    is_step_folder,
    paths_of,
)
from charrnn.system import files
from charrnn.system.process import (
    ending_signals_delayed,
    is_running,
    named_process,
    process_identity,
)
from charrnn.text.kept_texts import KEPT_TEXTS, is_sealed, pack_texts, seal_of
from charrnn.text.sources import is_run_folder


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock `folder` for this process.

    Whoever writes into the folder of a run takes it first, and holds it until the end; readers need
    none. The operating system releases the lock when this process ends, however it ends, unless a
    child process has inherited the file. The file contains the identity of this process. It keeps a
    second process away (`RunWriter.check_still_owned`) on a file system that has no locks, or whose
    locks exclude nobody.

    Raises RunInUseError at once if another process has locked the folder, CharRNNError if the
    folder cannot be locked, CheckpointError if the lock file is a link, because the file to which
    it leads would be emptied.
    """
    path = folder / "lock"
    identity = process_identity(os.getpid())
    with contextlib.ExitStack() as stack:
        with files.convert_os_errors("lock", path=folder):
            files.check_regular(path)
            # The mode "append" does not change the file of a run that is in use.
            file = stack.enter_context(path.open("a+b", buffering=0))
            is_locked = files.try_lock(file)
            if is_locked:
                stack.callback(files.unlock, file)
            _check_not_owned(file, path=path, is_locked=is_locked)

            # The next process names this one in its error message.
            file.truncate(0)
            file.write(identity.encode("ascii"))

        try:
            yield
        finally:
            # Another process may have taken the run over.
            if _owner(file) == identity:
                file.truncate(0)


def _check_not_owned(file: IO[bytes], path: Path, is_locked: bool | None) -> None:
    """Raise RunInUseError if another process owns an open lock file; `is_locked` is what
    `try_lock` returned."""
    # The owner is read only now: the process that held the lock has cleared the file.
    owner = _owner(file) or ""
    is_in_use = is_locked is False or is_running(owner)
    remedy = IN_USE_REMEDY
    if is_locked is None and is_in_use is None and owner:  # The owner runs on another host.
        is_in_use = True
        remedy += f"\nif it has ended, remove {path}"

    # Another process may have removed the run and created it again since the lock file was opened:
    # then this file is a deleted one.
    is_same = path.exists() and os.path.samefile(path, file.fileno())
    if is_in_use or not is_same:
        raise RunInUseError(f"{path.parent} is in use by {named_process(owner)}\n{remedy}")


def _owner(file: IO[bytes]) -> str | None:
    """Return the identity of the process in a lock file, "" if the file is empty; None if it is
    locked on Windows."""
    file.seek(0)
    try:
        return file.read(MAX_OWNER_BYTES).decode("ascii", "replace")
    except PermissionError:
        return None


def check_new(path: Path) -> None:
    """Check that a run can be created at `path`: that nothing is there, or an empty folder.

    Raises RunInUseError if another process trains there, UsageError if anything else is there or it
    is inside a run.
    """
    check_outside_runs(path)
    if os.path.lexists(path) and not (path.is_dir() and not os.listdir(path)):
        check_not_in_use(path)
        remedy = f"give {named('out')} another name"
        if is_run_folder(path):
            remedy += f"; a run is continued by {named('resume', path)}"
        raise UsageError(f"{path} exists already\n{remedy}")


class RunWriter(RunReader):
    """Write the folder of one run. All methods of this class except `create` and `create_at` need
    the lock of `lock_folder`.

    `TrainingSession` saves by it. `new_run` makes the folder and the lock for a new run; for an old
    one, `lock_folder` comes before.
    """

    @classmethod
    def create(cls, parent: Path, name: str) -> RunWriter:
        """Create the folder `parent/name-NNN` with the number after the highest existing one.

        It chooses a name for a user who gave none; `create_at` takes the one that was given.

        Processes that start at the same time get different numbers. Raises UsageError inside a run,
        CharRNNError if the folder cannot be created.
        """
        check_outside_runs(parent / name)

        # Gaps in the numbers are not filled: a gap is a run that was removed, and the user may have
        # noted its name.
        pattern = re.compile(re.escape(name) + r"-([0-9]{3,})")
        matches = [pattern.fullmatch(entry.name) for entry in parent.glob("*")]
        number = max((int(match[1]) for match in matches if match), default=0)

        # Another process may take the number first: the process that creates the folder has it.
        while True:
            number += 1
            path = parent / f"{name}-{number:03d}"
            with files.convert_os_errors("create", path=path), contextlib.suppress(FileExistsError):
                files.make_folder(path)
                return cls(path)

    @classmethod
    def create_at(cls, path: Path) -> RunWriter:
        """Create the folder `path`, or use it if it is an empty folder. Raises the errors of
        `check_new`, CharRNNError if it cannot be created."""
        with files.convert_os_errors("create", path=path):
            check_new(path)
            with contextlib.suppress(FileExistsError):
                files.make_folder(path)
        return cls(path)

    @property
    def metrics(self) -> MetricsLog:
        """The log of the steps and the validations."""
        return MetricsLog(self.path / "metrics.jsonl")

    @property
    def samples(self) -> SampleLog:
        """The samples that were written while the run trained."""
        return SampleLog(self.path / "samples.txt")

    def write_description(self, description: RunDescription) -> None:
        """Write `config.yaml` and `vocab.json` into the run's folder. Raises CharRNNError if one of
        them cannot be written."""
        for name, data in description.files().items():
            files.write_atomically(self.path / name, data=data)

    def write_document_texts(
        self, texts: Mapping[str, str], recorded: object = None
    ) -> dict[str, files.JSON] | None:
        """Keep the texts that were read from documents beside the run, unless there are none, and
        return the seal of their file for the checkpoints.

        The file that a checkpoint has `recorded` stays, if it is whole. Raises CharRNNError.
        """
        if not texts:
            return None
        # Another version of the library that compresses would make other bytes of the same texts.
        if isinstance(recorded, dict) and is_sealed(self.path, seal=recorded):
            return recorded
        packed = pack_texts(texts)
        files.write_atomically(self.path / KEPT_TEXTS, packed)
        return seal_of(packed)

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
        """Save a checkpoint, update the pointers and prune old checkpoints.

        A training calls it, and none of the three parts by itself. Raises the errors of
        `save_checkpoint`, `write_pointers` and `prune`.
        """
        payloads = checkpoint_to_bytes(
            step=step, model=model, training=training, state=state, description=description
        )
        path = self.save_checkpoint(step, payloads=payloads)
        # The checkpoint counts now. The next two calls may fail: the next process repeats them.
        self.write_pointers(path.name, state=state)
        self.prune(keep, needed=(path.name, best_checkpoint(state)))

    def check_still_owned(self) -> None:
        """Check that a checkpoint can be saved in this folder.

        It is called before every save: a folder that was moved while the run trained must not be
        made anew with one checkpoint in it.

        Raises CharRNNError if the run or its files were moved or removed, because a checkpoint
        alone is not a whole run, and RunInUseError if another process has taken the run over.
        """
        if not all((self.path / name).exists() for name in ("lock", CONFIG, VOCAB)):
            raise CharRNNError(
                f"{self.path} was moved or removed while it trained, or files of it were\n"
                f"put it back and continue with {named('resume')}, or train again"
            )

        # Another process has the lock of a folder that was made anew, or the same lock on some
        # network file systems, but only from another host.
        path = self.path / "lock"
        with files.convert_os_errors("read", path=path), path.open("rb") as file:
            owner = _owner(file)
        # Where a locked file cannot be read, it cannot be replaced, either.
        if owner not in (None, process_identity(os.getpid())):
            raise RunInUseError(
                f"{self.path} was taken over by {named_process(owner)}, so this process saves"
                " nothing more\ntrain a run in one process at a time"
            )

    def remove_unsaved(self, error: type[BaseException] | None, *_: object) -> None:
        """Remove the folder of a run that ends with an error before anything is saved there, unless
        another process has taken it over."""
        if error is None or issubclass(error, RunInUseError):
            return
        with contextlib.suppress(OSError, CheckpointError):
            if not self.checkpoints():
                _remove_files(self.path)

    def restore_replaced(self) -> None:
        """Restore a checkpoint that was renamed in order to replace it, if that failed or the
        process was killed before it had replaced it."""
        for aside in sorted(self.path.glob(".step-*.old-*")):
            with contextlib.suppress(OSError):  # The new checkpoint exists.
                os.rename(aside, self.path / aside.name[1:].partition(".")[0])

    def continue_from(self, checkpoint: Checkpoint) -> None:
        """Make the loaded checkpoint, from which training continues, the newest one, and repair the
        pointers.

        Later checkpoints are renamed to `damaged-…`: they are damaged, since otherwise one of them
        would have been loaded. Raises CharRNNError if the folder cannot be changed.
        """
        with files.convert_os_errors("clean up", path=self.path):
            _remove_temporaries(self.path)

            # Damaged checkpoints are not removed: the user may be able to repair them.
            for name in self.checkpoints():
                if checkpoint_step(name) > checkpoint.step:
                    aside = self.path / f"damaged-{name}"
                    if is_checkpoint(aside):
                        remove_checkpoint(aside)
                    os.rename(self.path / name, aside)

        self.write_pointers(checkpoint.name, state=checkpoint.state)

    def rewind(self, checkpoint: Checkpoint, keep: int) -> list[str]:
        """Remove what a process has left that was killed after it saved a checkpoint, from which
        training continues: old checkpoints that are no longer kept, and samples and records of
        later steps, which are taken again. Return messages about damaged lines of the log.

        `continue_from` comes before. Raises the errors of `prune` and of both logs.
        """
        self.prune(keep, needed=(checkpoint.name, best_checkpoint(checkpoint.state)))
        self.samples.rewind(checkpoint.step)
        return self.metrics.rewind(checkpoint.step)

    def log(self, record: Mapping[str, files.JSON]) -> None:
        """Add a record to the log of metrics. Raises CharRNNError if it cannot be written, with the
        reason if the run was moved or removed."""
        try:
            self.metrics.append(record)
        except CharRNNError:
            self.check_still_owned()
            raise

    def write_pointers(self, latest: str, state: Mapping[str, files.JSON]) -> None:
        """Write the name `latest` of the newest checkpoint to the file `latest`, and the name of
        the best checkpoint, which is in `state`, to the file `best`.

        If the best checkpoint does not exist, the file `best` is removed.
        """
        best = best_checkpoint(state)
        pointer = self.path / "best"
        if best in self.checkpoints():
            files.write_atomically(pointer, f"{best}\n".encode("ascii"))
        else:
            with files.convert_os_errors("remove", path=pointer):
                pointer.unlink(missing_ok=True)

        # `latest` is written last: if it names the newest checkpoint, `best` is up to date, too.
        files.write_atomically(self.path / "latest", f"{latest}\n".encode("ascii"))

    def save_checkpoint(self, step: int, payloads: Mapping[str, bytes]) -> Path:
        """Save a checkpoint and return its folder, without a change of the pointers.

        `payloads` are the files that `checkpoint_to_bytes` returns. An existing checkpoint of that
        step is replaced. If the save fails, no earlier checkpoint is changed, and CharRNNError
        names the folder, the reason and the bytes needed.
        """
        final = self.path / checkpoint_name(step)
        temporary = self.path / f".{final.name}.tmp-{os.getpid()}"
        try:
            _remove_temporaries(self.path)

            # Write the files in the order of `checkpoint_to_bytes`: the manifest is the last one.
            temporary.mkdir()
            for name, data in payloads.items():
                files.write_synced(temporary / name, data=data)
            files.fsync_folder(temporary)

            # A folder cannot be renamed to one that is not empty. If the process is killed between
            # the two renames, `restore_replaced` undoes the first.
            replaced = None
            if os.path.lexists(final):
                replaced = _set_aside(final, kind="old")

            # The folder gets its name only now, so that a folder of that name is always a complete
            # checkpoint.
            os.rename(temporary, final)
            if replaced is not None:
                remove_checkpoint(replaced)
            files.fsync_folder(self.path)
        except OSError as error:
            needed = sum(map(len, payloads.values()))
            raise CharRNNError(
                f"cannot save {final}: {error.strerror or error} ({counted(needed, 'byte')}"
                " needed)\nwhat was saved before is untouched"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                self.restore_replaced()
                if temporary.exists():
                    remove_checkpoint(temporary)
        return final

    def prune(self, keep: int, *, needed: Collection[str | None]) -> None:
        """Remove the oldest checkpoints, so that `keep` of them remain besides the newest one and
        the `needed` ones.

        Raises CharRNNError if a checkpoint cannot be removed.
        """
        folders = [self.path / name for name in self.checkpoints()[:-1] if name not in needed]
        removable = list(filter(is_checkpoint, folders))
        for folder in removable[: max(len(removable) - keep, 0)]:
            with files.convert_os_errors("remove", path=folder):
                # The folder is renamed first: a crash during the removal then leaves a temporary
                # folder, not a damaged checkpoint.
                remove_checkpoint(_set_aside(folder, kind="tmp"))


def _set_aside(folder: Path, kind: str) -> Path:
    """Rename a checkpoint to a name that counts as temporary, and return its new path. Raises
    OSError."""
    aside = folder.with_name(f".{folder.name}.{kind}-{os.getpid()}")
    os.rename(folder, aside)
    return aside


_FIRST_FILES = (KEPT_TEXTS, VOCAB, CONFIG, "lock")
"""The files in a run's folder before its first save, besides temporary files, in the order in which
they are removed: by its configuration a run is found whose removal was interrupted, and by `lock`
the folder of an unsaved run."""
_FILES = ("metrics.jsonl", "samples.txt", "latest", "best", *_FIRST_FILES)
"""All files of charrnn in a run's folder."""
_TEMPORARY = re.compile(r"\.(.+)\.(?:tmp|old)-[0-9]+")
"""The name of a temporary file or folder, with the name that it has in the end."""


def clear_unsaved(path: Path) -> None:
    """Remove the folder `path` if it belongs to a run that was killed before its first save.

    `create_at` refuses a folder with files in it: that of such a run has some, and nothing to lose.

    Raises the errors of `check_new` if anything else exists there, RunInUseError if that run is
    starting now.
    """
    if _is_unsaved(path):
        with lock_folder(path), files.convert_os_errors("clean up", path=path):
            # Check again under the lock: that run may have saved a checkpoint since.
            if _is_unsaved(path):
                _remove_files(path)
    check_new(path)


@contextlib.contextmanager
def new_run(path: Path | None, name: str) -> Iterator[RunWriter]:
    """Create a run's folder at `path`, or by default the next `checkpoints/NAME-001`, and lock it;
    remove the folder if the `with` block fails before anything is saved there.

    `RunWriter.create` alone leaves an empty run behind if the training fails before its first save.
    Raises the errors of `RunWriter.create`, `RunWriter.create_at` and `lock_folder`.
    """
    with contextlib.ExitStack() as stack:
        # A signal between the creation of the folder and the registration of its removal would
        # leave the folder behind.
        with ending_signals_delayed():
            run = RunWriter.create_at(path) if path else RunWriter.create(CHECKPOINTS, name)
            stack.push(run.remove_unsaved)
            stack.enter_context(lock_folder(run.path))
        yield run


@contextlib.contextmanager
def reopened_run(run: str | None) -> Iterator[RunWriter]:
    """Lock an old run, by default the one that saved last, to train it further, and mend what a
    killed process has left half done.

    `new_run` is for a run that is not there yet. Raises CheckpointError if there is no such run or
    nothing was saved in it, and the errors of `lock_folder`.
    """
    reopened = RunWriter(choose_run(run).path)
    with lock_folder(reopened.path):
        reopened.restore_replaced()
        reopened.saved_checkpoints()
        yield reopened


def find_deletable(run: str) -> Path:
    """Return the folder of a run by its path or name, also of one whose deletion was killed before
    its end. Raises the errors of `find_run`.

    `find_run` may not know what is left of it.
    """
    if find(run) is None:
        for path in paths_of(run):
            if _is_left_over(path):
                return path
    return find_run(run).path


def check_deletable(path: Path) -> None:
    """Raise UsageError for a link to a run and for a folder that charrnn did not write,
    RunInUseError while a process trains the run.

    It is asked of all runs that are to be deleted, before the first is: `delete_run` asks it again.
    """
    if path.is_symlink():
        raise UsageError(f"{path} is a link: name {path.resolve()}, to which it leads.")
    if not _is_left_over(path) and not any(map(is_checkpoint, path.glob("step-*"))):
        raise UsageError(
            f"{path} is not a run of charrnn, which wrote neither a checkpoint nor the {CONFIG} in"
            " it. Name a run (`charrnn runs` lists them); remove other folders by hand."
        )
    with lock_folder(path):
        pass


def _is_left_over(path: Path) -> bool:
    """Whether a folder has a configuration of charrnn, or else nothing but the lock of a run."""
    # A checkpoint has a copy of the configuration. It goes with its run, or not at all.
    if is_step_folder(path):
        return False
    # Other programs have files of that name, too.
    with contextlib.suppress(CheckpointError):
        if files.read_capped(path / CONFIG).startswith(SEAL_START.encode("ascii")):
            return True
    return _is_unsaved(path)


def delete_run(path: Path) -> None:
    """Remove a run: all that charrnn has written into its folder, and the folder itself, unless
    there are other files in it.

    Raises the errors of `check_deletable`, and CharRNNError if it cannot be removed.
    """
    check_deletable(path)
    with lock_folder(path), files.convert_os_errors("remove", path=path):
        # The checkpoints first: a run of which some are left can still be found, and deleted.
        for entry in sorted(path.glob("*step-*")):
            is_named = is_checkpoint_name(entry.name.removeprefix("damaged-"))
            if is_named and (is_checkpoint(entry) or _is_empty_folder(entry)):
                remove_checkpoint(entry)
        if sys.platform != "win32":
            _remove_files(path)

    # Windows removes no file that is open, as the lock is until here.
    if sys.platform == "win32":
        with files.convert_os_errors("remove", path=path):
            _remove_files(path)


def _is_empty_folder(path: Path) -> bool:
    """Whether this is a folder with nothing in it, which an earlier removal may have left."""
    return path.is_dir() and not path.is_symlink() and not os.listdir(path)


def _remove_temporaries(path: Path) -> None:
    """Remove the temporary files and folders of a run that killed processes left. Raises
    OSError."""
    # No other process is writing there, because the caller holds the lock of the folder.
    for entry in sorted(path.glob(".*")):
        match = _TEMPORARY.fullmatch(entry.name)
        if match is None:
            continue
        if is_checkpoint_name(match[1]) and entry.is_dir() and not entry.is_symlink():
            remove_checkpoint(entry)
        elif match[1] in _FILES:
            entry.unlink(missing_ok=True)


def _remove_files(path: Path) -> None:
    """Remove all files of a run but its checkpoints, and its folder unless others are in it. They
    are removed by name, because any other file belongs to the user. Raises OSError."""
    _remove_temporaries(path)
    files.remove_files(path, names=_FILES)


def _is_unsaved(path: Path) -> bool:
    try:
        names = {name for name in os.listdir(path) if not name.startswith(".")}
        # The file `lock` of a run contains the identity of a process; a file `lock` of the user
        # contains something else.
        owner = files.read_capped(path / "lock", max_bytes=MAX_OWNER_BYTES)
    except (OSError, CheckpointError):
        return False
    is_identity = re.fullmatch(rb"([0-9]+( \S+ \w+)?)?", owner) is not None
    return is_identity and names <= set(_FIRST_FILES)

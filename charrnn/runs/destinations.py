"""Write results to the files that a user names, and check that no other file is replaced."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.config.settings import Config
from charrnn.errors import CharRNNError, DataError, UsageError, named
from charrnn.system.files import (
    behind_links,
    convert_os_errors,
    fsync_folder,
    make_folder,
    read_capped,
    remove_files,
    write_atomically,
    write_synced,
)
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import warn

if TYPE_CHECKING:
    from charrnn.runs import model_file, reader
    from charrnn.text import recorded_corpus, sources
else:
    # Every command imports this module, and most name no file.
    model_file = LazyModule("charrnn.runs.model_file")
    reader = LazyModule("charrnn.runs.reader")
    recorded_corpus = LazyModule("charrnn.text.recorded_corpus")
    sources = LazyModule("charrnn.text.sources")

REMEDY = "give another name"
"""What the message about a file that must not be replaced advises."""
MARK_BYTES = 1_000
"""A file of charrnn has its mark in this many bytes at its beginning."""


@dataclass(frozen=True)
class Destination:
    """A file that a user names for a result.

    Every command with `--export` makes one before it computes, so that a path that cannot be
    written ends it at once; a checkpoint is written by `RunWriter` instead.
    """

    path: Path
    _: KW_ONLY
    force: bool = False
    """Whether the user allows that an existing file is replaced."""
    mark: bytes = b""
    """The bytes by which a file that charrnn wrote is recognised; b"" for a format without a
    mark."""
    read: Sequence[str | Path] = ()
    """The runs, models and texts that the command reads, by name or path. Neither they nor the
    texts of these runs are ever replaced."""

    def check(self) -> None:
        """Raise UsageError if the result cannot be written there, or would replace a file that it
        must not replace.

        A file with the mark may be replaced, and with `force` any file. A text of a run, a file
        inside the folder of a run and what is in `read` are never replaced.
        """
        if self.path.is_dir():
            raise UsageError(f"{self.path} is a folder: give the name of a file.")
        _check_place(self.path)

        # Nothing is replaced if the file does not exist, or is a pipe or a device. `lexists` is
        # also true for a link to a missing file.
        if not os.path.lexists(self.path) or self._is_stream():
            return
        if any(_reads(str(name), path=self.path) for name in self.read):
            raise UsageError(f"{self.path} is a file that is read: {REMEDY}.")
        self._check_no_text()
        if not self.force and not self._has_mark():
            raise UsageError(f"{self.path} exists: {REMEDY}, or {named('force')}.")

    def _check_no_text(self) -> None:
        """Raise UsageError for a text of a run in `read`, here or in checkpoints/."""
        runs = reader.list_all_runs()
        for name in map(str, self.read):
            # The name of a run may have a step: RUN@STEP.
            found = reader.find(name) or reader.find(name.rpartition("@")[0])
            if isinstance(found, reader.RunReader):
                runs.append(found)
        file = behind_links(self.path)
        for run in runs:
            if _is_text_of(run, file=file):
                raise UsageError(f"{self.path} is a text of the run {run.name}: {REMEDY}.")

    def write(self, data: bytes) -> None:
        """Write the result, atomically unless it goes to a pipe or a device.

        Raises UsageError as `check`, CharRNNError if it cannot be written.
        """
        # Check again: a file can appear while the result is computed.
        self.check()
        if self._is_stream():
            with convert_os_errors("write", path=self.path):
                self.path.write_bytes(data)
        else:
            # A link remains: the file to which it leads is replaced.
            write_atomically(behind_links(self.path), data)

    def _is_stream(self) -> bool:
        return self.path.exists() and not self.path.is_file()

    def _has_mark(self) -> bool:
        # The file may not be read, or is a link to a missing file.
        with suppress(OSError), self.path.open("rb") as file:
            return bool(self.mark) and self.mark in file.read(MARK_BYTES)
        return False


@dataclass(frozen=True)
class FolderDestination:
    """A folder that a user names for a model file.

    A file has a `Destination`; a folder is several files, which must change together.
    """

    path: Path
    _: KW_ONLY
    force: bool = False
    """Whether the user allows that the files of an earlier model are replaced."""
    read: Sequence[str | Path] = ()
    """The runs and models that the command reads, by name or path, which are never replaced."""

    def check(self) -> None:
        """Raise UsageError if the folder cannot be written, or if it has other files than those of
        an exported model. The files of such a model are replaced with `force`."""
        if os.path.lexists(self.path) and not self.path.is_dir():
            raise UsageError(f"{self.path} is not a folder: {REMEDY}.")
        _check_place(self.path)

        # An export that was killed may have left its own folder, with files of a model alone.
        if os.path.lexists(self.path / model_file.NEW) and not self._can_take_over():
            raise UsageError(
                f"{self.path / model_file.NEW} is not what charrnn export leaves there: remove it,"
                f" or {REMEDY}."
            )

        # Hidden files, such as the `.git` of a repository that was just cloned, stay there.
        if model_file.is_model_file(self.path):
            if any(_reads(str(name), path=self.path) for name in self.read):
                raise UsageError(f"{self.path} is the model that is read: {REMEDY}.")
            if not self.force:
                raise UsageError(f"{self.path} exists: {REMEDY}, or {named('force')}.")
        elif self.path.exists() and not all(name.startswith(".") for name in os.listdir(self.path)):
            raise UsageError(f"{self.path} has other files than an exported model: {REMEDY}.")

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write the files of a model. Files that an earlier model had and this one has not are
        removed; other files stay, and a card that somebody has edited does.

        The files are written into a folder of their own, which is renamed in one step: before it
        the folder is the earlier model, after it the new one, also if this process is killed.
        Raises UsageError as `check`, CharRNNError if a file cannot be written.
        """
        self.check()
        is_new = not self.path.exists()
        temporary = self.path / f"{model_file.NEW}.tmp-{os.getpid()}"
        num_bytes = sum(map(len, files.values()))
        try:
            with convert_os_errors("write", path=self.path, num_bytes=num_bytes):
                if is_new:
                    make_folder(self.path)
                # Processes that were killed may have left these.
                for left in self.path.glob(f"{model_file.NEW}.tmp-*"):
                    _remove_new(left)
                self._take_over()

                temporary.mkdir()
                for name, data in files.items():
                    if name != model_file.CARD or not self._has_edited_card():
                        write_synced(temporary / name, data=data)
                fsync_folder(temporary)
                os.rename(temporary, self.path / model_file.NEW)
                fsync_folder(self.path)
                self._take_over()
        finally:  # An error or an interrupt must not leave half a model.
            with suppress(OSError):
                _remove_new(temporary)
                if is_new:  # It is not empty if the new model counts already.
                    self.path.rmdir()

    def _has_edited_card(self) -> bool:
        """Whether the card may be another one than that of the manifest: an older charrnn recorded
        no digest of it, and a manifest may be damaged."""
        card = self.path / model_file.CARD
        if not os.path.lexists(card):
            return False
        with suppress(CharRNNError):
            content = read_capped(card)
            digest = model_file.ModelFile(self.path).read_manifest().get("card_sha256")
            if digest == hashlib.sha256(content).hexdigest():
                return False
        warn(f"{card} may have been edited: it stays as it is; remove it to have a new one")
        return True

    def _can_take_over(self) -> bool:
        """Whether the folder of a new model has files of a model, and nothing else."""
        new = model_file.new_files(self.path)
        if new is None:
            return False
        with os.scandir(new) as entries:
            return all(
                entry.is_file(follow_symlinks=False) and entry.name in model_file.FILES
                for entry in entries
            )

    def _take_over(self) -> None:
        """Move the files of a new model from their own folder to where they belong, which a process
        that was killed may have begun. The manifest is the last one."""
        new = model_file.new_files(self.path)
        if new is None:
            return
        # Before the first file is moved, what is missing is not part of the new model.
        if (new / model_file.FILES[0]).exists():
            for name in model_file.OPTIONAL:
                if not (new / name).exists():
                    (self.path / name).unlink(missing_ok=True)

        # Renaming takes no time and no room.
        for name in model_file.FILES:
            if (new / name).exists():
                os.replace(new / name, self.path / name)
        fsync_folder(self.path)
        _remove_new(new)


def _remove_new(folder: Path) -> None:
    """Remove the files of a model from a folder, and the folder unless others are in it. Raises
    OSError."""
    if folder.is_dir() and not folder.is_symlink():
        remove_files(folder, names=model_file.FILES)


def _check_place(path: Path) -> None:
    """Raise UsageError if the folder of a result is missing or inside the folder of a run."""
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}. Create it, or give another.")
    # A file inside the folder of a run could be removed together with a checkpoint.
    check_outside_runs(path)


def check_outside_runs(path: Path) -> None:
    """Raise UsageError for a file or a folder, which need not exist, inside the folder of a run.

    A result among the files of a run would be taken for one of them, and deleted with it.
    """
    for folder in behind_links(path).parents:
        if sources.is_run_folder(folder):
            raise UsageError(f"{path} is inside the run {folder.name}: use another folder.")


def _is_text_of(run: reader.RunReader, file: Path) -> bool:
    """Whether a run has recorded a file as its text; False for a damaged run."""
    try:
        # Before its first checkpoint a run has no digest.
        state = {"corpus_digest": "", **run.newest_state().state}
        recorded = recorded_corpus.recorded_corpus(run.name, config=run.read_config(), state=state)
    except CharRNNError:
        return False
    if recorded is None:
        return False
    named = filter(None, (*recorded.config.corpus, *recorded.locations))
    return any(_is_of_source(source, path=file) for source in named)


def _reads(name: str, path: Path) -> bool:
    """Whether a command that is given `name` reads the existing file `path`: a model, a text, or a
    file of the folder, the pattern or the catalogue that has this name."""
    files = [Path(name)]
    found = reader.find(name)
    if found is not None:
        files.append(found.path)
    for file in files:
        with suppress(OSError, ValueError):  # The file is missing, or the name is not valid.
            if path.samefile(file):
                return True
    # The name of a run may be a pattern for other files, which is not meant.
    if found is not None and glob.has_magic(name):
        return False
    return _is_of_source(name, path)


def _is_of_source(source: str, path: Path) -> bool:
    """Whether the text that a source means has the existing file `path`."""
    # A file may have another name: a link, or another spelling.
    with suppress(DataError, OSError, ValueError):  # There is no text of that name.
        origin = sources.find_origin(source, config=Config(), is_named_by_run=True)
        return any(map(path.samefile, origin.paths))
    return False

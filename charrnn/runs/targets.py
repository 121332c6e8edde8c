"""Write results to the files that a user names, and check that no other file is replaced."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.errors import CharRNNError, DataError, UsageError, named
from charrnn.system.files import (
    behind_links,
    convert_os_errors,
    fsync_folder,
    make_folder,
    write_atomically,
    write_synced,
)
from charrnn.system.progress import warn

if TYPE_CHECKING:
    from charrnn.runs.reader import RunReader

EDITED_CARD = "README-edited.md"
"""The name of the card of an earlier model that somebody has edited."""
MARK_BYTES = 1_000
"""A file of charrnn has its mark in this many bytes at its beginning."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file that a user names for a result."""

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
    remedy: str = "give another name"
    """What the error message advises if the file must not be replaced."""

    def check(self) -> None:
        """Raise UsageError if the result cannot be written there, or would replace a file that it
        must not replace.

        A file with the mark may be replaced, and with `force` any file. A text of a run, a file
        inside the folder of a run and what is in `read` are never replaced.
        """
        if self.path.is_dir():
            raise UsageError(f"{self.path} is a folder: give the name of a file.")
        _check_place(self.path, remedy=self.remedy)

        # Nothing is replaced if the file does not exist, or is a pipe or a device. `lexists` is
        # also true for a link to a missing file.
        if not os.path.lexists(self.path) or self._is_stream():
            return
        if any(_reads(str(name), self.path) for name in self.read):
            raise UsageError(f"{self.path} is a file that is read: {self.remedy}.")
        self._check_no_text()
        if self.force or self._has_mark():
            return

        problem = "exists"
        if self.mark:
            problem = f"exists, and is no {self.path.suffix} with a result of charrnn"
        raise UsageError(f"{self.path} {problem}: {self.remedy}, or {named('force')}.")

    def _check_no_text(self) -> None:
        """Raise UsageError for a text of a run in `read`, here or in checkpoints/."""
        from charrnn.runs.reader import find_run, list_all_runs

        # The name of a run may have a step: RUN@STEP.
        names = {str(run) for run in self.read} | {str(run).rpartition("@")[0] for run in self.read}
        readers = list_all_runs()
        for name in names - {""}:
            with suppress(CharRNNError):
                readers.append(find_run(name))
        file = behind_links(self.path)
        for reader in readers:
            if _is_text_of(reader, file):
                raise UsageError(f"{self.path} is a text of the run {reader.name}: {self.remedy}.")

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
        if not self.mark:
            return False
        try:
            with self.path.open("rb") as file:
                return self.mark in file.read(MARK_BYTES)
        except OSError:  # The file may not be read, or is a link to a missing file.
            return False


@dataclass(frozen=True, slots=True)
class FolderTarget:
    """A folder that a user names for a model file."""

    path: Path
    _: KW_ONLY
    force: bool = False
    """Whether the user allows that the files of an earlier model are replaced."""
    read: Sequence[str | Path] = ()
    """The runs and models that the command reads, by name or path, which are never replaced."""

    def check(self) -> None:
        """Raise UsageError if the folder cannot be written, or if it has other files than those of
        an exported model. The files of such a model are replaced with `force`."""
        # Imported here: every command imports this module, and most name no folder.
        from charrnn.runs.checkpoint import is_checkpoint_name
        from charrnn.runs.model_file import is_model_file

        remedy = "give the name of a new folder"
        if is_checkpoint_name(self.path.resolve().name):
            raise UsageError(f"{self.path} has the name of a checkpoint: {remedy}.")
        if os.path.lexists(self.path) and not self.path.is_dir():
            raise UsageError(f"{self.path} is not a folder: {remedy}.")
        _check_place(self.path, remedy=remedy)

        # Hidden files, such as the `.git` of a repository that was just cloned, stay there.
        names = os.listdir(self.path) if self.path.exists() else []
        if all(name.startswith(".") for name in names):
            return
        if not is_model_file(self.path):
            raise UsageError(f"{self.path} has other files than an exported model: {remedy}.")
        if any(_reads(str(name), self.path) for name in self.read):
            raise UsageError(f"{self.path} is the model that is read: {remedy}.")
        if not self.force:
            raise UsageError(f"{self.path} exists: {remedy}, or {named('force')}.")

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write the files of a model, in their order. Files that an earlier model had and this one
        has not are removed, a card that somebody has edited is put aside, and other files stay.

        The earlier model stays whole until all new files are on disk. Raises UsageError as `check`,
        CharRNNError if a file cannot be written.
        """
        from charrnn.runs.model_file import CARD, OPTIONAL

        self.check()
        is_new = not self.path.exists()
        temporaries: dict[str, Path] = {}
        try:
            with convert_os_errors(
                "write", path=self.path, num_bytes=sum(map(len, files.values()))
            ):
                if is_new:
                    make_folder(self.path)
                self._sweep(files)
                for name, data in files.items():
                    temporaries[name] = self.path / f".{name}.tmp-{os.getpid()}"
                    write_synced(temporaries[name], data=data)

                # Renaming takes no time and no room. The manifest is the last file.
                if self._has_edited_card():
                    os.replace(self.path / CARD, self.path / EDITED_CARD)
                    warn(f"{self.path / CARD} was edited: the edited one is {EDITED_CARD} now")
                for name, temporary in temporaries.items():
                    os.replace(temporary, self.path / name)
                for name in OPTIONAL - files.keys():
                    (self.path / name).unlink(missing_ok=True)
                fsync_folder(self.path)
        except BaseException:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)
            if is_new:
                shutil.rmtree(self.path, ignore_errors=True)
            raise

    def _sweep(self, files: Iterable[str]) -> None:
        """Remove what a process that was killed has left of these files."""
        for name in files:
            for left in self.path.glob(f".{glob.escape(name)}.tmp-*"):
                left.unlink(missing_ok=True)

    def _has_edited_card(self) -> bool:
        """Whether the folder has another card than the one that its manifest was written with."""
        from charrnn.runs.model_file import CARD, CARD_DIGEST, ModelFile

        card = self.path / CARD
        if not card.exists():
            return False
        try:
            written = ModelFile(self.path).read_manifest().get(CARD_DIGEST)
        except CharRNNError:
            return True
        # Git may have changed the line ends.
        content = card.read_bytes().replace(b"\r\n", b"\n")
        return bool(hashlib.sha256(content).hexdigest() != written)


def _check_place(path: Path, *, remedy: str) -> None:
    """Raise UsageError if the folder of a result is missing or inside the folder of a run."""
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}. Create it, or give another.")
    # A file inside the folder of a run could be removed together with a checkpoint.
    check_outside_runs(path, remedy=remedy)


def check_outside_runs(path: Path, *, remedy: str) -> None:
    """Raise UsageError for a file or a folder, which need not exist, inside the folder of a run."""
    from charrnn.text.sources import is_run_folder

    for folder in behind_links(path).parents:
        if is_run_folder(folder):
            raise UsageError(f"{path} is inside the run {folder.name}: {remedy}.")


def _is_text_of(run: RunReader, file: Path) -> bool:
    """Whether a run has recorded a file as its text; False for a damaged run."""
    from charrnn.text.recorded_corpus import recorded_corpus

    try:
        # Before its first checkpoint a run has no digest.
        state = {"corpus_digest": "", **run.newest_state()[0]}
        recorded = recorded_corpus(run.name, config=run.read_config(), state=state)
    except CharRNNError:
        return False
    return recorded is not None and recorded.names(file)


def _reads(name: str, path: Path) -> bool:
    """Whether a command that is given `name` reads the existing file `path`: a model, a text, or a
    file of the folder, the pattern or the catalogue that has this name."""
    from charrnn.runs.reader import find_model_file
    from charrnn.text.sources import SORTED, find_origin

    files: list[Path] = [Path(name)]
    with suppress(DataError, OSError, ValueError):  # There is no text of that name.
        files += find_origin(name, is_named_by_run=True, order=SORTED).paths
    if (model := find_model_file(name)) is not None:
        files.append(model.path)
    return any(_is_same(file, path) for file in files)


def _is_same(file: Path, path: Path) -> bool:
    """Whether `file` is the existing file `path`, also by a link or another spelling."""
    with suppress(OSError, ValueError):  # The file is missing, or the name is not valid.
        return path.samefile(file)
    return False

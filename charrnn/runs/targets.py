"""The files that a user names for a result: which existing ones it may replace, and how it is
written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.errors import CharRNNError, UsageError, named
from charrnn.system.files import behind_links, convert_os_errors, write_atomically

if TYPE_CHECKING:
    from charrnn.runs.reader import RunReader

MARK_BYTES = 1_000
"""The bytes at the beginning of a file among which the mark of charrnn stands."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file that a user names for a result."""

    path: Path
    _: KW_ONLY
    force: bool = False
    """Whether the user allows that an existing file is replaced."""
    mark: bytes = b""
    """What a file of this format contains if charrnn wrote it; b"" for a format without a mark."""
    runs: Sequence[str | Path] = ()
    """The runs that are used, by name or path: none of their texts is replaced."""
    read: Sequence[str | Path] = ()
    """The files that are read, which are not replaced either."""
    remedy: str = "give another name"
    """What to do about a file that is not replaced."""

    def check(self) -> None:
        """Raise UsageError if the result cannot be written there, or would replace a file that it
        must not replace.

        A file with the mark may be replaced, and any file with `force`; but never a text of a run,
        what is inside the folder of a run, or a file that is read.
        """
        if self.path.is_dir():
            raise UsageError(f"{self.path} is a folder: give the name of a file.")
        if not self.path.parent.is_dir():
            raise UsageError(
                f"{self.path}: there is no folder {self.path.parent}. Create it, or give another."
            )

        # What is inside a run may be removed with a checkpoint.
        check_outside_runs(self.path, remedy=self.remedy)

        # A pipe or a device takes what is written to it. A link may lead to no file.
        if not os.path.lexists(self.path) or self._is_stream():
            return
        if any(_is_same(name, self.path) for name in self.read):
            raise UsageError(f"{self.path} is a file that is read: {self.remedy}.")
        check_spared(self.path, runs=self.runs, remedy=self.remedy)
        if self.force or self._has_mark():
            return

        what = "exists"
        if self.mark:
            what = f"exists, and is no {self.path.suffix} with a result of charrnn"
        raise UsageError(f"{self.path} {what}: {self.remedy}, or {named('force')}.")

    def write(self, data: bytes) -> None:
        """Write the result, atomically unless it goes to a pipe or a device.

        Raises UsageError as `check`, CharRNNError if it cannot be written.
        """
        # Again: a file can appear while a result is computed.
        self.check()
        if self._is_stream():
            with convert_os_errors("write", path=self.path):
                self.path.write_bytes(data)
        else:
            # A link stays one: the file that it names is replaced.
            write_atomically(behind_links(self.path), data)

    def _is_stream(self) -> bool:
        return self.path.exists() and not self.path.is_file()

    def _has_mark(self) -> bool:
        if not self.mark:
            return False
        try:
            with self.path.open("rb") as file:
                return self.mark in file.read(MARK_BYTES)
        except OSError:  # It may not be read, or is a link to no file.
            return False


def check_outside_runs(path: Path, *, remedy: str) -> None:
    """Raise UsageError for a file, which need not exist, inside the folder of a run."""
    from charrnn.text.sources import is_run_folder

    for folder in behind_links(path).parents:
        if is_run_folder(folder):
            raise UsageError(f"{path} is inside the run {folder.name}: {remedy}.")


def check_spared(path: Path, *, runs: Sequence[str | Path] = (), remedy: str) -> None:
    """Raise UsageError for an existing file that nothing replaces: a text of a run that is named,
    here or in checkpoints/, or a file inside the folder of a run."""
    from charrnn.runs.reader import find_run, list_runs_and_sweeps

    check_outside_runs(path, remedy=remedy)
    file = behind_links(path)

    # RUN@STEP is a checkpoint of a run.
    names = {str(run) for run in runs} | {str(run).rpartition("@")[0] for run in runs}
    readers = list_runs_and_sweeps()
    for name in names - {""}:
        with suppress(CharRNNError):
            readers.append(find_run(name))
    for reader in readers:
        if _is_text_of(reader, file):
            raise UsageError(f"{path} is a text of the run {reader.name}: {remedy}.")


def _is_text_of(run: RunReader, file: Path) -> bool:
    """Return whether a run names a file as its text; not of a damaged run, which does not say."""
    from charrnn.text.recorded_corpus import recorded_corpus

    try:
        # Before its first checkpoint a run has no digest.
        state = {"corpus_digest": "", **run.newest_state()[0]}
        recorded = recorded_corpus(run.name, config=run.read_config(), state=state)
    except CharRNNError:
        return False
    return recorded is not None and recorded.names(file)


def _is_same(name: str | Path, path: Path) -> bool:
    """Return whether a name leads to an existing file, under whatever name."""
    with suppress(OSError, ValueError):  # It is missing, or is no name of a file.
        return path.samefile(name)
    return False

"""A run folder: created once, locked while training, saved to in commits, loaded only after its hashes are checked.

Commit order of a step: data, fsync, manifest, fsync, rename folder, fsync parent; then the caller moves the pointers
and prunes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from charrnn.config import AUTO_FIELDS, Config
from charrnn.errors import CharRNNError, CheckpointError, DataError, UsageError
from charrnn.runs.disk import (
    JSON,
    MAX_TEXT_BYTES,
    encode_text,
    explained,
    fsync_folder,
    parse_json,
    read_capped,
    write_atomically,
    write_synced,
)
from charrnn.runs.lock import hold
from charrnn.runs.step import (
    LoadedStep,
    NewerFormatError,
    Tensors,
    is_manifest_of,
    is_step_name,
    name_of_step,
    read_step,
    step_number,
    step_to_bytes,
)
from charrnn.settings import from_yaml

BEFORE = {"muon_scale": 0.0}
"""What runs did that are older than the field, where that is not its default."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run. Writers hold `lock()`; readers need no lock."""

    path: Path

    @classmethod
    def create(cls, parent: Path, name: str) -> RunFolder:
        """Make `parent/name-NNN` with the number after the highest in use; safe against simultaneous starts.

        Raises CharRNNError when the folder cannot be made.
        """
        with explained("create a run folder in", parent):
            parent.mkdir(parents=True, exist_ok=True)
            pattern = re.compile(re.escape(name) + r"-([0-9]{3,})")
            taken = [int(match[1]) for entry in parent.iterdir() if (match := pattern.fullmatch(entry.name))]
            number = max(taken, default=0)
            while True:
                number += 1
                path = parent / f"{name}-{number:03d}"
                with contextlib.suppress(FileExistsError):
                    path.mkdir()
                    fsync_folder(parent)
                    return cls(path)

    @classmethod
    def create_at(cls, path: Path) -> RunFolder:
        """Make exactly `path`, or take it over when it is an empty folder.

        Raises UsageError when something is there already, CharRNNError when it cannot be made.
        """
        with explained("create", path):
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                if not path.is_dir() or any(path.iterdir()):
                    raise UsageError(
                        f"{path} exists already\ncontinue it with --resume {path}, or give --out another name"
                    ) from None
            fsync_folder(path.parent)
        return cls(path)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run for this process; the operating system frees it when the process ends, however it ends.

        Raises RunInUseError at once when another holds it, CharRNNError when the folder cannot be locked.
        """
        return hold(self.path)

    def write_text(self, name: str, text: str) -> None:
        """Replace file `name` by `text`, whole or not at all. Raises CharRNNError when it cannot be written."""
        write_atomically(self.path / name, encode_text(text))

    def save_step(self, step: int, model: Tensors, training: Tensors, state: Mapping[str, JSON]) -> Path:
        """Commit one step and return its folder; pointers stay where they are.

        A step saved already is kept when it is whole and the same, and replaced when it is damaged or another (of a
        schedule that was changed since). On any failure nothing saved before is touched. Raises CharRNNError naming
        the folder, the reason and the bytes needed.
        """
        final = self.path / name_of_step(step)
        payloads = step_to_bytes(step, model, training, state)
        try:
            self.verify(final.name)
            if is_manifest_of(final, payloads):
                return final
        except NewerFormatError:
            raise
        except CheckpointError:
            pass  # Missing, as it should be, or damaged.
        temporary = self.path / f".{final.name}.tmp-{os.getpid()}"
        try:
            for leftover in self.path.glob(".step-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            temporary.mkdir()
            for name, data in payloads.items():
                write_synced(temporary / name, data)
            fsync_folder(temporary)
            if os.path.lexists(final):
                self._discard(final.name)
            os.rename(temporary, final)
            fsync_folder(self.path)
        except OSError as error:
            needed = sum(map(len, payloads.values()))
            raise CharRNNError(
                f"cannot save {final}: {error.strerror or error} ({needed:,} bytes needed)\n"
                "what was saved before is untouched"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return final

    def load_best(self) -> LoadedStep:
        """The step that validated best; the latest, if none was validated. Raises as `load_step` does."""
        return self.load_step("best" if self.read_pointer("best") else "latest", with_training=False)

    def point(self, name: Literal["latest", "best"], step_name: str) -> None:
        """Make pointer `name` hold `step_name`. Raises CharRNNError when it cannot be written."""
        assert is_step_name(step_name), step_name
        self.write_text(name, step_name + "\n")

    def read_pointer(self, name: str) -> str | None:
        """The name of the step that `latest` or `best` holds, None when it is missing or holds anything else."""
        try:
            text = read_capped(self.path / name, max_bytes=100).decode("ascii").strip()
        except (CheckpointError, UnicodeDecodeError):
            return None
        return text if is_step_name(text) else None

    def prune(self, keep: int) -> None:
        """Remove the oldest steps so that `keep` remain besides those that `latest` and `best` point to.

        Raises CharRNNError when a step cannot be removed.
        """
        committed = self.steps()
        pinned = {self.read_pointer("latest"), self.read_pointer("best")}
        if not pinned.intersection(committed):
            # Without a usable pointer `keep=0` would remove everything that was ever saved.
            pinned.update(committed[-1:])
        loose = [name for name in committed if name not in pinned]
        for name in loose[: max(len(loose) - keep, 0)]:
            with explained("remove", self.path / name):
                self._discard(name)

    def steps(self) -> list[str]:
        """Names of the committed steps, ascending. Raises CheckpointError when the folder cannot be read."""
        try:
            with os.scandir(self.path) as entries:
                names = [e.name for e in entries if is_step_name(e.name) and e.is_dir(follow_symlinks=False)]
        except OSError as error:
            raise CheckpointError(f"cannot read {self.path}: {error.strerror or error}") from error
        return sorted(names, key=step_number)

    def verify(self, step_name: str) -> None:
        """Check every file of a step against its manifest. Raises CheckpointError naming the file that is damaged."""
        read_step(self.path / step_name, with_training=True)

    def load_step(self, which: str, *, with_training: bool) -> LoadedStep:
        """Read `latest`, `best` or a step by name; when it is damaged, the newest good step before it, with a warning.

        Only when none before it is good are later ones tried. Raises CheckpointError when no step can be loaded,
        when there is none of that name, or when it was made by a newer charrnn.
        """
        committed = self.steps()
        if not committed:
            raise CheckpointError(f"{self.path} has nothing saved yet\ntrain first: charrnn train")
        wanted: str | None = which
        problems: list[str] = []
        if which == "latest" or which == "best":
            wanted = self.read_pointer(which)
            if wanted is None:
                problems.append(f"{self.path / which} is missing or does not name a step")
        elif which not in committed:
            raise CheckpointError(f"no {which} in {self.path}\nsaved there: {', '.join(committed[-5:])}")
        for name in self._candidates(wanted):
            try:
                loaded = read_step(self.path / name, with_training=with_training)
            except NewerFormatError:
                raise
            except CheckpointError as error:
                problems.append(str(error))
            else:
                return replace(loaded, warnings=tuple(f"{problem}; using {name}" for problem in problems))
        raise CheckpointError(
            f"no step of {self.path} can be loaded: {problems[0]}\nrestore it from a copy, or train anew"
        )

    def read_config_text(self) -> str:
        """The text of `config.yaml`. Raises CheckpointError when it is missing, too large or not UTF-8."""
        path = self.path / "config.yaml"
        try:
            return read_capped(path, max_bytes=MAX_TEXT_BYTES).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error

    def read_config(self) -> Config:
        """The run's configuration. Raises CheckpointError when it is damaged or still leaves something to `auto`."""
        path = self.path / "config.yaml"
        try:
            config = from_yaml(self.read_config_text(), str(path), BEFORE)
        except (DataError, UsageError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        left_open = [name for name in AUTO_FIELDS if getattr(config, name) == "auto" and name != "threads"]
        if left_open or config.cell == "auto" or config.steps is None:
            raise CheckpointError(
                f"{path} is damaged: it leaves open {', '.join(left_open) or 'the cell or the steps'}"
            )
        return config

    def read_vocab_json(self) -> object:
        """The parsed `vocab.json`. Raises CheckpointError when it is missing, too large or not JSON."""
        path = self.path / "vocab.json"
        return parse_json(path, read_capped(path, max_bytes=MAX_TEXT_BYTES))

    def _discard(self, step_name: str) -> None:
        """Remove a step so that a crash halfway leaves a leftover to sweep, never a step that looks damaged."""
        doomed = self.path / f".{step_name}.old-{os.getpid()}"
        os.rename(self.path / step_name, doomed)
        shutil.rmtree(doomed)

    def _candidates(self, wanted: str | None) -> Iterator[str]:
        """The step wanted, then earlier ones from the newest, then later ones."""
        if wanted is not None:
            yield wanted
        # Listed only now: while a reader looked at the step wanted, a run in training may have pruned and saved.
        committed = self.steps()
        limit = float("inf") if wanted is None else step_number(wanted)
        yield from (name for name in reversed(committed) if step_number(name) < limit)
        yield from (name for name in committed if step_number(name) > limit)

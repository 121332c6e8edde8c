"""A run folder: created once, locked while training, saved to in commits, loaded only after its hashes are checked.

Commit order of a step: data, fsync, manifest, fsync, rename folder, fsync parent, pointers, prune. Wherever that ends,
the newest whole step is the latest, and what it says of the best one holds: `latest` and `best` only repeat it.
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

from charrnn.config import MODEL_FIELDS, Config
from charrnn.errors import CharRNNError, CheckpointError, UsageError
from charrnn.files import (
    JSON,
    MAX_TEXT_BYTES,
    encode_text,
    explained,
    fsync_folder,
    make_folder,
    read_capped,
    sweep,
    write_atomically,
    write_synced,
)
from charrnn.runs.description import CONFIG, VOCAB, Description, check_seal, parse_config
from charrnn.runs.findings import discard_findings
from charrnn.runs.lock import hold
from charrnn.runs.pointers import KINDS, best_known, list_steps, read_pointer, wanted_step
from charrnn.runs.step import (
    LoadedStep,
    NewerFormatError,
    Tensors,
    best_in,
    describes_itself,
    is_manifest_of,
    is_step_name,
    name_of_step,
    read_step,
    step_number,
    step_to_bytes,
)

LASTING = (*MODEL_FIELDS, "seed", "corpus", "split", "encoding", "init_from")
"""Settings that are the same for all steps of a run."""


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
                    make_folder(path)
                    return cls(path)

    @classmethod
    def create_at(cls, path: Path) -> RunFolder:
        """Make exactly `path`, or take it over when it is an empty folder.

        Raises UsageError when something is there already, CharRNNError when it cannot be made.
        """
        with explained("create", path):
            try:
                make_folder(path)
            except FileExistsError:
                if not path.is_dir() or any(path.iterdir()):
                    raise UsageError(
                        f"{path} exists already\ncontinue it with --resume {path}, or give --out another name"
                    ) from None
        return cls(path)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run for this process; the operating system frees it when the process ends, however it ends.

        Raises RunInUseError at once when another holds it, CharRNNError when the folder cannot be locked.
        """
        return hold(self.path)

    def write_text(self, name: str, text: str) -> None:
        """Replace file `name` by `text`, whole or not at all. Raises CharRNNError when it cannot be written."""
        write_atomically(self.path / name, encode_text(text))

    def write_description(self, description: Description) -> None:
        """Write the run's own `config.yaml` and `vocab.json`. Raises as `write_text` does."""
        for name, data in description.files().items():
            write_atomically(self.path / name, data)

    def commit(
        self,
        step: int,
        model: Tensors,
        training: Tensors,
        state: Mapping[str, JSON],
        description: Description,
        *,
        keep: int,
    ) -> Path:
        """Save a step, then move the pointers, then prune; the step's folder. Raises as these three do."""
        path = self.save_step(step, model, training, state, description)
        self._point_as(path.name, state)
        self.prune(keep, path.name, best_in(state))
        return path

    def check_in_place(self) -> None:
        """Raise CharRNNError if the run was moved or removed by others: what is saved would be no run."""
        if not all((self.path / name).exists() for name in ("lock", CONFIG, VOCAB)):
            raise CharRNNError(
                f"{self.path} was moved or removed while it trained, or files of it were\n"
                "put it back and go on with --resume, or train again"
            )

    def go_on_from(self, loaded: LoadedStep) -> None:
        """Make the step that training goes on from the newest one, mend the pointers, sweep. Raises CharRNNError.

        Later steps are damaged, or it would not be this one; they are kept under another name.
        """
        with explained("clean up", self.path):
            sweep(self.path)
        for name in self._steps_to_change():
            if step_number(name) > loaded.step:
                aside = self.path / f"damaged-{name}"
                with explained("set aside", self.path / name):
                    shutil.rmtree(aside, ignore_errors=True)
                    os.rename(self.path / name, aside)
        self._point_as(loaded.name, loaded.state)

    def _point_as(self, latest: str, state: Mapping[str, JSON]) -> None:
        """Make the pointers say what the newest step and its state say."""
        best = best_in(state)
        for pointer, name in (("latest", latest), ("best", best)):
            if name is not None and (self.path / name).is_dir() and self.read_pointer(pointer) != name:
                self.point(pointer, name)

    def save_step(
        self, step: int, model: Tensors, training: Tensors, state: Mapping[str, JSON], description: Description
    ) -> Path:
        """Save one step and return its folder; pointers stay where they are.

        A step saved already is kept when it is whole and the same, and replaced when it is damaged or another (of a
        schedule that was changed since). On any failure nothing saved before is touched. Raises CharRNNError naming
        the folder, the reason and the bytes needed.
        """
        final = self.path / name_of_step(step)
        payloads = step_to_bytes(step, model, training, state, description)
        temporary = self.path / f".{final.name}.tmp-{os.getpid()}"
        try:
            sweep(self.path)
            if self._holds(final, payloads):
                return final
            temporary.mkdir()
            for name, data in payloads.items():
                write_synced(temporary / name, data)
            fsync_folder(temporary)
            if os.path.lexists(final):
                self._replace(final, temporary)
            else:
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

    def point(self, name: str, step_name: str) -> None:
        """Make pointer `name` hold `step_name`. Raises CharRNNError when it cannot be written."""
        assert is_step_name(step_name), step_name
        self.write_text(name, step_name + "\n")

    def read_pointer(self, name: str) -> str | None:
        """The name of the step that `latest` or `best` holds, None when it is missing or holds anything else."""
        return read_pointer(self.path, name)

    def prune(self, keep: int, *needed: str | None) -> None:
        """Remove the oldest steps so that `keep` remain besides those `needed` or pointed to by `latest` and `best`.

        Raises CharRNNError when a step cannot be removed.
        """
        committed = self._steps_to_change()
        pinned = {self.read_pointer("latest"), self.read_pointer("best"), *needed}
        if not pinned.intersection(committed):
            # Without a usable pointer `keep=0` would remove everything that was ever saved.
            pinned.update(committed[-1:])
        loose = [name for name in committed if name not in pinned]
        for name in loose[: max(len(loose) - keep, 0)]:
            with explained("remove", self.path / name):
                self._discard(name)
            discard_findings(self.path, name)

    def steps(self) -> list[str]:
        """Names of the committed steps, ascending. Raises CheckpointError when the folder cannot be read."""
        return list_steps(self.path)

    def verify(self, step_name: str) -> None:
        """Check every file of a step against its manifest. Raises CheckpointError naming the file that is damaged."""
        read_step(self.path / step_name, with_training=True)

    def is_validated(self) -> bool:
        """Whether a saved step was validated. Raises CheckpointError as `steps` does, NewerFormatError."""
        return best_known(self.path)[0] is not None or os.path.lexists(self.path / "best")

    def load_best(self) -> LoadedStep:
        """The step that validated best; the latest, if none was validated. Raises as `load_step` does."""
        return self.load_step("best" if self.is_validated() else "latest", with_training=False)

    def load_step(self, which: str, *, with_training: bool) -> LoadedStep:
        """Read `latest`, `best` or a step by name; when it is damaged, the newest good step before it, with a warning.

        Only when none before it is good are later ones tried. Raises CheckpointError when no step can be loaded,
        when there is none of that name, or when it was made by a newer charrnn.
        """
        committed = self.steps()
        if not committed:
            raise CheckpointError(
                f"{self.path} has nothing saved yet\ntrain it again with the command that began it, or name another run"
            )
        if which not in (*KINDS, *committed):
            raise CheckpointError(f"no {which} in {self.path}\nsaved there: {', '.join(committed[-5:])}")
        wanted, problems = wanted_step(self.path, which) if which in KINDS else (which, [])
        for name in self._candidates(wanted):
            try:
                loaded = read_step(self.path / name, with_training=with_training)
            except NewerFormatError:
                raise
            except CheckpointError as error:
                if which in KINDS and wanted_step(self.path, which)[0] != wanted:
                    # A run in training saved and pruned while this was read: nothing is wrong, so ask again.
                    return self.load_step(which, with_training=with_training)
                problems.append(str(error))
            else:
                if problems and which in KINDS and wanted_step(self.path, which) == (name, []):
                    problems = []  # A run in training had saved this and has moved the pointer since.
                problems += self._damage_beside(loaded.description)
                return replace(
                    loaded, warnings=tuple(f"{problem.splitlines()[0]}; using {name}" for problem in problems)
                )
        raise CheckpointError(
            f"no step of {self.path} can be loaded: {problems[0]}\nrestore it from a copy, or train anew"
        )

    def read_config(self) -> Config:
        """The run's own configuration, which may be newer than any step's: a budget or a learning rate since changed.

        Raises CheckpointError when it is missing, too large or damaged, or still leaves something to `auto`.
        """
        return parse_config(self.path / CONFIG, self._own_config_yaml())

    def _own_config_yaml(self) -> bytes:
        """The run's own `config.yaml`, its seal checked. Raises CheckpointError when it is missing or damaged."""
        path = self.path / CONFIG
        data = read_capped(path, max_bytes=MAX_TEXT_BYTES)
        check_seal(path, data, is_needed=self._has_sealed())
        return data

    def _damage_beside(self, description: Description) -> list[str]:
        """What is wrong with the run's own two files, given those of a step that was verified."""
        problems = []
        try:
            own, saved = parse_config(self.path / CONFIG, self._own_config_yaml()), description.config()
            if other := [name for name in LASTING if getattr(own, name) != getattr(saved, name)]:
                problems.append(
                    f"{description.folder} was saved with another {other[0]} than {self.path / CONFIG} tells: "
                    "it may be another run's"
                )
        except CheckpointError as error:
            problems.append(str(error))
        path = self.path / VOCAB
        try:
            if read_capped(path, max_bytes=MAX_TEXT_BYTES) != description.vocab_json:
                problems.append(f"{path} is damaged: it is not the alphabet of the saved steps")
        except CheckpointError as error:
            problems.append(str(error))
        return problems

    def _has_sealed(self) -> bool:
        """Whether the run's own `config.yaml` must be sealed: the newest step that can tell is of format 2."""
        for name in reversed(self.steps()):
            with contextlib.suppress(CheckpointError):
                return describes_itself(self.path / name)
        return False

    def _discard(self, step_name: str) -> None:
        """Remove a step so that a crash halfway leaves a leftover to sweep, never a step that looks damaged."""
        shutil.rmtree(self._set_aside(self.path / step_name))

    def _steps_to_change(self) -> list[str]:
        try:
            return self.steps()
        except CheckpointError as error:
            raise CharRNNError(str(error)) from error  # A failure now, nothing wrong with what was saved.

    def _holds(self, step: Path, payloads: Mapping[str, bytes]) -> bool:
        """Whether a step is there, whole and of these bytes. Raises NewerFormatError for one of a newer charrnn."""
        try:
            self.verify(step.name)
            return is_manifest_of(step, payloads)
        except NewerFormatError:
            raise
        except CheckpointError:
            return False  # Missing, as it should be, or damaged.

    def _replace(self, final: Path, temporary: Path) -> None:
        """Put a step in the place of another, which comes back if that fails. Raises OSError."""
        doomed = self._set_aside(final)
        try:
            os.rename(temporary, final)
        except OSError:
            os.rename(doomed, final)
            raise
        shutil.rmtree(doomed)

    def _set_aside(self, step: Path) -> Path:
        aside = step.with_name(f".{step.name}.old-{os.getpid()}")
        os.rename(step, aside)
        return aside

    def _candidates(self, wanted: str | None) -> Iterator[str]:
        """The step wanted, then earlier ones from the newest, then later ones."""
        if wanted is not None:
            yield wanted
        # Listed only now: while a reader looked at the step wanted, a run in training may have pruned and saved.
        committed = self.steps()
        limit = float("inf") if wanted is None else step_number(wanted)
        yield from (name for name in reversed(committed) if step_number(name) < limit)
        yield from (name for name in committed if step_number(name) > limit)

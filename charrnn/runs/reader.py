"""A run folder as its readers see it: lists, verifies and loads its checkpoints.

The files `latest` and `best` have one line each with the name of a checkpoint. A process can be killed after it saved a
checkpoint and before it updated them, and a flipped bit can make them name another one. So the newest checkpoint is the
latest whatever `latest` says, and its state names the best one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from charrnn.config import MODEL_FIELDS, Config
from charrnn.errors import CheckpointError
from charrnn.files import JSON, MAX_TEXT_BYTES, read_capped
from charrnn.runs.checkpoint import (
    Checkpoint,
    best_checkpoint,
    checkpoint_name,
    checkpoint_step,
    describes_itself,
    is_checkpoint_name,
    read_checkpoint,
    read_state,
)
from charrnn.runs.description import (
    CONFIG,
    VOCAB,
    Description,
    MissingCellError,
    NewerFormatError,
    check_seal,
    parse_config,
)

KINDS = {"latest": "newest", "best": "best"}
"""The pointers, and which checkpoint each must name."""


FIXED_FIELDS = (*MODEL_FIELDS, "seed", "corpus", "split", "encoding", "init_from")
"""Settings that are the same in all checkpoints of a run."""
CHECKPOINTS = Path("checkpoints")
"""The folder of new runs without a path of their own."""
SWEEP = "sweep.json"
"""The file by which the folder of a sweep, whose subfolders are runs, is recognised."""


@dataclass(frozen=True, slots=True)
class RunReader:
    """The folder of one run, for reading. Needs no lock: a run can be read while another process trains it."""

    path: Path

    @property
    def name(self) -> str:
        """The name of the folder, as commands take it; of a run of a sweep after that of the sweep.

        Where a run in the current folder has the same name as one in `CHECKPOINTS`, the latter is named by its path.
        """
        parent, name = self.path.parent, self.path.name
        if os.path.isfile(parent / SWEEP):
            return f"{parent.name}/{name}"
        is_hidden = parent == CHECKPOINTS and all(os.path.isfile(Path(name, file)) for file in (CONFIG, VOCAB))
        return str(self.path) if is_hidden else name

    def checkpoints(self) -> list[str]:
        """List the names of the saved checkpoints, ascending. Raises CheckpointError if the folder cannot be read."""
        try:
            with os.scandir(self.path) as entries:
                names = [e.name for e in entries if is_checkpoint_name(e.name) and e.is_dir(follow_symlinks=False)]
        except OSError as error:
            raise CheckpointError(f"cannot read {self.path}: {error.strerror or error}") from error
        return sorted(names, key=checkpoint_step)

    def read_pointer(self, name: str) -> str | None:
        """Return the checkpoint that the file `latest` or `best` names, None if it is missing or has other content."""
        try:
            text = read_capped(self.path / name, max_bytes=100).decode("ascii")
        except (CheckpointError, UnicodeDecodeError):
            return None
        return text[:-1] if text.endswith("\n") and is_checkpoint_name(text[:-1]) else None

    def newest_state(self) -> tuple[Mapping[str, JSON], str | None]:
        """Read the state of the newest checkpoint; it is empty if there is none.

        If the newest checkpoint is damaged, an older one is used, and the damage is returned too. Raises
        CheckpointError if the folder cannot be read, NewerFormatError.
        """
        problem = None
        for name in reversed(self.checkpoints()):
            try:
                return read_state(self.path / name), problem
            except NewerFormatError:
                raise
            except CheckpointError as error:
                problem = problem or str(error)
        return {}, problem

    def is_validated(self) -> bool:
        """Whether a checkpoint was validated. Raises as `newest_state` does."""
        return best_checkpoint(self.newest_state()[0]) is not None or os.path.lexists(self.path / "best")

    def _expected_checkpoint(self, name: str) -> tuple[str | None, list[str]]:
        """Return the checkpoint that the pointer `name` must name, and what is wrong with the pointer, if anything.

        The checkpoint is None if only the pointer could name it. Raises CheckpointError if the folder cannot be read.
        """
        # Twice, because a training process updates its pointers just after it saved.
        for _ in range(2):
            pointed, problem = self.read_pointer(name), None
            if name == "latest":
                right: str | None = self.checkpoints()[-1]
            else:
                state, problem = self.newest_state()
                right = best_checkpoint(state)
            if pointed == right or (right is None and pointed in self.checkpoints()):
                return pointed, []
            if pointed is not None and os.path.islink(self.path / pointed):
                return pointed, []  # A link is not a checkpoint: reading it fails with an error that names it.
        if problem is None:
            pointer = self.path / name
            if not os.path.lexists(pointer):
                problem = f"{pointer} is missing"
            elif pointed is None:
                problem = f"{pointer} does not name a checkpoint"
            else:
                problem = f"{pointer} names {pointed}, which is not the {KINDS[name]} checkpoint"
        return right, [problem]

    def load_best(self) -> Checkpoint:
        """Load the checkpoint with the lowest validation loss, or the latest one if none was validated.

        Raises as `load_checkpoint` does.
        """
        return self.load_checkpoint("best" if self.is_validated() else "latest", with_training=False)

    def load_step(self, step: int) -> Checkpoint:
        """Load the checkpoint of a step. Raises CheckpointError, with the steps that there are."""
        name, known = checkpoint_name(step), self.checkpoints()
        if name in known:
            loaded = self.load_checkpoint(name, with_training=False)
            if loaded.name == name:  # else it is damaged, and another was taken
                return loaded
        problem = "is damaged" if name in known else "does not exist"
        listed = ", ".join(f"{checkpoint_step(one):,}" for one in known)
        raise CheckpointError(f"{self.path / name} {problem}\ncheckpoints of this run: {listed}")

    def load_checkpoint(self, which: str, *, with_training: bool) -> Checkpoint:
        """Load `latest`, `best` or a checkpoint by name; if it is damaged, the newest intact one before it.

        Later checkpoints are used only if none before it is intact. A damaged file is one of the `warnings`. Raises
        CheckpointError if no checkpoint can be loaded, none has that name, or it was made by a newer charrnn.
        """
        saved_names = self.checkpoints()
        if not saved_names:
            raise CheckpointError(
                f"{self.path} has nothing saved yet\n"
                "train it again with the command that started it, or name another run"
            )
        if which not in (*KINDS, *saved_names):
            raise CheckpointError(f"no {which} in {self.path}\nsaved there: {', '.join(saved_names[-5:])}")
        wanted, problems = self._expected_checkpoint(which) if which in KINDS else (which, [])
        for name in self._candidates(wanted):
            try:
                loaded = read_checkpoint(self.path / name, with_training=with_training)
            except (MissingCellError, NewerFormatError):
                raise
            except CheckpointError as error:
                if which in KINDS and self._expected_checkpoint(which)[0] != wanted:
                    # A training process saved and pruned while this was read: nothing is wrong, so start again.
                    return self.load_checkpoint(which, with_training=with_training)
                problems.append(str(error))
            else:
                if problems and which in KINDS and self._expected_checkpoint(which) == (name, []):
                    problems = []  # A training process had saved this checkpoint and has updated the pointer since.
                problems += self._problems_beside(loaded.description)
                return replace(
                    loaded, warnings=tuple(f"{problem.splitlines()[0]}; using {name}" for problem in problems)
                )
        raise CheckpointError(
            f"no checkpoint of {self.path} can be loaded: {problems[0]}\nrestore it from a copy, or train a new run"
        )

    def read_config(self) -> Config:
        """Read the run's own configuration, newer than any checkpoint's if a budget was changed since.

        Raises CheckpointError when it is missing, too large or damaged, or leaves a field at `auto`.
        """
        path = self.path / CONFIG
        data = read_capped(path, max_bytes=MAX_TEXT_BYTES)
        check_seal(path, data, is_needed=self._must_be_sealed())
        return parse_config(path, data)

    def _problems_beside(self, description: Description) -> list[str]:
        """List what is wrong with the run's own two files, given those of a verified checkpoint."""
        problems = []
        try:
            own, saved = self.read_config(), description.config()
            if other := [name for name in FIXED_FIELDS if getattr(own, name) != getattr(saved, name)]:
                problems.append(
                    f"{description.folder} was saved with another {other[0]} than {self.path / CONFIG} gives: "
                    "it may belong to another run"
                )
        except CheckpointError as error:
            problems.append(str(error))
        path = self.path / VOCAB
        try:
            if read_capped(path, max_bytes=MAX_TEXT_BYTES) != description.vocab_json:
                problems.append(f"{path} is damaged: it is not the alphabet of the checkpoints")
        except CheckpointError as error:
            problems.append(str(error))
        return problems

    def _must_be_sealed(self) -> bool:
        """Whether the run's own `config.yaml` must have a seal: the newest readable manifest is of format 2."""
        for name in reversed(self.checkpoints()):
            with contextlib.suppress(CheckpointError):
                return describes_itself(self.path / name)
        return False

    def _candidates(self, wanted: str | None) -> Iterator[str]:
        """Yield the wanted checkpoint, then earlier ones from the newest, then later ones."""
        if wanted is not None:
            yield wanted
        # Listed only now: while the wanted checkpoint was read, a training process may have pruned and saved.
        saved_names = self.checkpoints()
        limit = float("inf") if wanted is None else checkpoint_step(wanted)
        yield from (name for name in reversed(saved_names) if checkpoint_step(name) < limit)
        yield from (name for name in saved_names if checkpoint_step(name) > limit)

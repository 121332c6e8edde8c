"""A run folder as its readers see it: which steps are saved, and how to load one after its hashes are checked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from charrnn.config import MODEL_FIELDS, Config
from charrnn.errors import CheckpointError
from charrnn.files import MAX_TEXT_BYTES, read_capped
from charrnn.runs.description import CONFIG, VOCAB, Description, check_seal, parse_config
from charrnn.runs.pointers import KINDS, best_known, list_steps, read_pointer, wanted_step
from charrnn.runs.step import LoadedStep, NewerFormatError, describes_itself, read_step, step_number

FIXED_FIELDS = (*MODEL_FIELDS, "seed", "corpus", "split", "encoding", "init_from")
"""Settings that are the same for all steps of a run."""


@dataclass(frozen=True, slots=True)
class RunReader:
    """The folder of one run, for reading. Needs no lock: a run can be read while another process trains it."""

    path: Path

    def steps(self) -> list[str]:
        """List the names of the committed steps, ascending. Raises CheckpointError when the folder cannot be read."""
        return list_steps(self.path)

    def read_pointer(self, name: str) -> str | None:
        """Return the step that the file `latest` or `best` names, None when it is missing or contains anything else."""
        return read_pointer(self.path, name)

    def verify(self, step_name: str) -> None:
        """Check every file of a step against its manifest. Raises CheckpointError naming the file that is damaged."""
        read_step(self.path / step_name, with_training=True)

    def is_validated(self) -> bool:
        """Whether a saved step was validated. Raises CheckpointError as `steps` does, and NewerFormatError."""
        return best_known(self.path)[0] is not None or os.path.lexists(self.path / "best")

    def load_best(self) -> LoadedStep:
        """Load the step with the lowest validation loss; the latest, if none was validated. Raises as `load_step`."""
        return self.load_step("best" if self.is_validated() else "latest", with_training=False)

    def load_step(self, which: str, *, with_training: bool) -> LoadedStep:
        """Load `latest`, `best` or a step by name; if it is damaged, the newest good step before it, with a warning.

        Later steps are tried only when none before it is good. Raises CheckpointError when no step can be loaded, when
        there is none of that name, or when it was made by a newer charrnn.
        """
        committed = self.steps()
        if not committed:
            raise CheckpointError(
                f"{self.path} has nothing saved yet\n"
                "train it again with the command that started it, or name another run"
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
                    # A training process saved and pruned while this was read: nothing is wrong, so start again.
                    return self.load_step(which, with_training=with_training)
                problems.append(str(error))
            else:
                if problems and which in KINDS and wanted_step(self.path, which) == (name, []):
                    problems = []  # A training process had saved this step and has moved the pointer since.
                problems += self._problems_beside(loaded.description)
                return replace(
                    loaded, warnings=tuple(f"{problem.splitlines()[0]}; using {name}" for problem in problems)
                )
        raise CheckpointError(
            f"no step of {self.path} can be loaded: {problems[0]}\nrestore it from a copy, or train a new run"
        )

    def read_config(self) -> Config:
        """Read the run's own configuration, which may be newer than any step's if a budget or rate was changed since.

        Raises CheckpointError when it is missing, too large or damaged, or leaves a field at `auto`.
        """
        return parse_config(self.path / CONFIG, self._read_config_yaml())

    def _read_config_yaml(self) -> bytes:
        path = self.path / CONFIG
        data = read_capped(path, max_bytes=MAX_TEXT_BYTES)
        check_seal(path, data, is_needed=self._must_be_sealed())
        return data

    def _problems_beside(self, description: Description) -> list[str]:
        """List what is wrong with the run's own two files, given those of a step that was verified."""
        problems = []
        try:
            own, saved = parse_config(self.path / CONFIG, self._read_config_yaml()), description.config()
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
                problems.append(f"{path} is damaged: it is not the alphabet of the saved steps")
        except CheckpointError as error:
            problems.append(str(error))
        return problems

    def _must_be_sealed(self) -> bool:
        """Whether the run's own `config.yaml` must have a seal: the newest readable manifest is of format 2."""
        for name in reversed(self.steps()):
            with contextlib.suppress(CheckpointError):
                return describes_itself(self.path / name)
        return False

    def _candidates(self, wanted: str | None) -> Iterator[str]:
        """Yield the wanted step, then earlier ones from the newest, then later ones."""
        if wanted is not None:
            yield wanted
        # Listed only now: while the wanted step was read, a training process may have pruned and saved.
        committed = self.steps()
        limit = float("inf") if wanted is None else step_number(wanted)
        yield from (name for name in reversed(committed) if step_number(name) < limit)
        yield from (name for name in committed if step_number(name) > limit)

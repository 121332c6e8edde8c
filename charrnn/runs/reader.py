"""A run folder as its readers see it: found by path or name, its checkpoints listed, verified and
loaded.

The newest checkpoint is the latest one, and its state names the best one. The files `latest` and
`best` repeat both for people and other programs; of charrnn, only a sweep looks whether they are
written. Where runs are searched in `CHECKPOINTS`, those directly in the current folder, where
`--out` saves them, are included.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from charrnn.config.settings import MODEL_FIELDS, Config
from charrnn.errors import CheckpointError, RunInUseError, named
from charrnn.runs.checkpoint import (
    Checkpoint,
    best_checkpoint,
    checkpoint_name,
    checkpoint_step,
    is_checkpoint_name,
    read_checkpoint,
    read_state,
)
from charrnn.runs.description import (
    CONFIG,
    VOCAB,
    MissingPartError,
    NewerFormatError,
    read_config,
)
from charrnn.runs.included import INCLUDED, read_cards
from charrnn.runs.model_file import MODEL_FILE_SUFFIX, ModelFile, is_model_file
from charrnn.system.files import JSON, MAX_TEXT_BYTES, convert_os_errors, read_capped
from charrnn.system.process import is_running, named_process, process_identity

FIXED_FIELDS = (*MODEL_FIELDS, "seed", "corpus", "split", "encoding", "init_from")
"""Settings that are the same in all checkpoints of a run."""
MAX_OWNER_BYTES = 300
"""Size of a lock file at most: the identity of a process, with a host name of 253 characters."""
CHECKPOINTS = Path("checkpoints")
"""The folder of new runs without a path of their own."""
WHERE = f"here or in {CHECKPOINTS}"
"""Where runs are searched, for messages."""
SWEEP = "sweep.json"
"""The file by which the folder of a sweep, whose subfolders are runs, is recognised."""


class _Wanted(NamedTuple):
    """The checkpoint that a command asks for."""

    name: str | None
    """Its folder; None for the best one if none was validated."""
    problem: str | None = None
    """Why the newest checkpoint cannot name the best one."""


@dataclass(frozen=True, slots=True)
class RunReader:
    """The folder of one run, for reading. Needs no lock: a run can be read while another process
    trains it."""

    path: Path

    @property
    def name(self) -> str:
        """The name of the folder, as commands take it; of a run of a sweep after that of the sweep.

        Where a run in the current folder has the same name as one in `CHECKPOINTS`, the latter is
        named by its path.
        """
        parent = self.path.parent
        name = self.path.name
        if os.path.isfile(parent / SWEEP):
            return f"{parent.name}/{name}"
        if parent == CHECKPOINTS and not _missing_from(Path(name)):
            return str(self.path)
        return name

    def checkpoints(self) -> list[str]:
        """List the names of the saved checkpoints, ascending. Raises CheckpointError if the folder
        cannot be read."""
        with (
            convert_os_errors("read", path=self.path, kind=CheckpointError),
            os.scandir(self.path) as entries,
        ):
            names = [
                entry.name
                for entry in entries
                if is_checkpoint_name(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
        return sorted(names, key=checkpoint_step)

    def saved_checkpoints(self) -> list[str]:
        """List the checkpoints, at least one. Raises CheckpointError if the folder cannot be
        read, and if nothing is saved yet."""
        saved_names = self.checkpoints()
        if not saved_names:
            raise CheckpointError(
                f"{self.path} has nothing saved yet\ntrain it again with the command that started"
                " it, or name another run"
            )
        return saved_names

    def newest_state(self) -> tuple[Mapping[str, JSON], str | None]:
        """Read the state of the newest checkpoint; it is empty if there is none.

        If the newest checkpoint is damaged, an older one is used, and the damage is returned too.
        Raises CheckpointError if the folder cannot be read, NewerFormatError.
        """
        problem = None
        for name in reversed(self.checkpoints()):
            try:
                return read_state(self.path / name), problem
            except NewerFormatError:
                # No damage: an older checkpoint would hide the newer program's work.
                raise
            except CheckpointError as error:
                # A training process saved a newer one and removed this one.
                if name not in self.checkpoints():
                    return self.newest_state()
                problem = problem or str(error)
        return {}, problem

    def _wanted(self, which: str) -> _Wanted:
        """Return the checkpoint that `latest`, `best` or a name means."""
        if which == "latest":
            return _Wanted(self.checkpoints()[-1])
        if which == "best":
            state, problem = self.newest_state()
            return _Wanted(best_checkpoint(state), problem)
        return _Wanted(which)

    def load_best(self) -> Checkpoint:
        """Load the checkpoint with the lowest validation loss, or the latest one if none was
        validated.

        Raises CheckpointError if no checkpoint can be loaded or a newer charrnn made it.
        """
        which = "best"
        if best_checkpoint(self.newest_state()[0]) is None:
            which = "latest"
        return self.load_checkpoint(which, with_training=False)

    def load_step(self, step: int) -> Checkpoint:
        """Load the checkpoint of a step. Raises CheckpointError, with the steps that there are."""
        # This step or none: unlike `latest` and `best`, no other one is what was asked for.
        name = checkpoint_name(step)
        known = self.checkpoints()
        problem = "does not exist"
        if name in known:
            loaded = self.load_checkpoint(name, with_training=False)
            if loaded.name == name:
                return loaded
            problem = "is damaged"  # and another one was taken in its place

        listed = ", ".join(f"{checkpoint_step(one):,}" for one in known)
        raise CheckpointError(f"{self.path / name} {problem}\ncheckpoints of this run: {listed}")

    def load_checkpoint(self, which: str, *, with_training: bool) -> Checkpoint:
        """Load `latest`, `best` or a checkpoint by name; if it is damaged, the newest intact one
        before it.

        Later checkpoints are used only if none before it is intact. A damaged file is one of the
        `warnings`. Raises CheckpointError if no checkpoint can be loaded, none has that name, or it
        was made by a newer charrnn.
        """
        saved_names = self.saved_checkpoints()
        if which not in ("latest", "best", *saved_names):
            raise CheckpointError(
                f"no {which} in {self.path}\nsaved there: {', '.join(saved_names[-5:])}"
            )

        # The wanted one, or else the nearest that is intact.
        wanted = self._wanted(which)
        problems = [] if wanted.problem is None else [wanted.problem]
        for name in self._candidates(wanted.name):
            try:
                loaded = read_checkpoint(self.path / name, with_training=with_training)
            except (MissingPartError, NewerFormatError):
                raise
            except CheckpointError as error:
                # A training process saved and pruned while this was read: nothing is wrong, so
                # start again.
                if self._wanted(which).name != wanted.name:
                    return self.load_checkpoint(which, with_training=with_training)
                if str(error) not in problems:
                    problems.append(str(error))
                continue

            # A training process has pruned what was being read, and saved this one.
            if problems and self._wanted(which) == _Wanted(name):
                problems = []
            return self._with_warnings(loaded, problems)

        raise CheckpointError(
            f"no checkpoint of {self.path} can be loaded: {problems[0]}\nrestore it from a copy, or"
            " train a new run"
        )

    def _with_warnings(self, loaded: Checkpoint, problems: list[str]) -> Checkpoint:
        """Add what is wrong with other checkpoints, and with the files beside them, to one that was
        loaded."""
        warnings = [
            f"{problem.splitlines()[0]}; using {loaded.name}"
            for problem in (*problems, *self._problems_beside(loaded))
        ]
        instead_of = problems[0].splitlines()[0] if problems else None
        return replace(loaded, warnings=tuple(warnings), instead_of=instead_of)

    def read_config(self) -> Config:
        """Read the run's own configuration, newer than any checkpoint's if a budget was changed
        since.

        Raises CheckpointError when it is missing, too large or damaged, or leaves a field at
        `auto`.
        """
        return read_config(self.path / CONFIG)

    def _problems_beside(self, loaded: Checkpoint) -> list[str]:
        """List what is wrong with the run's own two files, given those of a verified checkpoint."""
        description = loaded.description
        saved = description.config()
        problems = []

        # The configuration: it may have another budget, but no other model.
        try:
            own = self.read_config()
            other = [name for name in FIXED_FIELDS if getattr(own, name) != getattr(saved, name)]
            if other:
                problems.append(
                    f"{description.folder} was saved with another {other[0]} than"
                    f" {self.path / CONFIG} gives: it may belong to another run"
                )
        except CheckpointError as error:
            problems.append(str(error))

        # The alphabet, which never changes.
        try:
            if read_capped(self.path / VOCAB, max_bytes=MAX_TEXT_BYTES) != description.vocab_json:
                problems.append(
                    f"{self.path / VOCAB} is damaged: it is not the alphabet of the checkpoints"
                )
        except CheckpointError as error:
            problems.append(str(error))
        return problems

    def _candidates(self, wanted: str | None) -> Iterator[str]:
        """Yield the wanted checkpoint, then earlier ones from the newest, then later ones."""
        if wanted is not None:
            yield wanted

        # Listed only now: while the wanted checkpoint was read, a training process may have pruned
        # and saved.
        saved_names = self.checkpoints()
        limit = math.inf if wanted is None else checkpoint_step(wanted)
        yield from (name for name in reversed(saved_names) if checkpoint_step(name) < limit)
        yield from (name for name in saved_names if checkpoint_step(name) > limit)


def open_run(run: str | None) -> RunReader:
    """Open the run at path `run` or of that name in CHECKPOINTS; None is the run that saved last,
    as `resume` needs.

    Raises CheckpointError if there is no such run, or if it has no checkpoint yet.
    """
    found = choose_run(run)
    found.saved_checkpoints()
    return found


def choose_run(run: str | None) -> RunReader:
    """Open the run at path `run` or of that name in CHECKPOINTS, even if it has no checkpoint
    yet; None is the run that saved last. Raises CheckpointError if there is no such run."""
    if run is None:
        return _saved_runs()[-1]
    return find_run(run)


def open_run_to_read(run: str | None) -> tuple[RunReader | ModelFile, str | None]:
    """Open a run like `open_run`, or what `find_model_file` finds; but None is the newest run that
    was validated or imported.

    Also return a warning if none was, or if a newer run is damaged. A run that has just started, or
    was stopped at once, is newer than the one that the user means. Raises CheckpointError if there
    is no such run, or if it has no checkpoint yet.
    """
    if run is not None:
        return find_model_file(run) or open_run(run), None

    # No included model is used unasked: its text would look like that of one's own run.
    instead = ", or use an included model: charrnn sample prose"
    damage = None
    for folder in reversed(_saved_runs(instead)):
        state, problem = folder.newest_state()
        if best_checkpoint(state) is not None or state.get("is_imported"):
            return folder, damage
        # The user means this run, and would take the text of an older one for its text.
        if problem:
            damage = f"{problem}; an older run is used instead"

    # Better than none: the user sees in the warning what it is.
    return open_run(None), f"no run {WHERE} has been validated yet; using the newest"


def find_model_file(run: str) -> ModelFile | None:
    """Return the model file at that path, or the included model of that name; None where there is
    neither, or a run has the name."""
    if is_model_file(run):
        return ModelFile(Path(run))

    # A folder of that name that is no run, such as the one of a program's `code`, hides nothing.
    if any(not _missing_from(place) for place in (Path(run), CHECKPOINTS / run)):
        return None
    if run not in read_cards():
        return None
    return ModelFile(INCLUDED / f"{run}{MODEL_FILE_SUFFIX}")


def _saved_runs(instead: str = "") -> list[RunReader]:
    """List the runs with a checkpoint, oldest first; all runs if none has one. Raises
    CheckpointError for no run, whose message names the remedy and what else there is `instead`."""
    known = _oldest_first(_with_those_here(list_runs(CHECKPOINTS)))
    if not known:
        remedy = f"train one first: charrnn train{instead}"
        raise CheckpointError(f"no runs {WHERE} yet\n{remedy}")

    # By name only: this is done for every command, and verifying all runs would take seconds.
    saved = [run for run in known if os.path.isdir(run.path) and any(run.path.glob("step-*"))]
    return saved or known


def list_runs(folder: Path) -> list[RunReader]:
    """List the runs in a folder, oldest first by their last save; other entries, sweeps too, are
    skipped.

    Raises CheckpointError if `folder` exists but cannot be read.
    """
    try:
        entries = list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"cannot read {folder}: {error.strerror or error}") from error

    # A run that may not be read is listed: whoever opens it reads why it cannot be.
    runs = [entry for entry in entries if _is_unreadable(entry) or not _missing_from(entry)]
    return _oldest_first(map(RunReader, runs))


def list_runs_and_sweeps() -> list[RunReader]:
    """List the runs and those of the sweeps in CHECKPOINTS and directly in the current folder,
    oldest first.

    Raises CheckpointError if CHECKPOINTS exists but cannot be read.
    """
    found = _with_those_here(list_runs(CHECKPOINTS))
    folders = _subfolders(CHECKPOINTS) + _folders_here()
    sweeps = [folder for folder in folders if os.path.isfile(folder / SWEEP)]

    # By the resolved path: CHECKPOINTS may be a link into the current folder.
    for sweep in {folder.resolve(): folder for folder in reversed(sweeps)}.values():
        found += list_runs(sweep)
    return _oldest_first(found)


def _with_those_here(runs: list[RunReader]) -> list[RunReader]:
    """Add the runs directly in the current folder, each once, to those in CHECKPOINTS."""
    here = [RunReader(folder) for folder in _folders_here() if not _missing_from(folder)]
    return list({run.path.resolve(): run for run in here + runs}.values())


def _folders_here() -> list[Path]:
    """List the folders directly in the current one, without hidden ones; none if it is a run or a
    sweep itself."""
    # Their subfolders are checkpoints, or runs of the sweep.
    if not _missing_from(Path()) or os.path.isfile(SWEEP):
        return []
    return [folder for folder in _subfolders(Path()) if not folder.name.startswith(".")]


def _subfolders(path: Path) -> list[Path]:
    try:
        # Not Path.is_dir, which raises for a link into a folder without permission.
        return [entry for entry in path.iterdir() if os.path.isdir(entry)]
    except (OSError, ValueError):  # missing, or reported by `list_runs`; a NUL in the name
        return []


def _oldest_first(runs: Iterable[RunReader]) -> list[RunReader]:
    return sorted(runs, key=lambda run: (_last_change(run.path), run.name))


def runs_of_sweep(name: str) -> list[RunReader] | None:
    """Return the runs of the sweep with that path or name, oldest first; None if there is none.

    Raises CheckpointError if its folder cannot be read.
    """
    if not name or "\0" in name:
        return None
    for place in (Path(name), CHECKPOINTS / name):
        if os.path.isfile(place / SWEEP):
            return list_runs(place)
    return None


def check_not_in_use(folder: Path) -> None:
    """Raise RunInUseError if the lock of a folder names another process that runs on this host."""
    try:
        owner = read_capped(folder / "lock", max_bytes=MAX_OWNER_BYTES).decode("ascii", "replace")
    except (OSError, CheckpointError):
        return
    if is_running(owner) and owner != process_identity(os.getpid()):
        raise RunInUseError(
            f"{folder} is in use by {named_process(owner)}\n"
            "wait for it or stop it, or start a new run"
        )


def find_run(run: str) -> RunReader:
    """Open the run at that path, else of that name, even if it has no checkpoint yet.

    Raises RunInUseError for a run that another process is just starting, CheckpointError with what
    is missing, or similar names.
    """
    places = [Path(run), CHECKPOINTS / run] if run else []

    # The path counts first, then the name.
    for place in places:
        if _is_unreadable(place):
            raise CheckpointError(
                f"cannot read {place}: {os.strerror(errno.EACCES)}\ncheck that you may read it"
            )
        if not _missing_from(place):
            return RunReader(place if place.name.strip(".") else place.resolve())
        if os.path.isfile(place):
            raise CheckpointError(_about_file(place, run))

    # A sweep is no run, but has some.
    in_sweep = runs_of_sweep(run)
    if in_sweep is not None:
        names = ", ".join(folder.name for folder in in_sweep[:3]) or "it has none yet"
        raise CheckpointError(f"{run} is a sweep, not a run\nname one of its runs: {names}")

    # Nor is an included model, which has no folder either.
    if run in read_cards():
        raise CheckpointError(_about_file(INCLUDED / f"{run}{MODEL_FILE_SUFFIX}", run))

    # There is no such run: say what is near it.
    known = [folder.name for folder in reversed(list_runs_and_sweeps())]
    listing = "none there yet; train one first: charrnn train"
    if known:
        listing = f"newest runs: {', '.join(known[:5])}"
    for place in places:
        if os.path.isdir(place):
            check_not_in_use(place)
            missing = " and no ".join(_missing_from(place))
            raise CheckpointError(f"{place} is not a run: it has no {missing}\n{listing}")

    given = run if "/" in run else Path(run).name
    near = difflib.get_close_matches(given, [*known, *read_cards()], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise CheckpointError(f"no run {run!r} {WHERE}\n{hint}{listing}")


def _about_file(path: Path, run: str) -> str:
    if is_model_file(path):
        remedy = f"start a new run with its weights: {named('init_from', run)}"
        return f"{run} has no optimizer state to continue from\n{remedy}"
    return (
        f"{str(path)!r} is a file, not a run\ngive the folder of a run, or a .zip that `charrnn"
        " export` wrote"
    )


def _missing_from(path: Path) -> list[str]:
    # Not Path.is_file, which raises for folders without permission and for names with a NUL.
    missing = [name for name in (CONFIG, VOCAB) if not os.path.isfile(path / name)]
    # Each checkpoint has a copy of both.
    if missing and any(is_checkpoint_name(folder.name) for folder in _subfolders(path)):
        return []
    return missing


def _is_unreadable(path: Path) -> bool:
    """Return whether a folder exists and permissions forbid looking into it."""
    try:
        os.stat(path / CONFIG)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return isinstance(error, PermissionError)
    return False


def _last_change(path: Path) -> int:
    """Nanoseconds since the epoch at which `latest` was last updated, or else the run was
    created."""
    for name in ("latest", CONFIG):
        with contextlib.suppress(OSError):
            return (path / name).stat().st_mtime_ns
    return 0

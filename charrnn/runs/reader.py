"""Find runs by path or name; list, verify and load the checkpoints of a run.

The latest checkpoint is the one with the highest step, and its state names the best checkpoint. The
files `latest` and `best` repeat both names for people and other programs. charrnn does not read
them. A search in `CHECKPOINTS` includes the runs directly in the current folder, where `--out`
saves them.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from charrnn.config.settings import MODEL_FIELDS, Config
from charrnn.errors import (
    CharRNNError,
    CheckpointError,
    FolderOfRunsError,
    OtherVersionError,
    RunInUseError,
    named,
)
from charrnn.runs.checkpoint import (
    CONFIG,
    MANIFEST,
    MODEL,
    VOCAB,
    Checkpoint,
    best_checkpoint,
    checkpoint_name,
    checkpoint_step,
    is_checkpoint,
    is_checkpoint_name,
    read_checkpoint,
    read_config,
    read_state,
)
from charrnn.runs.included import INCLUDED, read_cards
from charrnn.runs.model_file import MODEL_FILE_SUFFIX, ModelFile, is_model_file
from charrnn.system.files import JSON, convert_os_errors, forms_of, read_capped
from charrnn.system.process import is_running, named_process

FIXED_FIELDS = (*MODEL_FIELDS, "seed", "corpus", "split", "encoding", "init_from")
"""Settings that are the same in all checkpoints of a run."""
MAX_OWNER_BYTES = 300
"""Size of a lock file at most: the identity of a process, with a host name of 253 characters."""
CHECKPOINTS = Path("checkpoints")
"""The folder in which a new run is created if the user gives no path."""
WHERE = f"here or in {CHECKPOINTS}"
"""The folders in which runs are searched, as messages name them."""
NO_RUNS = (
    f"no runs {WHERE} yet\n"
    "train one first: charrnn train, or use an included model: charrnn sample prose"
)
"""What is said where there is no run to take."""


class NewestState(NamedTuple):
    """What the newest checkpoint of a run says, without its weights."""

    state: Mapping[str, JSON]
    """The state of the newest intact checkpoint; empty if there is none."""
    damage: str | None
    """A message about a newer checkpoint that is damaged; None if the newest is intact."""


@dataclass(frozen=True)
class RunReader:
    """Read the folder of one run. This needs no lock: a run can be read while another process
    trains it.

    A path is enough to make one, and nothing is read until it is asked for; `find_run` and
    `open_run_to_read` find the path by a name.
    """

    path: Path

    @property
    def name(self) -> str:
        """The name by which commands find the run.

        It is the name of the folder or, within another folder here or in `CHECKPOINTS`, the path
        from there, such as `sizes/64`. If a run in `CHECKPOINTS` has the same name as a run in the
        current folder, it is the path. A run elsewhere, with an absolute path, has the name of its
        folder.
        """
        if self.path.is_absolute():
            return self.path.name
        if not self.path.is_relative_to(CHECKPOINTS):
            return self.path.as_posix()
        name = self.path.relative_to(CHECKPOINTS).as_posix()
        if _is_run_folder(Path(name)):
            return self.path.as_posix()
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
        """List the names of the saved checkpoints, at least one, ascending.

        Whoever needs a checkpoint calls it, for a message that says what to wait for; `checkpoints`
        may be empty.

        Raises CheckpointError if the folder cannot be read or no checkpoint is saved yet.
        """
        saved_names = self.checkpoints()
        if not saved_names:
            raise CheckpointError(
                f"{self.path} has nothing saved yet\ntrain it again with the command that started"
                " it, or name another run"
            )
        return saved_names

    def newest_state(self) -> NewestState:
        """Read the state of the newest checkpoint, or of the newest intact one if that is damaged.

        A list of runs needs no more than this: no weights are read. Raises CheckpointError if the
        folder cannot be read, OtherVersionError if a newer charrnn saved the checkpoint.
        """
        problem = None
        for name in reversed(self.checkpoints()):
            try:
                return NewestState(read_state(self.path / name), damage=problem)
            except OtherVersionError:
                # This is no damage, and an older checkpoint would hide the newer program's work.
                raise
            except CheckpointError as error:
                # A training process has saved a newer checkpoint and removed this one.
                if name not in self.checkpoints():
                    return self.newest_state()
                problem = problem or str(error)
        return NewestState({}, damage=problem)

    def load_best(self) -> Checkpoint:
        """Load the checkpoint with the lowest validation loss, or the latest one if none was
        validated.

        Everything that uses a model loads this one: the latest may have learned its text by heart.

        Raises CheckpointError if no checkpoint can be loaded or a newer charrnn saved it.
        """
        return self.load_checkpoint("best", with_training=False)

    def load_step(self, step: int) -> Checkpoint:
        """Load the checkpoint of a step. Raises CheckpointError if it is missing, with the steps
        that are saved, or damaged: no other one replaces it.

        It is for a step that the user has named, in place of which no other will do.
        """
        saved_names = self.saved_checkpoints()
        name = checkpoint_name(step)
        if name not in saved_names:
            steps = ", ".join(f"{checkpoint_step(saved_name):,}" for saved_name in saved_names)
            raise CheckpointError(
                f"{self.path / name} does not exist\ncheckpoints of this run: {steps}"
            )
        checkpoint = read_checkpoint(self.path / name, with_training=False)
        return self._with_warnings(checkpoint, reasons=[])

    def load_checkpoint(self, which: str, *, with_training: bool) -> Checkpoint:
        """Load the checkpoint that `latest`, `best` or a name means.

        `resume` calls it for `latest`, where the newest intact checkpoint is what a user wants.

        If it is damaged, the newest intact checkpoint before it is loaded instead, or the first
        intact one after it if there is none before. The `warnings` of the result name the damaged
        files. Raises CheckpointError if no checkpoint can be loaded, or another version of charrnn
        saved it.
        """
        while True:
            # Choose the checkpoint.
            names = self.saved_checkpoints()
            wanted = names[-1] if which == "latest" else which
            problem: str | None = None
            if which == "best":
                state, problem = self.newest_state()
                wanted = best_checkpoint(state) or names[-1]
            problems = [problem] if problem else []
            step = checkpoint_step(wanted)

            def distance(name: str, step: int = step) -> tuple[bool, int]:
                return checkpoint_step(name) > step, abs(checkpoint_step(name) - step)

            # Load it, or else the nearest intact one.
            checkpoint = None
            for name in sorted({wanted, *names}, key=distance):
                try:
                    checkpoint = read_checkpoint(self.path / name, with_training=with_training)
                    break
                except OtherVersionError:
                    raise
                except CheckpointError as error:
                    problems.append(str(error))

            # A training process may have saved and pruned meanwhile: that is no damage.
            if not problems or names == self.saved_checkpoints():
                break

        if checkpoint is None:
            raise CheckpointError(
                f"no checkpoint of {self.path} can be loaded: {problems[0]}\nrestore it from a"
                " copy, or train a new run"
            )
        # The state of a damaged checkpoint and the checkpoint itself have the same problem.
        reasons = list(dict.fromkeys(problem.splitlines()[0] for problem in problems))
        checkpoint = self._with_warnings(checkpoint, reasons)
        return replace(checkpoint, instead_of=reasons[0] if reasons else None)

    def _with_warnings(self, checkpoint: Checkpoint, reasons: Sequence[str]) -> Checkpoint:
        """Return a checkpoint with a warning for each of the reasons why another one is not used,
        and for each problem of the files beside it."""
        beside = [problem.splitlines()[0] for problem in self.problems_beside(checkpoint)]
        warnings = [f"{problem}; using {checkpoint.name}" for problem in (*reasons, *beside)]
        return replace(checkpoint, warnings=tuple(warnings))

    def read_config(self) -> Config:
        """Read the configuration in the run's folder.

        A checkpoint has the configuration with which it was trained; this one is what the training
        goes on with.

        It is newer than the configuration in any checkpoint if a budget was changed after the last
        save. Raises CheckpointError if it is missing, too large or damaged, or leaves a field at
        `auto`.
        """
        return read_config(self.path / CONFIG)

    def problems_beside(self, checkpoint: Checkpoint) -> list[str]:
        """List the problems of the configuration and the alphabet in the run's folder, compared
        with the copies in a verified checkpoint.

        The checkpoint decides, so that a run with such problems can be used; `charrnn runs check`
        and every command that loads a checkpoint name them.
        """
        saved_config = checkpoint.description.config()
        problems = []

        # The configuration may have another budget, but no other model.
        try:
            config = self.read_config()
            if any(getattr(config, name) != getattr(saved_config, name) for name in FIXED_FIELDS):
                problems.append(f"{self.path / CONFIG} is that of another run")
        except CheckpointError as error:
            problems.append(str(error))

        # The alphabet never changes.
        try:
            vocab_json = read_capped(self.path / VOCAB)
            if vocab_json != checkpoint.description.vocab_json:
                problems.append(f"{self.path / VOCAB} is damaged or that of another run")
        except CheckpointError as error:
            problems.append(str(error))
        return problems


def choose_run(run: str | None) -> RunReader:
    """Open a run by its path or by its name in CHECKPOINTS, even if it has no checkpoint yet.

    It is for what goes on with a training. A model is only read by `open_run_to_read`, which also
    knows model files and takes another newest run. None means the run that saved last, which
    `resume` continues. Raises CheckpointError if there is no such run.
    """
    if run is None:
        return _saved_runs()[-1]
    return find_run(run)


class OpenedRun(NamedTuple):
    """A run or a model file that was found."""

    run: RunReader | ModelFile
    """What reads it."""
    warning: str | None
    """A sentence that no run was validated, or that a newer run is damaged; None if the run is the
    one that the user means."""


def open_run_to_read(run: str | None) -> OpenedRun:
    """Open a run or a model file by its path or name, as every command that reads a model does.

    `choose_run` is for a run that is to be trained on, `find_run` for one that must have a name.
    None means the newest run that was validated: a run that has just started, or was stopped at
    once, is newer but not the one that the user means. Raises CheckpointError if there is no such
    run, or if it has no checkpoint yet.
    """
    if run is not None:
        found = find(run) or find_run(run)
        if isinstance(found, RunReader):
            found.saved_checkpoints()
        return OpenedRun(found, warning=None)

    damage = None
    runs = _saved_runs()
    for folder in reversed(runs):
        state, problem = folder.newest_state()
        if best_checkpoint(state) is not None:
            return OpenedRun(folder, warning=damage)
        # The user means this damaged run, and would take the text of the older run for its text.
        if problem:
            damage = f"{problem}; an older run is used instead"

    # A run that was not validated is better than none, and the warning says so.
    runs[-1].saved_checkpoints()
    warning = f"no run {WHERE} has been validated yet; using the newest"
    return OpenedRun(runs[-1], warning=warning)


def newest_unfinished() -> str | None:
    """Return the path of the newest run that has steps left to train; None if there is none.

    It is what `resume` of a command means where neither a run nor a new budget is named. With a new
    budget a finished run can go on, too, and `choose_run` takes the one that saved last.
    """
    for folder in reversed(_saved_runs()):
        with suppress(CharRNNError):
            steps = folder.read_config().steps
            names = folder.checkpoints()
            if names and steps is not None and checkpoint_step(names[-1]) < steps:
                return str(folder.path)
    return None


def _saved_runs() -> list[RunReader]:
    """List the runs with a checkpoint, oldest first; all runs if none has a checkpoint. Raises
    CheckpointError if there is no run."""
    runs = list_all_runs()
    if not runs:
        # An included model is used only when it is named: its text could be mistaken for the text
        # of the user's own run.
        raise CheckpointError(NO_RUNS)

    # Only the names of checkpoints are looked at: every command does this, and verifying all runs
    # would take seconds.
    saved = [run for run in runs if any(run.path.glob("step-*"))]
    return saved or runs


def list_all_runs() -> list[RunReader]:
    """List the runs in CHECKPOINTS and in the current folder, and those in a folder there, such as
    `sizes/64`; oldest first. Other entries are skipped.

    It only looks at folders, so it is fast among hundreds of runs; `overview.run_summaries` reads
    what they are.
    """
    return _all_runs(_is_run_folder)


def list_folders_like_runs() -> list[RunReader]:
    """List all runs, and the folders at the same places that only look like one
    (`looks_like_run`); oldest first.

    It is for who wants to know of damage; every other list leaves out what cannot be used.
    """
    return _all_runs(looks_like_run)


def looks_like_run(path: Path) -> bool:
    """Whether a folder is a run, or has a folder with the name of a checkpoint: it may be a run
    whose files are damaged or gone."""
    if _is_run_folder(path):
        return True
    if not os.path.isdir(path) or is_model_file(path):
        return False
    return any(is_checkpoint_name(inner.name) for inner in path.glob("step-*"))


def _all_runs(is_run: Callable[[Path], bool]) -> list[RunReader]:
    """List the folders here and in CHECKPOINTS, and in a folder there, for which a function says
    that they are runs; oldest first."""
    folders = _subfolders(CHECKPOINTS)
    # The subfolders of a run are checkpoints.
    if not is_run(Path()):
        folders += _shown(_subfolders(Path()))

    # A link may lead from one place to the other.
    runs = {path.resolve(): RunReader(path) for path in _runs_below(folders, is_run)}
    return sorted(runs.values(), key=lambda run: (last_change(run.path), run.name))


def _runs_below(folders: Sequence[Path], is_run: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield the folders that are runs, and the runs directly in the others."""
    for folder in folders:
        if is_run(folder):
            yield folder
            continue
        # A folder of somebody else need not be readable.
        with suppress(CharRNNError):
            yield from filter(is_run, _shown(_subfolders(folder)))


def _subfolders(path: Path) -> list[Path]:
    if not os.path.isdir(path):
        return []
    with convert_os_errors("read", path=path):
        # Not Path.is_dir, which raises for a link into a folder without permission.
        return [entry for entry in path.iterdir() if os.path.isdir(entry)]


def _shown(folders: Sequence[Path]) -> list[Path]:
    """Return the folders that are not hidden."""
    return [folder for folder in folders if not folder.name.startswith(".")]


IN_USE_REMEDY = "wait for it or stop it, or start a new run"
"""What the message about a run that another process trains advises."""


def check_not_in_use(folder: Path) -> None:
    """Raise RunInUseError if the lock of a folder names a process that runs on this host.

    It is asked where there is something that is no run yet: another process may just be starting
    it. It takes no lock, as `writer.lock_folder` does for whoever writes.
    """
    with suppress(CheckpointError):
        owner = read_capped(folder / "lock", max_bytes=MAX_OWNER_BYTES).decode("ascii", "replace")
        if is_running(owner):
            raise RunInUseError(f"{folder} is in use by {named_process(owner)}\n{IN_USE_REMEDY}")


def paths_of(run: str) -> list[Path]:
    """Return the paths that a run may mean: a path counts before a name in CHECKPOINTS.

    The order is the same in every command, so that a name means the same run in all of them.
    """
    return [folder / name for folder in (Path(), CHECKPOINTS) for name in forms_of(run)]


def find(run: str) -> RunReader | ModelFile | None:
    """Return the run or the model file at the path `run`, the run of that name in CHECKPOINTS, or
    else the included model of that name; None if there is none.

    It raises nothing where a name may also be something else, such as that of a file; `find_run` is
    for a name that must be a run. A run may have no checkpoint yet.
    """
    # A folder of that name that is no run, such as a folder `code`, does not hide the included
    # model.
    for path in paths_of(run):
        if is_model_file(path):
            return ModelFile(path)
        if run and _is_run_folder(path):
            return RunReader(path if path.name.strip(".") else path.resolve())
    if run in read_cards():
        return ModelFile(INCLUDED / f"{run}{MODEL_FILE_SUFFIX}")
    return None


def find_run(run: str) -> RunReader:
    """Open a run by its path or name, even if it has no checkpoint yet.

    Use it to list, resume or delete a run. What only reads a model uses `open_run_to_read`, for
    which a model file will do, too. Raises RunInUseError if another process is just starting the
    run, and CheckpointError if there is no such run; the message names similar names.
    """
    found = find(run)
    if isinstance(found, ModelFile):
        raise CheckpointError(
            f"{run} is an exported model, which is one step of a run\n"
            f"name a run, or start one with these weights: {named('init_from', run)}"
        )
    if found is not None:
        return found
    for path in paths_of(run):
        check_not_in_use(path)
        _check_no_step(path)
        _check_no_folder_of_runs(run, path)

    # There is no such run: the message lists the newest runs and similar names.
    names = [folder.name for folder in reversed(list_all_runs())]
    listing = ", ".join(names[:5]) or "none there yet (train one: charrnn train)"
    base_name = run if "/" in run else Path(run).name
    near = difflib.get_close_matches(base_name, [*names, *read_cards()], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise CheckpointError(
        f"no run {run!r} in {os.path.abspath('')} or in its folder {CHECKPOINTS}\n"
        f"{hint}newest runs: {listing}; included models: {', '.join(read_cards())}"
    )


def _check_no_step(path: Path) -> None:
    """Raise CheckpointError, which says how it is named, for a checkpoint in the folder of a run:
    it is what a shell completes a path to."""
    folder = Path(os.path.abspath(path)).parent
    if is_step_folder(path) and looks_like_run(folder):
        run = path.parent if path.parent.name else folder
        raise CheckpointError(
            f"{path} is one step of a run\n"
            f"name the run and the step: {run}@{checkpoint_step(path.name)}"
        )


def _check_no_folder_of_runs(run: str, path: Path) -> None:
    """Raise FolderOfRunsError, which names them, for a folder with runs in it; `run` is its name as
    it was typed."""
    names = [RunReader(inner).name for inner in sorted(_runs_below([path], _is_run_folder))]
    if names:
        raise FolderOfRunsError(run, path=path, names=names)


def _is_run_folder(path: Path) -> bool:
    """Whether a folder has the files of a run, or one of its checkpoints, which has copies of
    them."""
    # Not Path.is_dir, which raises for folders without permission and for names with a NUL. An
    # exported model has both files, and nothing from which training could continue.
    if not os.path.isdir(path) or is_model_file(path) or is_step_folder(path):
        return False
    if all(os.path.isfile(path / name) for name in (CONFIG, VOCAB)):
        return True
    return any(map(is_checkpoint, path.glob("step-*")))


def is_step_folder(path: Path) -> bool:
    """Whether a folder has the name of a checkpoint and a file that no run has, weights or a
    manifest: it may be a damaged one.

    It has a copy of the configuration, and would be taken for a run.
    """
    # Not Path.exists, which raises in a folder that may be listed but not entered.
    return is_checkpoint_name(path.name) and any(
        os.path.lexists(path / name) for name in (MODEL, MANIFEST)
    )


def last_change(path: Path) -> int:
    """Return when `latest` was last written, or else `config.yaml`, in nanoseconds since the epoch;
    0 if neither exists.

    It sorts runs by age, without reading them.
    """
    for name in ("latest", CONFIG):
        with suppress(OSError):
            return (path / name).stat().st_mtime_ns
    return 0


class RunAtStep(NamedTuple):
    """The parts of RUN@STEP."""

    run: str | None
    """The run; None for the newest."""
    step: int | None
    """The step; None for the best checkpoint."""


def split_step(run: str | None) -> RunAtStep:
    """Split RUN@STEP into the run and the step. If a run has the whole text as its name, it has no
    step.

    A user may type a step wherever a command takes a run.
    """
    match = re.fullmatch(r"(.+)@(\d{1,9})", run or "", re.DOTALL)

    # A folder may have a name with an @; then the whole text is the run.
    if match is None or find(match[0]) is not None:
        return RunAtStep(run, step=None)
    return RunAtStep(match[1], step=int(match[2]))

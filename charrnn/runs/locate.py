"""Finds a run by path or name, or the newest one; suggests similar names.

Where runs are searched in `CHECKPOINTS`, those directly in the current folder, where `--out` saves them, are included.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
from pathlib import Path

from charrnn.errors import CheckpointError, named
from charrnn.runs.description import CONFIG, VOCAB
from charrnn.runs.model_file import ModelFile, is_model_file
from charrnn.runs.reader import CHECKPOINTS, SWEEP, RunReader


def open_run(run: str | None, checkpoints: Path = CHECKPOINTS) -> RunReader:
    """Open the run at path `run` or of that name in `checkpoints`; None is the run that saved last, as `resume` needs.

    Raises CheckpointError if there is no such run, or if it has no checkpoint yet.
    """
    found = _saved_runs(checkpoints)[-1] if run is None else find_run(run, checkpoints)
    found.saved_checkpoints()
    return found


def open_run_to_read(run: str | None, checkpoints: Path = CHECKPOINTS) -> tuple[RunReader | ModelFile, str | None]:
    """Open a run like `open_run`, or a model file; but None is the newest run that was validated or imported.

    Also return a warning if none was. A run that has just started, or was stopped at once, is newer than the one that
    the user means. Raises CheckpointError as `open_run` does.
    """
    if run is not None:
        return ModelFile(Path(run)) if is_model_file(run) else open_run(run, checkpoints), None
    saved = _saved_runs(checkpoints)
    for folder in reversed(saved):
        if folder.is_validated() or folder.is_imported():
            return folder, None
    newest = open_run(None, checkpoints)
    return newest, f"no run {where(checkpoints)} has been validated yet; using the newest, {newest.path.name}"


def _saved_runs(checkpoints: Path) -> list[RunReader]:
    """List the runs with a checkpoint, oldest first; all runs if none has one. Raises CheckpointError for no run."""
    known = _oldest_first(_with_those_here(list_runs(checkpoints), checkpoints))
    if not known:
        raise CheckpointError(f"no runs {where(checkpoints)} yet\ntrain one first: charrnn train")
    return [folder for folder in known if os.path.isfile(folder.path / "latest")] or known


def where(checkpoints: Path) -> str:
    """Return where runs are searched, for messages: "in checkpoints", and "here or" if that is the default."""
    return f"{'here or ' if checkpoints == CHECKPOINTS else ''}in {checkpoints}"


def list_runs(checkpoints: Path) -> list[RunReader]:
    """List the runs in a folder, oldest first by their last save; other entries, sweeps too, are skipped.

    Raises CheckpointError if `checkpoints` exists but cannot be read.
    """
    try:
        entries = list(checkpoints.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"cannot read {checkpoints}: {error.strerror or error}") from error
    return _oldest_first([RunReader(entry) for entry in entries if _is_unreadable(entry) or not _missing_from(entry)])


def list_runs_and_sweeps(checkpoints: Path) -> list[RunReader]:
    """List the runs in a folder and those of the sweeps there, oldest first.

    Runs and sweeps directly in the current folder are included if `checkpoints` is the default. Raises as `list_runs`.
    """
    found = _with_those_here(list_runs(checkpoints), checkpoints)
    sweeps = [*_subfolders(checkpoints), *(_folders_here() if checkpoints == CHECKPOINTS else ())]
    for sweep in {folder.resolve(): folder for folder in reversed(sweeps)}.values():
        if os.path.isfile(sweep / SWEEP):
            found += list_runs(sweep)
    return _oldest_first(found)


def _with_those_here(runs: list[RunReader], checkpoints: Path) -> list[RunReader]:
    """Add the runs directly in the current folder, each once, to those in `checkpoints` if that is the default."""
    here = _folders_here() if checkpoints == CHECKPOINTS else []
    found = [*(RunReader(folder) for folder in here if not _missing_from(folder)), *runs]
    return list({run.path.resolve(): run for run in found}.values())


def _folders_here() -> list[Path]:
    """List the folders directly in the current one, without hidden ones; none if it is a run or a sweep itself."""
    if not _missing_from(Path()) or os.path.isfile(SWEEP):  # whose subfolders are checkpoints, or runs of the sweep
        return []
    return [folder for folder in _subfolders(Path()) if not folder.name.startswith(".")]


def _subfolders(path: Path) -> list[Path]:
    try:
        # Not Path.is_dir, which raises for a link into a folder without permission.
        return [entry for entry in path.iterdir() if os.path.isdir(entry)]
    except OSError:  # missing, or reported by `list_runs`
        return []


def _oldest_first(runs: list[RunReader]) -> list[RunReader]:
    return sorted(runs, key=lambda run: (_last_change(run.path), run.name))


def runs_of_sweep(name: str, checkpoints: Path = CHECKPOINTS) -> list[RunReader] | None:
    """Return the runs of the sweep with that path or name, oldest first; None if there is none.

    Raises CheckpointError if its folder cannot be read.
    """
    places = [Path(name), checkpoints / name] if name and "\0" not in name else []
    return next((list_runs(place) for place in places if os.path.isfile(place / SWEEP)), None)


def find_run(run: str, checkpoints: Path = CHECKPOINTS) -> RunReader:
    """Open the run at that path, else of that name, even if it has no checkpoint yet.

    Raises CheckpointError with what is missing, or similar names.
    """
    places = [Path(run), checkpoints / run]
    for place in places:
        if run and _is_unreadable(place):
            raise CheckpointError(f"cannot read {place}: {os.strerror(errno.EACCES)}\ncheck that you may read it")
        if run and not _missing_from(place):
            return RunReader(place)
        if run and os.path.isfile(place):
            raise CheckpointError(_about_file(place))
    if (in_sweep := runs_of_sweep(run, checkpoints)) is not None:
        names = ", ".join(folder.name for folder in in_sweep[:3]) or "it has none yet"
        raise CheckpointError(f"{run} is a sweep, not a run\nname one of its runs: {names}")
    known = [folder.name for folder in reversed(list_runs_and_sweeps(checkpoints))]
    near = difflib.get_close_matches(run if "/" in run else Path(run).name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    listing = f"newest runs: {', '.join(known[:5])}" if known else "none there yet; train one first: charrnn train"
    for place in places:
        if run and os.path.isdir(place):
            missing = " and no ".join(_missing_from(place))
            raise CheckpointError(f"{place} is not a run: it has no {missing}\n{listing}")
    raise CheckpointError(f"no run {run!r} here or in {checkpoints}\n{hint}{listing}")


def _about_file(path: Path) -> str:
    if is_model_file(path):
        remedy = f"start a new run with its weights: {named('init_from', str(path))}"
        return f"{path} has no optimizer state to continue from\n{remedy}"
    return f"{str(path)!r} is a file, not a run\ngive the folder of a run, or a .zip that `charrnn export` wrote"


def _missing_from(path: Path) -> list[str]:
    # Not Path.is_file, which raises for folders without permission and for names with a NUL.
    return [name for name in (CONFIG, VOCAB) if not os.path.isfile(path / name)]


def _is_unreadable(path: Path) -> bool:
    """Return whether a folder exists and permissions forbid looking into it."""
    try:
        os.stat(path / CONFIG)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return isinstance(error, PermissionError)
    return False


def _last_change(path: Path) -> int:
    """Nanoseconds since the epoch at which `latest` was last updated, or else the run was created."""
    for name in ("latest", CONFIG):
        with contextlib.suppress(OSError):
            return (path / name).stat().st_mtime_ns
    return 0

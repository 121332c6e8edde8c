"""Which run is meant: by path, by name, or the newest; a name mistyped meets the nearest ones."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
from pathlib import Path

from charrnn.errors import CheckpointError
from charrnn.runs.description import CONFIG, VOCAB
from charrnn.runs.reader import RunReader


def open_run(run: str | None, checkpoints: Path = Path("checkpoints")) -> RunReader:
    """The run at path `run` or of that name under `checkpoints`; None is the one that saved last, as `resume` needs.

    Raises CheckpointError when there is no such run, or nothing is saved in it yet.
    """
    found = _saved_runs(checkpoints)[-1] if run is None else _find_run(run, checkpoints)
    if not found.checkpoints():
        raise CheckpointError(
            f"{found.path} has nothing saved yet\ntrain it again with the command that started it, or name another run"
        )
    return found


def open_run_to_read(run: str | None, checkpoints: Path = Path("checkpoints")) -> tuple[RunReader, str | None]:
    """As `open_run`, but None is the newest run that was validated, and a warning to show where none was.

    A run that has just started, or was abandoned at once, is newer than the one that a reader means. Raises
    CheckpointError as `open_run` does.
    """
    if run is not None:
        return open_run(run, checkpoints), None
    saved = _saved_runs(checkpoints)
    for folder in reversed(saved):
        if folder.is_validated():
            return folder, None
    newest = open_run(None, checkpoints)
    return newest, f"no run in {checkpoints} has been validated yet; using the newest, {newest.path.name}"


def _saved_runs(checkpoints: Path) -> list[RunReader]:
    """The runs that have saved something, oldest first; all of them, if none has. Raises CheckpointError for none."""
    known = list_runs(checkpoints)
    if not known:
        raise CheckpointError(f"no runs in {checkpoints} yet\ntrain one first: charrnn train")
    return [folder for folder in known if os.path.isfile(folder.path / "latest")] or known


def list_runs(checkpoints: Path) -> list[RunReader]:
    """The runs in a folder, oldest first by their last save; entries that are no runs are skipped.

    A folder that may not be looked into counts as one, so that it is not missing without a word. Raises CheckpointError
    when `checkpoints` is there but cannot be read.
    """
    try:
        entries = list(checkpoints.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"cannot read {checkpoints}: {error.strerror or error}") from error
    runs = [RunReader(entry) for entry in entries if _is_locked(entry) or not _missing_from(entry)]
    return sorted(runs, key=lambda run: (_last_change(run.path), run.path.name))


def _find_run(run: str, checkpoints: Path) -> RunReader:
    """The run at that path, else of that name. Raises CheckpointError with what is missing or the nearest names."""
    places = [Path(run), checkpoints / run]
    for place in places:
        if run and _is_locked(place):
            raise CheckpointError(f"cannot read {place}: {os.strerror(errno.EACCES)}\ncheck that you may read it")
        if run and not _missing_from(place):
            return RunReader(place)
    known = [folder.path.name for folder in reversed(list_runs(checkpoints))]
    near = difflib.get_close_matches(Path(run).name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    listing = f"newest runs: {', '.join(known[:5])}" if known else "none there yet; train one first: charrnn train"
    for place in places:
        if run and os.path.isdir(place):
            missing = " and no ".join(_missing_from(place))
            raise CheckpointError(f"{place} is not a run: it has no {missing}\n{listing}")
    raise CheckpointError(f"no run {run!r} here or in {checkpoints}\n{hint}{listing}")


def _missing_from(path: Path) -> list[str]:
    # os.path rather than Path.is_file, which raises on folders we may not enter and on impossible names.
    return [name for name in (CONFIG, VOCAB) if not os.path.isfile(path / name)]


def _is_locked(path: Path) -> bool:
    """Whether the system does not let us look into a folder."""
    try:
        os.stat(path / CONFIG)
    except PermissionError:
        return True
    except (OSError, ValueError):  # ValueError: an impossible name
        return False
    return False


def _last_change(path: Path) -> int:
    """Nanoseconds since the epoch: when `latest` last moved, or else when the run began."""
    for name in ("latest", CONFIG):
        with contextlib.suppress(OSError):
            return (path / name).stat().st_mtime_ns
    return 0

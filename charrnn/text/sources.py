"""Where a name leads: to a file, a folder, a pattern, standard input, the catalogue, or Python's own library."""

import glob
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from charrnn.errors import DataError, NotHereError
from charrnn.text.catalogue import fetch, find_entry, load_catalogue
from charrnn.text.files import unreadable

CORPORA_VARIABLE = "CHARRNN_CORPORA"
"""Environment variable with folders that corpora are looked for in, separated like those of PATH."""

RUN_FILES = frozenset({"config.yaml", "vocab.json"})
"""What makes a folder that of a run, which is no text: a run in the folder that it learned would change its text."""

_MAX_LINE_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Origin:
    """The files, or the one stream, that a source stands for."""

    label: str
    names: tuple[str, ...]
    paths: tuple[Path, ...] = ()
    stream: BinaryIO | None = None
    location: str | None = None
    """Absolute path of the file or the folder, or absolute pattern; None for a stream."""
    needs_plain: bool = False
    """Whether pipes and devices are refused, which may never end."""
    skips_unusable: bool = False
    """Whether unusable files are skipped (folder, pattern) rather than refused."""
    num_hidden: int = 0
    num_runs: int = 0
    """Hidden names, and folders of runs, that were left out."""


def find_origin(
    source: str,
    *,
    stdin: BinaryIO | None,
    corpora_dir: Path,
    on_download: Callable[[int, int], None] | None,
    is_named_by_run: bool,
) -> Origin:
    """Find what `source` stands for, as `corpus.read_corpus` describes it.

    Raises NotHereError if it leads nowhere, DataError if it cannot be read or downloaded.
    """
    if source == "-":
        if stdin is None and sys.stdin is None:  # closed by whoever started the command
            raise DataError("standard input (-) is closed: give a file, or pipe a text into the command")
        return Origin("standard input", ("stdin",), stream=stdin or sys.stdin.buffer)
    if not source.strip():
        raise DataError("a corpus was given as an empty name: give a file, a folder, a pattern or a catalogue name")
    folders = _corpora_folders(corpora_dir)
    path = _find_path(source, folders)
    if path is None and glob.has_magic(source):
        return _pattern(source, source)
    if path is None and (entry := find_entry(source)) is not None:
        if is_named_by_run:
            raise NotHereError(source, f"{source!r} is not here: charrnn corpora fetch {entry.name}")
        path = fetch(entry, corpora_dir, on_progress=on_download)
    if path is None:
        raise NotHereError(source, _not_found(source, folders))
    return _path(path, str(path), needs_plain=is_named_by_run)


def origin_at(location: str) -> Origin | None:
    """What a recorded location leads to now: plain files only. None if it leads nowhere.

    Raises DataError if it is there but cannot be read.
    """
    if not os.path.isabs(location):
        return None
    if _is_there(location):
        return _path(Path(location), _label(location), needs_plain=True)
    if glob.has_magic(location):
        try:
            return _pattern(_label(location), location)
        except NotHereError:
            return None
    return None


def standard_library(folder: str | None = None) -> Origin:
    """The modules at the top of Python's standard library: this Python's, or that in `folder`."""
    import sysconfig

    here = sysconfig.get_paths()["stdlib"]
    folder = folder or here
    # _sysconfigdata* contains paths of this machine, which a model should neither learn nor publish.
    paths = [path for path in sorted(Path(folder).glob("*.py")) if not path.name.startswith("_sysconfigdata")]
    label = f"standard library of Python {sys.version_info.major}.{sys.version_info.minor}"
    return Origin(
        label if folder == here else f"standard library in {folder}",
        ("stdlib",),
        tuple(path for path in paths if path.is_file()),
        location=folder,
        skips_unusable=True,
    )


def _find_path(source: str, folders: list[Path]) -> Path | None:
    """The first place where the name, or the name with .txt, is. Raises DataError where that cannot be known."""
    locked: OSError | None = None
    for place in (folder / name for folder in (Path(), *folders) for name in (source, f"{source}.txt")):
        try:
            if _is_there(place):
                return place
        except PermissionError as error:
            locked = locked or error
    if locked is not None:
        raise unreadable(str(locked.filename), locked) from locked
    return None


def _is_there(path: str | Path) -> bool:
    """Whether there is such a file or folder. Raises PermissionError where only its owner can tell."""
    try:
        os.stat(path)
    except PermissionError:
        raise
    except (OSError, ValueError):  # ValueError: a NUL or a lone surrogate in the name
        return False
    return True


def _path(path: Path, label: str, *, needs_plain: bool) -> Origin:
    if path.is_dir():
        return _folder(path, label)
    return Origin(label, (_stem(path),), (path,), location=_absolute(path), needs_plain=needs_plain)


def _pattern(label: str, pattern: str) -> Origin:
    paths = sorted(
        (path for path in map(Path, glob.glob(pattern, recursive=True)) if path.is_file()), key=Path.as_posix
    )
    runs = {folder for folder in {parent for path in paths for parent in path.parents} if _is_run(folder)}
    # What matches only in runs was meant to.
    paths = [path for path in paths if runs.isdisjoint(path.parents)] or paths
    if not paths:
        nothing = _fit(f"no file matches the pattern {label!r} in {_absolute(Path()) or 'a folder that was removed'}")
        raise NotHereError(label, f"{nothing}: give another, a file or a folder")
    # Nothing in the name of the working folder is a pattern.
    here = _absolute(Path())
    location = pattern if os.path.isabs(pattern) else here and os.path.join(glob.escape(here), pattern)
    return Origin(label, tuple(map(_stem, paths)), tuple(paths), location=location, skips_unusable=True)


def _folder(folder: Path, label: str) -> Origin:
    def refuse(error: OSError) -> NoReturn:
        raise unreadable(str(error.filename), error) from error

    paths: list[Path] = []
    num_hidden = num_runs = 0
    for root, subfolders, files in os.walk(folder, onerror=refuse):
        if RUN_FILES.issubset(files) and Path(root) != folder:
            num_runs += 1
            subfolders.clear()
            continue
        num_hidden += sum(name.startswith(".") for name in (*subfolders, *files))
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        paths += [Path(root, name) for name in files if not name.startswith(".")]
    # A named pipe or a dangling link among the files would block or fail.
    paths = sorted(filter(Path.is_file, paths), key=lambda path: path.relative_to(folder).as_posix())
    return Origin(
        label,
        (folder.resolve().name,),
        tuple(paths),
        location=_absolute(folder),
        skips_unusable=True,
        num_hidden=num_hidden,
        num_runs=num_runs,
    )


def _is_run(folder: Path) -> bool:
    return all(os.path.lexists(folder / name) for name in RUN_FILES)


def _absolute(path: Path) -> str | None:
    try:
        return os.path.abspath(path)
    except OSError:  # the working folder was removed
        return None


def _label(location: str) -> str:
    """A location as a person would type it here: relative where it lies below the working folder."""
    here = _absolute(Path())
    below = here is not None and location.startswith(os.path.join(here, ""))
    return os.path.relpath(location) if below else location


def _corpora_folders(corpora_dir: Path) -> list[Path]:
    """The folders that a name is looked for in besides the working folder."""
    folders = [folder for folder in os.environ.get(CORPORA_VARIABLE, "").split(os.pathsep) if folder]
    return [corpora_dir, *(Path(os.path.expanduser(folder)) for folder in folders)]


def _not_found(source: str, folders: list[Path]) -> str:
    import difflib

    titles = [entry.name for entry in load_catalogue()]
    beside = Path(source).parent
    spellings = [*titles, *(str(beside / name) for name in _listing(beside))]
    spellings += [name for folder in folders for name in _listing(folder)]
    # corpora/ need not exist, but a folder that the environment names should.
    places = [str(folders[0]), *(f"{f}{'' if os.path.isdir(f) else ' (no such folder)'}" for f in folders[1:])]
    lines = [f"no corpus {source!r}: it is no path and not in {', '.join(places)} (each also with .txt)"]
    lines += [f"Did you mean {near!r}?" for near in difflib.get_close_matches(source, spellings, n=1)]
    lines += [f"The catalogue has {', '.join(titles)}; or give a file, a folder, a pattern or - (standard input)."]
    return "\n".join(map(_fit, lines))


def _listing(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return []


def _fit(line: str) -> str:
    return line if len(line) <= _MAX_LINE_LENGTH else line[: _MAX_LINE_LENGTH - 1] + "…"


def _stem(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).stem

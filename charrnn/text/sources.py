"""Finds the files that the name of a corpus stands for: a file, a folder, a pattern, a stream, a
text of the catalogue.

The files of a folder or of a pattern are joined in order of their paths, or shuffled by a recorded
seed. A text of the catalogue has a known URL and SHA-256; it is downloaded once and verified.
"""

import errno
import glob
import hashlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from charrnn.errors import DataError, NotHereError, did_you_mean, shortened
from charrnn.system.files import (
    convert_os_errors,
    placeholder_in,
    replacing,
    write_atomically,
)
from charrnn.system.progress import task
from charrnn.text.formal_languages import FORMAL_LANGUAGES, training_text
from charrnn.text.text_files import unreadable, without_gz

CORPORA = Path("corpora")
"""The folder into which texts of the catalogue are downloaded."""
CORPORA_VARIABLE = "CHARRNN_CORPORA"
"""Environment variable with folders in which corpora are looked up, separated like those of PATH.
"""
_BLOCK_BYTES = 64 * 1024
_ALLOWED = re.compile(r"https://[^/]|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?/")
"""Addresses that may be downloaded from: encrypted, or on this machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueEntry:
    """One text of the catalogue."""

    name: str
    """The name on the command line."""
    kind: str
    """What it is for: words, prose, verse, plays, reference, science or code."""
    language: str
    """The language, or the format, that it is written in."""
    about: str
    """What it is, and from where."""
    file: str
    """File name in the folder of corpora."""
    address: str
    """Its URL: https (http on this machine only)."""
    sha256: str
    """SHA-256 of the file, 64 lower-case hexadecimal digits."""
    num_bytes: int
    """Size of the file."""
    licence: str
    """The licence of the text."""
    look_for: str
    """What to look for in a model of it: the detectors that should find a cell."""
    command: str
    """A command for a run that was trained on it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How it is read: the fields of `Config` that are not as for other texts."""

    def is_file(self, path: Path) -> bool:
        """Return whether a file has this text. Raises OSError."""
        # Its size first: the whole of another text need not be read.
        if not path.is_file() or path.stat().st_size != self.num_bytes:
            return False
        return hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256


@cache
def load_catalogue() -> tuple[CatalogueEntry, ...]:
    """Read the catalogue of the package."""
    import yaml

    # In C where there is one, which is much faster.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = Path(__file__).with_name("catalogue.yaml").read_text(encoding="utf-8")
    records: Any = yaml.load(text, loader)
    return tuple(CatalogueEntry(**record) for record in records)


def find_entry(name: str) -> CatalogueEntry | None:
    """Return the entry of this name, None if there is none."""
    for entry in load_catalogue():
        if name == entry.name:
            return entry
    return None


def entry_of(source: str) -> CatalogueEntry | None:
    """Return the entry of the catalogue that a source stands for; None for any other source.

    A path comes first: a name that leads to a folder, or to a file with another text, is no entry.
    Raises CharRNNError for a file that cannot be read.
    """
    entry = find_entry(source)
    if entry is None:
        return None
    path = _find_path(source, corpora_folders())
    with convert_os_errors("read", path=path or Path(source)):
        if path is None or entry.is_file(path):
            return entry
    return None


def catalogued_settings(sources: Sequence[str]) -> dict[str, Any]:
    """Return the settings with which some sources are read unless the user chooses others: those of
    the catalogue, and the first field of a .smi file. There are none if the sources differ."""
    found: list[dict[str, Any]] = []
    for source in sources:
        entry = entry_of(source)
        settings: dict[str, Any] = {}
        if entry is not None:
            settings.update(entry.settings)
        elif is_smiles_file(source):
            settings["column"] = "smiles"
        found.append(settings)
    if found and found.count(found[0]) == len(found):
        return found[0]
    return {}


def is_smiles_file(name: str) -> bool:
    """Return whether a file is named as one of molecules, whose lines begin with a SMILES string
    before a blank or a tab."""
    return without_gz(name).lower().endswith(".smi")


def path_of(entry: CatalogueEntry, folder: Path = CORPORA) -> Path | None:
    """Return the entry's file in `folder` or a folder of $CHARRNN_CORPORA, whatever its
    text; None if there is none."""
    for place in corpora_folders(folder):
        if os.path.exists(place / entry.file):
            return place / entry.file
    return None


def fetch(entry: CatalogueEntry, folder: Path = CORPORA, *, timeout_seconds: float = 20.0) -> Path:
    """Return the entry's file in `folder` or a folder of $CHARRNN_CORPORA; else download it into
    `folder`. Its digest is checked in both cases.

    `timeout_seconds` limits each wait for the server, not the whole download. A download appears
    under its name only when it is complete and verified.

    Raises DataError if the existing file has another digest (it is not changed), and if the
    download fails (no file and no empty folder is left behind).
    """
    target = path_of(entry, folder) or folder / entry.file
    try:
        # A file that somebody put there is taken, but not another text of the same name.
        if target.exists():
            if not entry.is_file(target):
                raise DataError(
                    f"{target} exists but is not the catalogue's {entry.name}: its SHA-256 differs."
                    f" It was not changed.\nMove it to download {entry.name}, or give its path to"
                    " train on it."
                )
            return target

        # The partial file is hidden, so that a folder read as a corpus skips it, and named by the
        # process, so that two processes can download at the same time.
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with replacing(target) as partial:
                _download(entry, partial=partial, timeout_seconds=timeout_seconds)
        finally:
            if is_new:
                with suppress(OSError):  # not empty
                    folder.rmdir()
    except OSError as error:
        # On one line, and not the whole page with which a proxy may answer.
        reason = " ".join((str(error) or type(error).__name__).split())[:180]
        raise DataError(
            f"could not download {entry.name} from {entry.address}\n"
            f"reason: {reason}\n"
            f"Download it by hand into {target}, or point CHARRNN_CORPORA at a folder that has it."
        ) from error
    return target


def _download(entry: CatalogueEntry, partial: Path, timeout_seconds: float) -> None:
    """Download to `partial` and verify the content. Raises OSError, also for another file than the
    catalogue's."""
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    # Hashed as it arrives, and ended where it gets too long: a server that sends something else
    # must not fill the disk.
    digest = hashlib.sha256()
    num_received = 0
    request = Request(entry.address, headers={"User-Agent": "charrnn"})
    try:
        with (
            urlopen(request, timeout=timeout_seconds) as response,
            partial.open("xb") as file,
            task("download", total=entry.num_bytes, unit="B") as advance,
        ):
            # urlopen follows redirects, also to an address without encryption.
            if not _ALLOWED.match(response.url):
                raise OSError(f"it was redirected to {response.url}")
            while block := response.read(_BLOCK_BYTES):
                # Its size would not say why it is another text.
                if num_received == 0 and (placeholder := placeholder_in(block)):
                    raise OSError(f"the answer {placeholder}")
                num_received += len(block)
                if num_received > entry.num_bytes:
                    raise OSError(
                        f"the server sends more than the expected {entry.num_bytes:,} bytes"
                    )
                digest.update(block)
                file.write(block)
                advance(len(block))

            # On disk before it gets its name: after a power cut the file is whole or not there.
            file.flush()
            os.fsync(file.fileno())
    except HTTPException as error:
        raise OSError(f"the server closed the connection ({type(error).__name__})") from error

    # A connection that breaks looks like the end of the text.
    if num_received != entry.num_bytes:
        raise OSError(f"received {num_received:,} of {entry.num_bytes:,} bytes")
    if digest.hexdigest() != entry.sha256:
        raise OSError(f"its SHA-256 is {digest.hexdigest()[:16]}…, not {entry.sha256[:16]}…")


@dataclass(frozen=True, slots=True)
class Order:
    """How the files of a folder or of a pattern are arranged before they are joined.

    The last files are held out, so `sorted` holds out other folders than the model learns from, and
    `shuffled` a sample of all of them. A shuffle sorts by SHA-256, which depends neither on the
    version of Python or NumPy nor on the order in which the file system lists a folder. It has a
    seed of its own: runs that differ in the seed of their weights hold out the same files.
    """

    kind: str = "shuffled"
    """`shuffled` or `sorted`."""
    seed: int = 0
    """Seed of the shuffle."""

    def arrange(self, names: Sequence[str]) -> list[int]:
        """Return the indices of `names` in this order: by name, or by the SHA-256 of `SEED/NAME` in
        UTF-8.

        A name is the path of a file relative to its folder, with "/" between its parts.
        """
        if self.kind == "sorted":
            return sorted(range(len(names)), key=names.__getitem__)
        # By name where two keys are equal: the same name twice.
        return sorted(
            range(len(names)),
            key=lambda index: (shuffle_key(self.seed, names[index]), names[index]),
        )


def shuffle_key(seed: int, name: str) -> bytes:
    """Return the SHA-256 of `SEED/NAME` in UTF-8, by which a shuffle sorts."""
    # "surrogatepass": the bytes of a file name that are no UTF-8 are lone surrogates in Python.
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()


SHUFFLED = Order()
"""The order of the files unless another is asked for."""
SORTED = Order("sorted")
"""By path."""


RUN_FILES = frozenset({"config.yaml", "vocab.json"})
"""A folder with these files is a run. Runs are skipped: one inside the folder of its corpus would
change the text."""

_ESCAPED = re.compile(r"\[([*?[])\]")


@dataclass(frozen=True, slots=True)
class Origin:
    """The files, or the stream, that a source stands for."""

    label: str
    """Name for messages."""
    names: tuple[str, ...]
    """From which the run is named: the file, the folder, that of a pattern, or the files of a
    pattern without one."""
    paths: tuple[Path, ...] = ()
    """The files in the order in which they are joined."""
    is_shuffled: bool = False
    """Whether `paths` are those of a folder or a pattern, shuffled."""
    stream: BinaryIO | None = None
    location: str | None = None
    """Absolute path of the file or the folder, or absolute pattern; None for a stream."""
    needs_regular: bool = False
    """Whether pipes and devices, which may never end, are refused."""
    skips_unusable: bool = False
    """Whether unusable files are skipped (folder, pattern) rather than refused."""
    num_hidden: int = 0
    """Number of hidden files and folders that were skipped."""
    num_runs: int = 0
    """Number of run folders that were skipped."""


def find_origin(source: str, *, is_named_by_run: bool, order: Order) -> Origin:
    """Find what `source` stands for (see `corpus.read_corpus`); `order` is that of the files of a
    folder or a pattern.

    Raises NotHereError if nothing has that name, DataError if it cannot be read or downloaded.
    """
    # What has no name in the file system.
    if source == "-":
        if sys.stdin is None:  # closed by the process that started the command
            raise DataError(
                "standard input (-) is closed: give a file, or pipe a text into the command"
            )
        return Origin(label="standard input", names=("stdin",), stream=sys.stdin.buffer)
    if not source.strip():
        raise DataError(
            "the name of a corpus is empty: give a file, a folder, a pattern or a catalogue name"
        )

    # A path comes first, so that a file named a*b.txt or shakespeare can be given.
    folders = corpora_folders()
    path = _find_path(source, folders)
    if path is not None:
        return _path(path, label=str(path), order=order, needs_regular=is_named_by_run)
    if glob.has_magic(source):
        return _pattern(source, label=source, order=order)

    # A text that is generated, in the folder of those that are downloaded.
    if source in FORMAL_LANGUAGES and not is_named_by_run:
        path = CORPORA / f"{source}.txt"
        with convert_os_errors("write", path=path):
            CORPORA.mkdir(parents=True, exist_ok=True)
            write_atomically(path, training_text(source).encode())
        return _path(path, label=str(path), order=order, needs_regular=False)

    # Last the catalogue. A run may come from somebody else: it does not start a download.
    entry = entry_of(source)
    if entry is None:
        raise NotHereError(source, _not_found(source, folders))
    if is_named_by_run and path_of(entry) is None:
        raise NotHereError(source, f"{source!r} is not here: charrnn corpora fetch {entry.name}")
    path = fetch(entry)
    return _path(path, label=str(path), order=order, needs_regular=is_named_by_run)


def origin_at(location: str, order: Order) -> Origin | None:
    """Find what is at a recorded location: regular files only. Return None if nothing is there.

    Raises DataError if it exists but cannot be read.
    """
    # Only absolute ones are recorded: another could lead anywhere from here.
    if not os.path.isabs(location):
        return None
    try:
        if _is_there(location):
            return _path(Path(location), label=_label(location), order=order, needs_regular=True)
    except OSError as error:
        raise unreadable(location, error) from error

    # It was a pattern if no file has the name.
    if glob.has_magic(location):
        with suppress(NotHereError):
            return _pattern(location, label=_label(location), order=order)
    return None


def standard_library(order: Order, folder: str | None = None) -> Origin:
    """Return the top-level modules of the standard library: of this Python, or those in
    `folder`."""
    import sysconfig

    here = sysconfig.get_paths()["stdlib"]
    folder = folder or here
    label = f"standard library in {folder}"
    if folder == here:
        label = f"standard library of Python {sys.version_info.major}.{sys.version_info.minor}"

    # _sysconfigdata* contains paths of this machine, which a model must not reproduce.
    paths = [
        path
        for path in Path(folder).glob("*.py")
        if path.is_file() and not path.name.startswith("_sysconfigdata")
    ]
    return _several(
        paths,
        keys=[path.name for path in paths],
        label=label,
        names=("stdlib",),
        order=order,
        location=folder,
    )


def _find_path(source: str, folders: list[Path]) -> Path | None:
    """Return the first path of that name, with or without .txt; not of a run that is named after a
    text of the catalogue. Raises DataError if permissions hide it."""
    for folder in (Path(), *folders):
        for name in (source, f"{source}.txt"):
            path = folder / name
            try:
                is_text = _is_there(path) and not (is_run_folder(path) and find_entry(source))
            except OSError as error:
                raise unreadable(str(error.filename), error) from error
            if is_text:
                return path
    return None


def _is_there(path: str | Path) -> bool:
    """Whether a file or folder exists. Raises OSError if permissions hide that, or a link leads to
    itself."""
    try:
        os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate in the name
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP):
            raise
        return False
    return True


def _path(path: Path, *, label: str, order: Order, needs_regular: bool) -> Origin:
    if path.is_dir():
        return _folder(path, label=label, order=order)
    return Origin(
        label=label,
        names=(_stem(path),),
        paths=(path,),
        location=_absolute(path),
        needs_regular=needs_regular,
    )


def _pattern(pattern: str, *, label: str, order: Order) -> Origin:
    try:
        found = glob.glob(pattern, recursive=True)
    except (ValueError, RecursionError):
        # A NUL, a lone surrogate or a thousand folders: no file has such a name.
        found = []
    paths = sorted(map(Path, filter(os.path.isfile, found)), key=Path.as_posix)

    # Without the files of runs, unless it matches nothing else: then they are meant. Each folder is
    # looked at once, because a pattern may match thousands of files in it.
    folders = {path.parent for path in paths}
    in_runs = {folder for folder in folders if any(map(is_run_folder, (folder, *folder.parents)))}
    paths = [path for path in paths if path.parent not in in_runs] or paths
    here = _absolute(Path())
    if not paths:
        nothing = shortened(
            f"no file matches the pattern {label!r} in {here or 'a folder that was removed'}"
        )
        special = ""
        if "[" in pattern:
            special = (
                "\n[ is special in a pattern, where it begins a set of characters: write [[] for it"
            )
        raise NotHereError(label, f"{nothing}: give another, a file or a folder{special}")

    location: str | None = None
    if os.path.isabs(pattern):
        location = pattern
    elif here is not None:
        # Escaped, because the name of the working folder is not a pattern.
        location = os.path.join(glob.escape(here), pattern)

    # Relative to the folders that the pattern names, so that the order is the same from any working
    # folder. Those are its leading parts without wildcards: `a/[[]b/*.txt` names two folders.
    named: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(_ESCAPED.sub("", part)):
            break
        named.append(_ESCAPED.sub(r"\1", part))
    keys = ["/".join(path.parts[len(named) :]) for path in paths]

    # The run is named after the folder of several files, unless that is the working folder or the
    # root. Resolved, because the last part may be `..`.
    names = tuple(map(_stem, paths))
    if named and len(paths) > 1:
        folder = Path(*named).resolve().name
        names = (folder,) if folder else names
    return _several(paths, keys=keys, label=label, names=names, order=order, location=location)


def _folder(folder: Path, *, label: str, order: Order) -> Origin:
    """Return all text files below a folder. A named pipe or a dangling link is none: it would block
    or fail.

    Raises DataError if a folder cannot be read.
    """

    def refuse(error: OSError) -> NoReturn:
        raise unreadable(str(error.filename), error) from error

    paths: list[Path] = []
    num_hidden = num_runs = 0
    for inside, subfolders, files in os.walk(folder, onerror=refuse):
        if inside != str(folder) and is_run_folder(Path(inside)):
            num_runs += 1
            subfolders.clear()  # os.walk then goes into none of them
            continue

        # In place, so that os.walk does not go into hidden folders either.
        num_hidden += sum(name.startswith(".") for name in (*subfolders, *files))
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            path = Path(inside, name)
            if not name.startswith(".") and path.is_file():
                paths.append(path)

    origin = _several(
        paths,
        keys=[path.relative_to(folder).as_posix() for path in paths],
        label=label,
        names=(folder.resolve().name,),
        order=order,
        location=_absolute(folder),
    )
    return replace(origin, num_hidden=num_hidden, num_runs=num_runs)


def _several(
    paths: list[Path],
    *,
    keys: list[str],
    label: str,
    names: tuple[str, ...],
    order: Order,
    location: str | None,
) -> Origin:
    """Return the files of a folder or of a pattern, arranged by their `keys`."""
    return Origin(
        label=label,
        names=names,
        paths=tuple(paths[index] for index in order.arrange(keys)),
        is_shuffled=order.kind == "shuffled",
        location=location,
        skips_unusable=True,
    )


def is_run_folder(folder: Path) -> bool:
    """Whether this is the folder of a run or of a sweep."""
    if os.path.lexists(folder / "sweep.json"):
        return True
    return all(os.path.lexists(folder / name) for name in RUN_FILES)


def _absolute(path: Path) -> str | None:
    try:
        return os.path.abspath(path)
    except OSError:  # the working folder was removed
        return None


def _label(location: str) -> str:
    """Return a location relative to the working folder if it is inside it, else unchanged."""
    here = _absolute(Path())
    if here is None or not location.startswith(os.path.join(here, "")):
        return location
    return os.path.relpath(location)


def corpora_folders(folder: Path = CORPORA) -> list[Path]:
    """Return the folders in which a name is looked up after the working folder."""
    folders = [folder]
    for place in os.environ.get(CORPORA_VARIABLE, "").split(os.pathsep):
        if place:
            folders.append(Path(os.path.expanduser(place)))
    return folders


def _not_found(source: str, folders: list[Path]) -> str:
    # A slip of the pen in a name of the catalogue, or in that of a file where it was looked for.
    known = [entry.name for entry in load_catalogue()]
    beside = Path(source).parent
    known += [str(beside / name) for name in _listing(beside)]
    for folder in folders:
        known += _listing(folder)

    # corpora/ is optional, but a folder in the environment variable should exist.
    places = [str(folders[0])]
    for folder in folders[1:]:
        places.append(str(folder) if os.path.isdir(folder) else f"{folder} (no such folder)")

    lines = [
        f"no corpus {source!r}: it is not a path and not in {', '.join(places)} (each also with"
        " .txt)"
    ]
    near = did_you_mean(source, known)
    if near:
        lines.append(near.strip())
    lines.append(
        "`charrnn corpora` lists the texts of the catalogue; or give a file, a folder, a pattern or"
        " - (standard input)."
    )
    return "\n".join(map(shortened, lines))


def _listing(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return []


def _stem(path: Path) -> str:
    return Path(without_gz(path.name)).stem

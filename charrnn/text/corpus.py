"""Where text comes from: files, folders, patterns, standard input, .gz, the catalogue, or Python's own library."""

import hashlib
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, NoReturn

from charrnn.errors import DataError, UsageError
from charrnn.text.catalogue import fetch, find_entry, load_catalogue
from charrnn.text.files import BYTE_ORDER_MARK, as_utf8, read_file, read_stream, title, unreadable

MIN_LENGTH = 16
"""The fewest characters (bytes) that make a corpus."""

_MAX_NAME_LENGTH = 40
_MAX_LINE_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Corpus:
    """A text to learn from. `content` is str, or the raw bytes for the byte alphabet."""

    name: str
    """Short name for the run folder, of [a-z0-9._-] only, 40 characters at most."""
    content: str | bytes = field(repr=False)
    sources: tuple[str, ...]
    """One display name for each source that was asked for."""
    notes: tuple[str, ...] = ()
    """What was left out or changed on the way, in plain sentences."""
    digest: str = field(init=False)
    """SHA-256, in hexadecimal, of the content (of its UTF-8 if it is text)."""

    def __post_init__(self) -> None:
        content = self.content
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        object.__setattr__(self, "digest", hashlib.sha256(data).hexdigest())


def read_corpus(
    sources: Sequence[str],
    *,
    alphabet: str = "char",
    encoding: str = "utf-8",
    stdin: BinaryIO | None = None,
    corpora_dir: Path = Path("corpora"),
    on_download: Callable[[int, int], None] | None = None,
    is_named_by_run: bool = False,
) -> Corpus:
    """Read the sources, in the order given, into one corpus; without any, the standard library's own Python source.

    A source is "-" (`stdin`, by default this process's), a file (.gz is decompressed), a folder (all files below it but
    hidden ones, by relative path), a glob pattern, or a name that is looked for as a path, in `corpora_dir`, in the
    folders of $CHARRNN_CORPORA (each time also with .txt appended) and in the catalogue, from which it is downloaded
    into `corpora_dir` (`on_download` gets the bytes so far and in all).

    "char" takes text in `encoding` without NUL, drops byte-order marks, turns CRLF into LF and starts each file on a
    new line; "byte" takes the bytes exactly as they are. Folders and patterns skip the files that cannot be used and
    say so in `notes`; a file that was named must be usable. `is_named_by_run` says that the sources come from a run's
    config.yaml, which may be a stranger's: then nothing is downloaded, and only plain files are read.

    Raises DataError if a source cannot be found, read or used, if it is too large for this machine's memory, or if all
    of it is shorter than `MIN_LENGTH` or one character repeated; UsageError for an unknown alphabet or for "-" given
    twice.
    """
    if alphabet not in ("char", "byte"):
        raise UsageError(f"alphabet must be char or byte, not {alphabet!r}")
    if sources.count("-") > 1:
        raise UsageError("standard input (-) can be read only once: give - once")
    origins = [
        _origin(source, stdin, corpora_dir, on_download, is_named_by_run=is_named_by_run) for source in sources
    ] or [_standard_library()]
    notes: list[str] = []
    spelling = None if alphabet == "byte" else encoding
    files = [data for origin in origins for data in _usable_files(origin, spelling, notes)]
    content: str | bytes = b"".join(files) if alphabet == "byte" else _join_on_new_lines(files).decode("utf-8")
    labels = tuple(origin.label for origin in origins)
    _check_size(content, labels)
    name = _name([name for origin in origins for name in origin.names])
    return Corpus(name=name, content=content, sources=labels, notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class _Origin:
    """The files, or the one stream, that a source stands for."""

    label: str
    names: tuple[str, ...]
    paths: tuple[Path, ...] = ()
    stream: BinaryIO | None = None
    wants_plain: bool = False
    """Whether pipes and devices are refused, which may never end."""
    is_sieve: bool = False
    """Whether unusable files are skipped (folder, pattern) rather than refused."""
    num_hidden: int = 0


def _origin(
    source: str,
    stdin: BinaryIO | None,
    corpora_dir: Path,
    on_download: Callable[[int, int], None] | None,
    *,
    is_named_by_run: bool,
) -> _Origin:
    import glob

    if source == "-":
        if stdin is None and sys.stdin is None:  # closed by whoever started the command
            raise DataError("standard input (-) is closed: give a file, or pipe a text into the command")
        return _Origin("standard input", ("stdin",), stream=stdin or sys.stdin.buffer)
    if not source.strip():
        raise DataError("a corpus was given as an empty name: give a file, a folder, a pattern or a catalogue name")
    shelves = _shelves(corpora_dir)
    places = (folder / name for folder in (Path(), *shelves) for name in (source, f"{source}.txt"))
    # os.path.exists and not Path.exists, which raises for names that are too long.
    path = next((place for place in places if os.path.exists(place)), None)
    if path is None and glob.has_magic(source):
        return _pattern(source, glob.glob(source, recursive=True))
    if path is None and (entry := find_entry(source)) is not None:
        if is_named_by_run:
            raise DataError(f"the text {source!r} is not here (any more): charrnn corpora fetch {entry.name}")
        path = fetch(entry, corpora_dir, on_progress=on_download)
    if path is None:
        raise _not_found(source, shelves)
    return _folder(path) if path.is_dir() else _Origin(str(path), (_stem(path),), (path,), wants_plain=is_named_by_run)


def _standard_library() -> _Origin:
    import sysconfig

    folder = Path(sysconfig.get_paths()["stdlib"])
    # _sysconfigdata* spells out the paths of this machine, which nobody wants to learn or to publish.
    paths = [path for path in sorted(folder.glob("*.py")) if not path.name.startswith("_sysconfigdata")]
    label = f"standard library of Python {sys.version_info.major}.{sys.version_info.minor}"
    return _Origin(label, ("stdlib",), tuple(paths), is_sieve=True)


def _pattern(source: str, matches: list[str]) -> _Origin:
    paths = sorted((path for path in map(Path, matches) if path.is_file()), key=Path.as_posix)
    if not paths:
        nothing = _fit(f"no file matches the pattern {source!r} in {os.getcwd()}")
        raise DataError(f"{nothing}: give another, a file or a folder")
    return _Origin(source, tuple(map(_stem, paths)), tuple(paths), is_sieve=True)


def _folder(folder: Path) -> _Origin:
    def refuse(error: OSError) -> NoReturn:
        raise unreadable(str(error.filename), error) from error

    paths: list[Path] = []
    num_hidden = 0
    for root, subfolders, files in os.walk(folder, onerror=refuse):
        num_hidden += sum(name.startswith(".") for name in (*subfolders, *files))
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        paths += [Path(root, name) for name in files if not name.startswith(".")]
    # A named pipe or a dangling link among the files would block or fail.
    paths = sorted(filter(Path.is_file, paths), key=lambda path: path.relative_to(folder).as_posix())
    return _Origin(str(folder), (folder.resolve().name,), tuple(paths), is_sieve=True, num_hidden=num_hidden)


def _usable_files(origin: _Origin, encoding: str | None, notes: list[str]) -> list[bytes]:
    """Read an origin's files, cleaned, as UTF-8 (as they are, if `encoding` is None); adds to `notes`.

    Raises DataError if one, or all, cannot be used.
    """
    usable: list[bytes] = []
    num_skipped = num_marks = num_line_ends = 0
    for label, read in _readers(origin, encoding):
        try:
            data, fault = as_utf8(read(), encoding)
            if fault is not None:
                raise DataError(f"{label} {fault}")
        except DataError:
            if not origin.is_sieve:
                raise
            num_skipped += 1
            continue
        if encoding is not None:
            num_marks += data.startswith(BYTE_ORDER_MARK)
            num_line_ends += data.count(b"\r\n")
            data = data.removeprefix(BYTE_ORDER_MARK).replace(b"\r\n", b"\n")
        usable.append(data)
    unfit = "empty or unreadable" if encoding is None else f"empty, unreadable or not {title(encoding)} text"
    skipped = [f"{_count(num_skipped, 'file')} that {'is' if num_skipped == 1 else 'are'} {unfit}"] * bool(num_skipped)
    skipped += [_count(origin.num_hidden, "hidden name")] * bool(origin.num_hidden)
    if not usable:
        reason = " and ".join(skipped) or "nothing"
        raise DataError(f"{origin.label} has no file to learn from (skipped: {reason}): give one with text")
    if skipped:
        notes.append(f"skipped {' and '.join(skipped)} in {origin.label}")
    if num_marks:
        marks = "a byte-order mark" if num_marks == 1 else f"{num_marks} byte-order marks"
        notes.append(f"removed {marks} from {origin.label}")
    if num_line_ends:
        notes.append(f"turned {_count(num_line_ends, 'CRLF line end')} of {origin.label} into LF")
    return usable


def _readers(origin: _Origin, encoding: str | None) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield each file's label and what reads its bytes, which raises DataError if it cannot."""
    if origin.stream is not None:
        yield origin.label, partial(read_stream, origin.label, origin.stream)
    for path in origin.paths:
        yield str(path), partial(read_file, path, encoding, wants_plain=origin.wants_plain)


def _join_on_new_lines(files: list[bytes]) -> bytes:
    ended = (data if data.endswith(b"\n") else data + b"\n" for data in files[:-1])
    return b"".join((*ended, files[-1]))


def _check_size(content: str | bytes, labels: tuple[str, ...]) -> None:
    what = labels[0] if len(labels) == 1 else f"the {len(labels)} sources together"
    unit = "character" if isinstance(content, str) else "byte"
    if len(content) < MIN_LENGTH:
        raise DataError(
            f"{what}: {_count(len(content), unit)} cannot be learned from; at least {MIN_LENGTH} are needed"
        )
    if _is_one_repeated(content):
        raise DataError(f"{what}: one {unit}, {content[:1]!r}, is all there is; at least 2 different ones are needed")


def _is_one_repeated(content: str | bytes) -> bool:
    # count() rather than set(), which makes an object of every character.
    return content.count(content[:1]) == len(content)  # type: ignore[arg-type]


def _shelves(corpora_dir: Path) -> list[Path]:
    """Return the folders that a name is looked for in besides the working folder."""
    folders = [folder for folder in os.environ.get("CHARRNN_CORPORA", "").split(os.pathsep) if folder]
    return [corpora_dir, *(Path(os.path.expanduser(folder)) for folder in folders)]


def _not_found(source: str, shelves: list[Path]) -> DataError:
    import difflib

    titles = [entry.name for entry in load_catalogue()]
    beside = Path(source).parent
    spellings = [*titles, *(str(beside / name) for name in _listing(beside))]
    spellings += [name for shelf in shelves for name in _listing(shelf)]
    lines = [f"no corpus {source!r}: it is no path and not in {', '.join(map(str, shelves))} (each also with .txt)"]
    lines += [f"Did you mean {near!r}?" for near in difflib.get_close_matches(source, spellings, n=1)]
    lines += [f"The catalogue has {', '.join(titles)}; or give a file, a folder, a pattern or - (standard input)."]
    return DataError("\n".join(map(_fit, lines)))


def _listing(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return []


def _fit(line: str) -> str:
    return line if len(line) <= _MAX_LINE_LENGTH else line[: _MAX_LINE_LENGTH - 1] + "…"


def _stem(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).stem


def _name(stems: list[str]) -> str:
    """Make the corpus's name of its parts' names: the first, and how many more."""
    suffix = f"-and-{len(stems) - 1}-more" if len(stems) > 1 else ""
    # Accents fall off rather than turn a letter into a dash.
    plain = unicodedata.normalize("NFKD", stems[0]).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9._-]+", "-", plain).strip(".-")
    return (slug[: _MAX_NAME_LENGTH - len(suffix)].rstrip(".-") or "text") + suffix


def _count(num: int, noun: str) -> str:
    return f"{num} {noun}" if num == 1 else f"{num} {noun}s"

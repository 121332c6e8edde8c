"""Find the files that the name of a corpus means: a file, a folder, a pattern, a stream, or a text
of the catalogue.

The files of a folder or of a pattern are joined in order of their paths, or shuffled by a recorded
seed. A text of the catalogue has a known URL and SHA-256; it is downloaded once and verified.
"""

import glob
import hashlib
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from charrnn.config.settings import Config
from charrnn.errors import DataError, NotHereError, did_you_mean, named, shortened
from charrnn.system.files import convert_os_errors, forms_of, write_atomically
from charrnn.system.progress import task
from charrnn.text.text_files import unreadable, without_gz

CORPORA = Path("corpora")
"""The folder into which texts of the catalogue are downloaded."""
STANDARD_INPUT = "standard input"
"""The name of what is read from standard input, in messages."""
LECTURE_WORD = "hello"
"""The name of the text of the recipe `hello`, and the word of which that text consists."""
LECTURE_REPETITIONS = 100
"""How often the text of the recipe `hello` has its word."""
CORPORA_VARIABLE = "CHARRNN_CORPORA"
"""Environment variable with folders in which corpora are looked up, separated like the folders in
PATH."""
TIMEOUT_SECONDS = 20.0
"""Limit of each wait for the server, not of the whole download."""
_BLOCK_BYTES = 64 * 1024
_SEEN_BYTES = 100
"""Bytes that tell molecules from a page."""
_ALLOWED = re.compile(r"https://[^/]|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?/")
"""Addresses from which a text may be downloaded: encrypted, or on this machine."""


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One text of the catalogue.

    It has the address and the digest by which a text is fetched, and the settings by which it is
    read well.
    """

    name: str
    """The name on the command line."""
    kind: str
    """The kind of text: words, prose, verse, plays, reference, science or code."""
    language: str
    """The language or the format in which it is written."""
    about: str
    """A description of the text and of its source."""
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
    """The detectors that should find a cell in a model of this text."""
    command: str
    """A command to try with a run that was trained on it."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """The fields of `Config` with which this text is read, if they differ from the defaults."""

    def is_file(self, path: Path) -> bool:
        """Whether a file contains this text. Raises OSError."""
        # The size is compared first, so that a file with another text is mostly not read.
        if not path.is_file() or path.stat().st_size != self.num_bytes:
            return False
        return hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256


@cache
def load_catalogue() -> tuple[CatalogueEntry, ...]:
    """Read the catalogue of the package."""
    import yaml

    # The loader in C is much faster, if PyYAML has it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = Path(__file__).with_name("catalogue.yaml").read_text(encoding="utf-8")
    records: Any = yaml.load(text, loader)
    return tuple(CatalogueEntry(**record) for record in records)


def find_entry(name: str) -> CatalogueEntry | None:
    """Return the entry of the catalogue with this name, None if there is none.

    Use it for a name that can mean nothing else, as of `charrnn corpora`; of the source of a
    training, `entry_of` asks whether a file comes first.
    """
    return next((entry for entry in load_catalogue() if name == entry.name), None)


def entry_of(source: str) -> CatalogueEntry | None:
    """Return the entry of the catalogue that a source means; None for any other source.

    A path comes first: the name of an existing folder, or of a file with another text, does not
    mean the entry. Raises CharRNNError for a file that cannot be read.
    """
    entry = find_entry(source)
    if entry is None:
        return None
    path = _find_path(source)
    with convert_os_errors("read", path=path or Path(source)):
        if path is None or entry.is_file(path):
            return entry
    return None


def catalogued_settings(sources: Sequence[str]) -> dict[str, Any]:
    """Return the default settings with which the sources are read: the settings of the catalogue,
    and for a .smi file the first field of each line. They are empty if the sources have different
    settings.

    They come before the settings of a file and a user: a text of the catalogue is read well without
    any option.
    """
    common: dict[str, Any] | None = None
    for source in sources:
        entry = entry_of(source)
        settings: dict[str, Any] = {}
        if entry is not None:
            settings.update(entry.settings)
        elif is_smiles_file(source):
            settings["column"] = "smiles"
        # Sources that disagree have no common default, so that the user's or the program's remain.
        if common not in (None, settings):
            return {}
        common = settings
    return common or {}


def is_smiles_file(name: str) -> bool:
    """Whether a file has the suffix of a list of molecules: each line begins with a SMILES string
    before a blank or a tab. Subtitles in SAMI, which is a page, have the same suffix."""
    if not without_gz(name).lower().endswith(".smi"):
        return False
    with suppress(OSError, ValueError), open(name, "rb") as file:  # noqa: PTH123
        return not file.read(_SEEN_BYTES).lstrip().startswith(b"<")
    return True


def path_of(entry: CatalogueEntry) -> Path | None:
    """Return the path of the entry's file in a folder of corpora, whatever it contains; None if it
    does not exist.

    It only looks; `fetch` downloads and checks.
    """
    for candidate in corpora_folders():
        if os.path.exists(candidate / entry.file):
            return candidate / entry.file
    return None


def fetch(entry: CatalogueEntry) -> Path:
    """Return the path of the entry's file in a folder of corpora; if there is none, download it
    into CORPORA. Its digest is checked in both cases.

    A download appears under its name only when it is complete and verified.

    Raises DataError if the existing file has another digest (it is not changed), and if the
    download fails, which leaves no file behind.
    """
    from http.client import HTTPException

    target = path_of(entry) or CORPORA / entry.file
    try:
        # A file that the user put there is used, but not another text of the same name.
        if not target.exists():
            content = _download(entry)
            CORPORA.mkdir(parents=True, exist_ok=True)
            write_atomically(target, content)
        elif not entry.is_file(target):
            raise DataError(
                f"{target} exists but is not the catalogue's {entry.name}: its SHA-256 differs."
                f" It was not changed.\nMove it to download {entry.name}, or give its path to"
                " train on it."
            )
        return target
    except (OSError, HTTPException) as error:
        # The reason is cut to one line: a proxy may answer with a whole page.
        reason = shortened(" ".join((str(error) or type(error).__name__).split()))
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            reason += (
                "; SSL_CERT_FILE names a file with the certificates to trust, such as those of a"
                " proxy"
            )
        raise DataError(
            f"could not download {entry.name} from {entry.address}\n"
            f"reason: {reason}\n"
            f"Download it by hand into {target}, or point CHARRNN_CORPORA at a folder that has it."
        ) from error


def _download(entry: CatalogueEntry) -> bytes:
    """Download the text of an entry and verify it. Raises OSError, also if the server sends another
    text."""
    from urllib.request import Request, urlopen

    content = io.BytesIO()
    request = Request(entry.address, headers={"User-Agent": "charrnn"})
    with (
        urlopen(request, timeout=TIMEOUT_SECONDS) as response,
        task("download", total=entry.num_bytes, unit="B") as advance,
    ):
        # urlopen follows redirects, also to an address without encryption.
        if not _ALLOWED.match(response.url):
            raise OSError(f"it was redirected to {response.url}")
        # A server that sends something else must not fill the memory.
        while content.tell() <= entry.num_bytes and (block := response.read(_BLOCK_BYTES)):
            content.write(block)
            advance(len(block))

    digest = hashlib.sha256(content.getvalue()).hexdigest()
    if digest != entry.sha256:
        raise OSError(
            f"received {content.tell():,} of {entry.num_bytes:,} bytes, with the SHA-256"
            f" {digest[:16]}…, not {entry.sha256[:16]}…"
        )
    return content.getvalue()


def in_order(paths: Mapping[str, Path], config: Config) -> tuple[Path, ...]:
    """Return the files of a folder or of a pattern, given by their names, in the order in which
    they are joined.

    The last files are held out. With `sorted` they are from other folders than the training text;
    with `shuffled` they are a sample of all folders. A shuffle depends neither on the version of
    Python or NumPy nor on the order in which the file system lists a folder. It has its own seed,
    so that runs with different seeds of their weights hold out the same files.
    """
    if config.order == "sorted":
        return tuple(paths[name] for name in sorted(paths))
    key = partial(seeded_digest, seed=config.order_seed)
    return tuple(paths[name] for name in sorted(paths, key=key))


def seeded_digest(name: str, seed: int) -> bytes:
    """Return that by which files are shuffled: the SHA-256 of `SEED/NAME` in UTF-8.

    A name is the path of a file relative to its folder, with "/" as separator.
    """
    # "surrogatepass": Python represents bytes of a file name that are not UTF-8 by lone surrogates.
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()


RUN_FILES = frozenset({"config.yaml", "vocab.json"})
"""A folder with these files is a run. Runs are skipped, because a run inside the folder of its own
corpus would change the text."""

_HIDDEN = (".", "~$")
"""The beginnings of names that are skipped. Word writes ~$ beside a document that is open."""
_ESCAPED = re.compile(r"\[([*?[])\]")


@dataclass(frozen=True)
class Origin:
    """The files or the stream that a source means.

    What a user types is looked up once, and from then on there are paths.
    """

    label: str
    """The name in messages."""
    name: str
    """The name after which the run is named: the name of the file, of the folder, or of the folder
    of a pattern."""
    paths: tuple[Path, ...] = ()
    """The files in the order in which they are joined."""
    stream: BinaryIO | None = None
    """What is read in the place of files, such as standard input; None for files."""
    location: str | None = None
    """Absolute path of the file or the folder, or absolute pattern; None for a stream."""
    skips_unusable: bool = False
    """Whether unusable files are skipped, as in a folder or a pattern, and not refused."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """How many names of each kind were skipped: hidden ones, runs, and links that lead out of the
    folder."""


def find_origins(
    sources: Iterable[str], config: Config, *, is_named_by_run: bool = False
) -> list[Origin]:
    """Find the files or the stream of each source (see `find_origin`); without sources, the
    standard library of this Python.

    A corpus is read from what it returns.
    """
    find = partial(find_origin, config=config, is_named_by_run=is_named_by_run)
    return list(map(find, sources)) or [standard_library(config)]


def find_origin(source: str, config: Config, *, is_named_by_run: bool = False) -> Origin:
    """Find the files or the stream that `source` means (see `corpus.read_corpus`).

    The files of a folder or a pattern are in the order of a configuration. What a run names is
    neither downloaded nor a pipe, because the run may come from somebody else. Raises NotHereError
    if nothing has that name, DataError if it cannot be read or downloaded.
    """
    # Standard input has no path.
    if source == "-":
        if sys.stdin is None:  # closed by the process that started the command
            raise DataError(
                "standard input (-) is closed: give a file, or pipe a text into the command"
            )
        return Origin(label=STANDARD_INPUT, name="stdin", stream=sys.stdin.buffer)

    # A path comes first, so that a file named a*b.txt or shakespeare can be given.
    path = _find_path(source)
    if path is None and glob.has_magic(source):
        return _pattern(source, config)
    if path is None and (entry := entry_of(source)) is not None:
        if is_named_by_run and path_of(entry) is None:
            raise NotHereError(
                source, f"{source!r} is not here: charrnn corpora fetch {entry.name}"
            )
        path = fetch(entry)
    if path is None and source == LECTURE_WORD:
        text = LECTURE_WORD * LECTURE_REPETITIONS
        return Origin(label=source, name=source, stream=io.BytesIO(text.encode()))
    if path is None:
        raise NotHereError(source, _not_found(source))

    # A pipe or a device may never end.
    if is_named_by_run and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is a pipe or a device: put a file with the same text in its place")
    if path.is_dir():
        return _folder(path, config)
    stem = Path(without_gz(path.name)).stem
    return Origin(label=str(path), name=stem, paths=(path,), location=os.path.abspath(path))


def standard_library(config: Config) -> Origin:
    """Return the top-level modules of the standard library of this Python."""
    import sysconfig

    folder = sysconfig.get_paths()["stdlib"]
    # _sysconfigdata* contains paths of this machine, which a model must not reproduce.
    paths = {
        path.name: path
        for path in Path(folder).glob("*.py")
        if path.is_file() and not path.name.startswith("_sysconfigdata")
    }
    return Origin(
        label=f"standard library of Python {sys.version_info.major}.{sys.version_info.minor}",
        name="stdlib",
        paths=in_order(paths, config),
        location=folder,
        skips_unusable=True,
    )


def _find_path(source: str) -> Path | None:
    """Return the first path with that name, with or without .txt, here and in the folders of
    corpora. A run does not count: it may have the name of a text that is found elsewhere."""
    if not source.strip():
        return None
    for folder in (Path(), *corpora_folders()):
        for name in (*forms_of(source), *forms_of(f"{source}.txt")):
            path = folder / name
            if os.path.exists(path) and not is_run_folder(path):
                return path
    return None


def _pattern(pattern: str, config: Config) -> Origin:
    # At its end, ** means all files below. A name that begins with a dot is matched only by a part
    # that does, too. `glob` follows no links to folders.
    searched = Path(pattern)
    if searched.name == "**":
        searched /= "*"
    matches: list[Path] = []
    with suppress(ValueError, OSError, RecursionError):  # No file has such a name, or is so deep.
        matches += Path(searched.anchor).glob(str(searched.relative_to(searched.anchor)))
    # Files are sorted by their path relative to the folders that the pattern names, so that the
    # order is the same from any working folder. These folders are the first components without
    # wildcards: `a/[[]b/*.txt` names two folders.
    named_folders: list[str] = []
    for component in Path(pattern).parts[:-1]:
        if glob.has_magic(_ESCAPED.sub("", component)):
            break
        named_folders.append(_ESCAPED.sub(r"\1", component))

    shows_hidden = any(map(_is_hidden, searched.parts))
    by_name: dict[str, Path] = {}
    for path in matches:
        is_hidden = any(map(_is_hidden, path.parts)) and not shows_hidden
        if path.is_file() and not is_hidden and not any(map(is_run_folder, path.parents)):
            by_name["/".join(path.parts[len(named_folders) :])] = path
    if not by_name:
        raise NotHereError(
            pattern,
            f"no file matches the pattern {shortened(pattern)!r}: give another, a file or a folder",
        )

    # The path is resolved, because its last component may be `..`. The name of the working folder
    # is escaped, because it is not a pattern.
    return Origin(
        label=pattern,
        name=Path(*named_folders).resolve().name,
        paths=in_order(by_name, config),
        location=os.path.join(glob.escape(os.getcwd()), pattern),
        skips_unusable=True,
    )


def _is_hidden(name: str) -> bool:
    return name.startswith(_HIDDEN) and name != ".."


def _folder(folder: Path, config: Config) -> Origin:
    """Return all text files below a folder. Named pipes and dangling links are left out, because
    reading them would block or fail.

    Raises DataError if a folder cannot be read.
    """

    def refuse(error: OSError) -> NoReturn:
        raise unreadable(str(error.filename), error) from error

    paths: dict[str, Path] = {}
    skipped: Counter[str] = Counter()
    inner = os.path.join(os.path.realpath(folder), "")
    for inside, subfolders, files in os.walk(folder, onerror=refuse):
        if inside != str(folder) and is_run_folder(Path(inside)):
            skipped["run"] += 1
            subfolders.clear()  # os.walk then enters none of them.
            continue

        # The list is changed in place, so that os.walk does not enter hidden folders.
        skipped["hidden name"] += sum(map(_is_hidden, (*subfolders, *files)))
        subfolders[:] = [name for name in subfolders if not _is_hidden(name)]
        for name in files:
            path = Path(inside, name)
            if _is_hidden(name) or not path.is_file():
                continue
            # A link in a stranger's folder may lead to what is private.
            if path.is_symlink() and not os.path.realpath(path).startswith(inner):
                skipped["outward link"] += 1
            else:
                paths[path.relative_to(folder).as_posix()] = path
    return Origin(
        label=str(folder),
        name=folder.resolve().name,
        paths=in_order(paths, config),
        location=os.path.abspath(folder),
        skips_unusable=True,
        skipped=skipped,
    )


def is_run_folder(folder: Path) -> bool:
    """Whether this is the folder of a run.

    A folder of texts may have runs in it, whose logs and samples nobody wants to learn.
    """
    return all(os.path.lexists(folder / name) for name in RUN_FILES)


def corpora_folders() -> list[Path]:
    """Return the folders in which a name is looked up after the working folder: CORPORA, and those
    of $CHARRNN_CORPORA."""
    paths = filter(None, os.environ.get(CORPORA_VARIABLE, "").split(os.pathsep))
    return [CORPORA, *map(Path, map(os.path.expanduser, paths))]


def _not_found(source: str) -> str:
    if is_run_folder(Path(source)):
        return (
            f"{source} is a run, not a text\ncontinue it: charrnn train"
            f" {named('resume', source)}; or let it write: charrnn sample {source}"
        )
    # The name may be misspelt. The names of the catalogue have no suffix.
    known_names = [entry.name for entry in load_catalogue()]
    with suppress(OSError, ValueError):  # ValueError: a NUL in the name
        known_names += os.listdir(Path(source).parent)
    lines = [
        f"no corpus {source!r}: it is not a path and not in"
        f" {', '.join(map(str, corpora_folders()))} (each also with .txt)",
        did_you_mean(Path(source).name, known_names).strip(),
        "`charrnn corpora` lists the texts of the catalogue; or give a file, a folder, a pattern or"
        " - (standard input).",
    ]
    return "\n".join(map(shortened, filter(None, lines)))

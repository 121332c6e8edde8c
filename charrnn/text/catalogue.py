"""The catalogue: texts with a known URL and SHA-256, downloaded once and verified."""

import contextlib
import hashlib
import os
import re
import reprlib
from dataclasses import dataclass, fields
from pathlib import Path

from charrnn.errors import DataError
from charrnn.files import replacing
from charrnn.progress import task
from charrnn.settings import load_yaml

_shown = reprlib.repr  # shortened, because a catalogue can contain values of any length

_BLOCK_BYTES = 64 * 1024
_LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueEntry:
    """One text of the catalogue. Raises DataError for a field that cannot be used."""

    name: str
    """The name on the command line."""
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

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", self.name):
            raise DataError(f"catalogue: name {_shown(self.name)} must be lower-case letters, digits, '.', '_' or '-'")
        if not re.fullmatch(r"\w[\w.-]*", self.file):
            raise DataError(f"catalogue: {self.name}: file must be a plain file name, not {_shown(self.file)}")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise DataError(f"catalogue: {self.name}: sha256 must be 64 hexadecimal digits, not {_shown(self.sha256)}")
        if self.num_bytes < 1:
            raise DataError(f"catalogue: {self.name}: num_bytes must be at least 1, not {self.num_bytes}")
        if not _is_allowed(self.address):
            raise DataError(f"catalogue: {self.name}: address must begin with https://, not {_shown(self.address)}")


def load_catalogue(path: Path | None = None) -> tuple[CatalogueEntry, ...]:
    """Read a catalogue, by default the one of the package.

    Raises DataError for invalid YAML, for missing, unknown or repeated fields and for a name or file that occurs twice.
    """
    path = path or Path(__file__).with_name("catalogue.yaml")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the catalogue {path}: {' '.join(str(error).split())[:150]}") from error
    records = load_yaml(text, f"catalogue {path}")
    if not records or not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DataError(f"the catalogue {path} must be a list of entries, each with its fields")
    entries = tuple(_entry(record) for record in records)
    _refuse_repeats([entry.name for entry in entries], f"catalogue {path}: name")
    _refuse_repeats([entry.file for entry in entries], f"catalogue {path}: file")
    return entries


def find_entry(name: str) -> CatalogueEntry | None:
    """Return the entry of this name or file name ("shakespeare", "shakespeare.txt"), None if there is none."""
    return next((entry for entry in load_catalogue() if name in (entry.name, entry.file, f"{entry.name}.txt")), None)


def fetch(
    entry: CatalogueEntry,
    folder: Path,
    *,
    timeout_seconds: float = 20.0,
) -> Path:
    """Return the entry's file in `folder`; download it if it does not exist. Its digest is checked in both cases.

    `timeout_seconds` limits each wait for the server, not the whole download. A download appears under its name only
    when it is complete and verified.

    Raises DataError if the existing file has another digest (it is not changed), and if the download fails (no file and
    no empty folder is left behind).
    """
    target = folder / entry.file
    try:
        if target.exists():
            _check_present(entry, target)
            return target
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # The partial file is hidden, so that a folder read as a corpus skips it, and named by the process, so that
            # two processes can download at the same time.
            with replacing(target) as partial:
                _download(entry, partial, timeout_seconds)
        finally:
            if is_new:
                with contextlib.suppress(OSError):  # not empty
                    folder.rmdir()
    except (OSError, _BadDownload) as error:
        raise _failure(entry, target, str(error) or type(error).__name__) from error
    return target


class _BadDownload(Exception):
    """The download is not the file that the catalogue describes."""


def _download(entry: CatalogueEntry, partial: Path, timeout_seconds: float) -> None:
    """Download to `partial` and verify the content. Raises OSError or _BadDownload."""
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    digest, num_received = hashlib.sha256(), 0
    request = Request(entry.address, headers={"User-Agent": "charrnn"})
    try:
        with (
            urlopen(request, timeout=timeout_seconds) as response,
            partial.open("xb") as file,
            task("download", entry.num_bytes, unit="B") as advance,
        ):
            if not _is_allowed(response.url):
                raise _BadDownload(f"it was redirected to {response.url}")
            while block := response.read(_BLOCK_BYTES):
                num_received += len(block)
                if num_received > entry.num_bytes:
                    raise _BadDownload(f"the server sends more than the expected {entry.num_bytes:,} bytes")
                digest.update(block)
                file.write(block)
                advance(len(block))
            file.flush()
            os.fsync(file.fileno())
    except HTTPException as error:
        raise _BadDownload(f"the server closed the connection ({type(error).__name__})") from error
    if num_received != entry.num_bytes:
        raise _BadDownload(f"received {num_received:,} of {entry.num_bytes:,} bytes")
    if digest.hexdigest() != entry.sha256:
        raise _BadDownload(f"its SHA-256 is {digest.hexdigest()[:16]}…, not {entry.sha256[:16]}…")


def _check_present(entry: CatalogueEntry, target: Path) -> None:
    if hashlib.sha256(target.read_bytes()).hexdigest() != entry.sha256:
        raise DataError(
            f"{target} exists but is not the catalogue's {entry.name}: its SHA-256 differs. It was not changed.\n"
            f"Move it to download {entry.name}, or give its path to train on it."
        )


def _failure(entry: CatalogueEntry, target: Path, reason: str) -> DataError:
    return DataError(
        f"could not download {entry.name} from {entry.address}\n"
        f"reason: {' '.join(reason.split())[:180]}\n"
        f"Download it by hand into {target}, or point CHARRNN_CORPORA at a folder that has it."
    )


def _is_allowed(address: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK_HOSTS)
        )
    except ValueError:
        return False


def _entry(record: dict[object, object]) -> CatalogueEntry:
    known = [item.name for item in fields(CatalogueEntry)]
    label = f"catalogue: {_shown(record.get('name', 'an entry without a name'))}"
    if wrong := sorted(map(str, record.keys() - set(known))):
        raise DataError(f"{label}: unknown field {_shown(wrong[0])}; the fields are {', '.join(known)}")
    if missing := [name for name in known if name not in record]:
        raise DataError(f"{label}: field {missing[0]!r} is missing")
    num_bytes = record["num_bytes"]
    # bool is a subclass of int, but not a size.
    if not isinstance(num_bytes, int) or isinstance(num_bytes, bool):
        raise DataError(f"{label}: num_bytes must be a whole number, not {_shown(num_bytes)}")
    texts = {name: value for name, value in record.items() if isinstance(name, str) and isinstance(value, str)}
    if wrong := [name for name in known if name != "num_bytes" and name not in texts]:
        raise DataError(f"{label}: {wrong[0]} must be text, not {_shown(record[wrong[0]])}")
    return CatalogueEntry(num_bytes=num_bytes, **texts)


def _refuse_repeats(values: list[str], what: str) -> None:
    if repeated := [value for index, value in enumerate(values) if value in values[:index]]:
        raise DataError(f"{what} {_shown(repeated[0])} occurs twice")

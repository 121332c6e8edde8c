"""The catalogue: texts with a known URL and SHA-256, downloaded once and verified."""

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charrnn.errors import DataError
from charrnn.files import replacing
from charrnn.progress import task

_BLOCK_BYTES = 64 * 1024
_ALLOWED = re.compile(r"https://[^/]|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?/")
"""Addresses that may be downloaded from: encrypted, or on this machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueEntry:
    """One text of the catalogue."""

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


def load_catalogue() -> tuple[CatalogueEntry, ...]:
    """Read the catalogue of the package."""
    import yaml

    path = Path(__file__).with_name("catalogue.yaml")
    records: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(CatalogueEntry(**record) for record in records)


def find_entry(name: str) -> CatalogueEntry | None:
    """Return the entry of this name or file name ("shakespeare", "shakespeare.txt"), None if there is none."""
    return next((entry for entry in load_catalogue() if name in (entry.name, entry.file, f"{entry.name}.txt")), None)


def fetch(entry: CatalogueEntry, folder: Path, *, timeout_seconds: float = 20.0) -> Path:
    """Return the entry's file in `folder`; download it if it does not exist. Its digest is checked in both cases.

    `timeout_seconds` limits each wait for the server, not the whole download. A download appears under its name only
    when it is complete and verified.

    Raises DataError if the existing file has another digest (it is not changed), and if the download fails (no file and
    no empty folder is left behind).
    """
    target = folder / entry.file
    try:
        if target.exists():
            if hashlib.sha256(target.read_bytes()).hexdigest() != entry.sha256:
                raise DataError(
                    f"{target} exists but is not the catalogue's {entry.name}: its SHA-256 differs. "
                    "It was not changed.\n"
                    f"Move it to download {entry.name}, or give its path to train on it."
                )
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
    except OSError as error:
        reason = " ".join((str(error) or type(error).__name__).split())[:180]
        raise DataError(
            f"could not download {entry.name} from {entry.address}\n"
            f"reason: {reason}\n"
            f"Download it by hand into {target}, or point CHARRNN_CORPORA at a folder that has it."
        ) from error
    return target


def _download(entry: CatalogueEntry, partial: Path, timeout_seconds: float) -> None:
    """Download to `partial` and verify the content. Raises OSError, also for another file than the catalogue's."""
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
            if not _ALLOWED.match(response.url):
                raise OSError(f"it was redirected to {response.url}")
            while block := response.read(_BLOCK_BYTES):
                num_received += len(block)
                if num_received > entry.num_bytes:
                    raise OSError(f"the server sends more than the expected {entry.num_bytes:,} bytes")
                digest.update(block)
                file.write(block)
                advance(len(block))
            file.flush()
            os.fsync(file.fileno())
    except HTTPException as error:
        raise OSError(f"the server closed the connection ({type(error).__name__})") from error
    if num_received != entry.num_bytes:
        raise OSError(f"received {num_received:,} of {entry.num_bytes:,} bytes")
    if digest.hexdigest() != entry.sha256:
        raise OSError(f"its SHA-256 is {digest.hexdigest()[:16]}…, not {entry.sha256[:16]}…")

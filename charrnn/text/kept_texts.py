"""Keep the texts of documents beside a run: another version of pandoc would make another text of
them.

The file has one line for each document, compressed by gzip: a list in JSON with the digest of the
document and its text. Its size and its SHA-256 are in the state of every checkpoint.
"""

import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from charrnn.errors import CheckpointError, counted
from charrnn.system.files import JSON, read_capped
from charrnn.system.progress import warn

KEPT_TEXTS = "documents.gz"
"""The file in the folder of a run with the texts of its documents."""
MAX_KEPT = 1 << 26
"""Maximum size in bytes of the texts of documents that a run keeps, as they are in the file and
unpacked."""
# What is no string of JSON is never parsed: lists of lists would take 25 times the memory.
_LINE = re.compile(rb'\["([0-9a-f]{64}-[a-z0-9]+)", ("[^\n]*")\]\n')
READ_AGAIN = "its documents are read again, which another version of pandoc does differently"
"""What is done without the texts that a run has kept."""


class KeptTexts(Mapping[str, str]):
    """The texts of documents that a run has kept, by the digest of each.

    Another version of pandoc may read a document otherwise, or there may be none on a machine: with
    the kept text the run can still be evaluated.
    """

    def __init__(self, strings: Mapping[str, bytes], problem: str = ""):
        """Take the texts as JSON; each is decoded when it is asked for."""
        self._strings = strings
        self.problem = problem
        """What is wrong with the file; "" if nothing is."""

    def __getitem__(self, digest: str) -> str:
        """Return the text of a document. Raises KeyError if it was not kept."""
        try:
            return str(json.loads(self._strings[digest]))
        except ValueError:
            raise KeyError(digest) from None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the digests."""
        return iter(self._strings)

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._strings)


def pack_texts(texts: Mapping[str, str]) -> bytes:
    """Return the content of the file `KEPT_TEXTS`: as many of the texts, each by the digest of its
    document, as have room in it. Warns of those that have none."""
    lines = []
    num_bytes = 0
    for digest, text in texts.items():
        line = json.dumps([digest, text]).encode("ascii") + b"\n"
        if num_bytes + len(line) <= MAX_KEPT:
            lines.append(line)
            num_bytes += len(line)
    num_left_out = len(texts) - len(lines)
    if num_left_out:
        warn(
            f"the run keeps the texts of {counted(len(lines), 'document')}, which are"
            f" {num_bytes / 1e6:,.0f} MB; another version of pandoc may read"
            f" {counted(num_left_out, 'other')} differently"
        )
    return gzip.compress(b"".join(lines), mtime=0)


def seal_of(packed: bytes) -> dict[str, JSON]:
    """Return the size and the SHA-256 of the packed texts, which a checkpoint records.

    It ties the file to the run: one that was exchanged is not used.
    """
    return {"size": len(packed), "sha256": hashlib.sha256(packed).hexdigest()}


def read_kept_texts(folder: Path | None, seal: object) -> KeptTexts:
    """Read the texts of documents that a run has kept, whose `seal` its checkpoint has recorded.

    There are none without a folder, and without a seal for a run that has no documents. Warns of a
    file that is missing, damaged, or not the one of the checkpoint: then there are none, either.
    """
    if folder is None:
        return KeptTexts({})
    path = folder / KEPT_TEXTS
    if seal is None and not path.exists():
        return KeptTexts({})
    try:
        return KeptTexts(_strings_in(path, seal))
    except CheckpointError as error:
        problem = str(error).splitlines()[0]
        warn(f"{problem}: {READ_AGAIN}")
        return KeptTexts({}, problem=problem)


def kept_texts_problems(folder: Path, seal: object) -> list[str]:
    """Return what is wrong with the file of the texts that a checkpoint has recorded; nothing if it
    is whole, and for a run that has no documents.

    It is for who looks for damage; whoever needs the texts calls `read_kept_texts`.
    """
    path = folder / KEPT_TEXTS
    if seal is None and not path.exists():
        return []
    try:
        _strings_in(path, seal)
    except CheckpointError as error:
        return [str(error)]
    return []


def is_sealed(folder: Path, seal: object) -> bool:
    """Whether a run has the file of its texts that its checkpoint has recorded.

    It is asked before the file is written again, which a resumed run need not do; `read_kept_texts`
    reads it.
    """
    try:
        return seal_of(read_capped(folder / KEPT_TEXTS, max_bytes=MAX_KEPT)) == seal
    except CheckpointError:
        return False


def _strings_in(path: Path, seal: object) -> dict[str, bytes]:
    """Return the texts as JSON. Raises CheckpointError for anything but the sealed file."""
    # The run may come from somebody else, who can seal what he likes: nothing but strings is read,
    # and no more than a limit.
    packed = read_capped(path, max_bytes=MAX_KEPT)
    if seal_of(packed) != seal:
        raise CheckpointError(f"{path} is not the file that the checkpoint has recorded")
    strings: dict[str, bytes] = {}
    room = MAX_KEPT
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            while line := file.readline(room + 1):
                room -= len(line)
                match = None
                if room >= 0:
                    match = _LINE.fullmatch(line)
                if match is None:
                    raise ValueError("it has something else than texts")
                strings[match[1].decode("ascii")] = match[2]
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    return strings

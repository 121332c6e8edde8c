"""Keep the texts that a run has learned from documents beside it: another version of pandoc would
make another text of them."""

import gzip
import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

from charrnn.errors import CheckpointError
from charrnn.system.files import read_capped

DOCUMENT_TEXTS = "documents.gz"
"""The file in the folder of a run."""
MAX_KEPT = 1 << 28
"""Maximum size in bytes of the texts of documents that a run keeps."""


def packed_texts(texts: Mapping[str, str]) -> bytes:
    """Return the content of the file: each text by the digest of its document."""
    return gzip.compress(json.dumps(texts).encode(), mtime=0)


def kept_texts(folder: Path | None) -> dict[str, str]:
    """Return the texts of documents that a run has kept, by the digest of each; none for a run
    without documents, and for a damaged file, whose documents are read again."""
    if folder is None:
        return {}
    # The run may come from somebody else: the file may be anything.
    try:
        packed = read_capped(folder / DOCUMENT_TEXTS, max_bytes=MAX_KEPT)
        with gzip.open(io.BytesIO(packed)) as file:
            texts = json.loads(file.read(MAX_KEPT))
    except (CheckpointError, OSError, EOFError, zlib.error, ValueError, RecursionError):
        return {}
    if not isinstance(texts, dict):
        return {}
    return {digest: text for digest, text in texts.items() if isinstance(text, str)}

"""Read the text of documents by pandoc, which the extra `files` installs."""

import hashlib
import re
import subprocess
from contextlib import suppress
from pathlib import Path

from charrnn.errors import CharRNNError, DataError, UsageError, install_command, named
from charrnn.system.cache_folders import cache_folder
from charrnn.system.files import write_atomically
from charrnn.text.file_kinds import Kind

MOST_SECONDS = 120
"""Seconds after which pandoc is stopped: it reads the manuscript of a novel in a few."""
_LIMITS = ("+RTS", "-M2G", "-RTS", "--sandbox")
"""The document may come from anybody: pandoc takes at most 2 GB, and reads no other file."""

_STAND_IN = re.compile(rb"(\\u-?\d+ ?)[^\\{}\s]")
"""A character of RTF by its number, and the one that old programs show in its place."""


def read_document(label: str, data: bytes, kind: Kind) -> bytes:
    """Return the text of a document (text formats in UTF-8), one line for each paragraph.

    It is kept in the cache of the user by the digest of the document, so that pandoc reads each
    once. Raises UsageError if pandoc is missing, DataError if it cannot read the document.
    """
    _, what, pandoc_format = kind
    cached: Path | None = None
    with suppress(OSError):
        digest = hashlib.sha256(data).hexdigest()
        cached = cache_folder("texts") / f"{digest}-{pandoc_format}.txt"
        return cached.read_bytes()

    try:
        import pypandoc  # type: ignore[import-untyped]
    except ImportError:
        raise UsageError(
            f"{label} is {what}, which charrnn reads by pandoc, and the extra files is missing.\n"
            f"Install it: {install_command('files')}\n"
            f"Or save it as plain text (UTF-8) in the program that made it;"
            f" {named('clean', 'false')} takes every file as it stands, without documents."
        ) from None

    options = [*_LIMITS, "--from", pandoc_format, "--to=plain", "--wrap=none"]
    if pandoc_format == "rtf":
        # A letter of a code page that pandoc does not know becomes another one, with a warning.
        options.append("--fail-if-warnings")
        # pandoc 3.9 takes the whole word after the number of a character for what stands in for it.
        if rb"\uc0" not in data:
            data = _STAND_IN.sub(rb"\1\\'3f", data)
    # The error says what pandoc has said.
    remedy = "save it as plain text (UTF-8) in the program that made it"
    try:
        text = subprocess.run(
            [pypandoc.get_pandoc_path(), *options],
            input=data,
            capture_output=True,
            check=True,
            timeout=MOST_SECONDS,
        ).stdout
    except subprocess.TimeoutExpired as error:
        problem = f"pandoc has not read it in {MOST_SECONDS} seconds"
        raise DataError(f"{label} is {what}, but {problem}: {remedy}") from error
    except (OSError, subprocess.CalledProcessError) as error:
        reason = str(error)
        if isinstance(error, subprocess.CalledProcessError):
            reason = " ".join(error.stderr.decode("utf-8", "replace").split())[:200]
        raise DataError(
            f"{label} is {what}, but pandoc cannot read it ({reason}): {remedy}"
        ) from error

    # Without a cache, pandoc reads the document again the next time.
    if cached is not None:
        with suppress(CharRNNError):
            write_atomically(cached, text)
    return text

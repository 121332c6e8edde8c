"""Compression by a model: files of code lengths that open on every machine."""

from collections.abc import Sequence

from charrnn.hooks import hookimpl
from charrnn.hooks.specifications import CommandEntry


@hookimpl
def commands() -> Sequence[CommandEntry]:
    """Return the commands of this package."""
    return [
        CommandEntry(
            name="compress",
            summary="Compress files by a model.",
            place="charrnn.formats.crnn.command:compress",
        ),
        CommandEntry(
            name="decompress",
            summary="Restore compressed files.",
            place="charrnn.formats.crnn.command:decompress",
        ),
    ]

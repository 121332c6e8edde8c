"""Read ZIP archives, as documents are, within limits: of what is skipped the list of files alone,
of a document the parts with text."""

import gzip
import io
import re
import zipfile
from typing import BinaryIO

from charrnn.errors import DataError
from charrnn.text.file_kinds import DAMAGED

MAX_LIST = 1 << 22
"""Maximum number of bytes that are read of an archive at once: its list of files, or a part."""
MAX_UNPACKED = 24 << 20
"""Maximum size in bytes of the parts with text of a document together: a novel has a few
megabytes. Also that of a document without parts, such as a page."""
MAX_NAME = 300
"""Names of more characters say nothing of what an archive is."""
LARGEST_UNKNOWN = 1 << 20
"""Parts of other kinds are read up to this size."""
_TEXT = re.compile(r"(?:\.(?:xml|rels|x?html?|opf|ncx)|^mimetype)$", re.IGNORECASE)
_BLOCK = 1 << 16


class _Limited(io.RawIOBase):
    """A file of which little is read at once."""

    def __init__(self, file: BinaryIO):
        super().__init__()
        self._file = file

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes. Raises BadZipFile if they are more than MAX_LIST."""
        # zipfile reads the list of all files in one piece, whatever size it claims.
        if size is None:
            return self._file.read()
        if size > MAX_LIST:
            raise zipfile.BadZipFile("its list of files is too long")
        return self._file.read(size)


def seekable(name: str, file: BinaryIO) -> BinaryIO:
    """Return an archive that can be read from its end; one that is compressed again is unpacked.
    Raises DataError if that is too large.

    Call it before `names_in` and `without_media`: the list of files stands at the end of an
    archive, and a `.gz` around it can only be read from its beginning.
    """
    if not isinstance(file, gzip.GzipFile):
        return file
    file.seek(0)
    content = file.read(MAX_UNPACKED + 1)
    check_size(name, len(content))
    return io.BytesIO(content)


def check_size(name: str, num_bytes: int) -> None:
    """Raise DataError for a document of more bytes than are read of one.

    It is called as the bytes come, because a small file may unpack to a large one; `check_size_of`
    knows the size before.
    """
    if num_bytes > MAX_UNPACKED:
        raise DataError(
            f"{name} is a document of more than {MAX_UNPACKED / 1e6:,.0f} MB, which is not read:"
            " save its text as plain text (UTF-8) in the program that made it, or divide it"
        )


def check_size_of(name: str, file: BinaryIO) -> None:
    """Raise DataError for a document in characters whose file is too large, before it is read.

    An HTML page of gigabytes ends here, and not after minutes of decoding. A compressed file, whose
    size is not known, is left to `check_size`.
    """
    # What is compressed has no end that can be looked for.
    if not isinstance(file, gzip.GzipFile):
        check_size(name, file.seek(0, io.SEEK_END))
        file.seek(0)


def names_in(file: BinaryIO) -> bytes:
    """Return the names in a ZIP archive, and what it says it is, on lines of their own, as
    `file_kinds` recognises it; b"" for anything else. Nothing else of the archive is read."""
    try:
        with zipfile.ZipFile(_Limited(file)) as archive:
            names = [name.encode() for name in archive.namelist() if len(name) <= MAX_NAME]
            if b"mimetype" in names:
                names.append(_part(archive, "mimetype", most=MAX_NAME).strip())
    except DAMAGED:
        return b""
    return b"PK\0" + b"\n".join([*names, b""])


def without_media(name: str, file: BinaryIO) -> bytes:
    """Return the ZIP archive of a document, of which pictures and other media are empty.

    Pandoc would unpack the pictures of a book into memory, and read none of them. Raises DataError
    if the parts with text are too large, and one of `DAMAGED`.
    """
    parts = {}
    num_bytes = 0
    with zipfile.ZipFile(_Limited(file)) as archive:
        for entry in archive.infolist():
            content = b""
            if _TEXT.search(entry.filename) or entry.file_size <= LARGEST_UNKNOWN:
                content = _part(archive, entry, most=MAX_UNPACKED - num_bytes + 1)
            num_bytes += len(content)
            check_size(name, num_bytes)
            parts[entry.filename] = content
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as copy:
        for filename, content in parts.items():
            copy.writestr(filename, content)
    return written.getvalue()


def _part(archive: zipfile.ZipFile, name: str | zipfile.ZipInfo, *, most: int) -> bytes:
    """Return at most so many bytes of a part of an archive. Raises one of `DAMAGED`."""
    content = bytearray()
    with archive.open(name) as part:
        while len(content) < most and (block := part.read(min(_BLOCK, most - len(content)))):
            content += block
    return bytes(content)

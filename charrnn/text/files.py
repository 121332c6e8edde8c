"""One file's bytes, and the UTF-8 text in them; else why they cannot be learned from."""

import codecs
import os
import stat
from pathlib import Path
from typing import BinaryIO, Protocol

from charrnn.errors import DataError

BYTE_ORDER_MARK = codecs.BOM_UTF8
_WIDE_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""What texts in wide characters begin with; the first begins with the second."""
_HEAD_BYTES = 64 * 1024
_BLOCK_BYTES = 16 * 1024 * 1024
_MEMORY_PER_BYTE = 8
"""Bytes of memory for a byte of text while it is read, at the most: as bytes, as characters, as ids."""
_REMEDY = "say how it is encoded (--encoding latin-1, cp1252, …), or train on raw bytes with --alphabet byte"


class _Readable(Protocol):
    def read(self, num_bytes: int, /) -> bytes: ...


def read_stream(label: str, stream: BinaryIO) -> bytes:
    """All that comes from a stream. Raises DataError if it cannot be read, or is too much for this machine."""
    try:
        return _read_blocks(label, stream)
    except OSError as error:
        raise unreadable(label, error) from error


def read_file(path: Path, encoding: str | None, *, wants_plain: bool) -> bytes:
    """All of a file, decompressed if it is named .gz; only its head where a NUL there tells that it is no UTF-8 text.

    `encoding` is None for raw bytes. Raises DataError if the file cannot be read, is too large for this machine or,
    with `wants_plain`, is a pipe or a device.
    """
    import gzip
    import zlib

    try:
        status = path.stat()
        if wants_plain and not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path} is not a plain file: name the text itself")
        _check_fits(str(path), status.st_size)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            # A folder may hold gigabytes of something else: the first NUL already tells that it is no text.
            is_no_text = encoding is not None and _is_utf8(encoding) and b"\0" in head
            return head if is_no_text else _read_blocks(str(path), file, head)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged or no gzip file ({error}): fetch or compress it again") from error
    except OSError as error:
        raise unreadable(str(path), error) from error


def _read_blocks(label: str, file: _Readable, head: bytes = b"") -> bytes:
    """Read on to the end. A small .gz can hold more than any memory, and so can a pipe: raises DataError for those."""
    blocks, num_bytes = [head], len(head)
    while block := file.read(_BLOCK_BYTES):
        blocks.append(block)
        num_bytes += len(block)
        _check_fits(label, num_bytes)
    return b"".join(blocks)


def _check_fits(label: str, num_bytes: int) -> None:
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return
    if num_bytes > memory // _MEMORY_PER_BYTE:
        raise DataError(f"{label} is too large for this machine's memory of {memory / 1e9:,.0f} GB: take a part of it")


def as_utf8(data: bytes, encoding: str | None) -> tuple[bytes, str | None]:
    """Return a file's content as UTF-8 (as it is, if `encoding` is None), and why it cannot be used, if it cannot."""
    if encoding is not None and not _is_utf8(encoding):
        try:
            data = data.decode(encoding).encode("utf-8")
        except UnicodeError as error:
            if isinstance(error, UnicodeDecodeError):
                return data, f"is not {encoding} at byte offset {error.start}: {_REMEDY}"
            return data, f"is no text in {encoding}: {_REMEDY}"  # a lone surrogate, which UTF-7 can spell
    if not data or (encoding is not None and data == BYTE_ORDER_MARK):
        return data, "is empty: give a file with text in it"
    return data, None if encoding is None else _fault(data)


def _fault(data: bytes) -> str | None:
    """Return why bytes cannot be used as UTF-8 text, None if they can."""
    if wide := next((name for mark, name in _WIDE_MARKS.items() if data.startswith(mark)), None):
        return f"is not UTF-8 at byte offset 0: it begins as {wide} text does. Say --encoding {wide}"
    if (offset := data.find(b"\0")) >= 0:
        name = "utf-16-be" if offset % 2 == 0 else "utf-16-le"
        if data.count(b"\0") > len(data) // 4:
            return f"has a NUL at byte offset {offset}: if it is text in wide characters, say --encoding {name}"
        return f"has a NUL at byte offset {offset}: it is no text, but --alphabet byte trains on raw bytes"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"is not UTF-8 at byte offset {error.start}: {_REMEDY}"
    return None


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def title(encoding: str) -> str:
    """How an encoding is called in a sentence."""
    return "UTF-8" if _is_utf8(encoding) else encoding


def unreadable(label: str, error: OSError) -> DataError:
    """What to say of a file or a folder that the system does not let us read."""
    return DataError(f"cannot read {label}: {error.strerror or error}; check that it exists and that you may read it")

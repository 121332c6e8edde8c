"""Count, hash and encode the text of a corpus block by block, in memory or on disk.

Shapes: N ids of a block.
"""

import hashlib
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from charrnn.text.vocab import CharacterCounts, IdArray, Vocab, code_points

UNKNOWN_TYPE = np.dtype([("position", "<u8"), ("code_point", "<u4")])
"""The index of an unknown character in a text, and its code point."""

EncodedBlock = tuple[IdArray, NDArray[np.void]]
"""The ids of a block, and its unknown characters as `UNKNOWN_TYPE`, with indices in the whole text.
"""

BLOCK_BYTES = 1 << 20
"""Number of bytes that are encoded at a time: few enough for the cache of one core."""
MAX_BYTES_IN_MEMORY = 64 * 1024 * 1024
"""A text of more bytes is in a temporary file, and its ids are mapped from another one."""


class IdBuilder:
    """Store a text in UTF-8 (any bytes, for the byte alphabet), count its characters, hash it, and
    encode it as ids.

    Each block is decoded twice, to count and to encode it, which is cheap compared with reading and
    checking it.
    """

    def __init__(self, alphabet: str) -> None:
        """Start with an empty text."""
        self.num_bytes = 0
        self.ends_line = True
        """Whether the text is empty or ends with a line feed."""
        self._is_bytes = alphabet == "byte"
        self._hash = hashlib.sha256()
        self._pending = bytearray()
        self._file = tempfile.SpooledTemporaryFile(MAX_BYTES_IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._sizes: list[int] = []
        """The number of bytes of each block in the file."""
        self._counts = np.zeros(0, np.int64)
        """The number of occurrences of each code point."""

    @property
    def is_large(self) -> bool:
        """Whether the text is too large for memory, so that its ids are, too."""
        return self.num_bytes > MAX_BYTES_IN_MEMORY

    def add(self, text: str) -> None:
        """Add the next characters of the text. Raises OSError."""
        if not text:
            return
        # Half of a surrogate pair is no character, and stands for a byte in a text of bytes.
        errors = "surrogateescape" if self._is_bytes else "replace"
        data = text.encode("utf-8", errors)
        self.num_bytes += len(data)
        self.ends_line = text.endswith("\n")

        # Lines are joined before they are counted: counting thousands of them one by one would take
        # most of the time.
        self._pending += data
        if len(self._pending) >= BLOCK_BYTES:
            self._store_pending()

    def _store_pending(self) -> None:
        block = bytes(self._pending)
        self._pending.clear()
        self._hash.update(block)
        self._file.write(block)
        self._sizes.append(len(block))

        # The array of counts ends with the largest code point so far.
        counts = np.bincount(self._points(block), minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    @property
    def digest(self) -> str:
        """SHA-256 of the text so far, in hexadecimal."""
        return self._hash.hexdigest()

    def counts(self) -> CharacterCounts:
        """Count the characters of the whole text; nothing is added after this. Raises OSError."""
        self._store_pending()
        points = np.flatnonzero(self._counts)
        return CharacterCounts(points, self._counts[points])

    def encode(self, vocab: Vocab) -> Iterator[EncodedBlock]:
        """Yield the ids in the alphabet `vocab`, block by block, each with the unknown characters
        of the block. Call it once, after `counts`.

        Raises OSError, and DataError for characters that an alphabet without an unknown symbol does
        not have.
        """
        # The counts show before the first block whether any characters are unknown: most texts need
        # no search for them.
        occurring = np.flatnonzero(self._counts)
        missing = occurring[~vocab.knows(occurring)]
        if not vocab.has_unknown_symbol:
            vocab.check_known(list(map(chr, missing.tolist())))

        ids_of = vocab.ids_of(np.arange(len(self._counts)))
        position = 0
        for points in self._all_points():
            ids = ids_of.take(points)
            # The id 0 is the unknown symbol only where characters are missing; else it is a
            # character.
            indices = np.zeros(0, np.int64)
            if len(missing) > 0:
                indices = np.flatnonzero(ids == 0)
            unknown = np.empty(len(indices), UNKNOWN_TYPE)
            unknown["position"] = indices + position
            unknown["code_point"] = points[indices]
            position += len(ids)
            yield ids, unknown

    def _all_points(self) -> Iterator[NDArray[np.unsignedinteger]]:
        """Yield the code points of the text, at most BLOCK_BYTES at a time."""
        self._file.seek(0)
        for size in self._sizes:
            points = self._points(self._file.read(size))
            for first in range(0, len(points), BLOCK_BYTES):
                yield points[first : first + BLOCK_BYTES]
        self._file.close()

    def _points(self, block: bytes) -> NDArray[np.unsignedinteger]:
        """Return the code points of a block."""
        # The bytes of ASCII are the code points.
        if self._is_bytes or block.isascii():
            return cast(IdArray, np.frombuffer(block, np.uint8))
        return code_points(block.decode("utf-8"))


def stored(blocks: Iterable[EncodedBlock], *, vocab: Vocab, is_large: bool) -> EncodedBlock:
    """Join blocks in memory, or write them to temporary files and map these into memory. The files
    exist as long as they are mapped. Raises OSError."""
    if not is_large:
        all_ids, all_unknown = zip(*blocks, strict=True)
        return np.concatenate(all_ids), np.concatenate(all_unknown)
    with tempfile.TemporaryFile() as ids_file, tempfile.TemporaryFile() as unknown_file:
        for ids, unknown in blocks:
            ids_file.write(ids.tobytes())
            unknown_file.write(unknown.tobytes())
        return _map(ids_file, vocab.id_type), _map(unknown_file, UNKNOWN_TYPE)


def _map(file: BinaryIO, dtype: np.dtype[Any]) -> NDArray[Any]:
    file.flush()
    if file.tell() == 0:  # An empty file cannot be mapped.
        return np.empty(0, dtype)
    return np.memmap(file, dtype, "r")

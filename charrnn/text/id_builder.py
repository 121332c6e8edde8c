"""Count, hash and encode the text of a corpus block by block, in memory or on disk.

Shapes: N ids of a block.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Literal, cast

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


class IdBuilder:
    """Store a text in UTF-8 (any bytes, for the byte alphabet), count its characters, hash it, and
    encode it as ids.

    Each block is decoded twice, to count and to encode it, which is cheap compared with reading and
    checking it.
    """

    def __init__(
        self, kind: Literal["char", "byte"], max_bytes_in_memory: int | None = None
    ) -> None:
        """Start with an empty text. If it gets longer than `max_bytes_in_memory`, it moves to a
        temporary file."""
        self.num_bytes = 0
        self.ends_line = True
        """Whether the text is empty or ends with a line feed."""
        self.file: BinaryIO | None = None
        self._is_bytes = kind == "byte"
        self._max_bytes = max_bytes_in_memory
        self._hash = hashlib.sha256()
        self._pending: list[bytes] = []
        self._num_pending = 0
        self._blocks: list[bytes] = []
        self._sizes: list[int] = []
        """The number of bytes of each block, in memory or in the file."""
        self._counts = np.zeros(0, np.int64)
        """The number of occurrences of each code point."""

    def add(self, text: str) -> None:
        """Add the next characters of the text. Raises OSError."""
        if not text:
            return
        # Half of a surrogate pair is no character, and stands for a byte in a text of bytes.
        errors = "surrogateescape" if self._is_bytes else "replace"
        data = text.encode("utf-8", errors)
        self.num_bytes += len(data)
        self.ends_line = text.endswith("\n")
        self._pending.append(data)
        self._num_pending += len(data)

        # Lines are joined before they are counted: counting thousands of them one by one would take
        # most of the time.
        if self._num_pending >= BLOCK_BYTES:
            self._store_pending()

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
        of the block.

        Call it once, after `counts`: a block in memory is freed when it is encoded. Raises OSError,
        and DataError for characters that an alphabet without an unknown symbol does not have.
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
        if self.file is not None:
            self.file.seek(0)
        for size in self._sizes:
            # A block in memory is freed once it is encoded.
            block = self._blocks.pop(0) if self.file is None else self.file.read(size)
            points = self._points(block)
            for first in range(0, len(points), BLOCK_BYTES):
                yield points[first : first + BLOCK_BYTES]

    def _points(self, block: bytes) -> NDArray[np.unsignedinteger]:
        """Return the code points of a block."""
        # The bytes of ASCII are the code points.
        if self._is_bytes or block.isascii():
            return cast(IdArray, np.frombuffer(block, np.uint8))
        return code_points(block.decode("utf-8"))

    def _store_pending(self) -> None:
        block = b"".join(self._pending)
        self._hash.update(block)
        self._pending = []
        self._num_pending = 0

        # The array of counts ends with the largest code point so far.
        counts = np.bincount(self._points(block), minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

        # When the text gets too large for memory, all of it moves to a file.
        self._blocks.append(block)
        self._sizes.append(len(block))
        if self.file is None and self._max_bytes is not None and self.num_bytes > self._max_bytes:
            self.file = tempfile.TemporaryFile()  # noqa: SIM115  # `SourceReader` closes it.
        if self.file is not None:
            self.file.writelines(self._blocks)
            self._blocks = []


def joined(blocks: Iterable[EncodedBlock]) -> EncodedBlock:
    """Join blocks in memory."""
    ids, unknown = zip(*blocks, strict=True)
    return np.concatenate(ids), np.concatenate(unknown)


def mapped(blocks: Iterable[EncodedBlock], vocab: Vocab) -> EncodedBlock:
    """Write blocks to temporary files, and map the files into memory. The files exist as long as
    they are mapped. Raises OSError."""
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

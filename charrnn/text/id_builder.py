"""Counts, hashes and encodes the text of a corpus, block by block, in memory or on disk.

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
"""One unknown character of a text: its index, and which character it is."""

EncodedBlock = tuple[IdArray, NDArray[np.void]]
"""Ids, and which of them are unknown characters (`UNKNOWN_TYPE`, with the index in the whole text).
"""

BLOCK_BYTES = 1 << 20
"""Bytes that are encoded at a time: few enough for the cache of one core."""


class IdBuilder:
    """Keeps UTF-8 (any bytes, for the byte alphabet), counts its characters, hashes it, and encodes
    it as ids.

    Each block is decoded twice, once to count and once to encode, which is cheap next to reading
    and checking it.
    """

    def __init__(
        self, kind: Literal["char", "byte"], max_bytes_in_memory: int | None = None
    ) -> None:
        """Start with an empty text. One of more than `max_bytes_in_memory` is kept in a temporary
        file."""
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
        """Bytes of each block, in memory or in the file."""
        self._counts = np.zeros(0, np.int64)
        """By code point."""

    def add(self, data: bytes) -> None:
        """Add the next bytes of the text: whole characters, unless it is for the byte alphabet.
        Raises OSError."""
        if not data:
            return
        self._hash.update(data)
        self.num_bytes += len(data)
        self.ends_line = data.endswith(b"\n")
        self._pending.append(data)
        self._num_pending += len(data)

        # Thousands of short files are joined: counting each of them would take most of the time.
        if self._num_pending >= BLOCK_BYTES:
            self._store_pending()

    @property
    def digest(self) -> str:
        """SHA-256 of the text so far, in hexadecimal."""
        return self._hash.hexdigest()

    def counts(self) -> CharacterCounts:
        """Count the characters of the whole text; nothing is added after this. Raises OSError."""
        self._store_pending()
        found = np.flatnonzero(self._counts)
        return CharacterCounts(found, self._counts[found])

    def encode(self, vocab: Vocab) -> Iterator[EncodedBlock]:
        """Yield the ids in the alphabet `vocab`, block by block, each with the unknown characters
        of the block.

        Call it once, after `counts`: a block in memory is freed when it is encoded. Raises OSError,
        and DataError for characters that an alphabet without an unknown symbol does not have.
        """
        # The whole text was counted, so it is known before the first block whether characters are
        # missing: most texts need no search for them.
        found = np.flatnonzero(self._counts)
        missing = found[~vocab.knows(found)]
        if not vocab.has_unknown_symbol:
            vocab.check_known(list(map(chr, missing.tolist())))

        ids_of = vocab.ids_of(np.arange(len(self._counts)))
        position = 0
        for points in self._all_points():
            ids = ids_of.take(points)
            at = np.zeros(0, np.int64)
            if len(missing) > 0:
                at = np.flatnonzero(ids == 0)
            unknown = np.empty(len(at), UNKNOWN_TYPE)
            unknown["position"] = at + position
            unknown["code_point"] = points[at]
            position += len(ids)
            yield ids, unknown

    def _all_points(self) -> Iterator[NDArray[np.unsignedinteger[Any]]]:
        """Yield the code points of the text, at most BLOCK_BYTES at a time."""
        if self.file is not None:
            self.file.seek(0)
        for size in self._sizes:
            # A block in memory is freed once it is encoded.
            block = self._blocks.pop(0) if self.file is None else self.file.read(size)
            points = self._points(block)
            for first in range(0, len(points), BLOCK_BYTES):
                yield points[first : first + BLOCK_BYTES]

    def _points(self, block: bytes) -> NDArray[np.unsignedinteger[Any]]:
        """Return the code points of a block."""
        # ASCII is its own code points.
        if self._is_bytes or block.isascii():
            return cast(IdArray, np.frombuffer(block, np.uint8))
        return code_points(block.decode("utf-8"))

    def _store_pending(self) -> None:
        block = b"".join(self._pending)
        self._pending = []
        self._num_pending = 0

        # The array of counts is as long as the largest code point so far asks for.
        counts = np.bincount(self._points(block), minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

        # The text moves to a file, with everything so far, once it is known to be large.
        self._blocks.append(block)
        self._sizes.append(len(block))
        if self.file is None and self._max_bytes is not None and self.num_bytes > self._max_bytes:
            self.file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by whoever reads the text
        if self.file is not None:
            self.file.writelines(self._blocks)
            self._blocks = []


def joined(blocks: Iterable[EncodedBlock]) -> EncodedBlock:
    """Join blocks in memory."""
    ids, unknown = zip(*blocks, strict=True)
    return np.concatenate(ids), np.concatenate(unknown)


def mapped(blocks: Iterable[EncodedBlock], vocab: Vocab) -> EncodedBlock:
    """Write blocks to temporary files and map those; they exist as long as they are mapped. Raises
    OSError."""
    with tempfile.TemporaryFile() as ids_file, tempfile.TemporaryFile() as unknown_file:
        for ids, unknown in blocks:
            ids_file.write(ids.tobytes())
            unknown_file.write(unknown.tobytes())
        return _map(ids_file, vocab.id_type), _map(unknown_file, UNKNOWN_TYPE)


def _map(file: BinaryIO, dtype: np.dtype[Any]) -> NDArray[Any]:
    file.flush()
    if file.tell() == 0:  # nothing cannot be mapped
        return np.empty(0, dtype)
    return np.memmap(file, dtype, "r")

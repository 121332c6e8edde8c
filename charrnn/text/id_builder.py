"""Encodes a text as ids in one pass, before its alphabet is known, in memory or in a file.

While the text is counted, each character gets a provisional id: an ASCII character its code, any other one the next
free number from 128 on. When the alphabet is known, the provisional ids are replaced block by block.

Shapes: N characters of the text, U unknown ones, D distinct ones.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from charrnn.text.vocab import CharacterCounts, IdArray, Vocab, code_points

UNKNOWN_TYPE = np.dtype([("position", "<u8"), ("code_point", "<u4")])
"""One unknown character of a text: its index, and which character it is."""

BLOCK_BYTES = 1 << 20
"""Bytes that are encoded at a time: few enough for the cache of one core."""

_NUM_CODE_POINTS = 0x110000
_NUM_ASCII = 128


class IdBuilder:
    """Encodes UTF-8 (or any bytes, for the byte alphabet) as provisional ids, counts its characters and hashes it."""

    def __init__(
        self,
        kind: Literal["char", "byte"],
        open_file: Callable[[], BinaryIO] | None = None,
        max_bytes_in_memory: int = 0,
    ) -> None:
        """Start with an empty text. Ids that exceed `max_bytes_in_memory` go to the file that `open_file` opens.

        Without `open_file` they stay in memory, however many they are.
        """
        self.num_bytes = 0
        self.num_ids = 0
        self.ends_line = True
        """Whether the text is empty or ends with a line feed."""
        self.file: BinaryIO | None = None
        self._is_bytes = kind == "byte"
        self._open_file, self._max_bytes = open_file, max_bytes_in_memory
        self._hash = hashlib.sha256()
        self._pending: list[bytes] = []
        self._num_pending = 0
        self._blocks: list[IdArray] = []
        self._runs: list[tuple[np.dtype[Any], int]] = []  # the types and the numbers of the ids, in order
        self._num_id_bytes = 0
        # By provisional id.
        num_known = 256 if self._is_bytes else _NUM_ASCII
        self._code_points = np.arange(num_known)
        self._counts = np.zeros(num_known, np.int64)
        # By code point; 0 for one that was not seen, as for NUL.
        self._provisional: IdArray | None = None

    def add(self, data: bytes) -> None:
        """Add the next bytes of the text: whole characters, unless it is for the byte alphabet. Raises OSError."""
        if not data:
            return
        self._hash.update(data)
        self.num_bytes += len(data)
        self.ends_line = data.endswith(b"\n")
        self._pending.append(data)
        self._num_pending += len(data)
        if self._num_pending >= BLOCK_BYTES:
            self._encode_pending()

    @property
    def digest(self) -> str:
        """SHA-256 of the text so far, in hexadecimal."""
        return self._hash.hexdigest()

    def counts(self) -> CharacterCounts:
        """Count the characters of the whole text; nothing is added after this. Raises OSError."""
        self._encode_pending()
        found = np.flatnonzero(self._counts)
        return CharacterCounts(self._code_points[found], self._counts[found])

    def encode(self, vocab: Vocab) -> Iterator[tuple[IdArray, NDArray[np.void]]]:
        """Yield the ids in the alphabet `vocab`, block by block, each with the unknown characters of the block.

        Call it once, after `counts`. Each block is read before the one before it is overwritten, so the ids may be
        written to the start of the same file if `fits_in_place`. Raises OSError, and DataError for characters that
        an alphabet without an unknown symbol does not have.
        """
        final = vocab.ids_of(self._code_points)
        is_missing = ~vocab.knows(self._code_points) & (self._counts > 0)
        if is_missing.any() and not vocab.has_unknown_symbol:
            vocab.check_known(list(map(chr, np.sort(self._code_points[is_missing]).tolist())))
        has_unknown = bool(is_missing.any())
        position = 0
        for block in self._provisional_blocks():
            ids = final.take(block)
            unknown = np.empty(0, UNKNOWN_TYPE)
            if has_unknown:
                at = np.flatnonzero(ids == 0)
                unknown = np.empty(len(at), UNKNOWN_TYPE)
                unknown["position"], unknown["code_point"] = at + position, self._code_points[block[at]]
            position += len(ids)
            yield ids, unknown

    def fits_in_place(self, vocab: Vocab) -> bool:
        """Whether no id in the alphabet `vocab` takes more bytes than the provisional one that it replaces."""
        return all(vocab.id_type.itemsize <= dtype.itemsize for dtype, _ in self._runs)

    def _provisional_blocks(self) -> Iterator[IdArray]:
        if self.file is None:
            while self._blocks:
                yield self._blocks.pop(0)
            return
        self.file.flush()
        position = 0
        for dtype, num in self._runs:
            for first in range(0, num, BLOCK_BYTES):
                self.file.seek(position)
                block = self.file.read(min(BLOCK_BYTES, num - first) * dtype.itemsize)
                position += len(block)
                yield cast(IdArray, np.frombuffer(block, dtype))

    def _encode_pending(self) -> None:
        data = b"".join(self._pending)
        self._pending, self._num_pending = [], 0
        is_plain = self._is_bytes or data.isascii()
        codes: IdArray = np.frombuffer(data, np.uint8) if is_plain else code_points(data.decode("utf-8"))
        for first in range(0, len(codes), BLOCK_BYTES):
            ids = codes[first : first + BLOCK_BYTES]
            if not is_plain:
                ids = self._provisional_ids(ids)
            self._counts += np.bincount(ids, minlength=len(self._counts))
            self.num_ids += len(ids)
            self._store(ids)

    def _provisional_ids(self, points: NDArray[np.unsignedinteger[Any]]) -> IdArray:
        if self._provisional is None:
            self._provisional = np.zeros(_NUM_CODE_POINTS, np.uint8)
            self._provisional[:_NUM_ASCII] = np.arange(_NUM_ASCII)
        ids = self._provisional.take(points)
        if len(new := points[(ids == 0) & (points != 0)]):
            self._learn(np.unique(new))
            ids = self._provisional.take(points)
        return ids

    def _learn(self, points: NDArray[np.unsignedinteger[Any]]) -> None:
        """Give code points that were not seen before the next provisional ids."""
        assert self._provisional is not None, "only ASCII is known without it"
        first, end = len(self._code_points), len(self._code_points) + len(points)
        if end > np.iinfo(self._provisional.dtype).max + 1:
            self._provisional = self._provisional.astype(np.uint16 if end <= 1 << 16 else np.uint32)
        self._provisional[points] = np.arange(first, end)
        self._code_points = np.concatenate((self._code_points, points))
        self._counts = np.concatenate((self._counts, np.zeros(len(points), np.int64)))

    def _store(self, ids: IdArray) -> None:
        if self._runs and self._runs[-1][0] == ids.dtype:
            self._runs[-1] = ids.dtype, self._runs[-1][1] + len(ids)
        else:
            self._runs.append((ids.dtype, len(ids)))
        self._num_id_bytes += ids.nbytes
        if self.file is None and self._open_file is not None and self._num_id_bytes > self._max_bytes:
            self.file = self._open_file()
            for block in self._blocks:
                self.file.write(block.tobytes())
            self._blocks = []
        if self.file is None:
            self._blocks.append(ids)
        else:
            self.file.write(ids.tobytes())

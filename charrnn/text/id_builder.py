"""Count, hash and encode the text of a corpus block by block, in memory or on disk.

Shapes: N ids of a block.
"""

import codecs
import hashlib
import tempfile
import weakref
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from charrnn.system.arrays import Int64Array
from charrnn.text.vocab import IdArray, Vocab, code_points

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
    """Store a text in UTF-8 (any bytes, for the byte alphabet), then count its characters, hash it,
    and encode it as ids.

    An alphabet is known only when the whole text was counted, and the text may be larger than
    memory: so it is stored first, and encoded afterwards. The text is decoded twice, to count and
    to encode it, which is cheap compared with reading and checking it.
    """

    def __init__(self, alphabet: str):
        """Start with an empty text."""
        self.num_bytes = 0
        self._is_bytes = alphabet == "byte"
        self._file = tempfile.SpooledTemporaryFile(MAX_BYTES_IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def add(self, text: str) -> None:
        """Add the next characters of the text. Raises OSError."""
        # Half of a surrogate pair is no character, and stands for a byte in a text of bytes.
        errors = "surrogateescape" if self._is_bytes else "replace"
        self.num_bytes += self._file.write(text.encode("utf-8", errors))

    def end_line(self) -> None:
        """End the last line of the text, if it has no end. Raises OSError.

        Call it between two files, whose last and first lines would else be one.
        """
        self._file.seek(max(0, self.num_bytes - 1))
        if self._file.read(1) not in (b"", b"\n"):
            self.add("\n")

    def truncate(self, num_bytes: int) -> None:
        """Leave out all but the first bytes of the text. Raises OSError.

        A file that turns out to be unusable at its end is taken back by it.
        """
        self._file.seek(num_bytes)
        self._file.truncate()
        self.num_bytes = num_bytes

    def digest(self) -> str:
        """Compute the SHA-256 of the text, in hexadecimal. Raises OSError."""
        digest = hashlib.sha256()
        self._file.seek(0)
        while block := self._file.read(BLOCK_BYTES):
            digest.update(block)
        return digest.hexdigest()

    def counts(self) -> Int64Array:
        """Count each code point, or byte, from 0 to the largest of the text. Raises OSError."""
        counts = np.zeros(0, np.int64)
        for points in self._blocks():
            more = np.bincount(points, minlength=len(counts))
            more[: len(counts)] += counts
            counts = more
        return counts

    def encode(self, vocab: Vocab, counts: Int64Array) -> Iterator[EncodedBlock]:
        """Yield the ids in the alphabet `vocab`, block by block, each with the unknown characters
        of the block, and remove the text. Takes what `counts` has returned.

        Raises OSError, and DataError for characters that an alphabet without an unknown symbol does
        not have.
        """
        # The counts show before the first block whether any characters are unknown: most texts need
        # no search for them.
        occurring = np.flatnonzero(counts)
        vocab.check_known(occurring)
        has_unknown = not vocab.knows(occurring).all()

        ids_of = vocab.ids_of(np.arange(len(counts)))
        position = 0
        for points in self._blocks():
            ids = ids_of.take(points)
            # The id 0 is the unknown symbol only where characters are missing; else it is a
            # character.
            indices = np.zeros(0, np.int64)
            if has_unknown:
                indices = np.flatnonzero(ids == 0)
            unknown = np.empty(len(indices), UNKNOWN_TYPE)
            unknown["position"] = indices + position
            unknown["code_point"] = points[indices]
            position += len(ids)
            yield ids, unknown
        self._file.close()

    def _blocks(self) -> Iterator[NDArray[np.unsignedinteger]]:
        """Yield the code points of the text, or its bytes, at most BLOCK_BYTES at a time."""
        self._file.seek(0)
        # A block may end within a character, which stands in the next one then.
        decoder = codecs.getincrementaldecoder("utf-8")()
        while block := self._file.read(BLOCK_BYTES):
            # The bytes of ASCII are the code points.
            if self._is_bytes or block.isascii():
                yield code_points(block)
            else:
                yield code_points(decoder.decode(block))


def stored(blocks: Iterable[EncodedBlock], *, vocab: Vocab, num_bytes: int) -> EncodedBlock:
    """Join blocks in memory; those of a text of more than `MAX_BYTES_IN_MEMORY` bytes have their
    ids in a temporary file, which is mapped into memory and exists as long as it is. Raises
    OSError.

    Whoever makes the ids of a whole corpus block by block ends with it, once for each order of the
    documents.
    """
    if num_bytes <= MAX_BYTES_IN_MEMORY:
        all_ids, all_unknown = zip(*blocks, strict=True)
        return np.concatenate(all_ids), np.concatenate(all_unknown)
    with tempfile.TemporaryFile() as file:
        # There are few unknown characters.
        found = [np.empty(0, UNKNOWN_TYPE)]
        for ids, unknown in blocks:
            file.write(ids.tobytes())
            found.append(unknown)
        file.flush()
        return np.memmap(file, vocab.id_type, "r"), np.concatenate(found)

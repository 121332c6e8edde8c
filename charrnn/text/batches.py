"""Cut a corpus into batches, and release the memory of mapped ids.

Shapes: N ids of a corpus, T time (characters of a window), B batch rows.
"""

import mmap
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.text.vocab import IdArray


def release_pages(mapped: NDArray[np.generic]) -> None:
    """Remove an array that is mapped from a file from this process's memory; it stays in the file
    cache of the operating system.

    Whoever reads a corpus once, from its beginning to its end, calls it after each part: otherwise
    all of a text that is larger than memory counts as used by this process.
    """
    # A slice is a view of an array, which is a view of the memory map.
    base: object = mapped
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


RELEASE_IDS = 1 << 23
"""Number of ids of a mapped text that are read before they are removed from this process's memory:
8 MB of uint8 ids."""


# No generated __eq__: comparing arrays gives an array, not a truth value.
@dataclass(frozen=True, eq=False)
class BatchRows:
    """B batch rows over ids (N,) for truncated BPTT: row b starts at floor(b * N / B) and is
    contiguous.

    The ids form a ring: a row that reaches the start of the next row continues, and the last id is
    followed by the first. So the recurrent state can be carried from each window to the next, and
    no characters are dropped at the end. After N / B characters per row, which is one epoch, every
    id has been read once. The position in the corpus is one number, the cursor: the number of
    characters that each row has read.
    """

    ids: IdArray
    """(N,)"""
    batch_size: int
    """B"""

    def window(
        self, cursor: int, length: int, rows: slice = slice(None)
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return inputs and targets, both (T, B) and C-contiguous: the next T = `length` characters
        of every batch row.

        Input [t, b] is the id at (start_b + cursor + t) mod N, its target the id after it. Both
        arrays are views of one buffer: copy before writing into either. With `rows`, only these
        batch rows are read.
        """
        # Inputs and targets are the same ids, one step apart, so one index serves both.
        num_ids = len(self.ids)
        starts = np.arange(self.batch_size, dtype=np.int64)[rows] * num_ids // self.batch_size
        steps = np.arange(length + 1, dtype=np.int64)[:, None] + cursor % num_ids
        block = self.ids[(starts + steps) % num_ids].astype(np.int64)  # (T + 1, B)

        # Pages are released only now and then: reading a released page again is expensive.
        if cursor // length % max(1, RELEASE_IDS // block.size) == 0:
            release_pages(self.ids)
        return block[:-1], block[1:]

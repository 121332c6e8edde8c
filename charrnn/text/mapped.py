"""Ids that are mapped from a file, out of memory again."""

import mmap

import numpy as np

from charrnn.text.vocab import IdArray


def release_pages(ids: IdArray) -> None:
    """Take ids that are mapped from a file out of this process's memory; they stay in the system's file cache."""
    base: object = ids
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)

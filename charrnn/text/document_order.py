"""Bring the documents of a corpus into their order, and lead from an id back to its file.

Shapes: N ids, D documents, P positions.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.system.arrays import Int64Array
from charrnn.text.batches import release_pages
from charrnn.text.id_builder import EncodedBlock

_BLOCK_IDS = 1 << 20
_BLOCK_DOCUMENTS = 100
"""Documents that are moved at a time."""


def digest_in_order(digest: str, config: Config) -> str:
    """Return the digest of a text whose documents are in the order of a configuration, given its
    `digest` in the order of the files.

    Compare this with the digest of a run, never that of the files: two runs with other orders have
    learned other texts, of which other documents are held out.
    """
    if config.end_id is None or config.order == "sorted":
        return digest
    return hashlib.sha256(f"{digest} shuffled {config.order_seed}".encode("ascii")).hexdigest()


def arrange(encoded: EncodedBlock, config: Config) -> Iterator[EncodedBlock]:
    """Bring the documents of a whole corpus into their order.

    Names are sorted in their file, and a validation part at its end would have the last letters
    only: a configuration may shuffle them. Takes all ids and unknown characters, and yields them in
    blocks; the last block has no ids, but all unknown characters.
    """
    ids, unknown = encoded
    ends = document_ends(ids, end_id=config.end_id)
    numbers = document_order(len(ends), config)
    sizes = np.diff(ends, prepend=0)
    for first in range(0, len(ends), _BLOCK_DOCUMENTS):
        documents = numbers[first : first + _BLOCK_DOCUMENTS]
        parts = [ids[ends[number] - sizes[number] : ends[number]] for number in documents]
        yield np.concatenate(parts), unknown[:0]
        release_pages(ids)

    # There are few unknown characters, so they are all moved at the end.
    moved = _moved(unknown["position"].astype(np.int64), sizes, order=numbers)
    arranged = unknown[np.argsort(moved, kind="stable")]
    arranged["position"] = np.sort(moved)
    yield ids[:0], arranged


def in_file_order(positions: Int64Array, ids: NDArray[np.integer], config: Config) -> Int64Array:
    """Return the positions (P,) in the order of the files of the characters at these positions of
    ids (N,) whose documents were arranged.

    It leads from an id back to its file, after `arrange`.
    """
    sizes = np.diff(document_ends(ids, end_id=config.end_id), prepend=0)
    return _moved(positions, sizes, order=np.argsort(document_order(len(sizes), config)))


def _moved(positions: Int64Array, sizes: Int64Array, *, order: Int64Array) -> Int64Array:
    """Return where characters are when documents of these sizes (D,) are brought into an order."""
    starts = np.cumsum(sizes) - sizes
    new_starts = np.zeros_like(starts)
    new_starts[order] = np.cumsum(sizes[order]) - sizes[order]
    numbers = np.searchsorted(starts, positions, side="right") - 1
    return new_starts[numbers] + positions - starts[numbers]


def document_order(num_documents: int, config: Config) -> Int64Array:
    """Return the numbers of the documents, counted from 0 in the corpus, in their order.

    A sorted order is the order of the corpus. A shuffle sorts document i by output i of the
    generator SplitMix64 (Steele, Lea & Flood 2014), which starts with the seed of the order, so
    that the same corpus has the same order on every machine and in every version.
    """
    if config.order == "sorted":
        return np.arange(num_documents, dtype=np.int64)

    # The generator adds a constant to its state at each step, so output i can be computed without
    # the earlier outputs: it is the state, mixed twice. The overflow of 64-bit integers is
    # intended.
    numbers = np.arange(1, num_documents + 1, dtype=np.uint64)
    keys = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(config.order_seed)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(keys ^ (keys >> np.uint64(31)), kind="stable")


def document_ends(ids: NDArray[np.integer], end_id: int | None) -> Int64Array:
    """Return the index after the END of each document in ids (N,), which are read block by block.

    Its length counts the documents, and its differences are their sizes.
    """
    ends = []
    for start in range(0, len(ids), _BLOCK_IDS):
        ends.append(start + 1 + np.flatnonzero(ids[start : start + _BLOCK_IDS] == end_id))
        release_pages(ids)
    return np.concatenate(ends) if ends else np.zeros(0, np.int64)

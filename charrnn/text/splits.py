"""Split the ids of a text into training, validation and test part: a running text at any character,
a text of documents between two of them."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.errors import DataError, counted, named
from charrnn.system.arrays import Int64Array
from charrnn.text.document_order import document_ends


def split_text(ids: NDArray[np.integer], config: Config) -> tuple[slice, ...]:
    """Split the ids (N,) of a text into training, validation and perhaps test part, as a
    configuration says. Raises DataError if the text is too short.

    Everything that asks for a held-out part asks it here, so that nobody measures on what was
    learned.
    """
    if config.end_id is None:
        return split_ids(len(ids), config.split)
    return split_documents(
        document_ends(ids, end_id=config.end_id), fractions=config.split, kind=config.documents
    )


def split_documents(
    ends: Int64Array, fractions: Sequence[float], *, kind: str
) -> tuple[slice, ...]:
    """Split a text into contiguous parts of whole documents.

    `ends` (D,) are the indices after the ENDs of the documents. A part ends with the document in
    which the sum of the fractions up to this part, counted in characters, is reached; every part
    has at least one document. Raises DataError if there are fewer documents than parts.
    """
    if len(ends) < len(fractions):
        raise DataError(
            f"the text has only {counted(len(ends), 'document')} ({named('documents', kind)}), too"
            f" few for {len(fractions)} parts: give more text, or divide it by another"
            f" {named('documents')}"
        )

    # Count the documents up to the end of each part except the last: as many as reach its share,
    # but at least one for this part and for each part after it.
    total = math.fsum(fractions)
    num_chars = int(ends[-1])
    edges = [0]
    num_documents = 0
    for index in range(1, len(fractions)):
        share = math.fsum(fractions[:index]) / total
        num_reaching = int(np.searchsorted(ends, share * num_chars)) + 1
        most = len(ends) - (len(fractions) - index)
        num_documents = min(max(num_reaching, num_documents + 1), most)
        edges.append(int(ends[num_documents - 1]))
    edges.append(num_chars)
    return tuple(slice(start, stop) for start, stop in pairwise(edges))


def split_ids(num: int, fractions: Sequence[float]) -> tuple[slice, ...]:
    """Split `num` ids into contiguous parts with the given shares, which are positive and are
    normalised to sum to 1.

    It is for running text; `split_text` also divides a text of documents, none of which
    is cut. Boundary k is int(share of the first k parts * num), so that (0.9, 0.1) equals nanoGPT's
    split, train = ids[: int(0.9 * num)]; the last part ends at `num`.

    Raises DataError if a part would be empty.
    """
    # Each boundary is computed from its own sum, because running sums would round differently.
    total = math.fsum(fractions)
    edges = [0]
    for k in range(1, len(fractions)):
        edges.append(int(math.fsum(fractions[:k]) / total * num))
    edges.append(num)
    slices = tuple(slice(start, stop) for start, stop in pairwise(edges))
    if any(ids.start >= ids.stop for ids in slices):
        shares = ", ".join(f"{fraction / total:g}" for fraction in fractions)
        raise DataError(f"a text of length {num} is too short to split by {shares}: give more text")
    return slices

"""Contiguous lanes: a corpus read in parallel from evenly spaced places, for ever.

Shapes: N ids of a corpus, T time (steps of one window), B batch (lanes).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import DataError


# No generated __eq__: comparing arrays gives an array, not a truth value.
@dataclass(frozen=True, eq=False)
class Lanes:
    """B lanes over ids (N,); lane b starts at floor(b * N / B).

    The ids are a ring. A lane that has read its stretch goes on into its neighbour's, so the recurrent state stays
    valid for ever and no ragged tail is dropped; after N / B characters per lane every id has been read: one epoch.
    The cursor, the number of characters read per lane, is all that must be saved to go on.

    Raises ValueError unless 1 <= num_lanes <= N and N >= 2.
    """

    ids: NDArray[np.uint16]
    num_lanes: int

    def __post_init__(self) -> None:
        num_ids = len(self.ids)
        if num_ids < 2:
            raise ValueError(f"lanes need at least 2 ids, not {num_ids}")
        if not 1 <= self.num_lanes <= num_ids:
            raise ValueError(f"num_lanes must be in 1..{num_ids} (the number of ids), not {self.num_lanes}")

    def window(self, cursor: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return inputs and targets, both (T, B) and C-contiguous, of the `length` characters after `cursor` per lane.

        Row t of lane b is the id at (start_b + cursor + t) mod N; its target is the id after it. The two arrays are
        views of one buffer: copy before writing into either.

        Raises ValueError if cursor < 0 or length < 1.
        """
        if cursor < 0 or length < 1:
            raise ValueError(f"a window needs cursor >= 0 and length >= 1, not {cursor} and {length}")
        num_ids = len(self.ids)
        starts = np.arange(self.num_lanes, dtype=np.int64) * num_ids // self.num_lanes
        steps = np.arange(length + 1, dtype=np.int64)[:, None] + cursor % num_ids
        block = self.ids[(starts + steps) % num_ids].astype(np.int64)  # (T + 1, B)
        return block[:-1], block[1:]


def split_ids(num: int, fractions: Sequence[float]) -> tuple[slice, ...]:
    """Cut `num` ids into contiguous parts, in order, of the given shares (normalised to sum to 1).

    Boundary k is int(share of the first k parts * num), so that (0.9, 0.1) is nanoGPT's split to the
    character, train = ids[: int(0.9 * num)]; the last part ends at `num`.

    Raises DataError if a part would be empty.
    """
    total = math.fsum(fractions)
    if not fractions or min(fractions) <= 0 or not math.isfinite(total):
        raise DataError(f"cannot split a text by {tuple(fractions)}: give a positive share for each part")
    inner = [int(math.fsum(fractions[:k]) / total * num) for k in range(1, len(fractions))]
    bounds = [0, *inner, num]
    parts = tuple(slice(start, stop) for start, stop in pairwise(bounds))
    if any(part.start >= part.stop for part in parts):
        enough = max(len(parts), math.ceil(total / min(fractions)))
        shares = ", ".join(f"{fraction / total:g}" for fraction in fractions)
        raise DataError(f"{num} characters are too few to split by {shares}: give at least {enough}")
    return parts

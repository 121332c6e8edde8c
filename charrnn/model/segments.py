"""Cut a window of documents into pieces that can be read at once, each by as many rows as there are such pieces.

Shapes: T time, B batch (lanes), N segments, R rows of a piece.

A segment is what one lane reads without a reset: from END, or from the start of the window, up to the next END. Reading
one needs nothing of the others. So each is cut into pieces of MAX_PIECE characters and, at its end, smaller powers of
two, and all pieces of the same size and number are read together. Nothing is padded, short documents are read in few
wide steps, and a window takes at most about T + MAX_PIECE sequential steps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_PIECE = 64
"""Characters of a piece, at most; a power of two."""
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """The segments of a window, lane by lane, in the order of the text."""

    lanes: Indices
    """(N,)"""
    begins: Indices
    """(N,): the first time step of each."""
    ends: Indices
    """(N,): the time step after each."""

    @classmethod
    def of(cls, is_end: NDArray[np.bool_]) -> "Segments":
        """Divide a window in which is_end (T, B) marks the ENDs."""
        starts = is_end.T.copy()
        starts[:, 0] = True
        lanes, begins = np.nonzero(starts)
        ends = np.append(begins[1:], 0)
        ends[ends == 0] = len(is_end)
        return cls(lanes, begins, ends)

    @property
    def last_of_lanes(self) -> Indices:
        """The number (B,) of the last segment of each lane."""
        return np.flatnonzero(np.append(np.diff(self.lanes), 1))


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The pieces of R segments that are read together; each continues the segment's piece before it."""

    segments: Indices
    """(R,)"""
    positions: Indices
    """(length, R): where each character is in the flattened window (T * B)."""


def cut(segments: Segments, num_lanes: int) -> list[Piece]:
    """Cut segments into pieces, in the order in which they are to be read."""
    lengths = segments.ends - segments.begins
    num_whole, rest = np.divmod(lengths, MAX_PIECE)
    done = np.zeros_like(lengths)
    sizes = [(MAX_PIECE, num_whole > number) for number in range(int(num_whole.max()))]
    size = MAX_PIECE // 2
    while size:
        sizes.append((size, (rest & size) > 0))
        size //= 2
    pieces = []
    for size, is_chosen in sizes:
        chosen = np.flatnonzero(is_chosen)
        if len(chosen):
            times = (segments.begins + done)[chosen] + np.arange(size)[:, None]
            pieces.append(Piece(chosen, times * num_lanes + segments.lanes[chosen]))
            done[chosen] += size
    return pieces

"""Read a long text in parallel lanes, with nearly the same result as reading it from start to end.

Each lane is warmed up on the `WARM_UP` characters before it, so its state differs from that of a single pass only by
what the network remembers for longer.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.text.vocab import IdArray

WARM_UP = 512
"""Characters that a lane reads to warm up its state."""
WINDOW = 256
"""T: characters of each lane that are read at once."""
MAX_LANES = 32
"""B: lanes, at most. A text under 8 * WARM_UP characters is read in one lane, which is exact if its context has at most
WARM_UP characters."""

SEGMENT_LENGTH = 8192
"""Characters of a segment, where only a part of a long text is read: 16 times its warm-up."""

Output = TypeVar("Output")


def read_in_lanes(
    step: Callable[[Tensor, Tensor], tuple[Output, Tensor]],
    initial_state: Callable[[int], Tensor],
    ids: IdArray,
    first: int = 0,
) -> Iterator[tuple[NDArray[np.int64], Output]]:
    """Yield the output of `step` for every character of ids (N,) from index `first` on.

    `step` maps (ids (T, B), state) to (output, state). Yields (positions (T, B), output): positions[t, b] is the
    character's index in `ids`; one that is >= N is padding. Characters before `first` are context only.
    """
    num_chars = len(ids) - first
    num_lanes = max(1, min(MAX_LANES, num_chars // (4 * WARM_UP)))
    lane_length = -(-num_chars // num_lanes)
    starts = first + lane_length * np.arange(num_lanes)
    yield from _read_from(step, initial_state, ids, starts, lane_length)


def read_segments(
    step: Callable[[Tensor, Tensor], tuple[Output, Tensor]],
    initial_state: Callable[[int], Tensor],
    ids: IdArray,
    first: int,
    max_chars: int,
) -> Iterator[tuple[NDArray[np.int64], Output]]:
    """Yield the output of `step` for segments of ids (N,), spread evenly over all characters from index `first` on.

    They have at most `max_chars` characters in all and are the same at every call; each is warmed up as a lane is.
    `step` and what is yielded are those of `read_in_lanes`, without padding. Raises ValueError unless `max_chars` is
    in 1..N - first.
    """
    _, length = segments_of(max_chars)
    starts = segment_starts(len(ids), first, max_chars)
    for begin in range(0, len(starts), MAX_LANES):
        yield from _read_from(step, initial_state, ids, starts[begin : begin + MAX_LANES], length)


def segment_starts(num_ids: int, first: int, max_chars: int) -> NDArray[np.int64]:
    """Return the indices at which the segments of `read_segments` start, of `num_ids` ids, ascending.

    Raises ValueError unless `max_chars` is in 1..num_ids - first.
    """
    num_chars = num_ids - first
    if not 1 <= max_chars <= num_chars:
        raise ValueError(f"max_chars must be in 1..{num_chars}, not {max_chars}")
    num_segments, _ = segments_of(max_chars)
    return first + np.arange(num_segments, dtype=np.int64) * num_chars // num_segments


def segments_of(max_chars: int) -> tuple[int, int]:
    """Return the number and the length of the segments that have at most `max_chars` characters in all."""
    num_segments = max(1, max_chars // SEGMENT_LENGTH, min(MAX_LANES, max_chars // (4 * WARM_UP)))
    return num_segments, max_chars // num_segments


def _read_from(
    step: Callable[[Tensor, Tensor], tuple[Output, Tensor]],
    initial_state: Callable[[int], Tensor],
    ids: IdArray,
    starts: NDArray[np.int64],
    length: int,
) -> Iterator[tuple[NDArray[np.int64], Output]]:
    """Read `length` characters in each of B lanes from `starts` (B,) on, ascending, with the warm-up before them."""
    first, num_lanes = int(starts[0]), len(starts)
    warm_up = WARM_UP if num_lanes > 1 else min(WARM_UP, first)
    # Lane 0 may have less text before it than the others: its state is reset where the text begins.
    text_begins = max(0, warm_up - first) - warm_up
    cuts = sorted({-warm_up, text_begins, *range(0, length, WINDOW), length})
    state = initial_state(num_lanes)
    for begin, end in pairwise(cuts):
        if begin == text_begins:
            state[:, :, 0] = initial_state(1)[:, :, 0]
        positions = starts + np.arange(begin, end)[:, None]
        inputs = ids[positions.clip(0, len(ids) - 1)].astype(np.int64)
        output, state = step(torch.from_numpy(inputs).to(state.device), state)
        if begin >= 0:
            yield positions, output

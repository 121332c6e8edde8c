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

WARM_UP = 512
"""Characters that a lane reads to warm up its state."""
WINDOW = 256
"""T: characters of each lane that are read at once."""
MAX_LANES = 32
"""B: lanes, at most. A text under 8 * WARM_UP characters is read in one lane, which is exact if its context has at most
WARM_UP characters."""

Output = TypeVar("Output")
IdArray = NDArray[np.uint16]


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
    warm_up = WARM_UP if num_lanes > 1 else min(WARM_UP, first)
    # Lane 0 may have less text before it than the others: its state is reset where the text begins.
    text_begins = max(0, warm_up - first) - warm_up
    cuts = sorted({-warm_up, text_begins, *range(0, lane_length, WINDOW), lane_length})
    state = initial_state(num_lanes)
    for begin, end in pairwise(cuts):
        if begin == text_begins:
            state[:, :, 0] = initial_state(1)[:, :, 0]
        positions = starts + np.arange(begin, end)[:, None]
        inputs = ids[positions.clip(0, len(ids) - 1)].astype(np.int64)
        output, state = step(torch.from_numpy(inputs).to(state.device), state)
        if begin >= 0:
            yield positions, output

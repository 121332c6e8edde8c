"""The loss of a model whose state is reset every k characters: what it gains by remembering longer.

Shapes: M scored characters, G groups of L characters, T time, B windows that are read at once.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from charrnn.bootstrap import BlockSums
from charrnn.evaluation.char_losses import CharLosses, consecutive_ranges
from charrnn.evaluation.estimate import Estimate
from charrnn.lab.long_range_records import RESET_INTERVALS, ResetLoss
from charrnn.model.device import autocast
from charrnn.model.network import Predictor
from charrnn.text.vocab import IdArray

MAX_CHARS = 1 << 18
"""Characters that are scored for each interval, at most: enough for differences of 0.001 nats."""
MIN_GROUPS = 16
"""A text is divided into at least as many groups, so that there is an interval."""
_CHARS_AT_ONCE = 1 << 15
_LOGITS_AT_ONCE = 1 << 22


def choose_groups(positions: NDArray[np.int64], max_chars: int = MAX_CHARS) -> NDArray[np.int64]:
    """Choose the characters to score with resets: groups of L consecutive ones of `positions` (M,), spread evenly.

    L is the longest of RESET_INTERVALS of which the text has MIN_GROUPS groups, or else the shortest. Returns indices
    (G, L) into `positions`; G is 0 where no two positions are consecutive.
    """
    ranges = list(consecutive_ranges(positions))
    for length in reversed(RESET_INTERVALS):
        starts = np.concatenate([np.arange(begin, end - length + 1, length) for begin, end in ranges])
        if len(starts) >= MIN_GROUPS or length == RESET_INTERVALS[0]:
            break
    num_groups = min(len(starts), max(1, max_chars // length))
    chosen = starts[np.arange(num_groups) * len(starts) // num_groups] if num_groups else starts
    return np.asarray(chosen[:, None] + np.arange(length), dtype=np.int64)


def num_read(groups: NDArray[np.int64]) -> int:
    """Return how many characters `measure_resets` reads for groups (G, L)."""
    return groups.size * len(_intervals(groups)) if groups.size else 0


def _intervals(groups: NDArray[np.int64]) -> Sequence[int]:
    return [interval for interval in RESET_INTERVALS if interval <= groups.shape[1]]


def measure_resets(
    network: Predictor,
    ids: IdArray,
    losses: CharLosses,
    groups: NDArray[np.int64],
    *,
    precision: str = "auto",
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> tuple[ResetLoss, ...]:
    """Measure the loss of the characters of `groups` (G, L) for each interval up to L, and without resets.

    `losses` are the model's over the text `ids`. A state that is reset every k characters is the initial one before
    the first of each k characters; the model reads the character before it and predicts it, and so on. `on_progress`
    is called with the number of characters read since its last call, `num_read` in all. Without groups, nothing is
    measured and nothing returned.
    """
    if groups.size == 0:
        return ()
    kept = losses.nats[groups].astype(np.float64)
    measured = []
    for interval in _intervals(groups):
        nats = reset_nats(
            network, ids, losses.positions[groups], interval, precision=precision, on_progress=on_progress
        )
        blocks = BlockSums.of((nats - kept).ravel())
        low, high = blocks.interval() or (None, None)
        rise = Estimate(mean=blocks.mean, low=low, high=high)
        mean = float(nats.mean())
        cost = interval * blocks.mean
        measured.append(ResetLoss(interval=interval, nats_per_char=mean, rise=rise, nats_per_reset=cost))
    nothing = Estimate(mean=0.0, low=0.0, high=0.0)
    never = ResetLoss(interval=None, nats_per_char=float(kept.mean()), rise=nothing, nats_per_reset=0.0)
    return (*measured, never)


@torch.inference_mode()
def reset_nats(
    network: Predictor,
    ids: IdArray,
    positions: NDArray[np.int64],
    interval: int,
    *,
    precision: str = "auto",
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> NDArray[np.float64]:
    """Compute the losses (G, L) in nats of characters at `positions` (G, L), with a reset every `interval` characters.

    Each row consists of consecutive positions from 1 on; L is a multiple of `interval`.
    """
    device = network.device
    windows = positions.reshape(-1, interval)
    nats = np.empty(windows.shape, np.float64)
    num_logits = network.vocab_size * interval
    num_windows = max(1, min(_CHARS_AT_ONCE // interval, _LOGITS_AT_ONCE // num_logits))
    for begin in range(0, len(windows), num_windows):
        some = windows[begin : begin + num_windows].T
        inputs, targets = (torch.from_numpy(ids[place].astype(np.int64)).to(device) for place in (some - 1, some))
        with autocast(device, precision):
            logits, _ = network(inputs, network.initial_state(some.shape[1]))
        found = cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
        nats[begin : begin + num_windows] = found.view(some.shape).T.cpu().numpy()
        on_progress(some.size)
    return nats.reshape(positions.shape)

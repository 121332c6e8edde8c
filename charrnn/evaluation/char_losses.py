"""The loss at every character of a text: what each mean, interval and comparison is computed from.

Shapes: N characters, M scored characters, T time, B lanes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from charrnn.bootstrap import BlockSums, num_blocks_of
from charrnn.model.device import autocast
from charrnn.model.network import Predictor
from charrnn.model.reading import read_in_lanes, read_segments, segment_starts, segments_of
from charrnn.text.vocab import IdArray


@dataclass(frozen=True, slots=True, eq=False)
class CharLosses:
    """The losses of M characters of a text, in the order of the text.

    Raises ValueError unless there is one loss for each position.
    """

    positions: NDArray[np.int64] = field(repr=False)
    """(M,): ascending indices of the scored characters in the ids of context and text."""
    nats: NDArray[np.float32] = field(repr=False)
    """(M,): -ln p(character | all characters before it)."""

    def __post_init__(self) -> None:
        if self.positions.shape != self.nats.shape or self.positions.ndim != 1:
            raise ValueError(f"positions {self.positions.shape} and nats {self.nats.shape} must have one shape (M,)")

    def __len__(self) -> int:
        """Return M."""
        return len(self.nats)

    @property
    def mean(self) -> float:
        """The mean loss in nats, summed in float64."""
        return float(self.nats.sum(dtype=np.float64)) / len(self)


def char_losses(
    network: Predictor,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> CharLosses:
    """Compute the loss of each character of ids[first:], with the state carried through the text (`stateful`).

    ids[:first] are context. What is read, `max_chars` and `on_progress` are those of `loss.stateful_nats`, whose result
    is the mean. The result needs 12 bytes per scored character. Raises ValueError if there is nothing to score.
    """
    positions = scored_positions(len(ids), first, max_chars)
    nats = np.empty(len(positions), np.float32)
    rank_of = _ranks(len(ids), first, max_chars)
    for scored, losses in iter_char_losses(network, ids, first, precision=precision, max_chars=max_chars):
        nats[rank_of(scored)] = losses.cpu().numpy()
        on_progress(len(scored))
    return CharLosses(positions, nats)


def stateful_block_sums(
    network: Predictor,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> BlockSums:
    """Compute `BlockSums.of` the `char_losses`, in memory that does not grow with the text."""
    num_scored = num_scored_chars(len(ids) - first, max_chars)
    num_blocks = num_blocks_of(num_scored)
    sums, counts = np.zeros(num_blocks), np.zeros(num_blocks)
    rank_of = _ranks(len(ids), first, max_chars)
    for scored, losses in iter_char_losses(network, ids, first, precision=precision, max_chars=max_chars):
        block = rank_of(scored) * num_blocks // num_scored
        sums += np.bincount(block, losses.cpu().numpy(), num_blocks)
        counts += np.bincount(block, minlength=num_blocks)
        on_progress(len(scored))
    return BlockSums(sums, counts)


def num_scored_chars(num_chars: int, max_chars: int | None) -> int:
    """Return how many of `num_chars` characters are scored: nearly `max_chars`, if there are more."""
    if max_chars is None or num_chars <= max_chars:
        return num_chars
    num_segments, length = segments_of(max_chars)
    return num_segments * length


def scored_positions(num_ids: int, first: int = 1, max_chars: int | None = None) -> NDArray[np.int64]:
    """Return the ascending indices (M,) of the characters that `char_losses` scores.

    They are all from `first` on or, where those are more than `max_chars`, segments that are spread evenly over the
    text. Raises ValueError if there is nothing to score.
    """
    _check_first(num_ids, first)
    if max_chars is None or num_ids - first <= max_chars:
        return np.arange(first, num_ids)
    starts, length = _segments(num_ids, first, max_chars)
    return (starts[:, None] + np.arange(length)).ravel()


def consecutive_ranges(positions: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Return the ranges [begin, end) of indices whose ascending `positions` (M,) are consecutive, one per segment."""
    edges = [0, *(np.flatnonzero(np.diff(positions) != 1) + 1).tolist(), len(positions)]
    return pairwise(edges)


def _segments(num_ids: int, first: int, max_chars: int) -> tuple[NDArray[np.int64], int]:
    """Return the indices of the first scored character of each segment, and their length."""
    # The readers count from the input, which is the character before the one that is scored.
    return 1 + segment_starts(num_ids - 1, first - 1, max_chars), segments_of(max_chars)[1]


def _ranks(num_ids: int, first: int, max_chars: int | None) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """Return the function from scored positions to their index in `scored_positions`."""
    if max_chars is None or num_ids - first <= max_chars:
        return lambda positions: positions - first
    starts, length = _segments(num_ids, first, max_chars)

    def rank(positions: NDArray[np.int64]) -> NDArray[np.int64]:
        segment = np.searchsorted(starts, positions, side="right") - 1
        return np.asarray(segment * length + positions - starts[segment])

    return rank


@torch.inference_mode()
def iter_char_losses(
    network: Predictor, ids: IdArray, first: int = 1, *, precision: str = "auto", max_chars: int | None = None
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Yield positions (K,) and their losses (K,) in nats, float32 on the network's device, as they are computed.

    The order is that of the readers: time step by time step, each with the characters of all lanes. The arguments and
    errors are those of `char_losses`.
    """
    for positions, logits, targets in iter_logits(network, ids, first, precision=precision, max_chars=max_chars):
        yield positions, cross_entropy(logits, targets, reduction="none")


@torch.inference_mode()
def iter_logits(
    network: Predictor, ids: IdArray, first: int = 1, *, precision: str = "auto", max_chars: int | None = None
) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]:
    """Yield positions (K,), the logits (K, V) that predict their characters, float32, and the ids (K,) of these.

    The order, the arguments and the errors are those of `iter_char_losses`.
    """
    _check_first(len(ids), first)
    device = network.device

    def step(inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(device, precision):
            return network(inputs, state)

    inputs = ids[:-1]  # the prediction of ids[n + 1] is made at ids[n]
    if max_chars is not None and max_chars < len(ids) - first:
        reading = read_segments(step, network.initial_state, inputs, first - 1, max_chars)
    else:
        reading = read_in_lanes(step, network.initial_state, inputs, first - 1)
    for input_positions, logits in reading:
        positions = (input_positions + 1).ravel()
        is_text = positions < len(ids)
        targets = torch.from_numpy(ids[positions[is_text]].astype(np.int64)).to(device)
        scores = logits.float().flatten(0, 1)
        yield positions[is_text], scores if is_text.all() else scores[torch.from_numpy(is_text).to(device)], targets


def _check_first(num_ids: int, first: int) -> None:
    if not 1 <= first < num_ids:
        raise ValueError(f"nothing to score: first is {first}, the text has {num_ids} characters")

"""The loss at every character of a text: what each mean, interval and comparison is computed from.

Shapes: N characters, M scored characters, T time, B lanes.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from charrnn.errors import DataError, UsageError, named
from charrnn.evaluation.records import Difference, LossReport
from charrnn.intervals import BlockSums, num_blocks_of
from charrnn.model.device import autocast, chosen_precision
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


WINDOWED_LENGTH = 256
"""Characters of a window."""
WINDOWED = f"windowed-{WINDOWED_LENGTH}"
"""The name of the protocol."""
NUM_WINDOWS = 512
"""Windows that are drawn."""


@torch.inference_mode()
def stateful_nats(
    network: Predictor,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> float:
    """Compute the mean of -ln p(character | all characters before it) over ids[first:], in nats.

    ids[:first] are context. Long texts are read in lanes that are warmed up (`model.reading`). With `max_chars`, a
    longer text is read in segments that are spread evenly over it, the same ones at every call (`num_scored_chars`
    in all). `on_progress` is called with the number of characters read since its last call. Raises ValueError if there
    is nothing to score.
    """
    total = 0.0
    for positions, losses in iter_char_losses(network, ids, first, precision=precision, max_chars=max_chars):
        total += losses.sum(dtype=torch.float64).item()
        on_progress(len(positions))
    return total / num_scored_chars(len(ids) - first, max_chars)


def windowed_nats(network: Predictor, ids: IdArray, *, precision: str = "auto", seed: int = 0) -> float:
    """Compute the mean loss in nats over NUM_WINDOWS random windows of ids (N,), each 256 characters from a zero state.

    Raises ValueError if the text is shorter than one window and its targets.
    """
    windows = iter_window_losses(network, ids, precision=precision, seed=seed)
    return sum(losses.sum(dtype=torch.float64).item() for _, losses in windows) / (NUM_WINDOWS * WINDOWED_LENGTH)


def windowed_block_sums(
    network: Predictor,
    ids: IdArray,
    *,
    precision: str = "auto",
    seed: int = 0,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> BlockSums:
    """Compute the losses of `windowed_nats`, summed by the blocks of the text (N,) in which the characters are."""
    num_blocks = num_blocks_of(len(ids), WINDOWED_LENGTH)
    sums, counts = np.zeros(num_blocks), np.zeros(num_blocks)
    for starts, losses in iter_window_losses(network, ids, precision=precision, seed=seed):
        targets = starts + np.arange(1, WINDOWED_LENGTH + 1)[:, None]
        block = (targets * num_blocks // len(ids)).ravel()
        sums += np.bincount(block, losses.cpu().numpy().ravel(), num_blocks)
        counts += np.bincount(block, minlength=num_blocks)
        on_progress(losses.numel())
    return BlockSums(sums, counts)


@torch.inference_mode()
def iter_window_losses(
    network: Predictor, ids: IdArray, *, precision: str = "auto", seed: int = 0
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Yield the starts (B,) of random windows in ids (N,) and their losses (256, B) in nats, NUM_WINDOWS in all.

    Raises ValueError if the text is shorter than one window and its targets.
    """
    if len(ids) <= WINDOWED_LENGTH:
        raise ValueError(f"windowed-{WINDOWED_LENGTH} needs more than {WINDOWED_LENGTH} characters, not {len(ids)}")
    device = network.device
    drawn = np.random.default_rng(seed).integers(0, len(ids) - WINDOWED_LENGTH, size=NUM_WINDOWS)
    for starts in np.split(drawn, NUM_WINDOWS // 64):
        text = torch.from_numpy(ids[starts + np.arange(WINDOWED_LENGTH + 1)[:, None]].astype(np.int64)).to(device)
        with autocast(device, precision):
            logits, _ = network(text[:-1], network.initial_state(len(starts)))
        losses = cross_entropy(logits.float().flatten(0, 1), text[1:].flatten(), reduction="none")
        yield starts, losses.view(WINDOWED_LENGTH, len(starts))


def bits(nats: float) -> float:
    """Convert nats to bits."""
    return nats / math.log(2)


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredText:
    """A text whose loss is measured: its ids, which may be mapped from a file, and what its report says of it."""

    ids: IdArray = field(repr=False)
    """(M + N,): the ids of the context, then those of the text."""
    first: int
    """M: the index at which the text begins."""
    num_bytes: int
    """Bytes of the text in UTF-8."""
    num_unknown: int
    """Characters of the text that are outside the alphabet."""
    unit: str = "character"
    """What an id stands for: `character`, or `byte` with the byte alphabet."""

    @property
    def num_chars(self) -> int:
        """N."""
        return len(self.ids) - self.first

    @property
    def first_scored(self) -> int:
        """The index of the first character that can be scored: nothing predicts the first one of all."""
        return max(1, self.first)

    def check_stateful(self, max_chars: int | None = None) -> None:
        """Raise DataError for a text without a character to score, UsageError for a `max_chars` under 1."""
        if max_chars is not None and max_chars < 1:
            raise UsageError(f"{named('max_chars')} is {max_chars}; it must be at least 1.")
        if self.num_chars < 2:
            raise DataError("The text has 1 character; its loss needs at least 2.")

    def why_not_windowed(self) -> str | None:
        """Return why `windowed-256` cannot be measured; None if it can."""
        if self.num_chars > WINDOWED_LENGTH:
            return None
        return f"it needs more than {WINDOWED_LENGTH} {self.unit}s, and the text has {self.num_chars}"


def report_loss(
    network: Predictor,
    text: MeasuredText,
    *,
    protocol: str,
    precision: str,
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> LossReport:
    """Measure the mean loss over a text by the named protocol, as `charrnn.evaluate` does."""
    if protocol == "stateful":
        text.check_stateful(max_chars)
        blocks = stateful_block_sums(
            network, text.ids, text.first_scored, precision=precision, max_chars=max_chars, on_progress=on_progress
        )
    elif protocol == WINDOWED:
        if (reason := text.why_not_windowed()) is not None:
            raise DataError(f"{WINDOWED} cannot be measured: {reason}.")
        blocks = windowed_block_sums(network, text.ids[text.first :], precision=precision, on_progress=on_progress)
    else:
        raise UsageError(f"There is no protocol {protocol!r}; use stateful, {WINDOWED} or dynamic.")
    precision = chosen_precision(network.device, precision)
    return loss_report(blocks, text, protocol=protocol, precision=precision)


def report_of(losses: CharLosses, text: MeasuredText, *, protocol: str, precision: str = "") -> LossReport:
    """Build the report of a predictor's losses of the characters of a text."""
    return loss_report(BlockSums.of(losses.nats), text, protocol=protocol, precision=precision)


def loss_report(blocks: BlockSums, text: MeasuredText, *, protocol: str, precision: str = "") -> LossReport:
    """Build the report of losses that are summed by blocks of a text."""
    nats, interval = blocks.mean, blocks.interval()
    chars_per_byte = text.num_chars / text.num_bytes

    def scaled(factor: float) -> tuple[float, float] | None:
        return None if interval is None else (factor * interval[0], factor * interval[1])

    return LossReport(
        protocol=protocol,
        nats_per_char=nats,
        bpc=bits(nats),
        bits_per_byte=bits(nats) * chars_per_byte,
        num_chars=blocks.num_values,
        text_length=text.num_chars,
        num_unknown=text.num_unknown,
        precision=precision,
        nats_ci=interval,
        bpc_ci=scaled(bits(1)),
        bits_per_byte_ci=scaled(bits(1) * chars_per_byte),
    )


def paired_difference(losses: CharLosses, reference: CharLosses) -> Difference | None:
    """Compute the mean difference of two predictors' losses of the same characters, and its 95 % interval.

    None if there are too few characters for an interval. Raises ValueError unless the positions are the same.
    """
    if not np.array_equal(losses.positions, reference.positions):
        raise ValueError("the losses are not paired: their positions differ")
    return block_difference(BlockSums.of(losses.nats), BlockSums.of(reference.nats))


def block_difference(blocks: BlockSums, reference: BlockSums) -> Difference | None:
    """Compute `paired_difference` from the sums of both predictors by the same blocks."""
    differences = blocks - reference
    interval = differences.interval()
    return None if interval is None else Difference(mean=differences.mean, low=interval[0], high=interval[1])

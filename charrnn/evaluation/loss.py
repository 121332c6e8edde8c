"""Loss in nats per character, by two protocols that must not be compared with each other.

`stateful`: the state is carried through the whole text, after reading its context.
`windowed-256`: random windows of 256 characters, each read from a zero state (as in nanoGPT).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from charrnn.bootstrap import BlockSums, num_blocks_of
from charrnn.errors import DataError, UsageError, named
from charrnn.evaluation.char_losses import CharLosses, iter_char_losses, num_scored_chars, stateful_block_sums
from charrnn.evaluation.records import Difference, LossReport
from charrnn.model.device import autocast, chosen_precision
from charrnn.model.network import Predictor
from charrnn.text.vocab import IdArray

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

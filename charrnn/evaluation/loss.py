"""Loss in nats per character, by two protocols that must not be compared with each other.

`stateful`: the state is carried through the whole text, after reading its context.
`windowed-256`: random windows of 256 characters, each read from a zero state (as in nanoGPT).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from charrnn.errors import DataError, UsageError, counted, named
from charrnn.evaluation.char_losses import iter_char_losses
from charrnn.model.device import autocast, chosen_precision
from charrnn.model.network import CharRNN
from charrnn.model.reading import segments_of
from charrnn.records.evaluation import LossReport
from charrnn.text.vocab import IdArray

WINDOWED_LENGTH = 256
"""Characters of a window."""
NUM_WINDOWS = 512
"""Windows that are drawn."""


@torch.inference_mode()
def stateful_nats(
    network: CharRNN,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> float:
    """Compute the mean of -ln p(character | all characters before it) over ids[first:], in nats.

    ids[:first] are context. Long texts are read in lanes that are warmed up (`model.reading`). With `max_chars`, a
    longer text is read in segments that are spread evenly over it, the same ones at every call (`num_scored` characters
    in all). `on_progress` is called with the number of characters read since its last call. Raises ValueError if there
    is nothing to score.
    """
    total = 0.0
    for positions, losses in iter_char_losses(network, ids, first, precision=precision, max_chars=max_chars):
        total += losses.sum(dtype=torch.float64).item()
        on_progress(len(positions))
    return total / num_scored(len(ids) - first, max_chars)


def num_scored(num_chars: int, max_chars: int | None) -> int:
    """Return how many of `num_chars` characters `stateful_nats` scores: nearly `max_chars`, if there are more."""
    if max_chars is None or num_chars <= max_chars:
        return num_chars
    num_segments, length = segments_of(max_chars)
    return num_segments * length


@torch.inference_mode()
def windowed_nats(network: CharRNN, ids: IdArray, *, precision: str = "auto", seed: int = 0) -> float:
    """Compute the mean loss in nats over NUM_WINDOWS random windows of ids (N,), each 256 characters from a zero state.

    Raises ValueError if the text is shorter than one window and its targets.
    """
    if len(ids) <= WINDOWED_LENGTH:
        raise ValueError(f"windowed-{WINDOWED_LENGTH} needs more than {WINDOWED_LENGTH} characters, not {len(ids)}")
    device = network.output.weight.device
    starts = np.random.default_rng(seed).integers(0, len(ids) - WINDOWED_LENGTH, size=NUM_WINDOWS)
    total = 0.0
    for some in np.split(starts, NUM_WINDOWS // 64):
        text = torch.from_numpy(ids[some + np.arange(WINDOWED_LENGTH + 1)[:, None]].astype(np.int64)).to(device)
        with autocast(device, precision):
            logits, _ = network(text[:-1], network.initial_state(len(some)))
        total += cross_entropy(logits.float().flatten(0, 1), text[1:].flatten(), reduction="sum").item()
    return total / (NUM_WINDOWS * WINDOWED_LENGTH)


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


def report_loss(
    network: CharRNN, text: MeasuredText, *, protocol: str, precision: str, max_chars: int | None = None
) -> LossReport:
    """Measure the mean loss over a text by the named protocol, as `charrnn.evaluate` does."""
    if max_chars is not None and max_chars < 1:
        raise UsageError(f"{named('max_chars')} is {max_chars}; it must be at least 1.")
    ids = text.ids[text.first :]
    if protocol == "stateful":
        if len(ids) < 2:
            raise DataError("The text has 1 character; its loss needs at least 2.")
        first = max(1, text.first)
        nats = stateful_nats(network, text.ids, first, precision=precision, max_chars=max_chars)
        num_chars = num_scored(len(text.ids) - first, max_chars)
    elif protocol == "windowed-256":
        if len(ids) <= WINDOWED_LENGTH:
            raise DataError(
                f"The text has {counted(len(ids), 'character')}; windowed-256 needs at least {WINDOWED_LENGTH + 1}."
            )
        nats = windowed_nats(network, ids, precision=precision)
        num_chars = NUM_WINDOWS * WINDOWED_LENGTH
    else:
        raise UsageError(f"There is no protocol {protocol!r}; use stateful or windowed-256.")
    return LossReport(
        protocol=protocol,
        nats_per_char=nats,
        bpc=bits(nats),
        bits_per_byte=bits(nats) * len(ids) / text.num_bytes,
        num_chars=num_chars,
        text_length=len(ids),
        num_unknown=text.num_unknown,
        precision=chosen_precision(network.output.weight.device, precision),
    )

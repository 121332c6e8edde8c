"""The loss at every character of a text, and the mean loss by two protocols, which must not be
compared.

`stateful`: the state is carried through the whole text, after reading its context. A long text is
read at several places at once, each warmed up on the characters before it (`model.reading`), and in
segments if it is longer than the largest number of characters to score.
`windowed-256`: random windows of 256 characters, each read from a zero state (as in nanoGPT).

Shapes: N characters, M scored characters, K characters that are read at once, T time, B batch rows,
V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from charrnn.config.settings import Config, resolved
from charrnn.model.annotations import Predictor
from charrnn.model.device import BF16_UNITS, autocast, chosen_precision
from charrnn.model.reading import read_in_lanes, read_segments, segment_starts, segments_of
from charrnn.statistics.intervals import BlockSums, num_blocks_of
from charrnn.system.arrays import BoolArray, Float32Array, Int64Array
from charrnn.system.lazy import Tensor, inference_mode, torch
from charrnn.system.progress import task
from charrnn.text.vocab import IdArray

STATEFUL = "stateful"
"""The name of the protocol that carries the state through the text."""
WINDOWED_LENGTH = 256
"""Characters of a window."""
WINDOWED = f"windowed-{WINDOWED_LENGTH}"
"""The name of the protocol that reads windows."""
NUM_WINDOWS = 512
"""Windows that are drawn."""
STOP_CHECK_CHARS = 8192
"""Characters that are read between two calls of `should_stop`: about as many as a training step
reads."""


@dataclass(frozen=True, slots=True, eq=False)
class CharLosses:
    """The losses of M characters of a text, in the order of the text."""

    positions: Int64Array = field(repr=False)
    """(M,): ascending indices of the scored characters in the ids of context and text."""
    nats: Float32Array = field(repr=False)
    """(M,): -ln p(character | all characters before it), to about 0.2 behind the places from which
    a long text is read side by side (`model.reading.WARM_UP`)."""
    is_right: BoolArray | None = field(default=None, repr=False)
    """(M,): whether no other character was likelier; None if only the loss is known."""

    def __len__(self) -> int:
        """Return M."""
        return len(self.nats)

    @property
    def blocks(self) -> BlockSums:
        """The sums of the losses by block of the text, from which intervals are computed."""
        return BlockSums.of(self.nats)

    @property
    def scores(self) -> BlockScores:
        """The sums of the losses and of the right first guesses by block of the text."""
        right = None
        if self.is_right is not None:
            right = BlockSums.of(self.is_right)
        return BlockScores(self.blocks, right)


class BlockScores(NamedTuple):
    """Scores of the characters of a text, summed by block of the text."""

    losses: BlockSums
    right: BlockSums | None
    """The number of characters that the first guess gets right; None if only losses are known."""

    @property
    def means(self) -> tuple[float, float | None]:
        """The mean loss in nats, and the share of the characters that the first guess gets
        right."""
        share = None
        if self.right is not None:
            share = self.right.mean
        return self.losses.mean, share


def char_losses(
    network: Predictor,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
) -> CharLosses:
    """Compute the loss of each character whose mean is that of `stateful_scores` without
    `escape_nats`, with the same arguments and errors.

    The result needs 13 bytes per scored character.
    """
    # The readers yield several places of the text at once; the rank of a character is its index in
    # the result.
    positions = scored_positions(len(ids), first=first, max_chars=max_chars)
    nats = np.empty(len(positions), np.float32)
    is_right = np.empty(len(positions), np.bool_)
    segments = _segments(len(ids), first=first, max_chars=max_chars)
    computed = iter_char_losses(network, ids, first=first, precision=precision, max_chars=max_chars)
    for scored, some_nats, some_right in computed:
        ranks = segments.ranks(scored)
        nats[ranks] = some_nats
        is_right[ranks] = some_right
    return CharLosses(positions, nats, is_right=is_right)


def stateful_scores(
    network: Predictor,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    escape_nats: float = 0.0,
    should_stop: Callable[[], bool] = lambda: False,
) -> BlockScores | None:
    """Compute -ln p(character | all characters before it) in nats, and whether the first guess is
    right, for ids[first:], and sum them by blocks of the text, as `CharLosses.scores` does, in
    memory that does not grow with the text.

    ids[:first] are context. Long texts are read in batch rows that are warmed up, which changes the
    mean by less than 1e-4 (`model.reading.WARM_UP`).
    With `max_chars`, a longer text is read in segments that are spread evenly over it, the same at
    every call (`num_scored_chars` in all). `escape_nats` is what a character with the id 0 costs
    more (`Vocab.escape_nats`). Returns None if `should_stop`, which is called every
    STOP_CHECK_CHARS characters, returned true before all characters were scored. Raises ValueError
    if there is nothing to score.
    """
    # Block k begins at the character with the rank k * M / K, as in `BlockSums.of`.
    num_scored = num_scored_chars(len(ids) - first, max_chars)
    num_blocks = num_blocks_of(num_scored)
    nats_sums = BlockSums.zeros(num_blocks)
    right_sums = BlockSums.zeros(num_blocks)
    segments = _segments(len(ids), first=first, max_chars=max_chars)
    computed = iter_char_losses(
        network,
        ids,
        first=first,
        precision=precision,
        max_chars=max_chars,
        escape_nats=escape_nats,
    )
    num_unchecked = 0
    for scored, nats, is_right in computed:
        blocks = segments.ranks(scored) * num_blocks // num_scored
        nats_sums.add(nats, blocks)
        right_sums.add(is_right, blocks)

        # A long text takes minutes to read.
        num_unchecked += len(scored)
        if num_unchecked >= STOP_CHECK_CHARS:
            num_unchecked = 0
            if should_stop() and nats_sums.num_values < num_scored:
                return None
    return BlockScores(nats_sums, right_sums)


def num_scored_chars(num_chars: int, max_chars: int | None) -> int:
    """Return how many of `num_chars` characters are scored: nearly `max_chars`, if there are
    more."""
    if max_chars is None or num_chars <= max_chars:
        return num_chars
    # Segments of equal length: a few characters fewer.
    num_segments, length = segments_of(max_chars)
    return num_segments * length


def scored_positions(num_ids: int, first: int = 1, max_chars: int | None = None) -> Int64Array:
    """Return the ascending indices (M,) of the characters that `char_losses` scores.

    These are all characters from `first` on or, if they are more than `max_chars`, segments that
    are spread evenly over the text.
    """
    segments = _segments(num_ids, first=first, max_chars=max_chars)
    return (segments.starts[:, None] + np.arange(segments.length)).ravel()


class _Segments(NamedTuple):
    """The scored segments of a text, or the whole text as one segment."""

    starts: Int64Array
    """Index of the first scored character of each segment."""
    length: int

    def ranks(self, positions: Int64Array) -> Int64Array:
        """Return the index in `scored_positions` of each scored position."""
        # The characters of all segments before, and of its own segment before the position.
        segment = np.searchsorted(self.starts, positions, side="right") - 1
        return np.asarray(segment * self.length + positions - self.starts[segment])


def _segments(num_ids: int, first: int, max_chars: int | None) -> _Segments:
    if max_chars is None or num_ids - first <= max_chars:
        return _Segments(np.array([first]), num_ids - first)
    # The readers count inputs: each input is the character before a scored character.
    starts = 1 + segment_starts(num_ids - 1, first=first - 1, max_chars=max_chars)
    _, length = segments_of(max_chars)
    return _Segments(starts, length)


def iter_char_losses(
    network: Predictor,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    escape_nats: float = 0.0,
) -> Iterator[tuple[Int64Array, Float32Array, BoolArray]]:
    """Yield positions (K,), their losses (K,) in nats and whether the first guesses are right (K,),
    as they are computed.

    The readers set the order: each time step has the characters of all batch rows. See
    `char_losses` for the arguments and errors.
    """
    if not 1 <= first < len(ids):
        raise ValueError(f"nothing to score: first is {first}, the text has {len(ids)} characters")

    # Parameters may have another precision than the computation.
    device = network.device

    def step(inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        with autocast(device, precision):
            return network(inputs, state)

    # A long text is read in batch rows or in segments; ids[n + 1] is predicted at ids[n].
    inputs = ids[:-1]
    if max_chars is not None and max_chars < len(ids) - first:
        reading = read_segments(
            step, network.initial_state, ids=inputs, first=first - 1, max_chars=max_chars
        )
    else:
        reading = read_in_lanes(step, network.initial_state, ids=inputs, first=first - 1)

    with task("reading", total=num_scored_chars(len(ids) - first, max_chars)) as advance:
        while True:
            with torch.inference_mode():  # which must end before the caller continues
                read = next(reading, None)
                if read is None:
                    return

                # The logits at an input predict the character after it.
                indices, logits = read
                positions = (indices + 1).ravel()
                logits = logits.flatten(0, 1)

                # The rows of the last step may be longer than the text.
                is_text = positions < len(ids)
                if not is_text.all():
                    positions = positions[is_text]
                    logits = logits[torch.from_numpy(is_text).to(device)]
                targets = torch.from_numpy(ids[positions].astype(np.int64)).to(device)
                nats, is_right = _scores(logits, targets, escape_nats=escape_nats)
            yield positions, nats, is_right
            advance(len(targets))


def _scores(logits: Tensor, targets: Tensor, escape_nats: float) -> tuple[Float32Array, BoolArray]:
    """Compute the losses (K,) in nats of targets (K,) and whether the first guesses are right (K,),
    from logits (K, V)."""
    # In float32, also for logits in bf16. A first guess is right if no character has a larger
    # logit: on a processor `argmax` takes twice as long as the losses, the maximum a quarter of it.
    logits = logits.float()
    nats = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    is_right = logits.amax(-1) == logits.gather(1, targets[:, None])[:, 0]

    # The unknown symbol has the id 0; without one, `escape_nats` is 0. To guess that a character is
    # unknown does not tell which one it is.
    if escape_nats > 0:
        is_unknown = targets == 0
        nats[is_unknown] += escape_nats
        is_right[is_unknown] = False
    return nats.cpu().numpy(), is_right.cpu().numpy()


def windowed_scores(
    network: Predictor, ids: IdArray, *, precision: str = "auto", escape_nats: float = 0.0
) -> BlockScores:
    """Compute the scores of NUM_WINDOWS random windows of ids (N,), each WINDOWED_LENGTH characters
    from a zero state.

    They are summed by the blocks of the text in which the characters are. The text must be longer
    than a window (`MeasuredText.check_windowed`).
    """
    # Every model gets the same windows, so that differences of losses are paired.
    drawn = np.random.default_rng(0).integers(0, len(ids) - WINDOWED_LENGTH, size=NUM_WINDOWS)

    # A block is at least as long as a window, so a window is in one or two blocks.
    num_blocks = num_blocks_of(len(ids), WINDOWED_LENGTH)
    nats_sums = BlockSums.zeros(num_blocks)
    right_sums = BlockSums.zeros(num_blocks)
    with task("reading", total=NUM_WINDOWS * WINDOWED_LENGTH) as advance:
        for starts in np.split(drawn, NUM_WINDOWS // 64):
            targets = starts + np.arange(1, WINDOWED_LENGTH + 1)[:, None]
            nats, is_right = scores_from_start(
                network, ids=ids, positions=targets, precision=precision, escape_nats=escape_nats
            )
            blocks = targets * num_blocks // len(ids)
            nats_sums.add(nats, blocks)
            right_sums.add(is_right, blocks)
            advance(targets.size)
    return BlockScores(nats_sums, right_sums)


@inference_mode
def scores_from_start(
    network: Predictor,
    ids: IdArray,
    positions: Int64Array,
    *,
    precision: str,
    escape_nats: float,
) -> tuple[Float32Array, BoolArray]:
    """Compute the losses (T, B) in nats and whether the first guesses are right (T, B) at
    `positions` (T, B), which are consecutive in each column, from a zero state. A character with
    the id 0 costs `escape_nats` more."""
    # Each window is a row of the batch.
    device = network.device
    inputs = torch.from_numpy(ids[positions - 1].astype(np.int64)).to(device)
    targets = torch.from_numpy(ids[positions].astype(np.int64)).to(device)
    with autocast(device, precision):
        logits, _ = network(inputs, network.initial_state(inputs.shape[1]))

    # Not their mean: they are summed by position in the text or in the window.
    nats, is_right = _scores(logits.flatten(0, 1), targets.flatten(), escape_nats=escape_nats)
    return nats.reshape(positions.shape), is_right.reshape(positions.shape)


def bits(nats: float) -> float:
    """Convert nats to bits."""
    return nats / math.log(2)


def precision_of(config: Config, device: torch.device, precision: str) -> str:
    """Return the precision in which the losses of a model are computed. For `auto` this is the
    precision of its training, unless bf16 is slow on this processor or the model is small.

    bf16 changes the third decimal of a small model's loss. Raises UsageError as `chosen_precision`.
    """
    num_units = resolved(config.hidden_size) // config.num_networks
    was_exact = config.precision in ("fp32", "fp16")
    if precision == "auto" and (was_exact or num_units < BF16_UNITS):
        return "fp32"
    return chosen_precision(device, precision)

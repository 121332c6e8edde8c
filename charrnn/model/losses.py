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
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from charrnn.config.settings import Config, resolved
from charrnn.model.annotations import TrainedNetwork
from charrnn.model.device import autocast, chosen_precision
from charrnn.model.reading import Segments, read_segments
from charrnn.statistics.intervals import BlockSums, num_blocks_of
from charrnn.system.arrays import BoolArray, Float32Array, Int64Array
from charrnn.system.lazy import Tensor, no_grad, torch
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


@dataclass(frozen=True, eq=False)
class CharLosses:
    """The losses of M characters of a text, in the order of the text.

    The losses of lines are sums of its `nats`; two models are compared by their `blocks`.
    """

    positions: Int64Array
    """(M,): ascending indices of the scored characters in the ids of context and text."""
    nats: Float32Array
    """(M,): -ln p(character | all characters before it), to about 0.2 behind the places from which
    a long text is read side by side (`model.reading.WARM_UP`)."""
    is_right: BoolArray | None = None
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
    """Scores of the characters of a text, summed by block of the text.

    It is what is left of a text of any length: a mean and an interval of it, but no single loss.
    """

    losses: BlockSums
    right: BlockSums | None
    """The number of characters that the first guess gets right; None if only losses are known."""

    @property
    def means(self) -> MeanScores:
        """The means over all characters."""
        share = None
        if self.right is not None:
            share = self.right.mean
        return MeanScores(self.losses.mean, first_guess=share)


class MeanScores(NamedTuple):
    """How well a text is predicted."""

    nats: float
    """The mean loss of a character."""
    first_guess: float | None
    """The share of the characters that the first guess gets right; None if it was not counted."""


def char_losses(
    network: TrainedNetwork,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
) -> CharLosses:
    """Compute the loss of each character whose mean is that of `stateful_scores` without
    `escape_nats`, with the same arguments and errors.

    Lines, sentences and coloured characters need each loss; for a mean, `stateful_scores` keeps no
    array. The result needs 13 bytes per scored character.
    """
    # The readers yield several places of the text at once; the rank of a character is its index in
    # the result.
    segments = _scored_segments(ids, first=first, max_chars=max_chars)
    nats = np.empty(segments.num_chars, np.float32)
    is_right = np.empty(segments.num_chars, np.bool_)
    for scored, some_nats, some_right in iter_losses(
        network, ids=ids, segments=segments, precision=precision
    ):
        ranks = segments.ranks(scored)
        nats[ranks] = some_nats
        is_right[ranks] = some_right
    return CharLosses(segments.positions, nats, is_right=is_right)


def stateful_scores(
    network: TrainedNetwork,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    escape_nats: float = 0.0,
    exact_ids: IdArray | None = None,
    learned_after: IdArray | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> BlockScores | None:
    """Compute -ln p(character | all characters before it) in nats, and whether the first guess is
    right, for ids[first:], and sum them by blocks of the text, as `CharLosses.scores` does, in
    memory that does not grow with the text.

    It is for a mean, of a text of any length; `char_losses` returns the loss of each character.
    ids[:first] are context. Long texts are read in batch rows that are warmed up, which changes the
    mean by less than 1e-4 (`model.reading.WARM_UP`). With `max_chars`, a longer text is read in
    segments that are spread evenly over it, the same at every call (`reading.Segments`).
    `escape_nats` is what a character with the id 0 costs more (`Vocab.escape_nats`); if similar
    characters are read in the place of some, it is the id in `exact_ids` that counts
    (`EncodedText.exact_ids`). With `learned_after` only the characters after one of these ids are
    scored, which alone such a model learns. Returns None if `should_stop` returned true before all
    characters were scored. Raises ValueError if there is nothing to score.
    """
    # Block k begins at the character with the rank k * M / K, as in `BlockSums.of`.
    segments = _scored_segments(ids, first=first, max_chars=max_chars)
    num_blocks = num_blocks_of(segments.num_chars)
    nats_sums = BlockSums.zeros(num_blocks)
    right_sums = BlockSums.zeros(num_blocks)
    computed = iter_losses(
        network,
        ids=ids,
        segments=segments,
        precision=precision,
        escape_nats=escape_nats,
        exact_ids=exact_ids,
    )
    num_read = 0
    for scored, nats, is_right in computed:
        num_read += len(scored)
        if learned_after is not None:
            is_learned = np.isin(ids[scored - 1], learned_after)
            scored, nats, is_right = scored[is_learned], nats[is_learned], is_right[is_learned]
        blocks = segments.ranks(scored) * num_blocks // segments.num_chars
        nats_sums.add(nats, blocks)
        right_sums.add(is_right, blocks)

        # A long text takes minutes to read.
        if should_stop() and num_read < segments.num_chars:
            return None
    return BlockScores(nats_sums, right_sums)


def _scored_segments(ids: IdArray, first: int, max_chars: int | None) -> Segments:
    """Return the segments of ids[first:] that are scored, or raise ValueError."""
    if not 1 <= first < len(ids):
        raise ValueError(f"nothing to score: first is {first}, the text has {len(ids)} characters")
    return Segments.of(len(ids), first=first, max_chars=max_chars)


def iter_losses(
    network: TrainedNetwork,
    ids: IdArray,
    segments: Segments,
    *,
    precision: str,
    escape_nats: float = 0.0,
    exact_ids: IdArray | None = None,
) -> Iterator[tuple[Int64Array, Float32Array, BoolArray]]:
    """Yield positions (K,), their losses (K,) in nats and whether the first guesses are right (K,),
    as they are computed.

    The readers set the order: each time step has the characters of all batch rows.
    """
    # `reading._read_from` calls this for each window. Parameters may have another precision than
    # the computation.
    device = network.device

    def step(inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        with autocast(device, precision):
            logits, state = network(inputs, state)
        return logits, state

    # A long text is read in batch rows or in segments; ids[n + 1] is predicted at ids[n].
    exact = ids if exact_ids is None else exact_ids
    inputs = Segments(segments.starts - 1, segments.length)
    reading = read_segments(step, network.initial_state, ids=ids[:-1], segments=inputs)

    with task("reading", total=segments.num_chars) as advance:
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
                nats, is_right = _scores(logits, targets)
            _charge_unknown(nats, is_right, exact_ids=exact[positions], escape_nats=escape_nats)
            yield positions, nats, is_right
            advance(len(targets))


def _scores(logits: Tensor, targets: Tensor) -> tuple[Float32Array, BoolArray]:
    """Compute the losses (K,) in nats of targets (K,) and whether the first guesses are right (K,),
    from logits (K, V)."""
    # In float32, also for logits in bf16. A first guess is right if no character has a larger
    # logit: on a processor `argmax` takes twice as long as the losses, the maximum a quarter of it.
    logits = logits.float()
    nats = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    is_right = logits.amax(-1) == logits.gather(1, targets[:, None])[:, 0]
    return nats.cpu().numpy(), is_right.cpu().numpy()


def _charge_unknown(
    nats: Float32Array, is_right: BoolArray, exact_ids: IdArray, *, escape_nats: float
) -> None:
    """Add `escape_nats` to the losses (K,) of unknown characters, none of which is guessed
    right."""
    # The unknown symbol has the id 0; without one, `escape_nats` is 0. To guess that a character is
    # unknown, or similar to a known one, does not tell which one it is.
    if escape_nats > 0:
        is_unknown = exact_ids == 0
        nats[is_unknown] += np.float32(escape_nats)
        is_right[is_unknown] = False


@no_grad
def windowed_scores(
    network: TrainedNetwork,
    ids: IdArray,
    *,
    precision: str = "auto",
    escape_nats: float = 0.0,
    exact_ids: IdArray | None = None,
    learned_after: IdArray | None = None,
) -> BlockScores:
    """Compute the scores of NUM_WINDOWS random windows of ids (N,), each WINDOWED_LENGTH characters
    from a zero state. `escape_nats`, `exact_ids` and `learned_after` are those of
    `stateful_scores`.

    It is only for figures that are compared with those of programs that measure so. A loss is
    lower, and nearer to use, by `stateful_scores`.

    They are summed by the blocks of the text in which the characters are. The text must be longer
    than a window (`MeasuredRun.check_windowed`).
    """
    exact = ids if exact_ids is None else exact_ids
    # Every model gets the same windows, so that differences of losses are paired.
    drawn = np.random.default_rng(0).integers(0, len(ids) - WINDOWED_LENGTH, size=NUM_WINDOWS)

    # A block is at least as long as a window, so a window is in one or two blocks.
    num_blocks = num_blocks_of(len(ids), min_length=WINDOWED_LENGTH)
    nats_sums = BlockSums.zeros(num_blocks)
    right_sums = BlockSums.zeros(num_blocks)
    device = network.device
    with task("reading", total=NUM_WINDOWS * WINDOWED_LENGTH) as advance:
        for starts in np.split(drawn, NUM_WINDOWS // 64):
            # Each window is a row of the batch.
            positions = starts + np.arange(1, WINDOWED_LENGTH + 1)[:, None]
            inputs = torch.from_numpy(ids[positions - 1].astype(np.int64)).to(device)
            targets = torch.from_numpy(ids[positions].astype(np.int64)).to(device)
            with autocast(device, precision):
                logits, _ = network(inputs, network.initial_state(len(starts)))
            nats, is_right = _scores(logits.flatten(0, 1), targets.flatten())
            _charge_unknown(
                nats, is_right, exact_ids=exact[positions.ravel()], escape_nats=escape_nats
            )

            scored = positions.ravel()
            if learned_after is not None:
                is_learned = np.isin(ids[scored - 1], learned_after)
                scored, nats, is_right = scored[is_learned], nats[is_learned], is_right[is_learned]
            blocks = scored * num_blocks // len(ids)
            nats_sums.add(nats, blocks)
            right_sums.add(is_right, blocks)
            advance(positions.size)
    return BlockScores(nats_sums, right_sums)


def bits(nats: float) -> float:
    """Convert nats to bits: losses are computed in nats, and papers quote bits per character."""
    return nats / math.log(2)


def precision_of(config: Config, device: torch.device, precision: str) -> str:
    """Return the precision in which the losses of a model are computed. For `auto` this is the
    precision of its training, unless bf16 is slow on this processor or the model is small.

    A loss is measured as the model was trained, so that it is the loss that training reported. bf16
    changes the third decimal of a small model's loss. Raises UsageError as `chosen_precision`.
    """
    num_units = resolved(config.hidden_size) // config.num_networks
    if precision == "auto" and config.precision in ("fp32", "fp16"):
        return "fp32"
    return chosen_precision(device, precision, num_units=num_units)

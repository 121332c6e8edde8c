"""Break a loss down by class of character, and by how many characters were read since a zero state.

The classes are groups of Unicode categories: letters, digits, spaces, punctuation, …

Shapes: N characters, M scored characters, V vocabulary, K blocks, C groups, T time, B windows.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import DataError, UsageError, counted, named
from charrnn.evaluation.comparison import AddedRows, Comparison
from charrnn.evaluation.loss_reports import LossBreakdown, LossGroup, block_difference
from charrnn.evaluation.measured import MeasuredRun
from charrnn.model.annotations import Predictor
from charrnn.model.losses import (
    STATEFUL,
    WINDOWED,
    CharLosses,
    scores_from_start,
)
from charrnn.statistics.intervals import MIN_BLOCKS, BlockSums, num_blocks_of
from charrnn.system.arrays import Float32Array, Int64Array
from charrnn.system.progress import task
from charrnn.text.documents import END
from charrnn.text.vocab import UNKNOWN, IdArray, Vocab

WAYS = ("position", "class", WINDOWED)
"""The values of `by`: two ways to break a loss down, and a protocol that reads from zero states."""

CLASSES = (
    "lower case",
    "upper case",
    "other letters",
    "combining marks",
    "digits",
    "spaces",
    "newlines",
    "punctuation",
    "symbols",
    "other characters",
    "ends of documents",
    "unknown",
    "other bytes",
)
"""All classes, in the order of the table. Each character belongs to one class. `other letters` are
the letters of scripts without case, `unknown` is the unknown symbol. `other bytes` are the bytes
above 127 of a byte alphabet, and the bytes that belong to no character in a text that is not UTF-8.
"""


def class_name(character: str) -> str:
    """Return which of `CLASSES` a character belongs to; "" stands for the unknown symbol."""
    if character == UNKNOWN:
        return "unknown"
    if character == END:
        return "ends of documents"
    if character in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029":  # the line boundaries of str.splitlines
        return "newlines"
    if character.isspace():
        return "spaces"

    category = unicodedata.category(character)
    # Cs is the "surrogateescape" of a byte that belongs to no character.
    categories = {
        "Lu": "upper case",
        "Lt": "upper case",
        "Ll": "lower case",
        "Cs": "other bytes",
    }
    groups = {
        "L": "other letters",
        "M": "combining marks",
        "N": "digits",
        "P": "punctuation",
        "S": "symbols",
    }
    return categories.get(category) or groups.get(category[0], "other characters")


MAX_CONTEXT = 1024
"""The largest length of a window, in characters: loss by position is measured up to there."""
NUM_POSITION_WINDOWS = 512
"""The largest number of windows for loss by position."""
_BATCH_SIZE = 64


@dataclass(frozen=True, slots=True, eq=False)
class GroupSums:
    """The sums of the losses of C groups of characters, in K blocks of the text."""

    names: tuple[str, ...]
    """The names (C,) of the groups."""
    cells: BlockSums
    """K * C sums: for each block of the text in order, the sums of all groups."""

    @classmethod
    def zeros(cls, names: tuple[str, ...], num_blocks: int) -> GroupSums:
        """Return sums to which no loss has been added."""
        return cls(names, BlockSums.zeros(num_blocks * len(names)))

    def add(self, nats: Float32Array, blocks: Int64Array, groups: NDArray[np.integer]) -> None:
        """Add losses of any shape, each to a block of the text and a group."""
        self.cells.add(nats, blocks * len(self.names) + groups)

    def groups(self, reference: GroupSums | None = None) -> tuple[LossGroup, ...]:
        """Return the record of every group with at least one character; with a reference, also the
        difference to the same group of the reference."""
        total = self.cells.sums.sum()
        loss_groups = []
        for index, name in enumerate(self.names):
            blocks = self._blocks(index)
            if not blocks.num_values:
                continue

            difference = None
            if reference is not None:
                difference = block_difference(blocks, reference._blocks(index))

            # The total is 0 for a model that predicts every character with probability 1.
            share = 0.0
            if total:
                share = float(blocks.sums.sum() / total)
            group = LossGroup(
                name=name,
                num_chars=blocks.num_values,
                nats_per_char=blocks.mean,
                share_of_loss=share,
                nats_ci=blocks.interval(),
                difference=difference,
            )
            loss_groups.append(group)
        return tuple(loss_groups)

    def _blocks(self, index: int) -> BlockSums:
        every = slice(index, None, len(self.names))
        return BlockSums(self.cells.sums[every], self.cells.counts[every])


def sums_by_class(losses: CharLosses, vocab: Vocab, ids: IdArray) -> GroupSums:
    """Add up the losses of a text by the classes of its characters (`CLASSES`)."""
    # The class of each id is looked up once; the ids of the text index these classes.
    characters: Sequence[str] = vocab.characters
    if vocab.kind == "byte":
        # All bytes above 127 have the class of a lone surrogate.
        characters = [chr(byte) if byte < 128 else "\udcff" for byte in range(256)]
    classes = [CLASSES.index(class_name(character)) for character in characters]
    groups = np.array(classes, np.uint8)[ids[losses.positions]]

    # The intervals are computed from blocks of the text.
    num_blocks = num_blocks_of(len(losses))
    blocks = np.arange(len(losses)) * num_blocks // len(losses)
    sums = GroupSums.zeros(CLASSES, num_blocks)
    sums.add(losses.nats, blocks, groups=groups)
    return sums


def context_length(num_chars: int) -> int:
    """Return the length of the windows of `sums_by_position`: a power of 2, so that twenty windows
    fit into the text.

    Raises DataError for a text with too few characters for any interval.
    """
    # Windows of less than 16 characters do not show how a longer memory lowers the loss.
    length = MAX_CONTEXT
    while length * 2 * MIN_BLOCKS > num_chars and length > 16:
        length //= 2

    if length * MIN_BLOCKS > num_chars:
        raise DataError(
            f"The text has {counted(num_chars, 'character')}; loss by position needs at least "
            f"{16 * MIN_BLOCKS}, so that it has an interval."
        )
    return length


def sums_by_position(
    network: Predictor, ids: IdArray, *, precision: str = "auto", escape_nats: float = 0.0
) -> GroupSums:
    """Add up the losses of ids (N,) by the number of characters that the network read before each,
    starting from a zero state.

    Windows of `context_length(N)` characters are spread evenly over the text. Their characters are
    grouped by the number of characters before them: 1, 2, 3-4, 5-8, …. In a text of documents, this
    number is counted from the last END, which resets the state.
    """
    length = context_length(len(ids))
    num_windows = min(NUM_POSITION_WINDOWS, len(ids) - length)
    starts = np.arange(num_windows) * (len(ids) - length) // num_windows
    num_blocks = num_blocks_of(len(ids), length)

    sums = GroupSums.zeros(position_names(length), num_blocks)
    with task("reading", total=num_windows * length) as advance:
        for begin in range(0, num_windows, _BATCH_SIZE):
            targets = starts[begin : begin + _BATCH_SIZE] + np.arange(1, length + 1)[:, None]
            losses, _ = scores_from_start(
                network, ids=ids, positions=targets, precision=precision, escape_nats=escape_nats
            )

            num_read = num_read_since_end(ids[targets - 1].astype(np.int64), network.end_id)
            # Group k has read 2^(k-1)+1 to 2^k characters: `position_names`.
            sums.add(losses, targets * num_blocks // len(ids), np.frexp(num_read - 1)[1])
            advance(targets.size)
    return sums


def num_read_since_end(ids: Int64Array, end_id: int | None) -> Int64Array:
    """Return how many characters of ids (T, B) the state contains after each id: the last END and
    the characters after it."""
    index = np.arange(len(ids))[:, None]
    if end_id is None:
        return np.broadcast_to(index + 1, ids.shape)

    # Before the first END, the count starts at the beginning of the window.
    last_end = np.maximum.accumulate(np.where(ids == end_id, index, 0), axis=0)
    return index - last_end + 1


def position_names(length: int) -> tuple[str, ...]:
    """Return the names of the groups of positions up to `length`, a power of 2: 1, 2, 3-4, …"""
    names = ["1", "2"]
    end = 4
    while end <= length:
        names.append(f"{end // 2 + 1}-{end}")
        end *= 2
    return tuple(names)


def _by_class(run: MeasuredRun) -> tuple[str, GroupSums]:
    """Break the losses of a run down by class; return the protocol, too."""
    return STATEFUL, sums_by_class(run.losses, vocab=run.vocab, ids=run.text.ids)


def _by_position(run: MeasuredRun) -> tuple[str, GroupSums]:
    """Read the text of a run again in windows, and break the losses down by position; return the
    protocol, too."""
    text = run.text
    ids = text.ids[text.first :]
    sums = sums_by_position(run.network, ids, precision=run.precision, escape_nats=text.escape_nats)
    return f"windowed-{context_length(len(ids))}", sums


BREAKDOWNS = {"class": _by_class, "position": _by_position}
"""The ways to break a loss down, in the order of the tables of a run."""


def _prepare(comparison: Comparison, by: Collection[str]) -> Callable[[], None]:
    """Check `by` and the lengths of the texts, and return a function that adds the breakdowns of
    all runs, and their rows by `windowed-256`.

    Raises UsageError for an unknown `by`, DataError for a text too short.
    """
    for way in by:
        if way not in WAYS:
            raise UsageError(f"{named('by')} is {way!r}; use {', '.join(WAYS[:2])} or {WINDOWED}.")
    for run in comparison.runs:
        if "position" in by:
            context_length(run.text.num_chars)
        if WINDOWED in by:
            run.text.check_windowed()

    def add_breakdowns() -> None:
        if WINDOWED in by:
            comparison.add_runs(WINDOWED, MeasuredRun.windowed_scores)
        first: dict[str, GroupSums] = {}
        for run in comparison.runs:
            for way, break_down in BREAKDOWNS.items():
                if way not in by:
                    continue
                protocol, sums = break_down(run)
                # The loss of a byte is not comparable with the loss of a character.
                reference = None
                if run.text.unit == comparison.runs[0].text.unit:
                    reference = first.get(way)
                first.setdefault(way, sums)
                breakdown = LossBreakdown(
                    name=run.name, by=way, protocol=protocol, groups=sums.groups(reference)
                )
                comparison.breakdowns.append(breakdown)

    return add_breakdowns


ROWS = AddedRows(name="by", prepare=_prepare)
"""`evaluate --by`."""

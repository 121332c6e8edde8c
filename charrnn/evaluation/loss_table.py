"""Collect the losses of several predictors over one text, each with its paired difference to the first one.

Shapes: M scored characters, K blocks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from charrnn.bootstrap import MIN_VALUES, BlockSums
from charrnn.errors import DataError, UsageError, counted, named
from charrnn.evaluation.breakdown import GroupSums, context_length, sums_by_class, sums_by_position
from charrnn.evaluation.char_losses import CharLosses, char_losses
from charrnn.evaluation.loss import WINDOWED, MeasuredText, bits, block_difference, loss_report, windowed_block_sums
from charrnn.evaluation.records import Difference, Evaluation, EvaluationRow, LossBreakdown, SkippedRow
from charrnn.model.device import chosen_precision
from charrnn.model.network import Predictor
from charrnn.text.vocab import Vocab


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredRun:
    """A run, or a mixture of runs, whose losses over a text are measured."""

    name: str
    step: int | None
    """None for a mixture."""
    vocab: Vocab
    network: Predictor
    text: MeasuredText
    """The text as this run reads it."""


@dataclass(slots=True)
class LossTable:
    """The rows of an evaluation, in the order in which they are added; the first is that of the first run."""

    text: MeasuredText
    """The text as the first run reads it."""
    part: str | None = None
    """`validation` or `test`; None for a text that is no part of a run's own."""
    rows: list[EvaluationRow] = field(default_factory=list)
    skipped: list[SkippedRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reference: CharLosses | None = None
    """The losses of the first row, which every other predictor of the same characters is compared with."""
    breakdowns: list[LossBreakdown] = field(default_factory=list)
    _windowed: tuple[MeasuredRun, BlockSums] | None = None
    """The first run that has windowed losses."""
    _groups: dict[str, GroupSums] = field(default_factory=dict)
    """The sums of the first run by class and by position."""

    def add(
        self, losses: CharLosses, *, name: str, protocol: str, precision: str = "", step: int | None = None
    ) -> EvaluationRow:
        """Add the row of a predictor from its losses of the characters of `text`; its difference is to the first row.

        Raises ValueError unless the positions are those of the first row.
        """
        blocks, difference = BlockSums.of(losses.nats), None
        if self.reference is None:
            self.reference = losses
        else:
            if not np.array_equal(losses.positions, self.reference.positions):
                raise ValueError("the losses are not paired: their positions differ")
            difference = block_difference(blocks, BlockSums.of(self.reference.nats))
        report = loss_report(blocks, self.text, protocol=protocol, precision=precision)
        return self.append(EvaluationRow(name=name, step=step, loss=report, difference=difference))

    def append(self, row: EvaluationRow) -> EvaluationRow:
        """Add a row whose difference is not to the first row, or is computed already."""
        self.rows.append(row)
        return row

    def add_run(
        self,
        run: MeasuredRun,
        *,
        precision: str = "auto",
        max_chars: int | None = None,
        on_progress: Callable[[int], object] = lambda num_chars: None,
    ) -> CharLosses:
        """Measure a run by the stateful protocol, add its row, and return its losses.

        A run whose alphabet is of another kind than that of the first one is compared in bits per byte, which needs the
        losses of the whole text.
        """
        text, network = run.text, run.network
        losses = char_losses(
            network, text.ids, text.first_scored, precision=precision, max_chars=max_chars, on_progress=on_progress
        )
        precision = chosen_precision(network.device, precision)
        if text.unit == self.text.unit:
            self.add(losses, name=run.name, protocol="stateful", precision=precision, step=run.step)
            return losses
        assert self.reference is not None
        difference = byte_difference(losses, text, self.reference, self.text)
        report = loss_report(BlockSums.of(losses.nats), text, protocol="stateful", precision=precision)
        self.append(EvaluationRow(name=run.name, step=run.step, loss=report, difference=difference))
        return losses

    def add_windowed(
        self,
        run: MeasuredRun,
        *,
        precision: str = "auto",
        on_progress: Callable[[int], object] = lambda num_chars: None,
    ) -> None:
        """Measure a run by the windowed protocol and add its row, or the reason why that cannot be measured.

        Its difference is to the first run that is measured here, over the same windows.
        """
        text = run.text
        if (reason := text.why_not_windowed()) is not None:
            self.skipped.append(SkippedRow(protocol=WINDOWED, reason=reason))
            return
        ids = text.ids[text.first :]
        blocks = windowed_block_sums(run.network, ids, precision=precision, on_progress=on_progress)
        difference = None
        if self._windowed is None:
            self._windowed = run, blocks
        elif self._windowed[0].text.unit == text.unit:
            difference = block_difference(blocks, self._windowed[1])
        precision = chosen_precision(run.network.device, precision)
        report = loss_report(blocks, text, protocol=WINDOWED, precision=precision)
        self.append(EvaluationRow(name=run.name, step=run.step, loss=report, difference=difference))

    def add_by_class(self, run: MeasuredRun, losses: CharLosses) -> None:
        """Add the breakdown of a run's losses by class of character."""
        self._add_breakdown(run, "class", "stateful", sums_by_class(losses, run.vocab, run.text.ids))

    def add_by_position(
        self,
        run: MeasuredRun,
        *,
        precision: str = "auto",
        on_progress: Callable[[int], object] = lambda num_chars: None,
    ) -> None:
        """Measure a run's losses by the number of characters read, and add the breakdown.

        Raises DataError for a text too short.
        """
        ids = run.text.ids[run.text.first :]
        sums = sums_by_position(run.network, ids, precision=precision, on_progress=on_progress)
        self._add_breakdown(run, "position", f"windowed-{context_length(len(ids))}", sums)

    def evaluation(self) -> Evaluation:
        """Return the record of all rows and breakdowns."""
        return Evaluation(
            rows=tuple(self.rows),
            part=self.part,
            skipped=tuple(self.skipped),
            notes=tuple(self.notes),
            breakdowns=tuple(self.breakdowns),
        )

    def _add_breakdown(
        self, run: MeasuredRun, by: Literal["class", "position"], protocol: str, sums: GroupSums
    ) -> None:
        reference = self._groups.get(by)
        self._groups.setdefault(by, sums)
        # A byte and a character are not the same thing to predict.
        groups = sums.groups(reference if run.text.unit == self.text.unit else None)
        self.breakdowns.append(LossBreakdown(name=run.name, by=by, protocol=protocol, groups=groups))


def check_comparable(runs: list[MeasuredRun], max_chars: int | None, *, needs_interval: bool = True) -> None:
    """Raise DataError, with the reason, if the losses of the runs over their texts cannot be compared.

    The texts must be the same for all of them; how each run reads it may differ.
    """
    first = runs[0]
    if needs_interval and len(runs) > 1 and first.text.num_chars - 1 < MIN_VALUES:
        raise DataError(
            f"The text has {counted(first.text.num_chars, first.text.unit)}; comparing runs needs at least "
            f"{MIN_VALUES + 1:,}, because the difference is nothing without its interval."
        )
    for run in runs[1:]:
        if run.vocab == first.vocab:
            continue
        for one, other in ((first, run), (run, first)):
            if one.text.num_unknown:
                raise DataError(
                    f"{one.name} does not know {counted(one.text.num_unknown, 'character')} of this text and reads "
                    f"them as one symbol, which is easier to predict.\nIts loss cannot be compared with that of "
                    f"{other.name}, which has another alphabet: give a text that both know."
                )
        whole = max(run.text.num_chars, first.text.num_chars)
        if run.text.unit != first.text.unit and max_chars is not None and max_chars < whole:
            raise UsageError(
                f"{first.name} and {run.name} read {first.text.unit}s and {run.text.unit}s: they are compared over a "
                f"whole text.\nGive a shorter text, or {named('max_chars', whole)}."
            )


def byte_difference(
    losses: CharLosses, text: MeasuredText, reference: CharLosses, reference_text: MeasuredText
) -> Difference | None:
    """Compute the paired difference in bits per byte of two predictors of one whole text, of which one reads bytes.

    The losses of a character's bytes are added up, so that both have one loss for each character. The first character
    is left out. None if the text is too short for an interval.
    """
    nats, sizes = _by_character(losses, text)
    others, other_sizes = _by_character(reference, reference_text)
    sizes = other_sizes if sizes is None else sizes
    assert sizes is not None, "one of the two reads bytes"
    if not len(nats) == len(others) == len(sizes):
        raise ValueError(f"{len(nats)} characters cannot be paired with {len(others)}")
    differences = BlockSums.of(nats) - BlockSums.of(others)
    blocks = BlockSums(bits(1) * differences.sums, BlockSums.of(sizes).sums)
    interval = blocks.interval()
    if interval is None:
        return None
    return Difference(mean=blocks.mean, low=interval[0], high=interval[1], unit="bits/byte")


def _by_character(losses: CharLosses, text: MeasuredText) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """Return the loss of each whole character of a text and, where it is read as bytes, how many bytes each has."""
    if text.unit == "character":
        return losses.nats, None
    begins = np.flatnonzero((text.ids[losses.positions] & 0xC0) != 0x80)  # continuation bytes are 0b10xxxxxx
    return np.add.reduceat(losses.nats, begins), np.diff(begins, append=len(losses))

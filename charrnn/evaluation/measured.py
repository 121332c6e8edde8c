"""What is measured: a text as a model reads it, and a run with its losses over the text.

Shapes: M characters of the context, N characters of the text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from charrnn.config.options import at_least, check
from charrnn.errors import DataError, UsageError, check_length
from charrnn.evaluation.loss_reports import LossReport
from charrnn.model.losses import (
    STATEFUL,
    WINDOWED,
    WINDOWED_LENGTH,
    BlockScores,
    CharLosses,
    bits,
    char_losses,
    precision_of,
    windowed_scores,
)
from charrnn.model.shapes import check_finite
from charrnn.text.corpus import CorpusPart
from charrnn.text.given_text import GivenText, whole_text
from charrnn.text.vocab import IdArray, as_bytes
from charrnn.trained_model import TrainedModel

Content = str | bytes | CorpusPart
"""A text, or a part of the corpus of a run."""


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredText:
    """A text whose loss is measured: its ids, which may be mapped from a file, and the figures of
    its report."""

    content: Content = field(repr=False)
    """The text as it was given."""
    ids: IdArray = field(repr=False)
    """(M + N,): the ids of the context, then those of the text."""
    first: int
    """M: the index at which the text begins."""
    num_bytes: int
    """Bytes of the text in UTF-8."""
    num_unknown: int
    """Characters of the text that are outside the alphabet."""
    unit: str = "character"
    """The unit that an id stands for: `character`, or `byte` with the byte alphabet."""
    escape_nats: float = 0.0
    """As in `Vocab`."""

    @property
    def num_chars(self) -> int:
        """N."""
        return len(self.ids) - self.first

    @property
    def first_scored(self) -> int:
        """The index of the first character that can be scored: no prediction is made for ids[0]."""
        return max(1, self.first)

    def check_stateful(self, max_chars: int | None = None) -> None:
        """Raise DataError for a text without a character to score, UsageError for a `max_chars`
        under 1."""
        if max_chars is not None:
            check("max_chars", max_chars, allowed=at_least(1))
        check_length(self.num_chars, least=2, what="its loss")

    def check_windowed(self) -> None:
        """Raise DataError for a text that is not longer than a window."""
        if self.num_chars <= WINDOWED_LENGTH:
            raise DataError(
                f"{WINDOWED} needs more than {WINDOWED_LENGTH} {self.unit}s, and the text has"
                f" {self.num_chars}. Measure it by {STATEFUL}."
            )

    def charged(self, losses: CharLosses) -> CharLosses:
        """Return the losses of any predictor of these ids with the price of unknown characters."""
        if self.escape_nats == 0:
            return losses
        is_unknown = self.ids[losses.positions] == 0
        nats = losses.nats.copy()
        nats[is_unknown] += np.float32(self.escape_nats)
        is_right = None if losses.is_right is None else losses.is_right & ~is_unknown
        return CharLosses(losses.positions, nats, is_right=is_right)

    def report(self, scores: BlockScores, *, protocol: str, precision: str = "") -> LossReport:
        """Build the report of scores that are summed by blocks of this text."""
        # A value that is not finite is a fault of the weights, not a loss.
        nats, first_guess = scores.means
        check_finite(nats, "losses")
        interval = scores.losses.interval()
        chars_per_byte = self.num_chars / self.num_bytes

        # The units differ by constant factors, and so do the ends of the intervals.
        def scaled(factor: float) -> tuple[float, float] | None:
            if interval is None:
                return None
            return factor * interval[0], factor * interval[1]

        return LossReport(
            protocol=protocol,
            nats_per_char=nats,
            bpc=bits(nats),
            bits_per_byte=bits(nats) * chars_per_byte,
            num_chars=scores.losses.num_values,
            text_length=self.num_chars,
            num_unknown=self.num_unknown,
            precision=precision,
            nats_ci=interval,
            bpc_ci=scaled(bits(1)),
            bits_per_byte_ci=scaled(bits(1) * chars_per_byte),
            first_guess=first_guess,
            first_guess_ci=None if scores.right is None else scores.right.interval(),
        )


def measured_text(
    model: TrainedModel, text: GivenText | CorpusPart, context: str | bytes
) -> MeasuredText:
    """Return a text as a model reads it. Raises UsageError for a part with a context or in another
    alphabet."""
    content: Content
    # A part of a corpus is encoded, and may be too long for memory.
    if isinstance(text, CorpusPart):
        if context:
            raise UsageError("A part of a corpus contains its context: leave the context out.")
        if text.corpus.vocab != model.vocab:
            raise UsageError(
                f"The text was encoded for another alphabet than that of {model.name}: read it"
                " again."
            )
        content = text
        ids = text.ids
        first = text.begin
        num_bytes = text.num_bytes
    else:
        # Bytes are counted in UTF-8, whatever the alphabet.
        content = whole_text(text, model.config, context=context)
        num_bytes = len(as_bytes(content))
        encoded = model.encode(content, context=context)
        ids = encoded.ids
        first = encoded.first

    return MeasuredText(
        content,
        ids,
        first,
        num_bytes=num_bytes,
        num_unknown=model.vocab.num_unknown(ids[first:]),
        unit="byte" if model.vocab.kind == "byte" else "character",
        escape_nats=model.vocab.escape_nats,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredRun:
    """A run whose losses over a text are measured."""

    name: str
    model: TrainedModel
    text: MeasuredText
    """The text as this run reads it."""
    precision: str
    """The precision in which its losses are computed: fp32, bf16 or fp16."""
    max_chars: int | None = None
    """The largest number of characters to score."""
    trained_share: float | None = None
    """As in `EvaluationRow`."""

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        text: GivenText | CorpusPart,
        *,
        context: str | bytes,
        precision: str,
        max_chars: int | None,
    ) -> MeasuredRun:
        """Read a text for a model. Raises the errors of `measured_text` and `precision_of`."""
        return cls(
            name=model.name,
            model=model,
            text=measured_text(model, text, context=context),
            precision=precision_of(model.config, model.network.device, precision),
            max_chars=max_chars,
        )

    @cached_property
    def losses(self) -> CharLosses:
        """The loss of each character by the protocol `stateful`, which is measured once: further
        rows are compared with it."""
        losses = char_losses(
            self.model.network,
            self.text.ids,
            first=self.text.first_scored,
            precision=self.precision,
            max_chars=self.max_chars,
        )
        return self.text.charged(losses)

    def report(self, scores: BlockScores, protocol: str) -> LossReport:
        """Build the report of scores of this run by one protocol."""
        return self.text.report(scores, protocol=protocol, precision=self.precision)

    def stateful_scores(self) -> BlockScores:
        """Measure the losses by the protocol `stateful`."""
        return self.losses.scores

    def windowed_scores(self) -> BlockScores:
        """Measure the losses by the protocol `windowed-256`."""
        # Without the context: windows start from a zero state.
        return windowed_scores(
            self.model.network,
            self.text.ids[self.text.first :],
            precision=self.precision,
            escape_nats=self.text.escape_nats,
        )

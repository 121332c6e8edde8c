"""Records of how well models predict a text."""

from dataclasses import asdict, dataclass
from typing import Any

from charrnn.system.display import Displayable

MAX_SCORED = 1 << 24
"""Characters that are scored at most, unless another limit is asked for: about a minute for 512
units on two cores."""

NGRAM = "n-gram"
"""The name of the rows of n-gram models; their protocols are `1-gram`, `2-gram`, …"""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossReport(Displayable):
    """Mean loss over a text. `protocol` names how it was measured; different protocols must not be
    compared."""

    protocol: str
    """`stateful`, `windowed-256`, or that of another predictor, such as `5-gram`."""
    nats_per_char: float
    bpc: float
    bits_per_byte: float
    num_chars: int
    """Characters that were scored."""
    text_length: int
    """Characters of the text: more than `num_chars` if only segments or windows of it were scored.
    """
    num_unknown: int = 0
    precision: str
    """Precision of the computation: fp32, bf16 or fp16; empty if no network computed it."""
    nats_ci: tuple[float, float] | None = None
    """95 % interval of `nats_per_char`; None for a text too short, as are the next two."""
    bpc_ci: tuple[float, float] | None = None
    """95 % interval of `bpc`."""
    bits_per_byte_ci: tuple[float, float] | None = None
    """95 % interval of `bits_per_byte`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Adaptation:
    """What a model has learned from by dynamic evaluation, and how well it predicted that."""

    num_chars: int
    """Characters that were scored and then learned from."""
    text_length: int
    """Characters of the text: more than `num_chars` if only its end was learned from."""
    static_nats: float
    """Mean loss over these characters in nats, by the weights as trained."""
    dynamic_nats: float
    """Mean loss over them while adapting: each is predicted before it is learned from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The mean loss of a predictor minus that of the first one, over the same characters."""

    mean: float
    low: float
    """Lower end of the 95 % interval, by a paired block bootstrap."""
    high: float
    """Upper end of the interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationRow:
    """The loss of one predictor by one protocol."""

    name: str
    """The name of the run, or what else predicts: `n-gram`."""
    step: int | None = None
    """The step of the run's checkpoint; None if no run predicts."""
    loss: LossReport
    difference: Difference | None = None
    """To the first row whose protocol can be compared with this one; None for that row itself."""
    trained_share: float | None = None
    """Share of the text that the run's training text has as well
    (`charrnn.text.copies.trained_share`); None where that text is not at hand or is large."""

    def to_json(self) -> dict[str, Any]:
        """Return the row as one object; what does not apply to it is left out."""
        # Flat, so that a table of rows needs no path to the loss.
        data = {"name": self.name, "step": self.step, **asdict(self.loss)}
        if self.trained_share is not None:
            data["trained_share"] = self.trained_share
        if self.difference is not None:
            data["difference"] = asdict(self.difference)
        return data


@dataclass(frozen=True, kw_only=True, slots=True)
class SkippedRow:
    """A row that could not be measured, and why."""

    protocol: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation(Displayable):
    """The losses of one or several predictors over the same text."""

    rows: tuple[EvaluationRow, ...]
    part: str | None
    """`validation` or `test`: the part of the run's own text; None for another text."""
    skipped: tuple[SkippedRow, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know of the figures, one sentence each."""
    common_bytes: tuple[int, int] | None = None
    """The bytes [begin, end) of the runs' text that were scored, which are in this part of each of
    them; None if the part is the same."""
    breakdowns: tuple["LossBreakdown", ...] = ()
    """The loss by class of character or by position, for each run, if that was asked for."""

    @property
    def first(self) -> LossReport:
        """The stateful loss of the first run."""
        return self.rows[0].loss

    def to_json(self) -> dict[str, Any]:
        """Return the content of `evaluate --json`: the first row, and all of them as `rows`."""
        # The first row stands on top as well, for readers of one run.
        first = self.rows[0]
        data: dict[str, Any] = {"run": first.name, "step": first.step}
        # What the text is; a file that was given has no part.
        if self.part is not None:
            data["part"] = self.part
        if self.common_bytes is not None:
            data["common_bytes"] = self.common_bytes
        data.update(asdict(first.loss))
        if first.trained_share is not None:
            data["trained_share"] = first.trained_share

        # The other protocol of the first run stands beside its stateful loss.
        for row in self.rows[1:]:
            if row.name == first.name and row.loss.protocol == "windowed-256":
                data["windowed_256"] = asdict(row.loss)
                break

        # Everything, for readers of several runs. Lists are never left out, even if they are empty.
        data["skipped"] = [asdict(row) for row in self.skipped]
        data["rows"] = [row.to_json() for row in self.rows]
        data["notes"] = list(self.notes)
        data["breakdowns"] = [asdict(breakdown) for breakdown in self.breakdowns]
        return data


@dataclass(frozen=True, kw_only=True, slots=True)
class LossGroup:
    """The loss of some of the characters of a text: those of a class, or those at some distance
    from the start."""

    name: str
    """The class, such as `upper case`, or the range of the number of characters read before, such
    as `3-4`."""
    num_chars: int
    nats_per_char: float
    share_of_loss: float
    """The share of the loss of all groups that these characters have, from 0 to 1."""
    nats_ci: tuple[float, float] | None = None
    """95 % interval of `nats_per_char`; None if the characters are in too few places of the text.
    """
    difference: Difference | None = None
    """To the same characters' loss of the first run; None for the first run itself, and without an
    interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossBreakdown:
    """The loss of a run by class of character or by position since the start of the context."""

    name: str
    """The name of the run."""
    by: str
    """`class` or `position`."""
    protocol: str
    """`stateful` by class; by position `windowed-N`: windows of N characters, each read from a zero
    state."""
    groups: tuple[LossGroup, ...]

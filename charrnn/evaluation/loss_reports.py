"""Records of how well models predict a text."""

from dataclasses import asdict, dataclass
from typing import Any

from charrnn.evaluation.seed_groups import SeedGroup
from charrnn.model.losses import WINDOWED
from charrnn.statistics.intervals import BlockSums, Estimate
from charrnn.system.display import Displayable

MAX_SCORED = 1 << 24
"""Default of the largest number of characters to score: about a minute for 512 units on two
cores."""

NGRAM = "n-gram"
"""The name of the rows of n-gram models; their protocols are `1-gram`, `2-gram`, …"""


@dataclass(frozen=True, kw_only=True)
class LossReport(Displayable):
    """Mean loss over a text. `protocol` names how it was measured; different protocols must not be
    compared.

    `evaluate` returns it. Quote `bpc` beside papers about characters, and `bits_per_byte` beside
    models with other alphabets or with tokens; each has its interval. Whether one model is better
    than another is not read from two reports, but from `evaluate_runs`.
    """

    protocol: str
    """`stateful`, `windowed-256`, or the protocol of another predictor, such as `5-gram`."""
    nats_per_char: float
    """Mean loss of a character, in nats: -ln p(character | what comes before it)."""
    bpc: float
    """The same in bits per character."""
    bits_per_byte: float
    """The same in bits per byte of the text in UTF-8."""
    num_chars: int
    """Characters that were scored."""
    text_length: int
    """Characters of the text: more than `num_chars` if only segments of it were scored. Overlapping
    windows may score more characters than the text has."""
    num_unknown: int = 0
    """Characters that are outside the alphabet."""
    precision: str
    """Precision of the computation: fp32, bf16 or fp16; empty if no network computed it."""
    nats_ci: tuple[float, float] | None = None
    """95 % interval of `nats_per_char`; None for a text too short, as are the next two."""
    bpc_ci: tuple[float, float] | None = None
    """95 % interval of `bpc`."""
    bits_per_byte_ci: tuple[float, float] | None = None
    """95 % interval of `bits_per_byte`."""
    first_guess: float | None = None
    """The share of the characters that were a most likely guess; None for a predictor that computes
    only the probability of the character that comes."""
    first_guess_ci: tuple[float, float] | None = None
    """95 % interval of `first_guess`."""


def block_difference(blocks: BlockSums, reference: BlockSums) -> Estimate | None:
    """Compute the mean difference of two predictors' losses of the same characters, and its 95 %
    interval, from the sums of both by the same blocks; None for too few characters.

    It is the whole point of a comparison: two losses with overlapping intervals may differ for
    certain.
    """
    # An interval of the differences, not of the two losses: both find the same passages hard.
    differences = blocks - reference
    interval = differences.interval()
    if interval is None:
        return None
    low, high = interval
    return Estimate(mean=differences.mean, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """The loss of one predictor by one protocol.

    `Evaluation.rows` consists of them. Its `difference` says whether the predictor is better than
    the first one: if the interval does not contain 0.
    """

    name: str
    """The name of the run or of another predictor, such as `n-gram`."""
    step: int | None = None
    """The step of the run's checkpoint; None if no run predicts."""
    loss: LossReport
    """The loss and how it was measured."""
    difference: Estimate | None = None
    """The mean loss minus that of the first row with a comparable protocol, over the same
    characters, in nats, with its interval by a paired block bootstrap; None for that row itself."""
    trained_share: float | None = None
    """Share of the text that is in the run's training text as well
    (`charrnn.text.copies.trained_share`); None if the training text is missing or large."""

    def to_json(self) -> dict[str, Any]:
        """Return the row as one object, without the entries that do not apply to it.

        It is for a program that reads JSON; in a table, where every row needs the same columns,
        `to_columns` is the one to take.

        Returns:
            A dictionary of numbers, strings, lists and None.

        Example:
            >>> [row] = charrnn.evaluate_runs([model], "abc “xyz”").rows
            >>> row.to_json()["protocol"]
            'stateful'
        """
        # Flat, so that a table of rows needs no path to the loss.
        data = {"name": self.name, "step": self.step, **asdict(self.loss)}
        if self.trained_share is not None:
            data["trained_share"] = self.trained_share
        if self.difference is not None:
            data["difference"] = asdict(self.difference)
        return data

    def to_columns(self) -> dict[str, Any]:
        """Return the row of a table for a spreadsheet.

        It has the entries of `to_json`, in which an interval is two numbers, `low` and `high`,
        which are None where it is not known.

        Returns:
            A dictionary.

        Example:
            >>> [row] = charrnn.evaluate_runs([model], "abc “xyz”").rows
            >>> row.to_columns()["bpc_ci"]
            {'low': None, 'high': None}
        """
        columns = self.to_json()
        for name in ("nats_ci", "bpc_ci", "bits_per_byte_ci", "first_guess_ci"):
            low, high = columns[name] or (None, None)
            columns[name] = {"low": low, "high": high}
        return columns


@dataclass(frozen=True, kw_only=True)
class Evaluation(Displayable):
    """The losses of one or several predictors over the same text.

    `evaluate_runs` returns it, for the question which of several models predicts a text best. Read
    its `notes` before quoting a figure: they say what makes the rows hard to compare. `groups`
    answers the question for settings instead of runs, with their seeds averaged.
    """

    rows: tuple[EvaluationRow, ...]
    """The row of each predictor; first those of the runs."""
    part: str | None
    """`validation` or `test`: the part of the run's own text; None for another text."""
    notes: tuple[str, ...] = ()
    """Sentences that a reader of the figures must know."""
    common_bytes: tuple[int, int] | None = None
    """The bytes [begin, end) of the runs' text that were scored, if the held-out parts of the runs
    differ; else None."""
    groups: tuple[SeedGroup, ...] = ()
    """The runs by setting, where several differ in the seed alone."""

    @property
    def first(self) -> LossReport:
        """The stateful loss of the first run.

        It is the whole result where one run is evaluated.
        """
        return self.rows[0].loss

    def to_json(self) -> dict[str, Any]:
        """Return what `evaluate --json` prints.

        A program that collects figures of many runs reads it; `EvaluationRow.to_columns` is for a
        table.

        Returns:
            A dictionary: the loss of the first row, and all rows as `rows`.

        Example:
            >>> evaluation = charrnn.evaluate_runs([model], "abc “xyz”")
            >>> evaluation.to_json()["run"]
            'shakespeare'
        """
        # The first row is at the top as well, for readers of one run.
        first = self.rows[0]
        data: dict[str, Any] = {"run": first.name, "step": first.step}
        # A text that was given has no part.
        if self.part is not None:
            data["part"] = self.part
        if self.common_bytes is not None:
            data["common_bytes"] = self.common_bytes
        data.update(asdict(first.loss))
        if first.trained_share is not None:
            data["trained_share"] = first.trained_share

        # The windowed loss of the first run is beside its stateful loss.
        for row in self.rows:
            if row.name == first.name and row.loss.protocol == WINDOWED:
                data["windowed_256"] = asdict(row.loss)

        # All rows, for readers of several runs. Empty lists are not left out.
        data["rows"] = [row.to_json() for row in self.rows]
        data["notes"] = list(self.notes)
        data["groups"] = [asdict(group) for group in self.groups]
        return data

"""The table of a sweep: statistics over the seeds of each setting, best first."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from charrnn.errors import Message
from charrnn.statistics.intervals import Estimate, t_quantile
from charrnn.sweeps.plan import FAILED, FINISHED, TEXT_FIELDS, SweepPlan, SweepRun, format_value
from charrnn.system.display import Displayable
from charrnn.views.tables import number_text, plain_table
from charrnn.views.theme import short_number


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRow:
    """One setting of a sweep: mean and interval over its seeds.

    Everything but `values` is None where too few runs are finished: `mean` needs one, the rest two.
    """

    values: dict[str, Any]
    num_finished: int
    num_failed: int
    num_runs: int
    num_parameters: int | None
    """Weights of the largest of its models."""
    mean: float | None = None
    """Mean validation loss in nats per character."""
    low: float | None = None
    """Ends of the 95 % interval of the mean: Student's t over the seeds."""
    high: float | None = None
    difference: float | None = None
    """Mean minus that of the first row; None for the first row."""
    difference_low: float | None = None
    """Ends of the 95 % interval of the difference: Welch's."""
    difference_high: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepReport(Displayable):
    """The table of a sweep, and its runs."""

    folder: str
    fields: tuple[str, ...]
    """The swept fields, in the order of `Config`."""
    rows: tuple[SweepRow, ...]
    """Best first: settings without a failed run by their mean, then the others."""
    runs: tuple[SweepRun, ...]
    notes: tuple[str, ...] = ()
    """What limits the comparison."""

    def to_json(self) -> dict[str, Any]:
        """Return the object that `sweep --json` prints."""
        return asdict(self) | {"notes": [str(Message(note)) for note in self.notes]}

    def view(self) -> Sequence[RenderableType]:
        """Draw the table, below it the meaning of its columns, and the notes."""
        return [sweep_view(self), *(Text(Message(note)) for note in self.notes)]


def report_sweep(plan: SweepPlan, folder: Path, runs: Sequence[SweepRun]) -> SweepReport:
    """Build the table of a sweep from its runs, finished or not."""
    # The runs of each setting. A dict of values is no key, its text is.
    groups: dict[str, list[SweepRun]] = {}
    for run in runs:
        groups.setdefault(repr(run.values), []).append(run)

    # Best first. A mean over the seeds that did not diverge is too good: those come last.
    ordered = sorted(map(_row, groups.values()), key=_order)
    best = _losses(groups[repr(ordered[0].values)])
    rows = ordered[:1]
    for row in ordered[1:]:
        losses = _losses(groups[repr(row.values)])
        if losses and best:
            difference = welch_difference(losses, best)
            row = replace(
                row,
                difference=difference.mean,
                difference_low=difference.low,
                difference_high=difference.high,
            )
        rows.append(row)

    # What else differs than what was swept.
    notes = list(plan.notes())
    texts = {run.text_digest for run in runs if run.status == FINISHED}
    if len(texts) > 1 and plan.axes.keys().isdisjoint(TEXT_FIELDS):
        notes.append(
            "the text changed between the runs, so their losses do not compare: start another sweep"
        )
    return SweepReport(
        folder=str(folder),
        fields=tuple(plan.axes),
        rows=tuple(rows),
        runs=tuple(runs),
        notes=tuple(notes),
    )


def _row(group: Sequence[SweepRun]) -> SweepRow:
    """Summarize the runs of a setting."""
    # Without a finished run the mean is nan, which JSON does not have.
    losses = _losses(group)
    estimate = mean_interval(losses)
    sizes = [run.num_parameters for run in group if run.num_parameters is not None]
    return SweepRow(
        values=group[0].values,
        num_finished=len(losses),
        num_failed=sum(run.status == FAILED for run in group),
        num_runs=len(group),
        num_parameters=max(sizes, default=None),
        mean=estimate.mean if losses else None,
        low=estimate.low,
        high=estimate.high,
    )


def _losses(group: Sequence[SweepRun]) -> list[float]:
    """Return the losses of the runs that are finished."""
    return [run.nats_per_char for run in group if run.nats_per_char is not None]


def _order(row: SweepRow) -> tuple[bool, bool, float]:
    """Return the key that sorts rows: finished ones, those without a failed run, the best."""
    return row.mean is None, row.num_failed > 0, row.mean or 0.0


def mean_interval(values: Sequence[float]) -> Estimate:
    """Estimate the mean of independent values: mean ± t · s / √n, with n - 1 degrees of freedom
    (Student 1908)."""
    # Seeds are drawn independently, unlike the characters of a text: no blocks are needed.
    num = len(values)
    mean = fmean(values) if num else math.nan
    if num < 2:
        return Estimate(mean=mean)

    half = t_quantile(num - 1) * stdev(values) / math.sqrt(num)
    return Estimate(mean=mean, low=mean - half, high=mean + half)


def welch_difference(values: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Estimate the difference of the means of two independent groups whose variances differ (Welch
    1947)."""
    # Not in pairs of runs with one seed: of three seeds that leaves two degrees of freedom, and
    # the interval is wider unless the pairs are correlated by more than 0.58.
    difference = fmean(values) - fmean(reference)
    if min(len(values), len(reference)) < 2:
        return Estimate(mean=difference)

    # Seeds that make no difference leave nothing to estimate.
    own = stdev(values) ** 2 / len(values)
    other = stdev(reference) ** 2 / len(reference)
    if own + other == 0:
        return Estimate(mean=difference, low=difference, high=difference)

    freedom = (own + other) ** 2 / (own**2 / (len(values) - 1) + other**2 / (len(reference) - 1))
    half = t_quantile(freedom) * math.sqrt(own + other)
    return Estimate(mean=difference, low=difference - half, high=difference + half)


def sweep_view(report: SweepReport) -> RenderableType:
    """Draw the table of a sweep, one row per setting, best first, and below it what its columns
    mean."""
    # The space tells the second interval from the first, by name.
    columns = ("nats", "±", "to best", "± ", "weights", "runs")
    table = plain_table(", ".join(report.fields) or "setting", *columns, right=columns, narrow=True)
    for row in report.rows:
        # The setting, and how many weights and finished runs its figures are of.
        values = [format_value(row.values[name]) for name in report.fields]
        size = "" if row.num_parameters is None else short_number(row.num_parameters)
        num_runs = f"{row.num_finished}/{row.num_runs}"
        if row.num_failed:
            num_runs += f", {row.num_failed} failed"
        table.add_row(
            ", ".join(values) or "all alike",
            number_text(row.mean, ".4f"),
            _half_width(row.low, row.high),
            number_text(row.difference, "+.4f"),
            _half_width(row.difference_low, row.difference_high),
            size,
            num_runs,
            style="bold" if row is report.rows[0] else None,
        )

    # An interval over three seeds is wide; say over how many it is.
    caption = "Validation loss in nats per character: lower is better. "
    counts = [row.num_finished for row in report.rows if row.low is not None]
    if counts:
        num_seeds = str(min(counts))
        if max(counts) > min(counts):
            num_seeds += f" to {max(counts)}"
        caption += (
            "nats: mean over the seeds; ±: 95 % interval by Student's t over"
            f" {num_seeds} seeds (few seeds make it wide); "
        )
    return Group(table, Text(f"{caption}to best: difference to the first row, by Welch's t."))


def _half_width(low: float | None, high: float | None) -> str:
    """Return an interval as what is added to the mean on both sides; "" if there is none."""
    if low is None or high is None:
        return ""
    return f"±{(high - low) / 2:.4f}"

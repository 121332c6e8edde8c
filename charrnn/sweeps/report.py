"""The table of a sweep: statistics over the seeds of each setting, best first."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from charrnn.config.settings import BUDGETS, MODEL_FIELDS, WIDTHS
from charrnn.errors import Message
from charrnn.statistics.intervals import Estimate, t_quantile
from charrnn.sweeps.plan import FAILED, FINISHED, TEXT_FIELDS, SweepPlan, SweepRun, format_value
from charrnn.system.display import Displayable
from charrnn.views.tables import number_text, plain_table
from charrnn.views.theme import short_number

UNPAIRED_FIELDS = {
    *MODEL_FIELDS,
    *WIDTHS,
    *BUDGETS,
    *TEXT_FIELDS,
    "init_from",
    "device",
    "precision",
    "batch_size",
    "num_members",
}
"""Fields of which other values give other initial weights or other batches, so that a seed has
nothing in common."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRow:
    """One setting of a sweep: mean, spread and interval over its seeds.

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
    spread: float | None = None
    """Standard deviation over the seeds, with n - 1."""
    low: float | None = None
    """Ends of the 95 % interval of the mean: Student's t over the seeds."""
    high: float | None = None
    difference: float | None = None
    """Mean minus that of the first row; None for the first row."""
    difference_low: float | None = None
    """Ends of the 95 % interval of the difference."""
    difference_high: float | None = None
    is_paired: bool = False
    """Whether the interval of the difference is that of pairs of runs with one seed, else Welch's.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepReport(Displayable):
    """The table of a sweep, and its runs."""

    folder: str
    fields: tuple[str, ...]
    """The swept fields, in the order of `Config`."""
    num_seeds: int
    rows: tuple[SweepRow, ...]
    """Best first: settings without a failed run by their mean, then the others."""
    runs: tuple[SweepRun, ...]
    notes: tuple[str, ...] = ()
    """What limits the comparison."""

    def to_json(self) -> dict[str, Any]:
        """Return the object that `sweep --json` prints."""
        return {**asdict(self), "notes": [str(Message(note)) for note in self.notes]}

    def view(self) -> Sequence[RenderableType]:
        """Draw the table, below it the meaning of its columns, and the notes."""
        return [sweep_view(self), *(Text(Message(note)) for note in self.notes)]


def report_sweep(plan: SweepPlan, folder: Path, runs: Sequence[SweepRun]) -> SweepReport:
    """Build the table of a sweep from its runs, finished or not."""
    # A row per setting, best first. A dict of values is no key, its text is.
    groups: dict[str, list[SweepRun]] = {}
    for run in runs:
        groups.setdefault(repr(run.values), []).append(run)
    rows = [(_row(group), group) for group in groups.values()]
    rows.sort(key=lambda pair: _order(pair[0]))

    # Each against the first.
    _, best = rows[0]
    compared = [_with_difference(row, group, best) for row, group in rows]

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
        num_seeds=plan.num_seeds,
        rows=tuple(compared),
        runs=tuple(runs),
        notes=tuple(notes),
    )


def _row(group: Sequence[SweepRun]) -> SweepRow:
    losses = list(_losses(group).values())
    estimate = mean_interval(losses)
    return SweepRow(
        values=group[0].values,
        num_finished=len(losses),
        num_failed=sum(run.status == FAILED for run in group),
        num_runs=len(group),
        num_parameters=max(
            (run.num_parameters for run in group if run.num_parameters is not None), default=None
        ),
        mean=estimate.mean if losses else None,
        spread=stdev(losses) if len(losses) > 1 else None,
        low=estimate.low,
        high=estimate.high,
    )


def _losses(group: Sequence[SweepRun]) -> dict[int, float]:
    """Return the losses of the finished runs by seed."""
    return {run.seed: run.nats_per_char for run in group if run.nats_per_char is not None}


def _order(row: SweepRow) -> tuple[bool, bool, float]:
    # A mean over the seeds that did not diverge is too good.
    return row.mean is None, row.num_failed > 0, row.mean or 0.0


def _with_difference(
    row: SweepRow, group: Sequence[SweepRun], first: Sequence[SweepRun]
) -> SweepRow:
    """Return a row with its difference to the first one, if both have a finished run and it is
    another row.

    Runs with one seed are compared in pairs where it gives both the same initial weights and
    batches.
    """
    losses = _losses(group)
    reference = _losses(first)
    if group is first or not losses or not reference:
        return row

    # Two runs with one seed share what its weights and batches make of the loss: in a pair, that is
    # subtracted.
    changed = {name for name, value in row.values.items() if value != first[0].values[name]}
    sizes = {run.num_parameters for run in (*group, *first) if run.num_parameters is not None}
    common = sorted(losses.keys() & reference.keys())
    is_paired = not changed & UNPAIRED_FIELDS and len(sizes) == 1 and len(common) > 1

    if is_paired:
        estimate = mean_interval([losses[seed] - reference[seed] for seed in common])
    else:
        estimate = welch_difference([*losses.values()], [*reference.values()])
    return replace(
        row,
        difference=estimate.mean,
        difference_low=estimate.low,
        difference_high=estimate.high,
        is_paired=is_paired,
    )


def mean_interval(values: Sequence[float]) -> Estimate:
    """Estimate the mean of independent values: mean ± t · s / √n, with n - 1 degrees of freedom
    (Student 1908)."""
    num = len(values)
    mean = fmean(values) if num else math.nan
    if num < 2:
        return Estimate(mean=mean)

    half = t_quantile(num - 1) * stdev(values) / math.sqrt(num)
    return Estimate(mean=mean, low=mean - half, high=mean + half)


def welch_difference(values: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Estimate the difference of the means of two independent groups whose variances differ (Welch
    1947)."""
    difference = fmean(values) - fmean(reference)
    if min(len(values), len(reference)) < 2:
        return Estimate(mean=difference)

    # Seeds that make no difference leave nothing to estimate.
    squares = [stdev(group) ** 2 / len(group) for group in (values, reference)]
    total = sum(squares)
    if not total:
        return Estimate(mean=difference, low=difference, high=difference)

    freedom = total**2 / (
        squares[0] ** 2 / (len(values) - 1) + squares[1] ** 2 / (len(reference) - 1)
    )
    half = t_quantile(freedom) * math.sqrt(total)
    return Estimate(mean=difference, low=difference - half, high=difference + half)


def sweep_view(report: SweepReport) -> RenderableType:
    """Draw the table of a sweep, one row per setting, best first, and below it what its columns
    mean."""
    # The columns; failures only where there are some.
    columns = ["nats", "±", "spread", "to best", "± ", "weights", "runs"]
    has_failures = any(row.num_failed for row in report.rows)
    if has_failures:
        columns.append("failed")
    table = plain_table(", ".join(report.fields) or "setting", *columns, right=columns, narrow=True)

    for row in report.rows:
        values = [format_value(row.values[name]) for name in report.fields]
        cells = [
            ", ".join(values) or "all alike",
            number_text(row.mean, ".4f"),
            _half_width(row.low, row.high),
            number_text(row.spread, ".4f"),
            number_text(row.difference, "+.4f"),
            _half_width(row.difference_low, row.difference_high),
            "" if row.num_parameters is None else short_number(row.num_parameters),
            f"{row.num_finished}/{row.num_runs}",
        ]
        if has_failures:
            cells.append(str(row.num_failed or ""))
        table.add_row(*cells, style="bold" if row is report.rows[0] else None)

    # What they mean.
    caption = "Validation loss in nats per character: lower is better. "
    counts = [row.num_finished for row in report.rows if row.spread is not None]
    if counts:
        fewest, most = min(counts), max(counts)
        num_seeds = str(fewest) if fewest == most else f"{fewest} to {most}"
        caption += (
            "nats: mean over the seeds; spread: their standard deviation; ±: 95 % interval by"
            f" Student's t over {num_seeds} seeds (few seeds make it wide); "
        )
    return Group(table, Text(f"{caption}to best: difference to the first row."))


def _half_width(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    return f"±{(high - low) / 2:.4f}"

"""Build and draw the table of a sweep: statistics over the seeds of each setting, best first."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from charrnn.errors import Message, named
from charrnn.statistics.intervals import Estimate, estimate
from charrnn.sweeps.plan import FAILED, SweepPlan, SweepRun, format_value
from charrnn.system.display import Displayable
from charrnn.views.tables import Columns, records_table, shown_parameters

TEXT_FIELDS = (
    "alphabet",
    "encoding",
    "order",
    "order_seed",
    "min_count",
    "split",
    "documents",
    "column",
    "validation_chars",
)
"""Fields that change the validation text of a run, or how its characters are counted."""
CAPTION = (
    "Validation loss in nats per character: lower is better. ±: 95 % interval over the seeds, by"
    " Student's t (few seeds make it wide); to best: difference to the first row, by Welch's t."
)
"""The meaning of the columns of the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRow:
    """One setting of a sweep: mean and interval over its seeds."""

    values: dict[str, Any]
    num_finished: int
    num_failed: int
    num_runs: int
    num_parameters: int | None
    """Number of weights of the largest model; None before the first checkpoint."""
    nats: Estimate | None
    """Mean validation loss per character, and its interval by Student's t; None before a run is
    finished."""
    to_best: Estimate | None = None
    """Loss minus the loss of the first row, with its interval by Welch's t; None for the first
    row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepReport(Displayable):
    """The table of a sweep, and its runs."""

    folder: str
    fields: tuple[str, ...]
    """The swept fields, in the order of `Config`."""
    rows: tuple[SweepRow, ...]
    """Settings without a failed run, ordered by their mean loss, then settings with failed runs."""
    runs: tuple[SweepRun, ...]
    notes: tuple[str, ...] = ()
    """The limits of the comparison, a sentence for each."""

    def to_json(self) -> dict[str, Any]:
        """Return the object that `sweep --json` prints."""
        return asdict(self) | {"notes": [str(Message(note)) for note in self.notes]}

    def view(self) -> Sequence[RenderableType]:
        """Draw the table, below it the meaning of its columns, and the notes."""
        return [sweep_view(self), *(Text(Message(note)) for note in self.notes)]


def report_sweep(plan: SweepPlan, folder: Path, runs: Sequence[SweepRun]) -> SweepReport:
    """Build the table of a sweep from its runs, finished or not."""
    # Group the runs by setting. A dict cannot be a key, so its `repr` is used.
    groups: dict[str, list[SweepRun]] = {}
    for run in runs:
        groups.setdefault(repr(run.values), []).append(run)

    # Settings with a failed run come last: the mean over the other seeds is too good.
    ordered = sorted(map(_row, groups.values()), key=_order)
    best = _losses(groups[repr(ordered[0].values)])
    rows = ordered[:1]
    for row in ordered[1:]:
        losses = _losses(groups[repr(row.values)])
        if losses:
            difference = fmean(losses) - fmean(best)
            row = replace(row, to_best=estimate(difference, losses, best))
        rows.append(row)

    # A loss per character depends on the validation text, and on the definition of a character.
    notes = []
    for name in plan.axes:
        if name in TEXT_FIELDS:
            notes.append(f"{named(name)} changes the validation text: these losses do not compare")
    return SweepReport(
        folder=str(folder),
        fields=tuple(plan.axes),
        rows=tuple(rows),
        runs=tuple(runs),
        notes=tuple(notes),
    )


def _row(group: Sequence[SweepRun]) -> SweepRow:
    """Summarize the runs of a setting."""
    losses = _losses(group)
    sizes = [run.num_parameters for run in group if run.num_parameters is not None]
    return SweepRow(
        values=group[0].values,
        num_finished=len(losses),
        num_failed=sum(run.status == FAILED for run in group),
        num_runs=len(group),
        num_parameters=max(sizes, default=None),
        nats=estimate(fmean(losses), losses) if losses else None,
    )


def _losses(group: Sequence[SweepRun]) -> list[float]:
    """Return the losses of the runs that are finished."""
    return [run.nats_per_char for run in group if run.nats_per_char is not None]


def _order(row: SweepRow) -> tuple[bool, bool, float]:
    """Return the key that sorts rows: by whether they are finished, by whether a run failed, and by
    loss."""
    return row.nats is None, row.num_failed > 0, row.nats.mean if row.nats else 0.0


def sweep_view(report: SweepReport) -> RenderableType:
    """Draw the table of a sweep with one row per setting, best first, and the meaning of its
    columns below it."""
    setting = ", ".join(report.fields) or "setting"
    table = records_table(
        {
            setting: lambda row: ", ".join(map(format_value, row.values.values())) or "all alike",
            **SWEEP_COLUMNS,
        },
        report.rows,
        left=(setting,),
        style=lambda row: "bold" if row is report.rows[0] else None,
        narrow=True,
    )
    return Group(table, Text(CAPTION))


def _num_runs(row: SweepRow) -> str:
    num_runs = f"{row.num_finished}/{row.num_runs}"
    if row.num_failed:
        num_runs += f", {row.num_failed} failed"
    return num_runs


SWEEP_COLUMNS: Columns = {
    "nats": "{nats.mean:.4f}",
    "±": "±{nats.half_width:.4f}",
    "to best": "{to_best.mean:+.4f}",
    # The space makes the heading of the second interval different from the first.
    "± ": "±{to_best.half_width:.4f}",
    "weights": shown_parameters,
    "runs": _num_runs,
}
"""The columns of the table of a sweep, after the setting."""

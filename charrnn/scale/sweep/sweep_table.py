"""Summarize the runs of a sweep: one row per setting, best first, each compared with the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import stdev

from charrnn.evaluation.estimate import Estimate
from charrnn.scale.sweep.records import FAILED, FINISHED, SweepReport, SweepRow, SweepRun
from charrnn.scale.sweep.seed_statistics import mean_interval, paired_difference, welch_difference
from charrnn.scale.sweep.sweep_plan import UNPAIRED_FIELDS, SweepPlan


def report_sweep(plan: SweepPlan, folder: Path, runs: Sequence[SweepRun]) -> SweepReport:
    """Build the table of a sweep from its runs, finished or not."""
    groups: dict[str, list[SweepRun]] = {}
    for run in runs:
        groups.setdefault(repr(run.values), []).append(run)
    rows = sorted(((_row(group), group) for group in groups.values()), key=lambda pair: _order(pair[0]))
    compared = [_with_difference(row, group, rows[0][1]) for row, group in rows]
    notes = list(plan.notes())
    if len({run.text_digest for run in runs if run.status == FINISHED}) > 1:
        notes.append("the text changed between the runs, so their losses do not compare: start another sweep")
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
    estimate = mean_interval(losses) if losses else None
    return SweepRow(
        values=group[0].values,
        num_finished=len(losses),
        num_failed=sum(run.status == FAILED for run in group),
        num_runs=len(group),
        num_parameters=max((run.num_parameters for run in group if run.num_parameters is not None), default=None),
        mean=None if estimate is None else estimate.mean,
        spread=stdev(losses) if len(losses) > 1 else None,
        low=None if estimate is None else estimate.low,
        high=None if estimate is None else estimate.high,
        difference=None,
        difference_low=None,
        difference_high=None,
        is_paired=False,
    )


def _losses(group: Sequence[SweepRun]) -> dict[int, float]:
    """Return the losses of the finished runs by seed."""
    return {run.seed: run.nats_per_char for run in group if run.nats_per_char is not None}


def _order(row: SweepRow) -> tuple[bool, bool, float]:
    # A mean over the seeds that did not diverge is too good.
    return row.mean is None, row.num_failed > 0, row.mean or 0.0


def _with_difference(row: SweepRow, group: Sequence[SweepRun], first: Sequence[SweepRun]) -> SweepRow:
    """Return a row with its difference to the first one, if both have a finished run and it is another row.

    Runs with one seed are compared in pairs where it gives both the same initial weights and batches.
    """
    losses, reference = _losses(group), _losses(first)
    if group is first or not losses or not reference:
        return row
    changed = {name for name, value in row.values.items() if value != first[0].values[name]}
    sizes = {run.num_parameters for run in (*group, *first) if run.num_parameters is not None}
    common = sorted(losses.keys() & reference.keys())
    is_paired = not changed & {*UNPAIRED_FIELDS} and len(sizes) == 1 and len(common) > 1
    estimate: Estimate
    if is_paired:
        estimate = paired_difference([losses[seed] for seed in common], [reference[seed] for seed in common])
    else:
        estimate = welch_difference([*losses.values()], [*reference.values()])
    return replace(
        row,
        difference=estimate.mean,
        difference_low=estimate.low,
        difference_high=estimate.high,
        is_paired=is_paired,
    )

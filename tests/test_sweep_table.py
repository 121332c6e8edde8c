"""The table of a sweep: its order, its intervals over few seeds, against naive formulas, and its columns."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from charrnn.config import Config
from charrnn.scale.sweep.plan import FAILED, FINISHED, SweepRun, plan_sweep
from charrnn.scale.sweep.table import (
    SweepReport,
    mean_interval,
    report_sweep,
    sweep_view,
    welch_difference,
)


def test_an_interval_is_the_mean_and_t_standard_errors() -> None:
    estimate = mean_interval([1.0, 2.0, 6.0])
    half = 4.302653 * math.sqrt(7.0) / math.sqrt(3)
    assert estimate.mean == 3.0
    assert (estimate.low, estimate.high) == (pytest.approx(3 - half, rel=1e-6), pytest.approx(3 + half, rel=1e-6))


def test_welch_takes_the_degrees_of_freedom_of_the_more_variable_group() -> None:
    exact = [1.0, 1.0, 1.0]
    estimate = welch_difference([2.0, 3.0, 7.0], exact)
    alone = mean_interval([2.0, 3.0, 7.0])
    assert estimate.low is not None and alone.low is not None
    assert estimate.low == pytest.approx(alone.low - 1)
    assert welch_difference(exact, exact).high == 0
    assert mean_interval([2.0]).low is welch_difference([2.0], [1.0, 1.5]).high is None


def made_report(axes: dict[str, Any], losses: dict[tuple[Any, ...], list[float | None]], **changes: Any) -> SweepReport:
    plan = plan_sweep(Config(steps=1), axes, num_seeds=3, num_trials=None)
    runs = []
    for run in plan.grid():
        loss = losses[tuple(run.values.values())][run.seed]
        status = FINISHED if loss is not None else FAILED
        size = changes.get("sizes", {}).get(tuple(run.values.values()), 100)
        runs.append(
            SweepRun(
                name=run.name, values=run.values, seed=run.seed, status=status, nats_per_char=loss, num_parameters=size
            )
        )
    return report_sweep(plan, Path("sweep"), runs)


def test_rows_are_best_first_with_their_interval_and_difference() -> None:
    worse, better = [2.0, 2.1, 2.3], [1.0, 1.2, 1.3]
    report = made_report({"learning_rate": [1e-3, 1e-2]}, {(1e-3,): worse, (1e-2,): better})
    first, second = report.rows
    estimate = mean_interval(better)
    assert (first.values, first.mean, first.low, first.high) == (
        {"learning_rate": 1e-2},
        estimate.mean,
        estimate.low,
        estimate.high,
    )
    assert first.spread == pytest.approx(0.1527525)
    assert first.difference is None
    paired = mean_interval([low - high for low, high in zip(worse, better, strict=True)])
    assert (second.difference, second.difference_low, second.is_paired) == (paired.mean, paired.low, True)


@pytest.mark.parametrize(
    ("axes", "sizes"),
    [({"cell": ["gru", "lstm"]}, {}), ({"forget_bias": [0.0, 1.0]}, {(0.0,): 90})],
)
def test_settings_with_other_weights_are_not_compared_in_pairs(axes: dict[str, Any], sizes: dict[Any, int]) -> None:
    worse, better = [2.0, 2.1, 2.3], [1.0, 1.2, 1.3]
    (low, high) = next(iter(axes.values()))
    report = made_report(axes, {(low,): worse, (high,): better}, sizes=sizes)
    welch = welch_difference(worse, better)
    assert (report.rows[1].difference_low, report.rows[1].is_paired) == (welch.low, False)


def test_a_mean_without_the_seeds_that_failed_comes_after_whole_ones() -> None:
    report = made_report({"keep": [1, 2, 3]}, {(1,): [1.0, None, 1.1], (2,): [2.0, 2.1, 2.2], (3,): [None, None, None]})
    assert [row.values["keep"] for row in report.rows] == [2, 1, 3]
    assert [row.num_failed for row in report.rows] == [0, 1, 3]
    assert report.rows[2].mean is None
    # Of the pairs, those seeds that both have.
    assert report.rows[1].difference == pytest.approx(-1.05)


def test_the_table_fits_80_columns() -> None:
    axes = {"cell": ["lstm", "gru"], "learning_rate": [3e-3, 6e-3]}
    losses = {(cell, rate): [1.5, 1.6, 1.7] for cell in axes["cell"] for rate in axes["learning_rate"]}
    report = made_report(axes, losses, sizes=dict.fromkeys(losses, 1_234_567))
    file = io.StringIO()
    Console(file=file, width=80).print(sweep_view(report))
    lines = [line.rstrip() for line in file.getvalue().splitlines() if line.strip()]
    rows, caption = lines[: 2 + 4], " ".join(lines[2 + 4 :])
    assert max(map(len, lines)) <= 80
    assert "1.23M" in rows[2]
    assert all("1.6000" in line and line.endswith("3/3") for line in rows[2:])
    assert "lower is better" in caption and "Student's t over 3 seeds" in caption

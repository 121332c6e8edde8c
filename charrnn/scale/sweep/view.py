"""The table of a sweep, for a terminal and as rows of CSV."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from charrnn.scale.sweep.records import SweepReport
from charrnn.views.tables import plain_table

SWEEP_CSV_COLUMNS = (
    *("mean", "spread", "low", "high", "difference", "difference_low", "difference_high", "is_paired"),
    *("num_finished", "num_failed", "num_runs", "num_parameters"),
)
"""Columns of `sweep_csv_rows` after the swept fields: attributes of `SweepRow`."""


def sweep_csv_rows(report: SweepReport) -> list[list[object]]:
    """Return one row per setting of a sweep: its values, then SWEEP_CSV_COLUMNS; what is unknown is empty."""
    cells = [
        (*map(row.values.get, report.fields), *(getattr(row, name) for name in SWEEP_CSV_COLUMNS))
        for row in report.rows
    ]
    return [["" if cell is None else _setting_text(cell) for cell in row] for row in cells]


def _setting_text(value: object) -> object:
    """Return a value of a setting as it is typed: 80/10/10 for a tuple, true for True."""
    if isinstance(value, tuple | list):
        return "/".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else value


def sweep_table(report: SweepReport) -> Table:
    """Build the table of a sweep, one row per setting, best first, in nats per character; ± are 95 % intervals.

    The column `to best` is the difference of the mean to that of the first row.
    """
    columns = ["nats", "±", "spread", "to best", "± ", "weights", "runs"]
    columns += ["failed"] * any(row.num_failed for row in report.rows)
    table = plain_table(", ".join(report.fields) or "setting", *columns, right=columns)
    table.padding = (0, 1, 0, 0)  # to fit 80 columns
    for row in report.rows:
        values = [_short(row.values[name]) for name in report.fields]
        cells = [
            ", ".join(values) or "all alike",
            "" if row.mean is None else f"{row.mean:.4f}",
            _half_width(row.low, row.high),
            "" if row.spread is None else f"{row.spread:.4f}",
            "" if row.difference is None else f"{row.difference:+.4f}",
            _half_width(row.difference_low, row.difference_high),
            "" if row.num_parameters is None else _thousands(row.num_parameters),
            f"{row.num_finished}/{row.num_runs}",
            str(row.num_failed or ""),
        ]
        table.add_row(*cells[: 1 + len(columns)], style="bold" if row is report.rows[0] else None)
    return table


def sweep_view(report: SweepReport) -> RenderableType:
    """Draw the table of a sweep and, below it, what its columns mean."""
    has_seeds = any(row.spread is not None for row in report.rows)
    seeds = (
        "nats: mean over the seeds; spread: their standard deviation; "
        f"±: 95 % interval by Student's t over {report.num_seeds} seeds (few seeds make it wide); "
    )
    caption = (
        "Validation loss in nats per character: lower is better. "
        f"{seeds if has_seeds else ''}to best: difference to the first row."
    )
    return Group(sweep_table(report), Text(caption))


def _thousands(number: int) -> str:
    """Return a number with three digits: 987, 12.3k, 1.23M."""
    for size, suffix in ((1, ""), (1e3, "k"), (1e6, "M")):
        if number < 999.5 * size:
            return f"{number / size:.3g}{suffix}"
    return f"{number / 1e6:,.0f}M"


def _half_width(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"±{(high - low) / 2:.4f}"


def _short(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(_setting_text(value))

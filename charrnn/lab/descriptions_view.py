"""Draw descriptions of cells: the table with their scores, and how much of the cells they explain."""

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from charrnn.lab.descriptions_records import Description, DescriptionReport
from charrnn.views.tables import plain_table
from charrnn.views.theme import all_visible

NUM_LISTED = 20
"""Cells that the table lists, unless another number is asked for."""
COLUMNS = ("cell", "R²", "interval", "untrained", "rule")
"""Columns of `description_row`. Further figures of a cell are in `Description.to_json`."""
LEGEND = (
    "R²: share of the cell's variance that the rule predicts, chosen on the first half and scored on the second; "
    "untrained: R² of the same rule for the cell of the untrained baseline that follows it best"
)
"""The columns in short."""


def description_row(one: Description) -> list[str]:
    """Return the row of COLUMNS for a cell."""
    interval = "" if one.ci_low is None or one.ci_high is None else f"{one.ci_low:.2f}…{one.ci_high:.2f}"
    return [
        f"{one.layer}:{one.unit}",
        "" if one.kind == "none" else f"{one.score:.3f}",
        interval,
        "" if one.untrained is None else f"{one.untrained:.3f}",
        one.text,
    ]


def descriptions_table(report: DescriptionReport, num_listed: int | None = NUM_LISTED) -> Table:
    """Build the table of the cells with the highest scores, of all if None; cells that no rule explains are dim."""
    table = plain_table(*COLUMNS, right=COLUMNS[:-1])
    table.padding = (0, 1, 0, 0)  # to leave room for the rules in 80 columns
    for one in report.by_score()[:num_listed]:
        table.add_row(*description_row(one), style=None if one.explained else "dim")
    return table


def description_pictures(
    title: str, report: DescriptionReport, num_listed: int | None = NUM_LISTED
) -> list[RenderableType]:
    """Draw the shares that rules explain, the table, and what its columns mean."""
    pictures: list[RenderableType] = [Text(title, style="bold"), Text(shares_text(report))]
    pictures += [descriptions_table(report, num_listed), Text(LEGEND, style="dim")]
    if num_listed is not None and num_listed < len(report.descriptions):
        pictures.append(Text(f"{num_listed:,} of {len(report.descriptions):,} cells are listed.", style="dim"))
    return pictures


def shares_text(report: DescriptionReport) -> str:
    """Say how many cells a rule explains, and which share of the variance, beside the untrained baseline."""
    num_cells = len(report.descriptions)
    said = (
        f"A rule explains {report.num_explained:,} of {num_cells:,} cells ({report.share_explained:.0%}) "
        f"and {report.share_of_variance:.0%} of the variance of all cells"
    )
    if report.untrained_share_explained is not None and report.untrained_share_of_variance is not None:
        said += (
            f"; of the untrained baseline {report.untrained_share_explained:.0%} and "
            f"{report.untrained_share_of_variance:.0%}"
        )
    return (
        f"{said}. Of rules for the same values, shifted along the text, 95% have R² below {report.control_level:.3f}."
    )


def description_lines(one: Description) -> list[RenderableType]:
    """Draw the description of one cell: its rule in words, and its scores in a line."""
    lines: list[RenderableType] = [Text(all_visible(one.text), style="bold" if one.explained else "dim")]
    if one.kind == "none":
        return lines
    if not one.explained:
        lines.append(Text(all_visible(f"the best was: {' and '.join(one.conditions)}"), style="dim"))
    parts = [f"R² {one.score:.3f}"]
    if one.ci_low is not None and one.ci_high is not None:
        parts[0] += f" ({one.ci_low:.3f}…{one.ci_high:.3f})"
    if one.auc is not None:
        parts.append(f"AUC {one.auc:.3f}")
    if one.spearman is not None:
        parts.append(f"ρ {one.spearman:+.3f}")
    if one.untrained is not None:
        parts.append(f"untrained {one.untrained:.3f}")
    if one.selectivity is not None:
        # Without it a selectivity above R² looks like an error.
        negative = f" (R² of control values {one.control:.3f})" if one.control is not None and one.control < 0 else ""
        parts.append(f"selectivity {one.selectivity:.3f}{negative}")
    return [*lines, Text(", ".join(parts))]

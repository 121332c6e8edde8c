"""Draw which cells several runs have in common: pairs of runs, their best correlations, and the cells for detectors."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from charrnn.cells.records import CellScore
from charrnn.lab.matching_records import LARGE_EXCESS, SHARED, MatchReport, PairMatch
from charrnn.views.charts import ChartOfRecords, Line, LineChart, Point, round_step
from charrnn.views.tables import MEANINGS, plain_table, score_mark
from charrnn.views.theme import all_visible

HISTOGRAM_TITLE = "Share of the cells by their best |r| with a cell of the other run; without marks: with rotations"
"""Title of the chart."""
SAME_MARK = "="
"""Follows a cell that correlates best with that of the first run."""
ABOUT_PAIRS = (
    "null: the best |r| with the other run's activations, each layer rotated at random; p: the cells whose best |r| is "
    f"above 95 and 99 % of their own null; excess: those that exceed it by {LARGE_EXCESS:g}; mutual: those whose best "
    "cell is theirs one to one"
)
"""The columns of the table of pairs, in short."""
ABOUT_PROPERTIES = (
    f"score: AUC, or |ρ| of a count; {SAME_MARK}: the cell that correlates best with the first run's; "
    + "; ".join(f"{mark}: {meaning}" for mark, meaning in MEANINGS.items())
)
"""The marks of the table of properties, in short."""
NUM_TICKS = 6
"""Numbers on the vertical axis at the most."""


def match_pictures(report: MatchReport) -> list[RenderableType]:
    """Draw the table of pairs, the histograms of the first run's pairs, and the table of detectors by run."""
    title = (
        f"Cells of {len(report.names)} runs over the same {report.num_chars:,} characters, matched by correlation; "
        f"null of {report.num_rotations} rotations"
    )
    names = short_names(report.names)
    return [
        Text(title, style="bold"),
        Text("\n".join(f"{short}: {all_visible(name)}" for short, name in zip(names, report.names, strict=True))),
        pairs_table(report, names),
        Text(ABOUT_PAIRS, style="dim"),
        Text(),
        Text(sharing_sentence(report)),
        Text(),
        MatchChart(report),
        Text(),
        Text("The best cell for each detector, by run", style="bold"),
        properties_table(report, names),
        Text(ABOUT_PROPERTIES, style="dim"),
    ]


def short_names(names: Sequence[str]) -> list[str]:
    """Return a letter for each run, which heads its column: A, B, … or, from the 27th on, a number."""
    return [chr(ord("A") + number) if number < 26 else str(number + 1) for number in range(len(names))]


def pairs_table(report: MatchReport, names: Sequence[str]) -> Table:
    """Build the table of pairs of runs: the best correlations of the first one's cells, beside their null."""
    columns = ("cells", "median |r|", "null", "p ≤ 0.05", "p ≤ 0.01", "excess", "mutual")
    table = plain_table("runs", *columns, right=columns)
    for pair in report.pairs:
        table.add_row(
            f"{names[report.names.index(pair.name)]} in {names[report.names.index(pair.other)]}",
            f"{len(pair.matches):,}",
            f"{pair.median:.3f}",
            f"{pair.null_median:.3f}",
            *(f"{share:.1%}" for share in (pair.share_95, pair.share_99, pair.share_excess, pair.share_mutual)),
        )
    return table


def sharing_sentence(report: MatchReport) -> str:
    """Say how many cells of the first run all, some and none of the other runs have."""
    counts = report.num_sharing()
    num_cells, num_others = sum(counts), len(counts) - 1
    if num_others == 1:
        return f"Of the {num_cells:,} cells of A, B has {counts[1]:,} (p ≤ {SHARED:g})."
    return (
        f"Of the {num_cells:,} cells of A, all {num_others} other runs have {counts[-1]:,}, some of them "
        f"{sum(counts[1:-1]):,}, none {counts[0]:,} (p ≤ {SHARED:g})."
    )


def properties_table(report: MatchReport, names: Sequence[str]) -> Table:
    """Build the table of detectors by run: the best cell with its score, and in how many runs it is significant."""
    table = plain_table("detector", *names, "found", right=(*names, "found"))
    for found in report.properties:
        same = (False, *found.is_same[1:])  # the first run's cell is the one that the others are compared with
        cells = [cell_text(score, is_same=is_same) for score, is_same in zip(found.scores, same, strict=True)]
        table.add_row(
            found.detector,
            *cells,
            f"{found.num_found} of {len(report.names)}",
            style=None if found.num_found else "dim",
        )
    return table


def cell_text(score: CellScore | None, *, is_same: bool) -> str:
    """Return a cell with its AUC or |ρ| in three digits, and marks; a dash if the text cannot be scored."""
    if score is None:
        return "-"
    reached = score.auc if score.auc is not None else abs(score.spearman or 0.0)
    marks = (SAME_MARK if is_same else "") + score_mark(score)
    return f"{score.layer}:{score.unit} {reached:.3f}{marks or ' '}"


@dataclass(frozen=True)
class MatchChart(ChartOfRecords):
    """A renderable of how the best correlations of the first run's cells are distributed, for each other run."""

    report: MatchReport

    def chart(self, *, ascii_only: bool) -> LineChart:
        pairs = self.report.pairs[: len(self.report.names) - 1]
        highest = max(max(*pair.histogram, *pair.null_histogram) for pair in pairs)
        step = round_step(highest, NUM_TICKS - 1)
        num_steps = max(1, -int(-highest // step))
        lines = [line for number, pair in enumerate(pairs) for line in _lines(pair, number, ascii_only=ascii_only)]
        return LineChart(
            title=HISTOGRAM_TITLE,
            lines=lines,
            across=(0.0, 1.0),
            across_label="best |r|",
            across_ticks=lambda most: [(tick / 5, f"{tick / 5:g}") for tick in range(6)],
            up_ticks=[(step * tick, f"{step * tick:.3g}") for tick in range(num_steps + 1)],
            empty_notice="No cell.",
        )


def _lines(pair: PairMatch, number: int, *, ascii_only: bool) -> list[Line]:
    name = f"{pair.name} in {pair.other}"
    shown = all_visible(name, ascii_only=ascii_only)
    return [
        Line(shown, [_steps(pair.histogram)], number),
        Line(f"{shown}, null", [_steps(pair.null_histogram)], number, is_marked=False),
    ]


def _steps(shares: Sequence[float]) -> list[Point]:
    """Return a point in the middle of each bin from 0 to 1."""
    return [((place + 0.5) / len(shares), share) for place, share in enumerate(shares)]

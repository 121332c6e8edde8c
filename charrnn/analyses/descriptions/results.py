"""The description of a cell, the report of all cells, and how they are shown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from charrnn.system.display import Displayable
from charrnn.views.cell_page import Part
from charrnn.views.tables import Columns, records_table, score_number

NUM_LISTED = 20
"""Cells that the table lists, unless another number is asked for."""
LEGEND = (
    "R²: share of the cell's variance that the rule predicts, chosen on the first half and scored"
    " on the second"
)
"""The meaning of the columns of the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description(Displayable):
    """The rule that predicts the values of a cell best, and how well it does on text it was not
    chosen on.

    All figures but `chosen_on` are of the scoring half. The score is R², the
    share of the variance of the cell's values that the rule explains; a rule that is worse than the
    mean has a negative score.
    """

    layer: int
    """The layer of the cell, from 0."""
    unit: int
    """The unit of the cell in its layer, from 0."""
    kind: str
    """`rule` for conditions that all hold, `count` for a count that the value follows, `none` for a
    constant cell."""
    conditions: tuple[str, ...] = ()
    """At most three phrases such as `inside double quotation marks`, or the name of the count."""
    polarity: int = 1
    """+1 if the cell is high where the conditions hold, or rises with the count; else -1."""
    score: float = 0.0
    """R²: of the two means, or of a monotone function of the count, both fitted on the choosing
    half."""
    ci_low: float | None = None
    """Lower end of the 95 % interval of the score; None if it was not measured."""
    ci_high: float | None = None
    """Upper end of the interval."""
    auc: float | None = None
    """Kind `rule`: the AUC of polarity * values where the conditions hold against where they do
    not."""
    spearman: float | None = None
    """Kind `count`: Spearman's ρ of values and count."""
    chosen_on: float | None = None
    """R² on the choosing half."""
    control: float | None = None
    """R² of the best rule for control values: the values of the cell, shifted along the text."""
    explained: bool = False
    """Whether the score has an interval above 0 and exceeds both the level that rules reach by
    chance and `control`."""
    _DERIVED = ("selectivity", "text")

    @property
    def selectivity(self) -> float | None:
        """The score minus the score of control values (Hewitt & Liang 2019)."""
        return None if self.control is None else self.score - self.control

    @property
    def text(self) -> str:
        """The description in words; it says so if no rule explains the cell."""
        if self.kind == "none":
            return "constant"
        # The best of many rules says nothing if chance reaches as much.
        if not self.explained:
            return "no rule explains it"
        if self.kind == "count":
            verb = "rises" if self.polarity > 0 else "falls"
            return f"{verb} with {self.conditions[0]}"
        level = "high" if self.polarity > 0 else "low"
        return f"{level}: {' and '.join(self.conditions)}"

    def parts(self) -> Iterator[Part]:
        """Yield the rule in words, and its scores in a line."""
        title = "Described by a rule"
        if self.kind == "none":
            yield Part(title=title, draw_as="text", content=[self.text])
            return
        lines = [self.text]
        # A rule that explains nothing is named all the same, because its score follows.
        if not self.explained:
            lines.append(f"the best was: {' and '.join(self.conditions)}")

        # The scores that there are.
        scores = [f"R² {self.score:.3f}"]
        if self.ci_low is not None and self.ci_high is not None:
            scores[0] += f" ({self.ci_low:.3f}…{self.ci_high:.3f})"
        if self.auc is not None:
            scores.append(f"AUC {score_number(self.auc)}")
        if self.spearman is not None:
            scores.append(f"ρ {score_number(self.spearman, '+.3f')}")
        if self.control is not None:
            scores.append(f"selectivity {self.selectivity:.3f}")
            # Without the reason, a selectivity above R² looks like an error.
            if self.control < 0:
                scores[-1] += f" (R² of control values {self.control:.3f})"
        yield Part(title=title, draw_as="text", content=[*lines, ", ".join(scores)])


DESCRIPTION_COLUMNS: Columns = {
    "cell": "{layer}:{unit}",
    "R²": lambda description: "" if description.kind == "none" else f"{description.score:.3f}",
    "interval": "{ci_low:.2f}…{ci_high:.2f}",
    # The rule comes last: it may need several lines.
    "rule": "{text}",
}
"""The columns of the table of descriptions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DescriptionReport(Displayable):
    """The descriptions of cells, and how much of them their rules explain."""

    descriptions: tuple[Description, ...] = field(repr=False)
    """In the order of the cells."""
    num_chars: int
    """Characters of the text."""
    num_conditions: int
    """Conditions that rules were made of, each or its negation."""
    control_level: float
    """The score that 95 % of the rules found for control values stay below."""
    level: float
    """The score that an explained cell exceeds: `control_level`, or 0.1 if that is higher."""
    share_of_variance: float
    """The share of the variance of all cells that the rules of the explained cells account for."""
    _DERIVED = ("num_explained", "share_explained")

    @property
    def num_explained(self) -> int:
        """The number of cells that a rule explains."""
        return sum(description.explained for description in self.descriptions)

    @property
    def share_explained(self) -> float:
        """The share of the cells that a rule explains."""
        return self.num_explained / max(1, len(self.descriptions))

    def by_score(self) -> list[Description]:
        """Return the descriptions, explained cells first, the highest score first.

        Returns:
            A list of C `Description`. Of two with the same score, the cell with the lower number is
            first.

        Example:
            >>> best, *others = study.descriptions(["quote"]).by_score()
            >>> best.explained
            True
        """
        # Rounded: the last digits depend on the processor, and would change the order of equals.
        return sorted(self.descriptions, key=lambda one: (not one.explained, -round(one.score, 6)))

    def to_json(self) -> dict[str, Any]:
        """Return all fields as an object, with the shares; the descriptions are in the order of
        `by_score`."""
        # Not super(): with slots, the decorator replaces the class that it would look for.
        data: dict[str, Any] = Displayable.to_json(self)
        descriptions = [description.to_json() for description in self.by_score()]
        return data | {"descriptions": descriptions}

    def view(self) -> Sequence[RenderableType]:
        """Return the shares that rules explain, and the table of the cells."""
        return description_pictures("Cells described by rules", self)


def description_pictures(
    title: str, report: DescriptionReport, num_listed: int | None = NUM_LISTED
) -> list[RenderableType]:
    """Draw the shares that rules explain, the table of the cells with the highest scores, and the
    meaning of its columns.

    All cells are listed if `num_listed` is None; those that no rule explains are dim.
    """
    table = records_table(
        DESCRIPTION_COLUMNS,
        report.by_score()[:num_listed],
        left=("rule",),
        style=lambda description: None if description.explained else "dim",
        narrow=True,
    )

    # Above the table the shares of all cells, below it how many cells are left out.
    pictures: list[RenderableType] = [
        Text(title, style="bold"),
        Text(
            f"A rule explains {report.num_explained:,} of {len(report.descriptions):,} cells"
            f" ({report.share_explained:.0%}) and {report.share_of_variance:.0%} of the variance of"
            " all cells. Of rules for the same values, shifted along the text, 95% have R² below"
            f" {report.control_level:.3f}."
        ),
        table,
        Text(LEGEND, style="dim"),
    ]
    num_cells = len(report.descriptions)
    if num_listed is not None and num_listed < num_cells:
        pictures.append(Text(f"{num_listed:,} of {num_cells:,} cells are listed.", style="dim"))
    return pictures

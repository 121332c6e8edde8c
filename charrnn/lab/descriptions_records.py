"""Descriptions of cells: a rule in words for each, with its score."""

from dataclasses import asdict, dataclass, field
from typing import Any

from charrnn.display import Displayable


@dataclass(frozen=True, kw_only=True, slots=True)
class Description(Displayable):
    """The rule that predicts the values of a cell best, and how well it does on text it was not chosen on.

    All figures but `chosen_on` and the two means are of the scoring half. The score is R², the share of the variance
    of the cell's values that the rule explains; a rule that is worse than the mean has a negative score.
    """

    layer: int
    unit: int
    kind: str
    """`rule` for conditions that all hold, `count` for a count that the value follows, `none` for a constant cell."""
    conditions: tuple[str, ...] = ()
    """At most three phrases such as `inside double quotation marks`, or the name of the count."""
    polarity: int = 1
    """+1 if the cell is high where the conditions hold, or rises with the count; else -1."""
    score: float = 0.0
    """R²: of the two means, or of a monotone function of the count, both fitted on the choosing half."""
    ci_low: float | None = None
    ci_high: float | None = None
    auc: float | None = None
    """Kind `rule`: the AUC of polarity * values where the conditions hold against where they do not."""
    spearman: float | None = None
    """Kind `count`: Spearman's ρ of values and count."""
    chosen_on: float | None = None
    """R² on the choosing half."""
    untrained: float | None = None
    """R² that the same conditions reach for the cell of the untrained baseline that follows them best."""
    control: float | None = None
    """R² of the best rule for control values: those of the cell, shifted along the text."""
    share: float | None = None
    """Kind `rule`: the share of the characters at which all conditions hold."""
    mean_inside: float | None = None
    """Kind `rule`: the mean value where all conditions hold, on the choosing half."""
    mean_outside: float | None = None
    explained: bool = False
    """Whether the score has an interval above 0 and exceeds both the level that rules reach by chance and `control`."""

    @property
    def selectivity(self) -> float | None:
        """The score minus that of control values (Hewitt & Liang 2019)."""
        return None if self.control is None else self.score - self.control

    @property
    def text(self) -> str:
        """The description in words; it says so if no rule explains the cell."""
        if not self.explained:
            return "constant" if self.kind == "none" else "no rule explains it"
        if self.kind == "count":
            return f"{'rises' if self.polarity > 0 else 'falls'} with {self.conditions[0]}"
        return f"{'high' if self.polarity > 0 else 'low'}: {' and '.join(self.conditions)}"

    def to_json(self) -> dict[str, Any]:
        """Return all fields as one object, with `selectivity` and `text`."""
        return asdict(self) | {"conditions": list(self.conditions), "selectivity": self.selectivity, "text": self.text}


@dataclass(frozen=True, kw_only=True, slots=True)
class DescriptionReport(Displayable):
    """The descriptions of cells, and how much of them their rules explain, beside the untrained baseline."""

    descriptions: tuple[Description, ...] = field(repr=False)
    """In the order of the cells."""
    num_chars: int
    num_conditions: int
    """Conditions that rules were made of, each or its negation."""
    control_level: float
    """The score that 95 % of the rules found for control values stay below."""
    level: float
    """The score that an explained cell exceeds: `control_level`, or 0.1 if that is higher."""
    share_of_variance: float
    """The share of the variance of all cells that the rules of the explained cells account for."""
    untrained_share_explained: float | None = None
    """The same share of explained cells in the untrained baseline, None without one."""
    untrained_share_of_variance: float | None = None

    @property
    def num_explained(self) -> int:
        """The number of cells that a rule explains."""
        return sum(one.explained for one in self.descriptions)

    @property
    def share_explained(self) -> float:
        """The share of the cells that a rule explains."""
        return self.num_explained / max(1, len(self.descriptions))

    def of(self, layer: int, unit: int) -> Description | None:
        """Return the description of a cell, None if it was not described."""
        return next((one for one in self.descriptions if (one.layer, one.unit) == (layer, unit)), None)

    def by_score(self) -> tuple[Description, ...]:
        """Return the descriptions, explained cells first, the highest score first."""
        return tuple(sorted(self.descriptions, key=lambda one: (not one.explained, -one.score)))

    def to_json(self) -> dict[str, Any]:
        """Return all fields as one object, with the shares; the descriptions are those of `by_score`."""
        fields = asdict(self) | {"descriptions": [one.to_json() for one in self.by_score()]}
        return fields | {"num_explained": self.num_explained, "share_explained": self.share_explained}

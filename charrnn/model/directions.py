"""Records of directions: weighted sums of cell values that follow a detector together."""

from dataclasses import asdict, dataclass, field
from typing import Any

from charrnn.cells.records import AblationEffect, ColouredText, Skipped
from charrnn.display import Displayable

NUM_CELLS = 4
"""Cells of a direction, unless another number is asked for."""
LEAST_GAIN = 0.01
"""A direction is shown beside the best cell if its score is higher by at least this much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Direction(Displayable):
    """A weighted sum of cell values that predicts a detector's labels: a linear probe on a few cells, or on all.

    Fitted on the choosing half of a text; scored, like the best cell, on the other half. The output is the sum of
    weight times value over the cells, plus `intercept`. It predicts the label: 1 inside and 0 outside, or a count.
    """

    detector: str
    cells: tuple[tuple[int, int], ...] = field(repr=False)
    """(layer, unit) of each cell, in the order in which they were selected: the best cell first."""
    weights: tuple[float, ...] = field(repr=False)
    means: tuple[float, ...] = field(repr=False)
    """Mean value of each cell on the choosing half."""
    deviations: tuple[float, ...] = field(repr=False)
    """Standard deviation of each cell on the choosing half."""
    intercept: float
    is_yes_no: bool
    score: float
    """AUC, or Spearman's rho for a count, of the output on the scoring half."""
    ci: tuple[float, float]
    """The 95 % interval of the score."""
    cell_score: float
    """The same score of the best cell, `cells[0]`, times its polarity."""
    gain_ci: tuple[float, float]
    """The 95 % interval of the difference between the two scores, from the same resamples."""
    low: float
    """Output that 2 % of the characters of the scoring half stay below."""
    high: float
    """Output that 98 % of them stay below."""
    num_chars: int
    is_all: bool = False
    """Whether it is over all cells of the model."""

    @property
    def name(self) -> str:
        """The name by which options ask for it, such as quote@4."""
        return f"{self.detector}@{'all' if self.is_all else len(self.cells)}"

    @property
    def gain(self) -> float:
        """How much higher its score is than that of the best cell."""
        return self.score - self.cell_score

    @property
    def is_better(self) -> bool:
        """Whether it is significantly better than the best cell, by LEAST_GAIN or more."""
        return self.gain >= LEAST_GAIN and self.gain_ci[0] > 0

    @property
    def shares(self) -> tuple[float, ...]:
        """The weight of each cell per standard deviation, divided by the sum of their absolute values."""
        sizes = [weight * deviation for weight, deviation in zip(self.weights, self.deviations, strict=True)]
        total = sum(map(abs, sizes)) or 1.0
        return tuple(size / total for size in sizes)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers of its cells, ascending."""
        return tuple(sorted({layer for layer, _ in self.cells}))

    def to_json(self) -> dict[str, Any]:
        """Return all fields and the derived ones as one object."""
        derived = {"name": self.name, "gain": self.gain, "is_better": self.is_better, "shares": self.shares}
        return asdict(self) | derived


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectionAblation:
    """The rise of the loss while a weighted sum of cell values is clamped at its mean, as in `Ablation`."""

    cells: tuple[tuple[int, int], ...]
    change: float
    ci: tuple[float, float]
    num_chars: int
    effects: tuple[AblationEffect, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectionContribution(Displayable):
    """What a direction contributes to the prediction, beside its best cell and random directions.

    Each random direction has as many cells of each layer, drawn at random like their weights.
    """

    direction: Direction
    ablation: DirectionAblation
    best_cell: DirectionAblation
    random: tuple[DirectionAblation, ...]
    skipped: tuple[Skipped, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all fields as one object."""
        return asdict(self) | {"direction": self.direction.to_json()}


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectionText(Displayable):
    """A text with the output of a direction, from -1 (its `low`) to 1 (its `high`), at each character."""

    direction: Direction
    coloured: ColouredText

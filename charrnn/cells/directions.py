"""Records of what directions do, weighted sums of cell values that follow a detector together."""

from dataclasses import asdict, dataclass
from typing import Any

from charrnn.cells.records import AblationEffect, ColouredText, Skipped
from charrnn.display import Displayable
from charrnn.model.clamping import Direction

NUM_CELLS = 4
"""Cells of a direction, unless another number is asked for."""


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

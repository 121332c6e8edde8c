"""Records of what sets a cell's value, what the cell does to the prediction, and what changes if it is patched."""

from dataclasses import asdict, dataclass, field
from typing import Any

from charrnn.display import Displayable


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """A cell whose output drives a gate, or the candidate, of another cell.

    `gate` is the letter of the block of rows (f, i, o, g, …), "" for a cell type without gates. `weight` is what the
    driver's output h is multiplied by. `strength` is the weight times the standard deviation of that h: how far the
    driver moves the pre-activation.
    """

    gate: str
    layer: int
    unit: int
    weight: float
    strength: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasedCharacter:
    """A character before a position, and what it contributes to the cell's value there.

    `attribution` is gradient × (input - mean input), `measured` the value minus the value with the character erased.
    """

    character: str
    attribution: float
    measured: float


@dataclass(frozen=True, kw_only=True, slots=True)
class InputPassage:
    """The characters up to a position at which the cell is strong, the last one at the position, with their effects."""

    position: int
    """The index in the text."""
    value: float
    """The cell's value after the last character."""
    characters: tuple[ErasedCharacter, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CharacterInput:
    """The mean effect of a character on the cell's value, over `count` occurrences before its strong positions."""

    character: str
    count: int
    attribution: float
    measured: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierCharacters:
    """Which of the last characters set a cell's value, at `num_positions` positions where it is strong.

    `attribution_by_lag[k]` and `measured_by_lag[k]` are mean absolute effects of the character k before the position
    (0: the character at the position). `correlation` is Pearson's, between attribution and measured effect over all of
    them; None if one of the two is constant.
    """

    num_positions: int
    attribution_by_lag: tuple[float, ...]
    measured_by_lag: tuple[float, ...]
    correlation: float | None
    characters: tuple[CharacterInput, ...]
    """Those with the largest measured effects, positive or negative."""
    passages: tuple[InputPassage, ...] = field(repr=False)
    """Where the cell is highest, and where it is lowest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellInputs(Displayable):
    """What sets the value of the cell `layer`:`unit`: the cells that drive it, and the characters before.

    `drivers` are the strongest of each gate, in the order of the gates, strongest first. `earlier` is None unless it
    was asked for.
    """

    layer: int
    unit: int
    num_positions: int
    """Positions of the text over which standard deviations were computed."""
    drivers: tuple[Driver, ...]
    earlier: EarlierCharacters | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all fields as one object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class CharacterEffect:
    """The mean change of a character's log-probability, in nats, if the cell rises by one standard deviation."""

    character: str
    effect: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClampedCharacter:
    """The mean probability of a character without a clamp and with the cell clamped low and high."""

    character: str
    free: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClampedPrediction:
    """How the predictions of `num_chars` characters change while a cell is clamped at a low and at a high value.

    `low` and `high` are the 2nd and the 98th percentile of the cell's values. Losses are in nats per character;
    `divergence_low` and `divergence_high` are the mean Kullback-Leibler divergences of the free predictions from the
    clamped ones, KL(free ‖ clamped), in nats.
    """

    low: float
    high: float
    num_chars: int
    loss_free: float
    loss_low: float
    loss_high: float
    divergence_low: float
    divergence_high: float
    characters: tuple[ClampedCharacter, ...]
    """Those whose mean probability differs most between high and low, largest difference first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellOutputs(Displayable):
    """What the cell `layer`:`unit` does to the prediction of the next character.

    `promoted` and `suppressed` are the characters whose log-probability rises and falls most with the cell, to first
    order: the mean gradient over `num_positions` positions by `quantity`, times its standard deviation `spread`. It has
    the sign of the cell's value. `clamped` is None unless it was asked for.
    """

    layer: int
    unit: int
    quantity: str
    """What the gradient is taken by: tanh(c), or h."""
    spread: float
    num_positions: int
    promoted: tuple[CharacterEffect, ...]
    suppressed: tuple[CharacterEffect, ...]
    clamped: ClampedPrediction | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all fields as one object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedCell:
    """A cell that is patched: its value at the end of the source passage, and what it was in the target passage."""

    layer: int
    unit: int
    source: float
    target: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedPassage:
    """The end of a passage that a model read; `position` is the index of its last character in the text, if in one."""

    text: str
    position: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedCharacter:
    """The probability of a next character before and after the patch."""

    character: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedLoss:
    """The loss of a character that follows the target passage in the text, in nats, before and after the patch."""

    character: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch(Displayable):
    """What changes if cells have, at the end of the target passage, the memory that they have after the source passage.

    The memory is set at that one character; what follows is computed as usual. `divergence` is the Kullback-Leibler
    divergence of the free prediction of the next character from the patched one, KL(before ‖ after), in nats.
    """

    cells: tuple[PatchedCell, ...]
    source: PatchedPassage
    target: PatchedPassage
    divergence: float
    characters: tuple[PatchedCharacter, ...]
    """Next characters whose probability changes most, largest change first."""
    following: tuple[PatchedLoss, ...]
    """The characters that follow in the text; none for a passage that is in no text."""
    continuation_before: str
    """What the model writes after the target passage if it always takes the most likely character."""
    continuation_after: str

    @property
    def loss_change(self) -> float | None:
        """The mean rise of the loss of the following characters, in nats per character; None if there are none."""
        if not self.following:
            return None
        return sum(one.after - one.before for one in self.following) / len(self.following)

    def to_json(self) -> dict[str, Any]:
        """Return all fields as one object, with `loss_change`."""
        return asdict(self) | {"loss_change": self.loss_change}

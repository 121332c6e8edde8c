"""What was found in a model's cells."""

from dataclasses import asdict, dataclass, field
from typing import Any

CHANCE = 0.05
"""A p-value above this is no finding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellScore:
    """How well the best cell follows a detector, on text it was not chosen on.

    `auc` (yes/no labels; already turned so that >= 0.5 on the text it was chosen on) or `spearman` (counts; signed);
    `untrained` is the same choice made in an untrained twin; `polarity` is -1 where the cell is low inside.
    """

    detector: str
    layer: int
    unit: int
    polarity: int
    num_positive: int
    auc: float | None = None
    spearman: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    chosen_on: float | None = None
    """The same figure on the text that the cell was chosen on, from its values in 512 bins."""
    untrained: float | None = None
    r2: float | None = None
    """Counts: share of their variance that a straight line in the cell's value explains, drawn where it was chosen."""
    threshold: float | None = None
    """Yes/no: the value from which on (below which, if `polarity` is -1) the cell says inside; set where chosen."""
    f1: float | None = None
    """Yes/no: harmonic mean of precision and recall at that threshold."""
    interior: float | None = None
    """Yes/no: AUC over the characters 5 or more after the label changed: a cell that only sees a delimiter fails."""
    null_level: float | None = None
    """AUC or |rho| that the best of all cells stays under in 95 % of circular shifts of the labels: what choice alone
    brings, on the text that the cell was chosen on."""
    p_value: float | None = None
    """Share of those shifts under which some cell does as well as the best does without."""
    probe: tuple[tuple[int, float], ...] = ()
    """(number of cells, AUC or R² of the best linear combination of so many): in one cell or spread over many."""
    ablation_inside: float | None = None
    ablation_outside: float | None = None
    """Nats/char that holding the cell at its mean adds to the loss inside and outside the detector's spans."""

    @property
    def is_significant(self) -> bool:
        """Whether chance would rarely choose so good a cell, the interval where it is judged leaves chance out, and the
        cell does better there than the best of all cells does by chance."""
        if self.p_value is None or self.ci_low is None or self.ci_high is None:
            return False
        if self.auc is not None:
            is_apart = self.ci_low > 0.5
        else:
            is_apart = self.ci_low > 0 if self.polarity > 0 else self.ci_high < 0
        reached = self.auc if self.auc is not None else abs(self.spearman or 0.0)
        return self.p_value <= CHANCE and is_apart and (self.null_level is None or reached > self.null_level)

    @property
    def strength(self) -> float:
        """From 0 (chance) to 1 (perfect), to rank yes/no and count detectors together."""
        return max(0.0, 2 * self.auc - 1) if self.auc is not None else abs(self.spearman or 0.0)

    def to_json(self) -> dict[str, Any]:
        """The object of `visualize --find --json`: `auc` or `spearman`, whichever was measured."""
        return {
            name: value for name, value in asdict(self).items() if name not in ("auc", "spearman") or value is not None
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class CellHistory:
    """How well the cell that follows a detector best in the end followed it at every saved step of its run.

    `values[i]` at step `steps[i]`: AUC turned by the polarity it has in the end, if `is_auc`, else signed ρ.
    """

    detector: str
    layer: int
    unit: int
    is_auc: bool
    steps: tuple[int, ...]
    values: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as one object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A detector that was not scored, and why (`no quotations in this text`)."""

    detector: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CellFindings:
    """The ranked scores, the detectors that could not be scored, and how many characters were looked at."""

    scores: tuple[CellScore, ...]
    skipped: tuple[Skipped, ...] = ()
    num_chars: int = 0
    num_cells: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationEffect:
    """What holding a cell adds to the loss inside and outside a detector's spans: nats/char, with 95 % intervals.

    Inside are the characters that come after one that the detector labels (above zero, where it counts): they are the
    ones a model inside a span predicts, the span's end among them.
    """

    detector: str
    change_inside: float
    ci_inside: tuple[float, float]
    change_outside: float
    ci_outside: tuple[float, float]
    num_inside: int
    is_count: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """What holding the cell `layer`:`unit` at `value` (its mean, or zero: `at`) adds to the loss over a text.

    `change` is in nats/char over all `num_chars` predicted characters, `ci` its 95 % interval.
    """

    layer: int
    unit: int
    at: str
    value: float
    change: float
    ci: tuple[float, float]
    num_chars: int
    effects: tuple[AblationEffect, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Every figure as one object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class GateUse:
    """How often each unit's `gate` (one letter) of a layer is saturated.

    `left` and `right`: for every unit, the shares of characters at which the gate is below 0.1, and above 0.9.
    """

    layer: int
    gate: str
    left: tuple[float, ...] = field(repr=False)
    right: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class GateReport:
    """The gates of every layer, first to last, over `num_chars` characters."""

    name: str
    cell: str
    num_chars: int
    gates: tuple[GateUse, ...]

    def to_json(self) -> dict[str, Any]:
        """Every share as one object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientReach:
    """How far a model's error signal reaches back.

    `norms[layer][i]` is the mean, over `num_losses` characters of a text, of the norm of the loss's gradient (nats) by
    what that layer carried over from `lags[i]` characters before.
    """

    name: str
    lags: tuple[int, ...]
    norms: tuple[tuple[float, ...], ...] = field(repr=False)
    num_losses: int

    def to_json(self) -> dict[str, Any]:
        """Every norm as one object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ColouredText:
    """A text with one value in [-1, 1] per character, ready to draw."""

    text: str
    values: tuple[float, ...] = field(repr=False)

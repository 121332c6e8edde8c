"""Every number of a network while it reads a text, step by step."""

from dataclasses import asdict, dataclass
from typing import Any

from charrnn.display import Displayable

MAX_UNITS = 16
"""Units per layer of the largest network whose numbers are listed."""
MAX_STEPS = 1_000
"""Characters of the longest text."""


@dataclass(frozen=True, slots=True)
class NumberRow:
    """A vector of the network at one time step."""

    name: str
    """Its formula or symbol: `W_ih x`, `b_ih`, `h`, `logits`."""
    labels: tuple[str, ...]
    """The name of each entry: a unit, a gate block and a unit (`i0`), or a character."""
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LayerNumbers:
    """The vectors of one layer at one time step, in the order in which they are computed.

    `W_ih x`, `b_ih`, and for each recurrent weight its product and bias (`W_hh h`, `b_hh`); each gate before (`a_f`)
    and after its sigmoid (`f`); the new memory `c`, if there is one, and the output `h`; then what the depth adds. The
    state before the step is `h before`, `c before`.
    """

    rows: tuple[NumberRow, ...]

    def row(self, name: str) -> NumberRow:
        """Return the first row of that name. Raises KeyError."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepNumbers:
    """Every number of one time step."""

    character: str
    """The character that is read; "" for the unknown symbol."""
    target: str | None
    """The next character of the text, which is to be predicted; None at the end."""
    input: NumberRow
    """x: the character's embedding, or its one-hot vector."""
    layers: tuple[LayerNumbers, ...]
    output: tuple[NumberRow, ...]
    """`W_hy h` and `b_y`, of which the logits are the sum; before them, with `sum_outputs`, the sum of the layers."""
    logits: NumberRow
    probabilities: NumberRow
    """The softmax of the logits."""
    loss: float | None
    """-ln of the probability of the target, in nats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkNumbers(Displayable):
    """Every number of a network while it reads a text from the initial state."""

    name: str
    """Name of the run."""
    cell: str
    depth: str
    vocabulary: tuple[str, ...]
    steps: tuple[StepNumbers, ...]

    @property
    def mean_loss(self) -> float | None:
        """Mean loss in nats of all characters but the first; None if there is only one."""
        losses = [step.loss for step in self.steps if step.loss is not None]
        return sum(losses) / len(losses) if losses else None

    def to_json(self) -> dict[str, Any]:
        """Return all numbers as one object."""
        return {**asdict(self), "mean_loss": self.mean_loss}

"""The page of one cell: everything that was measured of it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from charrnn.cells.cell_values_records import CellValues
from charrnn.cells.records import Ablation
from charrnn.display import Displayable
from charrnn.lab.cell_effects_records import CellInputs, CellOutputs
from charrnn.lab.descriptions_records import Description


@dataclass(frozen=True, kw_only=True, slots=True)
class CellPassage(Displayable):
    """A passage of the text with the cell's value at each character; `kind`, `rank` and `value` as in `PassagePlace`.

    `index` is that of the character for which it was chosen, `begin` that of its first character, `line` the line of
    `index`, all in the text that was measured; lines count from 1.
    """

    kind: str
    rank: int
    value: float
    index: int
    begin: int
    line: int
    text: str
    values: tuple[float, ...] = field(repr=False)
    """One per character of `text`, to four decimals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellPage(Displayable):
    """What is known of the cell `layer`:`unit`. What the text is too short for is None."""

    layer: int
    unit: int
    passages: tuple[CellPassage, ...]
    """Those of `values.passages`."""
    values: CellValues
    inputs: CellInputs | None = None
    outputs: CellOutputs | None = None
    description: Description | None = None
    ablation: Ablation | None = None
    """Clamped at its mean."""

    def to_json(self) -> dict[str, Any]:
        """Return all fields as one object, each record as its own `to_json` gives it."""
        parts = (self.values, self.inputs, self.outputs, self.description, self.ablation)
        names = ("values", "inputs", "outputs", "description", "ablation")
        return {
            "layer": self.layer,
            "unit": self.unit,
            "passages": [asdict(passage) for passage in self.passages],
            **{name: None if part is None else part.to_json() for name, part in zip(names, parts, strict=True)},
        }

"""All cells of a model over one text: everything that was measured of each, and its place on a map."""

from dataclasses import asdict, dataclass, field
from typing import Any

from charrnn.cells.records import CellFindings, CellValues
from charrnn.display import Displayable
from charrnn.lab.cell_effects_records import CellInputs, CellOutputs
from charrnn.lab.descriptions_records import Description, DescriptionReport

ATLAS_VERSION = 1
"""Version of the JSON of an atlas; a new one if a key changes its meaning or disappears."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AtlasCell:
    """What was measured of the cell `layer`:`unit`; None for what the text is too short for.

    `x` and `y` are its place on the map, from 0 to 1. `levels` are the cell's values in its passages, one after the
    other: 4 bits each, in units of `scale` / 7, as base64.
    """

    layer: int
    unit: int
    x: float
    y: float
    values: CellValues
    """Without all but the characters that change the cell's mean most."""
    inputs: CellInputs | None = None
    outputs: CellOutputs | None = None
    description: Description | None = None
    scale: float = field(default=0.0, repr=False)
    levels: str = field(default="", repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return all fields but the values in the passages as one object."""
        parts = {"values": self.values, "inputs": self.inputs, "outputs": self.outputs, "description": self.description}
        return {"layer": self.layer, "unit": self.unit, "x": self.x, "y": self.y} | {
            name: None if part is None else part.to_json() for name, part in parts.items()
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Atlas(Displayable):
    """All cells of a model over a text, in the order of their numbers, with the findings of the detectors.

    `half` is the index at which the scoring half begins.
    """

    text: str = field(repr=False)
    """One character per id, as in `EncodedText.text`: the positions of passages count these."""
    half: int
    num_layers: int
    num_units: int
    findings: CellFindings
    cells: tuple[AtlasCell, ...] = field(repr=False)
    report: DescriptionReport | None = field(default=None, repr=False)
    """What the descriptions explain in all; None for a text that is too short."""

    def of(self, layer: int, unit: int) -> AtlasCell:
        """Return a cell. Raises IndexError if there is none."""
        return self.cells[layer * self.num_units + unit]

    def to_json(self) -> dict[str, Any]:
        """Return the object of `visualize --export atlas.json`, which docs/formats.md describes."""
        about = None
        if self.report is not None:
            about = {name: value for name, value in self.report.to_json().items() if name != "descriptions"}
        return {
            "version": ATLAS_VERSION,
            "num_chars": len(self.text),
            "half": self.half,
            "num_layers": self.num_layers,
            "num_units": self.num_units,
            "findings": [score.to_json() for score in self.findings.scores],
            "skipped": [asdict(skipped) for skipped in self.findings.skipped],
            "descriptions": about,
            "cells": [cell.to_json() for cell in self.cells],
            "text": self.text,
        }

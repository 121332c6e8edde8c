"""`visualize --gates`: how often the gates of each layer are saturated.

At each step, the gradient of a memory is multiplied by the gate that keeps the memory. Saturated
gates are counted after Karpathy, Johnson & Li (2015), Figure 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from rich.console import RenderableType

from charrnn.cells.findings import GateUse
from charrnn.cells.gates import GATE_NAMES, GateCounter
from charrnn.cells.trace import states_of_text
from charrnn.errors import UsageError
from charrnn.model.annotations import CharRNN
from charrnn.model.cell_types import CELLS
from charrnn.model.reading import read_in_lanes
from charrnn.model.shapes import check_finite
from charrnn.system.display import Displayable
from charrnn.system.lazy import torch
from charrnn.system.progress import task
from charrnn.text.vocab import EncodedText
from charrnn.views.drawing import Drawing, Line, Plot

GATE_STYLES = {"f": "blue", "i": "green", "o": "magenta", "r": "green", "z": "blue"}
"""Colours of the gates; the gates of cell types from other packages may have other letters, and are
cyan."""
ACROSS = "shut (< 0.1)"
"""The label of the horizontal axis."""
UP = "open (> 0.9)"
"""The label of the vertical axis, which stands above it."""
SHARES = ((0.0, "0"), (1.0, "1"))
"""The ticks of both axes."""
SQUARE = 34
"""The largest number of columns of a plot, whose axes have half as many lines: a character is about
twice as high as wide."""
ABOUT_DOTS = (
    "A dot is a unit; both axes are shares of the characters. The means are over the units."
)
"""The sentence that explains the plots."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateReport(Displayable):
    """The gates of every layer over a text.

    They are drawn as scatter plots as in Karpathy, Johnson & Li (2015), Figure 3: every dot is a
    unit of a layer. x is the share of characters at which the unit's gate is shut (below 0.1), y
    the share at which it is open (above 0.9). A gate that is rarely saturated lies at the lower
    left, a gate that is always saturated on the diagonal.
    """

    name: str
    """The name of the run."""
    cell_type: str
    """The cell type, such as `lstm`."""
    num_chars: int
    """Characters of the text."""
    gates: tuple[GateUse, ...]
    """The gates of every layer, in order."""

    def view(self) -> Sequence[RenderableType]:
        """Return the plots, those of a layer side by side."""
        # A row for each layer.
        rows = []
        for _, uses in groupby(self.gates, key=lambda use: use.layer):
            rows.append(list(map(_plot, uses)))
        title = f"How often gates are shut and open in {self.num_chars:,} characters"
        return [Drawing(title, rows=rows, about=ABOUT_DOTS)]


def count_gates(network: CharRNN, text: EncodedText, *, name: str = "model") -> GateReport:
    """Count the share of characters at which each gate of each unit is saturated.

    Raises UsageError for a cell type without gates, CheckpointError for values that are not
    finite.
    """
    # All layers have the same cell type.
    layer = network.recurrent_layers()[0]
    if not layer.cell.gates:
        gated = ", ".join(name for name, cell in CELLS.items() if cell.gates)
        raise UsageError(
            f"The cell {layer.cell_name} has no gates. Built-in cell types with gates: {gated}."
        )

    # As in a single pass over the whole text.
    counter = GateCounter(network)
    windows = read_in_lanes(
        counter.read,
        network.initial_state,
        ids=text.ids,
        first=text.first,
        known=states_of_text(network, text),
    )
    with torch.inference_mode(), task("reading", total=len(text)) as advance:
        for positions, (_, cells, _) in windows:
            check_finite(cells, "cell values")
            is_text = positions < len(text.ids)
            counter.add(torch.from_numpy(is_text))
            advance(int(is_text.sum()))
    return GateReport(
        name=name, cell_type=layer.cell_name, num_chars=len(text), gates=counter.uses()
    )


def _plot(use: GateUse) -> Plot:
    # A cloud of dots does not show the means over the units.
    shut, opened = use.left, use.right
    name = f"layer {use.layer}: {GATE_NAMES.get(use.gate, use.gate)}"
    dots = list(zip(shut, opened, strict=True))
    return Plot(
        lines=[Line(name, points=dots, colour=GATE_STYLES.get(use.gate, "cyan"))],
        heading=name,
        y_label=UP,
        x_label=ACROSS,
        x_ticks=SHARES,
        y_ticks=SHARES,
        caption=f"shut {fmean(shut):.0%} open {fmean(opened):.0%}",
        max_columns=SQUARE,
        height=SQUARE // 2 - 3,
    )

"""`visualize --gates`: how often the gates of each layer are saturated.

At each step, the gradient of a memory is multiplied by the gate that keeps the memory. Saturated
gates are counted after Karpathy, Johnson & Li (2015), Figure 3.

Shapes: T time, B batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import fmean

from rich.console import RenderableType

from charrnn.cells.trace import states_of_text, torch_ops
from charrnn.errors import UsageError
from charrnn.model.annotations import CharRNN
from charrnn.model.cell_types import CELLS
from charrnn.model.interventions import record_layers
from charrnn.model.reading import Fragments, Segments, cut, read_segments
from charrnn.model.shapes import check_finite
from charrnn.system.display import Displayable
from charrnn.system.lazy import Tensor, torch
from charrnn.system.progress import task
from charrnn.text.vocab import EncodedText
from charrnn.views.drawing import Drawing, Plot, PlotLine

SHUT = 0.1
"""A gate below this is left-saturated: closed."""
OPEN = 0.9
"""A gate above this is right-saturated: open."""
GATE_NAMES = {"f": "forget", "i": "input", "o": "output", "r": "reset", "z": "update"}
"""The names of the gates by their letters."""
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


@dataclass(frozen=True, kw_only=True)
class GateUse:
    """How often a gate of each unit of a layer is saturated.

    `GateReport.gates` has one for each gate of each layer. A forget gate with a large `right`
    belongs to a unit that remembers for long: sort the units by it.
    """

    layer: int
    """The layer, from 0."""
    gate: str
    """The letter of the gate."""
    left: tuple[float, ...] = field(repr=False)
    """For every unit the share of characters at which the gate is below 0.1, from 0 to 1."""
    right: tuple[float, ...] = field(repr=False)
    """For every unit the share of characters at which the gate is above 0.9, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class GateReport(Displayable):
    """The gates of every layer over a text.

    `Model.gates` returns it. A notebook draws it; the numbers behind the dots are in its `gates`.
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
        return [self.chart()]

    def chart(self) -> Drawing:
        """Return the plots, those of a layer side by side.

        A program that writes it to a file or changes it needs it; a notebook shows the report by
        itself.

        Returns:
            The chart, which `view` shows and an export draws.

        Example:
            >>> chart = charrnn.load("prose").gates("What is the king?").chart()
            >>> [len(plots) for plots in chart.rows]  # a row for each layer, a plot for each gate
            [3]
        """
        # A row for each layer.
        rows = []
        for _, uses in groupby(self.gates, key=lambda use: use.layer):
            rows.append(list(map(_plot, uses)))
        title = f"How often gates are shut and open in {self.num_chars:,} characters"
        return Drawing(title, rows=rows, about=ABOUT_DOTS)


def count_gates(network: CharRNN, text: EncodedText, *, name: str = "model") -> GateReport:
    """Count the share of characters at which each gate of each unit is saturated.

    `Model.gates` encodes the text and calls it.

    Raises UsageError for a cell type without gates, CheckpointError for values that are not finite.
    """
    # All layers have the same cell type.
    layers = network.recurrent_layers()
    letters = layers[0].cell.gates
    if not letters:
        gated = ", ".join(name for name, cell in CELLS.items() if cell.gates)
        raise UsageError(
            f"The cell {layers[0].cell_name} has no gates. Built-in cell types with gates: {gated}."
        )

    # Of each window its ids (T, B), and by layer the gates in the order of the computation.
    def read(ids: Tensor, state: Tensor) -> tuple[tuple[Tensor, list[list[Tensor]]], Tensor]:
        calls: list[list[Tensor]] = [[] for _ in layers]
        recorders = record_layers(torch_ops(), name="sigmoid", results=calls)
        (_, cells, _), state = network.trace(ids, state, ops=recorders)
        check_finite(cells, what="cell values")
        return (ids, calls), state

    # As in a single pass over the whole text.
    windows = read_segments(
        read,
        network.initial_state,
        ids=text.ids,
        segments=Segments.of(len(text.ids), first=text.first),
        known=states_of_text(network, text),
    )
    num_shut = torch.zeros(len(layers), len(letters), network.hidden_size, dtype=torch.float64)
    num_open = torch.zeros_like(num_shut)
    with torch.inference_mode(), task("reading", total=len(text)) as advance:
        for positions, (ids, calls) in windows:
            # The rows of the gates that belong to characters of the text, and not to padding.
            is_text = torch.from_numpy(positions < len(text.ids)).flatten()
            rows = _order(ids, network.end_id).argsort()[is_text]
            for layer, of_layer in enumerate(calls):
                for gate in range(len(letters)):
                    # A cell computes its gates in the order of their letters, step by step. A step
                    # of a dilated layer computes several characters at once, in the order of the
                    # text.
                    steps = of_layer[gate :: len(letters)]
                    values = torch.cat([step.flatten(0, -2) for step in steps])[rows]
                    num_shut[layer, gate] += (values < SHUT).sum(0)
                    num_open[layer, gate] += (values > OPEN).sum(0)
            advance(len(rows))

    shut = (num_shut / len(text)).tolist()
    opened = (num_open / len(text)).tolist()
    uses = []
    for layer in range(len(layers)):
        for letter in sorted(letters):
            gate = letters.index(letter)
            left = tuple(shut[layer][gate])
            right = tuple(opened[layer][gate])
            uses.append(GateUse(layer=layer, gate=letter, left=left, right=right))
    return GateReport(
        name=name, cell_type=layers[0].cell_name, num_chars=len(text), gates=tuple(uses)
    )


def _order(ids: Tensor, end_id: int | None) -> Tensor:
    """Return the position of each character in the flattened window (T, B), in the order in which
    its gates were computed."""
    if end_id is None:
        return torch.arange(ids.numel())
    # The network reads documents in the same pieces.
    is_end = (ids == end_id).numpy()
    pieces = cut(Fragments.of(is_end), is_end.shape[1])
    return torch.cat([torch.from_numpy(piece.positions).flatten() for piece in pieces])


def _plot(use: GateUse) -> Plot:
    # A cloud of dots does not show the means over the units.
    shut, opened = use.left, use.right
    name = f"layer {use.layer}: {GATE_NAMES.get(use.gate, use.gate)}"
    dots = list(zip(shut, opened, strict=True))
    return Plot(
        lines=[PlotLine(name, points=dots, colour=GATE_STYLES.get(use.gate, "cyan"))],
        heading=name,
        y_label=UP,
        x_label=ACROSS,
        x_ticks=SHARES,
        y_ticks=SHARES,
        caption=f"shut {fmean(shut):.0%} open {fmean(opened):.0%}",
        max_columns=SQUARE,
        height=SQUARE // 2 - 3,
    )

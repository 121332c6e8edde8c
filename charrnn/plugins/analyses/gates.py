"""`visualize --gates`: how often the gates of each layer are saturated.

At each step, the gradient of a memory is multiplied by the gate that keeps the memory. Saturated
gates are counted after Karpathy, Johnson & Li (2015), Figure 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from charrnn.cells.activations import Activations
from charrnn.cells.findings import GateUse
from charrnn.cells.gates import GATE_NAMES
from charrnn.cli.analyses import NETWORK, Analysis, Shown, Subject
from charrnn.config.options import option
from charrnn.errors import UsageError
from charrnn.model.annotations import CharRNN
from charrnn.model.cell_types import CELLS
from charrnn.system.display import Displayable
from charrnn.text.vocab import EncodedText
from charrnn.views.charts import Canvas
from charrnn.views.svg import GRID, INK, LINE_HEIGHT, colour_of, dot, label, path
from charrnn.views.theme import is_in_words

GATE_STYLES = {"f": "blue", "i": "green", "o": "magenta", "r": "green", "z": "blue"}
"""Colours of the gates; the gates of cell types from other packages may have other letters, and are
cyan."""
MIN_WIDTH = 18
"""Columns of a plot at least."""
MAX_WIDTH = 34
"""Columns of a plot at most, its scale included."""
GAP = 2
"""Columns between plots."""
SCALE_WIDTH = 3
"""Columns of the scale on the left of a plot."""
PLOTS_IN_ROW = 3
"""Plots that an exported picture is wide enough for, at least."""
PLOT_MARGIN = 48.0
"""Pixels between two plots of an exported picture: for the numbers beside them."""
ACROSS = "shut (< 0.1)"
"""The label of the horizontal axis."""
UP = "open (> 0.9)"
"""The label of the vertical axis."""
ABOUT_DOTS = "A dot is a unit; both axes are shares of the characters. Below are the means."
"""The note that explains the plots."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateReport(Displayable):
    """The gates of every layer over a text.

    They are drawn as scatter plots as in Karpathy, Johnson & Li (2015), Figure 3: every dot is a
    unit of a layer. x is the share of characters at which the unit's gate is shut (below 0.1), y
    the share at which it is open (above 0.9). A gate that is rarely saturated lies at the lower
    left, a gate that is always saturated on the diagonal. The means over the units are printed
    below each plot.
    """

    name: str
    """The name of the run."""
    cell: str
    """The cell type, such as `lstm`."""
    num_chars: int
    """Characters of the text."""
    gates: tuple[GateUse, ...]
    """The gates of every layer, in order."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self._title(), style="bold")
        # A stream that carries only ASCII has no dots.
        if is_in_words(console) or options.ascii_only:
            for use in self.gates:
                yield Text(f"{_name(use)}: {_means(use)} of the characters, mean of the units")
            return

        # The plots of a layer share a row, as wide as the terminal allows.
        for _, layer_uses in groupby(self.gates, key=lambda use: use.layer):
            uses = list(layer_uses)
            width = max(MIN_WIDTH, min(MAX_WIDTH, (options.max_width + GAP) // len(uses) - GAP))
            yield Text()
            yield Columns([_plot(use, width) for use in uses], padding=(0, GAP, 0, 0))
        yield Text(ABOUT_DOTS, style="dim")

    def _title(self) -> str:
        return f"How often gates are shut and open in {self.num_chars:,} characters"

    def to_shapes(self, width: float) -> tuple[float, Sequence[str]]:
        """Return the height of the picture and its SVG shapes; see `charrnn.views.svg`."""
        shapes = [label(0, 0.75 * LINE_HEIGHT, text=self._title(), bold=True)]

        # A row of plots for each layer; the plots of a cell type with few gates are not larger.
        top = 1.5 * LINE_HEIGHT
        for _, layer_uses in groupby(self.gates, key=lambda use: use.layer):
            uses = list(layer_uses)
            pitch = width / max(PLOTS_IN_ROW, len(uses))
            for column, use in enumerate(uses):
                shapes += _plot_shapes(use, left=column * pitch, top=top, width=pitch)
            top += pitch + 3 * LINE_HEIGHT
        return top, [*shapes, label(0, top, text=ABOUT_DOTS)]


def count_gates(network: CharRNN, text: EncodedText, *, name: str = "model") -> GateReport:
    """Count the share of characters at which each gate of each unit is saturated.

    Raises UsageError for a cell type without gates, CharRNNError if there is no
    room on the disk.
    """
    # All layers have the same cell type.
    layer = network.recurrent_layers()[0]
    if not layer.cell.gates:
        gated = ", ".join(name for name, cell in CELLS.items() if cell.gates)
        raise UsageError(
            f"The cell {layer.cell_name} has no gates. Built-in cell types with gates: {gated}."
        )

    # The activations count the gates while they read the text.
    activations = Activations(network, text)
    return GateReport(name=name, cell=layer.cell_name, num_chars=len(text), gates=activations.gates)


def _plot_shapes(use: GateUse, *, left: float, top: float, width: float) -> list[str]:
    """Return the SVG shapes of the plot of one gate, a square below its title and above its
    means."""
    side = width - PLOT_MARGIN
    begin = left + PLOT_MARGIN / 2
    floor = top + 2 * LINE_HEIGHT + side
    shapes = [label(left, top + 0.5 * LINE_HEIGHT, text=_name(use), bold=True)]

    # The frame, the numbers at its ends, the labels between them, and the means.
    for share, mark in ((0.0, "0"), (0.5, ""), (1.0, "1")):
        x = begin + share * side
        y = floor - share * side
        shapes.append(path([(x, floor), (x, floor - side)], GRID, width=1))
        shapes.append(path([(begin, y), (begin + side, y)], GRID, width=1))
        shapes.append(label(begin - 6, y + 6, text=mark, anchor="end"))
        shapes.append(label(x, floor + LINE_HEIGHT, text=mark, anchor="middle"))
    shapes.append(path([(begin, floor - side), (begin, floor), (begin + side, floor)], INK))
    middle = begin + side / 2
    shapes.append(label(middle, floor + LINE_HEIGHT, text=ACROSS, anchor="middle"))
    shapes.append(label(begin, floor - side - 8, text=UP))
    shapes.append(label(middle, floor + 2 * LINE_HEIGHT, text=_means(use), anchor="middle"))

    # A dot for each unit, in the colour of its gate.
    colour = colour_of(Style.parse(GATE_STYLES.get(use.gate, "cyan")))
    for shut, opened in zip(use.left, use.right, strict=True):
        shapes.append(dot(begin + shut * side, floor - opened * side, fill=colour))
    return shapes


def _name(use: GateUse) -> str:
    return f"layer {use.layer}: {GATE_NAMES.get(use.gate, use.gate)}"


def _means(use: GateUse) -> str:
    """Return the means over the units, which a cloud of dots does not show."""
    return f"shut {fmean(use.left):.0%} open {fmean(use.right):.0%}"


def _plot(use: GateUse, width: int) -> Text:
    """Draw the plot of one gate as text, `width` columns wide and about as high."""
    # A character is about twice as high as wide.
    canvas = Canvas(width - SCALE_WIDTH, (width - SCALE_WIDTH) // 2)
    for left, right in zip(use.left, use.right, strict=True):
        canvas.dot(left, right, style=GATE_STYLES.get(use.gate, "cyan"))

    # Frame the dots: a scale at the left, marked only at its ends.
    lines = [Text(_name(use), style="bold")]
    lines.append(Text(UP))
    scale = {0: "1", canvas.height - 1: "0"}
    for row, line in enumerate(canvas.lines()):
        lines.append(Text.assemble(f"{scale.get(row, ''):>2}│", line))

    # Below the dots: the axis with its label, and the means.
    lines += [
        Text(f"  └{'─' * canvas.width}"),
        Text(f"   0{ACROSS.center(canvas.width - 2)}1"),
        Text(_means(use).center(width).rstrip()),
    ]
    return Text("\n", no_wrap=True).join(lines)


@dataclass(frozen=True, kw_only=True)
class GatesOptions:
    """The option of the analysis."""

    gates: bool = option(
        False,
        flags="--gates",
        help="Show how often each gate is saturated, per layer.",
        panel=NETWORK,
    )


def _measure(subject: Subject[GatesOptions]) -> GateReport:
    return count_gates(subject.model.network, text=subject.text, name=subject.model.name)


def _show(subject: Subject[GatesOptions], report: GateReport) -> Shown:
    return Shown(f"Gates of {report.name}", pictures=report.view(), data=report.to_json())


ANALYSES = (Analysis(flag="--gates", options=GatesOptions, measure=_measure, show=_show),)
"""`visualize --gates`."""

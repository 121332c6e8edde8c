"""`visualize --gates`: how often each gate is saturated, after Karpathy, Johnson & Li (2015), Figure 3.

`Model.gates` counts; the picture is one scatter plot per gate, one row of plots per layer.
"""

from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from charrnn.api import Model, TextOrIds
from charrnn.cells.records import GateUse
from charrnn.cells.trace import GATE_NAMES, Activations
from charrnn.cli.analyses import Analysis, Option, Shown, Subject
from charrnn.display import Displayable
from charrnn.errors import UsageError
from charrnn.extensions import ModelMethod
from charrnn.model.annotations import CharRNN
from charrnn.model.cells import CELLS
from charrnn.text.vocab import EncodedText
from charrnn.views.charts import Canvas

STYLES = {"f": "blue", "i": "green", "o": "magenta", "r": "green", "z": "blue"}
"""Colours of the gates; those of cells from other packages, which may have other letters, are cyan."""
MIN_WIDTH, MAX_WIDTH = 18, 34
"""Columns of a plot, its scale included."""
GAP = 2
"""Columns between plots."""
SCALE_WIDTH = 3
"""Columns of the scale on the left of a plot."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateReport(Displayable):
    """The gates of every layer, in order, over `num_chars` characters.

    They are drawn as scatter plots as in Karpathy, Johnson & Li (2015), Figure 3: every dot is a unit of a layer. x is
    the share of characters at which the unit's gate is shut (below 0.1), y the share at which it is open (above 0.9). A
    gate that is rarely saturated lies at the lower left, one that always is on the diagonal. The means over the units
    are printed below each plot.
    """

    name: str
    cell: str
    num_chars: int
    gates: tuple[GateUse, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        right, up = ("x", "y") if options.ascii_only else ("→", "↑")
        title = f"Gates in {self.num_chars:,} characters: {right} shut (< 0.1), {up} open (> 0.9)"
        yield Text(title, style="bold")
        for _, of_layer in groupby(self.gates, key=lambda use: use.layer):
            uses = list(of_layer)
            width = max(MIN_WIDTH, min(MAX_WIDTH, (options.max_width + GAP) // len(uses) - GAP))
            yield Text()
            yield Columns([_plot(use, width, ascii_only=options.ascii_only) for use in uses], padding=(0, GAP, 0, 0))
        yield Text("A dot is a unit; both axes are shares of the characters.", style="dim")


def gates(model: Model, text: TextOrIds, *, context: str | bytes = "") -> GateReport:
    """Count how often each gate of each unit is saturated in `text`, read after `context`.

    Raises UsageError for a cell type without gates, DataError for an empty text.
    """
    return count_gates(model.network, model.encode(text, context=context), name=model.name)


def count_gates(network: CharRNN, text: EncodedText, *, name: str = "model") -> GateReport:
    """Count the share of characters at which each gate of each unit is saturated.

    Raises UsageError for a cell type without gates, CharRNNError as `Activations`.
    """
    layer = network.recurrent_layers()[0]
    if not layer.cell.gates:
        gated = ", ".join(name for name, cell in CELLS.items() if cell.gates)
        raise UsageError(f"The cell {layer.cell_name} has no gates. Built-in cell types with gates: {gated}.")
    with closing(Activations(network, text)) as activations:
        return GateReport(name=name, cell=layer.cell_name, num_chars=len(text), gates=activations.gates)


def _plot(use: GateUse, width: int, *, ascii_only: bool) -> Text:
    """Draw the plot of one gate as text, `width` columns wide and about as high."""
    canvas = Canvas(width - SCALE_WIDTH, (width - SCALE_WIDTH) // 2, ascii_only=ascii_only)
    for left, right in zip(use.left, use.right, strict=True):
        canvas.dot(left, right, STYLES.get(use.gate, "cyan"))
    side, corner, floor = "|+-" if ascii_only else "│└─"
    shut, is_open = (sum(shares) / len(shares) for shares in (use.left, use.right))
    scale = {0: "1", canvas.height - 1: "0"}
    return Text("\n", no_wrap=True).join(
        (
            Text(f"layer {use.layer}: {GATE_NAMES.get(use.gate, use.gate)}", style="bold"),
            *(Text.assemble(f"{scale.get(row, ''):>2}{side}", line) for row, line in enumerate(canvas.lines())),
            Text(f"  {corner}{floor * canvas.width}"),
            Text(f"   0{'1':>{canvas.width - 1}}"),
            Text(f"shut {shut:.0%} open {is_open:.0%}".center(width).rstrip()),
        )
    )


GATES = Option("--gates", "Show how often each gate is saturated, per layer.", kind=bool)
"""Selects the analysis."""


def _show(subject: Subject, report: GateReport) -> Shown:
    return Shown(f"Gates of {report.name}", report.view(), report.to_json())


EXTENSIONS = (
    ModelMethod(name="gates", function=gates),
    Analysis(option=GATES, measure=lambda subject: gates(subject.model, subject.text), show=_show),
)
"""The method `Model.gates` and `visualize --gates`."""

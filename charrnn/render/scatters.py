"""Saturated gates as small scatters: one plot for each gate, a row of them for each layer."""

from dataclasses import dataclass
from itertools import groupby

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from charrnn.records.microscope import GateReport, GateUse
from charrnn.render.canvas import Canvas

NAMES = {"f": "forget", "i": "input", "o": "output", "r": "reset", "z": "update"}
STYLES = {
    letter: Style(color=color)
    for letter, color in {"f": "blue", "i": "green", "o": "magenta", "r": "green", "z": "blue"}.items()
}
MIN_WIDTH, MAX_WIDTH = 18, 34
"""Columns of a plot, its scale included."""
GAP = 2
SCALE_WIDTH = 3


@dataclass(frozen=True)
class GateScatters:
    """A renderable after Karpathy, Johnson & Li (2015), Figure 3: every dot is a unit of a layer.

    To the right: at how many of the characters its gate is shut (below 0.1); upwards: wide open (above 0.9). A gate
    that is seldom either lies below on the left; one that is always one or the other, on the diagonal. The mean over
    the units stands below each plot.
    """

    report: GateReport

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        right, up = ("x", "y") if options.ascii_only else ("→", "↑")
        title = f"Gates in {self.report.num_chars:,} characters: {right} shut (< 0.1), {up} open (> 0.9)"
        yield Text(title, style="bold")
        for _, of_layer in groupby(self.report.gates, key=lambda use: use.layer):
            uses = list(of_layer)
            width = max(MIN_WIDTH, min(MAX_WIDTH, (options.max_width + GAP) // len(uses) - GAP))
            yield Text()
            yield Columns([_plot(use, width, ascii_only=options.ascii_only) for use in uses], padding=(0, GAP, 0, 0))
        yield Text("A dot is a unit; both axes are shares of the characters.", style="dim")


def _plot(use: GateUse, width: int, *, ascii_only: bool) -> Text:
    """The plot of one gate, `width` columns wide and about as high."""
    canvas = Canvas(width - SCALE_WIDTH, (width - SCALE_WIDTH) // 2, ascii_only=ascii_only)
    for left, right in zip(use.left, use.right, strict=True):
        canvas.dot(left, right, STYLES[use.gate])
    side, corner, floor = "|+-" if ascii_only else "│└─"
    scale = {0: "1", canvas.height - 1: "0"}
    shut, is_open = (sum(shares) / len(shares) for shares in (use.left, use.right))
    return Text("\n", no_wrap=True).join(
        (
            Text(f"layer {use.layer}: {NAMES[use.gate]}", style="bold"),
            *(Text.assemble(f"{scale.get(row, ''):>2}{side}", line) for row, line in enumerate(canvas.lines())),
            Text(f"  {corner}{floor * canvas.width}"),
            Text(f"   0{'1':>{canvas.width - 1}}"),
            Text(f"shut {shut:.0%} open {is_open:.0%}".center(width).rstrip()),
        )
    )

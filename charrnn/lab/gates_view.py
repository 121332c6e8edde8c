"""Scatter plots of saturated gates: one plot per gate, one row of plots per layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from charrnn.cells.records import GateReport, GateUse
from charrnn.views.canvas import Canvas
from charrnn.views.svg import GRID, INK, LINE_HEIGHT, colour_of, dots, label, path

NAMES = {"f": "forget", "i": "input", "o": "output", "r": "reset", "z": "update"}
"""Names of the gates."""
STYLES = {
    letter: Style(color=color)
    for letter, color in {"f": "blue", "i": "green", "o": "magenta", "r": "green", "z": "blue"}.items()
}
"""Styles of the gates."""
OTHER_STYLE = Style(color="cyan")
"""Style of the gates of cells from other packages, which may have other letters."""
MIN_WIDTH, MAX_WIDTH = 18, 34
"""Columns of a plot, its scale included."""
GAP = 2
"""Columns between plots."""
SCALE_WIDTH = 3
"""Columns of the scale on the left of a plot."""
MAX_SIDE = 330.0
"""Side of a plot in an exported picture, in pixels, at most."""
PICTURE_GAP = 60.0
"""Space on the left of each plot in an exported picture, in pixels."""
DOT = 4.0
"""Radius of a dot in an exported picture, in pixels."""
ABOUT = "A dot is a unit; both axes are shares of the characters."
"""The line below the plots."""


@dataclass(frozen=True)
class GateScatters:
    """Scatter plots of gates as in Karpathy, Johnson & Li (2015), Figure 3: every dot is a unit of a layer.

    x is the share of characters at which the unit's gate is shut (below 0.1), y the share at which it is open (above
    0.9). A gate that is rarely saturated lies at the lower left, one that always is on the diagonal. The means over the
    units are printed below each plot.
    """

    report: GateReport

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self._title(*("x", "y") if options.ascii_only else ("→", "↑")), style="bold")
        for _, of_layer in groupby(self.report.gates, key=lambda use: use.layer):
            uses = list(of_layer)
            width = max(MIN_WIDTH, min(MAX_WIDTH, (options.max_width + GAP) // len(uses) - GAP))
            yield Text()
            yield Columns([_plot(use, width, ascii_only=options.ascii_only) for use in uses], padding=(0, GAP, 0, 0))
        yield Text(ABOUT, style="dim")

    def _title(self, right: str, up: str) -> str:
        return f"Gates in {self.report.num_chars:,} characters: {right} shut (< 0.1), {up} open (> 0.9)"

    def to_shapes(self, width: float) -> tuple[float, Sequence[str]]:
        """Draw the same plots as SVG; see `charrnn.views.svg.Drawing`."""
        shapes = [label(0, 0.75 * LINE_HEIGHT, self._title("→", "↑"), bold=True)]
        top = 2 * LINE_HEIGHT
        for _, of_layer in groupby(self.report.gates, key=lambda use: use.layer):
            uses = list(of_layer)
            side = min(MAX_SIDE, width / len(uses) - PICTURE_GAP)
            for index, use in enumerate(uses):
                shapes += _draw(use, index * (side + PICTURE_GAP) + PICTURE_GAP / 2, top, side)
            top += side + 5 * LINE_HEIGHT
        return top, [*shapes, label(0, top - LINE_HEIGHT, ABOUT, fill=INK)]


def _draw(use: GateUse, left: float, top: float, side: float) -> Sequence[str]:
    """Draw the plot of one gate as SVG: a square of `side` pixels, the name above, the means below."""
    upper, lower = top + LINE_HEIGHT, top + LINE_HEIGHT + side
    right, middle = left + side, left + side / 2
    places = [(left + shut * side, lower - is_open * side) for shut, is_open in zip(use.left, use.right, strict=True)]
    return (
        label(left, top + 0.5 * LINE_HEIGHT, _name(use), bold=True),
        path([(left, upper), (right, lower)], GRID),
        path([(left, upper), (left, lower), (right, lower)], INK),
        *(label(left - 8, y, number, anchor="end") for y, number in ((upper + 14, "1"), (lower, "0"))),
        *(label(x, lower + LINE_HEIGHT, number, anchor="middle") for x, number in ((left, "0"), (right, "1"))),
        dots(places, DOT, colour_of(STYLES.get(use.gate, OTHER_STYLE))),
        label(middle, lower + LINE_HEIGHT, _means(use), anchor="middle"),
    )


def _name(use: GateUse) -> str:
    return f"layer {use.layer}: {NAMES.get(use.gate, use.gate)}"


def _means(use: GateUse) -> str:
    shut, is_open = (sum(shares) / len(shares) for shares in (use.left, use.right))
    return f"shut {shut:.0%} open {is_open:.0%}"


def _plot(use: GateUse, width: int, *, ascii_only: bool) -> Text:
    """Draw the plot of one gate as text, `width` columns wide and about as high."""
    canvas = Canvas(width - SCALE_WIDTH, (width - SCALE_WIDTH) // 2, ascii_only=ascii_only)
    for left, right in zip(use.left, use.right, strict=True):
        canvas.dot(left, right, STYLES.get(use.gate, OTHER_STYLE))
    side, corner, floor = "|+-" if ascii_only else "│└─"
    scale = {0: "1", canvas.height - 1: "0"}
    return Text("\n", no_wrap=True).join(
        (
            Text(_name(use), style="bold"),
            *(Text.assemble(f"{scale.get(row, ''):>2}{side}", line) for row, line in enumerate(canvas.lines())),
            Text(f"  {corner}{floor * canvas.width}"),
            Text(f"   0{'1':>{canvas.width - 1}}"),
            Text(_means(use).center(width).rstrip()),
        )
    )

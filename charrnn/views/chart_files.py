"""Draw charts in files: lines between two axes, by matplotlib, for a printed page.

`views.drawing` describes a chart, and draws it in a terminal. Here the same description becomes an
SVG, a PNG or a PDF: on light paper, as wide as the text of an A4 page, with a legend below. A line
has the colour of its name in COLOURS and the mark that it has in a terminal.
"""

import math
from collections.abc import Mapping
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, chop_cells

from charrnn.views.drawing import GREY, Drawing, Line, Plot
from charrnn.views.matplotlib_settings import matplotlib_with
from charrnn.views.theme import all_visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDTH = 6.3
"""Width of a chart in inches: 16 cm, the text of an A4 page between margins of 2.5 cm."""
HEIGHT = 3.1
"""Height of a plot that stands alone, in inches."""
LINE_HEIGHT = 0.19
"""Height of a line of text, in inches."""
MAX_LETTERS = 96
"""Letters in a line as wide as the chart."""
PNG_DPI = 300
"""Pixels per inch of a PNG, as printers need them."""
HEX_COLOURS = {
    "blue": "#0072b2",
    "red": "#d55e00",
    "green": "#009e73",
    "magenta": "#cc79a7",
    "cyan": "#56b4e9",
    "yellow": "#e69f00",
    GREY: "#8a8a8a",
}
"""The colours of lines by their names in a terminal, which people who see no red or no green can
tell apart (Okabe & Ito 2008, Color universal design)."""
PDF_MARK = b"% charrnn"
"""A comment near the beginning of a PDF."""
INK = "#1e1e22"
"""The colour of text and axes."""
GRID = "#e4e4e4"
"""The colour of the lines across a plot."""
MARKERS = {
    "●": ("o", True),
    "▲": ("^", True),
    "■": ("s", True),
    "◆": ("D", True),
    "○": ("o", False),
    "△": ("^", False),
    "□": ("s", False),
    "◇": ("D", False),
    "▼": ("v", True),
    "▽": ("v", False),
    "★": ("*", True),
    "☆": ("*", False),
    "+": ("+", True),
    "×": ("x", True),
}
"""matplotlib's marker for each mark of a line, and whether it is filled."""
NUM_MARKS = 8
"""The largest number of marks on a line."""
SETTINGS: Mapping[str, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "figure.titlesize": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    # The names of runs are no mathematics: a$b$c.
    "text.parse_math": False,
    # The same chart is the same file.
    "svg.hashsalt": "charrnn",
    # Text stays text: the viewer draws it with its fonts.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
"""Settings of matplotlib that differ from its defaults."""


def draw_chart(drawing: Drawing, format: str, title: str = "charrnn") -> bytes:
    """Draw a chart as the content of a file.

    One needs it to write a chart that a terminal draws in dots to a file: lines of `Line.points`,
    gaps where a value is not finite, with `Plot.x_label` and `Plot.y_label` as the titles of the
    axes, the headings of the plots, and a legend of all names.

    The settings of matplotlib in this process, of the user and of the current folder neither change
    the chart nor are they changed. The same chart is the same bytes.

    Args:
        drawing: The chart.
        format: `svg`, `png` or `pdf`.
        title: The title in the data of the file, which is not drawn.

    Returns:
        The content of the file. `views.delivery` has the mark that is in its first 1,000 bytes.

    Example:
        >>> line = Line("chance", points=[(1, 0.5), (2, 0.5)], colour=GREY, mark="×")
        >>> plot = line_plot([line], x_label="distance (characters)", y_label="effect (nats)")
        >>> draw_chart(Drawing("", rows=[[plot]]), "svg")[:5]
        b'<?xml'
    """
    shown_title = all_visible(title)
    with matplotlib_with(SETTINGS):
        figure = _figure(drawing)
        if format == "svg":
            file = BytesIO()
            metadata = {"Title": shown_title, "Creator": "charrnn", "Date": None}
            figure.savefig(file, format=format, metadata=metadata)
            return file.getvalue().replace(b"<svg ", b'<svg class="charrnn" role="img" ', 1)
        if format == "png":
            file = BytesIO()
            metadata = {"Software": "charrnn", "Title": shown_title}
            figure.savefig(file, format=format, metadata=metadata, dpi=PNG_DPI)
            return file.getvalue()
        file = _MarkedPdf()
        metadata = {"Title": shown_title, "Creator": "charrnn", "CreationDate": None}
        figure.savefig(file, format=format, metadata=metadata)
        return file.getvalue()


class _MarkedPdf(BytesIO):
    """A PDF file with a comment after its first line. The places of its objects are measured while
    they are written, so that the comment cannot be added afterwards."""

    def write(self, data: Any, /) -> int:
        """Write bytes, and the mark after the first line."""
        length = super().write(data)
        if self.tell() == length:
            super().write(PDF_MARK + b"\n")
        return length


def _figure(drawing: Drawing) -> "Figure":
    """Return the figure of a chart: its plots, and the legend below them."""
    from matplotlib.figure import Figure

    # The lines of text below the plots, and the plots above.
    notes = list(chain.from_iterable(map(_folded, filter(None, [drawing.about, *drawing.notes]))))
    names = _names(drawing)
    widest = max((cell_len(line) for name in names for line in _folded(name)), default=0)
    num_columns = max(1, min(len(names), MAX_LETTERS // (widest + 10)))
    num_lines = sum(len(_folded(name)) for name in names) // num_columns + 1 + len(notes)
    num_across = max(map(len, drawing.rows))
    height = HEIGHT if num_across == 1 else HEIGHT * 2 / num_across
    figure = Figure(
        figsize=(WIDTH, len(drawing.rows) * height + (num_lines + 1) * LINE_HEIGHT),
        layout="constrained",
    )
    if drawing.title:
        figure.suptitle("\n".join(_folded(drawing.title)))

    # A grid of plots.
    handles: dict[str, Line2D] = {}
    for row, plots in enumerate(drawing.rows):
        for column, plot in enumerate(plots):
            axes = figure.add_subplot(len(drawing.rows), num_across, row * num_across + column + 1)
            handles |= _draw_plot(axes, plot)

    # The legend gets the names afterwards: it would leave out those that begin with an underscore.
    if handles:
        legend = figure.legend(
            list(handles.values()),
            list(map(str, range(len(handles)))),
            loc="outside lower center",
            ncols=num_columns,
            frameon=False,
            handlelength=3.2,
        )
        for text, name in zip(legend.get_texts(), handles, strict=True):
            text.set_text("\n".join(_folded(name)))
    if notes:
        figure.supxlabel("\n".join(notes), fontsize=7.5)
    return figure


def _folded(text: str) -> list[str]:
    """Return the lines of a text that is as wide as the chart at most."""
    return chop_cells(all_visible(text), MAX_LETTERS)


def _names(drawing: Drawing) -> list[str]:
    """Return the names of the lines of a chart, each once."""
    plots = chain.from_iterable(drawing.rows)
    return list(dict.fromkeys(line.name for plot in plots for line in plot.lines if line.mark))


def _draw_plot(axes: "Axes", plot: Plot) -> dict[str, Any]:
    """Draw a plot, and return its lines by their names, for the legend."""
    axes.set_title(all_visible(plot.heading), loc="left", fontweight="bold")
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    for axis, ticks in ((axes.xaxis, plot.x_ticks), (axes.yaxis, plot.y_ticks)):
        axis.set_ticks([place for place, _ in ticks], [label for _, label in ticks])
    axes.set_xlim(plot.x_ticks[0][0], plot.x_ticks[-1][0])
    axes.set_ylim(plot.y_ticks[0][0], plot.y_ticks[-1][0])
    if plot.caption:
        axes.set_xlabel(f"{plot.x_label}\n{plot.caption}")

    handles = {}
    for turn, line in enumerate(plot.lines):
        if line.mark:
            handles[line.name] = _draw_line(axes, line, turn=turn, num_lines=len(plot.lines))
        else:
            axes.scatter(
                [x for x, _ in line.points],
                [y for _, y in line.points],
                s=7,
                color=HEX_COLOURS[line.colour],
                linewidths=0,
                alpha=0.6,
                clip_on=False,
            )
    return handles


def _draw_line(axes: "Axes", line: Line, *, turn: int, num_lines: int) -> Any:
    """Draw a line with its marks, which alternate with the marks of the other lines, so that equal
    lines can be told apart."""
    colour = HEX_COLOURS[line.colour]
    marker, is_filled = MARKERS[line.mark]
    step = max(num_lines, math.ceil(len(line.points) / NUM_MARKS))
    first = min(turn, max(0, len(line.points) - 1))
    [drawn] = axes.plot(
        [x for x, _ in line.points],
        [y for _, y in line.points],
        color=colour,
        linestyle=line.dashes,
        linewidth=1.4,
        marker=marker,
        markersize=5,
        markerfacecolor=colour if is_filled else "white",
        markevery=slice(first, None, step),
        clip_on=False,
        # Grey is what others are compared with.
        zorder=1.5 if line.colour == GREY else 2,
    )
    return drawn

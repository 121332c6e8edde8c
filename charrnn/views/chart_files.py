"""Draw charts in files: lines between two axes, by matplotlib, for a printed page.

`views.drawing` describes a chart, and draws it in a terminal. Here the same description becomes an
SVG, a PNG or a PDF: on light paper, as wide as the text of an A4 page, with a legend below. A line
has the colour of its name in COLOURS and the mark that it has in a terminal.
"""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import chain
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.cells import chop_cells

from charrnn.system.progress import warn
from charrnn.views.chart_fonts import FAMILY, FONTS_OF_READER, ChartFonts, find_fonts
from charrnn.views.drawing import GREY, Drawing, Plot, PlotLine
from charrnn.views.matplotlib_settings import matplotlib_with
from charrnn.views.theme import all_visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D

WIDTH = 6.3
"""Width of a chart in inches: 16 cm, the text of an A4 page between margins of 2.5 cm."""
HEIGHTS = (3.4, 2.6, 2.3)
"""Height of one of as many plots side by side, in inches."""
LINE_HEIGHT = 0.17
"""Height of a line of text, in inches."""
MARGIN = 0.05
"""Space around the texts, in inches."""
MAX_LETTERS = 84
"""Columns of text in a line as wide as the chart; a narrow letter has one column, a Chinese one
two."""
MIN_LETTERS = 34
"""Columns of text in a line of the widest letters."""
MAX_COLUMNS = 6
"""The largest number of columns of a legend."""
PNG_DPI = 300
"""Pixels per inch of a PNG, as printers need them; an SVG and a PDF have no pixels."""
INK = "#1e1e22"
"""The colour of text and axes."""
HEX_COLOURS = {
    "blue": "#0072b2",
    "red": "#d55e00",
    "default": INK,
    "cyan": "#56b4e9",
    "yellow": "#e69f00",
    "green": "#009e73",
    "magenta": "#cc79a7",
    GREY: "#8a8a8a",
}
"""The colours of lines by their names in a terminal, which people who see no red or no green can
tell apart (Okabe & Ito 2008, Color universal design)."""
SVG_ATTRIBUTES = b'class="charrnn" role="img" xml:space="preserve"'
"""Attributes of an SVG: its mark, for screen readers that it is a picture, and for names that have
several blanks that these stay."""
METADATA: Mapping[str, Mapping[str, str | None]] = {
    "svg": {"Creator": "charrnn", "Date": None},
    "png": {"Software": "charrnn"},
    "pdf": {"Creator": "charrnn", "CreationDate": None},
}
"""What each format has beside the title: who wrote it, and no date."""
PDF_MARK = b"% charrnn"
"""A comment near the beginning of a PDF."""
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
DOT_AREA = 18
"""Area of a dot of a cloud, in square points."""
NUM_MARKS = 8
"""The largest number of marks on a line."""
SETTINGS: Mapping[str, Any] = {
    "font.sans-serif": [FAMILY, "Verdana", "Arial", "Helvetica"],
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

    One needs it to write a chart that a terminal draws in dots to a file: lines of
    `PlotLine.points`, gaps where a value is not finite, with `Plot.x_label` and `Plot.y_label` as
    the titles of the axes, the headings of the plots, and a legend of all names.

    The settings of matplotlib in this process, of the user and of the current folder neither change
    the chart nor are they changed. The same chart is the same bytes.

    Args:
        drawing: The chart.
        format: `svg`, `png` or `pdf`.
        title: The title in the data of the file, which is not drawn.

    Returns:
        The content of the file. `views.delivery` has the mark that is in its first 1,000 bytes.

    Example:
        >>> line = PlotLine("chance", points=[(1, 0.5), (2, 0.5)], colour=GREY, mark="×")
        >>> plot = line_plot([line], x_label="distance (characters)", y_label="effect (nats)")
        >>> draw_chart(Drawing("", rows=[[plot]]), "svg")[:5]
        b'<?xml'
    """
    texts = _texts(drawing)
    with matplotlib_with(SETTINGS):
        import matplotlib

        fonts = FONTS_OF_READER
        if format != "svg":
            fonts = find_fonts(texts)
        matplotlib.rcParams["font.family"] = [*fonts.families]
        figure = _figure(drawing, fonts)
        content = _content(figure, format, title=all_visible(title))

    if letters := fonts.missing_letters("".join(texts)):
        warn(
            f"no font of this machine has {letters}: the chart has the numbers of these characters"
            " in their place; install a font that has them, or export a .svg, which is drawn with"
            " the fonts of its reader"
        )
    return content


def draw_in_page(drawing: Drawing, title: str) -> str:
    """Draw a chart as an <svg> element, which a page contains.

    A page is a file of HTML with other things on it; `draw_chart` returns a whole file.
    """
    picture = draw_chart(drawing, "svg", title=title).decode("utf-8")
    # Inside of a page, XML is not declared.
    return picture[picture.index("<svg") :]


def _content(figure: "Figure", format: str, title: str) -> bytes:
    """Return the content of a file with a figure, which has a mark and no date."""
    file = _MarkedPdf() if format == "pdf" else BytesIO()
    figure.savefig(file, format=format, dpi=PNG_DPI, metadata={"Title": title, **METADATA[format]})
    content = file.getvalue()
    if format == "svg":
        content = content.replace(b"<svg ", b"<svg %b " % SVG_ATTRIBUTES, 1)
    return content


class _MarkedPdf(BytesIO):
    """A PDF file with a comment after its first line. The places of its objects are measured while
    they are written, so that the comment cannot be added afterwards."""

    def write(self, data: Any, /) -> int:
        """Write bytes, and the mark after the first line."""
        length = super().write(data)
        if self.tell() == length:
            super().write(PDF_MARK + b"\n")
        return length


def _texts(drawing: Drawing) -> list[str]:
    """Return all texts of a chart."""
    texts = [drawing.title, drawing.about, *drawing.notes]
    for plot in chain.from_iterable(drawing.rows):
        texts += [plot.heading, plot.x_label, plot.y_label, plot.caption]
        texts += [label for _, label in (*plot.x_ticks, *plot.y_ticks)]
        texts += [line.name for line in plot.lines]
    return texts


def _figure(drawing: Drawing, fonts: ChartFonts) -> "Figure":
    """Return the figure of a chart: its title, its plots, the legend and the notes, one below the
    other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    FigureCanvasAgg(figure)
    num_rows = len(drawing.rows)
    num_columns = max(map(len, drawing.rows))

    handles: dict[str, Line2D] = {}
    for row, plots in enumerate(drawing.rows):
        for column, plot in enumerate(plots):
            axes = figure.add_subplot(num_rows, num_columns, row * num_columns + column + 1)
            handles |= _draw_plot(axes, plot, fonts)

    # The texts stand above and below the plots.
    title = _folded([drawing.title], fonts)
    notes = _folded([drawing.about, *drawing.notes], fonts)
    usual_height = HEIGHTS[min(num_columns, len(HEIGHTS)) - 1]
    heights = [max(plot.inches or usual_height for plot in plots) for plots in drawing.rows]
    figure.set_size_inches(WIDTH, sum(heights))
    legend = _legend(figure, handles, fonts)
    below = MARGIN + LINE_HEIGHT * len(notes)
    above = LINE_HEIGHT * len(title)
    if legend is not None:
        below += legend.get_window_extent().height / figure.dpi
    height = above + figure.get_figheight() + below
    figure.set_figheight(height)
    figure.set_layout_engine(
        "constrained", rect=(0, below / height, 1, 1 - (above + below) / height)
    )
    if legend is not None:
        legend.set_bbox_to_anchor((0, LINE_HEIGHT * len(notes) / height, 1, 1))
    figure.text(0.01, 1 - MARGIN / height, "\n".join(title), va="top", fontweight="bold")
    figure.text(0.01, MARGIN / height, "\n".join(notes), va="bottom")
    return figure


def _folded(sentences: Sequence[str], fonts: ChartFonts) -> list[str]:
    """Return the lines of sentences that are as wide as the chart at most."""
    lines = []
    for sentence in sentences:
        lines += wrap(fonts.drawn(sentence), width=MAX_LETTERS)
    return lines


def _legend(
    figure: "Figure", handles: "Mapping[str, Line2D]", fonts: ChartFonts
) -> "Legend | None":
    """Return the legend of lines, below the plots, in as many columns as there is room for; None
    without lines."""
    if not handles:
        return None
    names = list(map(fonts.drawn, handles))
    # Names that are too long for a single column are divided.
    layouts = []
    for num in range(min(len(names), MAX_COLUMNS), 0, -1):
        # As many columns as the rows need: five names stand in rows of three and two.
        num_rows = math.ceil(len(names) / num)
        layouts.append((math.ceil(len(names) / num_rows), MAX_LETTERS))
    layouts += [(1, width) for width in range(MAX_LETTERS, MIN_LETTERS - 1, -10)]
    for num_columns, width in layouts:
        # The names come afterwards: a legend leaves out those that begin with an underscore.
        legend = figure.legend(
            list(handles.values()),
            ["name"] * len(names),
            loc="lower center",
            ncols=num_columns,
            frameon=False,
            handlelength=3.6,
        )
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set_text("\n".join(chop_cells(name, width)))
        if legend.get_window_extent().width <= figure.dpi * WIDTH:
            break
        legend.remove()
    return legend


def _draw_plot(axes: "Axes", plot: Plot, fonts: ChartFonts) -> dict[str, Any]:
    """Draw a plot, and return its lines by their names, for the legend."""
    axes.set_title(fonts.drawn(plot.heading), loc="left", fontweight="bold")
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
        elif line.bar_width:
            axes.plot(
                [x for x, _ in line.points],
                [y for _, y in line.points],
                color=HEX_COLOURS[line.colour],
                linewidth=line.bar_width,
                solid_capstyle="butt",
            )
        else:
            axes.scatter(
                [x for x, _ in line.points],
                [y for _, y in line.points],
                s=DOT_AREA,
                color=HEX_COLOURS[line.colour],
                linewidths=0,
                alpha=0.6,
                clip_on=False,
            )
    return handles


def _draw_line(axes: "Axes", line: PlotLine, *, turn: int, num_lines: int) -> Any:
    """Draw a line with its marks, which alternate with the marks of the other lines, so that equal
    lines can be told apart."""
    colour = HEX_COLOURS[line.colour]
    marker, is_filled = MARKERS[line.mark]
    step = max(1, math.ceil(len(line.points) / NUM_MARKS))
    first = turn * step // num_lines
    [drawn] = axes.plot(
        [x for x, _ in line.points],
        [y for _, y in line.points],
        color=colour,
        linestyle=line.dashes,
        linewidth=1.5,
        marker=marker,
        markersize=5,
        markerfacecolor=colour if is_filled else "white",
        markevery=slice(first, None, step),
        clip_on=False,
        # Grey is what others are compared with.
        zorder=1.5 if line.colour == GREY else 2,
    )
    # Without a point it would need room in the corner of the figure.
    drawn.set_in_layout(False)
    return drawn

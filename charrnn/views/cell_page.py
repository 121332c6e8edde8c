"""Draw the page of a cell: passages first, then its values, what sets it, what it writes, and cells
like it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from charrnn.cells import findings as records
from charrnn.cells.analysis import sections
from charrnn.cells.gates import GATE_NAMES
from charrnn.views.heatmap import HeatMap, fold, scale_pictures
from charrnn.views.tables import ablation_table
from charrnn.views.theme import (
    ASCII_BLOCKS,
    BLOCKS,
    LINE_ENDS,
    Scale,
    all_visible,
    quoted_character,
    scale_of,
    visible,
)

PLACE_OF_ABLATION = 50
"""The place of the ablation among the sections of a page: see `CellSection.place`."""
KINDS = {"decile": "tenth"}
"""How a kind of passages is called, if not by its name."""
ABOUT_PASSAGES = (
    "top and bottom: its highest and lowest values; tenth 10 to 1: one passage from each tenth of"
    " its values, the highest tenth first"
)
"""What the passages of a page are."""
LABEL_WIDTH = 27
"""Columns beside a passage that say which one it is, where it is, and the value it was chosen for.
"""
LINES_OF_EXTREMES = 2
"""Lines of a top or bottom passage; one of a decile has a single line."""
SHARE_BEFORE = 2 / 3
"""The share of a passage that stands before the character it was chosen for, if it is too long for
its lines."""
BARS_HEIGHT = 4
"""Lines of the histogram and of the autocorrelation."""
NUM_AFTER = 6
"""Characters that are listed after which the mean value is highest, and lowest."""
MIN_AFTER = 20
"""Occurrences that a character needs for that."""
NUM_ABLATED = 4
"""Detectors inside and outside of whose spans the contribution is shown: those with the largest."""


def page_pictures(page: records.CellPage, *, has_sparkline: bool = False) -> list[RenderableType]:
    """Draw a page for any width: the passages, then every section that was measured."""
    where = f"Where cell {page.layer}:{page.unit} is high and low"
    pictures = passages_pictures(where, page.passages, has_sparkline=has_sparkline)
    pictures += [Text(), *values_pictures(page.values)]
    drawn = [(PLACE_OF_ABLATION, [] if page.ablation is None else ablation_pictures(page.ablation))]
    for section in sections():
        if (result := page.sections.get(section.name)) is not None:
            title = [Text(section.title, style="bold")] if section.title else []
            drawn.append((section.place, [*title, *result.view()]))
    for _, of_section in sorted(drawn, key=lambda pair: pair[0]):
        pictures += [Text(), *of_section] if of_section else []
    correlated = "   ".join(
        f"{one.layer}:{one.unit} {one.correlation:+.2f}" for one in page.values.correlated
    )
    return [
        *pictures,
        Text(),
        Text("Most correlated cells", style="bold"),
        Text(f"  {correlated or 'none'}"),
    ]


def passages_pictures(
    title: str, passages: Sequence[records.CellPassage], *, has_sparkline: bool = False
) -> list[RenderableType]:
    """Draw the passages of a cell, all on one scale, below a title."""
    drawn = PassageList(passages, has_sparkline)
    return [
        Text(title, style="bold"),
        *scale_pictures(drawn.scale),
        drawn,
        Text(ABOUT_PASSAGES, style="dim"),
    ]


def summary_pictures(page: records.CellPage, detector: str | None = None) -> list[RenderableType]:
    """Draw the contribution of a cell and the lines with which the results of sections summarize
    it.

    The contribution is also that inside the spans of `detector`, or else of the one where it is
    largest.
    """
    grid = Table.grid(padding=(0, 2, 0, 0))
    if page.ablation is not None:
        grid.add_row("ablated", Text(contribution_text(page.ablation, detector)))
    for section in sections():
        if section.summary is not None and (result := page.sections.get(section.name)) is not None:
            for name, line in section.summary(result).items():
                grid.add_row(name, Text(line, overflow="fold"))
    return [grid] if grid.row_count else []


def contribution_text(ablation: records.Ablation, detector: str | None = None) -> str:
    """Say by how much the loss rises: in all, and inside and outside the spans of a detector, as
    `summary_pictures`."""
    whole = f"loss {ablation.change:+.4f} nats/character"
    by_name = {effect.detector: effect for effect in ablation.effects}
    effect = by_name.get(detector or "") or max(
        ablation.effects, key=lambda one: one.change_inside, default=None
    )
    if effect is None:
        return whole
    inside, outside = _places(effect)
    return f"{whole}; {inside} {effect.change_inside:+.4f}, {outside} {effect.change_outside:+.4f}"


def ablation_pictures(ablation: records.Ablation) -> list[RenderableType]:
    """Draw how much the loss rises while a cell is clamped, over all characters and at the
    detectors with the most."""
    largest = sorted(ablation.effects, key=lambda effect: -abs(effect.change_inside))[:NUM_ABLATED]
    title = f"Ablated: rise of the loss over {ablation.num_chars:,} characters"
    return [Text(title, style="bold"), ablation_table(replace(ablation, effects=tuple(largest)))]


def _places(effect: records.AblationEffect) -> tuple[str, str]:
    name = all_visible(effect.detector)
    return (f"{name} over 0", "at 0") if effect.is_count else (f"inside {name}", "outside")


@dataclass(frozen=True)
class PassageList:
    """A renderable of passages, coloured, each beside its kind, its line of the text and its
    value."""

    passages: Sequence[records.CellPassage]
    has_blocks: bool = False
    """As in `HeatMap`."""

    @cached_property
    def scale(self) -> Scale:
        """The scale of all passages."""
        return scale_of(value for passage in self.passages for value in passage.values)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(1, options.max_width - LABEL_WIDTH - 1)
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=LABEL_WIDTH, no_wrap=True)
        grid.add_column(width=width)
        for passage in self.passages:
            is_decile = passage.kind == "decile"
            where = f" line {passage.line}" if is_decile else f"\nline {passage.line:,}"
            name = f"{KINDS.get(passage.kind, passage.kind)} {passage.rank}".ljust(10)
            label = Text.assemble(name, (f"{passage.value:+.2f}", "bold"), (where, "dim"))
            part = fitted(passage, width, 1 if is_decile else LINES_OF_EXTREMES)
            grid.add_row(label, HeatMap(part, self.has_blocks, self.scale))
        yield grid


def fitted(passage: records.CellPassage, width: int, num_lines: int) -> records.ColouredText:
    """Return the part of a passage around its character that fits so many lines, which are broken
    at spaces."""
    for num_columns in range(width * num_lines, width, -1):
        shown = clipped(passage, num_columns)
        if (
            len(list(fold(zip(shown.text, shown.values, strict=True), width, ascii_only=False)))
            <= num_lines
        ):
            return shown
    return clipped(passage, width)


def clipped(passage: records.CellPassage, num_columns: int) -> records.ColouredText:
    """Return the part of a passage around its character that fits so many columns, its line ends as
    marks."""
    at = passage.index - passage.begin
    shown, widths = [], []
    for place, character in enumerate(passage.text):
        # ↵ stands for a carriage return before it, too.
        mark = "" if passage.text.startswith("\r\n", place) else visible(character)
        shown.append(mark if character in LINE_ENDS or character == "\r" else character)
        widths.append(cell_len(mark))
    begin = end = at
    used, before = 0, 0
    # Grow in both directions, so that SHARE_BEFORE of the columns are before the character as long
    # as there are any.
    while begin > 0 or end < len(shown):
        goes_back = begin > 0 and (end == len(shown) or before < SHARE_BEFORE * used)
        place = begin - 1 if goes_back else end
        if used + widths[place] > num_columns:
            break
        used += widths[place]
        if goes_back:
            begin, before = place, before + widths[place]
        else:
            end = place + 1
    text = "".join(shown[begin:end])
    values = tuple(
        value
        for part, value in zip(shown[begin:end], passage.values[begin:end], strict=True)
        for _ in part
    )
    return records.ColouredText(text=text, values=values)


def values_pictures(values: records.CellValues) -> list[RenderableType]:
    """Draw the histogram and the autocorrelation of a cell's values, its timescale, gates, and
    values by character."""
    lines = [
        f"mean {values.mean:+.3f}, standard deviation {values.spread:.3f}",
        timescale_text(values),
        *([gates_text(values)] if values.gates else []),
    ]
    return [
        Text(f"Values over {values.num_chars:,} characters", style="bold"),
        ValueCharts(values),
        *(Text(f"  {line}") for line in lines),
        Text("Mean value after a character", style="bold"),
        *after_lines(values.after_characters),
    ]


@dataclass(frozen=True)
class ValueCharts:
    """A renderable of the histogram and the autocorrelation as bars, side by side or, in few
    columns, below."""

    values: records.CellValues

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ascii_only = options.ascii_only
        histogram = bars([float(count) for count in self.values.histogram], ascii_only=ascii_only)
        histogram.append("-1" + "0".center(records.NUM_BINS - 4) + "+1")
        # A bar of height 0 is no correlation or a negative one, which the numbers of the record
        # show.
        curve = bars(
            [max(0.0, one) for one in self.values.autocorrelation], 1.0, ascii_only=ascii_only
        )
        lags = self.values.lags
        curve.append(f"1{lags[-1]:>{len(lags) - 1}}" if len(lags) > 4 else "")
        grid = Table.grid(padding=(0, 3, 0, 2))
        charts = (("histogram", histogram), ("autocorrelation by lag", curve))
        cells = [Text("\n".join((title, *chart)), no_wrap=True) for title, chart in charts]
        for row in (
            [cells]
            if options.max_width >= records.NUM_BINS + len(lags) + 10
            else [[cell] for cell in cells]
        ):
            grid.add_row(*row)
        yield grid


def bars(numbers: Sequence[float], largest: float | None = None, *, ascii_only: bool) -> list[str]:
    """Return the lines of a chart of bars, one column each, as high as numbers (n,) from 0 to the
    largest."""
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    largest = max(numbers, default=0.0) if largest is None else largest
    steps = len(blocks) * BARS_HEIGHT
    heights = [
        math.ceil(steps * min(1.0, number / largest)) if largest > 0 else 0 for number in numbers
    ]
    lines = []
    for level in range(BARS_HEIGHT - 1, -1, -1):
        filled = [min(len(blocks), max(0, height - level * len(blocks))) for height in heights]
        lines.append("".join(blocks[number - 1] if number else " " for number in filled))
    return lines


def characters_text(number: float) -> str:
    """Return a number of characters with three significant digits, if it has no more before the
    point."""
    return f"{number:,.0f} characters" if number >= 999.5 else f"{number:.3g} characters"


def timescale_text(values: records.CellValues) -> str:
    """Say the timescale of a cell, and where it comes from."""
    if values.timescale_from == records.FROM_AUTOCORRELATION:
        source = "from the autocorrelation"
    else:
        source = f"mean of the {GATE_NAMES.get(values.timescale_from, values.timescale_from)} gate"
    if values.timescale is None:
        why = "longer than can be measured" if values.autocorrelation else "of a constant cell"
        return f"timescale {why} ({source})"
    said = f"timescale {characters_text(values.timescale)} ({source})"
    if values.timescale_from != records.FROM_AUTOCORRELATION and values.decay is not None:
        said += f"; the autocorrelation falls to 1/e after {characters_text(values.decay)}"
    return said


def gates_text(values: records.CellValues) -> str:
    """Say at which share of the characters each gate is open and closed."""
    parts = (
        f"{GATE_NAMES.get(one.gate, one.gate)} {one.open:.0%} / {one.closed:.0%}"
        for one in values.gates
    )
    return f"gates open / closed: {', '.join(parts)}"


def after_lines(after: Sequence[records.AfterCharacter]) -> list[RenderableType]:
    """Draw the characters after which the mean is highest, and those after which it is lowest."""
    frequent = sorted((one for one in after if one.count >= MIN_AFTER), key=lambda one: -one.mean)
    lines: list[RenderableType] = []
    for name, some in (("highest", frequent[:NUM_AFTER]), ("lowest ", frequent[::-1][:NUM_AFTER])):
        shown = "   ".join(f"{quoted_character(one.character)} {one.mean:+.2f}" for one in some)
        lines.append(
            Text(f"  {name}  {shown or f'no character occurs {MIN_AFTER} times'}", overflow="fold")
        )
    return lines

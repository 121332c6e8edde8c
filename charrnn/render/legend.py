"""Draw the scale of a heat map."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment

from charrnn.render.heatmap import MAX_BITS
from charrnn.render.palette import ASCII_BLOCKS, BLOCKS, block, is_plain, value_style

LEGEND_WIDTH = 21
"""Columns of the scale without its ends."""


@dataclass(frozen=True)
class Legend:
    """A renderable of the scale between two ends, in colours or, on a console without colours, in blocks.

    Colours go from the cell value `first` to `last`.
    """

    ends: tuple[str, str] = ("-1", "+1")
    first: float = -1.0
    last: float = 1.0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plain = is_plain(console)
        blocks = ASCII_BLOCKS if options.ascii_only else BLOCKS
        yield Segment(f"{self.ends[0]} ")
        for index in range(LEGEND_WIDTH):
            share = index / (LEGEND_WIDTH - 1)
            value = self.first + (self.last - self.first) * share
            yield Segment(block(2 * share - 1, blocks)) if plain else Segment(" ", value_style(value))
        yield Segment(f" {self.ends[1]}")
        yield Segment.line()


SURPRISE_LEGEND = Legend(("0", f"{MAX_BITS:g} bits or more"), 0.0, -1.0)
"""The scale of a `SurpriseMap`."""

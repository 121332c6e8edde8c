"""Draw the scale of a heat map."""

from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from charrnn.views.heatmap import ASCII_UNDERLINE, MAX_BITS, UNDERLINE, UNDERLINED
from charrnn.views.palette import ASCII_BLOCKS, BLOCKS, block, is_plain, palette_of

LEGEND_WIDTH = 21
"""Columns of the scale without its ends, where they fit."""
GAP = "   "
"""What is between the scale and the sample of an underline, if both fit into one line."""


@dataclass(frozen=True)
class Legend:
    """A renderable of the scale between two ends, in colours or, on a console without colours, in blocks.

    What is underlined is on a line of its own, wrapped at words, where the scale leaves no space for it.

    The colours are those of cell values from -1 to +1, or those of a `hue` from 0 to its full colour.
    """

    ends: tuple[str, str] = ("-1", "+1")
    hue: str = ""
    underlined: str = ""
    """What is underlined in the text, if anything."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plain, palette = is_plain(console), palette_of(console)
        blocks = ASCII_BLOCKS if options.ascii_only else BLOCKS
        width_of_ends = cell_len("".join(self.ends)) + 2
        length = max(2, min(LEGEND_WIDTH, options.max_width - width_of_ends))
        yield Segment(f"{self.ends[0]} ")
        for index in range(length):
            share = index / (length - 1)
            style = palette.share(self.hue, share) if self.hue else palette.value(2 * share - 1)
            yield Segment(block(2 * share - 1, blocks)) if plain else Segment(" ", style)
        yield Segment(f" {self.ends[1]}")
        if not self.underlined:
            yield Segment.line()
            return
        mark = f"{ASCII_UNDERLINE if options.ascii_only else UNDERLINE} below:" if plain else "underlined:"
        sample = Text.assemble((mark, UNDERLINED), f" {self.underlined}")
        fits = width_of_ends + length + len(GAP) + sample.cell_len <= options.max_width
        yield Segment(GAP) if fits else Segment.line()
        yield from console.render(sample, options)


SURPRISE_LEGEND = Legend(("0", f"{MAX_BITS:g} bits or more"), "surprise")
"""The scale of a `SurpriseMap`."""

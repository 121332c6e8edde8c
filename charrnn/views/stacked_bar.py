"""A bar that is divided into parts, with a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from charrnn.views.charts import STYLES
from charrnn.views.palette import is_plain

MAX_WIDTH = 80
"""Columns of a bar, at most."""
FILLS = "█▓▒░▞·"
"""What the parts consist of, in turn, on a console without colours."""
ASCII_FILLS = "#+=:x."
"""The same for streams that carry ASCII only."""


@dataclass(frozen=True)
class StackedBar:
    """A renderable of shares that add up to 1: a bar as wide as the console, and a legend with the percentages.

    Parts differ in colour or, on a console without colours, in what they consist of.
    """

    parts: Sequence[tuple[str, float]]
    """The name and the share of each part."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plain = is_plain(console)
        fills = ASCII_FILLS if options.ascii_only else FILLS if plain else "█"
        bar = Text(no_wrap=True, overflow="crop")
        legend = [Text(no_wrap=True, overflow="crop")]
        widths = part_widths([share for _, share in self.parts], min(MAX_WIDTH, options.max_width))
        for number, ((name, share), width) in enumerate(zip(self.parts, widths, strict=True)):
            style = "" if plain else STYLES[number % len(STYLES)]
            fill = fills[number % len(fills)]
            bar.append(fill * width, style)
            entry = Text.assemble((fill, style), f" {name} {share:.1%}")
            if legend[-1] and legend[-1].cell_len + 2 + entry.cell_len > options.max_width:
                legend.append(Text(no_wrap=True, overflow="crop"))
            legend[-1].append("  " if legend[-1] else "").append_text(entry)
        yield bar
        yield from legend


def part_widths(shares: Sequence[float], width: int) -> list[int]:
    """Divide `width` columns among shares that add up to 1 (or are all 0): every edge is at its nearest column."""
    edges = [round(width * min(1.0, total)) for total in accumulate(shares, initial=0.0)]
    return [end - begin for begin, end in pairwise(edges)]

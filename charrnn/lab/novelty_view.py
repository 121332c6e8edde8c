"""Draw a text with its copies marked: in colours or, on a console without colours, underlined."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice

from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style

from charrnn.generation.records import Novelty
from charrnn.views.heatmap import draw

STYLES = (
    Style(),
    Style(color="rgb(255,255,255)", bgcolor="rgb(176,80,0)"),
    Style(color="rgb(255,255,255)", bgcolor="rgb(0,105,110)"),
)
"""Styles of text that is not copied, and of copies alternately, so that adjacent copies differ."""
LINES = " ━═"
"""The same as lines below the text."""
ASCII_LINES = " -="
"""The same for streams that carry ASCII only."""


@dataclass(frozen=True)
class CopiedText:
    """A renderable that marks the copies in a text, folded at the width of the console.

    A character in several copies belongs to the longest. Without colour (or with `strip`) the marks are lines below the
    text. Bytes are decoded as UTF-8; a character counts as copied if all of its bytes are.
    """

    novelty: Novelty
    strip: bool | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = ASCII_LINES if options.ascii_only else LINES
        characters = _marked_characters(self.novelty)
        yield from draw(characters, console, options, STYLES.__getitem__, lines.__getitem__, self.strip)


def _marked_characters(novelty: Novelty) -> Iterator[tuple[str, int]]:
    text, marks = novelty.text, _marks(novelty)
    if isinstance(text, str):
        yield from zip(text, marks, strict=True)
        return
    for character in text.decode("utf-8", "surrogateescape"):
        num_bytes = len(character.encode("utf-8", "surrogateescape"))
        yield character, min(islice(marks, num_bytes))


def _marks(novelty: Novelty) -> Iterator[int]:
    """Yield for each character (byte) 0 if it is not copied, else 1 or 2, alternating from copy to copy."""
    remaining = list(reversed(novelty.copies))
    # A heap, longest first: marking one copy after the other takes quadratic time in a periodic text.
    here: list[tuple[int, int, int]] = []
    mark, last_start = 2, -1
    for position in range(len(novelty.text)):
        while remaining and remaining[-1].start == position:
            copy = remaining.pop()
            heappush(here, (-copy.length, copy.start, copy.stop))
        while here and here[0][2] <= position:
            heappop(here)
        if not here:
            yield 0
            continue
        _, start, _ = here[0]
        if start != last_start:
            mark, last_start = 3 - mark, start
        yield mark

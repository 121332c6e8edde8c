"""Draw a text with one value per character, as colours or as blocks below each line."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from charrnn.records.microscope import ColouredText
from charrnn.render.palette import ASCII_BLOCKS, BLOCKS, block, is_plain, palette_of
from charrnn.render.visible import LINE_ENDS, visible, visible_in_ascii

MAX_BITS = 8.0
"""Surprise from which on the colour no longer changes: probability 1/256."""

Value = TypeVar("Value")
"""What a character is drawn by: a cell value, a number of bits, a mark."""


@dataclass(frozen=True)
class HeatMap:
    """A renderable that colours a `ColouredText`, folded at the width of the console.

    Without colour (or with `strip`), a line of blocks under each line of text shows the values instead.
    """

    coloured: ColouredText
    strip: bool | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        blocks = ASCII_BLOCKS if options.ascii_only else BLOCKS
        characters = zip(self.coloured.text, self.coloured.values, strict=True)
        style_of = palette_of(console).value
        yield from draw(characters, console, options, style_of, lambda value: block(value, blocks), self.strip)


@dataclass(frozen=True)
class SurpriseMap:
    """A renderable that colours each character by its surprise in bits: the stronger, the less the model expected it.

    Without colour (or with `strip`), a line of blocks under each line of text shows the bits instead.
    """

    text: str
    bits: Sequence[float]
    """(N,); nan for a character without a prediction, such as the first."""
    strip: bool | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        blocks = ASCII_BLOCKS if options.ascii_only else BLOCKS
        # Maps 0 to MAX_BITS to all shades of one hue, and to all blocks.
        characters = zip(self.text, (bits / MAX_BITS for bits in self.bits), strict=True)
        yield from draw(
            characters,
            console,
            options,
            palette_of(console).surprise,
            lambda share: block(2 * share - 1, blocks) if share == share else " ",
            self.strip,
        )


def draw(
    characters: Iterable[tuple[str, Value]],
    console: Console,
    options: ConsoleOptions,
    style_of: Callable[[Value], Style],
    mark_of: Callable[[Value], str],
    strip: bool | None,
) -> RenderResult:
    """Draw characters in the style of their values, made visible and folded at the width of the console.

    Without colour each line has its marks below it, unless all are blanks. `strip` adds the marks (true) or leaves them
    out (false), with and without colour.
    """
    plain = is_plain(console)
    for line in fold(characters, options.max_width, ascii_only=options.ascii_only):
        if plain:
            yield Segment("".join(shown for shown, _ in line))
        else:
            for style, segment in groupby(line, key=lambda item: style_of(item[1])):
                text = "".join(shown for shown, _ in segment)
                words = text.lstrip(" ")
                # Separate, because some viewers of an exported picture drop spaces before a word.
                if len(words) < len(text):
                    yield Segment(" " * (len(text) - len(words)), style)
                if words:
                    yield Segment(words, style)
        yield Segment.line()
        marks = "".join(mark_of(value) * cell_len(shown) for shown, value in line).rstrip()
        if marks and (plain if strip is None else strip):
            yield Segment(marks)
            yield Segment.line()


def fold(characters: Iterable[tuple[str, Value]], width: int, *, ascii_only: bool) -> Iterator[list[tuple[str, Value]]]:
    """Yield lines of (shown character, value), broken after a newline or END and where the next one does not fit."""
    line: list[tuple[str, Value]] = []
    used = 0
    for character, value in characters:
        shown = visible_in_ascii(character) if ascii_only else visible(character)
        needed = cell_len(shown)
        if line and used + needed > width:
            yield line
            line, used = [], 0
        line.append((shown, value))
        used += needed
        if character in LINE_ENDS:
            yield line
            line, used = [], 0
    if line:
        yield line

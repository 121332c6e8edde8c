"""A text with one value per character, coloured: red where a cell is low, blue where it is high.

After Karpathy, Johnson & Li (2015), who colour a text by tanh(c): -1 is red, +1 is blue.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from charrnn.records.microscope import ColouredText

LOW = (212, 38, 38)
HIGH = (36, 92, 230)
MIDDLE = (112, 112, 118)
"""Weak values fade into a grey that stands out from dark and light backgrounds alike; white reads on all three."""
NUM_SHADES = 12
"""Shades on either side: neighbours of one shade are drawn as one stretch, which keeps exported pictures small."""
FAINTEST = 1.5 / NUM_SHADES
"""Values nearer to zero than this are left in the terminal's own colours."""
BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-~=+*#"
TAB_WIDTH = 4
LEGEND_WIDTH = 21
MOST_BITS = 8.0
"""Surprisal that is drawn the strongest: one chance in 256."""

Value = TypeVar("Value")


def value_style(value: float) -> Style:
    """The style of a character whose cell has `value` in [-1, 1]; beyond it the nearest end, and nan is 0."""
    strength = round(NUM_SHADES * min(1.0, abs(value))) / NUM_SHADES if value == value else 0.0
    if strength < FAINTEST:
        return Style()
    end = HIGH if value > 0 else LOW
    red, green, blue = (
        round(middle + (full - middle) * strength**0.7) for middle, full in zip(MIDDLE, end, strict=True)
    )
    return Style(color="rgb(255,255,255)", bgcolor=f"rgb({red},{green},{blue})")


def visible(character: str) -> str:
    """How a character is shown: a newline as an arrow, tabs as spaces, control and formatting characters as marks.

    Nothing that could move the cursor or turn the text around gets through.
    """
    if character == "\n":
        return "↵"
    if character == "\t":
        return "→".ljust(TAB_WIDTH)
    code = ord(character)
    if code < 32:
        return chr(0x2400 + code)
    if code == 127:
        return "␡"
    # The last two of every plane are no characters: XML, and so an exported picture, refuses them.
    if (
        128 <= code < 160
        or cell_len(character) == 0
        or 0xD800 <= code < 0xE000
        or _is_bidi(code)
        or code & 0xFFFE == 0xFFFE
    ):
        return f"<{code:02x}>"
    return character


def all_visible(text: str) -> str:
    """A text in one line, each of its characters as `visible` shows it."""
    return "".join(map(visible, text))


def visible_in_ascii(character: str) -> str:
    """As `visible`, for a stream that can carry ASCII only: what it cannot is a backslash escape."""
    if character == "\t":
        return "\\t".ljust(TAB_WIDTH)
    return character if " " <= character <= "~" else character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _is_bidi(code: int) -> bool:
    return 0x200E <= code <= 0x200F or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or code == 0x061C


@dataclass(frozen=True)
class HeatMap:
    """A renderable that colours a `ColouredText`, folded at the width there is.

    Without colour (or with `strip`), a line of blocks under each line of text shows the values instead.
    """

    coloured: ColouredText
    strip: bool | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        blocks = ASCII_BLOCKS if options.ascii_only else BLOCKS
        characters = zip(self.coloured.text, self.coloured.values, strict=True)
        yield from draw(characters, console, options, value_style, lambda value: block(value, blocks), self.strip)


@dataclass(frozen=True)
class SurpriseMap:
    """A renderable that colours each character by its surprisal in bits: the redder, the less the model expected it.

    Without colour (or with `strip`), a line of blocks under each line of text shows the bits instead.
    """

    text: str
    bits: Sequence[float]
    """(N,); nan where nothing predicted the character."""
    strip: bool | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        blocks = ASCII_BLOCKS if options.ascii_only else BLOCKS
        # From 0 to MOST_BITS onto the half of the scale that is red, and onto all of the blocks.
        characters = zip(self.text, (bits / MOST_BITS for bits in self.bits), strict=True)
        yield from draw(
            characters,
            console,
            options,
            lambda share: value_style(-share),
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
    """Characters in the style of their values, made visible and folded at the width there is.

    Without colour they are plain and each line has its marks below it, unless all are blanks. `strip` asks for the
    marks, or refuses them, whether there is colour or not.
    """
    plain = is_plain(console)
    for line in fold(characters, options.max_width, ascii_only=options.ascii_only):
        if plain:
            yield Segment("".join(shown for shown, _ in line))
        else:
            for style, stretch in groupby(line, key=lambda item: style_of(item[1])):
                text = "".join(shown for shown, _ in stretch)
                words = text.lstrip(" ")
                # Apart, because some viewers of an exported picture swallow spaces before a word.
                if len(words) < len(text):
                    yield Segment(" " * (len(text) - len(words)), style)
                if words:
                    yield Segment(words, style)
        yield Segment.line()
        marks = "".join(mark_of(value) * cell_len(shown) for shown, value in line).rstrip()
        if marks and (plain if strip is None else strip):
            yield Segment(marks)
            yield Segment.line()


def block(value: float, blocks: str = BLOCKS) -> str:
    """The block of a value in [-1, 1]: the higher, the fuller; nan is 0."""
    share = (min(1.0, max(-1.0, value)) + 1) / 2 if value == value else 0.5
    return blocks[min(len(blocks) - 1, int(share * len(blocks)))]


def is_plain(console: Console) -> bool:
    return console.color_system is None or console.no_color


def fold(characters: Iterable[tuple[str, Value]], width: int, *, ascii_only: bool) -> Iterator[list[tuple[str, Value]]]:
    """Lines of (what is shown, value): one per line of text, cut where the next character would not fit."""
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
        if character == "\n":
            yield line
            line, used = [], 0
    if line:
        yield line


@dataclass(frozen=True)
class Legend:
    """The scale between two ends, -1 and +1 unless told: in colours or, where there are none, in blocks.

    Colours run from `first` to `last` of a cell's values.
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


SURPRISE_LEGEND = Legend(("0", f"{MOST_BITS:g} bits or more"), 0.0, -1.0)

"""Draw a text with one value per character, as colours or as blocks below each line; scale and
guesses, too."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, repeat, zip_longest
from typing import TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from charrnn.cells.findings import ColouredText
from charrnn.views.theme import LINE_ENDS, Scale, all_visible, block, is_plain, palette_of

MAX_BITS = 8.0
"""Surprise from which on the colour no longer changes: probability 1/256."""

UNDERLINED = Style(underline=True)
"""The style of characters at which a detector is on."""
UNDERLINE = "▔"
"""What stands below such a character without colour."""
ASCII_UNDERLINE = "^"
"""The same for streams that carry ASCII only."""
MIN_FILL = 0.5
"""Share of the width that a line fills at least where it is broken at a space."""

Value = TypeVar("Value")
"""What a character is drawn by: a cell value, a number of bits, a mark."""


@dataclass(frozen=True)
class HeatMap:
    """A renderable that colours a `ColouredText`, folded at the width of the console, and
    underlines its `inside`.

    Without colour (or with `strip`), a line of blocks under each line of text shows the values
    instead, none for nan; without colour, marks stand for the underline.
    """

    coloured: ColouredText
    strip: bool | None = None
    scale: Scale | None = None
    """That from -1 to 1, if None."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        mark = ASCII_UNDERLINE if options.ascii_only else UNDERLINE
        inside = self.coloured.inside or repeat(False, len(self.coloured.text))
        places = map((self.scale or Scale()).place, self.coloured.values)
        characters = zip(self.coloured.text, zip(places, inside, strict=True), strict=True)
        palette = palette_of(console)
        yield from draw(
            characters,
            console,
            options,
            lambda item: palette.value(item[0]) + UNDERLINED if item[1] else palette.value(item[0]),
            lambda item: (
                block(item[0], ascii_only=options.ascii_only) if item[0] == item[0] else " "
            ),
            self.strip,
            lambda item: mark if item[1] else " ",
        )


@dataclass(frozen=True)
class SurpriseMap:
    """A renderable that colours each character by its surprise in bits: the stronger, the less the
    model expected it.

    Without colour (or with `strip`), a line of blocks under each line of text shows the bits
    instead.
    """

    text: str
    bits: Sequence[float]
    """(N,); nan for a character without a prediction, such as the first."""
    strip: bool | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Maps 0 to MAX_BITS to all shades of one hue, and to all blocks.
        yield from draw(
            zip(self.text, (bits / MAX_BITS for bits in self.bits), strict=True),
            console,
            options,
            partial(palette_of(console).share, "surprise"),
            lambda share: (
                block(2 * share - 1, ascii_only=options.ascii_only) if share == share else " "
            ),
            self.strip,
        )


def draw(
    characters: Iterable[tuple[str, Value]],
    console: Console,
    options: ConsoleOptions,
    style_of: Callable[[Value], Style],
    mark_of: Callable[[Value], str],
    strip: bool | None,
    underline_of: Callable[[Value], str] | None = None,
) -> RenderResult:
    """Draw characters in the style of their values, made visible and folded at the width of the
    console.

    Without colour each line has its marks below it, unless all are blanks. `strip` adds the marks
    (true) or leaves them out (false), with and without colour. Without colour the line of
    `underline_of` comes before that of the marks. Of a carriage return and a newline only the
    newline is drawn.
    """
    plain = is_plain(console)
    for line in fold(
        without_carriage_returns(characters), options.max_width, ascii_only=options.ascii_only
    ):
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
        rows = [underline_of] if plain and underline_of is not None else []
        for mark_of_row in [*rows, *[mark_of] * (plain if strip is None else strip)]:
            marks = "".join(mark_of_row(value) * cell_len(shown) for shown, value in line).rstrip()
            if marks:
                yield Segment(marks)
                yield Segment.line()


def fold(
    characters: Iterable[tuple[str, Value]], width: int, *, ascii_only: bool
) -> Iterator[list[tuple[str, Value]]]:
    """Yield lines of (shown character, value), broken after a newline or END and where the next one
    does not fit.

    A line that is too long is broken after its last space, so that words stay whole, unless less
    than MIN_FILL of the width would be filled.
    """
    line: list[tuple[str, Value]] = []
    used = 0
    # How many characters of the line come before its last word, and their width.
    num_before, width_before = 0, 0
    for character, value in characters:
        shown = all_visible(character, ascii_only=ascii_only)
        needed = cell_len(shown)
        while line and used + needed > width:
            if width_before < MIN_FILL * width:
                num_before, width_before = len(line), used
            yield line[:num_before]
            line, used = line[num_before:], used - width_before
            num_before, width_before = 0, 0
        line.append((shown, value))
        used += needed
        if character == " ":
            num_before, width_before = len(line), used
        elif character in LINE_ENDS:
            yield line
            line, used, num_before, width_before = [], 0, 0, 0
    if line:
        yield line


def without_carriage_returns(
    characters: Iterable[tuple[str, Value]],
) -> Iterator[tuple[str, Value]]:
    """Yield all characters but each carriage return before a newline: ↵ stands for both."""
    held: tuple[str, Value] | None = None
    for item in characters:
        if held is not None and item[0] != "\n":
            yield held
        held = item if item[0] == "\r" else None
        if held is None:
            yield item
    if held is not None:
        yield held


LEGEND_WIDTH = 21
"""Columns of the scale without its ends, where they fit."""
GAP = "   "
"""What is between the scale and the sample of an underline, if both fit into one line."""


@dataclass(frozen=True)
class Legend:
    """A renderable of the scale between two ends, in colours or, on a console without colours, in
    blocks.

    What is underlined is on a line of its own, wrapped at words, where the scale leaves no space
    for it.

    The colours are those of cell values from -1 to +1, or those of a `hue` from 0 to its full
    colour.
    """

    ends: tuple[str, str] = ("-1", "+1")
    hue: str = ""
    underlined: str = ""
    """What is underlined in the text, if anything."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plain, palette = is_plain(console), palette_of(console)
        width_of_ends = cell_len("".join(self.ends)) + 2
        length = max(2, min(LEGEND_WIDTH, options.max_width - width_of_ends))
        yield Segment(f"{self.ends[0]} ")
        for index in range(length):
            share = index / (length - 1)
            style = palette.share(self.hue, share) if self.hue else palette.value(2 * share - 1)
            drawn = block(2 * share - 1, ascii_only=options.ascii_only)
            yield Segment(drawn) if plain else Segment(" ", style)
        yield Segment(f" {self.ends[1]}")
        if not self.underlined:
            yield Segment.line()
            return
        mark = (
            f"{ASCII_UNDERLINE if options.ascii_only else UNDERLINE} below:"
            if plain
            else "underlined:"
        )
        sample = Text.assemble((mark, UNDERLINED), f" {self.underlined}")
        fits = width_of_ends + length + len(GAP) + sample.cell_len <= options.max_width
        yield Segment(GAP) if fits else Segment.line()
        yield from console.render(sample, options)


ABOUT_OWN_SCALE = (
    "This scale spans the cell's own values, which differ too little for one from -1 to +1."
)
"""What a scale says that does not go from -1 to 1."""


def scale_pictures(scale: Scale, underlined: str = "") -> list[RenderableType]:
    """Draw the scale of a cell's values, and say so if it is one of its own."""
    legend = Legend(scale.ends, underlined=underlined)
    return [legend, Text(ABOUT_OWN_SCALE, style="dim")] if scale.is_own else [legend]


SURPRISE_LEGEND = Legend(("0", f"{MAX_BITS:g} bits or more"), "surprise")
"""The scale of a `SurpriseMap`."""


ABOUT_GUESSES = (
    "Below each character: the most likely next ones, best first (2 % or more; stronger is more"
    " likely)."
)
"""What is drawn below the characters with --guesses."""
MIN_PROBABILITY = 0.02
"""Guesses less likely than this are not drawn."""
FAINTEST = 0.2
"""The share of the full colour that an unlikely guess has, so that all guesses differ from the
page."""


@dataclass(frozen=True)
class GuessMap:
    """A renderable of a text, coloured by a cell's values, with the guesses below each character,
    most likely first.

    The background of a guess shows its probability. ␣ is a space.
    """

    text: str
    values: Sequence[float]
    guesses: Sequence[Sequence[tuple[str, float]]]
    """For each character of the text: (text, probability) of the guesses for the next one."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plain, palette = is_plain(console), palette_of(console)
        space = "_" if options.ascii_only else "␣"
        characters = zip(self.text, zip(self.values, self.guesses, strict=True), strict=True)
        for line in fold(characters, options.max_width, ascii_only=options.ascii_only):
            for shown, (value, _) in line:
                yield Segment(shown, None if plain else palette.value(value))
            yield Segment.line()
            if plain:
                blocks = (
                    block(value, ascii_only=options.ascii_only) * cell_len(shown)
                    for shown, (value, _) in line
                )
                yield Segment("".join(blocks))
                yield Segment.line()
            likely = [
                [one for one in guesses if one[1] >= MIN_PROBABILITY] for _, (_, guesses) in line
            ]
            for row in zip_longest(*likely, fillvalue=("", 0.0)):
                for (shown, _), (guess, probability) in zip(line, row, strict=True):
                    drawn = (
                        space if guess == " " else all_visible(guess, ascii_only=options.ascii_only)
                    )
                    text = _fit(drawn, cell_len(shown))
                    # The more likely, the stronger; a guess that is not drawn has no background.
                    share = FAINTEST + (1 - FAINTEST) * probability if probability else 0.0
                    yield Segment(text, None if plain else palette.share("guess", share))
                yield Segment.line()
            yield Segment.line()


def _fit(text: str, width: int) -> str:
    """Cut or pad a guess to the width of the character above it; a dot if its first character is
    wider."""
    while cell_len(text) > width:
        text = text[:-1] if len(text) > 1 else "·"
    return text + " " * (width - cell_len(text))

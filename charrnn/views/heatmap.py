"""Draw a text with one value per character, as colours or as blocks below each line; scale and
guesses, too."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise, repeat, zip_longest
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from charrnn.cells.findings import ColouredText
from charrnn.views.theme import (
    FULL_SCALE,
    LINE_ENDS,
    Scale,
    Value,
    all_visible,
    block,
    clusters,
    end_note,
    is_plain,
    palette_of,
    visible,
    visible_in_ascii,
)

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


@dataclass(frozen=True)
class HeatMap:
    """A renderable that colours a `ColouredText`, folded at the width of the console, and
    underlines its `inside`.

    Without colour, a line of blocks under each line of text shows the values
    instead, none for nan; without colour, marks stand for the underline.
    """

    coloured: ColouredText
    scale: Scale = FULL_SCALE
    hue: str = ""
    """The one hue of values that have a single end; "" for the palette from low to high."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        palette = palette_of(console)
        underline = ASCII_UNDERLINE if options.ascii_only else UNDERLINE

        def style_of(drawn: _DrawnValue) -> Style:
            style = palette.value(drawn.place)
            if self.hue:
                style = palette.share(self.hue, (drawn.place + 1) / 2)
            if drawn.is_inside:
                style += UNDERLINED
            return style

        def block_of(drawn: _DrawnValue) -> str:
            return _block_or_blank(drawn.place, ascii_only=options.ascii_only)

        def underline_of(drawn: _DrawnValue) -> str:
            return underline if drawn.is_inside else " "

        # Lazily: only the characters that are drawn are placed.
        text = self.coloured.text
        places = map(self.scale.place, self.coloured.values)
        inside = self.coloured.inside or repeat(False, len(text))
        values = map(_DrawnValue, places, inside)
        yield from draw(
            zip(text, values, strict=True),
            console=console,
            options=options,
            style_of=style_of,
            mark_of=block_of,
            underline_of=underline_of,
        )


class _DrawnValue(NamedTuple):
    """What a character of a heat map is drawn by."""

    place: float
    """From -1 to 1."""
    is_inside: bool


def surprise_map(text: str, bits: Sequence[float]) -> HeatMap:
    """Colour each character by its surprise in bits: the stronger, the less the model expected it.

    bits (N,); nan for a character without a prediction, such as the first.
    """
    # From 0 on: the middle of the scale is no neutral value, as it is for a cell.
    coloured = ColouredText(text=text, values=tuple(bits))
    return HeatMap(coloured, Scale(0.0, MAX_BITS), hue="surprise")


def _block_or_blank(value: float, *, ascii_only: bool) -> str:
    if math.isnan(value):
        return " "
    return block(value, ascii_only=ascii_only)


def draw(
    characters: Iterable[tuple[str, Value]],
    console: Console,
    options: ConsoleOptions,
    *,
    style_of: Callable[[Value], Style],
    mark_of: Callable[[Value], str],
    underline_of: Callable[[Value], str] | None = None,
) -> RenderResult:
    """Draw characters in the style of their values, made visible and folded at the width of the
    console.

    Without colour each line has its marks below it, unless all are blanks; the line of
    `underline_of` comes before that of the marks. Of a
    carriage return and a newline only the newline is drawn.
    """
    # Two rows: a mark of the underline would hide the mark of the value.
    plain = is_plain(console)
    rows_below = []
    if plain and underline_of is not None:
        rows_below.append(underline_of)
    if plain:
        rows_below.append(mark_of)

    shown = without_carriage_returns(characters)
    for line in fold(shown, options.max_width, ascii_only=options.ascii_only):
        if plain:
            yield Segment(_text_of(line))
        else:
            yield from _styled(line, style_of)
        yield Segment.line()

        for mark_below in rows_below:
            marks = "".join(mark_below(value) * cell_len(text) for text, value in line).rstrip()
            if marks:
                yield Segment(marks)
                yield Segment.line()


def _text_of(line: Iterable[tuple[str, Value]]) -> str:
    return "".join(text for text, _ in line)


def _styled(
    line: Iterable[tuple[str, Value]], style_of: Callable[[Value], Style]
) -> Iterator[Segment]:
    """Yield the segments of a line, one for each run of characters in the same style."""
    # One segment for each style: thousands of single characters would triple an exported page.
    for style, run in groupby(line, key=lambda item: style_of(item[1])):
        text = _text_of(run)
        words = text.lstrip(" ")

        # Separate, because some viewers of an exported picture drop spaces before a word.
        num_spaces = len(text) - len(words)
        if num_spaces:
            yield Segment(" " * num_spaces, style)
        if words:
            yield Segment(words, style)


def fold(
    characters: Iterable[tuple[str, Value]], width: int, *, ascii_only: bool
) -> Iterator[list[tuple[str, Value]]]:
    """Yield lines of (shown cluster, value), broken after a newline or END and where the next one
    does not fit.

    A grapheme cluster has the value of its last character. In ASCII each character is by itself.

    A line that is too long is broken after its last space, so that words stay whole, unless less
    than MIN_FILL of the width would be filled.
    """
    # Of the words before, all stay in the line; the last one may move to the next.
    line: list[tuple[str, Value]] = []
    used = 0
    # How many characters of the line come before its last word, and their width.
    num_before = 0
    width_before = 0
    show = visible_in_ascii
    if not ascii_only:
        show = visible
        characters = clusters(characters)
    for character, value in characters:
        shown = show(character)
        needed = cell_len(shown)

        # Break the line; what comes after its last word may still be too long with the character.
        while line and used + needed > width:
            if width_before < MIN_FILL * width:
                num_before = len(line)
                width_before = used
            yield line[:num_before]
            line = line[num_before:]
            used -= width_before
            num_before = 0
            width_before = 0

        line.append((shown, value))
        used += needed

        # The line can be broken after a space, and must be after a line end.
        if character == " ":
            num_before = len(line)
            width_before = used
        elif character in LINE_ENDS:
            yield line
            line = []
            used = 0
            num_before = 0
            width_before = 0
    if line:
        yield line


LINE_START = re.compile(r"[^\n\0]{0,120}[\n\0]|\S*\s")
"""What a picture leaves out that begins in mid-line: the rest of a line, or else of a word."""
LAST_WORD = re.compile(r"(?<=[\s\0])[^\s\0]+\Z")
"""What a picture leaves out that ends in mid-word."""


def whole_words(coloured: ColouredText, *, follows: bool, goes_on: bool) -> ColouredText:
    """Return a text, its values and its labels without the part of a line that it begins with and
    the part of a word that it ends with; an ellipsis stands for what is left out.

    `follows` says that its first line begins before it, `goes_on` that text comes after it.
    """
    text = coloured.text
    values = coloured.values
    inside = coloured.inside

    # First the end: positions before it stay what they are.
    if goes_on:
        text = LAST_WORD.sub("", text)
        values = values[: len(text)]
        inside = inside[: len(text)]
        if not text.endswith(LINE_ENDS):
            text += "…"
            values = (*values, math.nan)
            inside = _with_off(inside)

    if follows:
        start = LINE_START.match(text)
        begin = 0
        if start is not None:
            begin = start.end()
        text = "…" + text[begin:]
        values = (math.nan, *values[begin:])
        inside = _with_off(inside[begin:][::-1])[::-1]
    return ColouredText(text=text, values=values, inside=inside)


def _with_off(inside: tuple[bool, ...]) -> tuple[bool, ...]:
    """Return labels with one more, for an ellipsis; none where there are none."""
    if not inside:
        return ()
    return (*inside, False)


def end_legend(text: str) -> list[RenderableType]:
    """Say what the mark of the end of a document stands for, if a text has one."""
    note = end_note(text)
    if not note:
        return []
    return [Text(note, style="dim")]


def without_carriage_returns(
    characters: Iterable[tuple[str, Value]],
) -> Iterator[tuple[str, Value]]:
    """Yield all characters but each carriage return before a newline: ↵ stands for both."""
    for one, following in pairwise(chain(characters, [None])):
        is_shown = following is None or one is None or (one[0], following[0]) != ("\r", "\n")
        if one is not None and is_shown:
            yield one


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
        low, high = self.ends
        plain = is_plain(console)
        palette = palette_of(console)
        # The scale shrinks with the terminal; its two ends are never cut.
        width_of_ends = cell_len(low + high) + 2
        length = max(2, min(LEGEND_WIDTH, options.max_width - width_of_ends))

        yield Segment(f"{low} ")
        for index in range(length):
            share = index / (length - 1)
            value = 2 * share - 1
            style = palette.value(value)
            if self.hue:
                style = palette.share(self.hue, share)
            drawn = " "
            if plain:
                drawn = block(value, ascii_only=options.ascii_only)
            yield Segment(drawn, style)
        yield Segment(f" {high}")

        if not self.underlined:
            yield Segment.line()
            return

        # What is underlined, in the same line if both fit.
        # A mark that a terminal without colours shows below the text is shown itself.
        mark = "underlined:"
        if plain:
            mark = f"{ASCII_UNDERLINE if options.ascii_only else UNDERLINE} below:"
        sample = Text.assemble((mark, UNDERLINED), f" {self.underlined}")
        if width_of_ends + length + len(GAP) + sample.cell_len <= options.max_width:
            yield Segment(GAP)
        else:
            yield Segment.line()
        yield from console.render(sample, options)


ABOUT_OWN_SCALE = (
    "This scale spans the cell's own values, which differ too little for one from -1 to +1."
)
"""What a scale says that does not go from -1 to 1."""


def scale_pictures(scale: Scale, underlined: str = "") -> list[RenderableType]:
    """Draw the scale of a cell's values, and say so if it is one of its own."""
    # Without the sentence, colours of a narrow scale would look like values from -1 to +1.
    pictures: list[RenderableType] = [Legend(scale.ends, underlined=underlined)]
    if scale.is_own:
        pictures.append(Text(ABOUT_OWN_SCALE, style="dim"))
    return pictures


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
        palette = palette_of(console)
        characters = zip(self.text, zip(self.values, self.guesses, strict=True), strict=True)
        for line in fold(characters, options.max_width, ascii_only=options.ascii_only):
            for shown, (value, _) in line:
                yield Segment(shown, palette.value(value))
            yield Segment.line()

            # Blocks stand for the colours.
            if is_plain(console):
                for shown, (value, _) in line:
                    yield Segment(block(value, ascii_only=options.ascii_only) * cell_len(shown))
                yield Segment.line()

            # A row for the best guesses of all characters, one for the second best, … as far as
            # any is likely.
            likely = [list(filter(_is_likely, guesses)) for _, (_, guesses) in line]
            for row in zip_longest(*likely, fillvalue=("", 0.0)):
                for (shown, _), (guess, probability) in zip(line, row, strict=True):
                    text = _shown_guess(guess, width=cell_len(shown), ascii_only=options.ascii_only)
                    # A place without a guess has no background.
                    share = 0.0
                    if probability > 0:
                        share = FAINTEST + (1 - FAINTEST) * probability
                    yield Segment(text, palette.share("guess", share))
                yield Segment.line()
            yield Segment.line()


def _is_likely(guess: tuple[str, float]) -> bool:
    return guess[1] >= MIN_PROBABILITY


def _shown_guess(guess: str, width: int, *, ascii_only: bool) -> str:
    """Return a guess, cut or padded to the width of the character above it; a dot if its first
    character is wider."""
    # As in the text above: a guess of a newline is a mark, not a new line.
    text = all_visible(guess, ascii_only=ascii_only)
    if guess == " ":
        text = "_" if ascii_only else "␣"

    # The guesses stay in the columns of the text, however wide they are.
    while cell_len(text) > width:
        text = text[:-1] or "·"
    return text + " " * (width - cell_len(text))

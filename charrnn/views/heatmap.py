"""Draw a text with a value for each character, as colours or as blocks below each line; also the
scale of the values, and guesses for the next characters."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from operator import itemgetter
from statistics import fmean

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from charrnn.cells.records import ColouredText
from charrnn.views.theme import (
    END_MARK,
    FULL_SCALE,
    LINE_ENDS,
    Palette,
    Scale,
    Value,
    all_visible,
    block,
    clusters,
    in_words,
    is_in_words,
    is_plain,
    palette_of,
    scale_of,
    shown_character,
    visible,
)

MAX_BITS = 8.0
"""The surprise that has the full colour: a probability of 1/256 or less."""
UNDERLINED = Style(underline=True)
"""The style of characters at which a detector is on."""
UNDERLINE = "▔"
"""The mark below such a character on a console without colours."""
MIN_FILL = 0.5
"""The smallest share of the width that a line fills if it is broken at a space."""
NUM_LEVELS = 5
"""Values that words tell apart."""
ABOUT_GUESSES = (
    "Below each character: the most likely next ones, best first (2 % or more; stronger is more"
    " likely)."
)
"""The explanation of the guesses below the characters (`--guesses`)."""
MIN_PROBABILITY = 0.02
"""Guesses less likely than this are not drawn."""
FAINTEST = 0.2
"""The share of the full colour that the least likely guess has, so that its background differs from
the page."""
_WORD = re.compile(r"\S+\s*|\s+")
_CHARACTER = re.compile(".", re.DOTALL)


@dataclass(frozen=True)
class HeatMap:
    """A renderable that colours a `ColouredText`, folded at the width of the console, underlines
    its characters that are `inside`, and has its guesses for the next character below each
    character, most likely first.

    Everything that colours a text draws it by this: cells, surprise, effects, copies.

    On a console without colours, a line of blocks under each line of text shows the values, with a
    blank for nan, and marks stand for the underline. A carriage return before a newline is not
    drawn. The background of a guess shows its probability. ␣ is a space. A console that gets words
    has a line for each stretch of words with the same value.
    """

    coloured: ColouredText
    """The text, with a value for each character."""
    scale: Scale = FULL_SCALE
    """The values that the two ends of the palette stand for."""
    hue: str = ""
    """The hue of values from 0 to a largest value; "" for the palette from low to high."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if is_in_words(console):
            for description, words in groupby(self._described(), key=itemgetter(0)):
                text = all_visible("".join(word for _, word in words))
                yield Text(f"{description}: {in_words(text)}")
            return

        # The mark and the style of a character are looked up by its index, when it is drawn.
        palette = palette_of(console)
        coloured = self.coloured

        def block_of(index: int) -> str:
            return block(self.scale.position(coloured.values[index]))

        def underline_of(index: int) -> str:
            return UNDERLINE if coloured.inside and coloured.inside[index] else " "

        def style_of(index: int) -> Style:
            position = self.scale.position(coloured.values[index])
            style = palette.value(position)
            if self.hue:
                style = palette.share(self.hue, (position + 1) / 2)
            return style + Style(underline=underline_of(index) == UNDERLINE)

        characters = zip(coloured.text, range(len(coloured.text)), strict=True)
        for line in fold(characters, options.max_width):
            # The underline has a row of its own, so that its marks do not hide the marks of the
            # values. A row of blanks is left out.
            if is_plain(console):
                rows = [marks_below(line, underline_of), marks_below(line, block_of)]
                yield Segment("".join(cluster for cluster, _ in line) + "\n")
                for row in filter(None, map(str.rstrip, rows)):
                    yield Segment(f"{row}\n")
            else:
                yield from coloured_line(line, style_of)
                yield Segment.line()
            if coloured.guesses:
                yield from self._guesses_below(line, palette)

    def legend(self, underlined: str = "") -> list[RenderableType]:
        """Draw the scale, and how to read the guesses if there are any. `underlined` is as in
        `Legend`."""
        if self.hue:
            return [SURPRISE_LEGEND]
        pictures = scale_pictures(self.scale, underlined)
        if self.coloured.guesses:
            pictures.append(Text(ABOUT_GUESSES))
        return pictures

    def _described(self) -> Iterator[tuple[str, str]]:
        """Yield each word of the text after its mean value in words: the nearest of `NUM_LEVELS`
        numbers between the ends of the scale, whether a character of it is inside, and guesses."""
        low = self.scale.low
        step = (self.scale.high - low) / (NUM_LEVELS - 1)
        guesses = self.coloured.guesses
        # Each character has guesses of its own.
        unit = _CHARACTER if guesses else _WORD
        for word in unit.finditer(self.coloured.text):
            span = slice(*word.span())
            values = [value for value in self.coloured.values[span] if math.isfinite(value)]
            description = "no value"
            if values:
                num_steps = round((fmean(values) - low) / step)
                description = f"about {low + num_steps * step:.2g}"
            if any(self.coloured.inside[span]):
                description += ", underlined"
            for guess, share in next(iter(guesses[span]), ()):
                description += f", next {in_words(shown_character(guess))} {share:.0%}"
            yield description, word[0]

    def _guesses_below(
        self, line: Sequence[tuple[str, int]], palette: Palette
    ) -> Iterator[Segment]:
        """Yield a row of the best guesses for all characters of a line, a row of the second best, …
        until no likely guess is left, and a blank row."""
        likely = []
        for _, index in line:
            guesses = self.coloured.guesses[index]
            likely.append([guess for guess in guesses if guess[1] >= MIN_PROBABILITY])
        for row in zip_longest(*likely, fillvalue=("", 0.0)):
            for (cluster, _), (guess, probability) in zip(line, row, strict=True):
                # A wide character does not fit below a narrow one. A newline is a mark.
                text = shown_character(guess) if guess else ""
                if cell_len(text[:1]) > cell_len(cluster):
                    text = "·"
                # A character without a guess in this row has no background.
                share = 0.0
                if probability > 0:
                    share = FAINTEST + (1 - FAINTEST) * probability
                style = palette.share("guess", share)
                yield Segment(set_cell_size(text, cell_len(cluster)), style)
            yield Segment.line()
        yield Segment.line()


def surprise_map(coloured: ColouredText) -> HeatMap:
    """Colour each character by its value, its surprise in bits: the less the model expected a
    character, the stronger its colour; nan for one without a prediction, such as the first.

    `scale_of_text` and a `HeatMap` are for values of cells, which have two signs.
    """
    # A single hue from 0 on, because the middle of this scale is not a neutral value.
    return HeatMap(coloured, Scale(low=0.0, high=MAX_BITS), hue="surprise")


def coloured_line(
    line: Iterable[tuple[str, Value]], style_of: Callable[[Value], Style]
) -> Iterator[Segment]:
    """Yield a line of (cluster, value) in the styles of its values: a segment for each run of
    characters in the same style. Terminals, exported pictures and the explorer show it.

    The explorer draws line by line; a `HeatMap` draws a whole text.
    """
    # A segment for each character would triple the size of an exported page.
    for style, run in groupby(line, key=lambda item: style_of(item[1])):
        yield Segment("".join(cluster for cluster, _ in run), style)


def marks_below(line: Iterable[tuple[str, Value]], mark_of: Callable[[Value], str]) -> str:
    """Return the marks of the values of a line of (cluster, value), each as wide as its cluster."""
    return "".join(mark_of(value) * cell_len(cluster) for cluster, value in line)


def fold(characters: Iterable[tuple[str, Value]], width: int) -> Iterator[list[tuple[str, Value]]]:
    """Yield lines of (visible cluster, value). A line ends after a newline or an END, and before a
    cluster that does not fit.

    A grapheme cluster has the value of its last character.

    A line that is too long is broken after its last space, so that words stay whole, unless less
    than MIN_FILL of the width would be filled.
    """
    line: list[tuple[str, Value]] = []
    used_width = 0
    # The number of clusters before the last word, which may move to the next line, and their width.
    num_before = 0
    width_before = 0
    for cluster, value in clusters(characters):
        shown = visible(cluster)
        cluster_width = cell_len(shown)

        # Break the line. The last word may be too long for the next line, too.
        while line and used_width + cluster_width > width:
            if width_before < MIN_FILL * width:
                num_before = len(line)
                width_before = used_width
            yield line[:num_before]
            line = line[num_before:]
            used_width -= width_before
            num_before = 0
            width_before = 0

        line.append((shown, value))
        used_width += cluster_width

        # The line may be broken after a space, and ends after a line end.
        if cluster == " ":
            num_before = len(line)
            width_before = used_width
        elif cluster.endswith(LINE_ENDS):
            yield line
            line = []
            used_width = 0
            num_before = 0
            width_before = 0
    if line:
        yield line


LINE_START = re.compile(r"[^\n\0]{0,120}[\n\0]|\S*\s")
"""The text that a picture leaves out if it begins in mid-line: the rest of the line or, if the line
is long, of the word."""
LAST_WORD = re.compile(r"(?<=[\s\0])[^\s\0]+\Z")
"""The text that a picture leaves out if it ends in mid-word."""


def whole_words(
    coloured: ColouredText, *, begins_inside_line: bool, ends_inside_text: bool
) -> ColouredText:
    """Return a coloured text without the cut line at its beginning and the cut word at its end; an
    ellipsis stands for each.

    A passage is cut out at any character, and reads better so.

    `begins_inside_line` says that the first line begins before the text, `ends_inside_text` that
    more text comes after it.
    """
    text = coloured.text
    begin = 0
    end = len(text)
    before = ""
    after = ""
    if ends_inside_text:
        end = len(LAST_WORD.sub("", text))
        if not text[:end].endswith(LINE_ENDS):
            after = "…"
    if begins_inside_line:
        before = "…"
        cut_line = LINE_START.match(text, 0, end)
        if cut_line is not None:
            begin = cut_line.end()

    # An ellipsis has no value, and is not inside.
    inside = coloured.inside[begin:end]
    if inside:
        outside = (False,)
        inside = outside * len(before) + inside + outside * len(after)
    no_value = (math.nan,)
    values = no_value * len(before) + coloured.values[begin:end] + no_value * len(after)
    return ColouredText(text=before + text[begin:end] + after, values=values, inside=inside)


def end_legend(text: str) -> list[RenderableType]:
    """Draw the explanation of the mark for the end of a document, if a text has this mark."""
    if "\0" not in text:
        return []
    return [Text(f"{END_MARK} is the end of a document.", style="dim")]


LEGEND_WIDTH = 21
"""The largest number of columns of the scale without its ends."""


@dataclass(frozen=True)
class Legend:
    """A renderable of the scale between two ends, in colours or, on a console without colours, in
    blocks.

    The colours are the palette of cell values from -1 to +1, or a `hue` from 0 to its full colour.
    The explanation of the underline stands beside the scale or, if there is no space, on the next
    lines.
    """

    ends: tuple[str, str] = ("-1", "+1")
    hue: str = ""
    underlined: str = ""
    """A phrase that says which characters of the text are underlined; "" if none are."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        low, high = self.ends
        if is_in_words(console):
            underlined = ""
            if self.underlined:
                underlined = f"; underlined: {self.underlined}"
            yield Text(f"values from {low} to {high}{underlined}")
            return

        # In a narrow terminal the scale is shorter, and its two ends stay.
        palette = palette_of(console)
        length = max(2, min(LEGEND_WIDTH, options.max_width - cell_len(low + high) - 2))
        line = Text(f"{low} ")
        for index in range(length):
            share = index / (length - 1)
            style = palette.value(2 * share - 1)
            if self.hue:
                style = palette.share(self.hue, share)
            if is_plain(console):
                line.append(block(2 * share - 1))
            else:
                line.append(" ", style)
        line.append(f" {high}")

        # The explanation of the underline or, without colours, of the mark that stands for it.
        if self.underlined:
            mark = f"{UNDERLINE} below:" if is_plain(console) else "underlined:"
            line.append("   ").append(mark, UNDERLINED).append(f" {self.underlined}")
        yield line


SURPRISE_LEGEND = Legend(("0", f"{MAX_BITS:g} bits or more"), hue="surprise")
"""The scale of a `surprise_map`."""
ABOUT_OWN_SCALE = (
    "This scale spans the cell's own values, which differ too little for one from -1 to +1."
)
"""The sentence below a scale that does not go from -1 to 1."""
ABOUT_TURNED = "Drawn with its sign turned: the cell is low where the label is high."
"""The sentence below a scale that goes from the largest value to the smallest."""


def scale_of_text(coloured: ColouredText) -> Scale:
    """Return the scale of a text; above guesses, all cells have the common scale."""
    values = () if coloured.guesses else coloured.values
    return scale_of(values, coloured.polarity)


def scale_pictures(scale: Scale, underlined: str = "") -> list[RenderableType]:
    """Draw the scale of a cell's values, and a sentence below it if it does not go from -1 to 1.

    It stands above whatever is coloured by a cell; `HeatMap.legend` adds how to read the guesses.
    """
    # Without the sentence, a reader would take the colours for values from -1 to +1.
    pictures: list[RenderableType] = [Legend(scale.ends, underlined=underlined)]
    if scale.is_own:
        pictures.append(Text(ABOUT_OWN_SCALE, style="dim"))
    if scale.is_turned:
        pictures.append(Text(ABOUT_TURNED, style="dim"))
    return pictures

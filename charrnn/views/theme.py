"""Define how every picture shows colours, characters and numbers.

The palette for cells is diverging; surprise and guesses have a hue each. Red is low and blue is
high, after Karpathy, Johnson & Li (2015), who colour a text by tanh(c). The shades
are in `palette.json`: steps of OKLCH, a perceptual colour space, from the paper to either end, the
low end nearer to the paper. So the two ends differ in print without colours, and for every reader.
Terminals, pictures and web pages use these colours.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from rich.cells import cell_len, split_graphemes
from rich.console import Console
from rich.style import Style

from charrnn.system.words import prints_words

PALETTE = Path(__file__).with_name("palette.json")
"""The shades of the palette."""
BACKGROUND_VARIABLE = "CHARRNN_BACKGROUND"
"""The environment variable that names the terminal's background: dark or light."""
NUM_SHADES = 12
"""Shades on either side of 0. Neighbouring characters with the same shade are drawn as one segment,
which keeps exported pictures small."""
BLOCKS = "▁▂▃▄▅▆▇█"
"""Blocks from -1 to +1."""

Background = Literal["dark", "light", "unknown"]
"""The background of a terminal or picture."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A background and the text on it, as #rrggbb."""

    paper: str
    ink: str
    faintest: int = 1
    """The first shade that is drawn."""


PAPERS: Mapping[Background, Paper] = {
    "light": Paper(paper="#fcfcfa", ink="#1e1e22"),
    "dark": Paper(paper="#17181c", ink="#e6e6ea"),
    # A grey halfway between dark and light. It is never drawn; every shade has its lightness.
    "unknown": Paper(paper="#737376", ink="#ffffff", faintest=2),
}
"""The backgrounds. The shades for an unknown background differ from a dark and from a light one,
and white text is legible on them."""


@dataclass(frozen=True)
class Palette:
    """The styles of values on one kind of background."""

    background: Background = "unknown"

    def value(self, value: float) -> Style:
        """Return the style of a cell value, clipped to [-1, 1]; nan counts as 0."""
        return self.share("high" if value > 0 else "low", abs(value))

    def share(self, hue: str, share: float) -> Style:
        """Return the style of a share of a hue's full colour, clipped to [0, 1]; nan counts as
        0."""
        step = 0
        if not math.isnan(share):
            step = round(NUM_SHADES * min(1.0, max(0.0, share)))
        return _style(self.background, hue=hue, step=step)


def palette_of(console: Console) -> Palette:
    """Return the palette for the background of a console, which $CHARRNN_BACKGROUND names."""
    named = console._environ.get(BACKGROUND_VARIABLE, "").strip().lower()
    if named == "dark":
        return Palette("dark")
    if named == "light":
        return Palette("light")
    return Palette()


@cache
def read_palette() -> dict[str, dict[str, list[Sequence[str]]]]:
    """Read the (background, text) of all shades as #rrggbb, from the faintest to the full colour,
    by the kind of background and the hue: `low` and `high` are the ends of the diverging palette,
    `surprise` and `guess` are sequential."""
    palette: dict[str, dict[str, list[Sequence[str]]]]
    palette = json.loads(PALETTE.read_text(encoding="utf-8"))
    return palette


def dark_colours() -> dict[str, str]:
    """Return the colours on dark paper by the colours on light paper: of the paper, of text, and of
    every shade."""
    light = PAPERS["light"]
    dark = PAPERS["dark"]
    palette = read_palette()

    # Shades with black or white text on light paper have white text on dark paper.
    dark_by_light = {
        light.paper: dark.paper,
        light.ink: dark.ink,
        "#000000": "#ffffff",
    }
    for hue, shades in palette["light"].items():
        for on_light, on_dark in zip(shades, palette["dark"][hue], strict=True):
            dark_by_light[on_light[0]] = on_dark[0]
    return dark_by_light


def block(value: float) -> str:
    """Return the block for a value, clipped to [-1, 1]: a higher value has a fuller block, nan a
    blank.

    It is what a value looks like without colours; `Palette.value` is its colour.
    """
    if math.isnan(value):
        return " "

    # Each block stands for an interval of the same size; +1 belongs to the last interval.
    share = (min(1.0, max(-1.0, value)) + 1) / 2
    return BLOCKS[min(len(BLOCKS) - 1, int(share * len(BLOCKS)))]


@dataclass(frozen=True)
class Scale:
    """The values that the two ends of the palette and of the blocks stand for.

    `low` is the larger of the two if a cell is drawn with its sign turned.
    """

    low: float = -1.0
    """The value of the low end."""
    high: float = 1.0
    """The value of the high end."""

    @property
    def is_turned(self) -> bool:
        """Whether low values have the colour of high values, and high values that of low ones."""
        return self.low > self.high

    @property
    def is_own(self) -> bool:
        """Whether the scale spans the values of one cell, and not -1 to 1."""
        return {self.low, self.high} != {-1.0, 1.0}

    def position(self, value: float) -> float:
        """Return the position of a value between the ends, from -1 to 1."""
        return (value - (self.low + self.high) / 2) / ((self.high - self.low) / 2)

    @property
    def ends(self) -> tuple[str, str]:
        """The two values, with enough digits to tell them apart."""
        num_digits = 0
        if self.is_own:
            num_digits = max(2, -math.floor(math.log10(abs(self.high - self.low))))
        return f"{self.low:+.{num_digits}f}", f"{self.high:+.{num_digits}f}"


FULL_SCALE = Scale()
"""The scale from -1 to +1."""
SMALL_RANGE = 0.5
"""Values with a smaller range, which would take two of the eight blocks, are drawn on a scale of
their own."""
LEAST_RANGE = 1e-4
"""Values with a smaller range are equal up to rounding."""


def scale_of(values: Iterable[float], polarity: int = 1) -> Scale:
    """Return the scale from the smallest value to the largest if these are near each other, else
    the scale from -1 to 1.

    Use it for a cell in a picture of its own. Where pictures are compared, all need the scale from
    -1 to 1.

    The scale is turned if the polarity is -1: the cell is low inside what it follows. So the inside
    has the colour of high values in every picture.
    """
    # nan stands for a missing value, such as the surprise of the first character.
    finite = [value for value in values if math.isfinite(value)]
    low = min(finite, default=0.0)
    high = max(finite, default=0.0)
    if not LEAST_RANGE <= high - low < SMALL_RANGE:
        low, high = -1.0, 1.0
    if polarity < 0:
        return Scale(high, low)
    return Scale(low, high)


def is_plain(console: Console) -> bool:
    """Return whether a console shows no colours.

    Whatever colours a text must also be legible in a pipe.
    """
    return console.color_system is None or console.no_color


def is_in_words(console: Console) -> bool:
    """Return whether a console gets words in place of drawings, also because its encoding lacks
    blocks and dots. Exported pictures do not.

    `is_plain` is about colours alone: a pipe without them still gets blocks.
    """
    return prints_words(console._environ) or console.options.ascii_only


_IN_WORDS = {"␣": " space ", "↵": " newline ", "¶": " end of document "}
_IN_WORDS |= {mark: f" {index / (len(BLOCKS) - 1):.1f} " for index, mark in enumerate(BLOCKS)}
_MARKS = str.maketrans(_IN_WORDS)
"""Words for marks that a screen reader may pass over."""
_INTERVAL = re.compile(r"(?<=\d)…(?=[-+\d])")
"""The mark between the two ends of an interval."""


def in_words(text: str) -> str:
    """Return a visible text with words in place of marks and blocks, on one line."""
    return " ".join(_INTERVAL.sub(" to ", text).translate(_MARKS).split())


@cache
def _style(background: Background, hue: str, step: int) -> Style:
    if step < PAPERS[background].faintest:
        return Style()
    paper, ink = read_palette()[background][hue][step - 1]
    return Style(color=ink, bgcolor=paper)


TAB_WIDTH = 4
"""Columns of a tab."""
LINE_ENDS = ("\n", "\0")
"""Characters after which a picture of a text begins a new line: a newline and the END of a
document."""
END_MARK = "¶"
"""The mark for the END of a document; many fonts lack Unicode's own picture of U+0000."""
MAX_CLUSTER = 31
"""The largest number of code points that are drawn as one: a letter and thirty marks (UAX #15,
stream-safe text)."""
JOINERS = "\u200c\u200d"
"""Invisible characters that belong to the letters around them."""
_UNSHOWN = re.compile("[\x80-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, marks that change the direction of the text, and lone surrogates."""
_SHAPES = re.compile("[\u2500-\u259f]")
"""Rules and blocks, which pictures draw as shapes and not as text."""


Value = TypeVar("Value")
"""The value of a character in a picture: a cell value, a number of bits, a mark or its index."""


def clusters(characters: Iterable[tuple[str, Value]]) -> Iterator[tuple[str, Value]]:
    """Yield the grapheme clusters of a text, each with the value of its last character.

    A letter with its combining marks is one cluster, as are several emoji with joiners between, and
    a carriage return with the newline after it.
    """
    # A cluster is complete when the next character does not join it.
    cluster: tuple[str, Value] | None = None
    for character, value in characters:
        joined = character
        if cluster is not None:
            before, _ = cluster
            if joins(before, character):
                joined = before + character
            else:
                yield cluster
        cluster = (joined, value)
    if cluster is not None:
        yield cluster


@lru_cache(maxsize=4096)
def joins(cluster: str, character: str) -> bool:
    """Return whether a character is drawn as one with the characters before it."""
    if cluster == "\r":
        return character == "\n"
    # Combining marks begin at U+0300. Most texts have few characters after it.
    if character < "\u0300" or not cluster or len(cluster) >= MAX_CLUSTER:
        return False

    # Nothing joins a space, a shape, or a character that is shown as <...>.
    base = cluster[0]
    if base.isspace() or _SHAPES.match(base) or visible(base) != base:
        return False
    if character not in JOINERS and unicodedata.category(character)[0] in "CZ":
        return False

    # rich decides, because the widths must agree with it: it counts no columns for a character that
    # it adds to a cluster.
    spans, _ = split_graphemes(cluster + character)
    return len(spans) == 1


@lru_cache(maxsize=4096)
def visible(cluster: str) -> str:
    """Return the visible form of a character or a grapheme cluster: ↵ for a newline, → and spaces
    for a tab, marks for control and format characters.

    A text of a model can contain anything, and is shown by it everywhere; `shown_character` is for
    a character by itself, of which a space would not be seen.

    The result contains nothing that moves the cursor or reverses the direction of the text.
    """
    character = cluster[0]
    if cluster in ("\n", "\r\n"):
        return "↵"
    if character == "\t":
        return "→".ljust(TAB_WIDTH)
    if character == "\0":
        return END_MARK
    code = ord(character)
    # Unicode has pictures of the control characters of ASCII.
    if code < 32:
        return chr(0x2400 + code)
    if code == 127:
        return "␡"

    # The last two code points of every plane are no characters; XML, and so an exported picture,
    # must not contain them. A combining mark without a letter before it has no width.
    if cell_len(character) == 0 or code & 0xFFFE == 0xFFFE or _UNSHOWN.match(character):
        return f"<{code:02x}>"
    return cluster


def shown_at_each(text: str) -> list[str]:
    """Return the visible form of each character of a text, as values belong to characters: a
    grapheme cluster at its last character, "" at the characters before it.

    A picture with a value for each character needs it; `visible` takes a cluster.
    """
    forms = [""] * len(text)
    for cluster, last in clusters(zip(text, range(len(text)), strict=True)):
        forms[last] = visible(cluster)
    return forms


def all_visible(text: str) -> str:
    """Return a text with every character in its visible form (`visible`), on one line.

    It is for names and excerpts in a line of other text.
    """
    return "".join(shown_at_each(text))


def short_number(value: float) -> str:
    """Return a number with at most four significant digits: 0.25, 950, 1,200, 15k, 1.5M, 2G, 3T.

    Use it for axes and columns; figures that are quoted have all their digits.
    """
    if abs(value) < 1000:
        return f"{value:.4g}"
    if abs(value) < 10_000:
        return f"{value:,.0f}"

    # From 999.5 on, three digits round to the next unit: 1M, not 1,000k.
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if abs(value) < 999.5 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value / 1e12:.4g}T"


def shown_character(character: str) -> str:
    """Return the visible form of a character by itself: ␣ for a space.

    `visible` leaves a space as it is, because it stands in a text.
    """
    if character == " ":
        return "␣"
    return all_visible(character)

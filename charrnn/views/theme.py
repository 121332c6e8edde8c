"""Colours, characters and numbers: how every picture shows them.

The palette is diverging for cells, and has one hue for surprise and one for guesses. Red is low and
blue is high, after Karpathy, Johnson & Li (2015), who colour a text by tanh(c). The shades of the
palette are constants, which `docs/make/palette.py` computes. Terminals, pictures and web pages take
their colours from here.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from typing import Literal, TypeVar

from rich.cells import cell_len, split_graphemes
from rich.color import Color, ColorSystem
from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style

from charrnn.views.palette import SHADES

BACKGROUND_VARIABLE = "CHARRNN_BACKGROUND"
"""The environment variable that names the terminal's background: dark or light."""
NUM_SHADES = 12
"""Shades on either side of 0. Neighbours of one shade are drawn as one segment, which keeps
exported pictures small."""
BLOCKS = "▁▂▃▄▅▆▇█"
"""Blocks from -1 to +1."""
ASCII_BLOCKS = "_.-~=+*#"
"""The same for streams that carry ASCII only."""

Background = Literal["dark", "light", "unknown"]
"""What is known of the background of a terminal or picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """A background and the text on it, as #rrggbb."""

    paper: str
    ink: str
    strong_ink: str
    """Black or white: the text on the shades where `ink` is not legible."""
    faintest: int = 1
    """The first shade that is drawn."""


PAPERS: Mapping[Background, Paper] = {
    "light": Paper(paper="#fcfcfa", ink="#1e1e22", strong_ink="#000000"),
    "dark": Paper(paper="#17181c", ink="#e6e6ea", strong_ink="#ffffff"),
    # A grey halfway between dark and light, which is never drawn itself: every shade is as light as
    # it.
    "unknown": Paper(paper="#737376", ink="#ffffff", strong_ink="#ffffff", faintest=2),
}
"""The backgrounds. The shades for an unknown one differ from dark and from light, and white text is
legible on them."""


@dataclass(frozen=True, slots=True)
class Palette:
    """The styles of values on one kind of background."""

    background: Background = "unknown"
    colours: ColorSystem = ColorSystem.TRUECOLOR
    """What the terminal has; the nearest of its 256 or 16 colours are taken. Here and not by rich,
    which keeps the codes of a style from the first console that shows it, also for others."""

    def value(self, value: float) -> Style:
        """Return the style of a cell value, clipped to [-1, 1]; nan counts as 0."""
        return self.share("high" if value > 0 else "low", abs(value))

    def share(self, hue: str, share: float) -> Style:
        """Return the style of a share of a hue's full colour, clipped to [0, 1]; nan counts as
        0."""
        step = 0
        if not math.isnan(share):
            step = round(NUM_SHADES * min(1.0, max(0.0, share)))
        return _style(self.background, hue, step, self.colours)


def palette_of(console: Console) -> Palette:
    """Return the palette for the background and the colours of a console."""
    colours = COLOR_SYSTEMS[console.color_system or "truecolor"]
    return Palette(background_of(console._environ), colours)


def background_of(environment: Mapping[str, str]) -> Background:
    """Return the background that $CHARRNN_BACKGROUND names, or else the last number of $COLORFGBG.

    Some terminals set COLORFGBG to the numbers of their text and background colours: `15;0` is
    light on dark. 7 and 9 to 15 are light colours, after Vim.
    """
    named = environment.get(BACKGROUND_VARIABLE, "").strip().lower()
    if named == "dark":
        return "dark"
    if named == "light":
        return "light"

    # Two numbers, or three with one for what lies between.
    last = environment.get("COLORFGBG", "").rpartition(";")[2].strip()
    if not last.isdecimal() or int(last) > 15:
        return "unknown"
    if int(last) == 7 or int(last) > 8:
        return "light"
    return "dark"


def steps(background: Background) -> dict[int, tuple[str, str]]:
    """Return (background, text) of the shades from -NUM_SHADES to NUM_SHADES as #rrggbb, without 0,
    the page itself."""
    shades = {}
    for step in range(-NUM_SHADES, NUM_SHADES + 1):
        if step < 0:
            shades[step] = shade(background, "low", -step)
        elif step > 0:
            shades[step] = shade(background, "high", step)
    return shades


def dark_colours() -> dict[str, str]:
    """Return the background of every shade on dark paper, by that on light paper, and the texts
    likewise."""
    light = PAPERS["light"]
    dark = PAPERS["dark"]

    # Shades whose text is black or white on light paper carry white text on dark paper.
    by_light = {
        light.paper: dark.paper,
        light.ink: dark.ink,
        "#000000": "#ffffff",
    }
    for hue, step in product(SHADES["light"], range(1, NUM_SHADES + 1)):
        by_light[shade("light", hue, step)[0]] = shade("dark", hue, step)[0]
    return by_light


def shade(background: Background, hue: str, step: int) -> tuple[str, str]:
    """Return (background, text) of shade 1 to NUM_SHADES of a hue as #rrggbb."""
    paper = PAPERS[background]
    shades = SHADES[background][hue]
    ink = paper.ink
    if step > shades.num_inked:
        ink = paper.strong_ink
    return shades.colours[step - 1], ink


def block(value: float, *, ascii_only: bool = False) -> str:
    """Return the block of a value, clipped to [-1, 1]: the higher, the fuller; nan counts as 0."""
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    if math.isnan(value):
        value = 0.0

    # Parts of equal size: +1 itself belongs to the last one.
    share = (min(1.0, max(-1.0, value)) + 1) / 2
    return blocks[min(len(blocks) - 1, int(share * len(blocks)))]


@dataclass(frozen=True, slots=True)
class Scale:
    """The values that the two ends of the palette and of the blocks stand for."""

    low: float = -1.0
    high: float = 1.0

    @property
    def is_own(self) -> bool:
        """Whether it spans the values of one cell, not -1 to 1."""
        return (self.low, self.high) != (-1.0, 1.0)

    def place(self, value: float) -> float:
        """Return where a value is between the ends, from -1 to 1."""
        return (value - (self.low + self.high) / 2) / ((self.high - self.low) / 2)

    @property
    def ends(self) -> tuple[str, str]:
        """The two values, with as many digits as tell them apart."""
        if not self.is_own:
            return "-1", "+1"
        # As many digits as the difference needs, and never fewer than a full scale has.
        num_digits = max(2, -math.floor(math.log10(self.high - self.low)))
        return f"{self.low:+.{num_digits}f}", f"{self.high:+.{num_digits}f}"


FULL_SCALE = Scale()
"""The scale from -1 to +1."""
SMALL_RANGE = 0.5
"""Values that differ by less, two of eight blocks, are drawn on a scale of their own."""
LEAST_RANGE = 1e-4
"""Values that differ by less are the same, up to rounding."""


def scale_of(values: Iterable[float]) -> Scale:
    """Return the scale from the smallest value to the largest if these are near each other, else
    that from -1 to 1."""
    # nan stands for what has no value, such as the first character of a surprise.
    finite = [value for value in values if math.isfinite(value)]
    low = min(finite, default=0.0)
    high = max(finite, default=0.0)
    if LEAST_RANGE <= high - low < SMALL_RANGE:
        return Scale(low, high)
    return FULL_SCALE


def is_plain(console: Console) -> bool:
    """Return whether a console shows no colours."""
    return console.color_system is None or console.no_color


@cache
def _style(background: Background, hue: str, step: int, colours: ColorSystem) -> Style:
    if step < PAPERS[background].faintest:
        return Style()
    paper, ink = shade(background, hue, step)
    return Style(
        color=Color.parse(ink).downgrade(colours), bgcolor=Color.parse(paper).downgrade(colours)
    )


def shade_rules() -> str:
    """Return a variable and a class for every shade, for both colour schemes of a page."""
    rules = [
        f":root {{ {_variables('light')} }}",
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables('dark')} }} }}",
    ]
    for step in range(-NUM_SHADES, NUM_SHADES + 1):
        rules.append(f".s{step} {{ background: var(--s{step}); color: var(--i{step}); }}")
    return "\n".join(rules)


def _variables(background: Background) -> str:
    shades = steps(background).items()
    return " ".join(f"--s{step}: {paper}; --i{step}: {ink};" for step, (paper, ink) in shades)


TAB_WIDTH = 4
"""Columns of a tab."""
LINE_ENDS = ("\n", "\0")
"""Characters after which a picture of a text begins a new line: a newline and the END of a
document."""
END_MARK = "¶"
"""How the END of a document is shown: many fonts lack the picture that Unicode has of it."""
MAX_CLUSTER = 31
"""Code points that are drawn as one, at most: a letter and thirty marks (UAX #15, stream-safe
text)."""
ALONE = "◌"
"""What a combining mark stands on where there is no letter before it."""
JOINERS = "\u200c\u200d"
"""Invisible characters that belong to the letters around them."""
_UNSHOWN = re.compile("[\x80-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, marks that change the direction of the text, and lone surrogates."""
_UNSEEN = re.compile("[\u034f\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Combining characters that draw nothing by themselves: selectors of a variant, and a joiner."""
_SHAPES = re.compile("[\u2500-\u259f]")
"""Rules and blocks, which pictures draw as shapes and not as text."""


def end_note(text: str) -> str:
    """Say what the mark of the END of a document stands for; "" for a text without one."""
    if "\0" not in text:
        return ""
    return f"{END_MARK} is the end of a document."


Value = TypeVar("Value")
"""What a character is drawn by: a cell value, a number of bits, a mark, its index."""


def clusters(characters: Iterable[tuple[str, Value]]) -> Iterator[tuple[str, Value]]:
    """Yield the grapheme clusters of a text, each with the value of its last character.

    A letter with its combining marks, or an emoji that joiners make of several, is one cluster.
    """
    # A character is kept until the next one shows that it is not joined to it.
    cluster = ""
    latest: list[Value] = []
    for character, value in characters:
        if not joins(cluster, character):
            for last in latest:
                yield cluster, last
            cluster = ""
        cluster += character
        latest = [value]
    for last in latest:
        yield cluster, last


@lru_cache(maxsize=4096)
def joins(cluster: str, character: str) -> bool:
    """Return whether a character is drawn as one with the characters before it."""
    # No mark comes before U+0300. Nearly every character of most texts ends here.
    if character < "\u0300" or not cluster or len(cluster) >= MAX_CLUSTER:
        return False

    # Spaces and shapes are drawn without text, and a character that is shown as <...> is no letter.
    base = cluster[0]
    if base.isspace() or _SHAPES.match(base) or visible(base) not in (base, ALONE + base):
        return False
    if character not in JOINERS and unicodedata.category(character)[0] in "CZ":
        return False

    # The widths are those of rich, too, which takes no columns for what it adds to a cluster.
    spans, _ = split_graphemes(cluster + character)
    return len(spans) == 1


@lru_cache(maxsize=4096)
def visible(cluster: str) -> str:
    """Return how a character or a grapheme cluster is shown: a newline as ↵, a tab as → and spaces,
    control and format characters as marks, a combining mark by itself on a circle.

    The result contains nothing that moves the cursor or reverses the direction of the text.
    """
    character = cluster[0]
    if character == "\n":
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

    # The last two code points of every plane are no characters: XML, and so an exported picture,
    # does not allow them.
    has_no_width = cell_len(character) == 0
    if has_no_width and unicodedata.category(character)[0] == "M" and not _UNSEEN.match(character):
        return ALONE + cluster
    if has_no_width or code & 0xFFFE == 0xFFFE or _UNSHOWN.match(character):
        return f"<{code:02x}>"
    return cluster


def shown_at_each(text: str) -> list[str]:
    """Return what is drawn at each character of a text: a grapheme cluster at its last one, "" at
    the others."""
    # One entry per character, so that values by character find their place.
    shown = [""] * len(text)
    for cluster, last in clusters(zip(text, range(len(text)), strict=True)):
        shown[last] = visible(cluster)
    return shown


def all_visible(text: str, *, ascii_only: bool = False) -> str:
    """Show all characters of a text by `visible`, or by `visible_in_ascii`; the result is one
    line."""
    if ascii_only:
        return "".join(map(visible_in_ascii, text))
    return "".join(shown_at_each(text))


def visible_in_ascii(character: str) -> str:
    """Return how a character is shown on a stream that carries ASCII only: other characters are
    backslash escapes."""
    if character == "\t":
        return "\\t".ljust(TAB_WIDTH)
    if " " <= character <= "~":
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def short_number(value: float) -> str:
    """Return a number with at most four significant digits: 0.25, 950, 1,200, 15k, 1.5M, 2G, 3T."""
    if abs(value) < 1000:
        return f"{value:.4g}"
    if abs(value) < 10_000:
        return f"{value:,.0f}"

    # Not 1,000k: from 999.5 on three digits round to the next unit.
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if abs(value) < 999.5 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value / 1e12:.4g}T"


def shown_character(character: str) -> str:
    """Return how a character is shown by itself: a space as ␣."""
    if character == " ":
        return "␣"
    return all_visible(character)


def quoted_character(character: str) -> str:
    """Return how a character is shown before a number: in quotation marks, so that a digit or + is
    not part of it."""
    return f"'{shown_character(character)}'"

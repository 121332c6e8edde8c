"""Colours, characters and numbers: how every picture shows them.

The palette is diverging for cells, and has one hue for surprise and one for guesses. Red is low and
blue is high, after Karpathy, Johnson & Li (2015), who colour a text by tanh(c). The background is
the middle of the palette: from there to either end, lightness and chroma change in equal steps of
OKLCH, a perceptual colour space (Ottosson 2020, "A perceptual color space for image processing").
Both ends are equally light and equally colourful. Terminals, pictures and web pages take their
colours from here.
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

BACKGROUND_VARIABLE = "CHARRNN_BACKGROUND"
"""The environment variable that names the terminal's background: dark or light."""
NUM_SHADES = 12
"""Shades on either side of 0. Neighbours of one shade are drawn as one segment, which keeps
exported pictures small."""
MIN_CONTRAST = 4.5
"""Contrast of text with its background, at least (WCAG 2.2, level AA)."""
BLOCKS = "▁▂▃▄▅▆▇█"
"""Blocks from -1 to +1."""
ASCII_BLOCKS = "_.-~=+*#"
"""The same for streams that carry ASCII only."""

Background = Literal["dark", "light", "unknown"]
"""What is known of the background of a terminal or picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """A background, the text on it, and where the palette goes from there.

    `lightness` is that of a full colour in OKLCH; `faintest` is the first shade that is drawn.
    """

    paper: str
    ink: str
    lightness: float
    faintest: int = 1


PAPERS: Mapping[Background, Paper] = {
    # As dark as it can be with black text on a full colour, so that no word has letters of both.
    "light": Paper(paper="#fcfcfa", ink="#1e1e22", lightness=0.6),
    "dark": Paper(paper="#17181c", ink="#e6e6ea", lightness=0.56),
    # A grey halfway between dark and light, which is never drawn itself: every shade is as light as
    # it.
    "unknown": Paper(paper="#737376", ink="#ffffff", lightness=0.56, faintest=2),
}
"""The backgrounds. The shades for an unknown one differ from dark and from light, and white text is
legible on them."""


@dataclass(frozen=True, slots=True)
class Hue:
    """A hue in OKLCH, and the chroma of its full colour."""

    degrees: float
    chroma: float = 0.21


HUES: Mapping[str, Hue] = {
    "low": Hue(27),
    "high": Hue(262),
    "surprise": Hue(328),
    # An orange of the other hues' chroma would leave sRGB at the lightness of a full colour.
    "guess": Hue(58, chroma=0.13),
}
"""The hues: `low` and `high` are the ends of the diverging palette, `surprise` and `guess` are
sequential."""


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
    for hue, step in product(HUES, range(1, NUM_SHADES + 1)):
        by_light[shade("light", hue, step)[0]] = shade("dark", hue, step)[0]
    return by_light


@cache
def shade(background: Background, hue: str, step: int) -> tuple[str, str]:
    """Return (background, text) of shade 1 to NUM_SHADES of a hue as #rrggbb: equal steps in OKLCH
    from the paper."""
    paper = PAPERS[background]
    full = HUES[hue]

    # Lightness and chroma go together, so that the steps look equally far apart.
    share = step / NUM_SHADES
    # From the lightness of the page on, so that the first step is as large as all others.
    begin, _, _ = to_oklab(paper.paper)
    lightness = begin + (paper.lightness - begin) * share
    coloured = from_oklch(lightness, chroma=full.chroma * share, degrees=full.degrees)

    # The ink of the page as long as it is legible, then black or white.
    if contrast(coloured, paper.ink) >= MIN_CONTRAST:
        return coloured, paper.ink
    return coloured, max("#000000", "#ffffff", key=lambda ink: contrast(coloured, ink))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours #rrggbb, from 1 to 21 (WCAG 2.2)."""
    # The lighter one is above: the ratio is the same for text on a page and the other way round.
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = _linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def to_oklab(colour: str) -> tuple[float, float, float]:
    """Return lightness, a and b of a colour #rrggbb in OKLab (Ottosson 2020)."""
    # Responses of the three kinds of cones, whose cube roots are perceptually even.
    red, green, blue = _linear(colour)
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    medium = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def from_oklch(lightness: float, chroma: float, degrees: float) -> str:
    """Return a colour of OKLCH, the polar form of OKLab, as #rrggbb; one outside sRGB is
    clipped."""
    # The inverse of `to_oklab`: the matrices are those of the same paper.
    a = chroma * math.cos(math.radians(degrees))
    b = chroma * math.sin(math.radians(degrees))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return _encoded(
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


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


def _linear(colour: str) -> tuple[float, float, float]:
    """Return the linear light of red, green and blue (IEC 61966-2-1), each in [0, 1]."""
    return _decode(colour[1:3]), _decode(colour[3:5]), _decode(colour[5:7])


def _decode(digits: str) -> float:
    part = int(digits, 16) / 255
    if part <= 0.04045:
        return part / 12.92
    return float(((part + 0.055) / 1.055) ** 2.4)


def _encoded(*linear: float) -> str:
    """Return linear light as #rrggbb (IEC 61966-2-1); the inverse of `_linear`."""
    return "#" + "".join(map(_encode, linear))


def _encode(part: float) -> str:
    part = min(1.0, max(0.0, part))
    encoded = 12.92 * part
    if part > 0.0031308:
        encoded = 1.055 * part ** (1 / 2.4) - 0.055
    return f"{round(255 * encoded):02x}"


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

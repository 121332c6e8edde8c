"""Compute the shades of the palette, check them, and write them to `charrnn/views/palette.json`:
`python tools/palette.py`.

The background is the middle of the palette: from there to either end, lightness and chroma change
in equal steps of OKLCH, a perceptual colour space (Ottosson 2020, "A perceptual color space for
image processing"). The low end is nearer to the paper than the high end: paler on light paper,
darker on dark paper. So the two ends differ in print without colours, and for every reader.
"""

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from charrnn.views.theme import NUM_SHADES, PAPERS, Background

FILE = Path(__file__).parents[1] / "charrnn" / "views" / "palette.json"
"""The file that is written."""
MIN_CONTRAST = 4.5
"""Contrast of text with its background, at least (WCAG 2.2, level AA)."""
MIN_END_CONTRAST = 1.5
"""Contrast of the two ends of the diverging palette, at least: their difference without hue."""
LIGHTNESS: Mapping[Background, float] = {
    # As dark as it can be with black text on a full colour, so that no word has letters of both.
    "light": 0.6,
    "dark": 0.56,
    "unknown": 0.56,
}
"""Lightness of a full colour in OKLCH, by background."""
LOW_LIGHTNESS: Mapping[Background, float] = {"light": 0.74, "dark": 0.45, "unknown": 0.45}
"""Lightness of the full colour of the hue `low`, by background."""


@dataclass(frozen=True, slots=True)
class Hue:
    """A hue in OKLCH, and the chroma of its full colour."""

    degrees: float
    chroma: float = 0.21


HUES: Mapping[str, Hue] = {
    # More chroma would leave sRGB at these lightnesses.
    "low": Hue(27, chroma=0.15),
    "high": Hue(262),
    "surprise": Hue(328),
    # An orange of the other hues' chroma would leave sRGB at the lightness of a full colour.
    "guess": Hue(58, chroma=0.13),
}
"""The hues: `low` and `high` are the ends of the diverging palette, `surprise` and `guess` are
sequential."""


DEFICIENCIES = {
    # Machado, Oliveira & Fernandes (2009), table 1, severity 1.0: matrices for linear light.
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
"""How colours look to readers who lack one kind of cones."""
APART = 0.15
"""Distance in OKLab, at least, of the two ends for these readers; 0.02 is about the smallest
difference that is seen."""


def full_lightness(background: Background, hue: str) -> float:
    """Return the lightness of the full colour of a hue."""
    if hue == "low":
        return LOW_LIGHTNESS[background]
    return LIGHTNESS[background]


def compute_shades(background: Background, hue: str) -> list[str]:
    """Return the shades 1 to NUM_SHADES of a hue as #rrggbb: equal steps in OKLCH from the
    paper."""
    # From the lightness of the page on, so that the first step is as large as all others.
    begin, _, _ = to_oklab(PAPERS[background].paper)
    full = HUES[hue]

    # Lightness and chroma go together, so that the steps look equally far apart.
    shades = []
    for step in range(1, NUM_SHADES + 1):
        share = step / NUM_SHADES
        lightness = begin + (full_lightness(background, hue) - begin) * share
        shades.append(from_oklch(lightness, chroma=full.chroma * share, degrees=full.degrees))
    return shades


def count_inked(background: Background, shades: Sequence[str]) -> int:
    """Return how many shades, from the first on, are drawn with the ink of the page: as long as it
    is legible."""
    ink = PAPERS[background].ink
    return len(
        list(itertools.takewhile(lambda shade: contrast(shade, ink) >= MIN_CONTRAST, shades))
    )


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


def check_shades(background: Background, hue: str, shades: Sequence[str]) -> None:
    """Raise AssertionError unless the shades are legible and inside sRGB."""
    paper = PAPERS[background]

    # The text of the page on the first shades, black or white on the others, and never dark letters
    # beside light ones in one word.
    num_inked = count_inked(background, shades)
    for shade in shades[num_inked:]:
        best = max("#000000", "#ffffff", key=lambda ink: contrast(shade, ink))
        assert best == paper.strong_ink, (background, hue, shade)
        assert contrast(shade, best) >= MIN_CONTRAST, (background, hue, shade)

    # A colour outside sRGB would be clipped, have another lightness and chroma than intended, and not
    # be as far from the shade before it as the others are. Rounding to 8 bits moves it by less.
    begin, _, _ = to_oklab(paper.paper)
    for step, shade in enumerate(shades, start=1):
        share = step / NUM_SHADES
        lightness, a, b = to_oklab(shade)
        expected = begin + (full_lightness(background, hue) - begin) * share
        assert abs(lightness - expected) < 0.005, (background, hue, shade)
        assert abs(math.hypot(a, b) - HUES[hue].chroma * share) < 0.01, (background, hue, shade)


def check_ends(background: Background) -> None:
    """Raise AssertionError unless the two ends of the diverging palette differ in lightness, and
    stay apart for readers with a colour vision deficiency."""
    low = compute_shades(background, "low")
    high = compute_shades(background, "high")
    ends = contrast(low[-1], high[-1])
    assert ends >= MIN_END_CONTRAST, (background, ends)
    for deficiency in DEFICIENCIES:
        for step in (NUM_SHADES // 2, NUM_SHADES * 3 // 4, NUM_SHADES):
            seen_low = to_oklab(simulate(low[step - 1], deficiency))
            seen_high = to_oklab(simulate(high[step - 1], deficiency))
            apart = math.dist(seen_low, seen_high)
            assert apart > APART * step / NUM_SHADES, (background, deficiency, step, apart)


def simulate(colour: str, deficiency: str) -> str:
    """Return a colour as a reader with the deficiency sees it, as #rrggbb."""
    linear = _linear(colour)
    seen = []
    for row in DEFICIENCIES[deficiency]:
        seen.append(sum(map(math.prod, zip(row, linear, strict=True))))
    return _encoded(*seen)


def make_palette() -> str:
    """Return the text of the file: for each background and hue the (background, text) of its
    shades, from the faintest to the full colour, a shade in a line. Raises AssertionError if a
    shade fails its check."""
    palette: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for background, paper in PAPERS.items():
        check_ends(background)
        palette[background] = {}
        for hue in HUES:
            shades = compute_shades(background, hue)
            check_shades(background, hue=hue, shades=shades)
            num_inked = count_inked(background, shades)
            inks = [paper.ink] * num_inked + [paper.strong_ink] * (NUM_SHADES - num_inked)
            palette[background][hue] = list(zip(shades, inks, strict=True))
    encoded = json.dumps(palette, indent=1)
    return re.sub(r'\[\s+("#\w+"),\s+("#\w+")\s+\]', r"[\1, \2]", encoded) + "\n"


if __name__ == "__main__":
    FILE.write_text(make_palette(), encoding="utf-8")

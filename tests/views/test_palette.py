"""The palette: monotone, legible, alike on both sides, and one for all formats."""

import itertools
import math

import pytest
from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style

from charrnn.views import theme as palette
from charrnn.views.theme import (
    BACKGROUND_VARIABLE,
    HUES,
    NUM_SHADES,
    PAPERS,
    Palette,
    to_oklab,
)

BACKGROUNDS = ("dark", "light", "unknown")


def distance(one, other):
    return math.dist(to_oklab(one), to_oklab(other))


def colours_of(style):
    """The background and the text of a style."""
    return style.bgcolor.get_truecolor().hex, style.color.get_truecolor().hex


def test_oklab_of_the_primaries():
    # Ottosson (2020) lists white and the primaries to three digits; here to four, from the matrices
    # of CSS Color 4.
    for colour, expected in (
        ("#ffffff", (1.0, 0.0, 0.0)),
        ("#ff0000", (0.6280, 0.2249, 0.1258)),
        ("#0000ff", (0.4520, -0.0325, -0.3115)),
    ):
        assert to_oklab(colour) == pytest.approx(expected, abs=2e-4)
        lightness, a, b = expected
        there_and_back = palette.from_oklch(
            lightness, math.hypot(a, b), math.degrees(math.atan2(b, a))
        )
        assert distance(there_and_back, colour) < 2e-3


@pytest.mark.parametrize("background", ["light", "dark"])
def test_the_page_is_the_middle_and_lightness_is_monotone(background):
    shades = palette.steps(background) | {0: (PAPERS[background].paper, PAPERS[background].ink)}
    assert sorted(shades) == list(range(-NUM_SHADES, NUM_SHADES + 1))
    lightness = [to_oklab(shades[step][0])[0] for step in sorted(shades)]
    for side in (lightness[NUM_SHADES::-1], lightness[NUM_SHADES:]):
        is_rising = background == "dark"
        assert all(
            (after > before) == is_rising and after != before
            for before, after in itertools.pairwise(side)
        )
    # Red and blue of one strength are equally light: rounding to 8 bits moves them by less than
    # 0.005.
    assert lightness == pytest.approx(lightness[::-1], abs=0.005)


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("hue", HUES)
def test_shades_are_equally_far_apart_and_inside_srgb(background, hue):
    shades = [
        PAPERS[background].paper,
        *(palette.shade(background, hue, step)[0] for step in range(1, NUM_SHADES + 1)),
    ]
    gaps = [distance(*pair) for pair in itertools.pairwise(shades)]
    assert max(gaps) - min(gaps) < 0.008, (
        "rounding to 8 bits moves each end of a gap by less than 0.004"
    )
    # A colour outside sRGB would be clipped, and have another lightness and chroma than intended.
    lightness, a, b = to_oklab(shades[-1])
    assert lightness == pytest.approx(PAPERS[background].lightness, abs=0.005)
    assert math.hypot(a, b) == pytest.approx(HUES[hue].chroma, abs=0.01)


@pytest.mark.parametrize("hue", HUES)
@pytest.mark.parametrize("background", ["light", "dark"])
def test_the_text_on_all_shades_is_dark_or_on_all_of_them_light(background, hue):
    drawn = Palette(background)
    styles = [drawn.share(hue, step / NUM_SHADES) for step in range(1, NUM_SHADES + 1)]
    inks = [colours_of(style)[1] for style in styles if style.bgcolor]
    assert {to_oklab(ink)[0] > 0.5 for ink in inks} == {background == "dark"}


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("hue", HUES)
def test_text_is_legible_on_every_shade(background, hue):
    drawn = Palette(background)
    styles = [
        style for step in range(NUM_SHADES + 1) if (style := drawn.share(hue, step / NUM_SHADES))
    ]
    assert styles
    assert drawn.share(hue, 0) == drawn.share(hue, math.nan) == Style()
    assert all(palette.contrast(*colours_of(style)) >= palette.MIN_CONTRAST for style in styles)


@pytest.mark.parametrize(
    ("environment", "background"),
    [
        ({}, "unknown"),
        ({BACKGROUND_VARIABLE: " Light "}, "light"),
        ({BACKGROUND_VARIABLE: "pink"}, "unknown"),
        ({BACKGROUND_VARIABLE: "pink", "COLORFGBG": "15;0"}, "dark"),
        ({BACKGROUND_VARIABLE: "light", "COLORFGBG": "15;0"}, "light"),
        ({"COLORFGBG": "0;default;15"}, "light"),
        ({"COLORFGBG": "12;7"}, "light"),
        ({"COLORFGBG": "12;8"}, "dark"),
        ({"COLORFGBG": "15;default"}, "unknown"),
        ({"COLORFGBG": ";"}, "unknown"),
    ],
)
def test_the_background_is_named_or_known_from_the_terminal(environment, background):
    assert palette.background_of(environment) == background


def test_a_terminal_has_its_own_colours_whatever_was_shown_before():
    codes = {}
    for system in ("truecolor", "256"):
        console = Console(color_system=system, force_terminal=True)
        style = palette.palette_of(console).value(0.8125)
        # rich keeps what it has combined with another style.
        combined = Style(bold=True) + style
        codes[system] = combined.render("x", color_system=COLOR_SYSTEMS[system])
    assert "48;2;" in codes["truecolor"]
    assert "48;5;" in codes["256"]

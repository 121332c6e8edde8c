"""The palette: whether its shades are legible, the background of a terminal and its colours."""

import pytest
from legibility import MIN_CONTRAST, contrast
from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style

from charrnn.views import theme as palette
from charrnn.views.theme import BACKGROUND_VARIABLE


def test_text_is_legible_on_every_shade_and_the_two_ends_differ_without_hue():
    for shades in palette.read_palette().values():
        for hue in shades.values():
            assert len(hue) == palette.NUM_SHADES
            assert min(contrast(background, text) for background, text in hue) >= MIN_CONTRAST
        assert contrast(shades["low"][-1][0], shades["high"][-1][0]) >= 1.5


@pytest.mark.parametrize(
    "environment, background",
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

"""The palette: whether its shades are legible, and the background of a terminal."""

import pytest
from legibility import MIN_CONTRAST, contrast
from rich.console import Console

from charrnn.views import theme as palette
from charrnn.views.theme import BACKGROUND_VARIABLE


def test_text_is_legible_on_every_shade_and_the_two_ends_differ_without_hue():
    for shades in palette.read_palette().values():
        for hue in shades.values():
            assert len(hue) == palette.NUM_SHADES
            assert min(contrast(background, text) for background, text in hue) >= MIN_CONTRAST
        assert contrast(shades["low"][-1][0], shades["high"][-1][0]) >= 1.5


@pytest.mark.parametrize("named, background", [(" Light ", "light"), ("pink", "unknown")])
def test_the_background_is_named(named, background):
    console = Console(_environ={BACKGROUND_VARIABLE: named})
    assert palette.palette_of(console).background == background

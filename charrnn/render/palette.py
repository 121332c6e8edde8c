"""Colours and blocks for values in [-1, 1]: red is low, blue is high.

After Karpathy, Johnson & Li (2015), who colour a text by tanh(c): -1 is red, +1 is blue.
"""

from rich.console import Console
from rich.style import Style

LOW = (212, 38, 38)
HIGH = (36, 92, 230)
MIDDLE = (112, 112, 118)
"""Weak values fade into a grey that stands out from dark and light backgrounds alike; white reads on all three."""
NUM_SHADES = 12
"""Shades on either side: neighbours of one shade are drawn as one stretch, which keeps exported pictures small."""
FAINTEST = 1.5 / NUM_SHADES
"""Values nearer to zero than this are left in the terminal's own colours."""
BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-~=+*#"


def value_style(value: float) -> Style:
    """The style of a character whose cell has `value` in [-1, 1]; beyond it the nearest end, and nan is 0."""
    strength = round(NUM_SHADES * min(1.0, abs(value))) / NUM_SHADES if value == value else 0.0
    if strength < FAINTEST:
        return Style()
    end = HIGH if value > 0 else LOW
    red, green, blue = (
        round(middle + (full - middle) * strength**0.7) for middle, full in zip(MIDDLE, end, strict=True)
    )
    return Style(color="rgb(255,255,255)", bgcolor=f"rgb({red},{green},{blue})")


def block(value: float, blocks: str = BLOCKS) -> str:
    """The block of a value in [-1, 1]: the higher, the fuller; nan is 0."""
    share = (min(1.0, max(-1.0, value)) + 1) / 2 if value == value else 0.5
    return blocks[min(len(blocks) - 1, int(share * len(blocks)))]


def is_plain(console: Console) -> bool:
    return console.color_system is None or console.no_color

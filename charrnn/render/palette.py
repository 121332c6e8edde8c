"""Map values in [-1, 1] to colours and blocks: red is low, blue is high.

Follows Karpathy, Johnson & Li (2015), who colour a text by tanh(c): -1 is red, +1 is blue.
"""

from rich.console import Console
from rich.style import Style

LOW = (212, 38, 38)
"""Background (red, green, blue) of -1."""
HIGH = (36, 92, 230)
"""Background of +1."""
MIDDLE = (112, 112, 118)
"""Background of values near 0: a grey that is visible on dark and light terminals, under white text."""
NUM_SHADES = 12
"""Shades on either side of 0. Neighbours of one shade are drawn as one segment, which keeps exported pictures small."""
MIN_INTENSITY = 1.5 / NUM_SHADES
"""Values nearer to 0 than this keep the terminal's own colours."""
BLOCKS = "▁▂▃▄▅▆▇█"
"""Blocks from -1 to +1."""
ASCII_BLOCKS = "_.-~=+*#"
"""The same for streams that carry ASCII only."""


def value_style(value: float) -> Style:
    """Return the style of a character whose cell has `value`, clipped to [-1, 1]; nan counts as 0."""
    intensity = round(NUM_SHADES * min(1.0, abs(value))) / NUM_SHADES if value == value else 0.0
    if intensity < MIN_INTENSITY:
        return Style()
    end = HIGH if value > 0 else LOW
    red, green, blue = (
        round(middle + (full - middle) * intensity**0.7) for middle, full in zip(MIDDLE, end, strict=True)
    )
    return Style(color="rgb(255,255,255)", bgcolor=f"rgb({red},{green},{blue})")


def block(value: float, blocks: str = BLOCKS) -> str:
    """Return the block of a value, clipped to [-1, 1]: the higher, the fuller; nan counts as 0."""
    share = (min(1.0, max(-1.0, value)) + 1) / 2 if value == value else 0.5
    return blocks[min(len(blocks) - 1, int(share * len(blocks)))]


def is_plain(console: Console) -> bool:
    """Return whether a console shows no colours."""
    return console.color_system is None or console.no_color

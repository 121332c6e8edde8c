"""The size and shape of an exported picture."""

import math
from dataclasses import dataclass

from charrnn.errors import UsageError, named

MIN_COLUMNS, MAX_COLUMNS = 20, 400
"""Columns of text in a picture, at least and at most."""
MIN_FONT_SIZE, MAX_FONT_SIZE = 4.0, 200.0
"""Size of the font in pixels, at least and at most."""
MAX_ASPECT = 5.0
"""The longer side of a picture divided by the shorter one, at most."""
MAX_PIXELS = 200_000_000
"""Pixels of a .png, at most: they take four bytes each while it is drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a picture is laid out. Raises UsageError for a value out of range; None leaves a choice to the picture."""

    columns: int | None = None
    """Columns at which lines are broken; the picture is as wide."""
    aspect: float | None = None
    """Width divided by height. Without `columns`, those that fill the shape best are chosen."""
    font_size: float | None = None
    """Size of the font in pixels."""

    def __post_init__(self) -> None:
        if self.columns is not None and not MIN_COLUMNS <= self.columns <= MAX_COLUMNS:
            raise UsageError(
                f"{named('columns', self.columns)}: a picture has {MIN_COLUMNS} to {MAX_COLUMNS} columns. Try 80."
            )
        if self.aspect is not None and not 1 / MAX_ASPECT <= self.aspect <= MAX_ASPECT:
            raise UsageError(
                f"{named('aspect', f'{self.aspect:g}')}: width to height is from 1:{MAX_ASPECT:g} to {MAX_ASPECT:g}:1. "
                "Try 16:9."
            )
        if self.font_size is not None and not MIN_FONT_SIZE <= self.font_size <= MAX_FONT_SIZE:
            raise UsageError(
                f"{named('font_size', f'{self.font_size:g}')}: a font has {MIN_FONT_SIZE:g} to {MAX_FONT_SIZE:g} "
                "pixels. Try 20."
            )


def parse_aspect(text: str) -> float:
    """Return width divided by height of `16:9` or `1.78`. Raises UsageError for anything else."""
    width, colon, height = text.partition(":")
    try:
        ratio = float(width) / float(height if colon else 1)
    except (ValueError, ZeroDivisionError):
        ratio = math.nan
    if not math.isfinite(ratio):
        raise UsageError(f"{named('aspect', text)}: give width to height, such as 16:9, 4:3 or 1.5.")
    return ratio

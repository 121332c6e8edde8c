"""SVG to PNG with resvg (extra `png`) and the fonts of this machine."""

import re
from functools import cache

from charrnn.errors import UsageError, named
from charrnn.views.layout import MAX_PIXELS

ZOOM = 2.0
"""Pixels of the PNG per pixel of the SVG; 2 is sharp on a slide."""


def to_png(svg: str) -> bytes:
    """Rasterize an SVG of `to_svg`. Raises UsageError for a picture too large, or without a font for its text."""
    import resvg_py

    width, height = (round(ZOOM * float(size)) for size in re.findall('(?:width|height)="([0-9.]+)"', svg)[:2])
    if width * height > MAX_PIXELS:
        raise UsageError(
            f"A .png of {width:,} × {height:,} pixels is too large; {MAX_PIXELS:,} pixels are the most.\n"
            f"Choose less text, or a smaller {named('font_size')}; or export a .svg."
        )
    if not _has_font():
        raise UsageError(
            "Drawing a .png needs a font, and this machine has none: install a monospaced one, such as the "
            "package fonts-dejavu-core.\nOr export a .svg, which is drawn with the fonts of the viewer."
        )
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=ZOOM))


@cache
def _has_font() -> bool:
    """Return whether drawing a letter changes any pixel."""
    import resvg_py

    from charrnn.views.svg import FONTS

    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">'
        f'<text x="5" y="30" font-size="20" font-family="{FONTS}">{letter}</text></svg>'
        for letter in ("M", "")
    )
    with_letter, without = (bytes(resvg_py.svg_to_bytes(svg_string=svg)) for svg in drawn)
    return with_letter != without

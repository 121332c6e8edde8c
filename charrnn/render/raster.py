"""A picture as PNG, by resvg (extra `png`) and the fonts of this machine."""

from functools import cache

from charrnn.errors import UsageError

ZOOM = 2.0
"""Pixels of the PNG for each pixel of the picture: sharp on a slide."""


def to_png(svg: str) -> bytes:
    """Rasterise a picture of `to_svg`. Raises UsageError when there is no font to draw its text with."""
    import resvg_py

    if not _has_font():
        raise UsageError(
            "A .png is drawn with a font of this machine, and none was found: install a monospaced one, such as the "
            "package fonts-dejavu-core.\nOr export a .svg, which is drawn where it is looked at."
        )
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=ZOOM))


@cache
def _has_font() -> bool:
    """Whether a letter leaves anything on the paper."""
    import resvg_py

    from charrnn.render.svg import FONTS

    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">'
        f'<text x="5" y="30" font-size="20" font-family="{FONTS}">{letter}</text></svg>'
        for letter in ("M", "")
    )
    with_letter, without = (bytes(resvg_py.svg_to_bytes(svg_string=svg)) for svg in drawn)
    return with_letter != without

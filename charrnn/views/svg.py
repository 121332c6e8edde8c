"""Export renderables as an SVG picture, as a PNG of this picture, as an HTML page or as text.

rich records what a console prints, and writes it in each of these formats. The templates are ours:
they load nothing from the network, and have colours for readers who prefer dark pictures. Lengths
are in pixels.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape, unescape
from io import StringIO
from typing import Any
from zlib import crc32

from rich.cells import cell_len
from rich.color import parse_rgb_hex
from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from charrnn.errors import UsageError
from charrnn.views.theme import BACKGROUND_VARIABLE, PAPERS, all_visible, dark_colours

MAX_PIXELS = 200_000_000
"""The largest number of pixels of a .png: each takes four bytes while the picture is drawn."""
ZOOM = 2.0
"""Pixels of the PNG per pixel of the SVG; 2 is sharp on a slide."""
COLUMNS = 100
"""Columns of text and drawings."""
MIN_FITTED_COLUMNS = 50
"""The smallest number of columns of a picture of text, which is else as wide as its longest line.
"""
FONT_SIZE = 21.0
"""Size of the font. Its blocks and rules are as high as a line, so that they have no gaps."""
COLUMN_WIDTH = 0.602 * FONT_SIZE
"""Advance width of a character in Menlo and DejaVu Sans Mono."""
RICH_FONT_SIZE = 20.0
"""The size of the font by which rich computes the width of a column and the height of a line."""
LINE_HEIGHT = 1.22 * RICH_FONT_SIZE
"""Height of a line of text."""
MARGIN = 14.0
"""Space around the picture."""
FONTS = (
    "Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', 'Noto Sans Mono', 'Courier New',"
    " monospace"
)
"""Fonts on the reader's machine, the preferred one first."""
RECORDING: dict[str, Any] = {
    "force_terminal": True,
    "force_jupyter": False,
    "color_system": "truecolor",
    "legacy_windows": False,
    "markup": False,
    "emoji": False,
    "highlight": False,
    "_environ": {BACKGROUND_VARIABLE: "light"},
}
"""Options of a rich Console for light paper, which prints markup as text and ignores the settings
of the terminal."""

INK = PAPERS["light"].ink
"""Colour of text."""
PAPER = PAPERS["light"].paper
"""Colour of the background."""
_ANSI = ("#b41e1e", "#1e7832", "#966400", "#1e46b4", "#822882", "#006e78")
_DARK_ANSI = ("#f08080", "#6cc98a", "#d6a843", "#82aaff", "#d59ad8", "#5cc4d0")
LIGHT = TerminalTheme(
    background=parse_rgb_hex(PAPER[1:]),
    foreground=parse_rgb_hex(INK[1:]),
    normal=[parse_rgb_hex(colour[1:]) for colour in (INK, *_ANSI, "#787878")],
)
"""The theme of exported pictures: dark ink on light paper."""
ON_DARK = dark_colours() | dict(zip(_ANSI, _DARK_ANSI, strict=True))
"""The colours of an exported picture in a viewer that prefers dark pictures, by the colours on
light paper."""

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" \
viewBox="-{margin:g} -{margin:g} {width} {height}" role="img" class="charrnn">
<title>{title}</title>
<style>
{styles}
@media (prefers-color-scheme: dark) {{
{dark_styles}
}}
</style>
<rect x="-{margin:g}" y="-{margin:g}" width="100%" height="100%" rx="8" fill="{paper}"/>
{backgrounds}
<g font-family="{fonts}" font-size="{font_size:g}" xml:space="preserve" \
style="white-space: pre; unicode-bidi: bidi-override; direction: ltr">

{letters}
</g>
</svg>
"""
"""The template of a picture. Letters are drawn in the order of the text, as most terminals do, so
that each letter is on its own colour."""
_HTML = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<meta name="generator" content="charrnn">
<title>{title}</title>
<style>
{styles}
@media (prefers-color-scheme: dark) {{
{dark_styles}
}}
pre {{ font: 1em/1.5 {fonts}; }}
pre span {{ padding-bottom: 0.16em; }}
</style>
</head>
<body>
{chart}<pre><code>{code}</code></pre>
</body>
</html>
"""
"""The template of a page.

The padding of the text extends background colours below the letters: browsers draw underscores at
the lower edge of the coloured box or below it, where light ink on paper is invisible. Padding above
would cover the previous line."""
_PAGE_STYLE = f"body {{ color: {INK}; background-color: {PAPER}; margin: 2em; }}"
_LINE_END = re.compile("<text [^>]*>\n</text>")
_TEXT = re.compile(r'textLength="[^"]*" clip-path="[^"]*">([^<]*)<')
"""The end of the tag of a text, and the text."""


def to_svg(
    renderables: Sequence[RenderableType], title: str = "charrnn", columns: int | None = None
) -> str:
    """Return an SVG picture with this title that shows the renderables below each other, `columns`
    wide.

    It is for tables and coloured texts; a chart is drawn by `chart_files.draw_chart`.

    By default the picture is as wide as its longest line, from MIN_FITTED_COLUMNS to COLUMNS.
    """
    # The text is laid out for the largest width; then the picture is cut to the longest line.
    console = print_all(renderables, width=columns or COLUMNS)
    text = console.export_text(clear=False)
    lines = text.split("\n")[:-1]
    console.width = max([columns or MIN_FITTED_COLUMNS, *map(cell_len, lines)])
    parts = console.export_svg(
        theme=LIGHT,
        code_format="{styles}\0{backgrounds}\0{matrix}",
        font_aspect_ratio=COLUMN_WIDTH / RICH_FONT_SIZE,
        # Several pictures may stand on one page, each with its own styles.
        unique_id=f"c{crc32(text.encode('utf-8', 'replace')):x}",
    )
    styles, backgrounds, letters = parts.split("\0")

    # The colours of backgrounds are attributes, those of letters are in the styles.
    dark_styles = [_on_dark(styles)]
    for colour in sorted({PAPER, *re.findall('fill="(#[0-9a-f]{6})"', backgrounds)}):
        dark_styles.append(f'.charrnn [fill="{colour}"] {{ fill: {_on_dark(colour)} }}')
    return _SVG.format(
        width=round(console.width * COLUMN_WIDTH + 2 * MARGIN),
        height=round(len(lines) * LINE_HEIGHT + 2 * MARGIN),
        margin=MARGIN,
        title=escape(all_visible(title)),
        styles=styles,
        dark_styles="\n".join(dark_styles),
        paper=PAPER,
        backgrounds=_shortened(backgrounds),
        fonts=FONTS,
        font_size=FONT_SIZE,
        letters=_shortened(_TEXT.sub(_stretched, _LINE_END.sub("", letters))),
    )


def _stretched(text: re.Match[str]) -> str:
    """Stretch a text to its columns in a terminal, whatever the font."""
    # rich takes one column for every character, also for wide ones and for accents.
    width = cell_len(unescape(text[1])) * COLUMN_WIDTH
    return f'textLength="{width:.6g}">{text[1]}<'


def _shortened(elements: str) -> str:
    """Return elements with at most two decimals in each number, one element a line."""
    rounded = re.sub(r"(\.\d\d)\d+(?=\")", r"\1", elements)
    return re.sub("><(?=rect|text)", ">\n<", rounded)


def _on_dark(text: str) -> str:
    return re.sub("#[0-9a-f]{6}", lambda colour: ON_DARK.get(colour[0], colour[0]), text)


def to_png(svg: str) -> bytes:
    """Rasterize an SVG of `to_svg`. Raises UsageError for a picture that is too large, and on a
    machine without any font."""
    import resvg_py

    # The first width and height are those of the whole picture.
    sizes = re.findall('(?:width|height)="([0-9.]+)"', svg)
    width = round(ZOOM * float(sizes[0]))
    height = round(ZOOM * float(sizes[1]))
    if width * height > MAX_PIXELS:
        raise UsageError(
            f"A .png of {width:,} × {height:,} pixels is too large; {MAX_PIXELS:,} pixels are the"
            " most.\nChoose less text, or export a .svg."
        )

    # Without a font, resvg draws no text and reports no error.
    if not _has_font():
        raise UsageError(
            "Drawing a .png needs a font, and this machine has none: install a monospaced one, such"
            " as the package fonts-dejavu-core.\nOr export a .svg, which is drawn with the fonts of"
            " the viewer."
        )
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=ZOOM))


@cache
def _has_font() -> bool:
    """Return whether drawing a letter changes any pixel."""
    import resvg_py

    template = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" font-family="{FONTS}">'
        '<text y="30">{}</text></svg>'
    )
    letter = resvg_py.svg_to_bytes(svg_string=template.format("M"))
    blank = resvg_py.svg_to_bytes(svg_string=template.format(""))
    return bytes(letter) != bytes(blank)


def to_html(
    renderables: Sequence[RenderableType], title: str = "charrnn", *, chart: str = ""
) -> str:
    """Return an HTML page with this title that shows the renderables in order, COLUMNS wide, below
    a chart, if there is one: an <svg> element."""
    html = print_all(renderables).export_html(theme=LIGHT, code_format="{stylesheet}\0{code}")
    text_styles, code = html.split("\0", 1)
    styles = _PAGE_STYLE + text_styles
    return _HTML.format(
        title=escape(all_visible(title)),
        styles=styles,
        dark_styles=_on_dark(styles),
        fonts=FONTS,
        chart=chart,
        code=code,
    )


def to_text(renderables: Sequence[RenderableType]) -> str:
    """Return the renderables in order as plain text, COLUMNS wide. Marks below a text stand for its
    colours.

    It is the format `.txt`, for programs and readers that want no markup.
    """
    return print_all(renderables, force_terminal=None, color_system=None).export_text()


def print_all(
    renderables: Iterable[RenderableType], width: int = COLUMNS, **options: Any
) -> Console:
    """Print the renderables on a console that records them, and return the console. `options`
    replace options of RECORDING.

    The other functions of this module make their formats of what it has recorded.
    """
    # rich exports what a console has recorded; the file is not read.
    console = Console(record=True, file=StringIO(), width=width, **RECORDING | options)
    for renderable in renderables:
        console.print(renderable)
    return console

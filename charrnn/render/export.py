"""The same picture for others: a self-contained .html or .svg page, or a plain text, of any renderables."""

import io
from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from charrnn.render.curves import GradientChart
from charrnn.render.scatters import GateScatters

WIDTH = 100
_ITS_OWN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "_environ": {}}
"""Words are words, and a picture is the same whatever this terminal is told of colours."""

_LIGHT = TerminalTheme(
    (252, 252, 250),
    (30, 30, 34),
    [
        (30, 30, 34),
        (180, 30, 30),
        (30, 120, 50),
        (150, 100, 0),
        (30, 70, 180),
        (130, 40, 130),
        (0, 110, 120),
        (120, 120, 120),
    ],
)

# Neither asks the network for anything: the fonts are whatever the reader's machine has.
_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<title>charrnn</title>
<style>
{stylesheet}
body {{ color: {foreground}; background-color: {background}; margin: 2em; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #e6e6ea; background-color: #17181c; }} }}
pre {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; line-height: 1.35; }}
</style>
</head>
<body>
<pre><code>{code}</code></pre>
</body>
</html>
"""
_HTML_OF_SVG = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<title>charrnn</title>
<style>body {{ margin: 2em; background: #fcfcfa; }} svg {{ max-width: 70em; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #17181c; }} }}</style>
</head>
<body>
{svg}
</body>
</html>
"""
_DRAWN = (GateScatters, GradientChart)
"""What is drawn in Braille, whose dots are in line only where a picture places each: not in every font of a page."""
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{
    font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace;
    font-size: {char_height}px;
    line-height: {line_height}px;
}}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>{lines}</defs>
<rect width="100%" height="100%" rx="8" fill="#fcfcfa" />
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def to_html(renderables: Sequence[RenderableType]) -> str:
    """One HTML page that shows the renderables in order, 100 columns wide."""
    if any(isinstance(renderable, _DRAWN) for renderable in renderables):
        return _HTML_OF_SVG.format(svg=to_svg(renderables))
    return _record(renderables).export_html(theme=_LIGHT, code_format=_HTML)


def to_svg(renderables: Sequence[RenderableType]) -> str:
    """One SVG picture that shows the renderables in order, 100 columns wide."""
    return _record(renderables).export_svg(theme=_LIGHT, code_format=_SVG, unique_id="charrnn")


def to_text(renderables: Sequence[RenderableType]) -> str:
    """The renderables in order as plain text, 100 columns wide; marks under a text stand for its colours."""
    file = io.StringIO()
    console = Console(file=file, width=WIDTH, color_system=None, legacy_windows=False, **_ITS_OWN)
    for renderable in renderables:
        console.print(renderable)
    return file.getvalue()


def _record(renderables: Sequence[RenderableType]) -> Console:
    console = Console(
        record=True,
        file=io.StringIO(),
        width=WIDTH,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        **_ITS_OWN,
    )
    for renderable in renderables:
        console.print(renderable)
    return console

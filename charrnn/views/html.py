"""Renderables as a self-contained HTML page or as plain text."""

import re
from collections.abc import Sequence
from html import escape
from io import StringIO

from rich.console import Console, RenderableType

from charrnn.views.svg import COLUMNS, DARK, INK, LIGHT, ON_DARK, PAPER, RECORDING, Drawing, to_svg
from charrnn.views.theme import all_visible

# Both pages load nothing from the network: fonts are those of the reader's machine.
# The padding extends background colours below the letters: browsers draw underscores at the lower edge of the coloured
# box or below it, where light ink on paper is invisible. Padding above would cover the previous line.
_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<title>{title}</title>
<style>
{{stylesheet}}
body {{{{ color: {{foreground}}; background-color: {{background}}; margin: 2em; }}}}
@media (prefers-color-scheme: dark) {{{{ {dark} body {{{{ color: {dark_ink}; background-color: {dark_paper}; }}}} }}}}
pre {{{{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; line-height: 1.5; }}}}
pre span {{{{ padding-bottom: 0.16em; }}}}
</style>
</head>
<body>
<pre><code>{{code}}</code></pre>
</body>
</html>
"""
_HTML_OF_SVG = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<title>{title}</title>
<style>body {{ margin: 2em; background: {paper}; }} svg {{ max-width: 70em; width: 100%; height: auto; }}
@media (prefers-color-scheme: dark) {{ body {{ background: {dark_paper}; }} }}</style>
</head>
<body>
{svg}
</body>
</html>
"""


def to_html(renderables: Sequence[RenderableType], title: str = "charrnn") -> str:
    """Return an HTML page with this title that shows the renderables in order, COLUMNS wide."""
    name = escape(all_visible(title))
    if any(isinstance(renderable, Drawing) for renderable in renderables):
        return _HTML_OF_SVG.format(title=name, paper=PAPER, dark_paper=DARK[PAPER], svg=to_svg(renderables, title))
    console = Console(record=True, file=StringIO(), width=COLUMNS, **RECORDING)
    for renderable in renderables:
        console.print(renderable)
    # rich formats the page again, and would take a brace of the title for a field.
    page = _HTML.format(
        title=name.replace("{", "{{").replace("}", "}}"), dark="/* dark */", dark_ink=DARK[INK], dark_paper=DARK[PAPER]
    )
    html = console.export_html(theme=LIGHT, code_format=page)
    styles = html[html.index("<style>") + len("<style>") : html.index("body {")]
    return html.replace(
        "/* dark */", re.sub("#[0-9a-f]{6}", lambda colour: ON_DARK.get(colour[0], colour[0]), styles), 1
    )


def to_text(renderables: Sequence[RenderableType]) -> str:
    """Return the renderables in order as plain text, COLUMNS wide. Marks below a text replace its colours."""
    file = StringIO()
    options = {**RECORDING, "force_terminal": None, "color_system": None}
    console = Console(file=file, width=COLUMNS, **options)
    for renderable in renderables:
        console.print(renderable)
    return file.getvalue()

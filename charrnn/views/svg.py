"""Export renderables as an SVG picture with the same layout in every viewer, as a PNG of this
picture, as an HTML page or as text.

Each word has its own position, because viewers differ in the widths of spaces and fonts; spaces
stay in the text for copying. Block characters and charts are drawn as shapes. Lengths are in
pixels.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import cache
from html import escape
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.cells import cell_len
from rich.color import Color, blend_rgb, parse_rgb_hex
from rich.color_triplet import ColorTriplet
from rich.console import Console, Group, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme

from charrnn.errors import UsageError
from charrnn.views.theme import (
    BACKGROUND_VARIABLE,
    BLOCKS,
    PAPERS,
    all_visible,
    clusters,
    dark_colours,
)

MAX_PIXELS = 200_000_000
"""The largest number of pixels of a .png: each takes four bytes while the picture is drawn."""


COLUMNS = 100
"""Columns of text and drawings."""
MIN_FITTED_COLUMNS = 50
"""The smallest number of columns of a picture of text, which is else as wide as its longest line.
"""
FONT_SIZE = 20.0
"""Size of the font."""
COLUMN_WIDTH = 0.602 * FONT_SIZE
"""Advance width of a character in Menlo and DejaVu Sans Mono. Viewers stretch other fonts to this
width if they can."""
LINE_HEIGHT = 24.0
"""Height of a line of text."""
BASELINE = 18.0
"""Distance of the baseline from the top of a line."""
UNDERLINE_HEIGHT = 2.0
"""Thickness of an underline."""
UNDERLINE_GAP = 2.0
"""Coloured space below an underline; without it, a white underline is lost on white paper."""
MARGIN = 14.0
"""Space around the picture."""
FONTS = (
    "Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', 'Noto Sans Mono', 'Courier New',"
    " monospace"
)
"""Fonts, the preferred one first."""
FAINT = 0.4
"""Share of the background colour in a dim colour."""
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


def terminal_theme(paper: str, ink: str, colours: Sequence[str]) -> TerminalTheme:
    """Return the theme of a terminal with these colours of the background, of text and of the 8
    names of ANSI, all as #rrggbb."""
    return TerminalTheme(
        background=parse_rgb_hex(paper[1:]),
        foreground=parse_rgb_hex(ink[1:]),
        normal=[parse_rgb_hex(colour[1:]) for colour in colours],
    )


INK = PAPERS["light"].ink
"""Colour of text."""
PAPER = PAPERS["light"].paper
"""Colour of the background."""
GRID = "#d8d8d4"
"""Colour of the lines behind a chart."""
_ANSI = ("#b41e1e", "#1e7832", "#966400", "#1e46b4", "#822882", "#006e78")
_DARK_ANSI = ("#f08080", "#6cc98a", "#d6a843", "#82aaff", "#d59ad8", "#5cc4d0")
LIGHT = terminal_theme(PAPER, INK, colours=(INK, *_ANSI, "#787878"))
"""The theme of exported pictures: dark ink on light paper."""
ON_DARK = dark_colours() | {GRID: "#3a3b42"} | dict(zip(_ANSI, _DARK_ANSI, strict=True))
"""The colours of an exported picture in a viewer that prefers dark pictures, by the colours on
light paper."""

_FILLED = {
    character: [(0.0, 1 - eighths / 8, 1.0, eighths / 8)]
    for eighths, character in enumerate(BLOCKS, start=1)
}
_FILLED |= {
    "─": [(0.0, 0.47, 1.0, 0.06)],
    "━": [(0.0, 0.44, 1.0, 0.12)],
    "│": [(0.44, 0.0, 0.12, 1.0)],
    "┤": [(0.44, 0.0, 0.12, 1.0), (0.0, 0.47, 0.5, 0.06)],
    "└": [(0.44, 0.0, 0.12, 0.53), (0.5, 0.47, 0.5, 0.06)],
    "┬": [(0.0, 0.47, 1.0, 0.06), (0.44, 0.5, 0.12, 0.3)],
}
"""The rectangles of each block character and rule: left, top, width and height, as shares of the
character."""
MARKS = "●▲■◆○△□"
"""The marks on the lines of a drawing, in turn."""
_OUTLINES = ((24, 0.0), (3, 0.0), (4, 0.125), (4, 0.0))
"""The polygons, filled and then hollow, that are drawn for MARKS: (corners, rotation as a share of
a turn)."""
MARK_SIZE = 6.0
"""Pixels from the centre of a mark to its corners."""
_SHAPES = "".join(_FILLED) + MARKS
_PIECES = re.compile(f"[━─]+| +|[{_SHAPES}]|[^ {_SHAPES}]+")
"""Rules, spaces, a character that is drawn as a shape, or a word."""


_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
"""Letters that are written from right to left (DerivedBidiClass.txt of Unicode)."""
IN_ORDER = "unicode-bidi: bidi-override; direction: ltr"
"""The style that draws letters in the order of the text, as most terminals do, so that each letter
is on its own colour."""


@runtime_checkable
class SvgDrawing(Protocol):
    """A renderable with shapes below its characters in an exported picture."""

    def to_shapes(self, columns: int) -> tuple[Sequence[RenderableType], Sequence[str]]:
        """Return the lines of the drawing in a picture of this width, and the SVG elements below
        them, whose upper left corner is at (0, 0)."""


def to_svg(
    renderables: Sequence[RenderableType], title: str = "charrnn", columns: int | None = None
) -> str:
    """Return an SVG picture with this title that shows the renderables below each other, `columns`
    wide.

    By default the picture is as wide as its longest line, from MIN_FITTED_COLUMNS to COLUMNS.
    """
    # The text is laid out for the largest width; then the picture is cut to the longest line.
    num_columns = columns or MIN_FITTED_COLUMNS
    max_columns = columns or COLUMNS
    console = Console(file=StringIO(), width=max_columns, **RECORDING)
    elements: list[str] = []
    top = 0.0
    for renderable in renderables:
        if isinstance(renderable, SvgDrawing):
            lines, shapes = renderable.to_shapes(max_columns)
            renderable = Group(*lines)
            elements += translated(shapes, 0, top)
            num_columns = max_columns

        for line in console.render_lines(renderable, pad=False):
            num_columns = max(num_columns, Segment.get_line_length(line))
            elements += _draw_line(line, top)
            top += LINE_HEIGHT

    width = _number(num_columns * COLUMN_WIDTH + 2 * MARGIN)
    height = _number(top + 2 * MARGIN)

    # The style sheet has only the colours that occur, of more than fifty.
    used = set(re.findall('(?:fill|stroke)="(#[0-9a-f]{6})"', "".join(elements)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" class="charrnn" xml:space="preserve">\n'
        f"<title>{_escape(title)}</title>\n<style>{_dark_style({INK, PAPER, *used})}</style>\n"
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>\n'
        f'<g transform="translate({_number(MARGIN)} {_number(MARGIN)})" font-family="{FONTS}" '
        f'font-size="{_number(FONT_SIZE)}" fill="{INK}" style="white-space: pre">\n'
        + "\n".join(elements)
        + "\n</g>\n</svg>\n"
    )


def _dark_style(used: Set[str]) -> str:
    """Return the style sheet that replaces the `used` colours in a viewer that prefers dark
    pictures.

    Viewers without such a preference show the colours of the attributes.
    """
    # The colours are attributes and not classes, which viewers without CSS would leave black.
    rules = ""
    for light, dark in ON_DARK.items():
        if light in used:
            rules += f'.charrnn [fill="{light}"]{{fill:{dark}}}'
            rules += f'.charrnn [stroke="{light}"]{{stroke:{dark}}}'
    return f"@media (prefers-color-scheme: dark){{{rules}}}"


def translated(shapes: Sequence[str], x: float, y: float) -> list[str]:
    """Return a group of elements that are moved to the right and down, nothing for no elements."""
    if not shapes:
        return []
    return [f'<g transform="translate({_number(x)} {_number(y)})">{"".join(shapes)}</g>']


def path(points: Sequence[tuple[float, float]], stroke: str, *, width: float) -> str:
    """Return a line through points."""
    return f'<path d="{_through(points)}" fill="none" stroke="{stroke}" stroke-width="{width:g}"/>'


def circle(centre: tuple[float, float], fill: str) -> str:
    """Return a small filled circle; circles that lie over each other look darker."""
    x, y = centre
    return f'<circle cx="{_number(x)}" cy="{_number(y)}" r="3" fill="{fill}" opacity="0.6"/>'


def mark_shape(mark: str, centre: tuple[float, float], colour: str) -> str:
    """Return one of MARKS as a filled or hollow polygon; a circle has 24 corners."""
    index = MARKS.index(mark)
    num_corners, turn = _OUTLINES[index % len(_OUTLINES)]
    x, y = centre
    outline = []
    for corner in range(num_corners):
        angle = math.tau * (corner / num_corners + turn)
        outline.append((x + MARK_SIZE * math.sin(angle), y - MARK_SIZE * math.cos(angle)))

    # A hollow mark hides the line below it.
    fill = PAPER
    if index < len(_OUTLINES):
        fill = colour
    edge = f'stroke="{colour}" stroke-width="1.5"'
    return f'<path d="{_through(outline)}z" fill="{fill}" {edge}/>'


def colour_of(style: Style) -> str:
    """Return the text colour of a style on light paper, as #rrggbb."""
    return _ink(style).hex


def _through(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)


def _draw_line(line: Sequence[Segment], top: float) -> Iterator[str]:
    """Yield a group of the backgrounds and shapes of a line, then a text element of its words."""
    rectangles: list[str] = []
    words: list[str] = []
    column = 0
    for style, segments in groupby(line, key=lambda segment: segment.style or Style()):
        # Neighbouring segments of the same style are drawn together.
        text = "".join(segment.text for segment in segments if not segment.control)
        width = cell_len(text)
        ink = _ink(style).hex

        # Behind the text are its background and its underline.
        paper = style.color if style.reverse else style.bgcolor
        if width and paper is not None and not paper.is_default:
            fill = paper.get_truecolor(LIGHT).hex
            rectangles.append(
                _rectangle(column, top, num_columns=width, height=LINE_HEIGHT, fill=fill)
            )
        if width and style.underline:
            below = LINE_HEIGHT - UNDERLINE_GAP - UNDERLINE_HEIGHT
            rectangles.append(
                _rectangle(
                    column, top + below, num_columns=width, height=UNDERLINE_HEIGHT, fill=ink
                )
            )

        for piece in _PIECES.findall(text):
            width = cell_len(piece)

            # Blocks are shapes, because fonts leave gaps between them. Their characters are
            # invisible, and there for copying.
            if piece[0] in _SHAPES:
                rectangles += _shapes_of(piece[0], column, top, num_columns=width, fill=ink)
                words.append(f'<tspan fill="none">{piece}</tspan>')
            elif piece[0] == " ":
                words.append(piece)
            elif _RIGHT_TO_LEFT.search(piece):
                # Letter by letter: viewers would reverse the word, but not the colours below it.
                end = column
                for letter, _ in clusters(zip(piece, piece, strict=True)):
                    words.append(_word(letter, end, width=cell_len(letter), style=style))
                    end += cell_len(letter)
            else:
                words.append(_word(piece, column, width=width, style=style))
            column += width

    if rectangles:
        yield f'<g shape-rendering="crispEdges">{"".join(rectangles)}</g>'

    # Spaces at the end of a line are left out.
    while words and not words[-1].strip():
        words.pop()
    if words:
        content = "".join(words)
        order = ""
        if _RIGHT_TO_LEFT.search(content):
            order = f' style="{IN_ORDER}"'
        yield f'<text y="{_number(top + BASELINE)}"{order}>{content}</text>'


def _shapes_of(
    character: str, column: int, top: float, num_columns: int, fill: str
) -> Iterator[str]:
    """Yield the shapes of a mark, of a block, or of a rule of several columns."""
    if character in MARKS:
        centre = ((column + 0.5) * COLUMN_WIDTH, top + LINE_HEIGHT / 2)
        yield mark_shape(character, centre, fill)
        return
    # A rule is as long as its columns; the corners of an axis have one.
    for left, down, width, height in _FILLED[character]:
        yield _rectangle(
            column + left,
            top + down * LINE_HEIGHT,
            num_columns=width * num_columns,
            height=height * LINE_HEIGHT,
            fill=fill,
        )


def _word(text: str, column: int, width: int, style: Style) -> str:
    x = _number(column * COLUMN_WIDTH)
    length = _number(width * COLUMN_WIDTH)

    # The word is stretched to its columns in a terminal, whatever the font.
    attributes = f' x="{x}" textLength="{length}" lengthAdjust="spacingAndGlyphs"'
    ink = _ink(style)
    if ink != LIGHT.foreground_color:
        attributes += f' fill="{ink.hex}"'
    if style.bold:
        attributes += ' font-weight="bold"'
    return f"<tspan{attributes}>{_escape(text)}</tspan>"


def _rectangle(column: float, top: float, num_columns: float, height: float, fill: str) -> str:
    x = _number(column * COLUMN_WIDTH)
    width = _number(num_columns * COLUMN_WIDTH)
    position = f'x="{x}" y="{_number(top)}" width="{width}" height="{_number(height)}"'
    return f'<rect {position} fill="{fill}"/>'


def _ink(style: Style) -> ColorTriplet:
    # A style without a colour has the colour of the page.
    ink = (style.color or Color.default()).get_truecolor(LIGHT)
    paper = (style.bgcolor or Color.default()).get_truecolor(LIGHT, foreground=False)
    if style.reverse:
        ink, paper = paper, ink
    if style.dim:
        return blend_rgb(ink, paper, FAINT)
    return ink


def _escape(text: str) -> str:
    """Escape text for XML on one line: without markup and control characters."""
    return escape(all_visible(text), quote=True)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


ZOOM = 2.0
"""Pixels of the PNG per pixel of the SVG; 2 is sharp on a slide."""


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


PAGE = Path(__file__).with_name("picture.html")
"""The template of a page with a text or a drawing. It loads nothing from the network: the fonts are
on the reader's machine.

The padding of the text extends background colours below the letters: browsers draw underscores at
the lower edge of the coloured box or below it, where light ink on paper is invisible. Padding above
would cover the previous line."""


def to_html(renderables: Sequence[RenderableType], title: str = "charrnn") -> str:
    """Return an HTML page with this title that shows the renderables in order, COLUMNS wide."""
    # Text can be searched and folded, so it stays text unless there is a drawing beside it.
    light = ""
    if any(isinstance(renderable, SvgDrawing) for renderable in renderables):
        body = to_svg(renderables, title)
    else:
        # rich makes the style sheet and the text; the page has a second sheet for dark paper.
        console = print_all(renderables)
        html = console.export_html(theme=LIGHT, code_format="\n{stylesheet}\n\0{code}")
        light, code = html.split("\0", 1)
        body = f"<pre><code>{code}</code></pre>"
    return PAGE.read_text(encoding="utf-8").format(
        title=_escape(title),
        light=light,
        dark=re.sub("#[0-9a-f]{6}", lambda colour: ON_DARK.get(colour[0], colour[0]), light),
        ink=INK,
        paper=PAPER,
        dark_ink=ON_DARK[INK],
        dark_paper=ON_DARK[PAPER],
        body=body,
    )


def to_text(renderables: Sequence[RenderableType]) -> str:
    """Return the renderables in order as plain text, COLUMNS wide. Marks below a text stand for its
    colours."""
    return print_all(renderables, force_terminal=None, color_system=None).export_text()


def print_all(renderables: Iterable[RenderableType], **options: Any) -> Console:
    """Print the renderables on a console of COLUMNS columns that records them, and return the
    console. `options` replace options of RECORDING."""
    # rich exports what a console has recorded; the file is not read.
    console = Console(record=True, file=StringIO(), width=COLUMNS, **RECORDING | options)
    for renderable in renderables:
        console.print(renderable)
    return console

"""The page of cells: one page of a cell below the other, with links to each at the top, as HTML
without a script."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.style import Style
from rich.text import Text

from charrnn.cells.findings import CellPage
from charrnn.views.cell_page import page_pictures
from charrnn.views.svg import to_html

NO_BREAK = "\u00a0"
"""A space at which a line is not broken."""


def cells_to_html(title: str, *, above: Sequence[RenderableType], pages: Sequence[CellPage]) -> str:
    """Return an HTML page with what stands above, a list of links, and the pages of cells."""
    links = Text()
    pictures: list[RenderableType] = []
    for page in pages:
        link = Style(link=f"#{_anchor(page)}", underline=True)
        name = f"{page.layer}:{page.unit}"
        label = name
        if page.scores:
            label += f"{NO_BREAK}{page.scores[0].detector}"
        links.append(label, style=link).append("   ")
        pictures += [Text(), Text(f"cell {name}", style=link + Style(bold=True)), Text()]
        pictures += page_pictures(page)
    html = to_html([*above, Text(), links, *pictures], title)

    # The heading of a cell, which links to itself, is the place that its link in the list names.
    for page in pages:
        reference = f'href="#{_anchor(page)}"'
        before, _, after = html.rpartition(reference)
        html = f'{before}id="{_anchor(page)}" {reference}{after}'
    return html


def _anchor(page: CellPage) -> str:
    return f"cell-{page.layer}-{page.unit}"

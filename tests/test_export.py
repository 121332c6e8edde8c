"""Pictures for others: self-contained, well-formed, and no text in them becomes code."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from charrnn.records.microscope import ColouredText, GradientReach
from charrnn.render.curves import GradientChart
from charrnn.render.export import to_html, to_svg, to_text
from charrnn.render.heat import HeatMap, Legend, visible
from charrnn.render.tables import _table

EXAMPLES = settings(max_examples=25, deadline=None, derandomize=True)
SVG_NAMESPACE = "http://www.w3.org/2000/svg"
HOSTILE = """<script>lamp("on")</script>&amp;<!--'--> ]]></style></svg>[bold]"""
NOT_XML = "\ufffe\uffff"
TEXTS = st.text(st.characters(exclude_characters=NOT_XML) | st.sampled_from("<>&\"'\n\t\x1b\x00 \ud800"), max_size=40)


def heat_map(text: str, value: float = 0.5) -> HeatMap:
    return HeatMap(ColouredText(text=text, values=(value,) * len(text)))


class Page(HTMLParser):
    """What a browser would make of a page: its elements, their attributes, and the text inside <code>."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.code = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.code += data if "code" in self.tags else ""


def svg_text(svg: str) -> str:
    """The text of a picture's lines; rich spells spaces as no-break spaces and writes none between coloured words."""
    return "".join(
        element.text or "" for element in ElementTree.fromstring(svg).iter(f"{{{SVG_NAMESPACE}}}text")
    ).replace("\xa0", " ")


def test_html_shows_the_text_and_runs_none_of_it() -> None:
    html = to_html([Text("A lamp <b>"), heat_map(HOSTILE)])
    page = Page(html)
    assert page.code.rstrip("\n").split("\n") == ["A lamp <b>", HOSTILE]
    assert set(page.tags) == {"html", "head", "meta", "title", "style", "body", "pre", "code", "span"}
    assert page.attributes == {"lang", "charset", "class"}
    assert "<script" not in html and html.startswith("<!DOCTYPE html>")


def test_svg_is_xml_that_shows_the_text_and_runs_none_of_it() -> None:
    svg = to_svg([Text("A lamp <b>"), heat_map(HOSTILE)])
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{{{SVG_NAMESPACE}}}svg"
    names = {element.tag.removeprefix(f"{{{SVG_NAMESPACE}}}") for element in root.iter()}
    assert names == {"svg", "style", "defs", "clipPath", "rect", "g", "text"}
    assert "A lamp <b>" in svg_text(svg)
    assert HOSTILE.replace(" ", "") in svg_text(svg).replace(" ", "")


@pytest.mark.parametrize("to_picture", [to_html, to_svg, to_text])
@pytest.mark.parametrize("name", ["[link=javascript:alert(1)]x[/link]", "[/bold]", "[/]", "[red]x", ":boom:"])
def test_what_looks_like_markup_is_a_name(to_picture: Callable[..., str], name: str) -> None:
    # In a table, as names of detectors are, and as a line.
    table = _table("detector")
    table.add_row(name)
    plain = Table("detector")
    plain.add_row(name)
    picture = to_picture([table, plain, name])
    assert picture.count(name) == 3 and "href" not in picture


def test_a_picture_is_the_same_whatever_the_terminal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = [to_picture([heat_map("lamp")]) for to_picture in (to_html, to_svg, to_text)]
    for name, value in (("NO_COLOR", "1"), ("COLUMNS", "20"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
    assert [to_picture([heat_map("lamp")]) for to_picture in (to_html, to_svg, to_text)] == usual


@pytest.mark.parametrize("to_page", [to_html, to_svg])
def test_neither_asks_the_network_for_anything(to_page: object) -> None:
    assert callable(to_page)
    page = to_page([Text("cell 0:3", style="bold"), Legend(), heat_map("The lamp.\nLit.\n")])
    assert re.findall(r"https?://[^\"'\s<>)]*", page) == ([SVG_NAMESPACE] if to_page is to_svg else [])
    assert not re.search(r"@import|@font-face|\bsrc\b|href|url\((?!#)", page)


@pytest.mark.parametrize("to_page", [to_html, to_svg])
def test_the_colours_are_those_of_the_terminal_and_there_is_no_strip(to_page: object) -> None:
    assert callable(to_page)
    page = to_page([heat_map("low", -1.0), heat_map("high", 1.0), heat_map("none", 0.0)])
    colours = re.findall(r"(?:background-color: |fill=\")(#[0-9a-f]{6})", page)
    assert {"#d42626", "#245ce6"} <= set(colours)  # heat.LOW and heat.HIGH
    assert not set("▁▂▃▄▅▆▇█") & set(page)


def test_lines_are_a_hundred_columns_wide() -> None:
    assert Page(to_html([heat_map("lamp" * 100)])).code.split() == ["lamp" * 25] * 4


@given(TEXTS)
@EXAMPLES
def test_any_text_is_shown_as_it_is_on_the_terminal(text: str) -> None:
    shown = "".join(map(visible, text)).replace(" ", "")
    html = to_html([heat_map(text)])
    assert Page(html).code.replace("\n", "").replace(" ", "") == shown.replace(" ", "")
    html.encode("utf-8")  # a lone surrogate would not be writable
    svg = to_svg([heat_map(text)])
    assert re.sub(r"[ \n]", "", svg_text(svg)) == shown.replace("\xa0", "")
    svg.encode("utf-8")


@pytest.mark.parametrize("character", NOT_XML)
def test_characters_that_xml_does_not_know_do_not_spoil_the_picture(character: str) -> None:
    root = ElementTree.fromstring(to_svg([heat_map(f"lamp{character}")]))
    assert "lamp" in "".join(root.itertext())


def test_no_word_of_a_picture_begins_with_a_space() -> None:
    svg = to_svg([heat_map("    indented\n  if x:\n")])
    assert "indented" in svg and ">&#160;" not in svg, "some viewers swallow spaces there, and the word moves"


def test_a_drawing_stands_in_a_page_as_the_picture_it_is() -> None:
    """Braille in the text of a page is as wide as the font has it: the rows of a curve slide apart."""
    chart = GradientChart([GradientReach(name="one", lags=(1, 2, 3), norms=((1.0, 0.1, 0.01),), num_losses=9)])
    page = to_html([chart])
    assert to_svg([chart]) in page and "<pre>" not in page
    assert "prefers-color-scheme: dark" in page and "http" not in page.replace("http://www.w3.org/2000/svg", "")

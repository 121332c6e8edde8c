"""Pictures for others: self-contained, well-formed, and no text in them becomes code.

Tests `views.delivery`, too.
"""

import re
import struct
from collections import defaultdict
from xml.etree import ElementTree

import pytest
from elements import Elements
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.text import Text

from charrnn.cells.records import ColouredText
from charrnn.errors import UsageError
from charrnn.system.progress import Progress, using
from charrnn.views import svg
from charrnn.views.delivery import FORMATS, Shown
from charrnn.views.heatmap import HeatMap
from charrnn.views.svg import (
    COLUMN_WIDTH,
    to_html,
    to_png,
    to_svg,
)
from charrnn.views.theme import NUM_SHADES, read_palette, visible

EXAMPLES = settings(max_examples=25)
SVG_NAMESPACE = "http://www.w3.org/2000/svg"
HOSTILE = """<script>lamp("on")</script>&amp;<!--'--> ]]></style></svg>[bold]"""
NOT_XML = "\ufffe\uffff"
TEXTS = st.text(
    st.characters(exclude_characters=NOT_XML) | st.sampled_from("<>&\"'\n\t\x1b\x00 \ud800"),
    max_size=40,
)


def heat_map(text, value=0.5):
    return HeatMap(ColouredText(text=text, values=(value,) * len(text)))


def svg_lines(svg):
    """The text of each line of a picture, as a reader of XML finds it."""
    lines = defaultdict(str)
    for element in ElementTree.fromstring(svg).iter(f"{{{SVG_NAMESPACE}}}text"):
        lines[element.get("y")] += element.text.replace("\xa0", " ")
    return [line.strip() for line in lines.values()]


def test_nothing_in_a_picture_or_a_page_is_loaded_from_the_network():
    """rich's own templates load a font."""
    for picture in (to_svg([heat_map("lamp")]), to_html([heat_map("lamp")])):
        addresses = set(re.findall(r"[a-z]+://[^\"'\s)]*", picture))
        assert addresses <= {SVG_NAMESPACE}
        assert not re.search(r"@font-face|@import|url\(|<(?:link|script|image|img)", picture)


def test_html_shows_the_text_and_runs_none_of_it():
    html = to_html([Text("A lamp <b>"), heat_map(HOSTILE)], "Cells of {braces} <b>&\x1b")
    page = Elements(html)
    tags = {"html", "head", "meta", "title", "style", "body", "pre", "code", "span"}
    assert "<title>Cells of {braces} &lt;b&gt;&amp;␛</title>" in html
    assert page.texts["code"].rstrip("\n").split("\n") == ["A lamp <b>", HOSTILE]
    assert set(page.tags) == tags
    assert {name for name, _ in page.attributes} == {"lang", "charset", "class", "name", "content"}
    assert html.startswith("<!DOCTYPE html>")


def test_svg_is_xml_that_shows_the_text_and_runs_none_of_it():
    svg = to_svg([Text("A lamp <b>"), heat_map(HOSTILE)], "Cells of {braces} <b>&\x1b")
    root = ElementTree.fromstring(svg)
    assert (root[0].tag, root[0].text) == (
        f"{{{SVG_NAMESPACE}}}title",
        "Cells of {braces} <b>&␛",
    ), "it names it"
    depths = [float(text.get("y")) for text in root.iter(f"{{{SVG_NAMESPACE}}}text")]
    assert 0 < max(depths) < float(root.get("height")), "no line is cut off"
    names = {element.tag.removeprefix(f"{{{SVG_NAMESPACE}}}") for element in root.iter()}
    assert names == {"svg", "title", "style", "rect", "g", "text"}
    assert svg_lines(svg) == ["A lamp <b>", HOSTILE]


def places_of(picture):
    """The columns of each text, from its first to the one after its last."""
    places = {}
    for element in ElementTree.fromstring(picture).iter(f"{{{SVG_NAMESPACE}}}text"):
        begin = float(element.get("x")) / COLUMN_WIDTH
        width = float(element.get("textLength")) / COLUMN_WIDTH
        places[element.text] = (round(begin, 2), round(begin + width, 2))
    return places


def test_words_stand_where_they_do_on_the_terminal():
    """Viewers take other fonts: each text has its place and its width."""
    text = ColouredText(text="    if 日本\u0301 é", values=(-1.0,) * 7 + (1.0,) * 5)
    assert places_of(to_svg([HeatMap(text)])) == {
        "\xa0\xa0\xa0\xa0if\xa0": (0, 7),
        "日本\u0301\xa0é": (7, 13),
    }


def test_underlined_characters_are_underlined():
    text = ColouredText(
        text="a bc d", values=(1.0,) * 6, inside=(False, False, True, True, True, False)
    )
    picture = to_svg([HeatMap(text)])
    (underlined,) = re.findall(r"\.(\S+) {[^}]*text-decoration: underline", picture.split("@")[0])
    assert re.findall(f'class="{underlined}"[^>]*>([^<]*)', picture) == ["bc&#160;"]
    assert "text-decoration: underline" in to_html([HeatMap(text)])


@pytest.mark.parametrize("to_picture", [to_html, to_svg])
def test_a_picture_has_the_shades_for_readers_who_prefer_dark_pages(to_picture):
    html = to_picture([heat_map("low", -1.0), heat_map("faint", 0.2)], "a {title} <style>")
    usual, dark = html.split("@media (prefers-color-scheme: dark)")
    usual += dark.split("</style>")[1]
    dark = "".join(re.findall(": (#[0-9a-f]{6})", dark.split("</style>")[0]))
    palette = read_palette()
    for hue, step in (("low", NUM_SHADES), ("high", round(0.2 * NUM_SHADES))):
        light, _ = palette["light"][hue][step - 1]
        on_dark, _ = palette["dark"][hue][step - 1]
        assert light in usual
        assert on_dark in dark
        assert light not in dark


def test_a_png_is_twice_as_large_as_its_picture(monkeypatch):
    resvg = pytest.importorskip("resvg_py", reason="resvg-py is not installed")
    picture = to_svg([heat_map(" " * 30)])
    for draws_letters in (False, True):
        with monkeypatch.context() as patched:
            patched.setattr(
                resvg,
                "svg_to_bytes",
                lambda svg_string, draws=draws_letters: svg_string.encode() * draws,
            )
            assert svg._has_font.__wrapped__() is draws_letters
    if svg._has_font():
        data, wanted = to_png(picture), ElementTree.fromstring(picture)
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        sizes = tuple(round(svg.ZOOM * float(wanted.get(side, ""))) for side in ("width", "height"))
        assert struct.unpack(">II", data[16:24]) == sizes
    monkeypatch.setattr(svg, "_has_font", lambda: False)
    with pytest.raises(UsageError, match="this machine has none: install a monospaced one"):
        to_png(picture)
    with pytest.raises(UsageError, match="pixels is too large; 200,000,000 pixels are the most"):
        to_png('<svg width="8000" height="8000">')


@given(TEXTS)
@EXAMPLES
def test_any_text_is_shown_as_it_is_on_the_terminal(text):
    shown = "".join("".join(map(visible, text.replace("\r\n", "\n"))).split())
    html, picture = to_html([heat_map(text)]), to_svg([heat_map(text)])
    for drawn in (Elements(html).texts["code"], "".join(svg_lines(picture))):
        assert "".join(drawn.split()) == shown, "without white space"
    (html + picture).encode("utf-8")  # a lone surrogate would not be writable


@pytest.mark.parametrize("letters, is_noted", [("שלום", True), ("سلام", True), ("lamp", False)])
def test_letters_that_are_read_from_right_to_left_are_noted(letters, is_noted):
    messages = []
    shown = Shown("lamps", pictures=[heat_map(letters)], data=[])
    with using(Progress(on_warning=messages.append)):
        FORMATS[".svg"].write(shown)
    assert any(".html" in message for message in messages) is is_noted


@pytest.mark.parametrize("num_lines, is_told", [(90, False), (107, True)])
def test_a_picture_that_is_taller_than_a_page_names_other_formats(num_lines, is_told):
    told = []

    class Told(Progress):
        def tell(self, message):
            told.append(message)

    shown = Shown("A sheet", pictures=[Text("\n".join(["a line"] * num_lines))], data={})
    with using(Told()):
        FORMATS[".svg"].write(shown)
    assert len(told) == is_told
    assert not told or re.match(r"The picture is 10\d lines tall.*\.html", told[0])

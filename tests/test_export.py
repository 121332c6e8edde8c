"""Pictures for others: self-contained, well-formed, and no text in them becomes code."""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from browser import needs_browser, take_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from charrnn.cells.records import ColouredText
from charrnn.errors import UsageError
from charrnn.views.export import FORMATS, ExportFormat, describe_formats, find_format
from charrnn.views.heatmap import HeatMap
from charrnn.views.html import to_html, to_text
from charrnn.views.svg import COLUMN_WIDTH, to_png, to_svg
from charrnn.views.tables import plain_table
from charrnn.views.theme import NUM_SHADES, steps, visible

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


def svg_lines(svg: str) -> list[str]:
    """The text of each line of a picture, as a reader of XML finds it."""
    root = ElementTree.fromstring(svg)
    assert root.get("{http://www.w3.org/XML/1998/namespace}space") == "preserve"
    return ["".join(element.itertext()) for element in root.iter(f"{{{SVG_NAMESPACE}}}text")]


def svg_text(svg: str) -> str:
    return "\n".join(svg_lines(svg))


def read_png(data: bytes) -> NDArray[np.uint8]:
    """The pixels (rows, columns, channels) of a PNG of 8-bit colours that is not interlaced (W3C, PNG, 2003)."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, depth, kind, _, _, interlace = struct.unpack(">IIBBBBB", data[16:29])
    assert (depth, interlace) == (8, 0) and kind in (2, 6)
    packed, at = b"", 8
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        packed += data[at + 8 : at + 8 + length] if name == b"IDAT" else b""
        at += length + 12
    channels = 3 if kind == 2 else 4
    lines = zlib.decompress(packed)
    size = width * channels
    before, rows = bytearray(size + channels), []  # one pixel to the left of the picture, and one row above it: zeros
    for begin in range(0, len(lines), size + 1):
        way, row = lines[begin], bytearray(channels) + lines[begin + 1 : begin + 1 + size]
        for x in range(channels, size + channels if way else 0):
            left, up, corner = row[x - channels], before[x], before[x - channels]
            if way == 4:
                guess = left + up - corner
                guess = min((left, up, corner), key=lambda one: abs(guess - one))
            row[x] = (row[x] + (0, left, up, (left + up) // 2, guess if way == 4 else 0)[way]) % 256
        rows.append(row[channels:])
        before = row
    return np.frombuffer(b"".join(rows), np.uint8).reshape(height, width, channels)


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
    assert names == {"svg", "title", "style", "rect", "g", "text", "tspan"}
    assert svg_lines(svg) == ["A lamp <b>", HOSTILE]


@pytest.mark.parametrize("to_picture", [to_html, to_svg])
def test_a_picture_has_a_title_which_is_text(to_picture: Callable[..., str]) -> None:
    picture = to_picture([heat_map("lamp")], "Cells of {braces} <b>&\x1b")
    assert "<title>Cells of {braces} &lt;b&gt;&amp;␛</title>" in picture
    if to_picture is to_svg:
        assert ElementTree.fromstring(picture)[0].tag == f"{{{SVG_NAMESPACE}}}title", "its first element names it"


def test_spaces_stay_and_words_stand_where_they_do_on_the_terminal() -> None:
    """Viewers may drop spaces, or take another width for them: each word has its place."""
    text = "    if x  == 1:\n\n  return\n"
    for picture in (to_svg([heat_map(text)]), to_svg([heat_map(text, 0.0)]), to_svg([Text(text.replace("\n", "↵\n"))])):
        assert [line for line in svg_lines(picture) if line] == ["    if x  == 1:↵", "↵", "  return↵"]
        places = {
            element.text: float(element.get("x", "nan")) / COLUMN_WIDTH
            for element in ElementTree.fromstring(picture).iter(f"{{{SVG_NAMESPACE}}}tspan")
        }
        assert {word.strip("↵"): round(place, 2) for word, place in places.items() if word and word.strip("↵")} == {
            "if": 4,
            "x": 7,
            "==": 10,
            "1:": 13,
            "return": 2,
        }


def test_blocks_are_drawn_as_shapes_and_can_be_copied() -> None:
    """No font draws them from edge to edge alike."""
    picture = to_svg([HeatMap(ColouredText(text="ab", values=(-1.0, 1.0)), strip=True)])
    assert svg_lines(picture) == ["ab", "▁█"]
    blocks = [
        (float(element.get("x", "")), float(element.get("height", "")))
        for element in ElementTree.fromstring(picture).iter(f"{{{SVG_NAMESPACE}}}rect")
        if element.get("fill") == "#1e1e22"
    ]
    assert blocks == [(0, 3), (COLUMN_WIDTH, 24)]


def test_underlines_are_drawn_inside_the_colour_of_their_line() -> None:
    text = ColouredText(text="a bc d", values=(1.0,) * 6, inside=(False, False, True, True, True, False))
    rectangles = [
        tuple(float(element.get(name, "")) for name in ("x", "y", "width", "height"))
        for element in ElementTree.fromstring(to_svg([HeatMap(text)])).iter(f"{{{SVG_NAMESPACE}}}rect")
        if element.get("fill") == "#ffffff"
    ]
    assert rectangles == [pytest.approx((2 * COLUMN_WIDTH, 20, 3 * COLUMN_WIDTH, 2), abs=0.01)]
    assert "text-decoration: underline" in to_html([HeatMap(text)])


def test_html_has_the_shades_for_readers_who_prefer_dark_pages() -> None:
    html = to_html([heat_map("low", -1.0), heat_map("faint", 0.2)], "a {title} <style>")
    styles = re.search(r"<style>(.*)</style>", html, re.DOTALL)
    assert styles is not None
    usual, dark = styles[1].split("@media (prefers-color-scheme: dark)")
    for value in (-1.0, 0.2):
        at = NUM_SHADES + round(NUM_SHADES * value)
        assert steps(dark=False)[at][0] in usual and steps(dark=True)[at][0] in dark
        assert steps(dark=False)[at][0] not in dark


def test_a_png_shows_the_colours_of_the_picture() -> None:
    pytest.importorskip("resvg_py", reason="the extra `png` is not installed")
    from charrnn.views import svg as raster

    picture = to_svg([heat_map(" " * 30, -1.0), heat_map(" " * 30, 1.0)])
    if not raster._has_font():
        with pytest.raises(UsageError, match="install a monospaced one"):
            to_png(picture)
        return
    pixels = read_png(to_png(picture))
    wanted = ElementTree.fromstring(picture)
    assert pixels.shape[:2] == tuple(round(2 * float(wanted.get(side, ""))) for side in ("height", "width"))
    colours, counts = np.unique(pixels[:, :, :3].reshape(-1, 3), axis=0, return_counts=True)
    area = round(30 * COLUMN_WIDTH * 24 * raster.ZOOM**2)
    found = {tuple(colour): count for colour, count in zip(colours.tolist(), counts.tolist(), strict=True)}
    low, high = (tuple(bytes.fromhex(colour[1:])) for colour, _ in (steps(dark=False)[0], steps(dark=False)[-1]))
    assert found[low] == pytest.approx(area, rel=0.02) == found[high]


def test_without_a_font_there_is_no_png_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("resvg_py", reason="the extra `png` is not installed")
    monkeypatch.setattr("charrnn.views.svg._has_font", lambda: False)
    with pytest.raises(UsageError, match="this machine has none: install a monospaced one"):
        to_png(to_svg([heat_map("lamp")]))


@needs_browser
@pytest.mark.parametrize("scale", [1, 2])
def test_underscores_can_be_seen_in_a_browser(tmp_path: Path, scale: int) -> None:
    """Ink is light on colour: at the lower edge of the coloured box it would run into the paper."""
    (tmp_path / "page.html").write_text(to_html([heat_map(("_" * 20 + "\n") * 6, 1.0)]), encoding="utf-8")
    flags = ("--window-size=500,250", f"--force-device-scale-factor={scale}")
    picture = take_picture((tmp_path / "page.html").as_uri(), tmp_path, *flags)
    pixels = read_png(picture)[:, :, :3].astype(int)
    is_blue = (pixels[:, :, 2] - pixels[:, :, 0]) > 100
    assert is_blue.any()
    # Within each line's box, colour above and below, a row of pixels is light nearly all along: the underscores.
    rows, columns = np.flatnonzero(is_blue.any(axis=1)), np.flatnonzero(is_blue.any(axis=0))
    boxes = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    assert len(boxes) == 6
    for box in boxes:
        inside = pixels[box[0] : box[-1] + 1, columns[0] : columns[-1] + 1]
        lightness = (inside.min(axis=2) > 100).mean(axis=1)
        assert lightness[:-1].max() > 0.5 > lightness[-1]


@pytest.mark.parametrize("to_picture", [to_html, to_svg, to_text])
@pytest.mark.parametrize("name", ["[link=javascript:alert(1)]x[/link]", "[/bold]", "[/]", "[red]x", ":boom:"])
def test_what_looks_like_markup_is_a_name(to_picture: Callable[..., str], name: str) -> None:
    # In a table, as names of detectors are, and as a line.
    table = plain_table("detector")
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


def test_every_format_is_listed_in_the_help_and_in_the_error(process: Callable[..., Any]) -> None:
    ran = process("-m", "charrnn", "visualize", "--help")
    listed = describe_formats()
    assert "".join(listed.split()) in "".join(ran.stdout.decode().split()), "however its lines are broken"
    assert all(f"{suffix} ({one.content}" in listed for suffix, one in FORMATS.items())
    assert list(FORMATS)[:6] == [".html", ".svg", ".png", ".txt", ".json", ".npz"]
    *first, last = FORMATS
    suffixes = re.escape(f"{', '.join(first)} or {last}.")
    with pytest.raises(UsageError, match=rf"^a\.pdf: .* must end in {suffixes}$"):
        find_format(Path("a.pdf"))


def test_a_format_that_is_added_to_the_table_is_found_by_its_suffix(monkeypatch: pytest.MonkeyPatch) -> None:
    added = ExportFormat(suffix=".md", content="Markdown", write=lambda shown: shown.title.encode(), module="no_such")
    monkeypatch.setitem(FORMATS, ".md", added)
    with pytest.raises(UsageError, match=r"a\.md: a \.md needs the package no_such"):
        find_format(Path("a.md"))
    monkeypatch.setitem(FORMATS, ".md", replace(added, module=""))
    assert find_format(Path("folder/a.MD")).content == "Markdown"

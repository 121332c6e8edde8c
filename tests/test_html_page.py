"""The exported page: whole, silent on the network, safe whatever the text, and alive in a real
browser."""

import base64
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import dump, needs_browser
from elements import Elements

from charrnn.views.html_page import (
    CellColumn,
    CellEntry,
    HeatMapPage,
    PagePart,
    PageRow,
    ShownPassage,
    to_html_page,
)

HOSTILE = "</script><script>alert(1)</script>\x1b[31m\u202eab\ud800<!--\u2028&amp;\n"


def make_page(text: str = 'say "hello" to\nme\n', **changes: Any) -> HeatMapPage:
    size = len(text)
    settings: dict[str, Any] = {
        "title": "Cells of lamp-001",
        "shows": "tanh(c)",
        "text": text,
        "cells": np.linspace(-1, 1, size * 6, dtype=np.float32).reshape(size, 2, 3),
        "bits": [float("nan"), *[1.25] * (size - 1)],
        "guesses": [[("e", 0.5), (" ", 0.25), ("\n", 0.01)]] * size,
        "columns": ("detector", "cell"),
        "rows": [
            PageRow(shown=("quote", "1:2"), cell=(1, 2), detector="quote"),
            PageRow(shown=("line-position", "0:0"), cell=(0, 0), detector="line-position"),
            PageRow(shown=("string", "1:2"), cell=(1, 2), detector="string"),
        ],
        "labels": {"quote": np.arange(size) % 3 == 0},
    }
    return HeatMapPage(**settings | changes)


def unpack(text: str) -> list[int]:
    return np.frombuffer(base64.b64decode(text), np.int8).tolist()


def test_the_page_holds_what_the_cells_did() -> None:
    page = make_page()
    data = Elements(to_html_page(page)).data
    assert "".join(data["text"]) == page.text.replace("\n", "↵") and data["breaks"] == [14, 17]
    assert [cell["name"] for cell in data["cells"]] == ["1:2", "0:0"], "each cell once"
    assert unpack(data["cells"][0]["values"]) == np.rint(127 * page.cells[:, 1, 2]).tolist()
    assert [row["cell"] for row in data["rows"]] == [0, 1, 0] and data["bits"][:2] == [None, 1.25]
    guesses = data["guesses"][0]
    assert [data["names"][name] for name in guesses[::2]] == ["e", "␣", "↵"] and guesses[1::2] == [
        500,
        250,
        10,
    ]
    assert [bool(value) for value in unpack(data["labels"]["quote"])] == page.labels[
        "quote"
    ].tolist()


def test_no_text_becomes_markup_script_or_a_control_character_and_nothing_is_asked_of_the_network() -> (
    None
):
    passage = ShownPassage(title=HOSTILE, begin=0, values=np.ones(9, np.float32))
    sections = (
        PagePart(title=HOSTILE, draw_as="text", content=HOSTILE, about=HOSTILE),
        PagePart(title="x", draw_as="figures", content=[(HOSTILE, HOSTILE)]),
        PagePart(title="y", draw_as="passages", content=[passage]),
    )
    whole = CellEntry(
        cell=(1, 2),
        shown=(HOSTILE,),
        label=HOSTILE,
        found=HOSTILE,
        place=(0.5, 0.5),
        sections=sections,
    )
    changes: dict[str, Any] = {
        "title": HOSTILE,
        "rows": [PageRow(shown=(HOSTILE,), cell=(0, 0), detector="")],
        "guesses": [[(character, 0.5)] for character in HOSTILE],
        "entries": (whole, CellEntry(cell=(0, 0), shown=(None,))),
        "source": HOSTILE,
        "cell_columns": [CellColumn(name=HOSTILE, about=HOSTILE, is_number=False)],
    }
    usual, spelled = (
        Elements(to_html_page(make_page())),
        to_html_page(make_page(HOSTILE, **changes)),
    )
    page = Elements(spelled)
    assert page.tags == usual.tags, "not one element more"
    assert not re.search(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", spelled
    )
    spelled.encode("utf-8")
    assert not re.search(r"[\x00-\x1f\u202e]", json.dumps(page.data, ensure_ascii=False))
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "href"} & {name for name, _ in page.attributes}
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttpRequest", spelled)
    assert "default-src 'none'" in spelled


def in_a_browser(
    folder: Path, page: HeatMapPage, script: str, fragment: str = "", width: int = 1200
) -> Any:
    """What an asynchronous script returns that runs in the page after the page's own, opened at
    `#fragment`."""
    code = (
        f"(async () => {{ {script} }})().catch(error => String(error)).then(result => {{ {ANSWER}"
        " });"
    )
    html = to_html_page(page).replace("</body>", f"<script>{code}</script></body>")
    (folder / "page.html").write_text(html, encoding="utf-8")
    elements = dump(
        f"{(folder / 'page.html').as_uri()}{fragment}",
        folder,
        f"--window-size={width},800",
        seconds=5,
    )
    found = re.search(r'<html[^>]* data-answer="([^"]*)"', elements)
    assert found is not None, elements[:2000]
    return json.loads(unescape(found[1]))


ANSWER = 'document.documentElement.setAttribute("data-answer", JSON.stringify(result));'
CHOSEN = """[...byId("rows").children].flatMap((tr, index) => tr.getAttribute("aria-selected") === "true" ? [index] : [])"""


@needs_browser
def test_in_a_browser_the_cell_of_the_address_is_painted(tmp_path: Path) -> None:
    page = make_page()
    script = f"""
        const found = [];
        for (const address of ["", "#0:0", "#1:2,string", "#9:9"]) {{
            if (address) location.hash = address;
            await new Promise(resolve => setTimeout(resolve, 100));
            const colours = spans.map(span => getComputedStyle(span).backgroundColor.match(/[0-9.]+/g).map(Number));
            found.push([{CHOSEN}, colours, byId("text").querySelectorAll(".inside").length]);
        }}
        return found;"""
    for (rows, colours, num_inside), chosen in zip(
        in_a_browser(tmp_path, page, script), (0, 1, 2, 0), strict=True
    ):
        assert rows == [chosen] and len(colours) == len(page.text)
        layer, unit = page.rows[chosen].cell
        for colour, value in zip(colours, page.cells[:, layer, unit], strict=True):
            if abs(value) < 0.02:
                assert colour[3:] == [0], "no colour near 0"
            elif abs(value) > 0.13:
                assert (colour[0] > colour[2]) == (value < 0), "red is low"
        assert (num_inside > 0) == (chosen == 0), "only the quote detector has labels"


NUM_CELLS = 80
PLANTED = (1, 7)


def make_atlas(**changes: Any) -> HeatMapPage:
    """A page of 80 cells that drift, but for one that is high in quotations and one that is low
    there."""
    text = (
        'He said, "the lamp was lit before supper." Nobody answered\n"Leave it,"\tshe said, and the'
        " gate stood.\n" * 12
    )
    draw = np.random.default_rng(0)
    cells = np.tanh(np.cumsum(draw.normal(size=(len(text), NUM_CELLS)), axis=0) / 4).astype(
        np.float32
    )
    is_quoted = np.cumsum([character == '"' for character in text]) % 2 == 1
    cells[:, 40 * PLANTED[0] + PLANTED[1]] = np.where(is_quoted, 0.9, -0.8)
    cells[:, 3] = np.where(is_quoted, 0.1, 0.4)
    names = [divmod(cell, 40) for cell in range(NUM_CELLS)]
    entries = []
    for index, cell in enumerate(names):
        passage = ShownPassage(title="1", begin=9, values=cells[9:30, index])
        sections = (
            PagePart(
                title="Values", draw_as="figures", content=[("mean", 0.25), ("gate", "open 4 %")]
            ),
            PagePart(title="Histogram", draw_as="histogram", content=(-1.0, 1.0, [1, 5, 2])),
            PagePart(title="After", draw_as="bars", content=[("e", 0.5), ("\n", -0.25)]),
            PagePart(title="Correlated", draw_as="cells", content=[((0, 3), 0.5), ((9, 9), 0.1)]),
            PagePart(title="Highest", draw_as="passages", content=[passage]),
        )
        words = ("inside quotations", "quote") if cell == PLANTED else ("", "")
        shown = (words[0] or "no rule explains it", None if index % 9 else index / 80)
        place = (index % 9 / 9, index // 9 / 9)
        entries.append(
            CellEntry(
                cell=cell,
                shown=shown,
                label=words[0],
                found=words[1],
                place=place,
                sections=sections,
            )
        )
    settings: dict[str, Any] = {
        "text": text,
        "cells": cells.reshape(len(text), 2, 40),
        "labels": {"quote": is_quoted},
        "rows": [PageRow(shown=("quote", "1:7"), cell=PLANTED, detector="quote")],
        "cell_columns": [
            CellColumn(name="cell", about="layer and unit", is_number=False),
            CellColumn(name="description", about="the best rule", is_number=False),
            CellColumn(name="score", about="R²"),
        ],
        "entries": entries,
    }
    return make_page(**settings | changes)


def test_values_of_many_cells_have_four_bits_of_the_range_they_reach() -> None:
    page = make_atlas()
    data = Elements(to_html_page(page)).data
    assert data["bits_per_value"] == 4 and [cell["name"] for cell in data["cells"]][39:41] == [
        "0:39",
        "1:0",
    ]
    for index, cell in enumerate(data["cells"]):
        levels = nibbles(cell["values"])[: len(page.text)]
        values = page.cells[:, index // 40, index % 40]
        assert (
            np.abs(np.array(levels) * cell["scale"] / 7 - values).max()
            <= np.abs(values).max() / 14 + 1e-3
        )
    _, begin, count, packed, _ = data["cells"][5]["sections"][4][1][0]
    assert (begin, count) == (9, 21) and len(nibbles(packed)) == 22, "an even number"
    assert data["cells"][5]["sections"][3][1] == [[3, 0.5]], (
        "cells that the page does not have are left out"
    )


def nibbles(packed: str) -> list[int]:
    """The levels of a packed row, by the definition: upper half first, two's complement."""
    halves = [half for byte in base64.b64decode(packed) for half in (byte >> 4, byte & 15)]
    return [half - 16 if half > 7 else half for half in halves]


def test_each_character_of_the_source_is_one_code_point() -> None:
    source = "a\tb\uf900\ue000\ue001\x1b\u202ec\n\ud800"
    data = Elements(to_html_page(make_atlas(source=source))).data
    assert len(data["source"]) == len(source)
    shown = [data["marks"].get(character, character) for character in data["source"]]
    assert shown == [
        "a",
        "→   ",
        "b",
        "\uf900",
        "\ue000",
        "\ue001",
        "␛",
        "<202e>",
        "c",
        "↵",
        "<d800>",
    ]


@needs_browser
def test_in_a_browser_a_selection_finds_the_planted_cells_and_the_other_quotations(
    tmp_path: Path,
) -> None:
    page = make_atlas()
    begin = page.text.index('"')
    end = page.text.index('"', begin + 1)
    script = f"""
        document.getSelection().setBaseAndExtent(spans[{begin}].firstChild, 0, spans[{end - 1}].firstChild, 1);
        await new Promise(resolve => setTimeout(resolve, 600));
        const cells = tr => [...tr.children].slice(0, 2).map(td => td.textContent);
        const table = [...byId("on").querySelectorAll("tbody tr")].map(cells);
        const ends = line => [Number(line.dataset.begin), Number(line.dataset.end)];
        const others = [...byId("span").querySelectorAll("[data-begin]")].map(ends);
        return {{table, others, picked, isOpen: !byId("panel-span").hidden}};"""
    found = in_a_browser(tmp_path, page, script)
    assert found["picked"] == [begin, end] and found["isOpen"]
    planted = [["0:3", "low"], ["1:7", "high"]]
    assert found["table"][:2] == planted, (
        "those that are on for no longer than the selection come first"
    )
    is_quoted = page.labels["quote"]
    assert len(found["others"]) == 12
    assert all(is_quoted[first:last].all() for first, last in found["others"]), (
        "the first cells are on in quotations"
    )


@needs_browser
@pytest.mark.parametrize("width", [1200, pytest.param(500, marks=pytest.mark.thorough)])
def test_in_a_browser_the_page_can_be_used_without_a_mouse(tmp_path: Path, width: int) -> None:
    page = make_atlas()
    script = """
        const press = (element, key, shiftKey = false) =>
            element.dispatchEvent(new KeyboardEvent("keydown", {key, shiftKey, bubbles: true, cancelable: true}));
        const overflow = document.documentElement.scrollWidth - window.innerWidth;
        const found = {top: spans[0].getBoundingClientRect().top, overflow};
        const boxes = spans.map(span => span.getClientRects()[0]);
        const gaps = boxes.slice(1).map((box, i) => box.top > boxes[i].top ? box.top - boxes[i].bottom : 0);
        found.stripes = Math.max(...gaps);
        byId("text").focus();
        for (let i = 0; i < 10; i++) press(byId("text"), "ArrowRight");
        found.about = byId("about").textContent;
        for (let i = 0; i < 4; i++) press(byId("text"), "ArrowRight", true);
        found.picked = picked;
        press(byId("text"), "ArrowDown");
        found.below = here;
        press(byId("text"), "Escape");
        found.none = picked;
        press(byId("tab-found"), "ArrowRight");
        found.tab = [document.activeElement.id, byId("panel-cells").hidden, byId("panel-found").hidden];
        byId("filter").value = "score>0.5 rule";
        byId("filter").dispatchEvent(new Event("input"));
        const shown = () => [...byId("cell-rows").children].filter(tr => !tr.hidden);
        found.filtered = shown().map(tr => tr.children[0].textContent);
        byId("cell-columns").children[2].firstChild.click();
        found.sorted = shown().map(tr => tr.children[0].textContent);
        found.order = [...byId("cell-columns").children].map(th => th.getAttribute("aria-sort"));
        found.stops = [...byId("cell-rows").children].filter(tr => tr.tabIndex === 0).length;
        press(shown()[0], "ArrowDown");
        press(document.activeElement, "Enter");
        found.chosen = [data.cells[chosen].name, location.hash];
        byId("tab-map").click();
        press(byId("map"), "ArrowRight");
        found.walked = [data.cells[chosen].name, byId("map").getAttribute("aria-activedescendant")];
        byId("tab-cell").click();
        found.page = byId("panel-cell").innerText;
        const controls = document.querySelectorAll("button, input, select, [role=tab], [role=grid], [tabindex='0']");
        const isNamed = one => one.textContent.trim() || one.getAttribute("aria-label") || one.labels?.length;
        found.unnamed = [...controls].filter(one => !isNamed(one)).map(one => one.outerHTML);
        byId("larger").click();
        found.size = getComputedStyle(spans[0]).fontSize;
        return found;"""
    found = in_a_browser(tmp_path, page, script, width=width)
    assert found["top"] < 200 and found["overflow"] <= 0
    assert found["stripes"] <= 0.01, "the boxes of two lines touch"
    assert found["about"].startswith('"  cell 1:7: 0.9') and "next: e 50 %" in found["about"]
    assert found["picked"] == [9, 14] and found["none"] is None
    line = page.text.index("\n") + 1
    assert found["below"] == line + 13 and found["tab"] == ["tab-cells", False, True]
    assert (
        found["filtered"] == ["1:5", "1:14", "1:23", "1:32"]
        and found["sorted"] == found["filtered"][::-1]
    )
    assert found["order"] == ["none", "none", "descending"] and found["stops"] == 1
    assert found["chosen"] == ["1:23", "#1:23"]
    assert found["walked"] == ["1:24", "dot-64"]
    assert all(
        part in found["page"]
        for part in ("Cell 1:24", "open 4 %", "0:3 0.5", "Highest", '"the lamp was')
    )
    assert found["unnamed"] == [] and found["size"] == "14px"

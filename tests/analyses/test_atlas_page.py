"""The exported page: whole, silent on the network, safe whatever the text, and alive in a real
browser.

Tests `views.page_template`, too.
"""

import base64
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from browser import dump, dump_saved, needs_browser
from elements import Elements

from charrnn.analyses.atlas_page import (
    CellColumn,
    CellEntry,
    HeatMapPage,
    PageRow,
)
from charrnn.cells.findings import CellPassage
from charrnn.views.cell_page import Part

HOSTILE = "</script><script>alert(1)</script>\x1b[31m\u202eab\ud800<!--\u2028&amp;\n"


CELLS = [(layer, unit) for layer in range(2) for unit in range(3)]
"""The cells of a small page."""


def make_page(text='say "hello" to\nme\n', **changes):
    size = len(text)
    settings = {
        "title": "Cells of lamp-001",
        "shows": "tanh(c)",
        "text": text,
        "cells": np.linspace(-1, 1, size * 6, dtype=np.float32).reshape(size, 2, 3),
        "bits": [float("nan"), *[1.25] * (size - 1)],
        "guesses": [[("e", 0.5), (" ", 0.25), ("\n", 0.01)]] * size,
        "columns": ("detector", "cell"),
        "rows": [
            PageRow(columns=("quote", "1:2"), cell=(1, 2), detector="quote"),
            PageRow(columns=("line-position", "0:0"), cell=(0, 0), detector="line-position"),
            PageRow(columns=("string", "1:2"), cell=(1, 2), detector="string", polarity=-1),
        ],
        "labels": {"quote": np.arange(size) % 3 == 0},
        "notes": (),
        "source": text,
        "begin": 0,
        "cell_columns": [CellColumn(name="cell", about="layer and unit", is_number=False)],
        "entries": [CellEntry(cell=cell, columns=(), map_position=(0.5, 0.5)) for cell in CELLS],
    }
    return HeatMapPage(**settings | changes)


def test_the_text_and_its_line_ends_are_in_the_page():
    page = make_page()
    data = Elements(page.to_html()).data
    assert "".join(data["text"]) == page.text.replace("\n", "↵")
    assert data["breaks"] == [14, 17]
    assert data["bits"][:2] == [None, 1.25]


@pytest.mark.parametrize(
    "text, note", [("one\0two", "¶ is the end of a document."), ("one\ntwo", "")]
)
def test_a_page_says_what_the_mark_of_the_end_of_a_document_is(text, note):
    assert Elements(make_page(text).to_html()).data["end_note"] == note


def test_each_cell_is_in_the_page_once_with_its_values():
    page = make_page()
    data = Elements(page.to_html()).data
    assert [cell["name"] for cell in data["cells"]] == [f"{layer}:{unit}" for layer, unit in CELLS]
    assert [row["cell"] for row in data["rows"]] == [5, 0, 5]


def test_guesses_are_numbers_of_names_with_thousandths():
    data = Elements(make_page().to_html()).data
    guesses = data["guesses"][0]
    assert [data["names"][name] for name in guesses[::2]] == ["e", "␣", "↵"]
    assert guesses[1::2] == [500, 250, 10]


def test_labels_are_a_digit_for_each_character():
    page = make_page()
    data = Elements(page.to_html()).data
    assert [digit == "1" for digit in data["labels"]["quote"]] == page.labels["quote"].tolist()


def passage(begin, values):
    size = len(values)
    return CellPassage(
        kind="top",
        rank=1,
        value=0.5,
        index=begin,
        begin=begin,
        line=1,
        text="x" * size,
        values=values,
    )


def hostile_page():
    """A page that has HOSTILE wherever it has a text."""
    parts = (
        Part(title=HOSTILE, draw_as="text", content=[HOSTILE], about=HOSTILE),
        Part(title="x", draw_as="rows", content=[(HOSTILE, HOSTILE), ("y", [(HOSTILE, 0.5)])]),
        Part(title="y", draw_as="passages", content=[passage(begin=0, values=[1.0] * 9)]),
    )
    whole = CellEntry(
        cell=(1, 2),
        columns=(HOSTILE,),
        label=HOSTILE,
        map_name=HOSTILE,
        map_position=(0.5, 0.5),
        parts=parts,
    )
    return make_page(
        HOSTILE,
        title=HOSTILE,
        rows=[PageRow(columns=(HOSTILE,), cell=(0, 0), detector="")],
        guesses=[[(character, 0.5)] for character in HOSTILE],
        entries=(whole, CellEntry(cell=(0, 0), columns=(None,), map_position=(0, 0))),
        source=HOSTILE,
        cell_columns=[CellColumn(name=HOSTILE, about=HOSTILE, is_number=False)],
    )


def test_no_text_becomes_markup_or_script():
    usual = Elements(make_page().to_html())
    assert Elements(hostile_page().to_html()).tags == usual.tags


def test_no_text_becomes_a_control_character():
    html = hostile_page().to_html()
    html.encode("utf-8")
    steering = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
    assert not re.search(steering, html)
    data = json.dumps(Elements(html).data, ensure_ascii=False)
    assert not re.search(r"[\x00-\x1f\u202e]", data)


def test_nothing_is_asked_of_the_network():
    html = hostile_page().to_html()
    page = Elements(html)
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "href"} & {name for name, _ in page.attributes}
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttpRequest", html)
    assert "default-src 'none'" in html


SCRIPTS = Path(__file__).with_name("atlas_page")
"""Bodies of asynchronous functions of `parameters`, which run in a page after its own script."""


def in_a_browser(folder, page, script, width=1200, **parameters):
    """What a script of SCRIPTS returns for these parameters."""
    body = (SCRIPTS / script).read_text(encoding="utf-8")
    call = f"(async parameters => {{ {body} }})({json.dumps(parameters)})"
    code = f"{call}.catch(error => String(error)).then(result => {{ {ANSWER} }});"
    html = page.to_html().replace("</body>", f"<script>{code}</script></body>")
    file = folder / "page.html"
    file.write_text(html, encoding="utf-8")
    elements = dump(file.as_uri(), folder, f"--window-size={width},800", seconds=5)
    found = re.search(r'<html[^>]* data-answer="([^"]*)"', elements)
    assert found is not None, elements[:2000]
    return json.loads(unescape(found[1]))


ANSWER = 'document.documentElement.setAttribute("data-answer", JSON.stringify(result));'


@needs_browser
def test_in_a_browser_the_cell_of_the_address_is_painted(tmp_path):
    page = make_page()
    addresses = ["", "#0:0", "#1:2,string", "#9:9"]
    shown = in_a_browser(tmp_path, page, "address.js", addresses=addresses)
    assert [one["rows"] for one in shown] == [[0], [1], [2], [0]]
    assert [one["numInside"] > 0 for one in shown] == [True, False, False, True]
    for one in shown:
        row = page.rows[one["rows"][0]]
        layer, unit = row.cell
        check_colours(one["colours"], row.polarity * page.cells[:, layer, unit])
        assert ("drawn with its sign turned" in one["caption"]) == (row.polarity < 0)


def check_colours(colours, values):
    """Check that low values are red and high ones blue, and that there is no colour near 0; the
    values of a cell that is drawn with its sign turned are times -1."""
    for (red, _, blue, *alpha), value in zip(colours, values, strict=True):
        if abs(value) < 0.02:
            assert alpha == [0]
        elif abs(value) > 0.13:
            assert (red > blue) == (value < 0)


@needs_browser
def test_a_copy_that_a_browser_has_saved_is_a_page_like_the_first(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(make_atlas().to_html(), encoding="utf-8")
    first, copy = dump_saved(page, "#1:7", tmp_path)
    assert "cell 1:7 (tanh(c))" in first
    assert copy == first


NUM_CELLS = 80
PLANTED = (1, 7)


def make_atlas(**changes):
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
        parts = (
            Part(title="Values", draw_as="rows", content=[("mean", "0.25"), ("gate", "open 4 %")]),
            Part(title="Histogram", draw_as="bars", content=(-1.0, 1.0, [0.2, 1.0, -0.4])),
            Part(
                title="Correlated", draw_as="rows", content=[("r", [("0:3", 0.5), ("9:9", -0.1)])]
            ),
            Part(
                title="Highest",
                draw_as="passages",
                content=[passage(begin=9, values=cells[9:30, index].tolist())],
            ),
        )
        words = ("inside quotations", "quote") if cell == PLANTED else ("", "")
        columns = (words[0] or "no rule explains it", None if index % 9 else index / 80)
        entries.append(
            CellEntry(
                cell=cell,
                columns=columns,
                label=words[0],
                map_name=words[1],
                map_position=(index % 9 / 9, index // 9 / 9),
                parts=parts,
            )
        )
    settings = {
        "text": text,
        "cells": cells.reshape(len(text), 2, 40),
        "labels": {"quote": is_quoted},
        "rows": [PageRow(columns=("quote", "1:7"), cell=PLANTED, detector="quote")],
        "cell_columns": [
            CellColumn(name="cell", about="layer and unit", is_number=False),
            CellColumn(name="description", about="the best rule", is_number=False),
            CellColumn(name="score", about="R²"),
        ],
        "entries": entries,
    }
    settings |= changes
    return make_page(**{"source": settings["text"]} | settings)


def test_values_of_many_cells_have_four_bits_of_the_range_they_reach():
    page = make_atlas()
    data = Elements(page.to_html()).data
    for index, cell in enumerate(data["cells"]):
        values = page.cells[:, index // 40, index % 40]
        levels = np.array(nibbles(cell["values"])[: len(values)])
        differences = np.abs(levels * cell["scale"] / 7 - values)
        assert differences.max() <= np.abs(values).max() / 14 + 1e-3


def test_a_passage_has_an_even_number_of_values():
    data = Elements(make_atlas().to_html()).data
    _, passages = data["cells"][5]["parts"][3]
    _, begin, count, packed, _ = passages[0]
    assert (begin, count) == (9, 21)
    assert len(nibbles(packed)) == 22


def test_pairs_are_numbers_of_names_with_texts():
    data = Elements(make_atlas().to_html()).data
    _, ((name, pairs),) = data["cells"][5]["parts"][2]
    assert data["names"][name] == "r"
    assert [[data["names"][label], text] for label, text in pairs] == [
        ["0:3", "+0.50"],
        ["9:9", "-0.10"],
    ]


def nibbles(packed):
    """The levels of a packed row, by the definition: upper half first, two's complement."""
    levels = []
    for byte in base64.b64decode(packed):
        for half in (byte >> 4, byte & 15):
            levels.append(half - 16 if half > 7 else half)
    return levels


def test_each_character_of_the_source_is_one_code_point():
    source = "a\tb\uf900\ue000\ue001\x1b\u202ec\n\ud800"
    data = Elements(make_atlas(source=source).to_html()).data
    assert len(data["source"]) == len(source)
    shown = [data["marks"].get(character, character) for character in data["source"]]
    expected = ["a", "→   ", "b", "\uf900", "\ue000", "\ue001", "␛", "<202e>", "c", "↵", "<d800>"]
    assert shown == expected


def test_a_grapheme_cluster_is_at_its_last_character():
    source = "e\u0301\tहि\u200d"
    data = Elements(replace(make_atlas(), text=source, source=source).to_html()).data
    shown = ["", "e\u0301", "→   ", "", "", "हि\u200d"]
    assert data["text"] == shown
    assert [data["marks"].get(character, character) for character in data["source"]] == shown


@needs_browser
def test_in_a_browser_a_selection_finds_the_planted_cells_and_the_other_quotations(tmp_path):
    page = make_atlas()
    begin = page.text.index('"')
    end = page.text.index('"', begin + 1)
    found = in_a_browser(tmp_path, page, "selection.js", begin=begin, end=end)
    assert (found["picked"], found["isOpen"]) == ([begin, end], True)
    # Those that are on for no longer than the selection come first.
    assert found["table"][:2] == [["0:3", "low"], ["1:7", "high"]]
    assert len(found["others"]) == 12
    assert all(page.labels["quote"][first:last].all() for first, last in found["others"])


@needs_browser
@pytest.mark.parametrize("width", [1280, 900, 400])
def test_in_a_browser_no_number_breaks_and_the_text_has_room_for_its_lines(tmp_path, width):
    shown = (
        "a detector with a long name",
        "0:268",
        "AUC 0.945",
        "−0.912…−0.837",
        "0.670",
        "−0.242",
    )
    page = make_atlas(
        text=f"{'a line ' * 11}\n" * 9,
        rows=[PageRow(columns=shown, cell=PLANTED)],
        labels={},
    )
    page = replace(page, cells=page.cells[: len(page.text)])
    found = in_a_browser(tmp_path, page, "lines.js", width=width)
    assert set(found["numbers"]) == {1}
    assert (found["line"] == 1) == (width > 700)


@pytest.fixture(
    scope="module", params=[1200, pytest.param(500, marks=pytest.mark.thorough)], ids=str
)
def walk(request, tmp_path_factory):
    """What a walk through the atlas by its keys has seen, in a window of that width."""
    return in_a_browser(
        tmp_path_factory.mktemp("walk"), make_atlas(), "keyboard.js", width=request.param
    )


@needs_browser
def test_in_a_browser_the_boxes_of_two_lines_touch_and_nothing_sticks_out(walk):
    assert walk["top"] < 200
    assert walk["overflow"] <= 0
    assert walk["stripes"] <= 0.01


@needs_browser
def test_in_a_browser_the_arrow_keys_walk_over_the_text(walk):
    assert walk["about"].startswith('"  cell 1:7: 0.9')
    assert "next: e 50 %" in walk["about"]
    assert walk["picked"] == [9, 14]
    assert walk["none"] is None
    assert walk["below"] == make_atlas().text.index("\n") + 1


@needs_browser
def test_in_a_browser_cells_are_filtered_and_sorted(walk):
    assert walk["tab"] == [False, True]
    assert walk["filtered"] == ["1:5", "1:14", "1:23", "1:32"]
    assert walk["sorted"] == walk["filtered"][::-1]
    assert walk["order"] == ["none", "none", "descending"]


@needs_browser
def test_in_a_browser_a_cell_is_chosen_in_the_table_and_on_the_map(walk):
    assert walk["chosen"] == ["1:23", "#1:23"]
    assert walk["clicked"] == "1:24"


@needs_browser
@pytest.mark.parametrize("part", ["Cell 1:24", "open 4 %", "0:3 +0.50", "top 1", '"the lamp was'])
def test_in_a_browser_the_page_of_a_cell_has_each_section(walk, part):
    assert part in walk["page"]


@needs_browser
def test_in_a_browser_every_control_has_a_name(walk):
    assert walk["unnamed"] == []


def crowded(page):
    """The cells of one layer, near each other on the map, every second one with a long name."""
    entries = []
    for index, entry in enumerate(page.entries[:40]):
        name = "line-position" if index % 2 else ""
        shown = ("a rule", (index - 20) / 30)
        place = (0.5 + index % 5 / 50, index / 60)
        entries.append(replace(entry, map_name=name, columns=shown, map_position=place))
    return replace(page, entries=entries, rows=[row for row in page.rows if row.cell[0] == 0])


@pytest.fixture(scope="module", params=[1400, 390], ids=str)
def crowd(request, tmp_path_factory):
    """What a crowded map and its table show, in a window of that width."""
    page = crowded(make_atlas())
    return in_a_browser(tmp_path_factory.mktemp("map"), page, "map.js", width=request.param)


@needs_browser
def test_in_a_browser_no_name_on_the_map_lies_on_another(crowd):
    assert crowd["names"] >= 10
    assert crowd["overlaps"] == 0


@needs_browser
def test_in_a_browser_a_cell_on_the_map_has_the_colour_of_its_value(crowd):
    assert crowd["fills"] > 5


@needs_browser
def test_in_a_browser_a_column_has_equal_decimals_and_a_minus(crowd):
    assert {len(number.partition(".")[2]) for number in crowd["numbers"]} == {3}
    assert not [number for number in crowd["numbers"] if "-" in number]


@needs_browser
def test_in_a_browser_the_table_of_all_cells_is_not_cut(crowd):
    assert crowd["overflow"] <= 0
    assert crowd["cut"] <= 0

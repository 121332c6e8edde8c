"""The exported page: whole, silent on the network, safe whatever the text, and alive in a real browser."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.render.page import Page, PageRow, to_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
HOSTILE = "</script><script>alert(1)</script>\x1b[31m\u202eab\ud800<!--\u2028&amp;\n"


def make_page(text: str = 'say "hello" to\nme\n', **changes: Any) -> Page:
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
    return Page(**settings | changes)


class Reader(HTMLParser):
    """The elements of a page and the data in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.data: Any = None
        self._is_data = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._is_data = ("id", "data") in attrs

    def handle_data(self, data: str) -> None:
        if self._is_data:
            self.data, self._is_data = json.loads(data), False


def unpack(text: str) -> list[int]:
    return np.frombuffer(base64.b64decode(text), np.int8).tolist()


def test_the_page_holds_what_the_cells_did() -> None:
    page = make_page()
    data = Reader(to_page(page)).data
    assert "".join(data["text"]) == page.text.replace("\n", "↵")
    assert [index for index, breaks in enumerate(data["breaks"]) if breaks] == [14, 17]
    assert [cell["name"] for cell in data["cells"]] == ["1:2", "0:0"], "each cell once"
    assert unpack(data["cells"][0]["values"]) == np.rint(127 * page.cells[:, 1, 2]).tolist()
    assert [(row["cell"], row["detector"]) for row in data["rows"]] == [
        (0, "quote"),
        (1, "line-position"),
        (0, "string"),
    ]
    assert data["bits"][:2] == [None, 1.25]
    assert data["guesses"][0] == [["e", 0.5], ["␣", 0.25], ["↵", 0.01]]
    assert [bool(value) for value in unpack(data["labels"]["quote"])] == page.labels["quote"].tolist()


@pytest.mark.parametrize("where", ["text", "title", "shown", "guess"])
def test_no_text_becomes_markup_script_or_a_control_character(where: str) -> None:
    usual = Reader(to_page(make_page()))
    changes: dict[str, Any] = {
        "text": {},
        "title": {"title": HOSTILE},
        "shown": {"rows": [PageRow(shown=(HOSTILE,), cell=(0, 0), detector="")]},
        "guess": {"guesses": [[(character, 0.5)] for character in HOSTILE[:18]]},
    }[where]
    spelled = to_page(make_page(HOSTILE) if where == "text" else make_page(**changes))
    page = Reader(spelled)
    assert page.tags == usual.tags, "not one element more"
    assert page.data is not None
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", spelled)
    spelled.encode("utf-8")
    assert not re.search(r"[\x00-\x1f\u202e]", json.dumps(page.data, ensure_ascii=False))


def test_it_asks_the_network_for_nothing() -> None:
    spelled = to_page(make_page())
    page = Reader(spelled)
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "href"} & {name for name, _ in page.attributes}
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttpRequest", spelled)
    assert "default-src 'none'" in spelled


def in_a_browser(folder: Path, page: Page, fragment: str) -> str:
    """The elements of the page as they are after its script ran, opened at `#fragment`."""
    assert BROWSER is not None
    (folder / "page.html").write_text(to_page(page), encoding="utf-8")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    address = f"file://{folder}/page.html{fragment}"
    return subprocess.run(
        [BROWSER, *flags, f"--user-data-dir={folder / 'user'}", "--dump-dom", address],
        capture_output=True,
        timeout=600,
        check=True,
        encoding="utf-8",
    ).stdout


def chosen_rows(elements: str) -> list[int]:
    selected = re.findall(r'<tr tabindex="0" aria-selected="(\w+)">', elements)
    return [index for index, word in enumerate(selected) if word == "true"]


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium or chrome on this machine")
@pytest.mark.parametrize("fragment", ["#0:0,50%25%2Cx%7B1%2C2%7D", "#0:0,50%,x{1,2}"])
def test_in_a_browser_a_pattern_is_found_again_by_its_address(tmp_path: Path, fragment: str) -> None:
    # What is not spelled as an address should be is no reason to show nothing.
    rows = [PageRow(shown=("quote",), cell=(1, 2)), PageRow(shown=("x",), cell=(0, 0), detector="50%,x{1,2}")]
    assert chosen_rows(in_a_browser(tmp_path, make_page(rows=rows), fragment)) == [1]


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium or chrome on this machine")
@pytest.mark.parametrize(("fragment", "chosen"), [("", 0), ("#0:0", 1), ("#1:2,string", 2), ("#9:9", 0)])
def test_in_a_browser_the_cell_of_the_address_is_painted(tmp_path: Path, fragment: str, chosen: int) -> None:
    page = make_page()
    elements = in_a_browser(tmp_path, page, fragment)
    assert chosen_rows(elements) == [chosen]
    spans = re.findall(r'<span data-index="\d+"[^>]*?>[^<]*</span>', elements)
    assert len(spans) == len(page.text)
    layer, unit = page.rows[chosen].cell
    for span, value in zip(spans, page.cells[:, layer, unit], strict=True):
        painted = re.search(r"background: rgb\((\d+), \d+, (\d+)\)", span)
        if abs(value) < 0.12:
            assert painted is None
        elif abs(value) > 0.13:
            assert painted is not None and (int(painted[1]) > int(painted[2])) == (value < 0), "red is low"
    assert ('class="inside"' in elements) == (chosen == 0), "only the quote detector has labels"

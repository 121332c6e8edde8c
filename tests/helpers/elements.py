"""The elements of an HTML page, as a browser finds them."""

import json
import re
from collections import defaultdict
from html import unescape
from html.parser import HTMLParser
from typing import Any

VOID = ("input", "link", "meta")
"""Elements without content, which nothing closes."""


class Elements(HTMLParser):
    """The names and attributes of a page's elements, their texts and scripts; fails where one is
    not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: defaultdict[str, str] = defaultdict(str)
        """All text inside elements of a name."""
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    @property
    def data(self) -> Any:
        """What the first script contains in JSON."""
        return json.loads(self.scripts[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in {*self._open}:
            self.texts[tag] += data
        if "script" in self._open:
            self.scripts[-1] += data


def text_of(elements: str, name: str) -> str:
    """Return the text of the element with an id, whose elements are spans."""
    found = re.search(rf'<(\w+)[^>]* id="{name}"[^>]*>(.*?)</\1>', elements, re.S)
    assert found is not None, elements[:2000]
    return unescape(re.sub(r"<[^>]*>", "", found[2]))

"""Leave what nobody sees out of a page of HTML, and tags for which pandoc would drop text."""

import re
from array import array
from collections.abc import Sequence
from html import escape
from html.parser import HTMLParser

_SKIPPED = re.compile(
    "audio|button|iframe|menu|nav|noscript|rp|rt|script|select|style|template|textarea|video"
)
"""Matches elements of pages that are no text: controls and menus, and the readings of
ideographs."""
_EMPTY = re.compile("area|base|br|col|embed|hr|img|input|link|meta|source|wbr")
"""Matches elements that have nothing in them."""
_BLOCKS = (
    "address|article|aside|blockquote|center|d[dlt]|details|dialog|div|fieldset|figcaption|figure"
    "|footer|form|h[1-6r]|header|hgroup|li|main|menu|nav|ol|p|pre|search|section|summary|table|ul"
)
_ENDED_BY = {
    "dd": "dd|dt",
    "dt": "dd|dt",
    "li": "li",
    "option": "option|optgroup",
    "p": _BLOCKS,
    "rp": "rp|rt",
    "rt": "rp|rt",
    "td": "td|th|tr|tbody|tfoot",
    "th": "td|th|tr|tbody|tfoot",
    "tr": "tr|tbody|tfoot",
}
"""Names of elements, and what matches those before which their end may be left out."""
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_COLUMNS = ("col", "colgroup")
"""Elements that declare the columns of a table: pandoc drops the cells beyond them."""
_TYPES = ("epub:type", "role", "type")
"""Attributes that may say of a section that it is a title page: pandoc takes one for metadata, and
drops what else stands on it."""


def visible_page(content: bytes) -> bytes:
    """Return a page whose hidden elements are empty. A section that is a title page becomes text,
    and a table declares no columns.

    It is called for a page by itself and for every chapter of an e-book.
    """
    page = _Page(content.decode("utf-8", "surrogateescape"))
    return "".join(page.visible).encode("utf-8", "surrogateescape")


class _Page(HTMLParser):
    """A page of which hidden elements are left empty."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=False)
        self.visible: list[str] = []
        """The parts of the page that are seen."""
        self._page = page
        # As numbers of the machine: a page may consist of line ends.
        self._line_starts = array("L", [0])
        self._line_starts.extend(match.end() for match in re.finditer("\n", page))
        self._open: list[str] = []
        """The names of the elements in which the parser is."""
        self._hidden_depth = 0
        """How many elements are open with the hidden one; 0 if none is hidden."""
        self._begin = 0
        """Where what is seen begins."""
        # After the last end of a tag the parser would look for one from each beginning anew.
        self.feed(page[: page.rfind(">") + 1])
        self.close()
        if not self._hidden_depth:
            self.visible.append(page[self._begin :])

    def _offset(self) -> int:
        line, column = self.getpos()
        return self._line_starts[line - 1] + column

    def _replace(self, begin: int, end: int, tag: str = "") -> None:
        """Put something else in the place of a part of the page, by default nothing."""
        if not self._hidden_depth:
            self.visible += [self._page[self._begin : begin], tag]
            self._begin = end

    def _edit_tag(self, tag: str, attrs: Sequence[tuple[str, str | None]], *, end: str) -> None:
        """Leave out a tag that declares a column, and what makes a title page of an element."""
        begin = self._offset()
        after = begin + len(self.get_starttag_text() or "")
        if tag in _COLUMNS:
            self._replace(begin, after)
        elif any(name in _TYPES and "titlepage" in (value or "") for name, value in attrs):
            kept = [
                f' {name}="{escape(value or "")}"' for name, value in attrs if name not in _TYPES
            ]
            self._replace(begin, after, f"<{tag}{''.join(kept)}{end}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Enter an element, and hide it."""
        while self._open and re.fullmatch(_ENDED_BY.get(self._open[-1], "-"), tag):
            self.handle_endtag(self._open[-1])
        self._edit_tag(tag, attrs, end=">")
        if _EMPTY.fullmatch(tag) or tag in _COLUMNS:
            return
        self._open.append(tag)
        values = dict(attrs)
        style = values.get("style") or ""
        is_hidden = "hidden" in values or _SKIPPED.fullmatch(tag) or _HIDDEN_STYLE.search(style)
        # A program may show a whole page only once it is loaded.
        if is_hidden and not self._hidden_depth and tag not in ("html", "body"):
            self._hidden_depth = len(self._open)
            start = self.get_starttag_text() or ""
            self.visible.append(self._page[self._begin : self._offset() + len(start)])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Pass an element over that has nothing in it."""
        self._edit_tag(tag, attrs, end="/>")

    def handle_endtag(self, tag: str) -> None:
        """Leave an element, and all in it whose ends are left out."""
        if tag in _COLUMNS:
            self._replace(self._offset(), self._page.index(">", self._offset()) + 1)
        if tag not in self._open:
            return
        while self._open.pop() != tag:
            pass
        if len(self._open) < self._hidden_depth:
            self._hidden_depth = 0
            self._begin = self._offset()

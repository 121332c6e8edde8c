"""Leave what nobody sees out of a document before pandoc reads it, and let it see what it skips."""

import io
import re
from collections.abc import Callable, Collection, Iterator
from functools import partial
from html.parser import HTMLParser
from zipfile import ZipFile

_SKIPPED = re.compile("audio|button|menu|nav|noscript|rp|rt|script|select|style|template|video")
"""Matches elements of pages that are no text: controls and menus, and the readings of
ideographs."""
_WITHOUT_END = re.compile("area|base|body|br|col|embed|hr|img|input|link|meta|source|wbr")
"""Matches elements that cannot have an end, and the whole page."""
_MAY_HIDE = re.compile(
    rb"<(?i:audio|video|button|col|colgroup|menu|nav|noscript|rt|select|template)[\s>/]|\shidden|titlepage"
    rb"|display\s*:\s*none|visibility\s*:\s*hidden"
)
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden")
_VANISH = re.compile(rb"<w:vanish(?:\s+w:val=\"(?:1|true|on)\")?\s*/>")
_STYLE_NAME = re.compile(rb'style:name="([^"]+)"')
_USED_STYLE = re.compile(rb'<[^>]*\stext:style-name="([^"]+)"')
_LINEAR = re.compile(rb"""(<(?:\w+:)?itemref\b[^>]*?)\slinear\s*=\s*["']no["']""")
_COLUMNS = re.compile(rb"</?(?i:col|colgroup)(?:\s[^>]*)?/?>")
_TITLE_PAGE = re.compile(rb"""\s(?:epub:type|role)=["'][^"']*titlepage["']""")


def without_hidden(data: bytes, format: str) -> bytes:
    """Return a document without what is hidden in it. Chapters of an e-book that stand beside the
    main text become part of it, because pandoc skips them."""
    if format == "html":
        return _page(data)
    if format not in ("docx", "epub", "odt"):
        return data
    changed = dict(_changed_parts(data, format))
    if not changed:
        return data

    # A ZIP archive cannot be changed in place.
    written = io.BytesIO()
    with ZipFile(io.BytesIO(data)) as archive, ZipFile(written, "w") as copy:
        for entry in archive.infolist():
            content = changed.get(entry.filename)
            copy.writestr(entry, archive.read(entry) if content is None else content)
    return written.getvalue()


def _changed_parts(data: bytes, format: str) -> Iterator[tuple[str, bytes]]:
    with ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    # OpenDocument hides a passage by the name of its style.
    styles = [_hiding_styles(parts.get(name, b"")) for name in ("content.xml", "styles.xml")]
    for name, content in parts.items():
        changed = content
        # Of an e-book the pages, of other documents their text.
        if format == "docx" and re.match(r"word/.*\.xml$", name):
            changed = _without(content, b"w:r", is_hidden=_is_vanished)
        elif format == "odt" and name == "content.xml":
            is_hidden = partial(_has_style, names=set().union(*styles))
            for element in (b"text:span", b"text:p"):
                changed = _without(changed, element, is_hidden=is_hidden)
        elif format == "epub" and name.endswith(".opf"):
            changed = _LINEAR.sub(rb"\1", content)
        elif format == "epub" and re.search(r"\.x?html?$", name, re.IGNORECASE):
            changed = _page(content)
        if changed != content:
            yield name, changed


def _without(content: bytes, name: bytes, *, is_hidden: Callable[[bytes], bool]) -> bytes:
    """Return a document without the elements of this name that are hidden, of which an inner one is
    left out alone."""
    # Split at the ends: a regular expression would look for the end of each beginning anew.
    end = b"</%b>" % name
    *parts, rest = content.split(end)
    kept = []
    for part in parts:
        begin = max(part.rfind(b"<%b>" % name), part.rfind(b"<%b " % name))
        if begin >= 0 and is_hidden(part[begin:]):
            kept.append(part[:begin])
        else:
            kept.append(part + end)
    return b"".join([*kept, rest])


def _is_vanished(run: bytes) -> bool:
    return _VANISH.search(run) is not None


def _has_style(element: bytes, names: Collection[bytes]) -> bool:
    style = _USED_STYLE.match(element)
    return style is not None and style[1] in names


def _hiding_styles(content: bytes) -> set[bytes]:
    """Return the names of the styles that hide a passage. The parent of a style is not followed."""
    names = set()
    for part in content.split(b"</style:style>"):
        style = part[part.rfind(b"<style:style ") :]
        if b'text:display="none"' in style and (name := _STYLE_NAME.search(style)):
            names.add(name[1])
    return names


def _page(content: bytes) -> bytes:
    """Return a page without its hidden elements. A section that is a title page becomes text."""
    if not _MAY_HIDE.search(content):
        return content
    # pandoc takes a title page for metadata, and drops what else stands on it. Of a table it drops
    # the cells beyond the columns that are declared.
    content = _COLUMNS.sub(b"", _TITLE_PAGE.sub(b"", content))
    parser = _Visible(content.decode("utf-8", "surrogateescape"))
    return parser.visible().encode("utf-8", "surrogateescape")


class _Visible(HTMLParser):
    """Copies a page without its hidden elements."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=False)
        self._page = page
        self._starts = [0, *(match.end() for match in re.finditer("\n", page))]
        """Where the lines begin."""
        self._kept: list[str] = []
        self._begin = 0
        """Where what is kept begins, unless an element is hidden."""
        self._hidden = ""
        """The name of the hidden element."""
        self._depth = 0

    def visible(self) -> str:
        """Return what is seen of the page."""
        self.feed(self._page)
        self.close()
        if not self._hidden:
            self._kept.append(self._page[self._begin :])
        return "".join(self._kept)

    def _offset(self) -> int:
        line, column = self.getpos()
        return self._starts[line - 1] + column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # The end of these may be left out.
        if tag == self._hidden and tag in ("li", "option", "p", "rp", "rt", "td", "tr"):
            self._show(self._offset())
        if self._hidden:
            self._depth += tag == self._hidden
            return
        # What cannot have an end is shown: it has no text.
        values = dict(attrs)
        is_hidden = "hidden" in values or _HIDDEN_STYLE.search(values.get("style") or "")
        if (is_hidden or _SKIPPED.fullmatch(tag)) and not _WITHOUT_END.fullmatch(tag):
            self._kept.append(self._page[self._begin : self._offset()])
            self._hidden = tag
            self._depth = 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Pass an element over that has nothing in it."""

    def handle_endtag(self, tag: str) -> None:
        # What is around a hidden element ends it, too.
        if self._hidden and tag in ("ruby", "html") and tag != self._hidden:
            self._show(self._offset())
        # Elements of the same name may stand in one another.
        self._depth -= tag == self._hidden
        if tag == self._hidden and not self._depth:
            self._show(self._page.index(">", self._offset()) + 1)

    def _show(self, begin: int) -> None:
        self._hidden = ""
        self._begin = begin

"""Leave what nobody sees out of a document before pandoc reads it, and let it see what it skips."""

import io
import re
from array import array
from html.parser import HTMLParser
from zipfile import ZIP_STORED, ZipFile

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
_VANISHED = re.compile(rb".*<w:vanish(?:\s+w:val=\"(?:1|true|on)\")?\s*/>", re.DOTALL)
_HIDING_STYLE = re.compile(
    rb'<style:style [^>]*?style:name="([^"]+)"[^>]*(?<!/)>'
    rb'(?:<(?!/style:style)[^>]*>)*?<[^>]*text:display="none"'
)
"""Matches a style of OpenDocument that hides a passage."""
_STAND_IN = re.compile(rb"(\\u-?\d+(?!\d) ?)[^\\{}\s]")
"""Matches a character of RTF by its number, and the one that old programs show in its place."""
_HALVES = re.compile(
    rb"\\u(-10[0-2]\d\d|-9[2-9]\d\d|55[3-9]\d\d|56[0-2]\d\d) ?((?:\\'[0-9a-fA-F]{2})*)"
    rb"\\u(-?\d+) ?(?:\2)?"
)
"""Matches the halves of a character beyond U+FFFF (UTF-16), as an emoji, and what stands in for
them."""
_LINEAR = re.compile(rb"""(<(?:\w+:)?itemref\b[^>]*?)\slinear\s*=\s*["']no["']""")
_COLUMNS = re.compile(rb"</?(?i:col|colgroup)(?:\s[^>]*)?/?>")
_WRAPPERS = re.compile(
    rb"</?(?:w:(?:bdo|customXml|dir|fldSimple|ruby)|text:(?:author-(?:name|initials)|chapter|date"
    rb"|expression|file-name|placeholder|ruby(?:-base)?|sender-\w+|subject|text-input|time|title"
    rb"|user-(?:defined|field-get)|variable-(?:get|set)))(?:\s[^<>]*)?>"
)
"""Matches the tags of fields and of letters with a reading, which pandoc drops with what they have
in them."""
_ANY = re.compile(b"")
_TITLE_PAGE = re.compile(rb"""\s(?:epub:type|role)=["'][^"']*titlepage["']""")


def without_hidden(data: bytes, format: str) -> bytes:
    """Return a document without what is hidden in it. Chapters of an e-book that stand beside the
    main text become part of it, because pandoc skips them.

    Pandoc does not know what a word processor or a browser hides: deleted passages of tracked
    changes would be learned.
    """
    if format == "html":
        return _visible_page(data)
    if format == "rtf":
        # pandoc skips a footnote that older programs need not know.
        data = data.replace(rb"{\*\footnote", rb"{\footnote")
        # It takes the whole word after a number for what stands in for the character.
        if rb"\uc0" not in data:
            data = _STAND_IN.sub(rb"\1\\'3f", data)
        return _HALVES.sub(_whole_character, data)
    if format not in ("docx", "epub", "odt"):
        return data

    # A ZIP archive cannot be changed in place.
    written = io.BytesIO()
    with ZipFile(io.BytesIO(data)) as archive, ZipFile(written, "w") as copy:
        parts = {entry: archive.read(entry) for entry in archive.infolist()}
        # OpenDocument hides a passage by the name of its style.
        styles = b"|".join(map(re.escape, _HIDING_STYLE.findall(b"".join(parts.values()))))
        hiding = re.compile(rb'[^>]*\stext:style-name="(?:%b)"' % styles)
        for entry, content in parts.items():
            name = entry.filename
            shown = content
            # Of an e-book the pages, of other documents their text.
            if format == "docx" and re.match(r"word/.*\.xml$", name):
                shown = _without(content, name=b"w:r", hidden=_VANISHED)
                shown = _WRAPPERS.sub(b"", _without(shown, name=b"w:rt", hidden=_ANY))
                # A run in a run would be skipped.
                shown = shown.replace(b"<w:rubyBase>", b"</w:r>").replace(
                    b"</w:rubyBase>", b"<w:r>"
                )
            elif format == "odt" and name == "content.xml":
                shown = _without(content, name=b"text:ruby-text", hidden=_ANY)
                shown = _WRAPPERS.sub(b"", shown)
                if styles:
                    shown = _without(shown, name=b"text:span", hidden=hiding)
                    shown = _without(shown, name=b"text:p", hidden=hiding)
            elif format == "epub" and name.endswith(".opf"):
                shown = _LINEAR.sub(rb"\1", content)
            elif format == "epub" and re.search(r"\.(?:x?html?|xml)$", name, re.IGNORECASE):
                shown = _visible_page(content)
            copy.writestr(entry, shown, compress_type=ZIP_STORED)
    return written.getvalue()


def _without(content: bytes, *, name: bytes, hidden: re.Pattern[bytes]) -> bytes:
    """Return a document without the elements of this name that match, of which an inner one is left
    out alone."""
    # Split at the ends: a regular expression would look for the end of each beginning anew.
    end = b"</%b>" % name
    *parts, rest = content.split(end)
    kept = []
    for part in parts:
        begin = max(part.rfind(b"<%b>" % name), part.rfind(b"<%b " % name))
        if begin >= 0 and hidden.match(part, begin):
            kept.append(part[:begin])
        else:
            kept.append(part + end)
    return b"".join([*kept, rest])


def _whole_character(halves: re.Match[bytes]) -> bytes:
    """Return a character of RTF that is given by its halves, of which pandoc reads neither."""
    high = int(halves[1]) & 0x3FF
    low = int(halves[3]) & 0x3FF
    # In braces it is no part of the word before it.
    return f"{{{chr(0x10000 + 0x400 * high + low)}}}".encode()


def _visible_page(content: bytes) -> bytes:
    """Return a page whose hidden elements are empty. A section that is a title page becomes
    text."""
    # pandoc takes a title page for metadata, and drops what else stands on it. Of a table it drops
    # the cells beyond the columns that are declared.
    content = _COLUMNS.sub(b"", _TITLE_PAGE.sub(b"", content))
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

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Enter an element, and hide it."""
        while self._open and re.fullmatch(_ENDED_BY.get(self._open[-1], "-"), tag):
            self.handle_endtag(self._open[-1])
        if _EMPTY.fullmatch(tag):
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

    def handle_endtag(self, tag: str) -> None:
        """Leave an element, and all in it whose ends are left out."""
        if tag not in self._open:
            return
        while self._open.pop() != tag:
            pass
        if len(self._open) < self._hidden_depth:
            self._hidden_depth = 0
            self._begin = self._offset()

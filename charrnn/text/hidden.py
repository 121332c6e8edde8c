"""Leave what nobody sees out of a document before pandoc reads it, and let it see what it skips.

A filter of pandoc cannot do it: what a word processor hides is not in what pandoc makes of a
document, nor is that an element of a page is hidden.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import suppress
from functools import partial
from zipfile import ZIP_STORED, ZipFile

from charrnn.text.visible_page import visible_page
from charrnn.text.xml_edits import Edits, Element, elements_of

Parts = Mapping[str, bytes]
"""The files in the archive of a document, by their names."""

_ON = ("1", "true", "on")
"""Values of a property of Word that is on, as one without a value is."""
_WRAPPERS_OF_WORD = frozenset({"w:bdo", "w:customXml", "w:dir", "w:fldSimple", "w:ruby"})
"""Elements around text that pandoc drops: fields, and letters with a reading."""
_WRAPPERS_OF_OPEN_DOCUMENT = re.compile(
    "text:(?:author-(?:name|initials)|chapter|date|expression|file-name|placeholder"
    "|ruby(?:-base)?|sender-.+|subject|text-input|time|title|user-(?:defined|field-get)"
    "|variable-(?:get|set))"
)
_PASSAGES_OF_OPEN_DOCUMENT = ("text:h", "text:p", "text:span")
"""Elements that a style may hide."""
_STAND_IN = re.compile(rb"(\\u-?\d+(?!\d) ?)[^\\{}\s]")
"""Matches a character of RTF by its number, and the one that old programs show in its place."""
_HALVES = re.compile(
    rb"\\u(-10[0-2]\d\d|-9[2-9]\d\d|55[3-9]\d\d|56[0-2]\d\d) ?((?:\\'[0-9a-fA-F]{2})*)"
    rb"\\u(-?\d+) ?(?:\2)?"
)
"""Matches the halves of a character beyond U+FFFF (UTF-16), as an emoji, and what stands in for
them."""


def without_hidden(data: bytes, format: str) -> bytes:
    """Return a document without what is hidden in it. Chapters of an e-book that stand beside the
    main text become part of it, because pandoc skips them.

    Pandoc does not know what a word processor or a browser hides: it would be learned. Deleted
    passages of tracked changes are left out by pandoc itself.
    """
    if format == "html":
        return visible_page(data)
    if format == "rtf":
        return _rich_text(data)
    if format not in CLEANERS:
        return data

    # A ZIP archive cannot be changed in place.
    written = io.BytesIO()
    with ZipFile(io.BytesIO(data)) as archive, ZipFile(written, "w") as copy:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        for name, content in CLEANERS[format](parts):
            copy.writestr(name, content, compress_type=ZIP_STORED)
    return written.getvalue()


def clean_word(parts: Parts) -> Iterator[tuple[str, bytes]]:
    """Yield the parts of a Word document without hidden runs and the readings of ideographs."""
    for name, content in parts.items():
        if name.startswith("word/") and name.endswith(".xml"):
            content = _edited(content, _edit_word)
        yield name, content


def _edit_word(element: Element, edits: Edits) -> None:
    if element.name == "w:vanish" and element.attributes.get("w:val", "on") in _ON:
        # Elsewhere stand the properties that a run had before it was changed.
        run = element.ancestor("w:rPr", "w:r")
        if run is not None:
            run.is_hidden = True
    elif element.is_hidden or element.name == "w:rt":
        edits.leave_out(element)
    elif element.name in _WRAPPERS_OF_WORD:
        edits.replace_tags(element)
    elif element.name == "w:rubyBase":
        # A run in a run would be skipped.
        edits.replace_tags(element, first=b"</w:r>", last=b"<w:r>")


def clean_open_document(parts: Parts) -> Iterator[tuple[str, bytes]]:
    """Yield the parts of an OpenDocument file without the readings of ideographs, and without the
    passages whose styles hide them."""
    hiding: set[str] = set()
    for name in ("content.xml", "styles.xml"):
        with suppress(ValueError):
            hiding |= _hiding_styles(parts.get(name, b""))
    for name, content in parts.items():
        if name == "content.xml":
            content = _edited(content, partial(_edit_open_document, hiding=hiding))
        yield name, content


def _hiding_styles(content: bytes) -> set[str]:
    """Return the names of the styles that hide a passage. Raises ValueError if they are damaged."""
    names = set()
    for element in elements_of(content):
        style = element.ancestor("style:style")
        if style is not None and element.attributes.get("text:display") == "none":
            names.add(style.attributes.get("style:name", ""))
    return names


def _edit_open_document(element: Element, edits: Edits, hiding: Set[str]) -> None:
    style = element.attributes.get("text:style-name")
    is_hidden = element.name in _PASSAGES_OF_OPEN_DOCUMENT and style in hiding
    if is_hidden or element.name == "text:ruby-text":
        edits.leave_out(element)
    elif _WRAPPERS_OF_OPEN_DOCUMENT.fullmatch(element.name):
        edits.replace_tags(element)


def clean_book(parts: Parts) -> Iterator[tuple[str, bytes]]:
    """Yield the parts of an e-book, in whose pages nothing is hidden, and of whose chapters none
    stands beside the main text."""
    for name, content in parts.items():
        if name.endswith(".opf"):
            content = _edited(content, _edit_list_of_chapters)
        elif re.search(r"\.(?:x?html?|xml)$", name, re.IGNORECASE):
            content = visible_page(content)
        yield name, content


def _edit_list_of_chapters(element: Element, edits: Edits) -> None:
    is_chapter = element.name.rpartition(":")[2] == "itemref"
    if is_chapter and element.attributes.get("linear") == "no":
        edits.set_attributes(element, {**element.attributes, "linear": "yes"})


CLEANERS: Mapping[str, Callable[[Parts], Iterator[tuple[str, bytes]]]] = {
    "docx": clean_word,
    "epub": clean_book,
    "odt": clean_open_document,
}
"""What leaves hidden parts out of the files of an archive, by pandoc's format of the document."""


def _edited(content: bytes, edit: Callable[[Element, Edits], None]) -> bytes:
    """Return an XML file whose elements were edited, each at its end.

    A file that is damaged or declares entities becomes empty, because nobody knows what is hidden
    in it: pandoc refuses the document then, or does not need that file.
    """
    edits = Edits(content)
    try:
        for element in elements_of(content):
            edit(element, edits)
    except ValueError:
        return b""
    return edits.edited()


def _rich_text(data: bytes) -> bytes:
    """Return an RTF document whose footnotes and characters pandoc reads."""
    # pandoc skips a footnote that older programs need not know.
    data = data.replace(rb"{\*\footnote", rb"{\footnote")
    # It takes the whole word after a number for what stands in for the character.
    if rb"\uc0" not in data:
        data = _STAND_IN.sub(rb"\1\\'3f", data)
    return _HALVES.sub(_whole_character, data)


def _whole_character(halves: re.Match[bytes]) -> bytes:
    """Return a character of RTF that is given by its halves, of which pandoc reads neither."""
    high = int(halves[1]) & 0x3FF
    low = int(halves[3]) & 0x3FF
    # In braces it is no part of the word before it.
    return f"{{{chr(0x10000 + 0x400 * high + low)}}}".encode()

"""Leave elements, or their tags alone, out of an XML file. Everything else stays byte for byte.

A parser says where the elements stand, and no tree is built: a hostile file of megabytes takes
little memory. Entities are not expanded, and nothing is fetched.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import NoReturn
from xml.parsers.expat import ExpatError, ParserCreate

_BLOCK = 1 << 18
"""Bytes that are parsed at a time."""


@dataclass(eq=False)
class Element:
    """An element, and where it stands in the bytes of its file."""

    name: str
    """The name with its prefix, such as `w:r`."""
    attributes: Mapping[str, str]
    """The values of its attributes, by their names with prefixes."""
    parent: "Element | None"
    """The element that it stands in; None for the outermost one."""
    begin: int
    """Where its first tag begins."""
    inner_begin: int = 0
    """Where its first tag ends."""
    inner_end: int = 0
    """Where its last tag begins."""
    end: int = 0
    """Where its last tag ends."""
    is_hidden: bool = False
    """Whether something in it says that nobody sees it."""

    def ancestor(self, *names: str) -> "Element | None":
        """Return the last of the elements around this one, which have these names from the inside
        to the outside; None if they have other names."""
        element: Element | None = self
        for name in names:
            element = element.parent if element is not None else None
            if element is None or element.name != name:
                return None
        return element


def elements_of(content: bytes) -> Iterator[Element]:
    """Yield the elements of an XML file, each at its end: after those that stand in it.

    Raises ValueError for a file that is not well-formed, or declares entities.
    """
    reader = _Reader()
    try:
        for first in range(0, len(content), _BLOCK):
            reader.parser.Parse(content[first : first + _BLOCK], False)
            yield from reader.take_ended()
        reader.parser.Parse(b"", True)
    except ExpatError as error:
        raise ValueError(f"it is not well-formed XML: {error}") from error
    reader.reach(len(content))
    yield from reader.take_ended()


class _Reader:
    """The elements of a file while it is parsed."""

    def __init__(self) -> None:
        self.parser = ParserCreate()
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        # It is called for all that is no tag. Where it is set, no entity is expanded.
        self.parser.DefaultHandler = self._pass
        self.parser.EntityDeclHandler = self._refuse
        self._innermost: Element | None = None
        self._begun: Element | None = None
        """The element whose first tag was the last thing that was parsed."""
        self._finished: Element | None = None
        """The element whose last tag was the last thing that was parsed."""
        self._ended: list[Element] = []

    def take_ended(self) -> list[Element]:
        """Return the elements that have ended since the last call."""
        ended = self._ended
        self._ended = []
        return ended

    def reach(self, position: int) -> None:
        """Note where a tag ends: where what follows it begins."""
        if self._begun is not None:
            self._begun.inner_begin = position
            self._begun = None
        if self._finished is not None:
            self._finished.end = position
            self._ended.append(self._finished)
            self._finished = None

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        begin = self.parser.CurrentByteIndex
        self.reach(begin)
        self._innermost = Element(name, attributes, parent=self._innermost, begin=begin)
        self._begun = self._innermost

    def _end(self, name: str) -> None:
        element = self._innermost
        assert element is not None, "the parser checks that each end has a beginning"
        self.reach(self.parser.CurrentByteIndex)
        element.inner_end = self.parser.CurrentByteIndex
        self._finished = element
        self._innermost = element.parent

    def _pass(self, data: str) -> None:
        self.reach(self.parser.CurrentByteIndex)

    def _refuse(self, *declaration: object) -> NoReturn:
        # A few of them may stand for gigabytes, or for a file of this machine.
        raise ValueError("it declares entities")


class Edits:
    """What is left out of a file, or put in the place of tags."""

    def __init__(self, content: bytes):
        self._content = content
        self._edits: list[tuple[int, int, bytes]] = []

    def leave_out(self, element: Element) -> None:
        """Leave an element out with all that stands in it."""
        self._edits.append((element.begin, element.end, b""))

    def replace_tags(self, element: Element, *, first: bytes = b"", last: bytes = b"") -> None:
        """Put something else in the place of the tags of an element, by default nothing: what
        stands between them stays."""
        self._edits.append((element.begin, element.inner_begin, first))
        self._edits.append((element.inner_end, element.end, last))

    def set_attributes(self, element: Element, attributes: Mapping[str, str]) -> None:
        """Give an element other attributes."""
        # Not by xml.sax.saxutils, which imports what opens addresses on the network.
        values = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
        first = f"<{element.name}{values}>".encode("ascii", "xmlcharrefreplace")
        self.replace_tags(element, first=first, last=f"</{element.name}>".encode())

    def edited(self) -> bytes:
        """Return the file with these changes."""
        kept = []
        position = 0
        for begin, end, replacement in sorted(self._edits):
            # What stands in an element that is left out was changed for nothing.
            if begin < position:
                continue
            kept += [self._content[position:begin], replacement]
            position = end
        kept.append(self._content[position:])
        return b"".join(kept)

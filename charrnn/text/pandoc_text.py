"""Write the text of the JSON that pandoc makes of a file: what a reader sees, for a model.

A paragraph is a line, with a blank line between two of them, and a row of a table is a line whose
cells are parted by tabs.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from charrnn.text.cleaning import IDEOGRAPHS

METADATA = ("title", "subtitle", "author", "date", "abstract")
"""The fields of the metadata that are the first lines of the text; `date` only in Word."""

Node = dict[str, Any]
"""A part of a document: its type `t` and its content `c`."""
_SOFT = "\x1e"
"""Stands for the end of a line of the file, which nobody sees."""
_SOFT_BETWEEN = re.compile(f"(?<=[{IDEOGRAPHS}]){_SOFT}(?=[{IDEOGRAPHS}])")
_RAISED = str.maketrans("0123456789+-=()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾")
_LOWERED = str.maketrans("0123456789+-=()", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎")
_IS_NUMBER = re.compile(r"[0-9+\-=()]+")
_PLAIN_FORMULA = re.compile(r"[^\\{}^_$&]*")
_QUOTES = {"SingleQuote": "‘’", "DoubleQuote": "“”"}
_TASK = re.compile(r"[☐☒]\s*")


def text_of_json(content: bytes, format: str) -> str:
    """Return the text of pandoc's JSON of a document in this format.

    Pandoc's own plain text has marks for lists, notes and tables that nobody wrote; here only what
    was written is kept.
    """
    document: Node = json.loads(content)
    writer = _Writer()
    head: list[str] = []
    # In Word these are paragraphs, which pandoc takes out of the text.
    is_word = format == "docx"
    for name in METADATA:
        if name in document["meta"] and (is_word or name != "date"):
            head += writer.metadata(document["meta"][name])
    body = list(writer.blocks(document["blocks"]))

    # A page has its title as its first heading, too, and an e-book its authors.
    if not is_word:
        head = [line for line in head if line not in body[: len(head) + 1]]
    text = "\n\n".join(filter(None, [*head, *body, *writer.notes]))
    return f"{text}\n"


class _Writer:
    """Writes the parts of a document as text."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        """The footnotes, which stand at the end."""

    def metadata(self, node: Node) -> Iterator[str]:
        """Yield the paragraphs of a value of the metadata, such as the authors."""
        content = node["c"]
        if node["t"] == "MetaInlines":
            yield self.line(content)
        elif node["t"] == "MetaBlocks":
            yield from self.blocks(content)
        elif node["t"] == "MetaList":
            for value in content:
                yield from self.metadata(value)

    def blocks(self, blocks: Sequence[Node]) -> Iterator[str]:
        """Yield the text of each paragraph, list and table."""
        for block in blocks:
            yield from filter(None, self._block(block["t"], block.get("c")))

    def _block(self, kind: str, content: Any) -> Iterator[str]:
        # Rules, and blocks in the code of another format, are no text.
        if kind in ("Para", "Plain"):
            yield self.line(content)
        elif kind == "Header":
            yield self.line(content[2])
        elif kind == "LineBlock":
            yield "\n".join(map(self.line, content))
        elif kind == "CodeBlock":
            yield content[1].strip("\n")
        elif kind == "BlockQuote":
            yield from self.blocks(content)
        elif kind == "Div":
            yield from self.blocks(content[1])
        elif kind == "Figure":
            yield from self.blocks(content[2])
            yield from self.blocks(content[1][1])
        elif kind in ("BulletList", "OrderedList"):
            yield from self._list(kind, content)
        elif kind == "DefinitionList":
            for term, definitions in content:
                parts = [self.line(term)]
                for definition in definitions:
                    parts += self.blocks(definition)
                yield "\n".join(filter(None, parts))
        elif kind == "Table":
            yield from self._table(content)

    def _list(self, kind: str, content: Any) -> Iterator[str]:
        # The numbers of an ordered list begin where the document says.
        number = 0
        items = content
        if kind == "OrderedList":
            number = content[0][0]
            items = content[1]
        # The items of a tight list stand on lines of their own without blank lines between.
        is_tight = all(item and item[0]["t"] == "Plain" for item in items)
        lines = []
        for index, item in enumerate(items):
            parts = list(self.blocks(item))
            mark = "- "
            if kind == "OrderedList":
                mark = f"{number + index}. "
            if parts:
                parts[0] = mark + _TASK.sub("", parts[0], count=1)
            lines += parts
        if is_tight:
            yield "\n".join(lines)
        else:
            yield from lines

    def _table(self, content: Any) -> Iterator[str]:
        # A body has rows of its own head, too.
        _, caption, _, head, bodies, foot = content
        yield from self.blocks(caption[1])
        rows = [*head[1]]
        for body in bodies:
            rows += [*body[2], *body[3]]
        rows += foot[1]
        lines = []
        for _, cells in rows:
            texts = [list(self.blocks(cell[4])) for cell in cells]
            # A page is laid out by a table whose cells have several paragraphs.
            if any(len(text) > 1 for text in texts):
                lines += [part for text in texts for part in text]
            else:
                row = "\t".join(" ".join(text).replace("\n", " ") for text in texts)
                lines.append(row.rstrip("\t"))
        yield "\n".join(filter(None, lines))

    def line(self, inlines: Sequence[Node]) -> str:
        """Return the text of a paragraph: a line, or several if it has hard breaks."""
        # Lines of the file end where its program has ended them.
        text = _SOFT_BETWEEN.sub("", self._texts(inlines)).replace(_SOFT, " ")
        # A picture stood between two blanks.
        text = re.sub(" {2,}", " ", text)
        return "\n".join(part.strip(" ") for part in text.split("\n")).strip()

    def _texts(self, inlines: Sequence[Node]) -> str:
        return "".join(map(self._inline, inlines))

    def _inline(self, node: Node) -> str:
        kind = node["t"]
        content: Any = node.get("c")
        text = ""
        if kind == "Str":
            text = content
        elif kind == "Space":
            text = " "
        elif kind == "SoftBreak":
            text = _SOFT
        elif kind == "LineBreak":
            text = "\n"
        elif kind in ("Emph", "Strong", "Underline", "SmallCaps"):
            text = self._texts(content)
        elif kind in ("Superscript", "Subscript"):
            text = self._texts(content)
            # H₂O and m² have characters of their own, and 1st has none.
            if _IS_NUMBER.fullmatch(text):
                text = text.translate(_RAISED if kind == "Superscript" else _LOWERED)
        elif kind == "Quoted":
            marks = _QUOTES[content[0]["t"]]
            text = f"{marks[0]}{self._texts(content[1])}{marks[1]}"
        elif kind in ("Cite", "Link", "Span"):
            text = self._texts(content[1])
        elif kind == "Code":
            text = content[1]
        elif kind == "Math":
            # What has no commands, such as x or n + 1, is its own text.
            if _PLAIN_FORMULA.fullmatch(content[1]):
                text = content[1]
        elif kind == "Note":
            # A note inside a note has the next number.
            self.notes.append("")
            number = len(self.notes)
            self.notes[number - 1] = f"[{number}] " + "\n".join(self.blocks(content))
            text = f"[{number}]"
        # Pictures, what was struck out, and the code of another format are no text.
        return text

"""Docstrings that say what the fields of a dataclass mean, for `help`, Jupyter and the web site.

What a field means is written once: in the docstring below it, which Python does not keep. It is
read from the source code when somebody asks for it, and not when the package is imported.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, fields
from itertools import pairwise
from typing import Any, TypeVar

WIDTH = 88
"""Columns of a section, without the indentation of the docstring."""
ATTRIBUTES = "Attributes"
"""The section for the fields of a result."""
_SECTION = re.compile(r"\n\n(?=[A-Z]\w+:\n)")
"""What stands between two sections of a docstring."""
Record = TypeVar("Record")
"""A dataclass, or a class with a dataclass as its base."""


class DescribedFields:
    """The docstring of a class, which gets a section about the fields whenever it is read."""

    def __init__(self, docstring: str, title: str, texts: Callable[[], Mapping[str, str]]) -> None:
        self.docstring = docstring
        self.title = title
        self.texts = texts

    def __get__(self, instance: object, owner: type) -> str:
        del instance
        return with_entries(self.docstring, self.title, self.texts())


def described(
    owner: type[Record],
    *,
    title: str = ATTRIBUTES,
    hidden: Collection[str] = (),
    remark: Callable[["Field[object]"], str] = lambda field: "",
) -> type[Record]:
    """Decorate a dataclass: its docstring says what its fields mean.

    The section has this `title`. Fields in `hidden` are left out, and the `remark` about a field
    stands behind its text.
    """

    def texts() -> dict[str, str]:
        return {
            field.name: f"{text} {remark(field)}"
            for field, text in field_texts(owner)
            if field.name not in hidden
        }

    # mypy knows no docstring but a string.
    setattr(owner, "__doc__", DescribedFields(owner.__doc__ or "", title, texts))  # noqa: B010
    return owner


def field_texts(owner: Any) -> "list[tuple[Field[object], str]]":
    """Return the fields of a dataclass with the docstrings below them, those of its bases included;
    without private fields, and without those that have none."""
    # The fields of a base come first; a class may describe them anew.
    texts: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        if "__dataclass_fields__" in vars(base):
            texts.update(_texts_below(base))
    return [
        (field, texts[field.name])
        for field in fields(owner)
        if field.name in texts and not field.name.startswith("_")
    ]


def _texts_below(base: type) -> dict[str, str]:
    """Return the docstrings below the fields in the statement of a class; {} for a package that was
    installed without its source code."""
    # The class of a program that was typed into a console has none, either.
    try:
        source = inspect.getsource(base)
    except (OSError, TypeError):
        return {}

    # The docstring of a field is the statement after it.
    [definition] = ast.parse(textwrap.dedent(source)).body
    texts = {}
    for statements in pairwise(getattr(definition, "body", [])):
        match statements:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(str(text))):
                texts[name] = text
    return texts


def with_entries(docstring: str, title: str, texts: Mapping[str, str]) -> str:
    """Return a docstring whose section of this title has an entry for each text: those that it has
    already stay as they are. A new section stands before the example."""
    # The text before the first section has no title.
    sections = _SECTION.split(inspect.cleandoc(docstring))
    titles = [section.partition(":\n")[0] for section in sections]
    if title not in titles:
        index = titles.index("Example") if "Example" in titles else len(titles)
        sections.insert(index, f"{title}:")
        titles.insert(index, title)

    # What the section says already may fit this place better.
    index = titles.index(title)
    entries = {*re.findall(r"^ {4}(\w+): ", sections[index], re.MULTILINE)}
    lines = [sections[index]]
    for name, text in texts.items():
        if name not in entries:
            lines.append(_entry(name, text))
    sections[index] = "\n".join(lines)
    # A section without an entry is left out.
    return "\n\n".join(section for section in sections if section != f"{title}:")


def _entry(name: str, text: str) -> str:
    """Return the entry of a section, wrapped."""
    return textwrap.fill(
        f"{name}: {' '.join(text.split())}",
        width=WIDTH,
        initial_indent=" " * 4,
        subsequent_indent=" " * 8,
        break_long_words=False,
        break_on_hyphens=False,
    )

"""Read docstrings in Google's style: their sections, and the entries of a section; and those below
the fields of a dataclass."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from itertools import pairwise
from typing import Any

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example")
SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):\n", re.MULTILINE)
ENTRY = re.compile(r"^(\*{0,2}\w+): ", re.MULTILINE)


def read_sections(function: Callable[..., Any]) -> dict[str, str]:
    """Return the text of each section of a function's docstring, not indented; "" is the name of
    what stands before the first section."""
    before, *rest = SECTION.split(inspect.getdoc(function) or "")
    sections = {"": before}
    for name, text in zip(rest[::2], rest[1::2], strict=True):
        assert name not in sections, f"two sections {name}"
        sections[name] = inspect.cleandoc(f"\n{text}")
    return sections


def read_entries(section: str) -> dict[str, str]:
    """Return the entries of a section by their names: the arguments, or the classes of errors."""
    before, *rest = ENTRY.split(section)
    assert before == "", f"no entry: {before}"
    return {name: text.strip() for name, text in zip(rest[::2], rest[1::2], strict=True)}


def described_fields(record: type) -> set[str]:
    """Return the names of the fields of a dataclass that have a docstring below them, in its class
    or in a base."""
    names = set()
    for base in record.__mro__:
        if "__dataclass_fields__" not in vars(base):
            continue
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        for statements in pairwise(definition.body):
            match statements:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(str())):
                    names.add(name)
    return names

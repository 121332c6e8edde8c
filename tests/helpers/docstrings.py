"""Read docstrings in Google's style: their sections, and the entries of a section."""

import inspect
import re
from collections.abc import Callable
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

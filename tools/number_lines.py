"""Write the line of every function that docs/understand/code.md names, by
`python tools/number_lines.py`.

A stop of the page is written as `module.py:LINE` `name`, below `charrnn/`.
"""

import ast
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "understand" / "code.md"
"""The page whose lines are written."""
PACKAGE = PAGE.parents[2] / "charrnn"
"""Where its files are."""
STOP = re.compile(r"`([\w/]+\.py):(\d+)`(\s+)`([\w.]+)`")
"""Matches a stop: a file, a line, and the name of a function, a class or a method."""


def line_of(file: str, name: str) -> int:
    """Return the line of a definition such as `Trainer.take_step`. Raises LookupError."""
    found: ast.AST = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    for part in name.split("."):
        named = {getattr(node, "name", ""): node for node in ast.iter_child_nodes(found)}
        found = named[part]
    assert isinstance(found, ast.FunctionDef | ast.ClassDef)
    return found.lineno


def number(page: str) -> str:
    """Return the page with the lines of today. Raises LookupError for a name that is gone."""

    def stop(match: re.Match[str]) -> str:
        file, _, space, name = match.groups()
        return f"`{file}:{line_of(file, name)}`{space}`{name}`"

    return STOP.sub(stop, page)


if __name__ == "__main__":
    PAGE.write_text(number(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

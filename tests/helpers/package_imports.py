"""Parse the files of the package once, and find what they import."""

import ast
import re
from functools import cache
from pathlib import Path

PLACE = re.compile(r"(charrnn(?:\.\w+)+)(?::\w+)?")
"""A module, or "module:name", as hooks and the table of commands name a place."""


def parsed(path: Path) -> ast.Module:
    """Return the tree of a source file, which is parsed once for all tests; nobody changes it."""
    return _parse(path.read_text(encoding="utf-8"))


def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of a source file, in the order of `ast.walk`."""
    return _walk(path.read_text(encoding="utf-8"))


def imported_modules(path: Path, package: Path) -> tuple[tuple[int, str], ...]:
    """Return line and module of every import of a file: in functions, under `TYPE_CHECKING` and by
    a string, too."""
    folders = path.relative_to(package).parent.parts
    return _imports_in(path.read_text(encoding="utf-8"), ("charrnn", *folders))


# Kept by their sources: a test may write another file to the same path.
_parse = cache(ast.parse)


@cache
def _walk(source: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(_parse(source)))


@cache
def _imports_in(source: str, here: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    """Return the imports of a source that lies in the package `here`."""
    found = []
    for node in _walk(source):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) + 1 - node.level] if node.level else ()
            origin = ".".join((*base, *filter(None, [node.module])))
            # `from charrnn import x` may mean the module x or a name in the package itself.
            found += [(node.lineno, f"{origin}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            place = PLACE.fullmatch(node.value)
            if place is not None:
                found.append((node.lineno, place[1]))
    return tuple(found)

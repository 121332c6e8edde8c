"""Find what the modules of the package import."""

import ast
import re


def imported_modules(path, package):
    """Yield line and module of every import of a file: in functions, under `TYPE_CHECKING` and by a
    string, too."""
    here = ("charrnn", *path.relative_to(package).parent.parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) + 1 - node.level] if node.level else ()
            origin = ".".join((*base, *filter(None, [node.module])))
            # `from charrnn import x` may mean the module x or a name in the package itself.
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Constant):
            # A module, or "module:name", as hooks and the table of commands name a place.
            place = re.fullmatch(r"(charrnn(?:\.\w+)+)(?::\w+)?", str(node.value))
            if place is not None:
                yield node.lineno, place[1]

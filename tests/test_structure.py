"""The shape of the package: no import cycle between modules, no long function without a stated reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

import charrnn

PACKAGE = Path(charrnn.__file__).parent
MAX_LINES = 60
"""Lines of a function without its signature; a longer one states its reason."""
REASON = "# Long because "
"""Starts a comment between the signature of a function and its first statement."""


class Function(NamedTuple):
    """A function, and its lines from the docstring on: decorators and parameters do not count."""

    num_lines: int
    place: str
    name: str
    is_explained: bool

    def __str__(self) -> str:
        return f"{self.num_lines:4} lines  {self.place}  {self.name}" + "  (explained)" * self.is_explained


def functions(package: Path) -> Iterator[Function]:
    """Yield every function of a package, nested ones and methods too."""
    for path in sorted(package.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            first = node.body[0]
            is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            statement = node.body[1] if is_docstring and len(node.body) > 1 else first
            head = [line.strip() for line in lines[node.lineno : statement.lineno - 1]]
            yield Function(
                node.end_lineno - first.lineno + 1,  # type: ignore[operator]
                f"{path.relative_to(package.parent)}:{node.lineno}",
                node.name,
                any(line.startswith(REASON) and len(line) > len(REASON) for line in head),
            )


def module_imports(package: Path) -> dict[str, set[str]]:
    """For each module of a package, the modules of the package that it imports, inside functions too.

    Imports under `TYPE_CHECKING` are left out: they never run.
    """
    modules = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in package.rglob("*.py")
    }
    return {
        name: set(_imported(ast.parse(path.read_text(encoding="utf-8")), set(modules)))
        for name, path in modules.items()
    }


def _imported(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            # `from a import b` imports the module a.b, or the name b of the module a.
            for alias in node.names:
                candidates = (f"{node.module}.{alias.name}", str(node.module))
                yield from (name for name in candidates if name in modules)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def find_cycle(imports: Mapping[str, set[str]]) -> list[str]:
    """Return the modules of an import cycle in order, the first one again at the end; [] if there is none."""
    finished: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module not in finished:
            for imported in sorted(imports[module]):
                if cycle := visit(imported, [*path, module]):
                    return cycle
            finished.add(module)
        return []

    return next(filter(None, (visit(module, []) for module in sorted(imports))), [])


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    imports = module_imports(PACKAGE)
    assert imports["charrnn.detectors.custom"] >= {"charrnn.detectors.detector", "charrnn.plugins"}
    assert find_cycle(imports) == []


def test_no_long_function_without_a_reason() -> None:
    longest = sorted(functions(PACKAGE), reverse=True)
    table = "\n".join(map(str, longest[:10]))
    print(f"The ten longest functions:\n{table}")
    unexplained = [one for one in longest if one.num_lines > MAX_LINES and not one.is_explained]
    assert not unexplained, f"shorten these, or state why below the signature: {REASON}...\n" + "\n".join(
        map(str, unexplained)
    )


def write(folder: Path, **modules: str) -> Path:
    package = folder / "charrnn"
    package.mkdir()
    for name, code in modules.items():
        (package / f"{name}.py").write_text(code, encoding="utf-8")
    return package


@pytest.mark.parametrize(
    ("back", "cycle"),
    [
        ("from charrnn.a import f", ["charrnn.a", "charrnn.b", "charrnn.a"]),
        ("import charrnn.a", ["charrnn.a", "charrnn.b", "charrnn.a"]),
        ("from charrnn import a", ["charrnn.a", "charrnn.b", "charrnn.a"]),
        ("class A:\n    from charrnn.a import f", ["charrnn.a", "charrnn.b", "charrnn.a"]),
        ("try:\n    import charrnn.a\nexcept ImportError:\n    pass", ["charrnn.a", "charrnn.b", "charrnn.a"]),
        ("def g():\n    from charrnn.a import f", ["charrnn.a", "charrnn.b", "charrnn.a"]),
        ("if TYPE_CHECKING:\n    from charrnn.a import f", []),
        ("from charrnn.c import h", []),
    ],
)
def test_a_cycle_is_found(tmp_path: Path, back: str, cycle: list[str]) -> None:
    assert find_cycle(module_imports(write(tmp_path, a="from charrnn.b import g", b=back, c=""))) == cycle


def test_lines_are_counted_without_the_signature_and_a_reason_is_seen(tmp_path: Path) -> None:
    reason = "# Long because it is a table."
    package = write(
        tmp_path,
        a=f"@decorator\ndef f(\n    a,\n    b,\n):\n    {reason}\n    'Do it.'\n    return 1\n",
        b=f"class A:\n    def g(self):\n        'Do it.'\n        {reason}\n\n        return 1\n",
        c=f"def h():\n    def i():\n        {reason}\n        pass\n\n    # Long because\n    return 2\n",
    )
    found = {one.name: (one.num_lines, one.is_explained) for one in functions(package)}
    assert found == {"f": (2, True), "g": (4, True), "h": (6, False), "i": (1, True)}

"""The shape of the package: a ceiling of its size, no import cycle, no long function without a
stated reason."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import typer.main

import charrnn
from charrnn.cli.app import app

PACKAGE = Path(charrnn.__file__).parent
ROOMS = ("analyses", "reports", "formats", "tui", "serving", "sweeps", "distributed", "compiled")
CEILING = {
    "lines of code": 33_000,
    "lines of the core": 20_000,
    "modules": 180,
    "words of documentation": 40_000,
    "options": 110,
}
"""The package may not grow beyond this: a feature pays for itself with a deletion."""

MAX_LINES = 80
"""Lines of a function without its signature; a longer one states its reason."""
parse = cache(ast.parse)
"""Parse a source once for all tests."""
REASON = "# Long because "
"""Starts a comment between the signature of a function and its first statement."""


class Function(NamedTuple):
    """A function, and its lines from the docstring on: decorators and parameters do not count."""

    num_lines: int
    place: str
    name: str
    is_explained: bool

    def __str__(self) -> str:
        return (
            f"{self.num_lines:4} lines  {self.place}  {self.name}"
            + "  (explained)" * self.is_explained
        )


def functions(package: Path) -> Iterator[Function]:
    """Yield every function of a package, nested ones and methods too."""
    for path in sorted(package.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.walk(parse(source)):
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
    """For each module of a package, what it imports of it, inside functions too, but not under
    `TYPE_CHECKING`."""
    modules = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in package.rglob("*.py")
    }
    return {
        name: set(_imported(parse(path.read_text(encoding="utf-8")), set(modules)))
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
    """Return the modules of an import cycle in order, the first one again at the end; [] if there
    is none."""
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


def code_lines(source: str) -> int:
    """Count the lines with code: not the blank ones, nor those of comments and docstrings."""
    lines = {
        number
        for number, line in enumerate(source.splitlines(), 1)
        if not re.match(r"\s*(#|$)", line)
    }
    docstrings: set[int] = set()
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno != node.lineno:
            lines |= {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
        elif (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            docstrings |= {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return len(lines - docstrings)


def option_flags() -> set[str]:
    """Return the options of all commands, each name once."""
    commands = [*typer.main.get_command(app).commands.values()]  # type: ignore[attr-defined]
    commands += [one for command in commands for one in getattr(command, "commands", {}).values()]
    parameters = [one for command in commands for one in command.params if one.name != "help"]
    return {one.opts[0] for one in parameters if one.param_type_name == "option" and not one.hidden}


def test_the_package_is_not_larger_than_its_ceiling() -> None:
    counts = {path: code_lines(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
    in_rooms = sum(
        count for path, count in counts.items() if path.relative_to(PACKAGE).parts[0] in ROOMS
    )
    pages = (PACKAGE.parent / "docs").rglob("*.md")
    found = {
        "lines of code": sum(counts.values()),
        "lines of the core": sum(counts.values()) - in_rooms,
        "modules": sum(count > 0 for count in counts.values()),
        "words of documentation": sum(
            len(page.read_text(encoding="utf-8").split()) for page in pages
        ),
        "options": len(option_flags()),
    }
    print(found)
    assert [f"{name}: {count:,}" for name, count in found.items() if count > CEILING[name]] == []


def test_the_files_to_start_with_are_short() -> None:
    page = (PACKAGE.parent / "docs" / "code.md").read_text(encoding="utf-8")
    files = re.findall(r"^\d+\. `(charrnn/[\w/]+\.py)`", page, re.MULTILINE)
    assert 9 <= len(files) <= 10
    assert (
        sum(len((PACKAGE.parent / file).read_text(encoding="utf-8").splitlines()) for file in files)
        <= 1_700
    )


def test_lines_of_code_are_counted_without_comments_and_docstrings() -> None:
    assert (
        code_lines(
            '"""Doc."""\n\n# comment\nx = """a\nb"""  # why\n\n\ndef f():\n    "Doc."\n   '
            " return 1\n"
        )
        == 4
    )


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    imports = module_imports(PACKAGE)
    assert imports["charrnn.detectors.custom"] >= {
        "charrnn.detectors.detector",
        "charrnn.hooks.extensions",
    }
    assert find_cycle(imports) == []


@cache
def names_bound(module: str) -> set[str]:
    """Return the names that a module of the package binds, and its modules; none if there is no
    such module."""
    base = PACKAGE.parent.joinpath(*module.split("."))
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    names = {path.stem for path in base.glob("*")}
    for node in ast.walk(parse(file.read_text(encoding="utf-8"))) if file.exists() else ():
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.alias(name=name):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
    return names


def test_programs_outside_the_package_import_names_that_it_has() -> None:
    """Without running them: some need a corpus, a GPU or hours."""
    missing = []
    for program in (
        path
        for folder in ("benchmarks", "docs")
        for path in (PACKAGE.parent / folder).rglob("*.py")
    ):
        for node in ast.walk(parse(program.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (module := node.module or "").startswith(
                "charrnn."
            ):
                gone = {alias.name for alias in node.names} - names_bound(module)
                missing += [f"{program.name}: from {module} import {name}" for name in gone]
    assert missing == []


def test_no_long_function_without_a_reason() -> None:
    longest = sorted(functions(PACKAGE), reverse=True)
    table = "\n".join(map(str, longest[:10]))
    print(f"The ten longest functions:\n{table}")
    unexplained = [one for one in longest if one.num_lines > MAX_LINES and not one.is_explained]
    assert not unexplained, (
        f"shorten these, or state why below the signature: {REASON}...\n"
        + "\n".join(map(str, unexplained))
    )


def write(folder: Path, **modules: str) -> Path:
    package = folder / "charrnn"
    package.mkdir(exist_ok=True)
    for name, code in modules.items():
        (package / f"{name}.py").write_text(code, encoding="utf-8")
    return package


def test_a_cycle_is_found(tmp_path: Path) -> None:
    for back, cycle in (
        ("from charrnn.a import f", ["charrnn.a", "charrnn.b", "charrnn.a"]),
        ("import charrnn.a", ["charrnn.a", "charrnn.b", "charrnn.a"]),
        ("from charrnn import a", ["charrnn.a", "charrnn.b", "charrnn.a"]),
        ("class A:\n    from charrnn.a import f", ["charrnn.a", "charrnn.b", "charrnn.a"]),
        (
            "try:\n    import charrnn.a\nexcept ImportError:\n    pass",
            ["charrnn.a", "charrnn.b", "charrnn.a"],
        ),
        ("def g():\n    from charrnn.a import f", ["charrnn.a", "charrnn.b", "charrnn.a"]),
        ("if TYPE_CHECKING:\n    from charrnn.a import f", []),
        ("from charrnn.c import h", []),
    ):
        assert (
            find_cycle(module_imports(write(tmp_path, a="from charrnn.b import g", b=back, c="")))
            == cycle
        )


def test_lines_are_counted_without_the_signature_and_a_reason_is_seen(tmp_path: Path) -> None:
    reason = "# Long because it is a table."
    package = write(
        tmp_path,
        a=f"@decorator\ndef f(\n    a,\n    b,\n):\n    {reason}\n    'Do it.'\n    return 1\n",
        b=f"class A:\n    def g(self):\n        'Do it.'\n        {reason}\n\n        return 1\n",
        c=(
            f"def h():\n    def i():\n        {reason}\n        pass\n\n    # Long because\n   "
            " return 2\n"
        ),
    )
    found = {one.name: (one.num_lines, one.is_explained) for one in functions(package)}
    assert found == {"f": (2, True), "g": (4, True), "h": (6, False), "i": (1, True)}

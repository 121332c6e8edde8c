"""Break one line of the package at a time and see whether a test fails: what survives is not tested.

    python tests/mutations.py --count 100 --seed 0                    # random lines of the whole package
    python tests/mutations.py --module charrnn/cells/records.py  # of one module

Every mutation is made in a copy of the checkout. The tests of a mutated module are chosen by imports and names, see
`tests_of`; the first failure ends them. Prints one line per mutation, then the survivors.
"""

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SECONDS = 1500
"""A mutation whose tests take longer counts as noticed: it made a loop endless."""
DIRECT_IMPORTERS = 8
"""Files that import a module directly, at most."""
MAX_TEST_FILES = 14
"""Test files of a mutation at most."""
COMPARISONS = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
ARITHMETIC = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*"}


@dataclass(frozen=True)
class Mutation:
    """Replace the characters `begin` to `end` of a line (from 1) of a module."""

    module: str
    line: int
    begin: int
    end: int
    replacement: str

    def apply(self, source: str) -> str:
        """The mutated source. Offsets count UTF-8 bytes, as those of `ast` do."""
        lines = source.splitlines(keepends=True)
        line = lines[self.line - 1].encode()
        lines[self.line - 1] = (line[: self.begin] + self.replacement.encode() + line[self.end :]).decode()
        return "".join(lines)


def mutations_of(module: str, source: str) -> Iterator[Mutation]:
    """Every mutation of one line: comparisons, arithmetic, and/or, not, numbers, booleans, calls left out."""
    tree = ast.parse(source)
    skipped = {id(node) for parent in ast.walk(tree) for node in _not_executed(parent)}

    def replace(node: ast.expr | ast.stmt, replacement: str) -> Mutation:
        return Mutation(module, node.lineno, node.col_offset, node.end_col_offset or 0, replacement)

    for node in ast.walk(tree):
        if id(node) in skipped or not isinstance(node, ast.expr | ast.stmt) or node.lineno != node.end_lineno:
            continue
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
            yield replace(node, f"({left} {COMPARISONS[type(node.ops[0])]} {right})")
        elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            yield replace(node, f"({ast.unparse(node.left)} {ARITHMETIC[type(node.op)]} {ast.unparse(node.right)})")
        elif isinstance(node, ast.BoolOp):
            word = " or " if isinstance(node.op, ast.And) else " and "
            yield replace(node, f"({word.join(f'({ast.unparse(value)})' for value in node.values)})")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield replace(node, f"bool({ast.unparse(node.operand)})")
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield replace(node, str(not node.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            yield replace(node, f"({node.value!r} * 2 + 1)")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield replace(node, "pass")


def _not_executed(node: ast.AST) -> Iterator[ast.AST]:
    """What no test should depend on: annotations, with the options in them, decorators and `field(repr=False)`."""
    for name in ("annotation", "returns"):
        if (annotation := getattr(node, name, None)) is not None:
            yield from ast.walk(annotation)
    for decorator in getattr(node, "decorator_list", ()):
        yield from ast.walk(decorator)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "field":
        yield from ast.walk(node)


def tests_of(module: str) -> list[str]:
    """The test files of a module, the smallest first: at most MAX_TEST_FILES.

    Chosen in this order: the file of its name, the DIRECT_IMPORTERS smallest that import it, those of whole commands
    for a module of the command line, and the files named after the modules that import it.
    """
    folder = REPOSITORY / "tests"
    direct = sorted((path for path in folder.glob("test_*.py") if _imports(path, module)), key=_size)
    is_interface = module.startswith(("charrnn/cli/", "charrnn/api", "charrnn/comparison"))
    commands = folder.glob("test_cli_*.py") if is_interface else ()
    importers = [path for path in sorted(REPOSITORY.glob("charrnn/**/*.py")) if _imports(path, module)]
    chosen = [
        *folder.rglob(f"test_{Path(module).stem}.py"),
        *direct[:DIRECT_IMPORTERS],
        *sorted(commands),
        *(path for importer in importers for path in folder.glob(f"test_{importer.stem}.py")),
    ]
    files = sorted(list(dict.fromkeys(chosen))[:MAX_TEST_FILES], key=_size)
    return [str(path.relative_to(REPOSITORY)) for path in files]


def _imports(path: Path, module: str) -> bool:
    dotted = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    parent, _, name = dotted.rpartition(".")
    pattern = rf"{re.escape(dotted)}\b|from {re.escape(parent)} import [^\n]*\b{re.escape(name)}\b"
    return re.search(pattern, path.read_text(encoding="utf-8")) is not None


def _size(path: Path) -> int:
    return path.stat().st_size


def is_noticed(mutation: Mutation, copy: Path) -> bool:
    """Whether a test of the mutated module fails in a copy of the checkout."""
    path = copy / mutation.module
    source = path.read_text(encoding="utf-8")
    try:
        path.write_text(mutation.apply(source), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests_of(mutation.module)]
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        ran = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=SECONDS, check=False, text=True
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(source, encoding="utf-8")
    return ran.returncode != 0


def main() -> None:
    """Print every mutation and whether a test noticed it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--module", action="append", help="a module's path from the repository's root; repeatable")
    arguments = parser.parse_args()
    modules = arguments.module or [str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("charrnn/**/*.py")]
    candidates = [
        mutation
        for module in sorted(modules)
        if tests_of(module)
        for mutation in mutations_of(module, (REPOSITORY / module).read_text(encoding="utf-8"))
    ]
    chosen = random.Random(arguments.seed).sample(candidates, min(arguments.count, len(candidates)))
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(".git", ".venv", "checkpoints", "__pycache__"))
        (copy / "checkpoints").mkdir()
        for mutation in chosen:
            before = (copy / mutation.module).read_text(encoding="utf-8").splitlines()[mutation.line - 1]
            noticed = is_noticed(mutation, copy)
            shown = f"{mutation.module}:{mutation.line}: {before.strip()}  ->  {mutation.replacement}"
            print(f"{'noticed ' if noticed else 'SURVIVED'} {shown}", flush=True)
            if not noticed:
                survivors.append(shown)
    print(f"\n{len(survivors)} of {len(chosen)} survived", *survivors, sep="\n")


if __name__ == "__main__":
    main()

"""Break one line of the package at a time and see whether a test fails: what survives is not tested.

    pytest -n 2 -m 'not thorough' --cov charrnn --cov-branch --cov-context test --durations 0 -vv > durations.txt
    python tests/mutations.py --coverage .coverage --durations durations.txt --count 200 --seed 0

Needs pytest-cov. Every mutation is made in a copy of the checkout. Its tests are those that run its line, the file
of the module's name and the importers of the module first, then the quickest, up to `SECONDS_OF_TESTS`; the first
failure ends them. A line that runs only when its module is imported has the tests of the module. Tests that fail
without a mutation, too, are left out. Prints one line for each mutation, then the survivors.
"""

import argparse
import ast
import collections
import compileall
import importlib
import itertools
import os
import py_compile
import random
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from coverage import CoverageData

SECONDS_OF_TESTS = 40
"""Seconds that the tests of one mutation took when they were recorded, at most."""
TIMEOUT = 300
"""A mutation whose tests take longer, in seconds, counts as noticed: it made a loop endless."""
COMPARISONS = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "=="}
COMPARISONS |= {ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in"}
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


class RecordedTests:
    """Which tests ran which line, read from the data file of `pytest --cov-context test`, and how long each took."""

    def __init__(self, checkout: Path, coverage: Path, durations: Path) -> None:
        self._checkout = checkout
        self._seconds: collections.Counter[str] = collections.Counter()
        for line in durations.read_text(encoding="utf-8", errors="replace").splitlines():
            if found := re.fullmatch(r"([\d.]+)s (?:setup|call|teardown) +(tests/.+?)", line.strip()):
                self._seconds[found[2]] += float(found[1])
        self._data = CoverageData(str(coverage))
        self._data.read()

    def chosen(self, mutation: Mutation) -> list[str]:
        """The tests of a mutation, `SECONDS_OF_TESTS` at most: those of its module, then the quickest."""
        contexts = self._data.contexts_by_lineno(str(self._checkout / mutation.module))
        # An expression of several lines may be recorded at one of the lines before.
        begins = range(mutation.line, max(mutation.line - 10, 0), -1)
        names = next((contexts[line] for line in begins if any(contexts.get(line, ()))), [])
        near = files_of(self._checkout, mutation.module)
        tests = {name.rpartition("|")[0] for name in names if name}
        tests = tests or {test for test in self._seconds if test.partition("::")[0] in near}
        ordered = sorted(tests, key=lambda test: (test.partition("::")[0] not in near, self._seconds[test], test))
        ends = list(itertools.accumulate(self._seconds[test] + 0.005 for test in ordered))
        return [test for test, end in zip(ordered, ends, strict=True) if end < SECONDS_OF_TESTS] or ordered[:1]


def files_of(checkout: Path, module: str) -> set[str]:
    """The test files that are named after a module or import it."""
    dotted = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    parent, _, name = dotted.rpartition(".")
    pattern = re.compile(rf"{re.escape(dotted)}\b|from {re.escape(parent)} import [^\n]*\b{re.escape(name)}\b")
    return {
        str(path.relative_to(checkout))
        for path in (checkout / "tests").rglob("test_*.py")
        if path.stem == f"test_{Path(module).stem}" or pattern.search(path.read_text(encoding="utf-8"))
    }


def run(copy: Path, tests: Sequence[str], *options: str, timeout: int = 0) -> tuple[int, str]:
    """Run tests in a copy of the checkout in a forked process, at most so many seconds; return its code and output."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = os.fork()
        if process == 0:
            os.chdir(copy)
            sys.path[0] = str(copy)
            os.environ["PYTHONPATH"] = str(copy)
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            signal.alarm(timeout)
            chosen = ["-q", "-n", "0", "-p", "no:cacheprovider", "-m", "not thorough", "-rfE", "--tb", "no"]
            os._exit(int(pytest.main([*chosen, *options, *tests])))
        _, status = os.waitpid(process, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read()


def failures(output: str) -> list[str]:
    """The tests that failed or could not begin, from the summary of pytest."""
    return re.findall(r"^(?:FAILED|ERROR) (tests/\S+::.*?)(?: - .*)?$", output, re.MULTILINE)


def judge(copy: Path, mutation: Mutation, tests: Sequence[str]) -> str | None:
    """Return what noticed a mutation, None if nothing did."""
    if not tests:  # Without arguments pytest would run all.
        return None
    path = copy / mutation.module
    source = path.read_text(encoding="utf-8")
    try:
        path.write_text(mutation.apply(source), encoding="utf-8")
        code, output = run(copy, tests, "-x", timeout=TIMEOUT)
    finally:
        path.write_text(source, encoding="utf-8")
    return None if code == 0 else next(iter(failures(output)), f"exit code {code}")


def main() -> None:
    """Print every mutation and whether a test noticed it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coverage", type=Path, required=True)
    parser.add_argument("--durations", type=Path, required=True)
    parser.add_argument("--checkout", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--module", action="append", help="a module's path from the repository's root; repeatable")
    arguments = parser.parse_args()
    # Imported once, for all forked processes. More threads only slow down tensors as small as the tests'.
    os.environ["OMP_NUM_THREADS"] = "1"
    for package in ("torch", "numpy", "hypothesis", "typer", "rich", "yaml"):
        importlib.import_module(package)
    checkout = arguments.checkout.resolve()
    recorded = RecordedTests(checkout, arguments.coverage, arguments.durations)
    modules = arguments.module or [str(path.relative_to(checkout)) for path in checkout.glob("charrnn/**/*.py")]
    candidates = [
        mutation
        for module in sorted(modules)
        for mutation in mutations_of(module, (checkout / module).read_text(encoding="utf-8"))
    ]
    mutations = random.Random(arguments.seed).sample(candidates, min(arguments.count, len(candidates)))
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        ignored = shutil.ignore_patterns(".git", ".venv", "checkpoints", "__pycache__", ".*_cache")
        shutil.copytree(checkout, copy, ignore=ignored)
        (copy / "checkpoints").mkdir()
        compileall.compile_dir(copy / "charrnn", quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        chosen = [recorded.chosen(mutation) for mutation in mutations]
        _, output = run(copy, sorted({test for tests in chosen for test in tests}))
        broken = {*failures(output)}
        print(
            f"{len(candidates)} candidates; tests that fail without a mutation: {sorted(broken) or 'none'}", flush=True
        )
        for mutation, tests in zip(mutations, chosen, strict=True):
            line = (copy / mutation.module).read_text(encoding="utf-8").splitlines()[mutation.line - 1].strip()
            noticed = judge(copy, mutation, [test for test in tests if test not in broken])
            shown = f"{mutation.module}:{mutation.line}: {line}  ->  {mutation.replacement}"
            print(f"SURVIVED {shown}" if noticed is None else f"noticed  {shown}  ({noticed})", flush=True)
            if noticed is None:
                survivors.append(shown)
    print(f"\n{len(survivors)} of {len(mutations)} survived", *survivors, sep="\n")


if __name__ == "__main__":
    main()

"""Find which tests reach which statements of some modules.

The modules are rewritten in a copy of the checkout: each statement of a function first sets a byte
of its own in a file that is mapped into memory, so forked and started processes are seen, too.
"""

import ast
import mmap
import re
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

Tests = dict[str, list[tuple[float, str]]]
"""Seconds and names of the tests that reach a statement, by "file:line", the shortest first."""

MOST_TESTS = 300
"""Tests that are kept of a statement."""

MODULE = """
import mmap, pathlib

with open(pathlib.Path(__file__).with_name("reached"), "r+b") as file:
    REACHED = mmap.mmap(file.fileno(), 0)
"""


class Marker(ast.NodeTransformer):
    """Puts a mark before each statement inside a function, and notes where the marks are."""

    def __init__(self, places: list[str]) -> None:
        self.places = places
        self.path = Path()
        self.compiled: set[str] = set()
        self.num_functions = 0

    def mark(self, path: Path, source: str) -> str:
        """Return the source of a module with marks."""
        self.path = path
        tree = ast.parse(source)
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        self.compiled = {
            ast.unparse(argument)
            for call in calls
            if ast.unparse(call.func) == "CompiledLoop"
            for argument in call.args
        }
        tree = self.visit(tree)
        begin = 0
        for statement in tree.body:
            if not (isinstance(statement, ast.ImportFrom) or is_text(statement)):
                break
            begin += 1
        tree.body[begin:begin] = ast.parse(
            "from charrnn.reached_statements import REACHED as __reached__"
        ).body
        return ast.unparse(ast.fix_missing_locations(tree))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Leave functions alone that are compiled: they know no files."""
        if node.name in self.compiled:
            return node
        self.num_functions += 1
        self.generic_visit(node)
        self.num_functions -= 1
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Mark the blocks of a node."""
        super().generic_visit(node)
        if self.num_functions and not isinstance(node, ast.ClassDef):
            for name in ("body", "orelse", "finalbody"):
                block = getattr(node, name, None)
                if isinstance(block, list):
                    block[:] = self._with_marks(block)
        return node

    def _with_marks(self, block: list[ast.stmt]) -> list[ast.stmt]:
        marked = []
        for statement in block:
            if not (is_text(statement) and statement is block[0]):
                marked += ast.parse(f"__reached__[{len(self.places)}] = 1").body
                self.places.append(f"{self.path}:{statement.lineno}")
            marked.append(statement)
        return marked


def is_text(statement: ast.stmt) -> bool:
    """Return whether a statement is a string, such as a docstring."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


class Recorder:
    """A plugin of pytest that runs every `num_parts`-th test file, and notes what passes.

    What the fixture of a module or of all tests reaches counts for each test that has it.
    """

    def __init__(self, folder: Path, places: list[str], part: int, num_parts: int) -> None:
        with (folder / "charrnn" / "reached").open("r+b") as file:
            self.reached = mmap.mmap(file.fileno(), 0)
        self.places = places
        self.part = part
        self.num_parts = num_parts
        self.has_failed = False
        self.num_failed = 0
        self.by_fixtures: dict[tuple[str, str], set[int]] = {}
        self.found: Tests = defaultdict(list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests of this part."""
        items[:] = [
            item
            for item in items
            if zlib.crc32(item.path.name.encode()) % self.num_parts == self.part
        ]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note that the present test failed or was skipped."""
        self.has_failed |= report.outcome != "passed"

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Iterator[None]:
        """Note what a fixture reaches."""
        before = self._take_reached()
        result = yield
        reached = self._take_reached()
        if fixturedef.scope != "function":
            self.by_fixtures[fixturedef.argname, fixturedef.baseid] = reached
        for index in before | reached:
            self.reached[index] = 1
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Function) -> Iterator[None]:
        """Note what a test reaches."""
        self._take_reached()
        self.has_failed = False
        begin = time.monotonic()
        result = yield
        seconds = time.monotonic() - begin
        reached = self._take_reached()
        for (name, place), of_fixture in self.by_fixtures.items():
            if name in item.fixturenames and item.nodeid.startswith(place):
                reached |= of_fixture
        self.num_failed += self.has_failed
        if not self.has_failed:
            for index in reached:
                self.found[self.places[index]].append((seconds, item.nodeid))
        return result

    def results(self) -> dict[str, object]:
        """Return what was found, and how many tests did not pass."""
        return {"found": self.found, "num_failed": self.num_failed}

    def _take_reached(self) -> set[int]:
        """Return the marks that are set, and clear them."""
        marks = self.reached[:]
        self.reached[:] = bytes(len(marks))
        return {mark.start() for mark in re.finditer(b"\1", marks)}


def mark_modules(folders: list[Path], paths: list[Path]) -> list[str]:
    """Put marks into modules of several copies of the checkout; return the places of the marks."""
    places: list[str] = []
    marker = Marker(places)
    for path in paths:
        source = marker.mark(path, (folders[0] / path).read_text(encoding="utf-8"))
        for folder in folders:
            (folder / path).write_text(source, encoding="utf-8")
    for folder in folders:
        (folder / "charrnn" / "reached_statements.py").write_text(MODULE, encoding="utf-8")
        (folder / "charrnn" / "reached").write_bytes(bytes(len(places) or 1))
    return places


def merged(parts: list[Tests]) -> Tests:
    """Return the tests of all parts, the shortest first."""
    found: Tests = defaultdict(list)
    for part in parts:
        for place, tests in part.items():
            found[place] += tests
    return {place: sorted(tests)[:MOST_TESTS] for place, tests in found.items()}

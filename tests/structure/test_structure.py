"""The shape of the package: no branch hidden in an expression, no import cycle."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from branches import hidden_branches
from package_imports import imported_modules, nodes_of, parsed

import charrnn

PACKAGE = Path(charrnn.__file__).parent
TESTS = PACKAGE.parent / "tests"


def read(path):
    """Return the text of a file."""
    return path.read_text(encoding="utf-8")


def module_imports(package):
    """For each module of a package, what it imports of it."""
    modules = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in package.rglob("*.py")
    }
    modules.pop(package.name, None)
    imports = {}
    for name, path in modules.items():
        imports[name] = set()
        for _, place in imported_modules(path, package):
            # `from a import b` imports the module a.b, or the name b of the module a.
            near = [one for one in (place, place.rpartition(".")[0]) if one in modules]
            imports[name].update(near[:1])
        imports[name].discard(name)
    return imports


def find_cycle(imports):
    """Return the modules of an import cycle in order, the first one again at the end; [] if there
    is none."""
    finished = set()

    def visit(module, path):
        if module in path:
            return [*path[path.index(module) :], module]
        if module not in finished:
            for imported in sorted(imports[module]):
                if cycle := visit(imported, [*path, module]):
                    return cycle
            finished.add(module)
        return []

    return next(filter(None, (visit(module, []) for module in sorted(imports))), [])


@pytest.mark.parametrize("name", ["charrnn", "tests", "benchmarks", "tools"])
def test_no_expression_hides_a_branch(name):
    found = [
        f"{path}:{line}: {form}"
        for path in sorted((PACKAGE.parent / name).rglob("*.py"))
        for line, form in hidden_branches(parsed(path))
    ]
    assert found == []


@pytest.mark.parametrize(
    "expression",
    [
        "'s' * is_many",
        "f(*(x if c else ()))",
        "[a, b][c]",
        "x | (a if c else {})",
        "{**(a if c else {})}",
        "1 if a else 2 if b else 3",
        "(f if c else g)()",
        "getattr(x, name)()",
        "[x for x in [one]]",
        "[a for b in c for d in e for f in g]",
        "1 + has_pairs",
        "place and replace(place, file=name)",
        "{'path': place.path and str(place.path)}",
        "words and '1'",
        "style and style + dim",
        "(c and f(c)) or b",
        "[x for x in y if f(x and g(x))]",
    ],
)
def test_a_hidden_branch_is_found(expression):
    assert [line for line, _ in hidden_branches(ast.parse(f"y = {expression}"))] == [1]


@pytest.mark.parametrize(
    "statement",
    [
        "num += is_cut",
        "num += text.is_cut",
        "num -= not names",
        "num += is_blank(value)",
        "num += number > first",
        "changes[key] += line.endswith(end)",
        "num += a > b and is_c",
    ],
)
def test_a_truth_that_is_added_to_a_counter_is_found(statement):
    assert list(hidden_branches(ast.parse(statement))) == [(1, "x += flag")]


@pytest.mark.parametrize(
    "expression",
    [
        "2 * is_first",
        "a if b else c",
        "[f(x) for x in y]",
        # These are true or false, and the values of a NumPy array are counted all at once.
        "a is not None and a.size > b",
        "text.startswith(b) and not text.startswith(c)",
        "path.exists() and samefile(path, a)",
        "result and is_finite(result)",
        "(values > 0).sum(0)",
        "(a > b) + (a == b) / 2",
        # Only whether it is true is asked.
        "b if a and f(a) else c",
        "[x for x in y if x and f(x)]",
        "all(x and f(x) for x in y)",
        "not (a and f(a))",
        "given or default",
    ],
)
def test_a_plain_expression_hides_no_branch(expression):
    assert list(hidden_branches(ast.parse(f"y = {expression}"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "if a and f(a):\n    pass",
        "if b and (c := a and f(a)):\n    pass",
        "while a and f(a):\n    pass",
        "assert a and f(a)",
        "if is_cut:\n    num += 1",
        "num += len(names)",
        "num += (values > 0).sum()",
        "shows &= inside > outside",
    ],
)
def test_a_plain_statement_hides_no_branch(source):
    assert list(hidden_branches(ast.parse(source))) == []


def defined_names(module):
    """Yield the functions and classes of a module, and the methods as `Class.method`."""
    for node in ast.iter_child_nodes(module):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for name in defined_names(node))


def test_the_examples_of_plain_code_exist():
    guide = read(PACKAGE.parent / "CONTRIBUTING.md")
    section = guide.partition("**Plain code**")[2].partition("**Code.**")[0]
    examples = re.findall(r"`([\w.]+)`\s+\(`(charrnn/[\w/]+\.py)`\)", section)
    assert len(examples) >= 5
    missing = [
        f"{file}: {name}"
        for name, file in examples
        if name not in defined_names(parsed(PACKAGE.parent / file))
    ]
    assert missing == []


def test_modules_do_not_import_each_other_in_a_circle():
    imports = module_imports(PACKAGE)
    assert imports["charrnn.detectors.registry"] >= {
        "charrnn.detectors.detector",
        "charrnn.hooks.manager",
    }
    assert find_cycle(imports) == []


@cache
def names_bound(module):
    """Return the names that a module of the package binds, and its modules; none if there is no
    such module."""
    base = PACKAGE.parent.joinpath(*module.split("."))
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    names = {path.stem for path in base.glob("*")}
    for node in nodes_of(file) if file.exists() else ():
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.alias(name=name):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
    return names


def test_programs_outside_the_package_import_names_that_it_has():
    """Without running them: some need a corpus, a GPU or hours."""
    missing = []
    for program in (
        path
        for folder in ("benchmarks", "docs", "tools")
        for path in (PACKAGE.parent / folder).rglob("*.py")
    ):
        for node in nodes_of(program):
            if isinstance(node, ast.ImportFrom) and (module := node.module or "").startswith(
                "charrnn."
            ):
                gone = {alias.name for alias in node.names} - names_bound(module)
                missing += [f"{program.name}: from {module} import {name}" for name in gone]
    assert missing == []


def test_a_test_needs_no_other_test():
    """Each file runs alone; what several folders use lies in `helpers`."""
    paths = [*TESTS.rglob("*.py")]
    folders = {path.stem: path.parent for path in paths}
    assert len(folders) == len(paths), "pytest tells test files by their names"
    wrong = []
    for path in paths:
        for node in nodes_of(path):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            wrong += [
                f"{path.name}: {module}"
                for module in modules
                if str(module).startswith("test_")
                or folders.get(module, path.parent) not in (path.parent, TESTS / "helpers")
            ]
    assert wrong == []


def test_a_cycle_is_found(tmp_path):
    package = tmp_path / "charrnn"
    package.mkdir()
    for back, cycle in (
        ("import charrnn.a", ["charrnn.a", "charrnn.b", "charrnn.a"]),
        ("from charrnn.c import h", []),
    ):
        for name, code in {"a": "from charrnn.b import g", "b": back, "c": ""}.items():
            (package / f"{name}.py").write_text(code, encoding="utf-8")
        assert find_cycle(module_imports(package)) == cycle


UNPICKLING = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy"}
EXECUTING = {"exec", "eval", "compile", "__import__"}
ENDS = ("_object", "_object_list", "spec_from_file_location", "SourceFileLoader")
"""How functions end that execute a file, or are of torch.distributed and send any object, pickled."""


def executing_places(nodes):
    """What unpickles or executes text in the nodes of a source, in order."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in UNPICKLING)
        elif isinstance(node, ast.ImportFrom) and node.module in UNPICKLING:
            yield node.module
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            is_safe = any(
                keyword.arg in ("weights_only", "allow_pickle") for keyword in node.keywords
            )
            is_load = called in ("torch.load", "np.load") and not is_safe
            if is_load or called in EXECUTING or called.endswith(ENDS):
                yield called


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from marshal import loads",
        "eval(x)",
        "torch.load(x)",
        "d.gather_object(x)",
    ],
)
def test_what_executes_a_text_is_found(line):
    assert len([*executing_places(ast.walk(ast.parse(line)))]) == 1


def test_no_module_unpickles_or_executes_a_text_but_a_detector_that_the_user_names():
    found = {}
    for path in PACKAGE.rglob("*.py"):
        places = [*executing_places(nodes_of(path))]
        if places:
            found[path.relative_to(PACKAGE).as_posix()] = sorted(places)
    assert found == {"detectors/registry.py": ["compile", "exec"]}

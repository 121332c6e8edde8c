"""Whoever looks for the tests of a module finds them by its name."""

import ast
from pathlib import Path

import charrnn

PACKAGE = Path(charrnn.__file__).parent
TESTS = Path(__file__).parents[1]
CODE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def test_every_module_has_a_test_file_of_its_name_or_is_named_in_the_docstring_of_one():
    docstrings = "".join(
        ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for path in TESTS.rglob("test_*.py")
    )
    missing = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).with_suffix("")
        if path.stem == "__init__":
            module = module.parent
        name = ".".join(module.parts) or "charrnn"
        has_code = any(isinstance(node, CODE) for node in ast.parse(path.read_bytes()).body)
        has_file = (TESTS / module.parent / f"test_{module.name}.py").is_file()
        if has_code and not has_file and f"`{name}`" not in docstrings:
            missing.append(name)
    assert missing == [], "add `NAME` to the docstring of the test file that tests it"

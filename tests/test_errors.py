"""What errors say, from Python and on the command line."""

import ast
import re
from pathlib import Path

import pytest

import charrnn
import charrnn.commands.app  # registers the commands, whose options messages name
import charrnn.errors
from charrnn.cli.streams import with_flags
from charrnn.errors import named

PACKAGE = Path(charrnn.__file__).parent


@pytest.mark.parametrize(
    "text, command, shown",
    [
        (named("temperature"), "sample", "--temp"),
        (named("width", 4), "sample", "--beam 4"),
        (named("hidden_size", 8), None, "--hidden-size 8"),
        (named("min_count", 1), "train", "--set min_count=1"),
        (named("learning_rate"), "train", "learning_rate"),
        (named("precision"), "train", "precision"),
        (named("precision", "fp32"), "train", "--set precision=fp32"),
        (named("precision", "fp32"), "evaluate", "--precision fp32"),
        (named("detector"), "visualize", "--detector"),
        (named("resume", "a=b\n"), "train", "--resume a=b\n"),
        (named("unheard_of", 1), "train", "`unheard_of=1`"),
        ("`charrnn runs`", "train", "`charrnn runs`"),
    ],
)
def test_on_the_command_line_a_parameter_is_its_option(text, command, shown):
    assert with_flags(f"use {text}.", command) == f"use {shown}."


NAME_OPTIONS = (
    *("__main__.py", "cli/", "commands/", "explore/", "distributed/", "reports/lines."),
    *("formats/export.", "analyses/predict.", "analyses/gradients.py"),
    *("text/file_kinds.py", "text/pandoc.py", "formats/model_folder.py"),
    *("views/theme.py", "formats/model_page/page.py", "reports/provenance_page.py"),
    "formats/model_page/module_options.py",
)
"""Modules that belong to the command line, that show what a shell is to run, or that write CSS, whose
variables begin with two hyphens."""


def test_no_text_below_the_command_line_names_an_option():
    """But docstrings, declarations of options, and the first line of config.yaml, which is part of
    a checksum."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        source = path.read_text(encoding="utf-8")
        if name.startswith(NAME_OPTIONS) or "--" not in source:
            continue
        tree = ast.parse(source)
        allowed = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                allowed.add(node.value)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "option":
                allowed |= {*ast.walk(node)}
        for node in {*ast.walk(tree)} - allowed:
            text = str(node.value) if isinstance(node, ast.Constant) else ""
            if re.search(r"(?<!\w)--[a-z]", text) and "Read it, but change settings" not in text:
                found.append(f"{name}:{node.lineno}: {text!r}")
    assert found == []


def test_the_docstring_shows_every_error_and_its_exit_code():
    classes = [value for value in vars(charrnn.errors).values() if isinstance(value, type)]
    errors = [error for error in classes if issubclass(error, charrnn.errors.CharRNNError)]
    documented = re.findall(r"(\w+Error) +(\d)  ", charrnn.errors.__doc__ or "")
    expected = [(error.__name__, str(error.exit_code)) for error in errors]
    assert sorted(documented) == sorted(expected)


def test_a_warning_is_about_the_line_of_the_program(tmp_path, monkeypatch):
    """Also where the standard library calls a function for charrnn, as a `with` statement does."""
    (tmp_path / "charrnn_like.py").write_text(
        "import contextlib, functools\nfrom charrnn import errors\n__name__ = 'charrnn.like'\n"
        "@contextlib.contextmanager\ndef opened():\n    errors.warn('slow')\n    yield\n"
        "@functools.cache\ndef measured():\n    with opened():\n        return 1\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    from charrnn_like import measured

    with pytest.warns(RuntimeWarning, match="slow") as warned:
        measured()
    assert warned[0].filename == __file__

"""The pages of `--help`: how they are laid out at any width, and what their texts have in common.

Tests `cli.command_classes`, too.
"""

import re
import sys

import pytest
import typer.main

from charrnn.cli.help_page import MAX_NAME
from charrnn.commands.app import app

COMMANDS = ["", *typer.main.get_command(app).list_commands(None)]
COMMANDS += [f"corpora {name}" for name in ("list", "show", "fetch")]
"""All command lines that have a page of their own."""
WIDTHS = (80, 100, 120)
ROW = re.compile(r"  (\S.*?)(?:  +(\S.*))?")
"""A name, and its text if it is on the same line."""

of_every_command = pytest.mark.parametrize("name", COMMANDS)


def sections_of(page):
    """Return the lines below each heading of a page."""
    found = {}
    for part in page.split("\n\n"):
        title, *lines = part.splitlines()
        if re.fullmatch(r"\S.*:", title):
            found[title.removesuffix(":")] = lines
    return found


@of_every_command
@pytest.mark.parametrize("columns", WIDTHS)
def test_names_stand_beside_texts_in_one_column(command, monkeypatch, name, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    page = command(name, "--help").out
    assert max(map(len, page.splitlines())) <= columns
    sections = sections_of(page)
    assert any(sections.values())
    for lines in sections.values():
        starts = set()
        for line in lines:
            row = ROW.fullmatch(line)
            if row is None:
                starts.add(len(line) - len(line.lstrip()))
            elif row[2]:
                starts.add(row.start(2))
            else:
                assert len(row[1]) > MAX_NAME, "its text would have room beside it"
        assert len(starts) == 1


@of_every_command
def test_a_default_and_a_range_are_said_in_one_way(command, name):
    page = command(name, "--help").out
    assert re.findall(r"(?i)(?<!\[)default: |by default|\(default", page) == []
    assert re.findall(r"\[.*[<>]=.*\]|[{}]", page) == []
    assert re.findall(r"(?i)\be\.g\.|repeatable(?!\))", page) == []


@pytest.mark.parametrize("name", ["train", "sample", "visualize", "evaluate"])
def test_what_everybody_uses_is_first(command, name):
    arguments, first, *groups = sections_of(command(name, "--help").out).items()
    options = [line for line in first[1] if line.startswith("  -")]
    assert (arguments[0], first[0], groups[-1][0]) == ("Arguments", "Options", "Other options")
    assert len(options) <= 8


def test_the_help_of_train_names_every_cell_type(command):
    from charrnn.config.architectures import CELL_DESCRIPTIONS

    page = command("train --help").out
    assert [name for name in CELL_DESCRIPTIONS if not re.search(rf"\b{name}\b", page)] == []


@pytest.mark.parametrize(
    "variable, value, has_bold",
    [("TERM", "xterm", True), ("TERM", "dumb", False), ("NO_COLOR", "1", False)],
)
def test_names_are_bold_in_a_terminal(command, monkeypatch, variable, value, has_bold):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    plain = command("runs --help").out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = command("runs --help").out
    assert ("\033[1mUsage:\033[0m" in shown) is has_bold
    assert re.sub(r"\033\[\d*m", "", shown) == plain

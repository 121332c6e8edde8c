"""The pages of `--help`: how they are laid out at any width, their examples, which run, and what
their texts have in common.

Tests `cli.command_classes`, too.
"""

import re
import shlex
import string
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer.main
from command_lines import run_line
from synthetic import make_corpus

from charrnn.commands.app import app
from charrnn.detectors.registry import DETECTORS
from charrnn.model_texts import WRITTEN

COMMANDS = ["", *typer.main.get_command(app).list_commands(None)]
"""All command lines that have a page of their own."""
WIDTHS = (80, 100, 120)
ROW = re.compile(r"  (\S.*?)(?:  +(\S.*))?")
"""A name, and its text if it is on the same line."""

of_every_command = pytest.mark.parametrize("name", COMMANDS)
of_every_command_but_the_group = pytest.mark.parametrize("name", COMMANDS[1:])


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
        assert len(starts) == 1
    assert re.findall(r"\w-\n", page) == [], "a name that is divided could not be copied"


@pytest.mark.parametrize("name", ["train", "sample", "visualize", "evaluate"])
def test_what_everybody_uses_is_first(command, name):
    arguments, first, *groups = sections_of(command(name, "--help").out).items()
    options = [line for line in first[1] if line.startswith("  -")]
    assert (arguments[0], first[0], groups[-1][0]) == ("Arguments", "Options", "Other options")
    assert len(options) <= 8


@pytest.mark.parametrize("name", ["train", "sample"])
def test_an_option_is_one_line_of_few(command, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    page = command(name, "--help").out
    sections = sections_of(page)
    del sections["Arguments"]
    assert len(page.splitlines()) <= 60
    assert [line for lines in sections.values() for line in lines if line[2] != "-"] == []


@pytest.mark.parametrize(
    "variable, value, has_bold",
    [("TERM", "xterm", True), ("TERM", "dumb", False), ("NO_COLOR", "1", False)],
)
def test_names_are_bold_in_a_terminal(command, monkeypatch, variable, value, has_bold):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    plain = command("runs --help").out
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = command("runs --help").out
    assert ("\033[1mOptions\033[0m:" in shown) is has_bold
    assert re.sub(r"\033\[\d*m", "", shown) == plain


def examples_of(name):
    """Return the examples in the help of a command, without the name of the program."""
    page = run_line([name, "--help"]).out
    examples, options = re.split("  Examples?:\n", page)[1].split("\n\n", 1)
    assert "Options:" in options
    return re.findall("    charrnn (.*)", examples)


def write_texts(line):
    """Write the texts that a command line names."""
    for file in re.findall(r"\w+\.txt", line):
        if file == "names.txt":
            text = "Anna\nBernd\nCarla\n" * 200
        else:
            # A letter is only measured, which is enough for a network; the others are learned.
            num_chars = 2_500 if file == "letter.txt" else 6_000
            text = f"{string.ascii_letters}\n" * 3 + make_corpus(num_chars=num_chars).text
        Path(file).write_text(text)


def small(line):
    """Return the words of a command line; a training gets few steps and units."""
    words = shlex.split(re.sub("--minutes [0-9]+", "", line))
    if words[0] != "train":
        return words
    if "--resume" in words:
        return [*words, "--steps", "4"]
    return [*words, "--steps", "2", "--hidden-size", "8"]


@pytest.mark.trained
@of_every_command_but_the_group
def test_the_examples_run_where_only_their_texts_are(tmp_path, monkeypatch, name):
    if name == "explore":
        pytest.importorskip("textual", reason="textual is not installed")
        monkeypatch.setattr("charrnn.explore.terminal.check_full_screen", lambda: None)
        monkeypatch.setattr("charrnn.explore.app.Explorer.run_until_signal", lambda *_: None)
        # An included model has hundreds of cells.
        monkeypatch.setattr("charrnn.cells.records.CHARS_SCORED", 2_000)
    # What the network is asked for is none of this test's.
    monkeypatch.setattr("charrnn.commands.corpora.fetch", lambda entry: entry.file)
    # What an included model writes to be looked into is shorter, and so is the wait.
    monkeypatch.setattr("charrnn.model_texts.WRITTEN", replace(WRITTEN, length=2_000))
    monkeypatch.chdir(tmp_path)

    lines = examples_of(name)
    ran = []
    for line in lines:
        write_texts(line)
        ran.append(run_line(small(line)))
    # There is one way to see the demo.
    assert len(lines) == (1 if name == "demo" else 3)
    assert [one.err for one in ran if one.code != 0] == []


def test_the_help_of_visualize_says_what_each_detector_means(command):
    page = command("visualize --help").out
    rows = dict(re.findall(r"^    ([\w-]+)  +(.+)$", page.split("Detectors")[1], re.MULTILINE))
    assert rows == {name: detector.looks_for for name, detector in DETECTORS.items()}


def test_the_first_page_begins_with_what_needs_no_training(command):
    page = command("--help").out
    epilog = page.split("\n\n")[-1]
    assert epilog.index("charrnn demo") < epilog.index("charrnn train")


def test_the_options_of_predict_are_in_groups(command):
    sections = sections_of(command("predict --help").out)
    assert [*sections] == [
        "Arguments",
        "Options",
        "How it is computed",
        "Copied and repeated passages",
        "Other options",
    ]

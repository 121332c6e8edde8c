"""The scripts of tools/: the reference has everything and depends on the code alone; the drawings
are as drawn."""

import re

import pytest
from environment import REPOSITORY, load_script

pytestmark = pytest.mark.docs


@pytest.fixture(scope="module")
def script():
    return load_script(REPOSITORY / "tools" / "make_reference.py")


@pytest.fixture(scope="module")
def page(script):
    return script.make_reference()


def test_every_option_of_every_command_is_an_entry(script, page):
    text, settings = page.split("\n## Settings\n")
    introduction, *parts = re.split(r"^### charrnn (.+)\n", text, flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    assert {"train", "sample", "corpora"} <= {*sections}
    for name, command in script.commands():
        described = introduction + sections[name]
        if "[settings](#settings)" in sections[name]:
            described += settings
        entries = " ".join(re.findall(r"^- (`.*`): .", described, re.MULTILINE))
        flags = {word for one in command.params for word in one.opts if word.startswith("--")}
        assert flags - {"--help"} <= {*re.findall(r"--[\w-]+", entries)}, name
        assert ("--json" in flags) == (name != "explore"), name


def test_the_page_does_not_depend_on_settings(script, page, monkeypatch):
    for name, value in {
        "COLUMNS": "40",
        "FORCE_COLOR": "1",
        "CHARRNN_HIDDEN_SIZE": "7",
        "LANG": "de_DE",
    }.items():
        monkeypatch.setenv(name, value)
    saved = (REPOSITORY / "docs" / "look-up" / "reference.md").read_text(encoding="utf-8")
    assert script.make_reference() == page == saved, "run: python tools/make_reference.py"


def test_the_page_of_the_code_has_the_lines_of_its_functions():
    lines = load_script(REPOSITORY / "tools" / "number_lines.py")
    page = lines.PAGE.read_text(encoding="utf-8")
    assert len(lines.STOP.findall(page)) > 40
    assert lines.number(page) == page, "run: python tools/number_lines.py"

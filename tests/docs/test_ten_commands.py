"""docs/learn/ten-commands.md: ten commands, of which each prints the line below it."""

import re
import shlex

import pytest
from environment import REPOSITORY

pytestmark = [pytest.mark.docs, pytest.mark.trained]

PAGE = (REPOSITORY / "docs" / "learn" / "ten-commands.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"(?m)^\$ (.+)\n(.+)$", PAGE)


def test_each_of_the_ten_commands_prints_its_line(command, tmp_path):
    assert len(COMMANDS) == 10
    for line, shown in COMMANDS:
        printed = ""
        for part in line.split(" && "):
            typed, _, file = part.partition(" > ")
            ran = command("", *shlex.split(typed)[1:])
            assert ran.code == 0, ran.err
            if file:
                (tmp_path / file).write_text(ran.out, encoding="utf-8")
            printed += ran.out + ran.err
        assert " ".join(shown.split()) in " ".join(printed.split()), line

"""`train --show-text` prints what would be learned, and from where."""

from pathlib import Path

import pytest

from charrnn.cli.command_classes import check_typography
from charrnn.errors import UsageError


def test_the_text_is_shown_with_the_file_of_each_part(command, here):
    Path("notes").mkdir()
    Path("notes/a.txt").write_text("one\u00ad\ntwo")
    Path("notes/b.md").write_text("---\ntitle: t\n---\nthree\n")
    ran = command("train notes --show-text --set order=sorted")
    assert ran.code == 0
    assert ran.out == "--- notes/a.txt\none\ntwo\n--- notes/b.md\nthree\n"
    assert "head of settings (3 lines)" in ran.err
    shown = command("train notes --show-text --documents lines --quiet")
    assert sorted(shown.out.splitlines())[2:] == ["one", "three", "two"]
    assert shown.err == ""


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["en.txt", "–minutes", "1"], "write --minutes"),
        (["—seed=3"], "write --seed"),
        (["--prime", "“He", "was”"], "quotation mark"),
    ],
)
def test_what_is_typeset_is_named(arguments, said):
    with pytest.raises(UsageError, match=said):
        check_typography(arguments, {"--minutes", "--seed", "--prime"})


@pytest.mark.parametrize("arguments", [["--prime", "—minutes"], ["– yes"], ["“He was”"], ["“He"]])
def test_what_is_meant_is_left_alone(arguments):
    check_typography(arguments, {"--minutes", "--prime"})

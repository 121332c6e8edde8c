"""`train --show-text` prints what would be learned, and from where."""

from pathlib import Path

import pytest

from charrnn.cli.command_classes import check_typography
from charrnn.errors import UsageError


def test_the_text_is_shown_with_the_file_of_each_part(command, here):
    Path("notes").mkdir()
    Path("notes/a.txt").write_text("one\u00ad\ntwo")
    Path("notes/b.md").write_text("---\ntitle: t\n---\nthree\n")
    ran = command("train", "notes", "--show-text", "--set", "order=sorted")
    assert ran.code == 0
    assert ran.out == "--- notes/a.txt\none\ntwo\n--- notes/b.md\nthree\n"
    assert "head of settings (3 lines)" in ran.err
    shown = command("train", "notes", "--show-text", "--documents", "lines", "--quiet")
    assert sorted(shown.out.splitlines())[2:] == ["one", "three", "two"]
    assert shown.err == ""


def test_the_plan_names_the_kinds_of_files_and_what_is_held_out(command, here):
    Path("notes").mkdir()
    for number in range(12):
        Path(f"notes/{number:02}.txt").write_text(f"The lamp number {number} by the river.\n")
    Path("notes/copy.txt").write_text("The lamp number 1 by the river.\n")
    Path("notes/a.eps").write_text("%!PS-Adobe-3.0\n" + "1 20 moveto\n" * 30)
    line = ("train", "notes", "--steps", 1, "--hidden-size", 4, "--set", "order=sorted")
    said = " ".join(command(*line).err.split())
    assert "notes (13 .txt 53 %, 1 .eps 47 %)" in said
    assert "47 % of the text of notes is PostScript (a.eps)" in said
    assert "copies of one another: 01.txt = copy.txt" in said
    assert "held out: a.eps, copy.txt" in said


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

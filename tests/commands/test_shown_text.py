"""`train --show-text` prints what would be learned, and from where."""

from pathlib import Path


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

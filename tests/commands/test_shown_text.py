"""`train --show-text` prints what would be learned, and from where."""

import gzip
from pathlib import Path

import pytest


@pytest.fixture
def show(command, here):
    """Show the text of a folder `notes`, whose files are given with their contents."""

    def call(files, *options):
        for name, content in files.items():
            path = Path("notes", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return command("train notes --show-text --set order=sorted", *options)

    return call


def test_the_text_is_shown_with_the_file_of_each_part(show):
    files = {"a.txt": "one\u00ad\ntwo", "b.md": "---\ntitle: t\n---\nthree\n"}
    ran = show({name: text.encode() for name, text in files.items()})
    assert ran.code == 0
    assert ran.out == "--- notes/a.txt\none\ntwo\n--- notes/b.md\nthree\n"
    assert "head of settings (3 lines)" in ran.err, "what is left out"


def test_notes_are_not_printed_with_quiet(show):
    ran = show({"b.md": b"---\ntitle: t\n---\nthree\n"}, "--quiet")
    assert (ran.out, ran.err) == ("--- notes/b.md\nthree\n", "")


def test_each_document_is_a_line(show):
    ran = show({"a.txt": b"one\n\ntwo", "b.txt": b"three"}, "--documents", "lines")
    assert ran.out == "--- notes/a.txt\none\ntwo\n--- notes/b.txt\nthree\n"


def test_an_empty_line_at_the_end_of_a_file_stays(show):
    ran = show({"a.txt": b"one\n\n", "b.txt": b"\ntwo\n"})
    assert ran.out == "--- notes/a.txt\none\n\n--- notes/b.txt\n\ntwo\n"


def test_files_are_named_by_their_place_in_the_folder_however_they_are_kept(show):
    ran = show({"deep/a.txt": b"one\n", "b.txt.gz": gzip.compress(b"two\n"), "c.bin": b"\0\1"})
    assert ran.out == "--- notes/b.txt.gz\ntwo\n--- notes/deep/a.txt\none\n"
    assert "c.bin" in ran.err


def test_one_document_that_occurs_twice_is_shown_once_if_documents_are_unique(show):
    files = {"a.txt": b"one\ntwo\n", "b.txt": b"two\nthree\n"}
    options = ("--documents", "lines", "--set", "unique_documents=true")
    assert show(files, *options).out == "--- notes/a.txt\none\ntwo\n--- notes/b.txt\nthree\n"


def test_nothing_is_trained(show):
    before = show({"a.txt": b"one\n"})
    assert before.code == 0
    assert [path.name for path in Path().iterdir()] == ["notes"]


def test_a_text_without_the_line_that_should_part_its_documents_is_refused(show):
    ran = show({"a.txt": b"one\ntwo\n"}, "--documents", "line:***")
    assert (ran.code, ran.out) == (3, "")
    assert "***" in ran.err

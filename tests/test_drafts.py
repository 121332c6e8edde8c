"""The file of a draft: every character stays, saves are atomic, and nothing of somebody else's is replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from charrnn.apps.write import drafts
from charrnn.apps.write.drafts import MAX_DRAFT_BYTES, ChangedOnDiskError, Draft, read_draft
from charrnn.errors import CharRNNError, DataError

WORD = "\ufeff“Don’t—”\r\n\u00a0she\u2028said…\x0b\x0c\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain\ntext\n",
        WORD.encode(),
        b"old\rmac\r",
        b"mixed\r\nline\nends\r\r\n",
        "no newline é語\U0001f642".encode(),
        b"\xef\xbb\xbf",
    ],
)
def test_what_is_read_is_saved_again_byte_for_byte(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "draft.txt"
    path.write_bytes(data)
    draft = read_draft(path)
    draft.save(draft.text)
    assert path.read_bytes() == data


def test_lines_end_with_a_newline_while_it_is_edited(tmp_path: Path) -> None:
    path = tmp_path / "draft.txt"
    path.write_bytes(WORD.encode())
    draft = read_draft(path)
    assert draft.text == WORD.replace("\r\n", "\n") and draft.newline == "\r\n"
    draft.save(draft.text + "more\n")
    assert path.read_bytes() == WORD.encode() + b"more\r\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\0b", "byte 1 is NUL"),
        (b"caf\xe9", "not UTF-8 text: .* at byte 3.*iconv"),
        ("text".encode("utf-16"), "UTF-16.*iconv -f utf-16"),
        (b"PK\x03\x04word/document.xml", "plain text"),
        (b"a" * (MAX_DRAFT_BYTES + 1), "at most 4,194,304.*chapter"),
        (b"a\n" + b"b" * 50_001 + b"\n", "line 2 has 50,001 characters; a line has at most 50,000: .*fold -s"),
    ],
)
def test_a_file_that_is_no_draft(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "draft.txt"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_draft(path)
    assert path.read_bytes() == data


def test_a_path_that_is_no_draft(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
    for name, message in {
        "": "is a folder: give a text file",
        "missing/draft.txt": "does not exist: create it",
        "broken": "link to a file that does not exist",
        "a\0b": "cannot read",
        "file/draft.txt": "cannot read",
        **({"pipe": "not a regular file"} if hasattr(os, "mkfifo") else {}),
    }.items():
        with pytest.raises(DataError, match=message):
            read_draft(tmp_path / name)


def test_a_new_draft_is_empty_and_no_file_until_it_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    draft = read_draft(path)
    assert (draft.text, draft.digest, path.exists()) == ("", None, False)
    draft.save("a\n")
    assert path.read_bytes() == b"a\n"


def test_a_file_that_changed_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "draft.txt"
    path.write_text("first")
    draft = read_draft(path)
    path.write_text("other")
    with pytest.raises(ChangedOnDiskError, match="has changed on disk"):
        draft.save("mine")
    with pytest.raises(ChangedOnDiskError, match="exists already"):
        Draft(tmp_path / "another.txt").save("mine", path)
    assert path.read_text() == "other"
    draft.save("mine", overwrite=True)
    assert path.read_text() == "mine"
    path.touch()
    draft.save("mine again")
    path.unlink()
    draft.save("again")
    assert path.read_text() == "again"


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "draft.txt", tmp_path / "link.txt"
    path.write_text("first")
    path.chmod(0o640)
    link.symlink_to(path)
    read_draft(link).save("second")
    assert link.is_symlink() and path.read_text() == "second"
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("character", "name"), [("\0", "NUL"), ("\ud83d", r"the lone surrogate U\+D83D")])
def test_what_could_not_be_read_again_is_not_saved(tmp_path: Path, character: str, name: str) -> None:
    path = tmp_path / "draft.txt"
    path.write_text("first")
    with pytest.raises(DataError, match=f"character 5, in line 2, is {name}.*delete it"):
        read_draft(path).save(f"ab\nc{character}")
    assert path.read_text() == "first"


def test_what_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CharRNNError, match="it is a folder"):
        Draft(tmp_path).save("a")
    with pytest.raises(CharRNNError, match=r"cannot write .*draft.txt: No such file"):
        Draft(tmp_path / "missing" / "draft.txt").save("a")
    path = tmp_path / "draft.txt"
    path.write_text("first")
    monkeypatch.setattr(drafts.os, "access", lambda *_: False)  # root may write anything
    with pytest.raises(CharRNNError, match="it is read-only"):
        read_draft(path).save("a")
    assert path.read_text() == "first"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_nobody_else_can_read_the_text_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "draft.txt", []
    sync = os.fsync

    def look(descriptor: int) -> None:
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        sync(descriptor)

    path.write_text("private")
    path.chmod(0o600)
    draft = read_draft(path)
    monkeypatch.setattr(os, "fsync", look)
    draft.save("a")
    assert seen[0] == 0o600

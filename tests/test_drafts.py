"""The file of a draft: every character stays, saves are atomic, and nothing of somebody else's is replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from charrnn.apps.write import drafts
from charrnn.apps.write.drafts import (
    MAX_DRAFT_BYTES,
    ChangedOnDiskError,
    FileFormat,
    read_draft,
    read_recovery,
    recovery_files,
    save_draft,
    write_recovery,
)
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
    save_draft(path, draft.text, draft.format, known=draft.digest)
    assert path.read_bytes() == data


def test_lines_end_with_a_newline_while_it_is_edited(tmp_path: Path) -> None:
    path = tmp_path / "draft.txt"
    path.write_bytes(WORD.encode())
    draft = read_draft(path)
    assert draft.text == WORD.removeprefix("\ufeff").replace("\r\n", "\n")
    assert draft.format == FileFormat(newline="\r\n", has_mark=True)
    save_draft(path, draft.text + "more\n", draft.format, known=draft.digest)
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
    with pytest.raises(DataError, match="is a folder: give a text file"):
        read_draft(tmp_path)
    with pytest.raises(DataError, match="does not exist: create it"):
        read_draft(tmp_path / "missing" / "draft.txt")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="link to a file that does not exist"):
        read_draft(tmp_path / "broken")
    with pytest.raises(DataError, match="cannot read"):
        read_draft(tmp_path / "a\0b")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot read"):
        read_draft(tmp_path / "file" / "draft.txt")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="not a regular file"):
            read_draft(tmp_path / "pipe")


def test_a_new_draft_is_empty_and_no_file_until_it_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    draft = read_draft(path)
    assert (draft.text, draft.digest, path.exists()) == ("", None, False)
    save_draft(path, "a\n", draft.format, known=None)
    assert path.read_bytes() == b"a\n"


def test_a_file_that_changed_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "draft.txt"
    path.write_text("first")
    digest = read_draft(path).digest
    path.write_text("other")
    with pytest.raises(ChangedOnDiskError, match="has changed on disk"):
        save_draft(path, "mine", FileFormat(), known=digest)
    with pytest.raises(ChangedOnDiskError, match="exists already"):
        save_draft(path, "mine", FileFormat(), known=None)
    assert path.read_text() == "other"
    digest = save_draft(path, "mine", FileFormat(), known=None, overwrite=True)
    assert path.read_text() == "mine"
    path.touch()
    save_draft(path, "mine again", FileFormat(), known=digest)
    path.unlink()
    save_draft(path, "again", FileFormat(), known=digest)
    assert path.read_text() == "again"


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "draft.txt", tmp_path / "link.txt"
    path.write_text("first")
    path.chmod(0o640)
    link.symlink_to(path)
    save_draft(link, "second", FileFormat(), known=read_draft(link).digest)
    assert link.is_symlink() and path.read_text() == "second"
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such owners")
@pytest.mark.parametrize(("is_allowed", "mode"), [(True, 0o6664), (False, 0o644)])
def test_owner_and_group_stay_or_nobody_else_may_do_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_allowed: bool, mode: int
) -> None:
    path, asked = tmp_path / "draft.txt", []
    path.write_text("first")
    digest, old = read_draft(path).digest, list(path.stat())
    old[0] = old[0] & ~0o7777 | 0o6664
    old[4], old[5] = old[4] + 1, old[5] + 1

    def chown(path: Path, owner: int, group: int) -> None:
        asked.append((owner, group))
        if not is_allowed:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(drafts, "_status_of", lambda *_: os.stat_result(old))
    monkeypatch.setattr(os, "chown", chown)
    save_draft(path, "second", FileFormat(), known=digest)
    assert asked == [(old[4], -1), (-1, old[5])]
    assert path.read_text() == "second" and path.stat().st_mode & 0o7777 == mode


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root may give files away")
def test_root_gives_a_draft_to_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "draft.txt"
    path.write_text("first")
    os.chown(path, 12345, 54321)
    path.chmod(0o4750)
    save_draft(path, "second", FileFormat(), known=read_draft(path).digest)
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (12345, 54321, 0o4750)


def test_extended_attributes_stay_and_the_time_is_that_of_the_save(tmp_path: Path) -> None:
    path = tmp_path / "draft.txt"
    path.write_text("first")
    os.utime(path, ns=(1, 1))
    digest = read_draft(path).digest
    has_attributes = hasattr(os, "setxattr")
    if has_attributes:
        try:
            os.setxattr(path, "user.author", b"me")
        except OSError:
            has_attributes = False  # of this file system
    save_draft(path, "second", FileFormat(), known=digest)
    assert path.stat().st_mtime_ns > 1
    assert not has_attributes or os.getxattr(path, "user.author") == b"me"


@pytest.mark.parametrize(("character", "name"), [("\0", "NUL"), ("\ud83d", r"the lone surrogate U\+D83D")])
def test_what_could_not_be_read_again_is_not_saved(tmp_path: Path, character: str, name: str) -> None:
    path = tmp_path / "draft.txt"
    path.write_text("first")
    with pytest.raises(DataError, match=f"character 5, in line 2, is {name}.*delete it"):
        save_draft(path, f"ab\nc{character}", FileFormat(), known=read_draft(path).digest)
    assert path.read_text() == "first"


def test_recovered_text_has_the_line_ends_of_the_draft(tmp_path: Path) -> None:
    path = tmp_path / "draft.txt"
    path.write_bytes(b"a\r\nb\n")
    draft = read_draft(path)
    text = read_recovery(write_recovery(path, draft.text.removesuffix("b\n"), draft.format), draft.format)
    save_draft(path, text, draft.format, known=draft.digest)
    assert path.read_bytes() == b"a\r\n"


def test_what_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CharRNNError, match="it is a folder"):
        save_draft(tmp_path, "a", FileFormat(), known=None)
    with pytest.raises(CharRNNError, match=r"cannot write .*draft.txt: No such file"):
        save_draft(tmp_path / "missing" / "draft.txt", "a", FileFormat(), known=None)
    path = tmp_path / "draft.txt"
    path.write_text("first")
    monkeypatch.setattr(drafts.os, "access", lambda *_: False)  # root may write anything
    with pytest.raises(CharRNNError, match="it is read-only"):
        save_draft(path, "a", FileFormat(), known=read_draft(path).digest)
    assert path.read_text() == "first"


def test_what_was_not_saved_is_kept_beside_the_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "draft.txt"
    assert recovery_files(path) == []
    first = write_recovery(path, "one\n", FileFormat(newline="\r\n"))
    assert (first.name, first.read_bytes()) == (".draft.txt.charrnn-recovered", b"one\r\n")
    second = write_recovery(path, "two", FileFormat())
    assert first.read_bytes() == b"one\r\n", "none replaces another"
    os.utime(first, ns=(1, 1))
    assert recovery_files(path) == [second, first]
    monkeypatch.chdir(tmp_path)
    assert write_recovery(None, "x", FileFormat()) == Path(".unnamed.charrnn-recovered")


def test_what_cannot_be_kept_beside_the_draft_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setattr(drafts.tempfile, "tempdir", str(temporary))
    missing = tmp_path / "missing" / "draft.txt"
    with pytest.raises(CharRNNError, match=r"cannot write .*missing"):
        write_recovery(missing, "x", FileFormat())
    temporary.mkdir()
    first = write_recovery(missing, "x", FileFormat())
    assert first.parent == temporary and first.name.startswith("charrnn-recovered-")
    home.mkdir()
    second = write_recovery(missing, "y", FileFormat())
    assert second == home / first.name
    third = write_recovery(missing, "z", FileFormat())
    assert third == home / f"{first.name}-2" and third.read_text() == "z"
    long = tmp_path / ("a" * 250)
    found = write_recovery(long, "long name", FileFormat())
    assert found.parent == home and found.read_text() == "long name"
    for age, one in enumerate((third, first, second)):
        os.utime(one, ns=(age, age))
    monkeypatch.chdir(tmp_path)
    assert recovery_files(missing) == recovery_files(Path("missing/draft.txt")) == [second, first, third]
    assert recovery_files(long) == [found] and recovery_files(None) == []
    if hasattr(os, "geteuid"):
        # Somebody else may put files among the temporary ones, or links to files of the user.
        first.unlink()
        first.symlink_to(second)
        assert recovery_files(missing) == [second, third]
        with monkeypatch.context() as patch:
            patch.setattr(drafts.os, "geteuid", lambda: 1 + found.stat().st_uid)
            assert recovery_files(missing) == []
    write_synced = drafts.write_synced

    def fill(path: Path, data: bytes, *, mode: int) -> None:
        if path.parent != tmp_path:
            write_synced(path, data, mode=mode)
            return
        path.write_bytes(data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drafts, "write_synced", fill)
    draft = tmp_path / "draft.txt"
    assert write_recovery(draft, "whole", FileFormat()).read_text() == "whole"
    (whole,) = recovery_files(draft)
    assert whole.read_text() == "whole", "a part of the text would be offered as all of it"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_nobody_else_can_read_the_text_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "draft.txt", []
    sync = os.fsync

    def look(descriptor: int) -> None:
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        sync(descriptor)

    path.write_text("private")
    path.chmod(0o600)
    digest = read_draft(path).digest
    monkeypatch.setattr(os, "fsync", look)
    save_draft(path, "a", FileFormat(), known=digest)
    write_recovery(path, "b", FileFormat())
    assert (seen[0], seen[-1]) == (0o600, 0o600)


@pytest.mark.parametrize("text", ["a\0b\n", "\ud800 \udfff\n", "PK\x03\x04", "\ufffe", "a\nb\u2028\n", ""])
@pytest.mark.parametrize("format", [FileFormat(), FileFormat(newline="\r\n", has_mark=True)])
def test_whatever_was_in_the_editor_is_recovered(tmp_path: Path, text: str, format: FileFormat) -> None:
    assert read_recovery(write_recovery(tmp_path / "draft.txt", text, format), format) == text


def test_what_cannot_be_recovered(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="at byte 3; the editor did not write it"):
        read_recovery(tmp_path / "latin", FileFormat())
    with pytest.raises(DataError, match=r"cannot read .*No such file"):
        read_recovery(tmp_path / "missing", FileFormat())


def test_recovered_text_may_have_any_size(tmp_path: Path) -> None:
    path = tmp_path / "draft.txt"
    path.write_bytes(b"a" * (MAX_DRAFT_BYTES + 1))
    assert len(read_recovery(path, FileFormat())) == MAX_DRAFT_BYTES + 1

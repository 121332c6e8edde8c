"""Files on a real disk: replaced atomically, whatever fails and whoever reads at the same time."""

import errno
import os

import pytest
from saved_runs import hidden, make_run

from charrnn.errors import CharRNNError, CheckpointError
from charrnn.system import files
from charrnn.system.files import (
    behind_links,
    convert_os_errors,
    encode_text,
    parse_json,
    write_atomically,
    write_synced,
)


def test_files_are_replaced_atomically(tmp_path, monkeypatch):
    run = make_run(tmp_path / "checkpoints" / "shakespeare-001")
    write_atomically(run.path / "samples.txt", encode_text("äöü\nline\r\n\udcff"))
    assert (run.path / "samples.txt").read_bytes() == "äöü\nline\r\n\\udcff".encode()

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, fail)
            with pytest.raises(
                CharRNNError, match=r"cannot write .*samples\.txt: No space left.*3 bytes"
            ):
                write_atomically(run.path / "samples.txt", b"new")
    with (
        pytest.raises(CharRNNError, match=r"denied$"),
        convert_os_errors("write", run.path, num_bytes=5),
    ):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    assert (run.path / "samples.txt").read_text(encoding="utf-8").startswith("äöü")
    assert hidden(run.path) == []


def test_a_file_system_that_cannot_sync_folders_is_accepted(tmp_path, monkeypatch):
    real_fsync = os.fsync

    def fsync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(tmp_path / "a", b"text")
    assert (tmp_path / "a").read_bytes() == b"text"


def test_existing_links_are_not_followed_when_writing(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (tmp_path / f".config.yaml.tmp-{os.getpid()}").symlink_to(secret)
    write_atomically(tmp_path / "config.yaml", b"seed: 1")
    assert (secret.read_text(), (tmp_path / "config.yaml").read_text()) == ("secret", "seed: 1")
    (tmp_path / "link").symlink_to(secret)
    with pytest.raises(FileExistsError):
        write_synced(tmp_path / "link", b"lost")
    assert secret.read_text() == "secret"


def test_what_stands_behind_links(tmp_path):
    (tmp_path / "link").symlink_to("second")
    (tmp_path / "second").symlink_to("file")
    (tmp_path / "circle").symlink_to("circle")
    assert (
        behind_links(tmp_path / "link")
        == behind_links(tmp_path / "file")
        == tmp_path.resolve() / "file"
    )
    assert behind_links(tmp_path / "circle").name == "circle", "a link in a circle has no target"


def test_a_key_given_twice_is_no_json(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"x\.json is damaged: not JSON \(a key is given twice\)"
    ):
        parse_json(tmp_path / "x.json", b'{"a": [{"step": 1, "step": 2}]}')


def test_a_folder_in_the_place_of_a_file_is_not_removed(tmp_path):
    folder = tmp_path / "step"
    (folder / "config.yaml").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}", "utf-8")
    files.remove_files(folder, names=["manifest.json", "config.yaml", "missing"])
    assert os.listdir(folder) == ["config.yaml"]
    (folder / "config.yaml").rmdir()
    files.remove_files(folder, names=["config.yaml"])
    assert not folder.exists()


def test_a_lock_is_freed_for_every_copy_of_its_descriptor(tmp_path):
    with (tmp_path / "lock").open("wb") as file, (tmp_path / "lock").open("wb") as other:
        copy = os.dup(file.fileno())  # as a worker process has that was forked meanwhile
        assert files.try_lock(file) and not files.try_lock(other)
        files.unlock(file)
        assert files.try_lock(other)
    os.close(copy)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize(
    "line, code",
    [
        ("sample x.zip", 4),
        ("train x.txt --steps 1", 3),
        ("evaluate abc-001 --text x.txt", 3),
    ],
)
def test_every_reader_names_a_pointer_of_git_lfs(command, alphabet_run, tmp_path, line, code):
    for name in ("x.zip", "x.txt"):
        (tmp_path / name).write_bytes(POINTER)
    ran = command(line.replace("abc-001", str(alphabet_run)))
    assert ran.code == code
    assert "git lfs pull" in ran.err

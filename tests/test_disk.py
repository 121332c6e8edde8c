"""Files on a real disk: replaced whole or not at all, whatever fails and whoever reads meanwhile."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from saved_runs import hidden, make_run

from charrnn.errors import CharRNNError
from charrnn.runs.disk import write_atomically
from charrnn.runs.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "checkpoints" / "shakespeare-001")


def test_texts_are_replaced_whole_or_not_at_all(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write_text("samples.txt", "äöü\nline\r\n\udcff")
    assert (run.path / "samples.txt").read_bytes() == "äöü\nline\r\n\\udcff".encode()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, fail)
            with pytest.raises(CharRNNError, match=r"cannot write .*samples\.txt: No space left"):
                run.write_text("samples.txt", "new")
    assert (run.path / "samples.txt").read_text(encoding="utf-8").startswith("äöü")
    assert hidden(run.path) == []


def test_readers_never_meet_a_half_written_pointer(run: RunFolder) -> None:
    names = {f"step-{step:08d}" for step in range(50)}
    run.point("latest", "step-00000000")
    seen: set[str | None] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(run.read_pointer("latest"))

    reader = threading.Thread(target=read)
    reader.start()
    for name in sorted(names):
        run.point("latest", name)
    stop.set()
    reader.join()
    assert seen <= names


def test_a_file_system_that_cannot_sync_folders_is_good_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(tmp_path / "a", b"text")
    assert (tmp_path / "a").read_bytes() == b"text"
